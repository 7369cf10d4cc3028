//! What those share who keep a watch up, save it, and ask it.

use super::client::ApiClient;
use super::metrics::Metrics;
use super::object_store::{GroupFn, ObjectStore};
use super::progress::WatchProgress;
use super::scope::Selector;
use super::watched_object::WatchedObject;
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
pub(super) struct ResourceWatch<T> {
    pub(super) client: ApiClient,
    /// All namespaces if there is none.
    pub(super) namespace: Option<Arc<str>>,
    pub(super) selector: Selector,
    pub(super) metrics: Metrics,
    inner: Mutex<WatchState<T>>,
    /// That the server has told something.
    pub(super) changed: Notify,
}

pub(super) struct WatchState<T> {
    pub(super) store: ObjectStore<T>,
    pub(super) progress: WatchProgress,
    /// Which server told all that is known, but for what was restored.
    pub(super) server: Option<Arc<str>>,
    /// What is counted of it in the gauges.
    counted: GaugeShare,
}

/// A watch's share of the gauges, which it takes back when it ends.
struct GaugeShare {
    metrics: Metrics,
    stale: i64,
    restored: i64,
    unreadable: i64,
}

impl GaugeShare {
    fn new(metrics: Metrics) -> Self {
        metrics.watches.add(1);
        Self { metrics, stale: 0, restored: 0, unreadable: 0 }
    }

    fn set(&mut self, stale: bool, restored: bool, unreadable: usize) {
        let (stale, restored) = (i64::from(stale), i64::from(restored));
        let unreadable = unreadable.try_into().unwrap_or(i64::MAX);
        self.metrics.stale.add(stale - self.stale);
        self.metrics.restored.add(restored - self.restored);
        self.metrics.unreadable.add(unreadable - self.unreadable);
        (self.stale, self.restored, self.unreadable) = (stale, restored, unreadable);
    }
}

impl Drop for GaugeShare {
    fn drop(&mut self) {
        self.set(false, false, 0);
        self.metrics.watches.add(-1);
    }
}

impl<T: WatchedObject> ResourceWatch<T> {
    pub(super) fn new(
        client: ApiClient,
        namespace: Option<Arc<str>>,
        selector: Selector,
        group: GroupFn,
        metrics: Metrics,
    ) -> Self {
        let (store, progress, counted) =
            (ObjectStore::new(group), WatchProgress::new(), GaugeShare::new(metrics.clone()));
        let inner = Mutex::new(WatchState { store, progress, server: None, counted });
        Self { client, namespace, selector, metrics, inner, changed: Notify::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, WatchState<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is watched, in words: `endpointslices in default`.
    pub(super) fn description(&self) -> String {
        let resource = T::ApiObject::plural(&());
        match &self.namespace {
            Some(namespace) => format!("{resource} in {namespace}"),
            None => format!("{resource} in all namespaces"),
        }
    }

    /// Waits until nothing was heard of the first list for too long. One that is on its way is waited for.
    pub(super) async fn wait_for_silence(&self) {
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

impl<T: WatchedObject> WatchState<T> {
    /// Keeps the gauges true.
    pub(super) fn update_gauges(&mut self) {
        let store = &self.store;
        self.counted.set(store.is_stale(), store.before().is_some(), store.unreadable_count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::watched_object::sample::Values;
    use crate::kubernetes::{ApiClients, Config};
    use crate::telemetry::Registry;
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn a_list_that_is_on_its_way_is_waited_for() {
        let client = ApiClients::default().get(&Config::default());
        let metrics = Metrics::new(&Registry::default(), "configmaps");
        let group: GroupFn = Arc::new(|_| None);
        let watched = ResourceWatch::<Values>::new(client, None, Selector::All, group, metrics);
        let began = Instant::now();
        watched.wait_for_silence().await;
        assert_eq!(began.elapsed(), GRACE, "nothing comes");

        let objects = async |count: u32| {
            for _ in 0..count {
                sleep(GRACE - Duration::from_millis(1)).await;
                watched.lock().progress.heard();
            }
            sleep(LONGEST_GRACE).await;
        };
        let waited = async |count| {
            let began = Instant::now();
            tokio::select! {
                () = objects(count) => {}
                () = watched.wait_for_silence() => {}
            }
            began.elapsed()
        };
        assert_eq!(waited(2).await, 3 * GRACE - Duration::from_millis(2), "it begins, and stops");
        assert_eq!(waited(100).await, LONGEST_GRACE, "it goes on for ever");
    }
}
