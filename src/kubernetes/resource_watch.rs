//! One watch, as shared by the tasks that run it and save it, and by the table that describes it.

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

/// How long the first list may be silent before the snapshot is served in its place: a healthy server answers sooner.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// How long the first list may take in all before that: a name must not wait longer than its binding may take.
pub(super) const LONGEST_GRACE: Duration = Duration::from_secs(5);

/// One watch: its resource, its objects, and its progress.
pub(super) struct ResourceWatch<T> {
    pub(super) client: ApiClient,
    /// The namespace; all namespaces if there is none.
    pub(super) namespace: Option<Arc<str>>,
    pub(super) selector: Selector,
    pub(super) metrics: Metrics,
    inner: Mutex<WatchState<T>>,
    /// Notified after each message from the server that changed something.
    pub(super) changed: Notify,
}

/// The state of a watch, which its tasks change under one lock.
pub(super) struct WatchState<T> {
    pub(super) store: ObjectStore<T>,
    pub(super) progress: WatchProgress,
    /// The server that all objects came from, except for restored ones.
    pub(super) server: Option<Arc<str>>,
    /// The watch's share of the gauges.
    gauges: GaugeShare,
}

/// The share that a watch has in the gauges of its resource. Its drop takes the share back.
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
        let (store, progress, gauges) =
            (ObjectStore::new(group), WatchProgress::new(), GaugeShare::new(metrics.clone()));
        let inner = Mutex::new(WatchState { store, progress, server: None, gauges });
        Self { client, namespace, selector, metrics, inner, changed: Notify::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, WatchState<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the resource and the namespace in words: `endpointslices in default`.
    pub(super) fn description(&self) -> String {
        let resource = T::ApiObject::plural(&());
        match &self.namespace {
            Some(namespace) => format!("{resource} in {namespace}"),
            None => format!("{resource} in all namespaces"),
        }
    }

    /// Waits until the server has been silent for as long as `silence`, or `longest` has passed. A list that is arriving
    /// is waited for.
    pub(super) async fn wait_for_silence(&self, silence: Duration, longest: Duration) {
        let began = Instant::now();
        loop {
            let heard = self.lock().progress.heard.map_or(began, |heard| heard.max(began));
            let silent = heard + silence;
            let over = began.checked_add(longest).map_or(silent, |end| end.min(silent));
            if over <= Instant::now() {
                return;
            }
            sleep_until(over).await;
        }
    }
}

impl<T: WatchedObject> WatchState<T> {
    /// Sets the gauges to the state of the watch.
    pub(super) fn update_gauges(&mut self) {
        let store = &self.store;
        self.gauges.set(store.is_stale(), store.snapshot_time().is_some(), store.unreadable_count());
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
        watched.wait_for_silence(GRACE, LONGEST_GRACE).await;
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
                () = watched.wait_for_silence(GRACE, LONGEST_GRACE) => {}
            }
            began.elapsed()
        };
        assert_eq!(waited(2).await, 3 * GRACE - Duration::from_millis(2), "it begins, and stops");
        assert_eq!(waited(100).await, LONGEST_GRACE, "it goes on for ever");
    }
}
