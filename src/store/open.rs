//! Stores that are followed: what is known of each, and who says it.

use super::config::Config;
use super::error::Error;
use super::kubernetes::{self, WatchDescription};
use super::publisher::{Publisher, StoreProgress, StoredDtab, lock};
use crate::kubernetes::ApiClients;
use crate::telemetry::{Gauge, Registry};
use serde_json::{Value, json};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

/// The stores that routers use, each shared by all that are configured alike. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DtabStores(Arc<StoreTable>);

#[derive(Debug)]
struct StoreTable {
    clients: ApiClients,
    registry: Registry,
    control: Handle,
    rejected: Gauge,
    /// Made with the first store in Kubernetes: whoever has none should see none.
    watches: Mutex<Option<kubernetes::Metrics>>,
    open: tokio::sync::Mutex<Vec<Weak<OpenStore>>>,
}

/// A store that is followed, for as long as there is a clone of it.
#[derive(Clone)]
pub struct DtabStore(Arc<OpenStore>);

struct OpenStore {
    config: Config,
    stored: watch::Receiver<StoredDtab>,
    progress: Arc<Mutex<StoreProgress>>,
    watch: Option<WatchDescription>,
}

impl DtabStores {
    /// Makes an empty table, whose stores will ask Kubernetes by `clients`, be followed on `control` and count in
    /// `registry`.
    pub fn new(clients: &ApiClients, registry: &Registry, control: &Handle) -> Self {
        let rejected = "stored_dtabs_rejected";
        registry.describe(rejected, "Stored dtabs that are wrong now, so that the last good ones are in use");
        Self(Arc::new(StoreTable {
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
    pub async fn open(&self, config: &Config) -> Result<DtabStore, Error> {
        let table = &*self.0;
        let mut open = table.open.lock().await;
        open.retain(|store| store.strong_count() > 0);
        if let Some(store) = open.iter().filter_map(Weak::upgrade).find(|store| store.config == *config) {
            return Ok(DtabStore(store));
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
                    table.clients.get(&kubernetes.client),
                    publisher,
                    &metrics,
                    &table.control,
                )?)
            }
        };
        let store = Arc::new(OpenStore { config: config.clone(), stored, progress, watch });
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
    /// What is stored, now and whenever it changes.
    pub fn stored(&self) -> watch::Receiver<StoredDtab> {
        self.0.stored.clone()
    }

    /// Describes what is known, for people: how many entries are in use and since when, what was rejected and where it
    /// is wrong, and the watch that tells of it.
    pub fn state(&self) -> Value {
        let OpenStore { config, stored, progress, watch } = &*self.0;
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
            "watches": watch.as_ref().map(|describe| describe()),
        })
    }
}

impl fmt::Debug for DtabStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DtabStore").field(&self.0.config).finish()
    }
}
