//! As few endpoints as the load allows.
//!
//! A process with little traffic to many endpoints has its connections to a few of them, so that they stay warm and the
//! load of each says something. All workers prefer the endpoints in the same order, which is another one in each process,
//! and use the first of it: so many that the requests under way for each are between two bounds (Finagle's `LoadBand`).

use super::super::endpoint::WorkerEndpoint;
use super::choice::Choice;
use super::p2c;
use super::settings::ApertureSettings;
use crate::proxy::exchange::AttemptTime;
use std::cell::Cell;
use std::rc::Rc;
use tokio::time::Instant;

/// How often the load is measured, as a part of the time over which it is smoothed.
const SAMPLES: u32 = 100;

/// The aperture of one worker: how many endpoints it uses.
///
/// It follows the requests of all workers, so that they come to the same aperture.
#[derive(Debug)]
pub(super) struct Aperture {
    size: Cell<usize>,
    /// The smoothed number of requests under way, with the time when it was last measured.
    load: Cell<Option<(f64, Instant)>>,
}

impl Default for Aperture {
    fn default() -> Self {
        Self { size: Cell::new(1), load: Cell::new(None) }
    }
}

impl Aperture {
    /// Picks the less loaded of two endpoints inside the aperture. When none of them can be used, the first behind them
    /// takes the request.
    pub(super) fn pick<'a>(
        &self,
        endpoints: &'a [Rc<WorkerEndpoint>],
        settings: &ApertureSettings,
        time: &AttemptTime,
    ) -> Option<Choice<'a>> {
        self.measure(endpoints, settings, time.get());
        let size = self.size.get().max(settings.min_aperture).min(endpoints.len());
        let (inside, outside) = endpoints.split_at(size);
        p2c::pick(inside, settings.max_effort, time, WorkerEndpoint::in_flight)
            .or_else(|| Choice::first_usable(inside.iter().chain(outside), time))
    }

    /// Measures the load, if it was not measured a short while ago, and adapts the size to it.
    fn measure(&self, endpoints: &[Rc<WorkerEndpoint>], settings: &ApertureSettings, now: Instant) {
        let last = self.load.get();
        let elapsed = last.map(|(_, measured)| now.saturating_duration_since(measured));
        if elapsed.is_some_and(|elapsed| elapsed < settings.smooth_window / SAMPLES) {
            return;
        }
        let present = endpoints.iter().map(|endpoint| endpoint.in_flight()).sum::<usize>() as f64;
        let load = match (last, elapsed) {
            (Some((load, _)), Some(elapsed)) => {
                let weight = (-elapsed.as_secs_f64() / settings.smooth_window.as_secs_f64()).exp();
                load * weight + present * (1.0 - weight)
            }
            _ => present,
        };
        self.load.set(Some((load, now)));
        let size = adapted(self.size.get(), load, settings).min(endpoints.len());
        self.size.set(size.max(settings.min_aperture).max(1));
    }
}

/// Returns the size next to the present one at which the load of each endpoint is between the bounds.
fn adapted(size: usize, load: f64, settings: &ApertureSettings) -> usize {
    let each = load / size as f64;
    // A conversion from a double saturates.
    if each >= settings.high_load {
        (load / settings.high_load).floor() as usize + 1
    } else if each <= settings.low_load {
        ((load / settings.low_load).ceil() as usize).saturating_sub(1)
    } else {
        size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_the_nearest_that_brings_the_load_between_the_bounds() {
        let settings = ApertureSettings::default();
        for (size, load, adapted_size) in [
            (1, 0.0, 0),
            (1, 1.0, 1),
            (1, 2.0, 2),
            (1, 40.0, 21),
            (30, 40.0, 30),
            (100, 40.0, 79),
            (100, 0.2, 0),
        ] {
            assert_eq!(adapted(size, load, &settings), adapted_size, "{load} on {size}");
        }
    }
}
