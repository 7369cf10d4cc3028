//! The settings of failure accrual.

use crate::proxy::upstream::backoff::{BackoffSettings, RetryPauses};
use std::time::Duration;

/// The settings of failure accrual. By default, an endpoint is shut after five failures in a row, for 5 s at first and
/// for 300 s at most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AccrualSettings {
    /// The failures that shut an endpoint.
    pub policy: AccrualPolicy,
    /// How long it stays shut.
    pub backoff: AccrualBackoff,
    /// Whether a connection that is refused shuts it at once, whatever the policy: false. `failFast`.
    pub fail_fast: bool,
}

/// The failures that shut an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AccrualPolicy {
    /// So many in a row. The default is 5.
    ConsecutiveFailures {
        /// From 1.
        failures: u32,
    },
    /// A rate of success, of about the last so many attempts, that is too low.
    SuccessRate {
        /// The least rate, from 0 to 1.
        success_rate: f64,
        /// From 1. Before so many attempts have ended, the endpoint stays alive.
        requests: u32,
    },
    /// A rate of success, of about the last so much time, that is too low.
    SuccessRateWindowed {
        /// The least rate, from 0 to 1.
        success_rate: f64,
        /// From 1 ms. Before attempts have ended for so long, the endpoint stays alive.
        window: Duration,
    },
    /// None: endpoints are always alive.
    None,
}

impl Default for AccrualPolicy {
    fn default() -> Self {
        Self::ConsecutiveFailures { failures: 5 }
    }
}

impl AccrualPolicy {
    /// Returns whether this many failures in a row shut an endpoint.
    pub(super) fn shuts_after(self, in_a_row: u32) -> bool {
        matches!(self, Self::ConsecutiveFailures { failures } if in_a_row >= failures)
    }
}

/// The times for which an endpoint stays shut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AccrualBackoff {
    /// `min` at first; then a random time between half and all of twice the last bound, up to `max`: Finagle's
    /// `equalJittered`. The default is from 5 s to 300 s.
    EqualJittered {
        /// The first time.
        min: Duration,
        /// The longest time.
        max: Duration,
    },
    /// As it is configured.
    Configured(BackoffSettings),
}

impl Default for AccrualBackoff {
    fn default() -> Self {
        Self::EqualJittered { min: Duration::from_secs(5), max: Duration::from_secs(300) }
    }
}

impl AccrualBackoff {
    /// Returns how long an endpoint is shut after so many failed probes, and `last` before that.
    pub(super) fn pause(self, probes: u16, last: Duration) -> Duration {
        match (self, probes) {
            (Self::EqualJittered { min, max }, 0) => min.min(max),
            (Self::EqualJittered { min, max }, _) => {
                let half = min.saturating_mul(1 << (probes - 1).min(31)).min(max);
                half.saturating_add(half.mul_f64(fastrand::f64())).min(max)
            }
            (Self::Configured(settings), _) => {
                RetryPauses::after(settings, (probes > 0).then_some(last)).next_pause()
            }
        }
    }
}
