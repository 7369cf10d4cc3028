//! The bindings of a worker: the routes of each name under each override, cached until an answer behind them changes.
//!
//! A hit borrows its key from the request, takes no lock and allocates nothing. A miss calls [`delegate`] over the
//! answers that this worker has already. Only for an answer that it does not have yet, it asks the namer registry.

mod request_dtab;
mod texts;

pub use self::request_dtab::RequestDtab;

use self::texts::{
    check_destinations, empty_branch_text, ends_text, fallback_text, lost_text, unroutable_text,
};
use super::error::Error;
use super::upstream::{Client, ClientSettings, ClientTarget, EndpointRegistry, Route, Routes, SettingsTable};
use crate::context::{OverrideLimits, decode_overrides};
use crate::interpret::{
    Answer, AnswerTable, Bound, Delegation, DelegationOutcome, Explore, NamerHandle, Naming, Sampler, Target,
    any_changed, delegate, lost_shares, steered_leaves, unbound_entry,
};
use crate::name::{Dtab, NameTree, Path, PathBuf};
use crate::sandbox::{Overlay, WorkerSandboxes};
use crate::telemetry::Gauge;
use lru::LruCache;
use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::rc::Rc;
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
    /// How long a name without requests is cached: `bindingCache.idleTtlSecs`.
    pub idle: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        const THOUSAND: NonZeroUsize = NonZeroUsize::new(1000).unwrap();
        Self { names: THOUSAND, clients: THOUSAND, idle: Duration::from_secs(600) }
    }
}

/// The settings of a worker's bindings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BindingSettings {
    /// How long a name may take to be resolved: `bindingTimeoutMs`.
    pub timeout: Duration,
    /// The bounds of each worker's cache.
    pub cache: CacheConfig,
    /// The settings of the clients to which names lead.
    pub clients: ClientSettings,
}

/// The routes of one name under one set of overrides.
#[derive(Debug)]
pub struct Binding {
    /// The routes of requests for the name, or the reason why there are none.
    routes: Result<Routes, BindFailure>,
    /// The logical name as text.
    pub(crate) service: Box<str>,
    /// The override entry that was evaluated but did not bind: requests go elsewhere.
    pub(crate) unbound: Option<Box<str>>,
    /// The entry of a sandbox that was evaluated but did not bind, after the key of the sandbox.
    pub(crate) fallback: Option<Rc<str>>,
    /// The override entries of which a share is lost, each after the share in percent.
    pub(crate) lost: Option<Rc<str>>,
    /// Its count among the names that lose a share by the base dtab alone, while it is cached.
    _losing: Option<LosingName>,
    /// The entries under which it was bound.
    dtab: Rc<RequestDtab>,
    /// The answers on which the routes depend.
    answers: Vec<Answer>,
    /// The time of the last sweep before its last request.
    last_used: Cell<Instant>,
}

/// The evaluation of a name, with the answers that it used.
struct NameEvaluation {
    delegation: Delegation,
    answers: Vec<Answer>,
}

/// A name of which the base dtab loses a share, counted until it is dropped.
#[derive(Debug)]
struct LosingName(Gauge);

impl LosingName {
    fn new(gauge: &Gauge) -> Self {
        gauge.add(1);
        Self(gauge.clone())
    }
}

impl Drop for LosingName {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

/// The reason why a name has no routes.
#[derive(Clone, Debug)]
enum BindFailure {
    /// The name is Neg, Fail or Empty.
    Unroutable(Box<str>),
    /// A namer failed, or a bound of delegation was reached.
    Failed(Box<str>),
    /// An entry of the caller leads to a destination that its listener does not allow.
    Refused(Box<str>),
}

/// The bindings of one router on one worker.
///
/// They belong to one thread. The type is public so that a caller can find out where a request would go without sending
/// it.
#[derive(Debug)]
pub struct Bindings {
    timeout: Cell<Duration>,
    idle: Cell<Duration>,
    namer_handle: NamerHandle,
    endpoint_registry: Arc<EndpointRegistry>,
    losing_names: Gauge,
    sandboxes: Rc<WorkerSandboxes>,
    state: RefCell<BindingCache>,
}

/// The caches of a worker's bindings, with the naming under which they were filled.
#[derive(Debug)]
struct BindingCache {
    /// The dtab and namers of the router, live.
    naming: watch::Receiver<Naming>,
    /// The base dtab that this worker has seen last in `naming`.
    base: Dtab,
    answers: AnswerTable,
    dtabs: LruCache<Box<[u8]>, Rc<RequestDtab>>,
    names: LruCache<Box<[u8]>, Rc<Binding>>,
    clients: LruCache<Path, Rc<Client>>,
    settings: SettingsTable,
    /// The buffer in which keys are built.
    key: Vec<u8>,
    /// The time of the last sweep: a hit reads it instead of the clock.
    last_sweep: Instant,
    no_entries: Rc<RequestDtab>,
    no_sandboxes: Rc<Overlay>,
    /// The table of sandboxes that the cached bindings were last compared with.
    table: u64,
}

impl Bindings {
    /// Makes the bindings of a worker under the naming of a router, which may change.
    pub fn new(
        mut naming: watch::Receiver<Naming>,
        settings: &BindingSettings,
        namer_handle: NamerHandle,
    ) -> Self {
        let BindingSettings { timeout, cache, clients } = *settings;
        let Naming { dtab, namers } = naming.borrow_and_update().clone();
        let state = BindingCache {
            base: dtab,
            naming,
            answers: AnswerTable::new(namer_handle.clone(), namers),
            dtabs: LruCache::new(cache.names),
            names: LruCache::new(cache.names),
            clients: LruCache::new(cache.clients),
            settings: SettingsTable::new(clients),
            key: Vec::new(),
            last_sweep: Instant::now(),
            no_entries: Rc::default(),
            no_sandboxes: Rc::default(),
            table: 0,
        };
        Self {
            timeout: Cell::new(timeout),
            idle: Cell::new(cache.idle),
            namer_handle,
            endpoint_registry: Arc::default(),
            losing_names: Gauge::default(),
            sandboxes: Rc::default(),
            state: RefCell::new(state),
        }
    }

    /// Makes the bindings that follow these under another naming and other settings. They have the same clients, with their
    /// connections. Requests that have begun keep these.
    pub(crate) fn followed_by(&self, naming: watch::Receiver<Naming>, settings: &BindingSettings) -> Self {
        let next = Self::new(naming, settings, self.namer_handle.clone());
        // From the one used least recently to the one used last.
        for (id, client) in self.state.borrow().clients.iter().rev() {
            next.state.borrow_mut().clients.push(id.clone(), Rc::clone(client));
        }
        next.configure(settings);
        next.sharing(Arc::clone(&self.endpoint_registry)).with_sandboxes(&self.sandboxes)
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

    /// Counts, in `losing_names`, the cached names of which the base dtab loses a share.
    #[must_use]
    pub fn counting(self, losing_names: Gauge) -> Self {
        Self { losing_names, ..self }
    }

    /// Replaces the settings. Cache entries beyond the new bounds are dropped; clients keep their connections.
    pub(crate) fn configure(&self, settings: &BindingSettings) {
        let BindingSettings { timeout, cache, clients } = *settings;
        self.timeout.set(timeout);
        self.idle.set(cache.idle);
        let state = &mut *self.state.borrow_mut();
        state.dtabs.resize(cache.names);
        state.names.resize(cache.names);
        state.clients.resize(cache.clients);
        state.settings = SettingsTable::new(clients);
        for (id, client) in &state.clients {
            client.configure(state.settings.choose(id));
        }
        // A client that is no longer cached may still be used by bindings.
        for client in state.names.iter().flat_map(|(_, binding)| binding.clients()) {
            client.configure(state.settings.choose(client.id()));
        }
    }

    /// Parses the overrides of a request, as [`Context::overrides`](crate::context::Context::overrides) returns them.
    /// Each text is parsed once under the same limits, and cached.
    ///
    /// # Errors
    ///
    /// The overrides are not dtabs, have too many entries, or have one whose prefix is not allowed.
    pub fn overrides(&self, raw: &[u8], limits: &OverrideLimits) -> Result<Rc<RequestDtab>, Error> {
        let none = Rc::clone(&self.state.borrow().no_sandboxes);
        self.request_dtab(&none, raw, limits)
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
        let state = &mut *self.state.borrow_mut();
        if overlay.sandboxes().is_empty() && raw.is_empty() {
            return Ok(Rc::clone(&state.no_entries));
        }
        state.forget_outdated(&self.sandboxes);
        state.key.clear();
        overlay.write_key(&mut state.key);
        limits.write_key(&mut state.key);
        state.key.extend_from_slice(raw);
        if let Some(cached) = state.dtabs.get(state.key.as_slice()) {
            return Ok(Rc::clone(cached));
        }
        let dtab = Rc::new(RequestDtab::new(overlay, decode_overrides(raw, limits)?));
        state.dtabs.put(state.key.as_slice().into(), Rc::clone(&dtab));
        Ok(dtab)
    }

    /// Returns the entries of a request that has none.
    pub(crate) fn no_entries(&self) -> Rc<RequestDtab> {
        Rc::clone(&self.state.borrow().no_entries)
    }

    /// Returns the present binding of `name` under the base dtab and the entries of a request.
    ///
    /// A binding that is cached, or needs only answers that this worker has, is ready at the first poll. To wait for
    /// other answers, the future must be polled on a runtime with a timer.
    ///
    /// # Errors
    ///
    /// The name was not resolved in time, or the namer registry has stopped. A name that leads nowhere is not an error
    /// here: [`Binding::draw`] returns that error.
    pub async fn bind(&self, name: &PathBuf, dtab: &Rc<RequestDtab>) -> Result<Rc<Binding>, Error> {
        match self.cached(name, dtab) {
            Some(binding) => Ok(binding),
            None => Box::pin(self.evaluate(name, dtab)).await,
        }
    }

    /// Returns the cached binding of a name, unless an answer behind it has changed.
    fn cached(&self, name: &PathBuf, dtab: &RequestDtab) -> Option<Rc<Binding>> {
        let state = &mut *self.state.borrow_mut();
        state.apply_naming();
        write_key(&mut state.key, name, dtab);
        let binding = state.names.get(state.key.as_slice())?;
        if binding.answers.iter().any(Answer::has_changed) {
            return None;
        }
        binding.last_used.set(state.last_sweep);
        Some(Rc::clone(binding))
    }

    /// Evaluates a name and caches its binding.
    async fn evaluate(&self, name: &PathBuf, dtab: &Rc<RequestDtab>) -> Result<Rc<Binding>, Error> {
        let path = name.to_path();
        let evaluation = self.settle_in_time(dtab.dtab(), &path).await?;
        let binding = Rc::new(self.make_binding(&path, dtab, evaluation));
        let state = &mut *self.state.borrow_mut();
        write_key(&mut state.key, name, dtab);
        state.names.put(state.key.as_slice().into(), Rc::clone(&binding));
        Ok(binding)
    }

    /// Evaluates a name for a reader, and caches nothing.
    pub(crate) async fn explain(&self, name: &PathBuf, dtab: &RequestDtab) -> Result<Delegation, Error> {
        let evaluation = self.settle_in_time(dtab.dtab(), &name.to_path()).await?;
        Ok(evaluation.delegation)
    }

    /// Evaluates a name within the binding timeout.
    async fn settle_in_time(&self, overrides: &Dtab, path: &Path) -> Result<NameEvaluation, Error> {
        let timeout = self.timeout.get();
        tokio::time::timeout(timeout, self.settle(overrides, path))
            .await
            .map_err(|_| Error::BindingTimeout { timeout, name: path.to_string() })?
    }

    /// Evaluates a name, again and again until no answer is missing and none that counts is pending, under the present
    /// naming each time.
    async fn settle(&self, overrides: &Dtab, path: &Path) -> Result<NameEvaluation, Error> {
        loop {
            let (delegation, mut used, missing, mut naming): (_, Vec<Answer>, _, _) = {
                let state = &mut *self.state.borrow_mut();
                state.apply_naming();
                let (dtab, answers) = (state.base.concat(overrides), &mut state.answers);
                answers.begin();
                let delegation = delegate(&dtab, path, answers, Explore::Deciding);
                (delegation, answers.take_used_answers(), answers.missing(), state.naming.clone())
            };
            if !missing.is_empty() {
                let answers = self.namer_handle.ask(missing.clone()).await;
                let answers = answers.ok_or_else(|| Error::Naming("the router is stopping".to_owned()))?;
                let table = &mut self.state.borrow_mut().answers;
                missing
                    .into_iter()
                    .zip(&answers)
                    .for_each(|(question, answer)| table.insert(question, answer));
            } else if delegation.is_unsettled() {
                // The namer that does not answer may be replaced meanwhile: the change must end the wait too.
                tokio::select! {
                    () = any_changed(&mut used) => {}
                    Ok(()) = naming.changed() => {}
                }
            } else {
                return Ok(NameEvaluation { delegation, answers: used });
            }
        }
    }

    /// Makes the binding of a name from its evaluation.
    fn make_binding(&self, path: &Path, dtab: &Rc<RequestDtab>, evaluation: NameEvaluation) -> Binding {
        let NameEvaluation { delegation, answers } = evaluation;
        let state = &mut *self.state.borrow_mut();
        let base = state.base.len();
        let steered = steered_leaves(&delegation, |position| {
            position.checked_sub(base).is_some_and(|position| dtab.is_limited(position))
        });
        let routes = match &delegation.outcome {
            DelegationOutcome::Failed(failure) => {
                let text = format!("{failure}\n\nservice name: {path}\n{}", ends_text(&delegation));
                Err(BindFailure::Failed(text.trim_end().into()))
            }
            DelegationOutcome::Pending
            | DelegationOutcome::Bound(NameTree::Neg | NameTree::Fail | NameTree::Empty) => {
                let text = unroutable_text(&delegation, &state.base, dtab.dtab());
                Err(BindFailure::Unroutable(text.into()))
            }
            DelegationOutcome::Bound(tree) => check_destinations(&steered, &delegation, dtab.limits())
                .and_then(|()| dtab.overlay().check_destinations(&delegation, base))
                .map_err(|text| BindFailure::Refused(text.into()))
                .map(|()| {
                    let sampler = Sampler::new(tree);
                    let route = |bound: &Bound| {
                        let limits = steered
                            .contains_key(&(&bound.id, &bound.residual))
                            .then(|| dtab.limits().clone());
                        self.make_route(state, bound, limits)
                    };
                    let leaves = sampler.leaves().iter().map(route).collect();
                    Routes::new(sampler, leaves)
                }),
        };
        let lost = lost_shares(&delegation, base);
        let is_losing = dtab.dtab().is_empty() && !lost.is_empty();
        let overrides = base + dtab.sandbox_entries();
        let unbound = unbound_entry(&delegation, overrides..delegation.dtab.len());
        let unbound = unbound.and_then(|position| delegation.dtab.iter().nth(position));
        let fallback = unbound_entry(&delegation, base..overrides);
        Binding {
            routes,
            service: path.to_string().into(),
            unbound: unbound.map(|dentry| format!("{dentry:#}").into()),
            fallback: fallback.and_then(|position| fallback_text(&delegation, base, position, dtab)),
            dtab: Rc::clone(dtab),
            lost: lost_text(&delegation, &lost),
            _losing: is_losing.then(|| LosingName::new(&self.losing_names)),
            answers,
            last_used: Cell::new(state.last_sweep),
        }
    }

    /// Makes the route to a bound name, with the cached client of its id or a new one. `limits` are those of the override
    /// that leads there, if one does.
    fn make_route(&self, state: &mut BindingCache, bound: &Bound, limits: Option<OverrideLimits>) -> Route {
        let residual = (!bound.residual.is_empty()).then(|| bound.residual.to_string().into());
        let id = bound.id.to_string().into();
        match &bound.target {
            Target::Status(code) => Route { id, residual, to: Err(*code), limits },
            Target::Endpoints(endpoints) => {
                let settings = &state.settings;
                let make = || {
                    let target = ClientTarget { id: &bound.id, endpoints };
                    Rc::new(Client::new(&target, settings.choose(&bound.id), &self.endpoint_registry))
                };
                let client = Rc::clone(state.clients.get_or_insert(bound.id.clone(), make));
                client.replace_source(endpoints);
                Route { id, residual, to: Ok(client), limits }
            }
        }
    }

    /// Drops bindings and clients that were not used for too long, and closes connections that were idle for too long.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let state = &mut *self.state.borrow_mut();
        // Needed also without requests: it ends the watches of namers that were removed.
        state.apply_naming();
        self.sandboxes.refresh();
        state.forget_outdated(&self.sandboxes);
        state.last_sweep = now;
        // A failure because a bound was reached does not end by itself: the name has to be evaluated again.
        let is_expired = |binding: &Binding| {
            matches!(binding.routes, Err(BindFailure::Failed(_)))
                || now.saturating_duration_since(binding.last_used.get()) >= self.idle.get()
        };
        drop_where(&mut state.names, |binding| is_expired(binding));
        // A client that is no longer cached may still be used by bindings.
        for (_, binding) in &state.names {
            binding.clients().for_each(|client| client.sweep(now));
        }
        // A client that no binding uses any more is dropped with its connections.
        let unused: Vec<Path> = state
            .clients
            .iter()
            .filter(|(_, client)| Rc::strong_count(client) == 1)
            .map(|(id, _)| id.clone())
            .collect();
        for id in unused {
            state.clients.pop(&id);
        }
        state.answers.prune();
    }
}

impl BindingCache {
    /// Applies the present naming if it has changed: drops all bindings, and keeps clients and the answers of namers
    /// that stay.
    ///
    /// It costs one atomic load when nothing has changed.
    fn apply_naming(&mut self) {
        if self.naming.has_changed().unwrap_or(false) {
            let Naming { dtab, namers } = self.naming.borrow_and_update().clone();
            self.base = dtab;
            self.answers.replace_namers(&namers);
            self.names.clear();
        }
    }

    /// Drops what was parsed and bound under sandboxes that have changed or are gone, and nothing else.
    ///
    /// It compares two numbers when the table is the same as before.
    fn forget_outdated(&mut self, sandboxes: &WorkerSandboxes) {
        if self.table == sandboxes.revision() {
            return;
        }
        let table = sandboxes.table();
        self.table = table.revision();
        drop_where(&mut self.dtabs, |dtab| !dtab.is_current(&table));
        drop_where(&mut self.names, |binding| !binding.dtab.is_current(&table));
    }
}

/// Drops the entries of a cache whose value meets a condition.
fn drop_where<V>(cache: &mut LruCache<Box<[u8]>, V>, is_dropped: impl Fn(&V) -> bool) {
    let dropped: Vec<_> =
        cache.iter().filter(|(_, value)| is_dropped(value)).map(|(key, _)| key.clone()).collect();
    for key in dropped {
        cache.pop(&key);
    }
}

impl Binding {
    /// Returns the clients to which the routes lead.
    fn clients(&self) -> impl Iterator<Item = &Rc<Client>> {
        self.routes.iter().flat_map(Routes::clients)
    }

    /// Returns whether the name leads somewhere.
    pub(crate) fn is_routable(&self) -> bool {
        self.routes.is_ok()
    }

    /// Draws one of the routes by weight.
    ///
    /// # Errors
    ///
    /// The name leads nowhere, a namer failed, or the share of an empty branch was drawn.
    pub fn draw(&self) -> Result<&Route, Error> {
        let routes = self.routes.as_ref().map_err(BindFailure::to_error)?;
        routes.draw().ok_or_else(|| Error::Unroutable(empty_branch_text(&self.service)))
    }
}

impl BindFailure {
    /// Makes the error of one request.
    fn to_error(&self) -> Error {
        match self {
            Self::Unroutable(text) => Error::Unroutable(text.clone().into()),
            Self::Failed(text) => Error::Naming(text.clone().into()),
            Self::Refused(text) => Error::OverrideRefused(text.clone().into()),
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
mod tests;
