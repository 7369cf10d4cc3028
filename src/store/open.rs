//! The open stores: the table of them, and the state of each.

use super::config::Config;
use super::error::Error;
use super::kubernetes::{self, DescribeFn};
use super::publisher::{Publisher, StoreProgress, StoredDtab, lock};
use crate::kubernetes::ApiClients;
use crate::telemetry::{Gauge, Registry};
use serde_json::{Value, json};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

/// The stores that routers use; routers with equal configurations share one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DtabStores(Arc<StoreTable>);

/// The open stores, and what a new one needs.
#[derive(Debug)]
struct StoreTable {
    clients: ApiClients,
    registry: Registry,
    control: Handle,
    rejected: Gauge,
    /// The metrics of watches; none before the first store in Kubernetes, so that a router without one does not show
    /// them.
    watches: Mutex<Option<kubernetes::Metrics>>,
    open: tokio::sync::Mutex<Vec<Weak<OpenStore>>>,
}

/// An open store. It is kept up to date for as long as there is a clone of it.
#[derive(Clone)]
pub struct DtabStore(Arc<OpenStore>);

/// The state that all clones of a store share.
struct OpenStore {
    config: Config,
    stored: watch::Receiver<StoredDtab>,
    progress: Arc<Mutex<StoreProgress>>,
    describe_watches: Option<DescribeFn>,
}

impl DtabStores {
    /// Makes an empty table. Its stores use the API clients `clients`, run on `control` and count in `registry`.
    pub fn new(clients: &ApiClients, registry: &Registry, control: &Handle) -> Self {
        let rejected = "stored_dtabs_rejected";
        registry
            .describe(rejected, "Stored dtabs that are invalid now, so that the last good ones are in use");
        Self(Arc::new(StoreTable {
            rejected: registry.gauge(rejected, &[]),
            clients: clients.clone(),
            registry: registry.clone(),
            control: control.clone(),
            watches: Mutex::default(),
            open: tokio::sync::Mutex::default(),
        }))
    }

    /// Opens a store, or shares one that has an equal configuration.
    ///
    /// # Errors
    ///
    /// The file holds no good dtab to begin with, or the configuration does not lead to an API server. An API server
    /// that cannot be reached is no error: the stored dtab is pending then.
    pub async fn open(&self, config: &Config) -> Result<DtabStore, Error> {
        let table = &*self.0;
        let mut open = table.open.lock().await;
        open.retain(|store| store.strong_count() > 0);
        if let Some(store) = open.iter().filter_map(Weak::upgrade).find(|store| store.config == *config) {
            return Ok(DtabStore(store));
        }
        let (publisher, stored) = Publisher::new(config.to_string(), table.rejected.clone());
        let progress = Arc::clone(&publisher.progress);
        let describe_watches = match config {
            Config::Fs(fs) => {
                fs.open(publisher, &table.control).await?;
                None
            }
            Config::Kubernetes(kubernetes) => {
                let metrics = table.watch_metrics();
                Some(kubernetes.open(
                    table.clients.get(&kubernetes.client),
                    publisher,
                    &metrics,
                    &table.control,
                )?)
            }
        };
        let store = Arc::new(OpenStore { config: config.clone(), stored, progress, describe_watches });
        open.push(Arc::downgrade(&store));
        Ok(DtabStore(store))
    }
}

impl StoreTable {
    fn watch_metrics(&self) -> kubernetes::Metrics {
        let mut metrics = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.get_or_insert_with(|| kubernetes::Metrics::new(&self.registry)).clone()
    }
}

impl DtabStore {
    /// Returns a receiver of the stored dtab and its changes.
    pub fn stored(&self) -> watch::Receiver<StoredDtab> {
        self.0.stored.clone()
    }

    /// Describes the store, for people: how many entries are in use and since when, the rejected text and the place
    /// of its error, and the watch of the object.
    pub fn state(&self) -> Value {
        let OpenStore { config, stored, progress, describe_watches } = &*self.0;
        let (name, entries, reason) = match &*stored.borrow() {
            StoredDtab::Pending => ("pending", None, None),
            StoredDtab::Failed(reason) => ("failed", None, Some(reason.to_string())),
            StoredDtab::Dtab(dtab) => ("ready", Some(dtab.len()), None),
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
            "watches": describe_watches.as_ref().map(|describe| describe()),
        })
    }
}

impl fmt::Debug for DtabStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DtabStore").field(&self.0.config).finish()
    }
}
