//! A worker's bindings: what each name under each override stands for, remembered until an answer behind it changes.
//!
//! A hit borrows its key from the request, takes no lock and allocates nothing. A miss is one call of
//! [`delegate`] over the answers this worker holds; only an answer that nobody here holds yet is asked of control.

use super::error::Error;
use super::upstream::{Client, ClientSettings, ClientTarget, EndpointRegistry, Route, Routes, SettingsTable};
use crate::context::{OverrideLimits, Overrides, decode_overrides};
use crate::interpret::{
    Answer, AnswerTable, Bound, Delegation, DelegationOutcome, Explore, NamerHandle, Naming, Sampler, Target,
    any_changed, delegate, unbound_override,
};
use crate::name::{Dtab, NameTree, Path, PathBuf};
use lru::LruCache;
use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How many of each thing a worker remembers, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Names under overrides: `bindingCache.paths`.
    pub names: NonZeroUsize,
    /// Clients, each with its endpoints and connections: `bindingCache.clients`.
    pub clients: NonZeroUsize,
    /// How long a name that nobody asks for is remembered: `bindingCache.idleTtlSecs`.
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
    /// How much each worker remembers.
    pub cache: CacheConfig,
    /// The settings of the clients to which names lead.
    pub clients: ClientSettings,
}

/// What one name stands for under one override.
#[derive(Debug)]
pub struct Binding {
    /// Where its requests go, or what their callers are told.
    routes: Result<Routes, BindFailure>,
    /// The logical name as it is printed.
    pub(crate) service: Box<str>,
    /// The entry of the override that did not bind, though it was looked at: its requests go elsewhere.
    pub(crate) unbound: Option<Box<str>>,
    /// The answers behind it.
    looked: Vec<Answer>,
    /// When the sweep was before it was last asked for.
    used: Cell<Instant>,
}

/// Why a name leads nowhere.
#[derive(Clone, Debug)]
enum BindFailure {
    /// It is Neg, Fail or Empty.
    Unroutable(Box<str>),
    /// A namer failed, or a bound was reached.
    Failed(Box<str>),
}

/// What the names of one router stand for, as one worker remembers it.
///
/// Belongs to one thread. Public for those who want to know where a request would go without sending it.
#[derive(Debug)]
pub struct Bindings {
    timeout: Cell<Duration>,
    idle: Cell<Duration>,
    asker: NamerHandle,
    endpoint_registry: Arc<EndpointRegistry>,
    state: RefCell<BindingCache>,
}

#[derive(Debug)]
struct BindingCache {
    /// What names mean, and the base dtab of it as this worker has seen it.
    live: watch::Receiver<Naming>,
    base: Dtab,
    held: AnswerTable,
    overrides: LruCache<Box<[u8]>, Rc<Overrides>>,
    names: LruCache<Box<[u8]>, Rc<Binding>>,
    clients: LruCache<Path, Rc<Client>>,
    settings: SettingsTable,
    /// Where a key is put together.
    key: Vec<u8>,
    /// When the last sweep was: the only clock that a hit reads.
    swept: Instant,
    no_overrides: Rc<Overrides>,
}

impl Bindings {
    /// Makes a worker's bindings under the meaning of names for the router, which may change.
    pub fn new(mut live: watch::Receiver<Naming>, settings: &BindingSettings, asker: NamerHandle) -> Self {
        let BindingSettings { timeout, cache, clients } = *settings;
        let Naming { dtab, namers } = live.borrow_and_update().clone();
        let state = BindingCache {
            base: dtab,
            live,
            held: AnswerTable::new(asker.clone(), namers),
            overrides: LruCache::new(cache.names),
            names: LruCache::new(cache.names),
            clients: LruCache::new(cache.clients),
            settings: SettingsTable::new(clients),
            key: Vec::new(),
            swept: Instant::now(),
            no_overrides: Rc::default(),
        };
        Self {
            timeout: Cell::new(timeout),
            idle: Cell::new(cache.idle),
            asker,
            endpoint_registry: Arc::default(),
            state: RefCell::new(state),
        }
    }

    /// Shares the state of endpoints with other workers, so that each knows what the others send to an endpoint.
    #[must_use]
    pub fn sharing(self, endpoint_registry: Arc<EndpointRegistry>) -> Self {
        Self { endpoint_registry, ..self }
    }

    /// Takes over other settings. What is remembered beyond their bounds is forgotten; clients keep their connections.
    pub(crate) fn configure(&self, settings: &BindingSettings) {
        let BindingSettings { timeout, cache, clients } = *settings;
        self.timeout.set(timeout);
        self.idle.set(cache.idle);
        let state = &mut *self.state.borrow_mut();
        state.overrides.resize(cache.names);
        state.names.resize(cache.names);
        state.clients.resize(cache.clients);
        state.settings = SettingsTable::new(clients);
        for (id, client) in &state.clients {
            client.configure(state.settings.choose(id));
        }
        // A client that was forgotten may still be used by bindings.
        for client in state.names.iter().flat_map(|(_, binding)| binding.clients()) {
            client.configure(state.settings.choose(client.id()));
        }
    }

    /// Reads the overrides of a request, each spelling once: what
    /// [`Context::overrides`](crate::context::Context::overrides) holds.
    ///
    /// # Errors
    ///
    /// They are not dtabs, or have too many entries.
    pub fn overrides(&self, raw: &[u8], limits: &OverrideLimits) -> Result<Rc<Overrides>, Error> {
        let state = &mut *self.state.borrow_mut();
        if raw.is_empty() {
            return Ok(Rc::clone(&state.no_overrides));
        }
        if let Some(known) = state.overrides.get(raw) {
            return Ok(Rc::clone(known));
        }
        let overrides = Rc::new(decode_overrides(raw, limits)?);
        state.overrides.put(raw.into(), Rc::clone(&overrides));
        Ok(overrides)
    }

    /// Returns what `name` stands for under the base dtab and these overrides, now.
    ///
    /// What is remembered, or evaluated over answers that this worker holds, is there when it is first polled. To
    /// wait for others, it must be polled on a runtime that has time.
    ///
    /// # Errors
    ///
    /// The name was not resolved in time, or the namers have stopped. That it leads nowhere is no error yet:
    /// [`Binding::draw`] says so.
    pub async fn bind(&self, name: &PathBuf, overrides: &Overrides) -> Result<Rc<Binding>, Error> {
        match self.remembered(name, overrides) {
            Some(binding) => Ok(binding),
            None => Box::pin(self.evaluate(name, overrides)).await,
        }
    }

    fn remembered(&self, name: &PathBuf, overrides: &Overrides) -> Option<Rc<Binding>> {
        let state = &mut *self.state.borrow_mut();
        state.follow();
        write_key(&mut state.key, name, overrides);
        let binding = state.names.get(state.key.as_slice())?;
        if binding.looked.iter().any(Answer::has_changed) {
            return None;
        }
        binding.used.set(state.swept);
        Some(Rc::clone(binding))
    }

    async fn evaluate(&self, name: &PathBuf, overrides: &Overrides) -> Result<Rc<Binding>, Error> {
        let path = name.to_path();
        let (settling, timeout) = (self.settle(&overrides.dtab, &path), self.timeout.get());
        let (delegation, looked) = tokio::time::timeout(timeout, settling)
            .await
            .map_err(|_| Error::BindingTimeout { timeout, name: path.to_string() })??;
        let state = &mut *self.state.borrow_mut();
        let binding = Rc::new(self.binding(state, &path, overrides, &delegation, looked));
        write_key(&mut state.key, name, overrides);
        state.names.put(state.key.as_slice().into(), Rc::clone(&binding));
        Ok(binding)
    }

    /// Evaluates until no answer is missing or pending, under what names mean then.
    async fn settle(&self, overrides: &Dtab, path: &Path) -> Result<(Delegation, Vec<Answer>), Error> {
        loop {
            let (delegation, mut looked, wanted, mut live): (_, Vec<Answer>, _, _) = {
                let state = &mut *self.state.borrow_mut();
                state.follow();
                let (dtab, held) = (state.base.concat(overrides), &mut state.held);
                held.begin();
                let delegation = delegate(&dtab, path, held, Explore::Deciding);
                (delegation, held.take_used_answers(), held.missing(), state.live.clone())
            };
            if !wanted.is_empty() {
                for question in wanted {
                    let answer = self.asker.ask(question.clone()).await;
                    let answer = answer.ok_or_else(|| Error::Naming("the router is stopping".to_owned()))?;
                    self.state.borrow_mut().held.insert(question, &answer);
                }
            } else if delegation.outcome == DelegationOutcome::Pending {
                // Who progress for a namer that does not answer must not miss that another one took its place.
                tokio::select! {
                    () = any_changed(&mut looked) => {}
                    Ok(()) = live.changed() => {}
                }
            } else {
                return Ok((delegation, looked));
            }
        }
    }

    fn binding(
        &self,
        state: &mut BindingCache,
        path: &Path,
        overrides: &Overrides,
        delegation: &Delegation,
        looked: Vec<Answer>,
    ) -> Binding {
        let routes = match &delegation.outcome {
            DelegationOutcome::Failed(failure) => Err(BindFailure::Failed(failure.to_string().into())),
            DelegationOutcome::Pending
            | DelegationOutcome::Bound(NameTree::Neg | NameTree::Fail | NameTree::Empty) => {
                Err(BindFailure::Unroutable(unroutable(path, &state.base, &overrides.dtab).into()))
            }
            DelegationOutcome::Bound(tree) => {
                let sampler = Sampler::new(tree);
                let leaves = sampler.leaves().iter().map(|bound| self.route(state, bound)).collect();
                Ok(Routes::new(sampler, leaves))
            }
        };
        let unbound = unbound_override(delegation, state.base.len());
        let unbound = unbound.map(|dentry| format!("{dentry:#}").into());
        Binding { routes, service: path.to_string().into(), unbound, looked, used: Cell::new(state.swept) }
    }

    fn route(&self, state: &mut BindingCache, bound: &Bound) -> Route {
        let residual = (!bound.residual.is_empty()).then(|| bound.residual.to_string().into());
        let id = bound.id.to_string().into();
        match &bound.target {
            Target::Status(code) => Route { id, residual, to: Err(*code) },
            Target::Endpoints(endpoints) => {
                let settings = &state.settings;
                let make = || {
                    let name = ClientTarget { id: &bound.id, endpoints };
                    Rc::new(Client::new(&name, settings.choose(&bound.id), &self.endpoint_registry))
                };
                let client = Rc::clone(state.clients.get_or_insert(bound.id.clone(), make));
                client.follow(endpoints);
                Route { id, residual, to: Ok(client) }
            }
        }
    }

    /// Forgets what nobody asked for, and closes connections that waited too long.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        let state = &mut *self.state.borrow_mut();
        // Also where nobody asks: the watches of namers that are gone end then.
        state.follow();
        state.swept = now;
        // A failure for want of room does not end by itself: it has to be asked again.
        let over = |binding: &Binding| {
            matches!(binding.routes, Err(BindFailure::Failed(_)))
                || now.saturating_duration_since(binding.used.get()) >= self.idle.get()
        };
        let names: Vec<_> =
            state.names.iter().filter(|(_, binding)| over(binding)).map(|(name, _)| name.clone()).collect();
        for name in names {
            state.names.pop(&name);
        }
        // A client that was forgotten may still be used by bindings.
        for (_, binding) in &state.names {
            binding.clients().for_each(|client| client.sweep(now));
        }
        // A client that no binding leads to any more goes with its connections.
        let unused: Vec<Path> = state
            .clients
            .iter()
            .filter(|(_, client)| Rc::strong_count(client) == 1)
            .map(|(id, _)| id.clone())
            .collect();
        for id in unused {
            state.clients.pop(&id);
        }
        state.held.prune();
    }
}

impl BindingCache {
    /// Takes over what names mean when that has changed: what was bound before is forgotten, clients are kept, and so
    /// are the answers of namers that stay.
    ///
    /// One atomic load when nothing has changed.
    fn follow(&mut self) {
        if self.live.has_changed().unwrap_or(false) {
            let Naming { dtab, namers } = self.live.borrow_and_update().clone();
            self.base = dtab;
            self.held.replace_namers(&namers);
            self.names.clear();
        }
    }
}

impl Binding {
    fn clients(&self) -> impl Iterator<Item = &Rc<Client>> {
        self.routes.iter().flat_map(Routes::clients)
    }

    /// Draws one of the leaves by weight.
    ///
    /// # Errors
    ///
    /// The name leads nowhere, a namer failed, or the share of an empty branch was drawn.
    pub fn draw(&self) -> Result<&Route, Error> {
        let routes = self.routes.as_ref().map_err(BindFailure::error)?;
        routes.draw().ok_or_else(|| Error::Unroutable(empty(&self.service)))
    }
}

impl BindFailure {
    fn error(&self) -> Error {
        match self {
            Self::Unroutable(text) => Error::Unroutable(text.clone().into()),
            Self::Failed(text) => Error::Naming(text.clone().into()),
        }
    }
}

fn empty(service: &str) -> String {
    format!("Unable to route request!\n\nservice name: {service}\nthe branch that was drawn is empty")
}

/// How many entries of a dtab an error shows.
const MOST_SHOWN: usize = 50;

/// The text of Linkerd's "unable to route": the name and both dtabs.
fn unroutable(path: &Path, base: &Dtab, overrides: &Dtab) -> String {
    let mut text = format!("Unable to route request!\n\nservice name: {path}\nbase dtab:\n");
    for (title, dtab) in [("", base), ("override dtab:\n", overrides)] {
        text.push_str(title);
        for dentry in dtab.iter().take(MOST_SHOWN) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {} => {}", dentry.prefix, dentry.dst);
        }
        if dtab.len() > MOST_SHOWN {
            let _ = writeln!(text, "  ... and {} more", dtab.len() - MOST_SHOWN);
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// A key for which equal bytes mean an equal name and equal overrides: the length of the name keeps them apart.
fn write_key(key: &mut Vec<u8>, name: &PathBuf, overrides: &Overrides) {
    key.clear();
    let name = name.as_encoded();
    key.extend_from_slice(&name.len().to_ne_bytes());
    key.extend_from_slice(name);
    key.extend_from_slice(overrides.printed());
}

#[cfg(test)]
mod tests;
