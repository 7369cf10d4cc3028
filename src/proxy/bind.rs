//! The bindings of a worker: the routes of each name under each override, cached until an answer behind them changes.
//!
//! A hit borrows its key from the request, takes no lock and allocates nothing. A miss calls [`delegate`] over the
//! answers that this worker has already. Only for an answer that it does not have yet, it asks the namer registry.

mod aged_cache;
mod binding;
mod cache;
mod client_cache;
mod evaluation;
mod name_cache;
mod request_dtab;
mod texts;
mod turns;

pub use self::binding::Binding;
pub(crate) use self::evaluation::NameCaller;
pub use self::request_dtab::RequestDtab;

use self::binding::{BindFailure, LosingName};
use self::cache::BindingCache;
use self::evaluation::{NameEvaluation, PendingNames};
use self::texts::{check_destinations, ends_text, fallback_text, lost_text, unroutable_text};
use self::turns::{EvaluationTurn, EvaluationTurns};
use super::error::Error;
use super::metrics::TrafficMetrics;
use super::upstream::{
    BudgetOwner, Client, ClientTarget, EndpointRegistry, LogicalService, Route, Routes, SettingsTable,
};
use crate::context::{OverrideLimits, decode_overrides};
use crate::interpret::{
    Answer, AnswerTable, Bound, DEFAULT_OVERRIDE_LOOKUPS, Delegation, DelegationOutcome, Failure,
    NamerHandle, Naming, Sampler, Target, lost_shares, steered_leaves, unbound_entry,
};
use crate::name::{NameTree, Path, PathBuf};
use crate::sandbox::{Overlay, WorkerSandboxes};
use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The bounds of a worker's cache of bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// How many names under overrides are cached: `bindingCache.paths`.
    pub names: NonZeroUsize,
    /// How many clients are cached, each with its endpoints and connections: `bindingCache.clients`.
    pub clients: NonZeroUsize,
    /// How many bytes the bindings, the parsed overrides and the answers behind them may take: the part of
    /// `bindingCache.bytes` that each worker has.
    pub bytes: usize,
    /// How long a name without requests is cached: `bindingCache.idleTtlSecs`.
    pub idle: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        const THOUSAND: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
        Self { names: THOUSAND, clients: THOUSAND, bytes: 64 << 20, idle: Duration::from_secs(600) }
    }
}

/// The settings of a worker's bindings.
#[derive(Clone, Debug)]
pub struct BindingSettings {
    /// How long a name may take to be resolved: `bindingTimeoutMs`.
    pub timeout: Duration,
    /// The bounds of each worker's cache.
    pub cache: CacheConfig,
    /// The settings of the clients to which names lead, and of the names.
    pub traffic: Arc<dyn SettingsTable>,
    /// How many lookups the overrides of a request may add to those of its name: `maxOverrideLookups`.
    pub max_override_lookups: usize,
}

impl BindingSettings {
    /// Makes settings with a time limit, clients and services. Everything else has its default.
    pub fn new(timeout: Duration, traffic: impl SettingsTable + 'static) -> Self {
        let max_override_lookups = DEFAULT_OVERRIDE_LOOKUPS;
        Self { timeout, cache: CacheConfig::default(), traffic: Arc::new(traffic), max_override_lookups }
    }
}

/// The bindings of one router on one worker.
///
/// They belong to one thread. The type is public so that a caller can find out where a request would go without sending
/// it.
#[derive(Debug)]
pub struct Bindings {
    timeout: Cell<Duration>,
    max_override_lookups: Cell<usize>,
    pending: PendingNames,
    turns: EvaluationTurns,
    namer_handle: NamerHandle,
    endpoint_registry: Arc<EndpointRegistry>,
    metrics: TrafficMetrics,
    /// The service of all names that lead nowhere.
    nowhere: Rc<LogicalService>,
    sandboxes: Rc<WorkerSandboxes>,
    state: RefCell<BindingCache>,
}

impl Bindings {
    /// Makes the bindings of a worker under the naming of a router, which may change.
    pub fn new(
        mut naming: watch::Receiver<Naming>,
        settings: &BindingSettings,
        namer_handle: NamerHandle,
    ) -> Self {
        let Naming { dtab, namers } = naming.borrow_and_update().clone();
        let answers = AnswerTable::new(namer_handle.clone(), namers);
        let state = BindingCache::new(dtab, naming, answers, settings);
        Self {
            timeout: Cell::new(settings.timeout),
            max_override_lookups: Cell::new(settings.max_override_lookups),
            pending: PendingNames::default(),
            turns: EvaluationTurns::default(),
            namer_handle,
            endpoint_registry: Arc::default(),
            metrics: TrafficMetrics::default(),
            nowhere: Rc::default(),
            sandboxes: Rc::default(),
            state: RefCell::new(state),
        }
    }

    /// Makes the bindings that follow these under another naming and other settings. They have the same clients, with their
    /// connections. Requests that have begun keep these.
    pub(crate) fn followed_by(&self, naming: watch::Receiver<Naming>, settings: &BindingSettings) -> Self {
        let next = Self::new(naming, settings, self.namer_handle.clone());
        next.state.borrow_mut().clients.extend_idle(self.state.borrow().clients.iter());
        next.configure(settings);
        let next = next.sharing(Arc::clone(&self.endpoint_registry)).with_sandboxes(&self.sandboxes);
        next.counting(self.metrics.clone())
    }

    /// Returns whether these are the bindings under a naming.
    pub(crate) fn are_under(&self, naming: &watch::Receiver<Naming>) -> bool {
        self.state.borrow().naming.same_channel(naming)
    }

    /// Uses a registry of endpoints that other workers use too, so that each worker knows the load of an endpoint over
    /// all of them.
    #[must_use]
    pub fn sharing(self, endpoint_registry: Arc<EndpointRegistry>) -> Self {
        Self { endpoint_registry, ..self }
    }

    /// Drops what was bound under entries of sandboxes that change, as these see it.
    #[must_use]
    pub fn with_sandboxes(self, sandboxes: &Rc<WorkerSandboxes>) -> Self {
        Self { sandboxes: Rc::clone(sandboxes), ..self }
    }

    /// Returns how long a name may take to be resolved.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.get()
    }

    /// Counts requests by their service and client, and the cached names of which the base dtab loses a share.
    #[must_use]
    pub fn counting(self, metrics: TrafficMetrics) -> Self {
        Self { metrics, ..self }
    }

    /// Replaces the settings. Cache entries beyond the new bounds are dropped; clients keep their connections.
    pub(crate) fn configure(&self, settings: &BindingSettings) {
        self.timeout.set(settings.timeout);
        self.max_override_lookups.set(settings.max_override_lookups);
        let state = &mut *self.state.borrow_mut();
        state.configure(settings);
        let bindings: Vec<_> = state.names.routable().map(Rc::clone).collect();
        for binding in bindings {
            if let Ok(name) = binding.service.parse() {
                binding.logical.replace(self.logical_service(state, &name));
            }
        }
    }

    /// Parses the overrides of a request, as [`Context::overrides`](crate::context::Context::overrides) returns them.
    /// Each text is parsed once under the same limits, and cached.
    ///
    /// # Errors
    ///
    /// The overrides are not dtabs, have too many entries, or have one whose prefix is not allowed.
    pub fn overrides(&self, raw: &[u8], limits: &OverrideLimits) -> Result<Rc<RequestDtab>, Error> {
        self.request_dtab(&self.no_sandboxes(), raw, limits)
    }

    /// Returns the entries that a request adds to the base dtab: those of its sandboxes, then its overrides, as
    /// [`Bindings::overrides`] parses them.
    ///
    /// # Errors
    ///
    /// Those of [`Bindings::overrides`].
    pub fn request_dtab(
        &self,
        overlay: &Rc<Overlay>,
        raw: &[u8],
        limits: &OverrideLimits,
    ) -> Result<Rc<RequestDtab>, Error> {
        if let Some(cached) = self.cached_dtab(overlay, raw, limits) {
            return Ok(cached);
        }
        let dtab = Rc::new(RequestDtab::new(overlay, decode_overrides(raw, limits)?, raw.len()));
        let state = &mut *self.state.borrow_mut();
        state.write_dtab_key(overlay, raw, limits);
        state.dtabs.put(&state.key, Rc::clone(&dtab), dtab.bytes(), state.last_sweep);
        state.make_room(0);
        Ok(dtab)
    }

    /// Does the same in a turn of its caller, unless the entries are cached.
    pub(crate) async fn request_dtab_in_turn(
        &self,
        overlay: &Rc<Overlay>,
        raw: &[u8],
        limits: &OverrideLimits,
        caller: NameCaller<'_>,
    ) -> Result<Rc<RequestDtab>, Error> {
        if let Some(cached) = self.cached_dtab(overlay, raw, limits) {
            return Ok(cached);
        }
        let turn = self.turns.take(caller.address()).await;
        let dtab = self.request_dtab(overlay, raw, limits);
        turn.end().await;
        dtab
    }

    /// Returns the cached entries of a request.
    fn cached_dtab(
        &self,
        overlay: &Rc<Overlay>,
        raw: &[u8],
        limits: &OverrideLimits,
    ) -> Option<Rc<RequestDtab>> {
        let state = &mut *self.state.borrow_mut();
        if overlay.sandboxes().is_empty() && raw.is_empty() {
            return Some(Rc::clone(&state.no_entries));
        }
        state.forget_outdated(&self.sandboxes);
        state.write_dtab_key(overlay, raw, limits);
        state.dtabs.get(&state.key, state.last_sweep).map(Rc::clone)
    }

    /// Returns the sandboxes of a request that has none.
    pub(crate) fn no_sandboxes(&self) -> Rc<Overlay> {
        Rc::clone(&self.state.borrow().no_sandboxes)
    }

    /// Returns the entries of a request that has none.
    pub(crate) fn no_entries(&self) -> Rc<RequestDtab> {
        Rc::clone(&self.state.borrow().no_entries)
    }

    /// Returns the present binding of `name` under the base dtab and the entries of a request, as the router itself asks for it.
    ///
    /// A binding that is cached, or needs only answers that this worker has, needs no other task. To wait for other answers,
    /// the future must be polled on a runtime with a timer. One name at a time is evaluated, and other tasks have a turn
    /// whenever that has taken 250 us: each evaluation can take a good part of a millisecond.
    ///
    /// # Errors
    ///
    /// The name was not resolved in time, or the namer registry has stopped. A name that leads nowhere is not an error here:
    /// [`Binding::draw`] returns that error.
    pub async fn bind(&self, name: &PathBuf, dtab: &Rc<RequestDtab>) -> Result<Rc<Binding>, Error> {
        self.bind_for(name, dtab, NameCaller::Own).await
    }

    /// Returns the same as [`bind`](Bindings::bind), for a caller: callers have turns by their addresses, and a worker waits
    /// for 1,000 names of callers without trust at once.
    ///
    /// # Errors
    ///
    /// Those of `bind`, and too many callers without trust wait for names, or its address for too many.
    pub(crate) async fn bind_for(
        &self,
        name: &PathBuf,
        dtab: &Rc<RequestDtab>,
        caller: NameCaller<'_>,
    ) -> Result<Rc<Binding>, Error> {
        if let Some(binding) = self.cached(name, dtab) {
            return Ok(binding);
        }
        Box::pin(async {
            let turn = self.turns.take(caller.address()).await;
            self.evaluate((name, dtab), caller, turn).await
        })
        .await
    }

    /// Returns the entries that a request adds to the base dtab, and the binding of its name under them, as
    /// [`Bindings::request_dtab`] and [`Bindings::bind_for`] do; in one turn, so that no request that waits for another one has
    /// parsed entries.
    ///
    /// # Errors
    ///
    /// Those of both.
    pub(crate) async fn bind_request(
        &self,
        name: &PathBuf,
        (overlay, raw, limits): (&Rc<Overlay>, &[u8], &OverrideLimits),
        caller: NameCaller<'_>,
    ) -> Result<(Rc<RequestDtab>, Rc<Binding>), Error> {
        if let Some(dtab) = self.cached_dtab(overlay, raw, limits) {
            let binding = self.bind_for(name, &dtab, caller).await?;
            return Ok((dtab, binding));
        }
        Box::pin(async {
            let turn = self.turns.take(caller.address()).await;
            let dtab = match self.request_dtab(overlay, raw, limits) {
                Ok(dtab) => dtab,
                Err(error) => {
                    turn.end().await;
                    return Err(error);
                }
            };
            // Another text may have led to the same entries.
            let binding = match self.cached(name, &dtab) {
                Some(binding) => {
                    turn.end().await;
                    binding
                }
                None => self.evaluate((name, &dtab), caller, turn).await?,
            };
            Ok((dtab, binding))
        })
        .await
    }

    /// Returns the cached binding of a name, unless an answer behind it has changed.
    fn cached(&self, name: &PathBuf, dtab: &RequestDtab) -> Option<Rc<Binding>> {
        let state = &mut *self.state.borrow_mut();
        state.apply_naming();
        write_key(&mut state.key, name, dtab);
        let binding = state.names.get(&state.key, state.last_sweep)?;
        binding.is_current(state.last_sweep).then(|| Rc::clone(binding))
    }

    /// Evaluates a name and caches its binding.
    async fn evaluate(
        &self,
        (name, dtab): (&PathBuf, &Rc<RequestDtab>),
        caller: NameCaller<'_>,
        turn: EvaluationTurn<'_>,
    ) -> Result<Rc<Binding>, Error> {
        let path = name.to_path();
        let NameEvaluation { delegation, answers, turn } =
            self.settle_in_time(dtab, &path, (caller, turn)).await?;
        let binding = Rc::new(self.make_binding(&path, dtab, &delegation, answers));
        {
            let state = &mut *self.state.borrow_mut();
            write_key(&mut state.key, name, dtab);
            state.names.put(&state.key, Rc::clone(&binding), state.last_sweep);
            state.make_room(0);
        }
        drop(delegation);
        turn.end().await;
        Ok(binding)
    }

    /// Makes the binding of a name from its evaluation.
    fn make_binding(
        &self,
        path: &Path,
        dtab: &Rc<RequestDtab>,
        delegation: &Delegation,
        answers: Vec<Answer>,
    ) -> Binding {
        let state = &mut *self.state.borrow_mut();
        let base = state.base.len();
        let steered = steered_leaves(delegation, |position| {
            position.checked_sub(base).is_some_and(|position| dtab.is_limited(position))
        });
        let routes = match &delegation.outcome {
            DelegationOutcome::Failed(failure) => {
                let text = format!("{failure}\n\nservice name: {path}\n{}", ends_text(delegation));
                let text = text.trim_end().into();
                Err(match failure {
                    Failure::OverrideLookups(_) => BindFailure::TooManyLookups(text),
                    _ => BindFailure::Failed(text),
                })
            }
            DelegationOutcome::Pending
            | DelegationOutcome::Bound(NameTree::Neg | NameTree::Fail | NameTree::Empty) => {
                let text = unroutable_text(delegation, &state.base, dtab.dtab());
                Err(BindFailure::Unroutable(text.into()))
            }
            DelegationOutcome::Bound(tree) => check_destinations(&steered, delegation, dtab.limits())
                .and_then(|()| dtab.overlay().check_destinations(delegation, base))
                .map_err(|text| BindFailure::Refused(text.into()))
                .map(|()| {
                    let mut residuals = ResidualTexts::default();
                    let route = |bound: &Bound| {
                        let limits = steered
                            .contains_key(&(&bound.id, &bound.residual))
                            .then(|| dtab.limits().clone());
                        let to = self.destination(state, bound);
                        let id = match &to {
                            Ok(client) => Rc::clone(client.text()),
                            Err(_) => bound.id.to_string().into(),
                        };
                        Route { id, residual: residuals.text(&bound.residual), to, limits }
                    };
                    Routes::new(Sampler::new(tree, route))
                }),
        };
        let logical = match &routes {
            Ok(_) => self.logical_service(state, path),
            Err(_) => Rc::clone(&self.nowhere),
        };
        let lost = lost_shares(delegation, base);
        let is_losing = dtab.dtab().is_empty() && !lost.is_empty();
        let overrides = base + dtab.sandbox_entries();
        let unbound = unbound_entry(delegation, overrides..delegation.dtab.len());
        let unbound = unbound.and_then(|position| delegation.dtab.iter().nth(position));
        let fallback = unbound_entry(delegation, base..overrides);
        Binding {
            routes,
            logical: RefCell::new(logical),
            service: path.to_string().into(),
            unbound: unbound.map(|dentry| format!("{dentry:#}").into()),
            fallback: fallback.and_then(|position| fallback_text(delegation, base, position, dtab)),
            dtab: Rc::clone(dtab),
            lost: lost_text(delegation, &lost),
            _losing: is_losing.then(|| LosingName::new(self.metrics.losing_names())),
            answers,
            evaluated: state.last_sweep,
            released: state.clients.released(),
        }
    }

    /// Returns the service of a logical name that leads somewhere, as it is configured.
    fn logical_service(&self, state: &mut BindingCache, name: &Path) -> Rc<LogicalService> {
        if let Some(service) = state.services.get(name).and_then(Weak::upgrade) {
            return service;
        }
        if state.services.len() == state.services.capacity() {
            state.services.retain(|_, service| service.strong_count() > 0);
        }
        let settings = state.settings.service(name);
        let budget = self.endpoint_registry.budget(BudgetOwner::Service, name, settings.retry_budget);
        let source = Arc::downgrade(&budget);
        let counters = self.metrics.service(&name.to_string(), source);
        let service = Rc::new(LogicalService::new(settings, budget, Some(counters)));
        state.services.insert(name.clone(), Rc::downgrade(&service));
        service
    }

    /// Returns the client of a bound name, the cached one of its id or a new one, or the status that it stands for.
    fn destination(&self, state: &mut BindingCache, bound: &Bound) -> Result<Rc<Client>, u16> {
        let endpoints = match &bound.target {
            Target::Status(code) => return Err(*code),
            Target::Endpoints(endpoints) => endpoints,
        };
        let client = state.clients.get(&bound.id).unwrap_or_else(|| {
            let target = ClientTarget { id: &bound.id, endpoints };
            let settings = Rc::new(state.settings.client(&bound.id));
            let client = Rc::new(Client::new(&target, settings, (&self.endpoint_registry, &self.metrics)));
            state.insert_client(&client);
            client
        });
        client.replace_source(endpoints);
        Ok(client)
    }

    /// Drops bindings and clients that were not used for too long, and closes connections that were idle for too long. Other
    /// tasks have turns meanwhile.
    pub(crate) async fn sweep(&self) {
        /// How many clients are looked at in one turn.
        const CLIENTS: usize = 64;
        let now = Instant::now();
        // Needed also without requests: it ends the watches of namers that were removed.
        self.sandboxes.refresh();
        self.state.borrow_mut().begin_sweep(now, &self.sandboxes);
        while self.state.borrow_mut().drop_expired(now) {
            tokio::task::yield_now().await;
        }
        let clients: Vec<_> = self.state.borrow().clients.iter().cloned().collect();
        for some in clients.chunks(CLIENTS) {
            for client in some {
                client.sweep(now);
            }
            self.state.borrow_mut().clients.note_unused(some);
            tokio::task::yield_now().await;
        }
        drop(clients);
        while self.state.borrow_mut().drop_idle_clients() {
            tokio::task::yield_now().await;
        }
    }
}

/// The texts of the residuals of one binding: leaves that follow each other have the same, as a rule.
#[derive(Default)]
struct ResidualTexts(Option<(Path, Rc<str>)>);

impl ResidualTexts {
    /// Returns the text of a residual; None if it is empty.
    fn text(&mut self, residual: &Path) -> Option<Rc<str>> {
        if residual.is_empty() {
            return None;
        }
        match &self.0 {
            Some((last, text)) if last == residual => Some(Rc::clone(text)),
            _ => {
                let text: Rc<str> = residual.to_string().into();
                self.0 = Some((residual.clone(), Rc::clone(&text)));
                Some(text)
            }
        }
    }
}

/// Writes the key of a name under the entries of a request. Equal keys mean equal names and entries: the length of the name
/// separates the two parts.
fn write_key(key: &mut Vec<u8>, name: &PathBuf, dtab: &RequestDtab) {
    key.clear();
    let name = name.as_encoded();
    key.extend_from_slice(&name.len().to_ne_bytes());
    key.extend_from_slice(name);
    dtab.write_key(key);
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
