//! The pauses between repeats.

use std::time::Duration;

/// The settings of pauses: Linkerd's `backoff`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffSettings {
    /// The same pause each time; zero by default.
    Constant(Duration),
    /// Pauses that grow at random: each is between `min` and three times the one before it, at most `max`. It is Finagle's
    /// decorrelated jitter (`Backoff.decorrelatedJittered`).
    Jittered {
        /// The first pause, and the least.
        min: Duration,
        /// The greatest pause.
        max: Duration,
    },
}

impl Default for BackoffSettings {
    fn default() -> Self {
        Self::Constant(Duration::ZERO)
    }
}

/// The pauses of one series of repeats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPauses {
    settings: BackoffSettings,
    /// The pause before, if there was one.
    last: Option<Duration>,
}

impl RetryPauses {
    pub(crate) fn new(settings: BackoffSettings) -> Self {
        Self { settings, last: None }
    }

    /// Goes on after a pause, if there was one.
    pub(crate) fn after(settings: BackoffSettings, last: Option<Duration>) -> Self {
        Self { settings, last }
    }

    /// Returns the next pause.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let pause = match self.settings {
            BackoffSettings::Constant(pause) => pause,
            BackoffSettings::Jittered { min, max } => match self.last {
                None => min.min(max),
                Some(last) => {
                    let most = last.saturating_mul(3).max(min);
                    (min + most.saturating_sub(min).mul_f64(fastrand::f64())).min(max)
                }
            },
        };
        self.last = Some(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_constant_pause_stays() {
        let mut backoff = RetryPauses::new(BackoffSettings::Constant(SECOND));
        assert_eq!([backoff.next_pause(), backoff.next_pause()], [SECOND; 2]);
        assert_eq!(RetryPauses::new(BackoffSettings::default()).next_pause(), Duration::ZERO);
    }

    #[test]
    fn jittered_pauses_stay_within_three_times_the_one_before_and_within_their_bounds() {
        fastrand::seed(7);
        let settings = BackoffSettings::Jittered { min: SECOND, max: 20 * SECOND };
        let mut greatest = Duration::ZERO;
        for _ in 0..100 {
            let mut backoff = RetryPauses::new(settings);
            let mut last = backoff.next_pause();
            assert_eq!(last, SECOND);
            for _ in 0..10 {
                let pause = backoff.next_pause();
                assert!((SECOND..=(3 * last).min(20 * SECOND)).contains(&pause), "{pause:?} after {last:?}");
                (last, greatest) = (pause, greatest.max(pause));
            }
        }
        assert_eq!(greatest, 20 * SECOND);
    }
}
