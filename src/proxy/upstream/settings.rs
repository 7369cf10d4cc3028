//! The settings of a client: everything about its connections and attempts that a configuration may set.

use super::retry_budget::BudgetSettings;
use crate::message::HeadLimits;
use crate::name::Path;
use crate::proxy::limits::Http2Settings;
use crate::proxy::wire::WireProtocol;
use std::rc::Rc;
use std::time::Duration;

/// The settings of one client, which apply to its next request on every worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClientSettings {
    /// The protocol of endpoints whose namer does not give one.
    pub protocol: WireProtocol,
    /// Bounds on the heads of responses.
    pub heads: HeadLimits,
    /// The settings sent to endpoints over HTTP/2, and the bounds on their connections.
    pub http2: Http2Settings,
    /// How many attempts a request has at most: 4. Another one is made when no connection could be opened, or when the
    /// connection ended and the request may be sent again.
    pub max_attempts: usize,
    /// How many of those further attempts the process makes.
    pub requeue_budget: BudgetSettings,
    /// How long a connection may take to open: 3 s.
    pub connect_timeout: Duration,
    /// How long an endpoint's host may leave sent bytes unacknowledged, and how long it may be silent before it is
    /// probed: 30 s.
    pub keepalive: Duration,
    /// How many idle HTTP/1 connections to one endpoint a worker keeps: 512. More are closed.
    pub max_idle_connections: usize,
    /// How long an idle connection is kept: 60 s.
    pub idle_timeout: Duration,
    /// How many HTTP/2 connections a worker has to one endpoint at most: 8. Another one is opened when the endpoint
    /// allows no more streams on those that are open.
    pub max_http2_connections: usize,
    /// How many HTTP/1 connections that serve a request the process has to one endpoint at most: 1,024.
    /// `hostConnectionPool.maxSize`.
    pub max_http1_connections: usize,
    /// How long a request waits for one of them, or for a stream of an endpoint that allows no more: 1 s. `streamWaitMs`.
    pub stream_wait: Duration,
}

impl ClientSettings {
    /// Makes settings for endpoints of this protocol, with these bounds on the heads of responses. Everything else has
    /// its default.
    pub fn new(protocol: WireProtocol, heads: HeadLimits) -> Self {
        Self {
            protocol,
            heads,
            http2: Http2Settings::default(),
            max_attempts: 4,
            requeue_budget: BudgetSettings::default(),
            connect_timeout: Duration::from_secs(3),
            keepalive: Duration::from_secs(30),
            max_idle_connections: 512,
            idle_timeout: Duration::from_secs(60),
            max_http2_connections: 8,
            max_http1_connections: 1024,
            stream_wait: Duration::from_secs(1),
        }
    }
}

/// The settings of a router's clients. Each client takes its own by its id.
#[derive(Clone, Debug)]
pub(crate) struct SettingsTable {
    /// The settings that all clients of a router share: no configuration tells clients apart yet.
    common: Rc<ClientSettings>,
}

impl SettingsTable {
    pub(crate) fn new(common: ClientSettings) -> Self {
        Self { common: Rc::new(common) }
    }

    /// Returns the settings of the client with this id.
    pub(crate) fn choose(&self, _id: &Path) -> Rc<ClientSettings> {
        Rc::clone(&self.common)
    }
}
