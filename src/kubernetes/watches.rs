//! The watches of one resource, each started when it is first needed.

use super::client::{Client, Describe};
use super::kept::{Kept, Known};
use super::metrics::Metrics;
use super::save::{Saver, Saving};
use super::scope::{MAX_WATCHES, Scope, Selector};
use super::store::{Group, Place};
use super::task::Task;
use super::watched::Watched;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How long a watch is kept that nobody needs: 60 s, or up to 10 s more.
pub const IDLE: Duration = Duration::from_secs(60);

/// How often it is looked whether a watch is needed.
const SWEEP: Duration = Duration::from_secs(10);

/// The watches of one resource. Cheap to clone.
pub struct Watches<T: Kept>(Arc<Table<T>>);

struct Table<T: Kept> {
    client: Client,
    scope: Scope,
    selector: Selector,
    group: Group,
    metrics: Metrics,
    control: Handle,
    /// By namespace; all of them if there is none.
    held: Mutex<Held<T>>,
}

/// The watches that are kept up, by namespace.
type Held<T> = HashMap<Option<Arc<str>>, Arc<Watched<T>>>;

impl<T: Kept> Clone for Watches<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Kept> std::fmt::Debug for Watches<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watches").field("scope", &self.0.scope).finish_non_exhaustive()
    }
}

impl<T: Kept> Watches<T> {
    /// Makes the watches of a resource, none of which is started yet; they run on `control`.
    ///
    /// `group` says under which name an object is looked for; one without such a name is not kept.
    pub fn new(
        client: Client,
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
        let (group, control, held) = (Arc::new(group), control.clone(), Mutex::default());
        Self::of(Table { client, scope, selector, group, metrics, control, held })
    }

    /// Follows all objects of a resource in a namespace, or in all of them if there is none, as one group; on `control`,
    /// by a watch of its own that begins at once. It goes on while anybody has a receiver, and for [`IDLE`] after.
    pub fn follow_all(
        client: Client,
        namespace: Option<&str>,
        metrics: Metrics,
        control: &Handle,
    ) -> watch::Receiver<Known<T>> {
        let nowhere = || -> Place { ("".into(), "".into()) };
        let (group, control, held) =
            (Arc::new(move |_: &ObjectMeta| Some(nowhere())), control.clone(), Mutex::default());
        let (scope, selector) = (Scope::Cluster, Selector::All);
        let watches = Self::of(Table { client, scope, selector, group, metrics, control, held });
        watches.join(namespace.map(Into::into), nowhere())
    }

    /// Follows the objects of a group in a namespace, and starts the watch that tells of them if there is none. It goes
    /// on while anybody has a receiver, and for [`IDLE`] after.
    pub fn follow(&self, namespace: &Arc<str>, group: &Arc<str>) -> watch::Receiver<Known<T>> {
        let scope = match self.0.scope {
            Scope::Namespace => Some(Arc::clone(namespace)),
            Scope::Cluster => None,
        };
        self.join(scope, (Arc::clone(namespace), Arc::clone(group)))
    }

    /// Follows a group in the watch of a namespace, or of all of them, and starts that watch if there is none.
    fn join(&self, scope: Option<Arc<str>>, place: Place) -> watch::Receiver<Known<T>> {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = held.get(&scope) {
            return watched.lock().store.follow(place);
        }
        if held.len() >= MAX_WATCHES {
            let reason = format!("more than {MAX_WATCHES} namespaces are watched: use `watch: cluster`");
            return watch::channel(Known::Failed(reason.into())).1;
        }
        let Table { client, selector, group, metrics, .. } = &*self.0;
        let (client, selector, metrics) = (client.clone(), selector.clone(), metrics.clone());
        let watched = Watched::new(client, scope.clone(), selector, Arc::clone(group), metrics);
        let watched = Arc::new(watched);
        let receiver = watched.lock().store.follow(place);
        held.insert(scope.clone(), Arc::clone(&watched));
        self.0.control.spawn(keep(Arc::clone(&self.0), scope, watched));
        receiver
    }

    /// Describes each watch, for people: `{"endpointslices in default": {"state": "watching", ...}}`.
    pub fn state(&self) -> Map<String, Value> {
        self.0.describe()
    }

    fn of(table: Table<T>) -> Self {
        let table = Arc::new(table);
        let described: Weak<Table<T>> = Arc::downgrade(&table);
        table.client.serves(described);
        Self(table)
    }
}

impl<T: Kept> Describe for Table<T> {
    fn describe(&self) -> Map<String, Value> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let describe = |watched: &Arc<Watched<T>>| {
            let inner = watched.lock();
            (watched.what(), inner.progress.json(&inner.store))
        };
        held.values().map(describe).collect()
    }
}

impl<T: Kept> Table<T> {
    /// Removes a watch; returns false when somebody has joined it meanwhile.
    fn forget(&self, scope: &Option<Arc<str>>, watched: &Watched<T>) -> bool {
        // New receivers are made under the same lock.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let unheld = !watched.lock().store.sweep();
        if unheld {
            held.remove(scope);
        }
        unheld
    }
}

/// Keeps a watch up until nobody has needed it for a while.
async fn keep<T: Kept>(table: Arc<Table<T>>, scope: Option<Arc<str>>, watched: Arc<Watched<T>>) {
    let saver = Saver::new(&watched);
    let mut saving = saver.clone().map(Saving::new);
    let task = Task::new(Arc::clone(&watched), saver);
    let idle = async {
        let mut sweeps = interval(SWEEP);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut needed = Instant::now();
        loop {
            let now = sweeps.tick().await;
            if watched.lock().store.sweep() {
                needed = now;
            } else if now.duration_since(needed) >= IDLE && table.forget(&scope, &watched) {
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
