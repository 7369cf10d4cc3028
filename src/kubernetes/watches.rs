//! The watches of one resource, each of which starts when it is first needed.

use super::client::{ApiClient, WatchDescriber};
use super::metrics::Metrics;
use super::object_store::{GroupFn, GroupKey};
use super::resource_watch::ResourceWatch;
use super::save::{Saver, SnapshotTask};
use super::scope::{MAX_WATCHES, Scope, Selector};
use super::watch_task::WatchTask;
use super::watched_object::{GroupState, WatchedObject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
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
    /// The watches by namespace; the watch of all namespaces has none.
    watches: Mutex<WatchMap<T>>,
}

/// The running watches, by namespace.
type WatchMap<T> = HashMap<Option<Arc<str>>, Arc<ResourceWatch<T>>>;

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
        let (group, control, watches) = (Arc::new(group), control.clone(), Mutex::default());
        Self::from_table(WatchTable { client, scope, selector, group, metrics, control, watches })
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
        let nowhere = || -> GroupKey { ("".into(), "".into()) };
        let (group, control, watches) =
            (Arc::new(move |_: &ObjectMeta| Some(nowhere())), control.clone(), Mutex::default());
        let (scope, selector) = (Scope::Cluster, Selector::All);
        let watches =
            Self::from_table(WatchTable { client, scope, selector, group, metrics, control, watches });
        watches.join_watch(namespace.map(Into::into), nowhere())
    }

    /// Watches the objects of a group in a namespace, and starts the watch of that namespace if it does not run. It
    /// goes on while there is a receiver, and for [`IDLE`] after.
    pub fn watch_group(&self, namespace: &Arc<str>, group: &Arc<str>) -> watch::Receiver<GroupState<T>> {
        let scope = match self.0.scope {
            Scope::Namespace => Some(Arc::clone(namespace)),
            Scope::Cluster => None,
        };
        self.join_watch(scope, (Arc::clone(namespace), Arc::clone(group)))
    }

    /// Subscribes to a group in the watch of a namespace, or of all of them, and starts that watch if it does not
    /// run.
    fn join_watch(&self, scope: Option<Arc<str>>, key: GroupKey) -> watch::Receiver<GroupState<T>> {
        let mut watches = self.0.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = watches.get(&scope) {
            return watched.lock().store.subscribe(key);
        }
        if watches.len() >= MAX_WATCHES {
            let reason = format!("more than {MAX_WATCHES} namespaces are watched: use `watch: cluster`");
            return watch::channel(GroupState::Failed(reason.into())).1;
        }
        let WatchTable { client, selector, group, metrics, .. } = &*self.0;
        let (client, selector, metrics) = (client.clone(), selector.clone(), metrics.clone());
        let watched = ResourceWatch::new(client, scope.clone(), selector, Arc::clone(group), metrics);
        let watched = Arc::new(watched);
        let receiver = watched.lock().store.subscribe(key);
        watches.insert(scope.clone(), Arc::clone(&watched));
        self.0.control.spawn(run_watch(Arc::clone(&self.0), scope, watched));
        receiver
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
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let describe = |watched: &Arc<ResourceWatch<T>>| {
            let inner = watched.lock();
            (watched.description(), inner.progress.json(&inner.store))
        };
        watches.values().map(describe).collect()
    }
}

impl<T: WatchedObject> WatchTable<T> {
    /// Removes a watch; returns false if it has a receiver again.
    fn forget(&self, scope: &Option<Arc<str>>, watched: &ResourceWatch<T>) -> bool {
        // New receivers are made under the same lock.
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let unheld = !watched.lock().store.sweep();
        if unheld {
            watches.remove(scope);
        }
        unheld
    }
}

/// Runs a watch until it has had no receiver for a while.
async fn run_watch<T: WatchedObject>(
    table: Arc<WatchTable<T>>,
    scope: Option<Arc<str>>,
    watched: Arc<ResourceWatch<T>>,
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
            } else if now.duration_since(last_needed) >= IDLE && table.forget(&scope, &watched) {
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
    }
    if let Some(saving) = &mut saving {
        saving.finish().await;
    }
}
