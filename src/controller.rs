//! The controller of sandboxes: the one process that writes, so that routers need no right to.
//!
//! Several replicas may run; a [lease](LeaseConfig) says which of them leads. The leader watches the sandboxes and groups
//! of its namespaces, judges them as routers do, and writes what comes of it:
//!
//! | what | where | when |
//! |---|---|---|
//! | whether requests can select it, and if not, why | condition `Accepted` | it changed, or an object with its key did |
//! | whether each of its destinations has endpoints, and if not, which and why | condition `Ready` | an answer changed; every 60 s |
//! | the end of a lifetime | `status.expiresAt` | once |
//! | the members of a group, and their conflicts | its status | one of them changed |
//! | a verdict that is another than before | an event | it is written |
//! | nothing any more | the sandbox is deleted | it has ended |
//!
//! A status is written only where it differs, and in the version that was read, so that two leaders cannot undo each other's
//! work. A leader that cannot renew its lease stops writing by its own clock before another one may take over.
//!
//! * `lease` takes the lease, renews it, loses it and gives it back.
//! * `leader` is the work of the leader: a pass over all objects after each change.
//! * `verdict` says what the status of an object should be; it is pure.
//! * `readiness` asks each destination.
//! * `write` writes statuses and events, and deletes.
//!
//! Absent: any part in the routing of requests. Without a controller routers route by sandboxes all the same, and end them
//! in time.

mod leader;
mod lease;
mod metrics;
mod observed;
mod readiness;
mod verdict;
mod write;

pub use self::lease::LeaseConfig;

use self::leader::Leader;
use self::lease::Election;
use self::metrics::Metrics;
use crate::interpret::{NamerHandle, Naming};
use crate::kubernetes::ApiClient;
use crate::sandbox::{SandboxRules, StoreState};
use crate::telemetry::Registry;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The parts that the controller works with.
#[derive(Clone, Debug)]
pub struct ControllerParts {
    /// The client of the API server, without snapshots: nothing is written by an old state.
    pub client: ApiClient,
    /// The namespaces whose sandboxes and groups it looks after.
    pub namespaces: Vec<String>,
    /// The limits on sandboxes, as the routers have them.
    pub rules: Arc<SandboxRules>,
    /// The sandboxes of the configuration, which have precedence.
    pub embedded: Option<watch::Receiver<StoreState>>,
    /// The dtab and the namers under which destinations are asked.
    pub naming: watch::Receiver<Naming>,
    /// The handle by which namers are asked.
    pub namer_handle: NamerHandle,
    /// The lease.
    pub lease: LeaseConfig,
    /// The registry of its metrics.
    pub registry: Registry,
    /// The runtime of its tasks.
    pub control: Handle,
}

/// Takes part in the election, and does the leader's work while it leads, until `stop` is done; then gives the lease back.
pub async fn run(parts: ControllerParts, stop: impl Future<Output = ()>) {
    let metrics = Metrics::new(&parts.registry);
    let (sender, leading) = watch::channel(None);
    let mut election = Election::new(parts.client.clone(), parts.lease.clone(), sender);
    let work = async {
        let mut leading = leading;
        loop {
            // The sender is alive as long as the election is.
            let _ = leading.wait_for(Option::is_some).await;
            metrics.leading.set(1);
            let mut lost = leading.clone();
            tokio::select! {
                () = Leader::new(&parts, &metrics, leading.clone()).run() => {}
                _ = lost.wait_for(Option::is_none) => {}
            }
            metrics.leading.set(0);
        }
    };
    tokio::select! {
        never = election.run() => match never {},
        () = work => {}
        () = stop => {}
    }
    metrics.leading.set(0);
    election.release().await;
}
