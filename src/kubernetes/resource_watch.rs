//! One watch, as shared by the tasks that run it and save it, and by the table that describes it.

use super::attempts::AttemptClass;
use super::client::ApiClient;
use super::metrics::Metrics;
use super::object_store::{GroupFn, ObjectStore};
use super::progress::WatchProgress;
use super::scope::Selector;
use super::watched_object::WatchedObject;
use kube::Resource as _;
use std::cmp::Reverse;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

/// How long the first list may be silent before the snapshot is served in its place: a healthy server answers sooner.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// How long the first list may take in all before that: a name must not wait longer than its binding may take.
pub(super) const LONGEST_GRACE: Duration = Duration::from_secs(5);

/// How far apart two requests for a namespace must be to count as two: one request may ask for several of its names, and a
/// client may ask again at once.
const WANT_SPACING: Duration = Duration::from_millis(500);

/// How long after the last request the earlier ones count: longer than the pause at which namers tell of requests while all
/// is well.
const WANTS_KEPT: Duration = Duration::from_secs(60);

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
    /// Notified when a request asks for one of its names.
    pub(super) wanted: Notify,
    /// Whether it is wanted whatever requests ask for, because the configuration names it.
    is_configured: AtomicBool,
}

/// The state of a watch, which its tasks change under one lock.
pub(super) struct WatchState<T> {
    pub(super) store: ObjectStore<T>,
    pub(super) progress: WatchProgress,
    /// The server that all objects came from, except for restored ones.
    pub(super) server: Option<Arc<str>>,
    /// The watch's share of the gauges.
    gauges: GaugeShare,
    /// When, and how often, its names were asked for.
    pub(super) wants: Wants,
    /// The time of the last failure.
    pub(super) failed: Option<Instant>,
    /// Ends the task that runs it, by its drop; none while no task does.
    pub(super) run: Option<oneshot::Sender<Infallible>>,
}

/// The record of when, and how often, the names of a watch were asked for.
///
/// A namespace that is asked for again and again is worth more than any number of those that are asked for once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants {
    pub(super) last: Instant,
    /// The time of the last one that was counted.
    counted: Instant,
    count: u8,
}

impl Wants {
    /// Makes the record of one that begins now.
    fn first() -> Self {
        let now = Instant::now();
        Self { last: now, counted: now, count: 1 }
    }

    /// Adds one, which counts if it is apart from the last that did.
    fn add(&mut self) {
        let now = Instant::now();
        let count = self.recent();
        if count == 0 || now.duration_since(self.counted) >= WANT_SPACING {
            (self.counted, self.count) = (now, count.saturating_add(1));
        }
        self.last = now;
    }

    /// Returns how many were counted; 0 when none was for a while.
    pub(super) fn recent(&self) -> u8 {
        if self.last.elapsed() < WANTS_KEPT { self.count } else { 0 }
    }
}

/// The share that a watch has in the gauges of its resource. Its drop takes the share back.
struct GaugeShare {
    metrics: Metrics,
    running: i64,
    stale: i64,
    restored: i64,
    unreadable: i64,
}

impl GaugeShare {
    fn new(metrics: Metrics) -> Self {
        Self { metrics, running: 0, stale: 0, restored: 0, unreadable: 0 }
    }

    fn set(&mut self, running: bool, stale: bool, restored: bool, unreadable: usize) {
        let (running, stale, restored) = (i64::from(running), i64::from(stale), i64::from(restored));
        let unreadable = unreadable.try_into().unwrap_or(i64::MAX);
        self.metrics.watches.add(running - self.running);
        self.metrics.stale.add(stale - self.stale);
        self.metrics.restored.add(restored - self.restored);
        self.metrics.unreadable.add(unreadable - self.unreadable);
        (self.running, self.stale, self.restored, self.unreadable) = (running, stale, restored, unreadable);
    }
}

impl Drop for GaugeShare {
    fn drop(&mut self) {
        self.set(false, false, false, 0);
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
        let (wants, failed, run) = (Wants::first(), None, None);
        let inner = WatchState { store, progress, server: None, gauges, wants, failed, run };
        let (inner, is_configured) = (Mutex::new(inner), AtomicBool::new(false));
        let (changed, wanted) = (Notify::new(), Notify::new());
        Self { client, namespace, selector, metrics, inner, changed, wanted, is_configured }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, WatchState<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has it be wanted whatever requests ask for.
    pub(super) fn set_configured(&self) {
        self.is_configured.store(true, Relaxed);
    }

    /// Returns whether it is wanted whatever requests ask for.
    pub(super) fn is_configured(&self) -> bool {
        self.is_configured.load(Relaxed)
    }

    /// Notes that a request asks for one of its names.
    pub(super) fn want(&self) {
        self.lock().wants.add();
        self.wanted.notify_one();
    }

    /// Returns the class of its next attempt.
    pub(super) fn attempt_class(&self) -> AttemptClass {
        let inner = self.lock();
        if self.is_configured() || inner.store.is_complete() {
            AttemptClass::Renewal
        } else if inner.failed.is_none() {
            AttemptClass::First(Reverse(inner.wants.recent()))
        } else {
            AttemptClass::Refused
        }
    }

    /// Returns the resource and the namespace in words: `endpointslices in default`; of a Secret its name as well.
    pub(super) fn description(&self) -> String {
        let resource = T::ApiObject::plural(&());
        if let (true, Selector::Name(name), Some(namespace)) = (T::IS_SECRET, &self.selector, &self.namespace)
        {
            return format!("{resource} {namespace}/{name}");
        }
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
        let (stale, restored) = (store.is_stale(), store.snapshot_time().is_some());
        self.gauges.set(self.run.is_some(), stale, restored, store.unreadable_count());
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
