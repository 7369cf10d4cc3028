//! The metrics of services and clients. Each is there for as long as a worker has the service or the client, so that there
//! are no more of them than the caches of bindings and clients hold.

use super::RequestOutcome;
use crate::fault::Blame;
use crate::telemetry::{
    CounterGroup, Gauge, GroupKind, GroupSeries, GroupSource, Registry, SeriesScope, SourceKind,
};
use std::rc::Rc;
use std::sync::Weak;
use std::time::Duration;

/// The registry of a router's services and clients, on one worker. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TrafficMetrics {
    registry: Registry,
    router: Rc<str>,
    losing_names: Gauge,
    _series: Option<Rc<SeriesScope>>,
}

/// One worker's counters of a service: a logical name.
#[derive(Debug)]
pub(crate) struct ServiceCounters(CounterGroup);

/// One worker's counters of a client: a bound id. It counts attempts: a request may have several.
#[derive(Debug)]
pub(crate) struct ClientCounters(CounterGroup);

const fn series(name: &'static str, kind: Option<&'static str>, meaning: &'static str) -> GroupSeries {
    GroupSeries { name, kind, meaning }
}

const fn service_failure(kind: &'static str) -> GroupSeries {
    series("service_failures", Some(kind), "Requests for the service that failed, by the kind of failure")
}

const fn client_failure(kind: &'static str) -> GroupSeries {
    series(
        "client_failures",
        Some(kind),
        "Attempts at the client's endpoints that failed, by the kind of failure",
    )
}

/// The counters of a service. The places are those of [`ServiceCount`].
static SERVICE: GroupKind = GroupKind {
    counters: &[
        series("service_requests", None, "Requests for the service"),
        series(
            "service_success",
            None,
            "Requests for the service that were answered to the end, with a success",
        ),
        service_failure("response"),
        service_failure("caller"),
        service_failure("router"),
        service_failure("upstream"),
        service_failure("abandoned"),
        service_failure("stalled"),
        series("service_retries", None, "Requests for the service that were sent again after a failure"),
        series(
            "service_retries_budget_exhausted",
            None,
            "Retries that the budget of the service did not pay",
        ),
        series("service_mirrored", None, "Requests for the service that were copied to its mirror"),
        series(
            "service_mirror_skipped",
            None,
            "Copies that were left out: of a large or unfinished body, or one too many",
        ),
    ],
    durations: series(
        "service_request_duration",
        None,
        "Time from the head of a request for the service to the head of its response",
    ),
    sources: &[(
        series("service_retries_budget", None, "Retries that the budget of the service pays now"),
        SourceKind::Gauge,
    )],
};

/// The places of a service's counters.
#[derive(Clone, Copy, Debug)]
enum ServiceCount {
    Requests,
    Success,
    Response,
    Caller,
    Router,
    Upstream,
    Abandoned,
    Stalled,
    Retries,
    BudgetExhausted,
    Mirrored,
    MirrorSkipped,
}

/// The counters of a client. The places are those of [`ClientCount`], and of [`CLIENT_SOURCES`].
static CLIENT: GroupKind = GroupKind {
    counters: &[
        series("client_requests", None, "Attempts at the client's endpoints"),
        series(
            "client_success",
            None,
            "Attempts at the client's endpoints that were answered to the end, with a success",
        ),
        client_failure("response"),
        client_failure("refused"),
        client_failure("reset"),
        client_failure("timeout"),
        client_failure("abandoned"),
        client_failure("not_sent"),
        series(
            "client_requeues",
            None,
            "Further attempts for requests that no endpoint can have executed, or that may be repeated",
        ),
        series(
            "client_requeues_budget_exhausted",
            None,
            "Further attempts that the budget of the client did not pay",
        ),
        series("client_connects", None, "Connections that were opened to the client's endpoints"),
    ],
    durations: series(
        "client_request_duration",
        None,
        "Time from the beginning of an attempt that was answered to the head of its response",
    ),
    sources: CLIENT_SOURCES,
};

/// The numbers of a client that the workers share. Their order is that in which a [`GroupSource`] is asked.
const CLIENT_SOURCES: &[(GroupSeries, SourceKind)] = &[
    (series("client_endpoints", None, "Endpoints of the client"), SourceKind::Gauge),
    (
        series(
            "client_endpoints_available",
            None,
            "Endpoints of the client that failure accrual has not shut",
        ),
        SourceKind::Gauge,
    ),
    (series("client_requests_under_way", None, "Attempts that are under way"), SourceKind::Gauge),
    (series("client_waiters", None, "Requests that wait for a connection or a stream"), SourceKind::Gauge),
    (series("client_accrual_removals", None, "How often an endpoint was shut"), SourceKind::Counter),
    (
        series("client_accrual_revivals", None, "How often an endpoint that was shut became alive"),
        SourceKind::Counter,
    ),
    (series("client_accrual_probes", None, "Probes of endpoints that are shut"), SourceKind::Counter),
    (
        series("client_accrual_removed_ms", None, "Milliseconds for which endpoints were shut"),
        SourceKind::Counter,
    ),
];

/// The places of a client's counters.
#[derive(Clone, Copy, Debug)]
enum ClientCount {
    Requests,
    Success,
    Response,
    Refused,
    Reset,
    TimedOut,
    Abandoned,
    NotSent,
    Requeues,
    BudgetExhausted,
    Connects,
}

/// The end of an attempt for its client. Each attempt has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    /// The response was passed on to its end, and is none of the failures.
    Success,
    /// The response was passed on to its end, and is a failure.
    FailedResponse,
    /// No connection could be opened.
    Refused,
    /// The connection or the stream ended before the response was whole, or the response was malformed.
    Reset,
    /// The endpoint was not connected, or did not answer, in time.
    TimedOut,
    /// The caller went away, or stalled.
    Abandoned,
    /// The request was not sent.
    NotSent,
}

impl TrafficMetrics {
    /// Makes the registry of a router's services and clients.
    pub fn new(registry: &Registry, router: &str) -> Self {
        const MEANING: &str = "Names in use of which a weighted branch of the router's own dtab leads nowhere, so that others \
                               take its share; each worker counts its own";
        registry.describe("losing_names", MEANING);
        let series = SeriesScope::new(registry);
        let losing_names = series.gauge("losing_names", &[("router", router)]);
        let (registry, router) = (registry.clone(), router.into());
        Self { registry, router, losing_names, _series: Some(Rc::new(series)) }
    }

    /// Returns the gauge of the names that lose a share by the router's own dtab.
    pub(crate) fn losing_names(&self) -> &Gauge {
        &self.losing_names
    }

    /// Makes one worker's counters of a service, whose budget is read from a source.
    pub(crate) fn service(&self, name: &str, budget: Weak<dyn GroupSource>) -> Rc<ServiceCounters> {
        let group = self.registry.group(&SERVICE, &[("router", &self.router), ("service", name)]);
        group.set_source(budget);
        Rc::new(ServiceCounters(group))
    }

    /// Makes one worker's counters of a client. What the workers share of it is read from a source.
    pub(crate) fn client(&self, id: &str, shared: Weak<dyn GroupSource>) -> Rc<ClientCounters> {
        let group = self.registry.group(&CLIENT, &[("router", &self.router), ("client", id)]);
        group.set_source(shared);
        Rc::new(ClientCounters(group))
    }
}

impl ServiceCounters {
    /// Counts a request that begins.
    pub(crate) fn begun(&self) {
        self.0.increment(ServiceCount::Requests as usize);
    }

    /// Counts a request that has ended.
    pub(crate) fn ended(&self, outcome: RequestOutcome) {
        self.0.increment(match outcome {
            RequestOutcome::Success => ServiceCount::Success,
            RequestOutcome::FailedResponse => ServiceCount::Response,
            RequestOutcome::Fault(Blame::Caller) => ServiceCount::Caller,
            RequestOutcome::Fault(Blame::Router) => ServiceCount::Router,
            RequestOutcome::Fault(Blame::Upstream) => ServiceCount::Upstream,
            RequestOutcome::Abandoned => ServiceCount::Abandoned,
            RequestOutcome::Stalled => ServiceCount::Stalled,
        } as usize);
    }

    /// Records the time until the head of a response.
    pub(crate) fn answered(&self, time: Duration) {
        self.0.record(time);
    }

    /// Counts a copy to the mirror, or one that was left out.
    pub(crate) fn mirrored(&self, is_sent: bool) {
        let count = if is_sent { ServiceCount::Mirrored } else { ServiceCount::MirrorSkipped };
        self.0.increment(count as usize);
    }

    /// Counts a retry, or one that the budget did not pay.
    pub(crate) fn retried(&self, is_paid: bool) {
        let count = if is_paid { ServiceCount::Retries } else { ServiceCount::BudgetExhausted };
        self.0.increment(count as usize);
    }
}

impl ClientCounters {
    /// Sets where the numbers are read that the workers share of the client.
    pub(crate) fn set_source(&self, shared: Weak<dyn GroupSource>) {
        self.0.set_source(shared);
    }

    /// Counts an attempt that begins.
    pub(crate) fn begun(&self) {
        self.0.increment(ClientCount::Requests as usize);
    }

    /// Counts an attempt that has ended.
    pub(crate) fn ended(&self, end: AttemptEnd) {
        self.0.increment(match end {
            AttemptEnd::Success => ClientCount::Success,
            AttemptEnd::FailedResponse => ClientCount::Response,
            AttemptEnd::Refused => ClientCount::Refused,
            AttemptEnd::Reset => ClientCount::Reset,
            AttemptEnd::TimedOut => ClientCount::TimedOut,
            AttemptEnd::Abandoned => ClientCount::Abandoned,
            AttemptEnd::NotSent => ClientCount::NotSent,
        } as usize);
    }

    /// Records the time until the head of a response.
    pub(crate) fn answered(&self, time: Duration) {
        self.0.record(time);
    }

    /// Counts a further attempt, or one that the budget did not pay.
    pub(crate) fn requeued(&self, is_paid: bool) {
        let count = if is_paid { ClientCount::Requeues } else { ClientCount::BudgetExhausted };
        self.0.increment(count as usize);
    }

    /// Counts a connection that was opened.
    pub(crate) fn connected(&self) {
        self.0.increment(ClientCount::Connects as usize);
    }
}
