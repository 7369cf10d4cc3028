//! The live rules: a watch of the ingresses, the tables compiled from them, and the handles of the workers.

use super::certificate_publisher::{CertificateMetrics, CertificatePublisher, LiveCertificates};
use super::ingress_rules::IngressRules;
use super::rule_table::used_ingresses;
use super::{Ingress, RuleTable};
use crate::identify::{Config, Error, Identifier, Mismatch};
use crate::kubernetes::{ApiClients, GroupState, Metrics, Watches};
use crate::telemetry::Registry;
use crate::tls::CertificateSupply;
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
    /// The same of certificates.
    certificate_metrics: Option<CertificateMetrics>,
    control: Handle,
    watched: Vec<WatchedIngresses>,
}

/// The ingresses of one identifier.
#[derive(Clone, Debug)]
struct WatchedIngresses {
    config: Ingress,
    rules: watch::Receiver<RulesState>,
    /// Their certificates, if a listener uses them.
    certificates: Option<LiveCertificates>,
}

impl Ingresses {
    /// Makes an empty set. Its watches use the API clients `clients`, count in `registry`, and run on `control`.
    pub fn new(clients: &ApiClients, registry: &Registry, control: &Handle) -> Self {
        let (clients, registry, control) = (clients.clone(), registry.clone(), control.clone());
        Self { clients, registry, metrics: None, certificate_metrics: None, control, watched: Vec::new() }
    }

    /// Returns the set for these identifiers, each with whether a listener uses the certificates of its ingresses. Watches
    /// that run already go on; for new ones this waits up to [`FIRST_LIST`]. A watch that is no longer in the set ends when
    /// the last worker has dropped its rules. Secrets are watched for certificates that are used, and no others.
    ///
    /// # Errors
    ///
    /// Those of [`Config::check`].
    pub async fn rebuild<'a>(
        &self,
        configs: impl Iterator<Item = (&'a Config, bool)>,
    ) -> Result<Self, Error> {
        let mut wanted: Vec<(&Config, &Ingress, bool)> = Vec::new();
        for (config, uses_certificates) in configs {
            let Config::Ingress(ingress) = config else { continue };
            match wanted.iter_mut().find(|(_, known, _)| *known == ingress) {
                Some((.., used)) => *used |= uses_certificates,
                None => wanted.push((config, ingress, uses_certificates)),
            }
        }
        let mut rebuilt = Self { watched: Vec::new(), ..self.clone() };
        for (config, ingress, uses_certificates) in wanted {
            config.check()?;
            let known = self.find(ingress).filter(|known| known.certificates.is_some() == uses_certificates);
            let watched = known.cloned().unwrap_or_else(|| rebuilt.start_watch(ingress, uses_certificates));
            rebuilt.watched.push(watched);
        }
        let first = async {
            // A task that has ended sends nothing more.
            for watched in &mut rebuilt.watched {
                let _ = watched.rules.wait_for(|state| !matches!(state, RulesState::Pending)).await;
                if let Some(certificates) = &mut watched.certificates {
                    let _ = certificates.is_complete.wait_for(|is_complete| *is_complete).await;
                }
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
                self.find(ingress).map(|watched| Identifier::Ingress(LiveRules(watched.rules.clone())))
            }
            config => Some(Identifier::Head(config.clone())),
        };
        configs.iter().filter_map(live).collect()
    }

    /// Returns the certificates of the ingresses of these configurations, live, where they are used.
    pub fn certificates(&self, configs: &[Config]) -> Vec<CertificateSupply> {
        let supply = |config: &Config| match config {
            Config::Ingress(ingress) => Some(self.find(ingress)?.certificates.as_ref()?.supply.clone()),
            _ => None,
        };
        configs.iter().filter_map(supply).collect()
    }

    fn find(&self, wanted: &Ingress) -> Option<&WatchedIngresses> {
        self.watched.iter().find(|watched| watched.config == *wanted)
    }

    fn start_watch(&mut self, config: &Ingress, uses_certificates: bool) -> WatchedIngresses {
        let registry = &self.registry;
        let metrics = self.metrics.get_or_insert_with(|| Metrics::new(registry, "ingresses")).clone();
        let client = self.clients.get(&config.client);
        let (publisher, certificates) = uses_certificates
            .then(|| {
                let known = &mut self.certificate_metrics;
                let metrics = known.get_or_insert_with(|| CertificateMetrics::new(registry)).clone();
                CertificatePublisher::start(&client, metrics, &self.control)
            })
            .unzip();
        let known = Watches::watch_all(client, config.namespace.as_deref(), metrics, &self.control);
        let (sender, rules) = watch::channel(RulesState::Pending);
        self.control.spawn(publish_tables(config.clone(), known, sender, publisher));
        WatchedIngresses { config: config.clone(), rules, certificates }
    }
}

/// Compiles a table after each change of an ingress, or of a Secret that one names, and publishes it, until no worker holds
/// its receiver.
async fn publish_tables(
    config: Ingress,
    mut known: watch::Receiver<GroupState<IngressRules>>,
    sender: watch::Sender<RulesState>,
    mut certificates: Option<CertificatePublisher>,
) {
    loop {
        let now = known.borrow_and_update().clone();
        let new = match &now {
            GroupState::Pending => RulesState::Pending,
            GroupState::Failed(reason) => {
                certificates.iter().for_each(CertificatePublisher::give_up_waiting);
                RulesState::Failed(Arc::clone(reason))
            }
            GroupState::Ready(view) => {
                let used = used_ingresses(view.objects.iter().map(AsRef::as_ref), &config.class);
                // Before the rules: a request that is sent to TLS by them finds it there.
                let secured = certificates.as_mut().map(|certificates| certificates.publish(&used));
                let secured = secured.unwrap_or_default();
                let table = RuleTable::new(&used, &secured, config.ignore_default_backends);
                RulesState::Ready(Arc::new(table))
            }
        };
        sender.send_replace(new);
        let secret_changes = async {
            match &certificates {
                Some(certificates) => certificates.changed().await,
                None => std::future::pending().await,
            }
        };
        let changed = tokio::select! {
            changed = known.changed() => changed,
            () = secret_changes => Ok(()),
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
