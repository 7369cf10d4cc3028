//! The settings of a client: everything about its connections and attempts that a configuration may say.

use crate::message::HeadLimits;
use crate::name::Path;
use crate::proxy::limits::Http2Settings;
use crate::proxy::wire::WireProtocol;
use std::rc::Rc;
use std::time::Duration;

/// The settings of one client, which hold for its next request on every worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClientSettings {
    /// The protocol of endpoints whose namer does not say one.
    pub protocol: WireProtocol,
    /// Bounds on the heads of responses.
    pub heads: HeadLimits,
    /// Settings sent to endpoints over HTTP/2, and bounds on their connections.
    pub http2: Http2Settings,
    /// How many endpoints are tried when they refuse a connection, or close one before the request: 4.
    pub max_attempts: usize,
    /// How long a connection may take to open: 3 s.
    pub connect_timeout: Duration,
    /// How long an endpoint's host may leave sent bytes unacknowledged, and be silent before it is probed: 30 s.
    pub keepalive: Duration,
    /// How many connections over HTTP/1 to one endpoint a worker keeps waiting: 512. More are closed.
    pub max_idle_connections: usize,
    /// How long a connection without a request is kept: 60 s.
    pub idle_timeout: Duration,
    /// How many connections over HTTP/2 a worker has to one endpoint: 8. The second and those behind it serve the
    /// requests beyond the streams that the endpoint allows on one.
    pub max_http2_connections: usize,
}

impl ClientSettings {
    /// Makes settings for endpoints of this protocol, whose responses have heads within these bounds; everything else
    /// has its default.
    pub fn new(protocol: WireProtocol, heads: HeadLimits) -> Self {
        Self {
            protocol,
            heads,
            http2: Http2Settings::default(),
            max_attempts: 4,
            connect_timeout: Duration::from_secs(3),
            keepalive: Duration::from_secs(30),
            max_idle_connections: 512,
            idle_timeout: Duration::from_secs(60),
            max_http2_connections: 8,
        }
    }
}

/// The settings of a router's clients, from which each client takes its own by its id.
#[derive(Clone, Debug)]
pub(crate) struct SettingsTable {
    /// All clients of a router share these: no configuration tells them apart yet.
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
