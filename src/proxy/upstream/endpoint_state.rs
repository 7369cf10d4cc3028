//! The state of an endpoint that all workers share.

use super::accrual::{AccrualChange, EndpointAccrual, ProbeClaim};
use super::dial_guard::DialGuard;
use super::latency::PeakLatency;
use super::registry::SharedClient;
use super::settings::ClientSettings;
use super::waiters::Waiters;
use crate::proxy::exchange::{AttemptReport, Standing};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;
use tokio::time::Instant;

/// The state of one endpoint of one client, which all workers share.
///
/// Aligned to two cache lines (processors fetch them in pairs), so that workers that serve different endpoints do not
/// wait for each other.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct EndpointState {
    /// How many requests are under way, over all workers.
    in_flight: AtomicUsize,
    /// Those of them that wait for a connection or a stream.
    waiters: Waiters,
    /// How long its responses take.
    latency: PeakLatency,
    /// Its health.
    accrual: EndpointAccrual,
    /// Its client.
    client: Arc<SharedClient>,
    /// The sockets that no worker dials.
    guard: DialGuard,
}

impl EndpointState {
    /// Makes the state of a new endpoint.
    pub(crate) fn new(client: Arc<SharedClient>, guard: DialGuard) -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            waiters: Waiters::default(),
            latency: PeakLatency::default(),
            accrual: EndpointAccrual::new(),
            client,
            guard,
        }
    }

    pub(crate) fn client(&self) -> &Arc<SharedClient> {
        &self.client
    }

    pub(crate) fn guard(&self) -> &DialGuard {
        &self.guard
    }

    pub(crate) fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    pub(crate) fn accrual(&self) -> &EndpointAccrual {
        &self.accrual
    }

    /// Returns how many requests are under way, over all workers.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Returns how many requests have a connection over HTTP/1, or open one.
    pub(crate) fn connections(&self) -> usize {
        self.in_flight.load(SeqCst).saturating_sub(self.waiters.count())
    }

    /// Returns the cost of one more request, for a balancer with this decay.
    pub(crate) fn cost(&self, now: Instant, decay: Duration) -> f64 {
        self.latency.cost(self.in_flight(), self.accrual.millis(now), decay)
    }

    /// Counts a request that begins.
    pub(crate) fn begin(&self, standing: Standing) {
        self.in_flight.fetch_add(1, Relaxed);
        if standing == Standing::Probed {
            self.client.count_probe();
        }
    }

    /// Takes the latency of a response.
    pub(crate) fn observe(&self, began: Instant, decay: Duration) {
        let now = Instant::now();
        self.latency.observe(now.saturating_duration_since(began), self.accrual.millis(now), decay);
    }

    /// Takes the time of a request that ended without a response.
    pub(crate) fn observe_least(&self, began: Instant, decay: Duration) {
        let now = Instant::now();
        self.latency.observe_least(now.saturating_duration_since(began), self.accrual.millis(now), decay);
    }

    /// Counts a request that has ended. Its report is all that workers tell of an endpoint's health.
    pub(crate) fn report(&self, report: AttemptReport, settings: &ClientSettings) -> Option<AccrualChange> {
        self.in_flight.fetch_sub(1, SeqCst);
        if report.verdict() == Some(true) && self.accrual.is_unmoved_by_success(settings.accrual.policy) {
            return None;
        }
        self.judge(report, settings)
    }

    /// Draws the conclusions from a report that may change its health.
    ///
    /// It is a function of its own, so that other requests do not pay for its size.
    #[cold]
    fn judge(&self, report: AttemptReport, settings: &ClientSettings) -> Option<AccrualChange> {
        if report.verdict() == Some(false)
            && let Some(decay) = settings.balancer.decay()
        {
            self.latency.penalize(self.accrual.millis(Instant::now()), decay);
        }
        let change = self.accrual.report(report, &settings.accrual)?;
        self.take_over(change);
        Some(change)
    }

    /// Draws the conclusions from a change of its health.
    fn take_over(&self, change: AccrualChange) {
        if change == AccrualChange::Revived {
            self.latency.reset();
        }
        self.client.count(change);
    }

    /// Claims the probe; returns the answer.
    pub(crate) fn claim_probe(&self, now: Instant) -> ProbeClaim {
        let claim = self.accrual.claim_probe(now);
        if claim == ProbeClaim::Revived {
            self.take_over(AccrualChange::Revived);
        }
        claim
    }
}
