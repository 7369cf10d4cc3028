//! The watches of one resource, each of which starts when it is first needed.

use super::client::{ApiClient, WatchDescriber};
use super::metrics::Metrics;
use super::object_store::{GroupFn, GroupKey};
use super::resource_watch::ResourceWatch;
use super::room::{WatchRoom, WatchScope};
use super::save::{Saver, SnapshotTask};
#[cfg(doc)]
use super::scope::MAX_WATCHES;
use super::scope::{Scope, Selector};
use super::watch_task::WatchTask;
use super::watched_object::{GroupState, WatchedObject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How long a watch goes on without receivers: 60 s, or up to 10 s more.
pub const IDLE: Duration = Duration::from_secs(60);

/// How often the receivers of a watch are checked.
const SWEEP: Duration = Duration::from_secs(10);

/// The watches of one resource. Cheap to clone.
pub struct Watches<T: WatchedObject>(Arc<WatchTable<T>>);

/// The watches of one resource, and what they have in common.
struct WatchTable<T: WatchedObject> {
    client: ApiClient,
    scope: Scope,
    selector: Selector,
    group: GroupFn,
    metrics: Metrics,
    control: Handle,
    room: Mutex<WatchRoom<T>>,
}

/// The demand of requests for a name, which its namer passes on to the watch behind it.
pub struct Demand(Arc<dyn Fn() + Send + Sync>);

impl Demand {
    /// Tells that requests ask for the name. Its watch tries sooner to reach the server, and has a better claim to be
    /// among those that run.
    pub fn pass_on(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Demand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Demand").finish_non_exhaustive()
    }
}

impl<T: WatchedObject> Clone for Watches<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: WatchedObject> std::fmt::Debug for Watches<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watches").field("scope", &self.0.scope).finish_non_exhaustive()
    }
}

impl<T: WatchedObject> Watches<T> {
    /// Makes the watches of a resource, none of which is started yet; they will run on `control`.
    ///
    /// `group` returns the name under which an object is looked for; an object without such a name is not stored.
    pub fn new(
        client: ApiClient,
        scope: Scope,
        selector: Selector,
        group: impl Fn(&ObjectMeta) -> Option<String> + Send + Sync + 'static,
        metrics: Metrics,
        control: &Handle,
    ) -> Self {
        let group = move |meta: &ObjectMeta| {
            let namespace = meta.namespace.as_deref().unwrap_or_default();
            Some((namespace.into(), group(meta)?.into()))
        };
        let (group, control, room) = (Arc::new(group), control.clone(), Mutex::default());
        Self::from_table(WatchTable { client, scope, selector, group, metrics, control, room })
    }

    /// Watches all objects of a resource in a namespace, or in all of them if there is none, as one group. The watch
    /// is its own, begins at once, and runs on `control`. It goes on while there is a receiver, and for [`IDLE`]
    /// after.
    pub fn watch_all(
        client: ApiClient,
        namespace: Option<&str>,
        metrics: Metrics,
        control: &Handle,
    ) -> watch::Receiver<GroupState<T>> {
        let (watched, receiver) =
            Self::watch_alone(client, namespace.map(Into::into), Selector::All, metrics, control);
        watched.set_configured();
        receiver
    }

    /// Watches one object, by a watch of its own, as [`Watches::watch_all`] does for all. After a refusal it is tried
    /// again seldom.
    pub fn watch_one(
        client: ApiClient,
        namespace: &str,
        name: &str,
        metrics: Metrics,
        control: &Handle,
    ) -> watch::Receiver<GroupState<T>> {
        let selector = Selector::Name(name.to_owned());
        Self::watch_alone(client, Some(namespace.into()), selector, metrics, control).1
    }

    /// Starts a watch that is its own, with all its objects as one group.
    fn watch_alone(
        client: ApiClient,
        namespace: WatchScope,
        selector: Selector,
        metrics: Metrics,
        control: &Handle,
    ) -> (Arc<ResourceWatch<T>>, watch::Receiver<GroupState<T>>) {
        let nowhere = || -> GroupKey { ("".into(), "".into()) };
        let (group, control, room) =
            (Arc::new(move |_: &ObjectMeta| Some(nowhere())), control.clone(), Mutex::default());
        let scope = Scope::Cluster;
        let watches = Self::from_table(WatchTable { client, scope, selector, group, metrics, control, room });
        watches.join_watch(namespace, nowhere())
    }

    /// Watches the objects of a group in a namespace that the configuration names, and starts the watch of that
    /// namespace if it does not run. It goes on while there is a receiver, and for [`IDLE`] after.
    pub fn watch_group(&self, namespace: &Arc<str>, group: &Arc<str>) -> watch::Receiver<GroupState<T>> {
        let (watched, receiver) = self.join_group(namespace, group);
        watched.set_configured();
        receiver
    }

    /// Does the same as [`Watches::watch_group`] for a namespace that a request names. Whether requests still ask for it
    /// is told through the [`Demand`].
    ///
    /// When [`MAX_WATCHES`] other namespaces are watched, one that is wanted less gives way. Without such a one, the
    /// group is [failed](GroupState::Failed) until there is room.
    pub fn watch_wanted_group(
        &self,
        namespace: &Arc<str>,
        group: &Arc<str>,
    ) -> (watch::Receiver<GroupState<T>>, Demand) {
        let (watched, receiver) = self.join_group(namespace, group);
        let table = Arc::clone(&self.0);
        let demand = move || {
            watched.want();
            WatchTable::start_if_displaced(&table, &watched);
        };
        (receiver, Demand(Arc::new(demand)))
    }

    fn join_group(
        &self,
        namespace: &Arc<str>,
        group: &Arc<str>,
    ) -> (Arc<ResourceWatch<T>>, watch::Receiver<GroupState<T>>) {
        let scope = match self.0.scope {
            Scope::Namespace => Some(Arc::clone(namespace)),
            Scope::Cluster => None,
        };
        self.join_watch(scope, (Arc::clone(namespace), Arc::clone(group)))
    }

    /// Subscribes to a group in the watch of a namespace, or of all of them, and starts that watch if it does not
    /// run and there is room.
    fn join_watch(
        &self,
        scope: WatchScope,
        key: GroupKey,
    ) -> (Arc<ResourceWatch<T>>, watch::Receiver<GroupState<T>>) {
        let table = &self.0;
        let mut room = table.lock();
        let watched = match room.get(&scope) {
            Some(known) => Arc::clone(known),
            None => {
                let (client, selector, metrics) =
                    (table.client.clone(), table.selector.clone(), table.metrics.clone());
                let group = Arc::clone(&table.group);
                let new = Arc::new(ResourceWatch::new(client, scope.clone(), selector, group, metrics));
                room.insert(scope, Arc::clone(&new));
                new
            }
        };
        let receiver = watched.lock().store.subscribe(key);
        watched.want();
        WatchTable::start(table, &mut room, &watched);
        (watched, receiver)
    }

    /// Describes each watch, for people: `{"endpointslices in default": {"state": "watching", ...}}`.
    pub fn state(&self) -> Map<String, Value> {
        self.0.describe()
    }

    fn from_table(table: WatchTable<T>) -> Self {
        let table = Arc::new(table);
        let described: Weak<WatchTable<T>> = Arc::downgrade(&table);
        table.client.register_watches(described);
        Self(table)
    }
}

impl<T: WatchedObject> WatchDescriber for WatchTable<T> {
    fn describe(&self) -> Map<String, Value> {
        let describe = |watched: &Arc<ResourceWatch<T>>| {
            let inner = watched.lock();
            (watched.description(), inner.progress.json(&inner.store))
        };
        self.lock().iter().map(describe).collect()
    }
}

impl<T: WatchedObject> WatchTable<T> {
    fn lock(&self) -> MutexGuard<'_, WatchRoom<T>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a watch, if it does not run and there is room.
    fn start(table: &Arc<Self>, room: &mut WatchRoom<T>, watched: &Arc<ResourceWatch<T>>) {
        if watched.lock().run.is_some() || !room.make_room(watched) {
            return;
        }
        let (run, ended) = oneshot::channel();
        let mut inner = watched.lock();
        inner.run = Some(run);
        inner.update_gauges();
        room.start(watched);
        table.control.spawn(run_watch(Arc::clone(table), Arc::clone(watched), ended));
    }

    /// Starts a watch that has given way to others and is wanted again.
    fn start_if_displaced(table: &Arc<Self>, watched: &Arc<ResourceWatch<T>>) {
        if watched.lock().run.is_none() {
            Self::start(table, &mut table.lock(), watched);
        }
    }

    /// Removes a watch, and starts one that waits for room in its place; returns false if it is still needed.
    fn forget(table: &Arc<Self>, watched: &ResourceWatch<T>) -> bool {
        // New receivers are made under the same lock.
        let mut room = table.lock();
        let is_over = room.forget(&watched.namespace, watched);
        if is_over && let Some(next) = room.next_waiting() {
            tracing::info!("{}: there is room for it again", next.description());
            Self::start(table, &mut room, &next);
        }
        is_over
    }
}

/// Runs a watch until it has had no receiver for a while, or has to give way to another.
async fn run_watch<T: WatchedObject>(
    table: Arc<WatchTable<T>>,
    watched: Arc<ResourceWatch<T>>,
    displaced: oneshot::Receiver<Infallible>,
) {
    let saver = Saver::new(&watched);
    let mut saving = saver.clone().map(SnapshotTask::new);
    let task = WatchTask::new(Arc::clone(&watched), saver);
    let idle = async {
        let mut sweeps = interval(SWEEP);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_needed = Instant::now();
        loop {
            let now = sweeps.tick().await;
            if watched.lock().store.sweep() {
                last_needed = now;
            } else if now.duration_since(last_needed) >= IDLE && WatchTable::forget(&table, &watched) {
                return;
            }
        }
    };
    let save = async {
        match &mut saving {
            Some(saving) => saving.run().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        never = task.run() => match never {},
        never = save => match never {},
        () = idle => {}
        Err(_) = displaced => {}
    }
    if let Some(saving) = &mut saving {
        saving.finish().await;
    }
}

#[cfg(test)]
mod tests;
