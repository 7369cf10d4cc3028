//! What a listener counts, in cells of one worker: counting takes no lock and allocates nothing.

use crate::fault::{Blame, Fault};
use crate::telemetry::{Counter, Durations, Gauge, Registry};
use tokio::time::Instant;

/// One worker's cells of a listener.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    connections: Counter,
    open_connections: Gauge,
    pub(crate) requests: Counter,
    success: Counter,
    failed_responses: Counter,
    caller_faults: Counter,
    router_faults: Counter,
    upstream_faults: Counter,
    /// By the first digit of the status, from 1.
    responses: [Counter; 5],
    durations: Durations,
    pub(crate) dropped_overrides: Counter,
    pub(crate) unbound_overrides: Counter,
    pub(crate) unfinished_heads: Counter,
    pub(crate) reset_floods: Counter,
}

/// A connection that is open; its drop says that it is over.
#[derive(Debug)]
pub(crate) struct OpenConnection(Gauge);

/// What each series means.
const MEANINGS: [(&str, &str); 12] = [
    ("connections", "Connections accepted and served"),
    ("open_connections", "Connections open now"),
    ("requests", "Requests whose head was read"),
    ("success", "Requests answered with a status below 500 by what their name led to"),
    ("failed_responses", "Requests answered with a status from 500 by what their name led to"),
    ("caller_faults", "Requests not carried by a fault of the caller: malformed, or named by nothing"),
    (
        "router_faults",
        "Requests not carried by a fault of the router: their name led nowhere, or a limit was reached",
    ),
    (
        "upstream_faults",
        "Requests not carried by a fault of the endpoint: it refused, broke off, or was late",
    ),
    ("responses", "Responses by the class of their status, those made by the router among them"),
    ("request_duration", "Time from a request's head to its response's"),
    ("dropped_overrides", "Override fields of callers who are not trusted"),
    ("unbound_overrides", "Requests whose override names something that leads nowhere"),
];

/// Besides those: connections that were too many, or did not become requests.
const UNFINISHED: [(&str, &str); 3] = [
    ("refused_connections", "Connections closed at once: there were too many already"),
    ("unfinished_heads", "Connections that ended, or were given up, in the middle of a head"),
    (
        "reset_floods",
        "Connections over HTTP/2 that were ended because their caller reset what it had just begun",
    ),
];

/// Makes the cell of a listener's refused connections: they are counted where it accepts, and not by a worker.
pub(crate) fn refused_connections(registry: &Registry, router: &str, server: &str) -> Counter {
    registry.counter("refused_connections", &[("router", router), ("server", server)])
}

impl Counters {
    /// Makes a worker's cells of a listener.
    pub(crate) fn new(registry: &Registry, router: &str, server: &str) -> Self {
        for (name, meaning) in MEANINGS.into_iter().chain(UNFINISHED) {
            registry.describe(name, meaning);
        }
        let labels = [("router", router), ("server", server)];
        let counter = |name| registry.counter(name, &labels);
        let class = |class| registry.counter("responses", &[labels[0], labels[1], ("class", class)]);
        Self {
            connections: counter("connections"),
            open_connections: registry.gauge("open_connections", &labels),
            requests: counter("requests"),
            success: counter("success"),
            failed_responses: counter("failed_responses"),
            caller_faults: counter("caller_faults"),
            router_faults: counter("router_faults"),
            upstream_faults: counter("upstream_faults"),
            responses: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(class),
            durations: registry.durations("request_duration", &labels),
            dropped_overrides: counter("dropped_overrides"),
            unbound_overrides: counter("unbound_overrides"),
            unfinished_heads: counter("unfinished_heads"),
            reset_floods: counter("reset_floods"),
        }
    }

    /// Counts a connection, which is open until what comes back is dropped.
    pub(crate) fn connected(&self) -> OpenConnection {
        self.connections.increment();
        self.open_connections.add(1);
        OpenConnection(self.open_connections.clone())
    }

    /// Counts a request that was answered by what its name led to.
    pub(crate) fn carried(&self, status: u16) {
        if status < 500 { &self.success } else { &self.failed_responses }.increment();
    }

    /// Counts a request that was not carried.
    pub(crate) fn failed(&self, error: &impl Fault) {
        match error.blame() {
            Blame::Caller => self.caller_faults.increment(),
            Blame::Router => self.router_faults.increment(),
            Blame::Upstream => self.upstream_faults.increment(),
        }
    }

    /// Counts a response, to a request whose head was there when it began.
    pub(crate) fn answered(&self, status: u16, began: Instant) {
        self.refused(status);
        self.durations.record(began.elapsed());
    }

    /// Counts a response to what is not even a request.
    pub(crate) fn refused(&self, status: u16) {
        let class = usize::from(status / 100).checked_sub(1);
        if let Some(counter) = class.and_then(|class| self.responses.get(class)) {
            counter.increment();
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}
