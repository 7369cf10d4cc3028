//! Sandboxes in Kubernetes: the custom resources, and the store that watches those of one namespace.
//!
//! A router lists and watches, and writes nothing. Until both lists are complete the store is pending, and a key may
//! exist; without a right, or before the resources are defined, it has failed, with the reason, and asks again every few
//! seconds at most. While the API server cannot be reached the last good objects stay.

mod judgements;
mod resource;
mod watched;

pub use self::judgements::{GroupJudgements, Judgeable, SandboxJudgements};
pub use self::resource::{ACCEPTED, GroupResource, GroupStatus, READY, SandboxResource, SandboxStatus};
pub use self::watched::{WatchedGroup, WatchedSandbox};

use super::rules::SandboxRules;
use super::table::{StoreObjects, StoreState};
use crate::kubernetes::{ApiClient, GroupState, Metrics, Watches};
use crate::telemetry::Registry;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The metrics of the watches of both resources.
#[derive(Clone, Debug)]
pub struct WatchMetrics {
    sandboxes: Metrics,
    groups: Metrics,
}

impl WatchMetrics {
    /// Registers the metrics.
    pub fn new(registry: &Registry) -> Self {
        let of = |resource| Metrics::new(registry, resource);
        Self { sandboxes: of("sandboxes"), groups: of("sandboxgroups") }
    }

    /// Returns the metrics of the watches of sandboxes.
    pub const fn sandboxes(&self) -> &Metrics {
        &self.sandboxes
    }

    /// Returns the metrics of the watches of groups.
    pub const fn groups(&self) -> &Metrics {
        &self.groups
    }
}

/// Watches the sandboxes and groups of a namespace, and judges them under `rules`. The watches begin at once and run on
/// `control`, for as long as there is a receiver.
///
/// A change judges the objects that changed, and no others: those that stay are the same values, in the same version.
pub fn watch_namespace(
    client: &ApiClient,
    namespace: &str,
    rules: Arc<SandboxRules>,
    metrics: &WatchMetrics,
    control: &Handle,
) -> watch::Receiver<StoreState> {
    let sandboxes = Watches::watch_all(client.clone(), Some(namespace), metrics.sandboxes.clone(), control);
    let groups = Watches::watch_all(client.clone(), Some(namespace), metrics.groups.clone(), control);
    let (sender, receiver) = watch::channel(StoreState::Pending);
    control.spawn(publish(sandboxes, groups, rules, sender));
    receiver
}

/// Publishes the judged objects whenever one of the lists changes, until there is no receiver.
async fn publish(
    mut sandboxes: watch::Receiver<GroupState<WatchedSandbox>>,
    mut groups: watch::Receiver<GroupState<WatchedGroup>>,
    rules: Arc<SandboxRules>,
    store: watch::Sender<StoreState>,
) {
    let mut judged = (SandboxJudgements::new(rules), GroupJudgements::default());
    loop {
        let state = {
            let (sandboxes, groups) = (sandboxes.borrow_and_update(), groups.borrow_and_update());
            match (&*sandboxes, &*groups) {
                (GroupState::Failed(reason), _) | (_, GroupState::Failed(reason)) => {
                    StoreState::Failed(Arc::clone(reason))
                }
                (GroupState::Pending, _) | (_, GroupState::Pending) => StoreState::Pending,
                (GroupState::Ready(sandboxes), GroupState::Ready(groups)) => {
                    let sandboxes = judged.0.update(&sandboxes.objects);
                    let groups = judged.1.update(&groups.objects);
                    StoreState::Ready(Arc::new(StoreObjects { sandboxes, groups }))
                }
            }
        };
        store.send_replace(state);
        tokio::select! {
            Ok(()) = sandboxes.changed() => {}
            Ok(()) = groups.changed() => {}
            () = store.closed() => return,
        }
    }
}

#[cfg(test)]
mod tests;
