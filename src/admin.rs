//! Shows the state of the router on a port of its own.
//!
//! The state comes as values, in [`AdminState`]; nothing here changes routing. One page acts: `/admin/shutdown` asks
//! for the stop that a signal asks for, and `app` carries it out.
//!
//! * `pages` is the table of pages, and finds the page of a request.
//! * `origin` refuses requests that another site's page could make a browser send.
//! * `access` has the rules about callers, `connections` the room for them.
//! * `routed` refuses requests that came through a router.
//! * `delegator` explains where a name leads, to programs and on a page.
//! * `server` carries connections, `response` makes responses.
//!
//! Absent: passwords, and rules about which caller may see which page: `security` removes pages for all. The server listens on loopback unless the
//! configuration says otherwise; a second listener may serve metrics and probes alone.

mod access;
mod connections;
mod delegator;
mod metrics;
mod origin;
mod pages;
mod query;
mod response;
mod routed;
mod sandboxes;
mod server;
mod state;

pub use self::access::{AdminAccess, AdminSecurity, PageSet, PathPattern, ShutdownAccess};
pub use self::server::serve;

use crate::context::OverrideLimits;
use crate::drain::{Stage, Stages};
use crate::interpret::{NamerHandle, Namers, Naming};
use crate::kubernetes::ApiClients;
use crate::name::Path;
use crate::proxy::EndpointRegistry;
use crate::sandbox::SandboxTable;
use crate::store::DtabStore;
use crate::telemetry::Registry;
use crate::tls::{LiveTls, ServerTls};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::{Notify, watch};

/// The state that the admin server shows, and the notification that a caller asks for a stop.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// Whether the routers are ready for requests.
    pub readiness: Readiness,
    /// The rules of access, live.
    pub access: watch::Receiver<AdminAccess>,
    /// The certificates of the admin server, if it has any, live.
    pub tls: watch::Receiver<Option<LiveTls<ServerTls>>>,
    /// Notified when the process is asked to stop.
    pub stop: Arc<Notify>,
    /// The metrics.
    pub registry: Registry,
    /// The configuration as it was resolved.
    pub config: watch::Receiver<serde_json::Value>,
    /// The routers.
    pub routers: watch::Receiver<Vec<RouterView>>,
    /// The namers.
    pub namers: watch::Receiver<Namers>,
    /// The clients that watch API servers.
    pub clients: ApiClients,
    /// The handle by which namers are asked for answers.
    pub namer_handle: NamerHandle,
    /// The registry of the endpoints that workers use.
    pub endpoint_registry: Arc<EndpointRegistry>,
}

/// One router, as the admin server shows it.
#[derive(Clone, Debug)]
pub struct RouterView {
    /// Its label.
    pub label: String,
    /// The prefix that its identifiers put before names.
    pub prefix: Path,
    /// The dtab and namers that apply to a request without overrides, live.
    pub naming: watch::Receiver<Naming>,
    /// How many lookups overrides may add to those of a name.
    pub max_override_lookups: usize,
    /// All sandboxes, live.
    pub sandboxes: watch::Receiver<Arc<SandboxTable>>,
    /// The store that holds more of its dtab, if there is one.
    pub store: Option<DtabStore>,
    /// Its listeners.
    pub listeners: Vec<ListenerView>,
}

/// One listener, as the admin server shows it.
#[derive(Clone, Debug)]
pub struct ListenerView {
    /// Its label.
    pub label: String,
    /// Whether it trusts any caller to override.
    pub trusts_anyone: bool,
    /// The trust and its reason, in words: ``trusts nobody: `trust: nobody` is set``.
    pub trust: String,
    /// The limits on overrides.
    pub limits: OverrideLimits,
}

/// The readiness of the routers for requests: not before their listeners serve, and not while they drain.
#[derive(Clone, Debug)]
pub struct Readiness {
    serving: Arc<AtomicBool>,
    drain: Stages,
}

impl Readiness {
    /// Returns a readiness that begins with [`Readiness::serving`] and ends when `drain` begins.
    pub fn new(drain: Stages) -> Self {
        Self { serving: Arc::default(), drain }
    }

    /// Records that every listener serves.
    pub fn serving(&self) {
        self.serving.store(true, Relaxed);
    }

    /// Returns the reason why requests should not be sent here, if there is one.
    fn unready_reason(&self) -> Option<&'static str> {
        if self.drain.stage() > Stage::Open {
            return Some("draining");
        }
        (!self.serving.load(Relaxed)).then_some("starting")
    }
}

#[cfg(test)]
mod tests;
