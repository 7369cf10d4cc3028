//! Routers and their listeners, as the proxy runs them.

use super::access::AccessLog;
use crate::context;
use crate::identify;
use crate::interpret::Naming;
use crate::name::Path;
use crate::proxy::bind::BindingSettings;
use crate::proxy::limits::{Http2Settings, Limits};
use tokio::sync::watch;

/// One router: what it is as long as it runs.
#[derive(Debug)]
pub struct RouterConfig {
    /// Its name among the routers.
    pub label: String,
    /// What names mean when the request says nothing, now and whenever that changes.
    pub naming: watch::Receiver<Naming>,
    /// Where a line is written for each of its requests, if anywhere.
    pub access_log: Option<AccessLog>,
    /// Where its requests come in.
    pub listeners: Vec<ListenerConfig>,
}

/// One listener of a router: what it is as long as it runs.
#[derive(Debug)]
pub struct ListenerConfig {
    /// Its name in metrics: `<ip>/<port>`.
    pub label: String,
    /// Options of its connections.
    pub socket: SocketOptions,
}

/// What of a router can change while it runs. A request is served by what holds when it begins, also on a connection
/// that was open before.
#[derive(Clone, Debug)]
pub struct RouterSettings {
    /// What identifiers put before a name: `dstPrefix`.
    pub prefix: Path,
    /// How requests are named, tried in order.
    pub identifiers: Vec<identify::Identifier>,
    /// How names are bound, and what is remembered of that.
    pub bindings: BindingSettings,
    /// Of each of its listeners, in their order.
    pub listeners: Vec<ListenerSettings>,
}

/// What of a listener can change while it runs.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Whom it trusts, and what it adds.
    pub policy: context::Config,
    /// What it bounds.
    pub limits: Limits,
    /// What callers over HTTP/2 are told; those that are connected already were told what held then.
    pub http2: Http2Settings,
    /// How many requests it serves at once, over all workers: `maxConcurrentRequests`. Requests that began while
    /// nothing was said are not counted.
    pub max_concurrent_requests: Option<usize>,
    /// How many connections it has at once, over all workers: `maxConnections`.
    pub max_connections: usize,
}

/// Options of a listening socket and of the connections it accepts: `socketOptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Small writes leave at once.
    pub no_delay: bool,
    /// Several processes may listen on the port.
    pub reuse_port: bool,
    /// Idle connections are probed.
    pub keep_alive: bool,
    /// How many connections may wait to be accepted.
    pub backlog: i32,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { no_delay: true, reuse_port: false, keep_alive: false, backlog: 1024 }
    }
}
