//! The live rules: a watch of the ingresses, the tables compiled from them, and the handles of the workers.

use super::ingress_rules::IngressRules;
use super::{Ingress, RuleTable};
use crate::identify::{Config, Error, Identifier, Mismatch};
use crate::kubernetes::{ApiClients, GroupState, Metrics, Watches};
use crate::telemetry::Registry;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a start, and a reload, wait for the first list of ingresses: 2 s. If the API server is away longer, they
/// go on, and requests are refused until the list is there.
pub const FIRST_LIST: Duration = Duration::from_secs(2);

/// The state of the rules.
#[derive(Clone, Debug, Default)]
enum RulesState {
    /// No list was complete yet.
    #[default]
    Pending,
    /// No list was complete yet, and none is expected, for this reason.
    Failed(Arc<str>),
    /// The rules of the last complete list, with every later change.
    Ready(Arc<RuleTable>),
}

/// The ingress configurations of all identifiers, each with the live state of its rules. The tasks run on control.
#[derive(Clone, Debug)]
pub struct Ingresses {
    clients: ApiClients,
    registry: Registry,
    /// The metrics of the watches; none before the first watch, so that a router without one does not show them.
    metrics: Option<Metrics>,
    control: Handle,
    watched: Vec<(Ingress, watch::Receiver<RulesState>)>,
}

impl Ingresses {
    /// Makes an empty set. Its watches use the API clients `clients`, count in `registry`, and run on `control`.
    pub fn new(clients: &ApiClients, registry: &Registry, control: &Handle) -> Self {
        let (clients, registry, control) = (clients.clone(), registry.clone(), control.clone());
        Self { clients, registry, metrics: None, control, watched: Vec::new() }
    }

    /// Returns the set for these identifiers. Watches that run already go on; for new ones this waits up to
    /// [`FIRST_LIST`]. A watch that is no longer in the set ends when the last worker has dropped its rules.
    ///
    /// # Errors
    ///
    /// Those of [`Config::check`].
    pub async fn rebuild<'a>(&self, configs: impl Iterator<Item = &'a Config>) -> Result<Self, Error> {
        let mut rebuilt = Self { watched: Vec::new(), ..self.clone() };
        for config in configs {
            let Config::Ingress(wanted) = config else { continue };
            if rebuilt.state_of(wanted).is_none() {
                config.check()?;
                let state = self.state_of(wanted).unwrap_or_else(|| rebuilt.start_watch(wanted));
                rebuilt.watched.push((wanted.clone(), state));
            }
        }
        let first = async {
            for (_, state) in &mut rebuilt.watched {
                // A task that has ended sends nothing more.
                let _ = state.wait_for(|state| !matches!(state, RulesState::Pending)).await;
            }
        };
        // A late list is no error: requests are refused until it is there.
        let _ = timeout(FIRST_LIST, first).await;
        Ok(rebuilt)
    }

    /// Returns the identifiers of these configurations, with their live rules.
    pub fn identifiers(&self, configs: &[Config]) -> Vec<Identifier> {
        let live = |config: &Config| match config {
            Config::Ingress(ingress) => {
                self.state_of(ingress).map(|live| Identifier::Ingress(LiveRules(live)))
            }
            config => Some(Identifier::Head(config.clone())),
        };
        configs.iter().filter_map(live).collect()
    }

    fn state_of(&self, wanted: &Ingress) -> Option<watch::Receiver<RulesState>> {
        let found = self.watched.iter().find(|(watched, _)| watched == wanted);
        found.map(|(_, state)| state.clone())
    }

    fn start_watch(&mut self, ingress: &Ingress) -> watch::Receiver<RulesState> {
        let registry = &self.registry;
        let metrics = self.metrics.get_or_insert_with(|| Metrics::new(registry, "ingresses")).clone();
        let client = self.clients.get(&ingress.client);
        let namespace = ingress.namespace.as_deref();
        let known = Watches::watch_all(client, namespace, metrics, &self.control);
        let (sender, state) = watch::channel(RulesState::Pending);
        self.control.spawn(publish_tables(ingress.clone(), known, sender));
        state
    }
}

/// Compiles a table after each change of an ingress and publishes it, until no worker holds its receiver.
async fn publish_tables(
    config: Ingress,
    mut known: watch::Receiver<GroupState<IngressRules>>,
    sender: watch::Sender<RulesState>,
) {
    loop {
        let new = match &*known.borrow_and_update() {
            GroupState::Pending => RulesState::Pending,
            GroupState::Failed(reason) => RulesState::Failed(Arc::clone(reason)),
            GroupState::Ready(view) => {
                let ingresses = view.objects.iter().map(AsRef::as_ref);
                let table = RuleTable::new(ingresses, &config.class, config.ignore_default_backends);
                RulesState::Ready(Arc::new(table))
            }
        };
        sender.send_replace(new);
        let changed = tokio::select! {
            changed = known.changed() => changed,
            () = sender.closed() => return,
        };
        // A watch that ended sends nothing more.
        if changed.is_err() {
            return sender.closed().await;
        }
    }
}

/// A receiver of the live rules of an identifier.
#[derive(Clone, Debug)]
pub struct LiveRules(watch::Receiver<RulesState>);

/// The rules as one worker last saw them.
#[derive(Clone, Debug)]
pub(in crate::identify) struct WorkerRules(RefCell<CachedRules>);

/// The rules that a worker last saw, and the receiver of newer ones.
#[derive(Clone, Debug)]
struct CachedRules {
    live: watch::Receiver<RulesState>,
    state: RulesState,
}

impl WorkerRules {
    pub(in crate::identify) fn new(LiveRules(live): &LiveRules) -> Self {
        let mut live = live.clone();
        let state = live.borrow_and_update().clone();
        Self(RefCell::new(CachedRules { live, state }))
    }

    /// Reads the table as it is now. Takes a lock only if it has changed.
    pub(super) fn with_table<T>(
        &self,
        read: impl FnOnce(&RuleTable) -> Result<T, Mismatch<'static>>,
    ) -> Result<T, Mismatch<'static>> {
        let CachedRules { live, state } = &mut *self.0.borrow_mut();
        if live.has_changed().is_ok_and(|changed| changed) {
            *state = live.borrow_and_update().clone();
        }
        match state {
            RulesState::Pending => Err(Mismatch::Unknown(None)),
            RulesState::Failed(reason) => Err(Mismatch::Unknown(Some(Arc::clone(reason)))),
            RulesState::Ready(table) => read(table),
        }
    }
}
