//! The moving rate of success of an endpoint.

use super::EndpointAccrual;
use super::policy::AccrualPolicy;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// The exponentially weighted rate of success of an endpoint's attempts, over all workers.
///
/// It begins at 1, and each attempt moves it, by how many attempts or how much time the policy looks back on. (Finagle's
/// begins with the first attempt: when that one fails, an endpoint with few failures is shut.)
#[derive(Debug, Default)]
pub(super) struct SuccessRate {
    /// The rate and the stamp of the last attempt; 0 before the first.
    word: AtomicU64,
    /// When the first attempt ended, in milliseconds since the epoch of the endpoint.
    began: AtomicU64,
}

/// A rate of success, as it stands in the atomic word.
#[derive(Clone, Copy)]
struct StampedRate {
    rate: f32,
    /// The number of the last attempt, or its time in milliseconds; not 0. A time wraps around after 49 days.
    stamp: u32,
}

/// The part of one failure's weight from which on it is forgotten, and the rate is 1 again.
const FORGOTTEN: f64 = 0.01;

impl StampedRate {
    const fn unpack(word: u64) -> Self {
        Self { rate: f32::from_bits((word >> 32) as u32), stamp: word as u32 }
    }

    fn pack(self) -> u64 {
        u64::from(self.rate.to_bits()) << 32 | u64::from(self.stamp)
    }
}

impl SuccessRate {
    /// Forgets all attempts.
    pub(super) fn reset(&self) {
        self.word.store(0, Relaxed);
    }

    /// Returns the atomic word.
    #[cfg(test)]
    pub(super) fn word(&self) -> u64 {
        self.word.load(Relaxed)
    }

    /// Returns whether one success more leaves the rate as it is, under this policy: where it is of no interest, and where it
    /// is 1 of as many attempts as the policy looks back on.
    pub(super) fn is_unmoved_by_success(&self, policy: AccrualPolicy) -> bool {
        match policy {
            AccrualPolicy::SuccessRate { requests, .. } => {
                let whole = StampedRate { rate: 1.0, stamp: requests.max(1) };
                self.word.load(Relaxed) == whole.pack()
            }
            AccrualPolicy::SuccessRateWindowed { .. } => false,
            AccrualPolicy::ConsecutiveFailures { .. } | AccrualPolicy::None => true,
        }
    }

    /// Counts an attempt under a policy that wants to know the rate; returns whether the rate is too low.
    pub(super) fn count(&self, is_success: bool, policy: AccrualPolicy, endpoint: &EndpointAccrual) -> bool {
        match policy {
            AccrualPolicy::SuccessRate { success_rate, requests } => {
                let StampedRate { rate, stamp } = self.count_by_number(is_success, requests);
                stamp >= requests && f64::from(rate) < success_rate
            }
            AccrualPolicy::SuccessRateWindowed { success_rate, window } => {
                let now = endpoint.millis(Instant::now());
                let rate = self.count_by_time(is_success, now, window);
                let known = Duration::from_millis(now.saturating_sub(self.began.load(Relaxed)));
                known >= window && f64::from(rate) < success_rate
            }
            AccrualPolicy::ConsecutiveFailures { .. } | AccrualPolicy::None => false,
        }
    }

    fn count_by_number(&self, is_success: bool, requests: u32) -> StampedRate {
        let weight = (-1.0 / f64::from(requests.max(1))).exp();
        self.update(|last| match last {
            None => StampedRate { rate: moved(1.0, is_success, weight), stamp: 1 },
            Some(last) => {
                let rate = moved(last.rate, is_success, weight);
                // Nearer to 1 it would come to rest before it is 1, for want of digits.
                let is_whole = 1.0 - f64::from(rate) < FORGOTTEN * (1.0 - weight);
                // More attempts than those it waits for need not be told apart: a rate that stays 1 is not written again.
                let stamp = last.stamp.saturating_add(1).min(requests.max(1));
                StampedRate { rate: if is_whole { 1.0 } else { rate }, stamp }
            }
        })
    }

    fn count_by_time(&self, is_success: bool, now: u64, window: Duration) -> f32 {
        let stamp = (now as u32).max(1);
        if self.word.load(Relaxed) == 0 {
            self.began.store(now, Relaxed);
        }
        let updated = self.update(|last| match last {
            None => StampedRate { rate: 1.0, stamp },
            Some(last) => {
                // A worker that is late by some milliseconds does not turn the time back.
                let elapsed = stamp.wrapping_sub(last.stamp).cast_signed().max(0);
                let weight = (-f64::from(elapsed) / window.as_millis().max(1) as f64).exp();
                let stamp = last.stamp.wrapping_add(elapsed.cast_unsigned()).max(1);
                StampedRate { rate: moved(last.rate, is_success, weight), stamp }
            }
        });
        updated.rate
    }

    /// Replaces the word by what `next` makes of it, which is returned.
    fn update(&self, next: impl Fn(Option<StampedRate>) -> StampedRate) -> StampedRate {
        let of_word = |word| next((word != 0).then(|| StampedRate::unpack(word)));
        let changed = self.word.fetch_update(Relaxed, Relaxed, |word| {
            let updated = of_word(word).pack();
            (updated != word).then_some(updated)
        });
        match changed {
            Ok(old) => of_word(old),
            Err(same) => StampedRate::unpack(same),
        }
    }
}

/// Returns a rate after one more attempt, with this weight of those before it.
fn moved(rate: f32, is_success: bool, weight: f64) -> f32 {
    let present = if is_success { 1.0 } else { 0.0 };
    (f64::from(rate) * weight + present * (1.0 - weight)) as f32
}
