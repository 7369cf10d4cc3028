//! Failure accrual: an endpoint that fails too often is left alone for a while, and then tried by one request at a time.
//!
//! An endpoint is *alive*, *shut* until a time, or *probing*: shut, while one request finds out whether it answers again. A
//! probe that succeeds makes the endpoint alive; one that fails shuts it for longer. The balancer prefers endpoints that
//! are alive. When all are shut it picks one anyway, and such a request makes its endpoint alive as well if it succeeds.
//!
//! The state is one atomic word, so that workers share it without a lock; an endpoint that is alive costs a request two
//! loads of it.

mod policy;
mod success_rate;

pub use self::policy::{AccrualBackoff, AccrualPolicy, AccrualSettings};

use self::success_rate::SuccessRate;
use crate::proxy::exchange::{AttemptReport, Outcome, Standing};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// The health of one endpoint, by the ends of its attempts, over all workers.
///
/// The state stands first, on the cache line of the counts that each request changes.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct EndpointAccrual {
    /// The [`AccrualState`].
    state: AtomicU64,
    /// The rate of success, under a policy that wants to know it.
    success_rate: SuccessRate,
    /// The last pause in milliseconds: the next one may depend on it.
    pause: AtomicU64,
    /// The time from which the times in the atomics are counted.
    epoch: Instant,
}

/// The state of an endpoint, as it stands in an atomic word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccrualState {
    /// It takes requests.
    Alive {
        /// How many attempts in a row have failed.
        failures: u32,
    },
    /// It takes no requests.
    Shut {
        /// How many probes have failed.
        probes: u16,
        /// When the next probe may begin, in milliseconds since the epoch of the endpoint.
        until: u64,
    },
    /// It takes no requests but the one that probes it.
    Probing {
        /// How many probes have failed.
        probes: u16,
        /// When the response began, in milliseconds since the epoch of the endpoint; 0 before that.
        answered: u64,
    },
}

/// How long the response to a probe may last, once it has begun well: a stream of messages that goes on is an answer.
const ANSWER: Duration = Duration::from_secs(1);

/// The tags of the states, in the two highest bits of the word.
const SHUT: u64 = 1 << 62;
const PROBING: u64 = 2 << 62;
const TAGS: u64 = 3 << 62;

/// The bits of the time, below those of the number of probes: 2,000 years of milliseconds.
const TIME_BITS: u32 = 46;
const TIME: u64 = (1 << TIME_BITS) - 1;

impl AccrualState {
    fn pack(self) -> u64 {
        match self {
            Self::Alive { failures } => u64::from(failures),
            Self::Shut { probes, until } => SHUT | u64::from(probes) << TIME_BITS | until.min(TIME),
            Self::Probing { probes, answered } => {
                PROBING | u64::from(probes) << TIME_BITS | answered.min(TIME)
            }
        }
    }

    const fn unpack(word: u64) -> Self {
        // The bits between the tag and the time.
        let probes = (word >> TIME_BITS) as u16;
        match word & TAGS {
            0 => Self::Alive { failures: word as u32 },
            SHUT => Self::Shut { probes, until: word & TIME },
            _ => Self::Probing { probes, answered: word & TIME },
        }
    }
}

/// The answer to a request that would probe an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeClaim {
    /// It is the probe.
    Granted,
    /// A probe was answered well a while ago, and its response goes on: the endpoint is alive.
    Revived,
    /// No probe is due, or another request is the probe.
    Denied,
}

/// A change of state that someone may want to know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccrualChange {
    /// An endpoint that was alive is shut for so long.
    Removed(Duration),
    /// A probe failed; the endpoint stays shut for so long.
    ProbeFailed(Duration),
    /// An endpoint that was shut is alive.
    Revived,
}

impl EndpointAccrual {
    /// Makes the state of an endpoint that is alive.
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU64::new(0),
            success_rate: SuccessRate::default(),
            pause: AtomicU64::new(0),
            epoch: Instant::now(),
        }
    }

    /// Returns the state.
    pub(crate) fn state(&self) -> AccrualState {
        AccrualState::unpack(self.state.load(Relaxed))
    }

    /// Returns whether the endpoint takes requests.
    pub(crate) fn is_alive(&self) -> bool {
        self.state.load(Relaxed) & TAGS == 0
    }

    /// Returns whether the endpoint takes requests and answered the last of them well.
    pub(crate) fn is_well(&self) -> bool {
        self.state.load(Relaxed) == 0
    }

    /// Returns whether one success more leaves it as it is.
    pub(crate) fn is_unmoved_by_success(&self, policy: AccrualPolicy) -> bool {
        self.is_well() && self.success_rate.is_unmoved_by_success(policy)
    }

    /// Returns the milliseconds from the epoch of the endpoint until `now`.
    pub(crate) fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_millis() as u64
    }

    /// Claims the probe of an endpoint that is shut.
    pub(crate) fn claim_probe(&self, now: Instant) -> ProbeClaim {
        let (word, now) = (self.state.load(Relaxed), self.millis(now));
        let (next, claim) = match AccrualState::unpack(word) {
            AccrualState::Shut { probes, until } if now >= until => {
                (AccrualState::Probing { probes, answered: 0 }, ProbeClaim::Granted)
            }
            AccrualState::Probing { answered, .. }
                if answered > 0 && now.saturating_sub(answered) >= ANSWER.as_millis() as u64 =>
            {
                (AccrualState::Alive { failures: 0 }, ProbeClaim::Revived)
            }
            _ => return ProbeClaim::Denied,
        };
        if self.state.compare_exchange(word, next.pack(), Relaxed, Relaxed).is_err() {
            return ProbeClaim::Denied;
        }
        if claim == ProbeClaim::Revived {
            self.success_rate.reset();
        }
        claim
    }

    /// Notes that the response to the probe has begun well.
    pub(crate) fn note_probe_answer(&self) {
        let answered = self.millis(Instant::now()).max(1);
        self.change(|state| match state {
            AccrualState::Probing { probes, .. } => Some(AccrualState::Probing { probes, answered }),
            _ => None,
        });
    }

    /// Gives back the probe of a request that did not begin, or says nothing about the endpoint: another may have it.
    pub(crate) fn return_probe(&self) {
        self.change(|state| match state {
            AccrualState::Probing { probes, .. } => Some(AccrualState::Shut { probes, until: 0 }),
            _ => None,
        });
    }

    /// Makes the endpoint alive, whatever it was.
    pub(crate) fn revive(&self) {
        self.success_rate.reset();
        self.state.store(0, Relaxed);
    }

    /// Counts the end of an attempt.
    pub(crate) fn report(&self, report: AttemptReport, settings: &AccrualSettings) -> Option<AccrualChange> {
        match (report.verdict(), report.standing) {
            (Some(true), standing) => self.succeed(standing, settings),
            (Some(false), _) => self.fail(report, settings),
            (None, Standing::Probed) => {
                self.return_probe();
                None
            }
            (None, _) => None,
        }
    }

    /// Counts a success. An endpoint that is shut becomes alive by one that began after it was shut.
    fn succeed(&self, standing: Standing, settings: &AccrualSettings) -> Option<AccrualChange> {
        if self.is_alive() {
            self.success_rate.count(true, settings.policy, self);
        }
        if self.is_well() {
            return None;
        }
        let alive = AccrualState::Alive { failures: 0 };
        let old = self.change(|state| match state {
            AccrualState::Alive { .. } => Some(alive),
            _ if standing != Standing::Alive => Some(alive),
            _ => None,
        })?;
        if matches!(old, AccrualState::Alive { .. }) {
            return None;
        }
        self.success_rate.reset();
        Some(AccrualChange::Revived)
    }

    /// Counts a failure, and shuts the endpoint if that is too many.
    fn fail(&self, report: AttemptReport, settings: &AccrualSettings) -> Option<AccrualChange> {
        let AttemptReport { outcome, standing, .. } = report;
        let now = self.millis(Instant::now());
        let is_low = self.is_alive() && self.success_rate.count(false, settings.policy, self);
        let is_last = is_low || (settings.fail_fast && outcome == Outcome::Refused);
        let shuts = |failures: u32| is_last || settings.policy.shuts_after(failures.saturating_add(1));
        let (probes, pause) = match self.state() {
            AccrualState::Probing { probes, .. } if standing == Standing::Probed => {
                let last = Duration::from_millis(self.pause.load(Relaxed));
                let probes = probes.saturating_add(1);
                (probes, settings.backoff.pause(probes, last))
            }
            _ => (0, settings.backoff.pause(0, Duration::ZERO)),
        };
        let millis = pause.as_millis() as u64;
        let shut = AccrualState::Shut { probes, until: now.saturating_add(millis) };
        let old = self.change(|state| match state {
            AccrualState::Alive { failures } if shuts(failures) => Some(shut),
            AccrualState::Alive { failures } => {
                Some(AccrualState::Alive { failures: failures.saturating_add(1) })
            }
            AccrualState::Probing { .. } if standing == Standing::Probed => Some(shut),
            _ => None,
        })?;
        let change = match old {
            AccrualState::Alive { failures } if shuts(failures) => AccrualChange::Removed(pause),
            AccrualState::Alive { .. } => return None,
            _ => AccrualChange::ProbeFailed(pause),
        };
        self.pause.store(millis, Relaxed);
        Some(change)
    }

    /// Changes the state, as long as `next` has another; returns the old one.
    fn change(&self, next: impl Fn(AccrualState) -> Option<AccrualState>) -> Option<AccrualState> {
        let update = |word| next(AccrualState::unpack(word)).map(AccrualState::pack);
        self.state.fetch_update(Relaxed, Relaxed, update).ok().map(AccrualState::unpack)
    }
}

#[cfg(test)]
mod tests;
