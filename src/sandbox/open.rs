//! The open stores, and the table that is made of them.

use super::Error;
use super::config::Config;
use super::file::{EmbeddedConfig, EmbeddedStore};
use super::kubernetes::{WatchMetrics, watch_namespace};
use super::rules::{NamespaceRoot, SandboxRules};
use super::table::{SandboxTable, StoreState, TableEntry};
use crate::kubernetes::ApiClients;
use crate::telemetry::{Gauge, Registry};
use futures_util::future::select_all;
use jiff::Timestamp;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// How long the table may stay as it is when a sandbox in it ends later: the clock of the machine may be set meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long a start, and a reload, wait for the first lists of new namespaces: 2 s. If the API server is away longer, they
/// go on, and requests with a key wait.
const FIRST_LIST: Duration = Duration::from_secs(2);

/// The open stores of sandboxes, and the table of all their objects. Its tasks run on control, and end with the last clone.
#[derive(Clone, Debug)]
pub struct Sandboxes {
    clients: ApiClients,
    registry: Registry,
    control: Handle,
    metrics: SandboxMetrics,
    /// The metrics of the watches; none before the first watch, so that a router without one does not show them.
    watch_metrics: Option<WatchMetrics>,
    config: Config,
    roots: Vec<NamespaceRoot>,
    rules: Arc<SandboxRules>,
    embedded: Option<EmbeddedStore>,
    /// The state of each of the namespaces, in their order.
    namespaces: Vec<watch::Receiver<StoreState>>,
    table: watch::Receiver<Arc<SandboxTable>>,
    /// The task that makes the table.
    merging: Arc<MergingTask>,
}

/// The metrics of sandboxes.
#[derive(Clone, Debug)]
struct SandboxMetrics {
    known: Gauge,
    refused: Gauge,
    rejected_files: Gauge,
}

/// A task that ends when this is dropped.
#[derive(Debug, Default)]
struct MergingTask(Option<AbortHandle>);

impl Drop for MergingTask {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Sandboxes {
    /// Makes the stores of no configuration: there are no sandboxes. Stores use the API clients `clients`, count in
    /// `registry`, and run on `control`.
    pub fn new(clients: &ApiClients, registry: &Registry, control: &Handle) -> Self {
        Self {
            clients: clients.clone(),
            registry: registry.clone(),
            control: control.clone(),
            metrics: SandboxMetrics::new(registry),
            watch_metrics: None,
            config: Config::default(),
            roots: Vec::new(),
            rules: Arc::default(),
            embedded: None,
            namespaces: Vec::new(),
            table: watch::channel(Arc::default()).1,
            merging: Arc::default(),
        }
    }

    /// Returns the open stores of a configuration; those that it has already stay open, and this stays as it is. `roots`
    /// are the places of namespaces among the ids of the namers.
    ///
    /// # Errors
    ///
    /// The file has no good content, or the configuration does not lead to an API server. One that cannot be reached is no
    /// error: requests with a key wait for it.
    pub async fn reopen(&self, config: &Config, roots: Vec<NamespaceRoot>) -> Result<Self, Error> {
        let limits = |config: &Config| (config.overrides.clone(), config.max_ttl);
        let same_rules = self.roots == roots && limits(&self.config) == limits(config);
        let rules = match same_rules {
            true => Arc::clone(&self.rules),
            false => Arc::new(config.rules(roots.clone())),
        };
        let before = self.embedded.as_ref().filter(|_| same_rules);
        let embedded = self.open_embedded(config, &rules, before).await?;
        let stores = |config: &Config| {
            (config.items.clone(), config.file.clone(), config.client.clone(), config.namespaces.clone())
        };
        let is_same = same_rules && stores(&self.config) == stores(config);
        let mut opened = Self { config: config.clone(), roots, rules, embedded, ..self.clone() };
        if !is_same {
            let kept = (same_rules && self.config.client == config.client).then_some(self);
            opened.watch_namespaces(kept).await?;
            opened.start_merging();
        }
        Ok(opened)
    }

    /// Watches the namespaces. Those that `kept` watches are watched on.
    async fn watch_namespaces(&mut self, kept: Option<&Self>) -> Result<(), Error> {
        let Config { namespaces, client, .. } = &self.config;
        if namespaces.is_empty() {
            self.namespaces = Vec::new();
            return Ok(());
        }
        client.check()?;
        let client = self.clients.get(client);
        let registry = &self.registry;
        let metrics = self.watch_metrics.get_or_insert_with(|| WatchMetrics::new(registry)).clone();
        let states = namespaces.iter().map(|namespace| {
            let known = kept.and_then(|kept| kept.state_of(namespace));
            known.unwrap_or_else(|| {
                watch_namespace(&client, namespace, Arc::clone(&self.rules), &metrics, &self.control)
            })
        });
        let mut states: Vec<_> = states.collect();
        let first = async {
            for state in &mut states {
                // A task that has ended sends nothing more.
                let _ = state.wait_for(|state| !matches!(state, StoreState::Pending)).await;
            }
        };
        // A late list is no error: requests wait for it.
        let _ = timeout(FIRST_LIST, first).await;
        self.namespaces = states;
        Ok(())
    }

    fn state_of(&self, namespace: &String) -> Option<watch::Receiver<StoreState>> {
        let at = self.config.namespaces.iter().position(|known| known == namespace)?;
        self.namespaces.get(at).cloned()
    }

    /// Opens the embedded store, unless it is open, or nothing is in it.
    async fn open_embedded(
        &self,
        config: &Config,
        rules: &Arc<SandboxRules>,
        before: Option<&EmbeddedStore>,
    ) -> Result<Option<EmbeddedStore>, Error> {
        let wanted = EmbeddedConfig { items: config.items.clone(), file: config.file.clone() };
        if wanted == EmbeddedConfig::default() {
            return Ok(None);
        }
        if let Some(open) = before.filter(|open| open.is_of(&wanted)) {
            return Ok(Some(open.clone()));
        }
        let places = (&self.metrics.rejected_files, &self.control);
        EmbeddedStore::open(wanted, Arc::clone(rules), before, places).await.map(Some)
    }

    /// Makes the table of the stores, now and whenever one of them changes.
    fn start_merging(&mut self) {
        let embedded = self.embedded.iter().map(|store| &store.state);
        let stores = embedded.chain(&self.namespaces).cloned().collect();
        let counts = CountShare::new(&self.metrics);
        let mut merger = TableMerger { stores, counts };
        let (sender, table) = watch::channel(Arc::new(merger.merge()));
        self.table = table;
        let task = self.control.spawn(merger.publish_tables(sender));
        self.merging = Arc::new(MergingTask(Some(task.abort_handle())));
    }

    /// Returns the state of the embedded store, now and whenever it changes, if there is one.
    pub fn embedded(&self) -> Option<watch::Receiver<StoreState>> {
        self.embedded.as_ref().map(|store| store.state.clone())
    }

    /// Returns the table, now and whenever it changes.
    pub fn table(&self) -> watch::Receiver<Arc<SandboxTable>> {
        self.table.clone()
    }
}

/// The task that makes the table of all stores.
struct TableMerger {
    stores: Vec<watch::Receiver<StoreState>>,
    counts: CountShare,
}

impl TableMerger {
    /// Publishes a table whenever a store has changed or a sandbox has ended, until nothing reads it.
    async fn publish_tables(mut self, sender: watch::Sender<Arc<SandboxTable>>) {
        loop {
            let next_expiry = sender.borrow().next_expiry();
            tokio::select! {
                () = any_change(&mut self.stores) => {}
                () = wait_for_expiry(next_expiry) => {}
                () = sender.closed() => return,
            }
            sender.send_replace(Arc::new(self.merge()));
        }
    }

    /// Makes the table as of now.
    fn merge(&mut self) -> SandboxTable {
        let states: Vec<_> = self.stores.iter_mut().map(|store| store.borrow_and_update().clone()).collect();
        let now = Timestamp::now();
        let table = SandboxTable::new(&states, now);
        let sandboxes = table.entries().filter(|entry| matches!(entry, TableEntry::Sandbox(_))).count();
        self.counts.set(sandboxes, count_refused(&states, &table, now));
        table
    }
}

/// Counts the objects that are not accepted.
fn count_refused(states: &[StoreState], table: &SandboxTable, now: Timestamp) -> usize {
    let ready = states.iter().filter_map(|state| match state {
        StoreState::Ready(objects) => Some(objects),
        StoreState::Pending | StoreState::Failed(_) => None,
    });
    let refused = ready.map(|objects| {
        let sandboxes = objects.sandboxes.iter().filter(|sandbox| {
            !sandbox.is_expired(now) && (sandbox.dtab.is_err() || table.sandbox_key_taken(sandbox).is_some())
        });
        let groups = objects
            .groups
            .iter()
            .filter(|group| group.members.is_err() || table.group_key_taken(group).is_some());
        sandboxes.count() + groups.count()
    });
    refused.sum()
}

/// Waits until one of the stores has changed.
async fn any_change(stores: &mut [watch::Receiver<StoreState>]) {
    let changes = stores.iter_mut().map(|store| {
        Box::pin(async {
            // A store that has ended does not change again.
            if store.changed().await.is_err() {
                pending::<()>().await;
            }
        })
    });
    let changes: Vec<_> = changes.collect();
    if changes.is_empty() {
        return pending().await;
    }
    select_all(changes).await;
}

/// Waits until a sandbox has ended by the clock of the machine.
async fn wait_for_expiry(at: Option<Timestamp>) {
    let Some(at) = at else { return pending().await };
    loop {
        let left = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LONGEST_WAIT)).await;
    }
}

impl SandboxMetrics {
    fn new(registry: &Registry) -> Self {
        for (name, meaning) in [
            (KNOWN, "Sandboxes that requests can select"),
            (
                REFUSED,
                "Sandboxes and groups that are not accepted: their entries are wrong, or their key is taken",
            ),
            (REJECTED, "Files of sandboxes that are wrong now, so that the last good ones are in use"),
        ] {
            registry.describe(name, meaning);
        }
        Self {
            known: registry.gauge(KNOWN, &[]),
            refused: registry.gauge(REFUSED, &[]),
            rejected_files: registry.gauge(REJECTED, &[]),
        }
    }
}

const KNOWN: &str = "sandboxes";
const REFUSED: &str = "sandboxes_not_accepted";
const REJECTED: &str = "sandbox_files_rejected";

/// The part of the gauges that one table has; it is taken off when the table is gone.
struct CountShare {
    metrics: SandboxMetrics,
    known: i64,
    refused: i64,
}

impl CountShare {
    fn new(metrics: &SandboxMetrics) -> Self {
        Self { metrics: metrics.clone(), known: 0, refused: 0 }
    }

    fn set(&mut self, known: usize, refused: usize) {
        let [known, refused] = [known, refused].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        self.metrics.known.add(known - self.known);
        self.metrics.refused.add(refused - self.refused);
        (self.known, self.refused) = (known, refused);
    }
}

impl Drop for CountShare {
    fn drop(&mut self) {
        self.set(0, 0);
    }
}

#[cfg(test)]
mod tests;
