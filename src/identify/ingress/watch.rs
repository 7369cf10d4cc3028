//! From the API server to the workers: the tables, live.

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

/// How long a start, and a reload, wait for the first list of ingresses: 2 s. An API server that is away longer is not
/// waited for, and requests are refused until it is there.
pub const FIRST_LIST: Duration = Duration::from_secs(2);

/// What is known of the rules.
#[derive(Clone, Debug, Default)]
enum RulesState {
    /// No list was complete yet.
    #[default]
    Pending,
    /// Nor will one be, for this reason.
    Failed(Arc<str>),
    /// Those of the last complete list, and every change that was heard of since.
    Ready(Arc<RuleTable>),
}

/// The ingresses that identifiers ask for, each with its table, on control.
#[derive(Clone, Debug)]
pub struct Ingresses {
    clients: ApiClients,
    registry: Registry,
    /// Made with the first one: whoever has none should see none.
    metrics: Option<Metrics>,
    control: Handle,
    followed: Vec<(Ingress, watch::Receiver<RulesState>)>,
}

impl Ingresses {
    /// Makes them without any; they will ask by `clients`, count in `registry`, and be followed on `control`.
    pub fn new(clients: &ApiClients, registry: &Registry, control: &Handle) -> Self {
        let (clients, registry, control) = (clients.clone(), registry.clone(), control.clone());
        Self { clients, registry, metrics: None, control, followed: Vec::new() }
    }

    /// Returns those that these identifiers ask for: what was followed already goes on, and the rest is waited for, up
    /// to [`FIRST_LIST`]. What nobody asks for any more ends when the last worker has let go of it.
    ///
    /// # Errors
    ///
    /// Those of [`Config::check`].
    pub async fn rebuilt<'a>(&self, configs: impl Iterator<Item = &'a Config>) -> Result<Self, Error> {
        let mut rebuilt = Self { followed: Vec::new(), ..self.clone() };
        for config in configs {
            let Config::Ingress(wanted) = config else { continue };
            if rebuilt.of(wanted).is_none() {
                config.check()?;
                let state = self.of(wanted).unwrap_or_else(|| rebuilt.follow(wanted));
                rebuilt.followed.push((wanted.clone(), state));
            }
        }
        let first = async {
            for (_, state) in &mut rebuilt.followed {
                // One that has ended will never say more.
                let _ = state.wait_for(|state| !matches!(state, RulesState::Pending)).await;
            }
        };
        // Late is not wrong: requests are told so, each.
        let _ = timeout(FIRST_LIST, first).await;
        Ok(rebuilt)
    }

    /// Returns identifiers with what they have to know beside the request.
    pub fn identifiers(&self, configs: &[Config]) -> Vec<Identifier> {
        let live = |config: &Config| match config {
            Config::Ingress(ingress) => self.of(ingress).map(|live| Identifier::Ingress(LiveRules(live))),
            config => Some(Identifier::Head(config.clone())),
        };
        configs.iter().filter_map(live).collect()
    }

    fn of(&self, wanted: &Ingress) -> Option<watch::Receiver<RulesState>> {
        let found = self.followed.iter().find(|(followed, _)| followed == wanted);
        found.map(|(_, state)| state.clone())
    }

    fn follow(&mut self, ingress: &Ingress) -> watch::Receiver<RulesState> {
        let registry = &self.registry;
        let metrics = self.metrics.get_or_insert_with(|| Metrics::new(registry, "ingresses")).clone();
        let client = self.clients.get(&ingress.client);
        let namespace = ingress.namespace.as_deref();
        let known = Watches::watch_all(client, namespace, metrics, &self.control);
        let (sender, state) = watch::channel(RulesState::Pending);
        self.control.spawn(follow(ingress.clone(), known, sender));
        state
    }
}

/// Compiles a table whenever an ingress changes, until nobody looks at it any more.
async fn follow(
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
        // A watch that ended says nothing more.
        if changed.is_err() {
            return sender.closed().await;
        }
    }
}

/// The rules of an identifier, live.
#[derive(Clone, Debug)]
pub struct LiveRules(watch::Receiver<RulesState>);

/// The rules as one worker last saw them.
#[derive(Clone, Debug)]
pub(in crate::identify) struct WorkerRules(RefCell<CachedRules>);

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

    /// Lets `look` have the table as it is now. Takes a lock only when it has changed.
    pub(super) fn look<T>(
        &self,
        look: impl FnOnce(&RuleTable) -> Result<T, Mismatch<'static>>,
    ) -> Result<T, Mismatch<'static>> {
        let CachedRules { live, state } = &mut *self.0.borrow_mut();
        if live.has_changed().is_ok_and(|changed| changed) {
            *state = live.borrow_and_update().clone();
        }
        match state {
            RulesState::Pending => Err(Mismatch::Unknown(None)),
            RulesState::Failed(reason) => Err(Mismatch::Unknown(Some(Arc::clone(reason)))),
            RulesState::Ready(table) => look(table),
        }
    }
}
