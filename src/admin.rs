//! Shows the state of the router on a port of its own.
//!
//! What is shown comes as values, in [`Shown`]; nothing here changes routing. One thing can be done: `/admin/shutdown`
//! asks for the stop that a signal asks for, and it is `app`'s to follow.
//!
//! * `pages` is the table of what there is, and finds the page of a request.
//! * `caller` refuses what a page of somebody else's could make a browser send.
//! * `delegator` explains where a name leads, to programs and on a page.
//! * `server` carries connections, `answer` makes responses.
//!
//! Absent: TLS, passwords, and rules of who may see which page. The server listens on loopback unless the configuration
//! says otherwise.

mod answer;
mod caller;
mod delegator;
mod metrics;
mod pages;
mod query;
mod server;
mod state;

pub use self::server::serve;

use crate::drain::{Stage, Stages};
use crate::interpret::{Asker, Namers, Naming};
use crate::kubernetes::ApiClients;
use crate::name::Path;
use crate::proxy::Loads;
use crate::store::DtabStore;
use crate::telemetry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::{Notify, watch};

/// What is shown, and the one thing that can be asked for.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Whether the routers are ready for requests.
    pub readiness: Readiness,
    /// Notified when the process is asked to stop.
    pub stop: Arc<Notify>,
    /// What is counted.
    pub registry: Registry,
    /// The configuration as it was resolved.
    pub config: watch::Receiver<serde_json::Value>,
    /// The routers.
    pub routers: watch::Receiver<Vec<Router>>,
    /// The namers.
    pub namers: watch::Receiver<Namers>,
    /// By which API servers are watched.
    pub clients: ApiClients,
    /// By whom they are asked.
    pub asker: Asker,
    /// What the workers know of endpoints.
    pub loads: Arc<Loads>,
}

/// One router.
#[derive(Clone, Debug)]
pub struct Router {
    /// Its label.
    pub label: String,
    /// What its identifiers put before names.
    pub prefix: Path,
    /// What names mean when the request says nothing; live.
    pub naming: watch::Receiver<Naming>,
    /// Where more of its dtab is stored, if anywhere.
    pub store: Option<DtabStore>,
}

/// Whether the routers are ready for requests: not before their listeners serve, and not while they drain.
#[derive(Clone, Debug)]
pub struct Readiness {
    serving: Arc<AtomicBool>,
    drain: Stages,
}

impl Readiness {
    /// Not ready until [`Readiness::serving`] is called, nor once `drain` has begun.
    pub fn new(drain: Stages) -> Self {
        Self { serving: Arc::default(), drain }
    }

    /// Says that every listener serves.
    pub fn serving(&self) {
        self.serving.store(true, Relaxed);
    }

    /// Returns why requests should not be sent here, if they should not.
    fn missing(&self) -> Option<&'static str> {
        if self.drain.stage() > Stage::Open {
            return Some("draining");
        }
        (!self.serving.load(Relaxed)).then_some("starting")
    }
}

#[cfg(test)]
mod tests;
