//! The latency of an endpoint, as the balancer `ewma` weighs it.
//!
//! It is a moving average that jumps to each peak at once and forgets it slowly (Finagle's `PeakEwma`): an endpoint that
//! turns slow loses its traffic with the first slow response, and wins it back carefully.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The latency of a failure: at least this, so that an endpoint that fails fast is not a fast one.
const FAILURE: Duration = Duration::from_secs(1);

/// The longest latency to which failures in a row drive an endpoint.
const MOST_AFTER_FAILURES: Duration = Duration::from_secs(60);

/// How many decay times a latency is known for after the last response. Behind that, an endpoint counts as new.
const KNOWN_FOR: f64 = 5.0;

/// The cost of an endpoint whose latency is not known while it has a request: more than that of any other.
const UNKNOWN: f64 = 1e15;

/// The peak-sensitive moving average of an endpoint's latency, over all workers.
#[derive(Debug, Default)]
pub(crate) struct PeakLatency(AtomicU64);

/// A latency, as it stands in the atomic word.
#[derive(Clone, Copy)]
struct StampedLatency {
    /// In microseconds.
    micros: f32,
    /// When it was measured, in milliseconds since the epoch of the endpoint; wraps around after 49 days.
    stamp: u32,
}

impl StampedLatency {
    /// Reads a word; `None` before the first response.
    fn unpack(word: u64) -> Option<Self> {
        (word != 0).then(|| Self { micros: f32::from_bits((word >> 32) as u32), stamp: word as u32 })
    }

    fn pack(self) -> u64 {
        u64::from(self.micros.to_bits()) << 32 | u64::from(self.stamp)
    }

    /// Returns the milliseconds since it was measured. Workers may be late by some.
    fn elapsed(self, now: u64) -> i32 {
        (now as u32).wrapping_sub(self.stamp).cast_signed().max(0)
    }

    /// Returns the decay times since it was measured.
    fn age(self, now: u64, decay: Duration) -> f64 {
        // Its milliseconds as an integer would have 128 bits.
        f64::from(self.elapsed(now)) / (decay.as_secs_f64() * 1e3).max(1.0)
    }

    /// Returns the part of it that is left now, in microseconds.
    fn present(self, now: u64, decay: Duration) -> f64 {
        f64::from(self.micros) * (-self.age(now, decay)).exp()
    }
}

impl PeakLatency {
    /// Returns the cost of one request more, with so many under way: the expected time until all have their response.
    /// Only costs of one `decay` can be compared.
    pub(crate) fn cost(&self, in_flight: usize, now: u64, decay: Duration) -> f64 {
        let in_flight = in_flight as f64;
        let known = StampedLatency::unpack(self.0.load(Relaxed)).and_then(|latency| {
            let age = latency.age(now, decay);
            (age <= KNOWN_FOR).then(|| f64::from(latency.micros) * (-age).exp())
        });
        match known {
            Some(micros) => micros * (in_flight + 1.0),
            // Its first request is welcome. Others wait until the latency of that one is known.
            None if in_flight == 0.0 => 0.0,
            None => UNKNOWN + in_flight,
        }
    }

    /// Counts the latency of a response.
    pub(crate) fn observe(&self, latency: Duration, now: u64, decay: Duration) {
        let micros = micros(latency);
        self.update(now, |last| {
            let Some(last) = last else { return Some(micros) };
            // The average is between the two, and all of the last one in the millisecond in which it was measured.
            if micros >= last.micros || last.elapsed(now) == 0 {
                return Some(micros.max(last.micros));
            }
            let weight = (-last.age(now, decay)).exp();
            let average = f64::from(last.micros) * weight + f64::from(micros) * (1.0 - weight);
            Some(micros.max(average as f32))
        });
    }

    /// Counts a request that ended without a response after so long: its latency would have been longer.
    pub(crate) fn observe_least(&self, latency: Duration, now: u64, decay: Duration) {
        let micros = micros(latency);
        self.update(now, |last| {
            let present = last.map_or(0.0, |last| last.present(now, decay));
            (f64::from(micros) > present).then_some(micros)
        });
    }

    /// Counts a failure as a response after twice the latency: after 1 s at least, and 60 s at most.
    pub(crate) fn penalize(&self, now: u64, decay: Duration) {
        self.update(now, |last| {
            let present = last.map_or(0.0, |last| last.present(now, decay));
            let doubled = (2.0 * present).min(f64::from(micros(MOST_AFTER_FAILURES)));
            let penalty = doubled.max(f64::from(micros(FAILURE)));
            (penalty > present).then_some(penalty as f32)
        });
    }

    /// Forgets the latency: the endpoint counts as new.
    pub(crate) fn reset(&self) {
        self.0.store(0, Relaxed);
    }

    /// Replaces the latency by what `next` makes of it, if it makes anything.
    fn update(&self, now: u64, next: impl Fn(Option<StampedLatency>) -> Option<f32>) {
        // A latency that is not changed by another worker meanwhile is written by the first try.
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let micros = next(StampedLatency::unpack(word))?;
            // It is never 0, which is the word without a response.
            Some(StampedLatency { micros: micros.max(f32::MIN_POSITIVE), stamp: now as u32 }.pack())
        });
    }
}

fn micros(duration: Duration) -> f32 {
    duration.as_secs_f32() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: Duration = Duration::from_secs(10);

    fn cost(latency: &PeakLatency, in_flight: usize, now: u64) -> f64 {
        latency.cost(in_flight, now, DECAY) / 1000.0
    }

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[track_caller]
    fn assert_near(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 0.01, "{found}, not about {expected}");
    }

    #[test]
    fn a_new_endpoint_is_welcome_to_one_request() {
        let latency = PeakLatency::default();
        assert_eq!(cost(&latency, 0, 0), 0.0);
        assert!(cost(&latency, 1, 0) > cost(&latency, 0, 0) + 1e9);
        assert!(cost(&latency, 2, 0) > cost(&latency, 1, 0));
        latency.observe(millis(5), 0, DECAY);
        assert_near(cost(&latency, 0, 0), 5.0);
        assert_near(cost(&latency, 3, 0), 20.0);
    }

    #[test]
    fn a_peak_counts_at_once_and_is_forgotten_slowly() {
        let latency = PeakLatency::default();
        latency.observe(millis(5), 1, DECAY);
        latency.observe(millis(100), 2, DECAY);
        assert_near(cost(&latency, 0, 2), 100.0);
        // A quick response right behind it changes next to nothing; one after the decay, most of it.
        latency.observe(millis(5), 12, DECAY);
        assert_near(cost(&latency, 0, 12), 100.0);
        latency.observe(millis(5), 10_012, DECAY);
        let e = std::f64::consts::E;
        assert_near(cost(&latency, 0, 10_012), 100.0 / e + 5.0 * (1.0 - 1.0 / e));
    }

    #[test]
    fn a_latency_decays_while_nothing_is_measured_and_is_unknown_in_the_end() {
        let latency = PeakLatency::default();
        latency.observe(millis(100), 1, DECAY);
        assert_near(cost(&latency, 0, 20_001), 100.0 / std::f64::consts::E.powi(2));
        assert!(cost(&latency, 1, 50_002) > 1e9, "a request that hangs makes nobody fast");
        assert_eq!(cost(&latency, 0, 50_002), 0.0);
    }

    #[test]
    fn failures_count_as_slow() {
        let latency = PeakLatency::default();
        latency.observe(millis(5), 1, DECAY);
        for expected in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
            latency.penalize(1, DECAY);
            assert_near(cost(&latency, 0, 1), expected * 1000.0);
        }
        // One that is slower than all that stays it.
        latency.observe(Duration::from_secs(300), 1, DECAY);
        latency.penalize(1, DECAY);
        assert_near(cost(&latency, 0, 1), 300_000.0);
        latency.reset();
        assert_eq!(cost(&latency, 0, 1), 0.0);
    }

    #[test]
    fn a_request_that_is_given_up_early_makes_no_endpoint_faster() {
        let latency = PeakLatency::default();
        latency.observe(millis(100), 1, DECAY);
        latency.observe_least(millis(1), 9_000, DECAY);
        assert_near(cost(&latency, 0, 1), 100.0);
        latency.observe_least(millis(500), 9_000, DECAY);
        assert_near(cost(&latency, 0, 9_000), 500.0);
    }

    #[test]
    fn the_clock_may_wrap_around_and_a_worker_may_be_late() {
        let latency = PeakLatency::default();
        let wrap = u64::from(u32::MAX);
        latency.observe(millis(100), wrap - 1, DECAY);
        assert_near(cost(&latency, 0, wrap + 10_000), 100.0 / std::f64::consts::E);
        assert_near(cost(&latency, 0, wrap - 5), 100.0);
    }
}
