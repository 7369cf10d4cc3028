//! The settings of a balancer.

use std::time::Duration;

/// The settings of a client's balancer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BalancerSettings {
    /// The algorithm that picks an endpoint.
    pub algorithm: BalancerAlgorithm,
    /// Whether an endpoint that its namer no longer has stays in use until an attempt at it fails: false.
    /// `enableProbation`.
    pub enable_probation: bool,
    /// Whether endpoints that are hinted for the zone of the process get its requests, as long as one of them is not shut:
    /// false. `preferZone`.
    pub prefer_zone: bool,
}

/// The algorithm by which a balancer picks an endpoint among those of one weight.
///
/// Each prefers endpoints that failure accrual has not shut. `max_effort`, 5 by default, is how often an algorithm tries
/// to pick such a one before the balancer takes any.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BalancerAlgorithm {
    /// The one with fewer requests under way, of two at random. The default.
    P2c {
        /// `maxEffort`.
        max_effort: usize,
    },
    /// The one with the lower expected latency, of two at random.
    Ewma {
        /// `maxEffort`.
        max_effort: usize,
        /// How long a peak of the latency is remembered: 10 s. `decayTimeMs`.
        decay: Duration,
    },
    /// As `P2c`, among as few endpoints as the load allows.
    Aperture(ApertureSettings),
    /// The one with the fewest requests under way, of all.
    Heap,
    /// One after the other.
    RoundRobin {
        /// `maxEffort`.
        max_effort: usize,
    },
}

/// The settings of the algorithm `aperture`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApertureSettings {
    /// `maxEffort`.
    pub max_effort: usize,
    /// The time over which the load is smoothed: 5 s. `smoothWindowMs`.
    pub smooth_window: Duration,
    /// With fewer requests under way for each endpoint in use, fewer endpoints are used: 0.5. `lowLoad`.
    pub low_load: f64,
    /// With more requests under way for each endpoint in use, more endpoints are used: 2.0. `highLoad`.
    pub high_load: f64,
    /// How many endpoints are used at least: 1. `minAperture`.
    pub min_aperture: usize,
}

impl BalancerAlgorithm {
    /// The default of `max_effort`.
    pub const MAX_EFFORT: usize = 5;
}

impl Default for BalancerAlgorithm {
    fn default() -> Self {
        Self::P2c { max_effort: Self::MAX_EFFORT }
    }
}

impl Default for ApertureSettings {
    fn default() -> Self {
        Self {
            max_effort: BalancerAlgorithm::MAX_EFFORT,
            smooth_window: Duration::from_secs(5),
            low_load: 0.5,
            high_load: 2.0,
            min_aperture: 1,
        }
    }
}

impl BalancerSettings {
    /// Returns the decay of latencies; `None` when the algorithm does not look at them.
    pub(crate) fn decay(&self) -> Option<Duration> {
        match self.algorithm {
            BalancerAlgorithm::Ewma { decay, .. } => Some(decay),
            _ => None,
        }
    }
}
