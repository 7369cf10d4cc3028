//! The metrics of a listener, in cells of one worker: counting takes no lock and allocates nothing.

mod traffic;

pub use self::traffic::TrafficMetrics;
pub(crate) use self::traffic::{AttemptEnd, ClientCounters, ServiceCounters};

use crate::context::{RemovalKind, Removals};
use crate::fault::Blame;
use crate::telemetry::{Counter, Durations, Gauge, Registry, SeriesScope, SharedCounter};
use std::sync::Arc;
use std::time::Duration;

/// The end of a request for its listener. Each request has exactly one, so that their counts add up to `requests`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// It was routed, and its response with a status below 500 was passed on to its end.
    Success,
    /// It was routed, and its response with a status of 500 or above was passed on to its end.
    FailedResponse,
    /// It was not carried, or its response broke off, by this party's fault.
    Fault(Blame),
    /// Its caller went away before the end of the response, or of its own body; or the router was stopped by force.
    Abandoned,
    /// Its caller sent no bytes, or took none, for too long.
    Stalled,
}

impl RequestOutcome {
    /// Returns the outcome of a response with this status that was passed on to its end.
    pub(crate) fn of_status(status: u16) -> Self {
        if status < 500 { Self::Success } else { Self::FailedResponse }
    }

    /// Returns the word for it in a log.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::FailedResponse => "failed_response",
            Self::Fault(Blame::Caller) => "caller_fault",
            Self::Fault(Blame::Router) => "router_fault",
            Self::Fault(Blame::Upstream) => "upstream_fault",
            Self::Abandoned => "abandoned",
            Self::Stalled => "stalled",
        }
    }
}

/// The metric cells of one listener on one worker. They go with the last request that counts in them.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    connections: Counter,
    open_connections: Gauge,
    requests: Counter,
    success: Counter,
    failed_responses: Counter,
    caller_faults: Counter,
    router_faults: Counter,
    upstream_faults: Counter,
    abandoned: Counter,
    stalled: Counter,
    /// Responses by the first digit of their status, from 1.
    responses: [Counter; 5],
    durations: Durations,
    dropped_overrides: Counter,
    /// The parts that were removed from requests, by kind.
    removed: [Counter; RemovalKind::ALL.len()],
    pub(crate) unbound_overrides: Counter,
    pub(crate) lost_shares: Counter,
    pub(crate) unknown_host_overrides: Counter,
    pub(crate) sandboxes: SandboxCounters,
    pub(crate) unfinished_heads: Counter,
    pub(crate) handshakes: Counter,
    pub(crate) failed_handshakes: Counter,
    pub(crate) refused_proxies: Counter,
    /// Connections that were refused when a proxy had said who calls.
    pub(crate) refused_connections: Counter,
    /// Connections that made room for those.
    pub(crate) evicted_connections: Counter,
    pub(crate) reset_floods: Counter,
    pub(crate) frame_floods: Counter,
    pub(crate) refused_streams: Counter,
    _series: Option<SeriesScope>,
}

/// The metric cells of a listener's acceptor. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct AcceptCounters {
    /// Connections that were refused.
    pub(crate) refused: SharedCounter,
    /// Connections that made room for others.
    pub(crate) evicted: SharedCounter,
    _series: Arc<SeriesScope>,
}

/// The counters of requests that select sandboxes.
#[derive(Clone, Debug, Default)]
pub(crate) struct SandboxCounters {
    pub(crate) selected: Counter,
    pub(crate) unknown: Counter,
    pub(crate) conflicts: Counter,
    pub(crate) fallbacks: Counter,
}

/// The help text of each series.
const MEANINGS: [(&str, &str); 17] = [
    ("connections", "Connections accepted and served"),
    ("open_connections", "Connections open now"),
    ("requests", "Requests whose head was read, refused ones too"),
    ("success", "Requests that were routed and answered to the end with a status below 500"),
    ("failed_responses", "Requests that were routed and answered to the end with a status of 500 or above"),
    (
        "caller_faults",
        "Requests that failed by a fault of the caller: malformed, refused, or matched by no identifier",
    ),
    (
        "router_faults",
        "Requests that failed by a fault of the router: their name led nowhere, or a limit was reached",
    ),
    (
        "upstream_faults",
        "Requests that failed by a fault of the endpoint: it refused, broke off, was late, or its response was malformed",
    ),
    ("abandoned", "Requests whose caller went away before they were answered to the end"),
    ("stalled", "Requests that were given up because their caller neither sent nor took bytes for too long"),
    ("responses", "Responses by the class of their status, including those that the router made itself"),
    ("request_duration", "Time from the head of a request to the head of its response"),
    (
        "dropped_overrides",
        "Override header fields and dtab members of baggage that were dropped because their caller is not trusted",
    ),
    (
        "removed_from_requests",
        "Header fields, members of lists, query parameters and trailers that were removed because their caller may not \
         send them",
    ),
    ("unbound_overrides", "Requests with an override entry that leads nowhere"),
    (
        "lost_shares",
        "Requests with an override entry of which a weighted branch leads nowhere, so that others take its share",
    ),
    (
        "unknown_host_overrides",
        "Requests whose overrides were dropped because their Host is not known, on a listener that trusts by its loopback \
         address",
    ),
];

/// The help texts of series about sandboxes.
const SANDBOXES: [(&str, &str); 4] = [
    ("sandbox_requests", "Requests with a key of a sandbox or group in use"),
    ("sandbox_unknown_keys", "Requests with a key that no sandbox has, or that has ended"),
    ("sandbox_conflicts", "Requests whose sandboxes have different entries for one name"),
    (
        "sandbox_fallbacks",
        "Requests that went to the baseline because the entry of a sandbox for their name leads nowhere",
    ),
];

/// The help texts of series about connections that were refused, or ended without a request.
const UNFINISHED: [(&str, &str); 9] = [
    (
        "refused_connections",
        "Connections closed at once because the listener had reached its limit, and none was idle to make room",
    ),
    ("evicted_connections", "Connections closed while they were idle, to make room for others"),
    ("unfinished_heads", "Connections that ended, or timed out, in the middle of a head"),
    (
        "proxy_protocol_failures",
        "Connections that ended because they came from an address without the PROXY protocol, or did not begin with its \
         header in time",
    ),
    ("tls_handshakes", "Connections over TLS whose handshake was done"),
    (
        "tls_handshake_failures",
        "Connections over TLS that ended, or timed out, before their handshake was done: without TLS, without a good \
         certificate, or silent",
    ),
    (
        "reset_floods",
        "HTTP/2 connections that were ended because the caller reset many streams right after it began them",
    ),
    (
        "frame_floods",
        "HTTP/2 connections that were ended because the caller sent many frames that carry nothing of a request",
    ),
    (
        "refused_streams",
        "HTTP/2 streams refused unread because the caller's address had as many requests under way as it may",
    ),
];

/// The labels of a listener's series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListenerLabels<'a> {
    pub(crate) router: &'a str,
    pub(crate) server: &'a str,
}

impl<'a> ListenerLabels<'a> {
    /// Returns the labels as pairs.
    pub(crate) fn pairs(self) -> [(&'static str, &'a str); 2] {
        [("router", self.router), ("server", self.server)]
    }
}

impl AcceptCounters {
    /// Makes the cells of one listener's acceptor.
    pub(crate) fn new(registry: &Registry, labels: ListenerLabels<'_>) -> Self {
        let series = SeriesScope::new(registry);
        Self {
            refused: series.shared_counter("refused_connections", &labels.pairs()),
            evicted: series.shared_counter("evicted_connections", &labels.pairs()),
            _series: Arc::new(series),
        }
    }
}

impl Counters {
    /// Makes the cells of one listener on one worker.
    pub(crate) fn new(registry: &Registry, labels: ListenerLabels<'_>) -> Self {
        for (name, meaning) in MEANINGS.into_iter().chain(SANDBOXES).chain(UNFINISHED) {
            registry.describe(name, meaning);
        }
        let series = SeriesScope::new(registry);
        let labels = labels.pairs();
        let counter = |name| series.counter(name, &labels);
        let removed = |kind: RemovalKind| {
            series.counter("removed_from_requests", &[labels[0], labels[1], ("kind", kind.name())])
        };
        let class = |class| series.counter("responses", &[labels[0], labels[1], ("class", class)]);
        Self {
            connections: counter("connections"),
            open_connections: series.gauge("open_connections", &labels),
            requests: counter("requests"),
            success: counter("success"),
            failed_responses: counter("failed_responses"),
            caller_faults: counter("caller_faults"),
            router_faults: counter("router_faults"),
            upstream_faults: counter("upstream_faults"),
            abandoned: counter("abandoned"),
            stalled: counter("stalled"),
            responses: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(class),
            durations: series.durations("request_duration", &labels),
            dropped_overrides: counter("dropped_overrides"),
            removed: RemovalKind::ALL.map(removed),
            unbound_overrides: counter("unbound_overrides"),
            lost_shares: counter("lost_shares"),
            unknown_host_overrides: counter("unknown_host_overrides"),
            sandboxes: SandboxCounters {
                selected: counter("sandbox_requests"),
                unknown: counter("sandbox_unknown_keys"),
                conflicts: counter("sandbox_conflicts"),
                fallbacks: counter("sandbox_fallbacks"),
            },
            unfinished_heads: counter("unfinished_heads"),
            handshakes: counter("tls_handshakes"),
            failed_handshakes: counter("tls_handshake_failures"),
            refused_proxies: counter("proxy_protocol_failures"),
            refused_connections: counter("refused_connections"),
            evicted_connections: counter("evicted_connections"),
            reset_floods: counter("reset_floods"),
            frame_floods: counter("frame_floods"),
            refused_streams: counter("refused_streams"),
            _series: Some(series),
        }
    }

    /// Counts a connection that was accepted, and is open now.
    pub(crate) fn connected(&self) {
        self.connections.increment();
        self.open_connections.add(1);
    }

    /// Counts the end of a connection.
    pub(crate) fn disconnected(&self) {
        self.open_connections.add(-1);
    }

    /// Counts the connections that are open here in other counters from now on.
    pub(crate) fn move_connections(&self, to: &Self) {
        self.open_connections.move_to(&to.open_connections);
    }

    /// Counts what was removed from a request.
    pub(crate) fn count_removals(&self, removals: &Removals) {
        if removals.is_empty() {
            return;
        }
        self.dropped_overrides.add(removals.of(RemovalKind::Override).into());
        for (counter, kind) in self.removed.iter().zip(RemovalKind::ALL) {
            counter.add(removals.of(kind).into());
        }
    }

    /// Returns the counter of trailers that were removed.
    pub(crate) fn removed_trailers(&self) -> Counter {
        self.removed[RemovalKind::Trailer as usize].clone()
    }

    /// Counts a request that begins.
    pub(crate) fn begun(&self) {
        self.requests.increment();
    }

    /// Counts a request that has ended.
    pub(crate) fn ended(&self, outcome: RequestOutcome) {
        match outcome {
            RequestOutcome::Success => &self.success,
            RequestOutcome::FailedResponse => &self.failed_responses,
            RequestOutcome::Fault(Blame::Caller) => &self.caller_faults,
            RequestOutcome::Fault(Blame::Router) => &self.router_faults,
            RequestOutcome::Fault(Blame::Upstream) => &self.upstream_faults,
            RequestOutcome::Abandoned => &self.abandoned,
            RequestOutcome::Stalled => &self.stalled,
        }
        .increment();
    }

    /// Counts a response whose head took this time.
    pub(crate) fn answered(&self, status: u16, time: Duration) {
        self.refused(status);
        self.durations.record(time);
    }

    /// Counts a response to input that is not a request.
    pub(crate) fn refused(&self, status: u16) {
        let class = usize::from(status / 100).checked_sub(1);
        if let Some(counter) = class.and_then(|class| self.responses.get(class)) {
            counter.increment();
        }
    }
}
