//! A changing set of hosts whose addresses are watched together.

use super::{Dns, DnsDemand, DnsQuestion, DnsState};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// A set of hosts whose addresses one task watches.
pub(in crate::namer) struct HostSet {
    dns: Dns,
    min_pause: Duration,
    /// Whether only requests want its hosts.
    is_on_demand: bool,
    entries: HashMap<Arc<str>, HostSetEntry>,
    /// One task for each host, which ends with the name of the host when its state changes.
    waiting: JoinSet<Arc<str>>,
}

/// One host of a set.
struct HostSetEntry {
    known: watch::Receiver<DnsState<IpAddr>>,
    /// The demand for the host, where only requests want it.
    demand: Option<DnsDemand>,
    waiter: AbortHandle,
}

impl HostSet {
    /// Makes an empty set, for hosts that the configuration or an object names. Their addresses are kept for `min_pause` at
    /// least.
    pub(in crate::namer) fn new(dns: Dns, min_pause: Duration) -> Self {
        let (entries, waiting) = (HashMap::new(), JoinSet::new());
        Self { dns, min_pause, is_on_demand: false, entries, waiting }
    }

    /// Makes an empty set for hosts that only requests want, which is told of these through
    /// [`HostSet::pass_demand_on`].
    pub(in crate::namer) fn on_demand(dns: Dns, min_pause: Duration) -> Self {
        Self { is_on_demand: true, ..Self::new(dns, min_pause) }
    }

    /// Tells that requests want the hosts.
    pub(in crate::namer) fn pass_demand_on(&self) {
        self.entries.values().filter_map(|entry| entry.demand.as_ref()).for_each(DnsDemand::pass_on);
    }

    /// Returns whether each host has addresses.
    pub(in crate::namer) fn is_complete(&self) -> bool {
        self.entries.values().all(|entry| matches!(&*entry.known.borrow(), DnsState::Found { .. }))
    }

    /// Replaces the hosts in the set. Called within a runtime.
    pub(in crate::namer) fn set_names(&mut self, names: &HashSet<Arc<str>>) {
        self.entries.retain(|name, entry| {
            let stays = names.contains(name);
            if !stays {
                entry.waiter.abort();
            }
            stays
        });
        for name in names {
            if !self.entries.contains_key(name) {
                let question = DnsQuestion { name: Arc::clone(name), min_pause: self.min_pause, once: false };
                let (known, demand) = if self.is_on_demand {
                    let (known, demand) = self.dns.watch_wanted_host(question);
                    (known, Some(demand))
                } else {
                    (self.dns.watch_host(question), None)
                };
                let waiter = self.waiting.spawn(wait(Arc::clone(name), known.clone()));
                self.entries.insert(Arc::clone(name), HostSetEntry { known, demand, waiter });
            }
        }
    }

    /// Returns the present state of a host; pending for one that is not in the set.
    pub(in crate::namer) fn known(&self, name: &str) -> DnsState<IpAddr> {
        self.entries.get(name).map_or(DnsState::Pending, |entry| entry.known.borrow().clone())
    }

    /// Waits until the state of one host changes. Dropping the future loses nothing.
    pub(in crate::namer) async fn changed(&mut self) {
        while let Some(ended) = self.waiting.join_next().await {
            // An error is a task that was aborted.
            let Ok(name) = ended else { continue };
            if let Some(entry) = self.entries.get_mut(&name) {
                entry.known.mark_unchanged();
                entry.waiter = self.waiting.spawn(wait(name, entry.known.clone()));
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

/// Waits until the state of a host changes, and returns its name.
async fn wait(name: Arc<str>, mut known: watch::Receiver<DnsState<IpAddr>>) -> Arc<str> {
    if known.changed().await.is_err() {
        // The end of the runtime.
        std::future::pending::<()>().await;
    }
    name
}
