//! The caches of a worker's bindings, within bounds on numbers and on bytes.

use super::aged_cache::AgedCache;
use super::client_cache::ClientCache;
use super::name_cache::NameCache;
use super::{BindingSettings, RequestDtab};
use crate::context::OverrideLimits;
use crate::interpret::{AnswerTable, Naming};
use crate::name::{Dtab, Path};
use crate::proxy::upstream::{Client, LogicalService, SettingsTable};
use crate::sandbox::{Overlay, WorkerSandboxes};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How many entries are dropped in one turn of a sweep.
const DROPPED_IN_A_TURN: usize = 64;

/// The caches of a worker's bindings, with the naming under which they were filled.
///
/// Each entry that comes costs the same, however many there are: what was used least recently goes when there is no room.
#[derive(Debug)]
pub(super) struct BindingCache {
    /// The dtab and namers of the router, live.
    pub(super) naming: watch::Receiver<Naming>,
    /// The base dtab that this worker has seen last in `naming`.
    pub(super) base: Dtab,
    pub(super) answers: AnswerTable,
    pub(super) dtabs: AgedCache<Rc<RequestDtab>>,
    pub(super) names: NameCache,
    pub(super) clients: ClientCache,
    pub(super) settings: Arc<dyn SettingsTable>,
    /// The services of the names that lead somewhere, for as long as a binding has one: all bindings of a name share it.
    pub(super) services: HashMap<Path, Weak<LogicalService>>,
    /// The buffer in which keys are built.
    pub(super) key: Vec<u8>,
    /// The time of the last sweep: a hit reads it instead of the clock.
    pub(super) last_sweep: Instant,
    pub(super) no_entries: Rc<RequestDtab>,
    pub(super) no_sandboxes: Rc<Overlay>,
    bounds: CacheBounds,
    /// The table of sandboxes that the cached bindings were last compared with.
    table: u64,
}

/// The bounds of the caches.
#[derive(Clone, Copy, Debug)]
struct CacheBounds {
    /// How many bindings there are, and how many parsed overrides.
    names: usize,
    clients: usize,
    /// How many bytes bindings, parsed overrides and answers may take together.
    bytes: usize,
    /// How long a name without requests stays.
    idle: Duration,
}

impl CacheBounds {
    fn new(settings: &BindingSettings) -> Self {
        let cache = &settings.cache;
        let (names, clients) = (cache.names.get(), cache.clients.get());
        Self { names, clients, bytes: cache.bytes, idle: cache.idle }
    }
}

impl BindingCache {
    /// Makes empty caches under a naming, whose dtab is `base` now.
    pub(super) fn new(
        base: Dtab,
        naming: watch::Receiver<Naming>,
        answers: AnswerTable,
        settings: &BindingSettings,
    ) -> Self {
        Self {
            naming,
            base,
            answers,
            dtabs: AgedCache::default(),
            names: NameCache::default(),
            clients: ClientCache::default(),
            settings: Arc::clone(&settings.traffic),
            services: HashMap::new(),
            key: Vec::new(),
            last_sweep: Instant::now(),
            no_entries: Rc::default(),
            no_sandboxes: Rc::default(),
            bounds: CacheBounds::new(settings),
            table: 0,
        }
    }

    /// Writes the key of the entries of a request: their sandboxes, their limits and their text.
    pub(super) fn write_dtab_key(&mut self, overlay: &Overlay, raw: &[u8], limits: &OverrideLimits) {
        self.key.clear();
        overlay.write_key(&mut self.key);
        limits.write_key(&mut self.key);
        self.key.extend_from_slice(raw);
    }

    /// Replaces the settings. What is beyond the new bounds is dropped; clients keep their connections.
    pub(super) fn configure(&mut self, settings: &BindingSettings) {
        self.bounds = CacheBounds::new(settings);
        self.settings = Arc::clone(&settings.traffic);
        self.services.clear();
        for client in self.clients.iter() {
            client.configure(Rc::new(self.settings.client(client.id())));
        }
        // A client that found no room in the cache is used by bindings all the same.
        for client in self.names.routable().flat_map(|binding| binding.clients()) {
            client.configure(Rc::new(self.settings.client(client.id())));
        }
        self.make_room(0);
        while self.clients.len() > self.bounds.clients && self.drop_one_client() {}
    }

    /// Applies the present naming if it has changed: drops all bindings, and keeps clients and the answers of namers
    /// that stay.
    ///
    /// It costs one atomic load when nothing has changed.
    pub(super) fn apply_naming(&mut self) {
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
    pub(super) fn forget_outdated(&mut self, sandboxes: &WorkerSandboxes) {
        if self.table == sandboxes.revision() {
            return;
        }
        let table = sandboxes.table();
        self.table = table.revision();
        self.dtabs.remove_where(|dtab| !dtab.is_current(&table));
        self.names.remove_where(|binding| !binding.is_of(&table));
    }

    /// Drops entries until the bounds hold, and so many more answers have room, or nothing is left to drop.
    pub(super) fn make_room(&mut self, answers: usize) {
        while self.dtabs.len() > self.bounds.names {
            self.dtabs.pop();
        }
        while self.names.len() > self.bounds.names {
            self.names.pop();
        }
        while self.bytes() > self.bounds.bytes && self.drop_one_entry() {}
        while !self.answers.has_room(answers) && self.names.pop() {}
        self.clients.note_many_released();
    }

    /// Returns about how many bytes bindings, parsed overrides and answers take.
    pub(super) const fn bytes(&self) -> usize {
        self.names.bytes() + self.dtabs.bytes()
    }

    /// Drops what goes first: a name that leads nowhere, or else what was used least recently. Returns whether there was
    /// anything.
    fn drop_one_entry(&mut self) -> bool {
        if self.names.pop_unroutable() {
            return true;
        }
        match (self.dtabs.oldest(), self.names.oldest_routable()) {
            (Some(dtab), Some(name)) if name < dtab => self.names.pop(),
            (Some(_), _) => self.dtabs.pop(),
            (None, _) => self.names.pop(),
        }
    }

    /// Adds a client. When there are as many as may be, one without a binding is dropped, or else bindings, those used least
    /// recently first. A client for which that makes no room is not cached.
    pub(super) fn insert_client(&mut self, client: &Rc<Client>) {
        while self.clients.len() >= self.bounds.clients {
            if !self.drop_one_client() {
                return;
            }
        }
        self.clients.insert(client);
    }

    /// Drops one client, and the bindings that must go before. Returns whether there was one to drop.
    fn drop_one_client(&mut self) -> bool {
        while !self.clients.pop_idle() {
            if !self.names.pop() {
                return false;
            }
        }
        true
    }

    /// Begins a sweep.
    pub(super) fn begin_sweep(&mut self, now: Instant, sandboxes: &WorkerSandboxes) {
        self.apply_naming();
        self.forget_outdated(sandboxes);
        self.last_sweep = now;
    }

    /// Drops some of the names and parsed overrides that were not used for too long. Returns whether there may be more.
    pub(super) fn drop_expired(&mut self, now: Instant) -> bool {
        let Some(before) = now.checked_sub(self.bounds.idle) else { return false };
        for _ in 0..DROPPED_IN_A_TURN {
            let is_old = self.dtabs.oldest().is_some_and(|used| used <= before);
            let is_dropped = if is_old { self.dtabs.pop() } else { self.names.pop_older(before) };
            if !is_dropped {
                // The answers go with the bindings.
                self.answers.prune();
                return false;
            }
        }
        true
    }

    /// Drops some of the clients that no binding uses, with their connections. Returns whether there may be more.
    pub(super) fn drop_idle_clients(&mut self) -> bool {
        (0..DROPPED_IN_A_TURN).all(|_| self.clients.pop_idle())
    }
}
