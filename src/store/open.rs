//! Stores that are followed: what is known of each, and who says it.

use super::{Config, Error, Stored, kubernetes};
use crate::kubernetes::Clients;
use crate::name::Dtab;
use crate::telemetry::{Gauge, Registry};
use serde_json::{Map, Value, json};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

/// The stores that routers use, each shared by all that are configured alike. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stores(Arc<Table>);

#[derive(Debug)]
struct Table {
    clients: Clients,
    registry: Registry,
    control: Handle,
    rejected: Gauge,
    /// Made with the first store in Kubernetes: whoever has none should see none.
    watches: Mutex<Option<kubernetes::Metrics>>,
    open: tokio::sync::Mutex<Vec<Weak<Open>>>,
}

/// A store that is followed, for as long as there is a clone of it.
#[derive(Clone)]
pub struct Store(Arc<Open>);

struct Open {
    config: Config,
    stored: watch::Receiver<Stored>,
    progress: Arc<Mutex<Progress>>,
    watch: Option<Describe>,
}

/// Describes the watches of a store.
pub(super) type Describe = Box<dyn Fn() -> Map<String, Value> + Send + Sync>;

/// How a store is doing, for people.
#[derive(Debug)]
struct Progress {
    /// Since when what is in use is.
    since: Instant,
    rejected: Option<Rejected>,
}

/// Something that is no dtab, while the last good one is in use.
#[derive(Debug)]
struct Rejected {
    reason: String,
    /// Line and column, from 1.
    place: Option<(usize, usize)>,
    since: Instant,
}

/// The end of a store that says what is in it.
#[derive(Debug)]
pub(super) struct Publisher {
    what: String,
    stored: watch::Sender<Stored>,
    progress: Arc<Mutex<Progress>>,
    count: Gauge,
}

impl Stores {
    /// Makes an empty table, whose stores will ask Kubernetes by `clients`, be followed on `control` and count in
    /// `registry`.
    pub fn new(clients: &Clients, registry: &Registry, control: &Handle) -> Self {
        let rejected = "stored_dtabs_rejected";
        registry.describe(rejected, "Stored dtabs that are wrong now, so that the last good ones are in use");
        Self(Arc::new(Table {
            rejected: registry.gauge(rejected, &[]),
            clients: clients.clone(),
            registry: registry.clone(),
            control: control.clone(),
            watches: Mutex::default(),
            open: tokio::sync::Mutex::default(),
        }))
    }

    /// Opens a store, or joins one that is configured alike.
    ///
    /// # Errors
    ///
    /// The file holds no good dtab to begin with, or the configuration does not lead to an API server. That the server
    /// is away is no error: what is stored is pending then.
    pub async fn open(&self, config: &Config) -> Result<Store, Error> {
        let table = &*self.0;
        let mut open = table.open.lock().await;
        open.retain(|store| store.strong_count() > 0);
        if let Some(store) = open.iter().filter_map(Weak::upgrade).find(|store| store.config == *config) {
            return Ok(Store(store));
        }
        let (publisher, stored) = Publisher::new(config.to_string(), table.rejected.clone());
        let progress = Arc::clone(&publisher.progress);
        let watch = match config {
            Config::Fs(fs) => {
                fs.open(publisher, &table.control).await?;
                None
            }
            Config::Kubernetes(kubernetes) => {
                let metrics = table.watch_metrics();
                Some(kubernetes.open(
                    table.clients.of(&kubernetes.client),
                    publisher,
                    &metrics,
                    &table.control,
                )?)
            }
        };
        let store = Arc::new(Open { config: config.clone(), stored, progress, watch });
        open.push(Arc::downgrade(&store));
        Ok(Store(store))
    }
}

impl Table {
    fn watch_metrics(&self) -> kubernetes::Metrics {
        let mut metrics = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.get_or_insert_with(|| kubernetes::Metrics::new(&self.registry)).clone()
    }
}

impl Store {
    /// What is stored, now and whenever it changes.
    pub fn stored(&self) -> watch::Receiver<Stored> {
        self.0.stored.clone()
    }

    /// Describes what is known, for people: how many entries are in use and since when, what was rejected and where it
    /// is wrong, and the watch that tells of it.
    pub fn state(&self) -> Value {
        let Open { config, stored, progress, watch } = &*self.0;
        let (name, entries, reason) = match &*stored.borrow() {
            Stored::Pending => ("pending", None, None),
            Stored::Failed(reason) => ("failed", None, Some(reason.to_string())),
            Stored::Dtab(dtab) => ("ready", Some(dtab.len()), None),
        };
        let now = Instant::now();
        let progress = lock(progress);
        let rejected = progress.rejected.as_ref().map(|rejected| {
            json!({
                "reason": rejected.reason,
                "line": rejected.place.map(|(line, _)| line),
                "column": rejected.place.map(|(_, column)| column),
                "sinceSeconds": now.duration_since(rejected.since).as_secs_f64(),
            })
        });
        json!({
            "kind": config.kind(),
            "stored": config.to_string(),
            "state": name,
            "reason": reason,
            "entries": entries,
            "sinceSeconds": now.duration_since(progress.since).as_secs_f64(),
            "rejected": rejected,
            "watches": watch.as_ref().map(|describe| describe()),
        })
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.0.config).finish()
    }
}

impl fmt::Display for Config {
    /// Where it is, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fs(fs) => fs.dtab_file.display().fmt(f),
            Self::Kubernetes(kubernetes) => kubernetes.fmt(f),
        }
    }
}

impl Publisher {
    fn new(what: String, count: Gauge) -> (Self, watch::Receiver<Stored>) {
        let (sender, stored) = watch::channel(Stored::Pending);
        let progress = Arc::new(Mutex::new(Progress { since: Instant::now(), rejected: None }));
        (Self { what, stored: sender, progress, count }, stored)
    }

    /// Takes a good dtab.
    pub(super) fn accept(&mut self, dtab: Dtab) {
        self.reject_no_more();
        let was_known = matches!(&*self.stored.borrow(), Stored::Dtab(_));
        if self.publish(Stored::Dtab(dtab)) && was_known {
            tracing::info!("{}: the stored dtab has changed", self.what);
        }
    }

    /// Takes that what is stored now is no dtab: the last good one stays. A reason is logged once.
    pub(super) fn reject(&mut self, reason: &str, place: Option<(usize, usize)>) {
        let was_known = matches!(&*self.stored.borrow(), Stored::Dtab(_));
        let mut progress = lock(&self.progress);
        let before = progress.rejected.as_ref();
        if before.is_none_or(|before| before.reason != reason) {
            if was_known {
                tracing::warn!("the last good dtab stays in use: {reason}");
            } else {
                tracing::warn!("no name is resolved until there is a good dtab: {reason}");
            }
            if before.is_none() {
                self.count.add(1);
            }
            let since = Instant::now();
            progress.rejected = Some(Rejected { reason: reason.to_owned(), place, since });
        }
        drop(progress);
        if !was_known {
            self.publish(Stored::Failed(reason.into()));
        }
    }

    /// Takes that nothing can be said; what was known last stays.
    pub(super) fn fail(&mut self, reason: Arc<str>) {
        if !matches!(&*self.stored.borrow(), Stored::Dtab(_)) {
            self.publish(Stored::Failed(reason));
        }
    }

    /// Waits until nobody is interested any more.
    pub(super) async fn closed(&self) {
        self.stored.closed().await;
    }

    /// Returns whether it differs.
    fn publish(&self, new: Stored) -> bool {
        let publish = |stored: &mut Stored| {
            let differs = *stored != new;
            if differs {
                lock(&self.progress).since = Instant::now();
                *stored = new;
            }
            differs
        };
        self.stored.send_if_modified(publish)
    }

    fn reject_no_more(&self) {
        if lock(&self.progress).rejected.take().is_some() {
            self.count.add(-1);
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.reject_no_more();
    }
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
