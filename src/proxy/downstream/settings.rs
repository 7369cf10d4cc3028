//! The settings of routers and their listeners, as the proxy takes them.

use super::access::AccessLog;
use crate::context;
use crate::identify;
use crate::interpret::Naming;
use crate::name::Path;
use crate::proxy::bind::BindingSettings;
use crate::proxy::limits::{ConnectionLimits, Http2Settings, Limits};
use crate::sandbox::{SandboxTable, UnknownKey};
use crate::tls::{LiveTls, ServerTls};
use std::sync::Arc;
use tokio::sync::watch;

/// The identity of a router. A reload that keeps it keeps its caches and its connections to endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouterId(pub u64);

/// The identity of a listener: its socket. It may go from one router to another, with its open connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub(super) u64);

/// The settings of a router that a reload may change while it runs. A request is served under the settings that apply
/// when it begins, also on a connection that was open before.
#[derive(Clone, Debug)]
pub struct RouterSettings {
    /// The identity of the router.
    pub id: RouterId,
    /// The name of the router, unique among all routers.
    pub label: String,
    /// The log that receives a line for each request, if there is one.
    pub access_log: Option<AccessLog>,
    /// The dtab and namers that apply to a request without overrides, live. Settings that differ in anything else have
    /// another channel than those before them, so that all of them go live together.
    pub naming: watch::Receiver<Naming>,
    /// The prefix that identifiers put before a name: `dstPrefix`.
    pub prefix: Path,
    /// The identifiers that name requests, tried in this order.
    pub identifiers: Vec<identify::Identifier>,
    /// The settings for binding names, and for the cache of bindings.
    pub bindings: BindingSettings,
    /// All sandboxes, live.
    pub sandboxes: watch::Receiver<Arc<SandboxTable>>,
    /// The treatment of requests whose key no sandbox has.
    pub unknown_key: UnknownKey,
    /// The listeners of the router.
    pub listeners: Vec<ListenerSettings>,
}

/// The settings of a listener that a reload may change while it runs.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// The identity of the listener.
    pub id: ListenerId,
    /// The name of the listener in metrics: `<ip>/<port>`.
    pub label: String,
    /// The addresses of proxies in front, which have to say who calls, if there are any: `proxyProtocol`.
    pub proxies: Option<Arc<[context::Range]>>,
    /// The certificates with which connections are encrypted, if they are: `tls`.
    pub tls: Option<LiveTls<ServerTls>>,
    /// The callers that the listener trusts, and the headers that it adds.
    pub policy: context::Config,
    /// The bounds on requests and connections.
    pub limits: Limits,
    /// Settings sent to callers over HTTP/2. Connections that are open already keep the settings that they were sent.
    pub http2: Http2Settings,
    /// How many requests the listener serves at once, over all workers: `maxConcurrentRequests`. Requests that began
    /// while there was no such limit are not counted.
    pub max_concurrent_requests: Option<usize>,
    /// Whether CONNECT of trusted callers opens a tunnel: `connect`.
    pub connect: bool,
    /// The port to which requests in clear are sent whose Ingress has a certificate for their host: `ingressRedirect`.
    pub https_redirect: Option<u16>,
    /// The settings of its socket and its connections.
    pub accept: AcceptSettings,
}

/// The settings by which a listener accepts connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcceptSettings {
    /// Options of the listening socket, and of the connections that it accepts from now on.
    pub socket: SocketOptions,
    /// How many connections the listener has at once, over all workers: `maxConnections`.
    pub max_connections: usize,
    /// How many of them one peer address may have: `maxConnectionsPerPeer`.
    pub max_connections_per_peer: Option<usize>,
    /// Whether a proxy in front says who calls: `proxyProtocol`. Until it has, a connection is not bounded as others are.
    pub is_behind_proxy: bool,
    /// Whether its connections are encrypted: a caller beyond the limit is told so in a way that it can read.
    pub is_encrypted: bool,
}

/// How many connections behind a proxy may be open beyond `maxConnections`, until it is known who calls. Proxies say so
/// at once.
const MOST_UNNAMED: usize = 1024;

impl AcceptSettings {
    /// Returns the bounds on the connections of known callers.
    pub(crate) const fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits { total: self.max_connections, per_peer: self.max_connections_per_peer }
    }

    /// Returns the bounds on connections that are accepted.
    pub(super) const fn accept_limits(&self) -> ConnectionLimits {
        if self.is_behind_proxy {
            let total = self.max_connections.saturating_add(MOST_UNNAMED);
            return ConnectionLimits { total, per_peer: None };
        }
        self.connection_limits()
    }
}

/// Options of a listening socket and of the connections it accepts: `socketOptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Whether small writes are sent at once (`TCP_NODELAY`).
    pub no_delay: bool,
    /// Whether several processes may listen on the port (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// Whether idle connections are probed (`SO_KEEPALIVE`).
    pub keep_alive: bool,
    /// How many connections may wait to be accepted.
    pub backlog: i32,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { no_delay: true, reuse_port: false, keep_alive: false, backlog: 1024 }
    }
}
