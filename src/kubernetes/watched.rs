//! What those share who keep a watch up, save it, and ask it.

use super::client::Client;
use super::kept::Kept;
use super::metrics::Metrics;
use super::scope::Selector;
use super::state::Progress;
use super::store::{Group, Store};
use kube::Resource as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How long nothing may be heard of the first list before the snapshot is served until then: a server that is well
/// answers sooner.
const GRACE: Duration = Duration::from_secs(1);

/// How long the first list may take in all before that: a name must not wait longer than it may take to be bound.
const LONGEST_GRACE: Duration = Duration::from_secs(5);

/// One watch: what is watched, and what is known of it.
pub(super) struct Watched<T> {
    pub(super) client: Client,
    /// All namespaces if there is none.
    pub(super) namespace: Option<Arc<str>>,
    pub(super) selector: Selector,
    pub(super) metrics: Metrics,
    inner: Mutex<Inner<T>>,
    /// That the server has told something.
    pub(super) changed: Notify,
}

pub(super) struct Inner<T> {
    pub(super) store: Store<T>,
    pub(super) progress: Progress,
    /// Which server told all that is known, but for what was restored.
    pub(super) server: Option<Arc<str>>,
    /// What is counted of it in the gauges.
    counted: Counted,
}

/// A watch's share of the gauges, which it takes back when it ends.
struct Counted {
    metrics: Metrics,
    stale: i64,
    restored: i64,
    unreadable: i64,
}

impl Counted {
    fn new(metrics: Metrics) -> Self {
        metrics.watches.add(1);
        Self { metrics, stale: 0, restored: 0, unreadable: 0 }
    }

    fn become_now(&mut self, stale: bool, restored: bool, unreadable: usize) {
        let (stale, restored) = (i64::from(stale), i64::from(restored));
        let unreadable = unreadable.try_into().unwrap_or(i64::MAX);
        self.metrics.stale.add(stale - self.stale);
        self.metrics.restored.add(restored - self.restored);
        self.metrics.unreadable.add(unreadable - self.unreadable);
        (self.stale, self.restored, self.unreadable) = (stale, restored, unreadable);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.become_now(false, false, 0);
        self.metrics.watches.add(-1);
    }
}

impl<T: Kept> Watched<T> {
    pub(super) fn new(
        client: Client,
        namespace: Option<Arc<str>>,
        selector: Selector,
        group: Group,
        metrics: Metrics,
    ) -> Self {
        let (store, progress, counted) = (Store::new(group), Progress::new(), Counted::new(metrics.clone()));
        let inner = Mutex::new(Inner { store, progress, server: None, counted });
        Self { client, namespace, selector, metrics, inner, changed: Notify::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is watched, in words: `endpointslices in default`.
    pub(super) fn what(&self) -> String {
        let resource = T::Object::plural(&());
        match &self.namespace {
            Some(namespace) => format!("{resource} in {namespace}"),
            None => format!("{resource} in all namespaces"),
        }
    }

    /// Waits until nothing was heard of the first list for too long. One that is on its way is waited for.
    pub(super) async fn silence(&self) {
        let began = Instant::now();
        loop {
            let heard = self.lock().progress.heard.map_or(began, |heard| heard.max(began));
            let over = (heard + GRACE).min(began + LONGEST_GRACE);
            if over <= Instant::now() {
                return;
            }
            sleep_until(over).await;
        }
    }
}

impl<T: Kept> Inner<T> {
    /// Keeps the gauges true.
    pub(super) fn count(&mut self) {
        let store = &self.store;
        self.counted.become_now(store.is_stale(), store.before().is_some(), store.unreadable_count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::kept::sample::Values;
    use crate::kubernetes::{Clients, Config};
    use crate::telemetry::Registry;
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn a_list_that_is_on_its_way_is_waited_for() {
        let client = Clients::default().of(&Config::default());
        let metrics = Metrics::new(&Registry::default(), "configmaps");
        let group: Group = Arc::new(|_| None);
        let watched = Watched::<Values>::new(client, None, Selector::All, group, metrics);
        let began = Instant::now();
        watched.silence().await;
        assert_eq!(began.elapsed(), GRACE, "nothing comes");

        let objects = async |count: u32| {
            for _ in 0..count {
                sleep(GRACE - Duration::from_millis(1)).await;
                watched.lock().progress.heard();
            }
            sleep(LONGEST_GRACE).await;
        };
        let patience = async |count| {
            let began = Instant::now();
            tokio::select! {
                () = objects(count) => {}
                () = watched.silence() => {}
            }
            began.elapsed()
        };
        assert_eq!(patience(2).await, 3 * GRACE - Duration::from_millis(2), "it begins, and stops");
        assert_eq!(patience(100).await, LONGEST_GRACE, "it goes on for ever");
    }
}
