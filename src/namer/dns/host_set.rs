//! A changing set of hosts that are followed together.

use super::{Dns, Known, Question};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Hosts whose addresses one task follows.
pub(in crate::namer) struct HostSet {
    dns: Dns,
    min_pause: Duration,
    followed: HashMap<Arc<str>, Followed>,
    /// One for each host: ends, with its name, when what is known of it changes.
    waiting: JoinSet<Arc<str>>,
}

struct Followed {
    known: watch::Receiver<Known<IpAddr>>,
    waiter: AbortHandle,
}

impl HostSet {
    /// Makes an empty set, whose addresses are kept for `min_pause` at least.
    pub(in crate::namer) fn new(dns: Dns, min_pause: Duration) -> Self {
        Self { dns, min_pause, followed: HashMap::new(), waiting: JoinSet::new() }
    }

    /// Follows these hosts from now on, and no others. Called within a runtime.
    pub(in crate::namer) fn follow(&mut self, names: &HashSet<Arc<str>>) {
        self.followed.retain(|name, followed| {
            let stays = names.contains(name);
            if !stays {
                followed.waiter.abort();
            }
            stays
        });
        for name in names {
            if !self.followed.contains_key(name) {
                let question = Question { name: Arc::clone(name), min_pause: self.min_pause, once: false };
                let known = self.dns.host(question);
                let waiter = self.waiting.spawn(wait(Arc::clone(name), known.clone()));
                self.followed.insert(Arc::clone(name), Followed { known, waiter });
            }
        }
    }

    /// Returns what is known of a host now; of one that is not followed nothing is.
    pub(in crate::namer) fn known(&self, name: &str) -> Known<IpAddr> {
        self.followed.get(name).map_or(Known::Pending, |followed| followed.known.borrow().clone())
    }

    /// Waits until what is known of one of them changes. Dropping the future loses nothing.
    pub(in crate::namer) async fn changed(&mut self) {
        while let Some(ended) = self.waiting.join_next().await {
            // An error is a waiter that was aborted.
            let Ok(name) = ended else { continue };
            if let Some(followed) = self.followed.get_mut(&name) {
                followed.known.mark_unchanged();
                followed.waiter = self.waiting.spawn(wait(name, followed.known.clone()));
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

async fn wait(name: Arc<str>, mut known: watch::Receiver<Known<IpAddr>>) -> Arc<str> {
    if known.changed().await.is_err() {
        // The end of the runtime.
        std::future::pending::<()>().await;
    }
    name
}
