//! Shows the state of the router on a port of its own.
//!
//! What is shown comes as values, in [`Shown`]; nothing here changes routing. One thing can be done: `/admin/shutdown`
//! asks for the stop that a signal asks for, and it is `app`'s to follow.
//!
//! * `pages` is the table of what there is, and finds the page of a request.
//! * `caller` refuses what a page of somebody else's could make a browser send.
//! * `server` carries connections, `answer` makes responses.
//!
//! Absent: TLS, passwords, and rules of who may see which page. The server listens on loopback unless the configuration
//! says otherwise.

mod answer;
mod caller;
mod metrics;
mod pages;
mod query;
mod server;

pub use self::server::serve;

use crate::drain::{Stage, Stages};
use crate::telemetry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::Notify;

/// What is shown, and the one thing that can be asked for.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Whether the routers are ready for requests.
    pub readiness: Readiness,
    /// Notified when the process is asked to stop.
    pub stop: Arc<Notify>,
    /// What is counted.
    pub registry: Registry,
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
