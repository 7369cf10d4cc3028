//! The endpoints of all clients, with the state of each that the workers share.

use super::accrual::{AccrualChange, AccrualState};
use super::dial_guard::DialGuard;
use super::endpoint_state::EndpointState;
use super::retry_budget::{BudgetSettings, RetryBudget};
use super::settings::EndpointTls;
use crate::interpret::Endpoint;
use crate::name::Path;
use crate::telemetry::GroupSource;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The registry of all clients' endpoints and budgets, with the state of each that the workers share.
///
/// It is locked when a client is made or its set of endpoints changes, and not for each request.
#[derive(Debug, Default)]
pub struct EndpointRegistry {
    clients: Mutex<HashMap<Path, Vec<Weak<SharedClient>>>>,
    budgets: Mutex<HashMap<(BudgetOwner, Path), Weak<RetryBudget>>>,
    guard: DialGuard,
    order: RandomState,
    zone: Option<Arc<str>>,
}

/// The state of one client that the workers share, over all routers that encrypt and verify its connections alike.
///
/// Others have a state of their own: settings of TLS that no endpoint accepts do not shut the endpoints of another router.
#[derive(Debug)]
pub(crate) struct SharedClient {
    id: Path,
    tls: Option<EndpointTls>,
    states: Mutex<HashMap<EndpointKey, Weak<EndpointState>>>,
    counts: AccrualCounts,
    guard: DialGuard,
    /// The order in which the process prefers endpoints, where it uses a few of many: another one in each process.
    order: RandomState,
    /// The zone that the process runs in, if it is known.
    zone: Option<Arc<str>>,
}

/// An endpoint of a client: an address, and what has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EndpointKey {
    pub(crate) address: SocketAddr,
    pub(crate) instance: Option<NonZeroU64>,
}

impl EndpointKey {
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        Self { address: endpoint.address, instance: endpoint.instance }
    }
}

/// The counts of a client's failure accrual, over all endpoints it ever had.
#[derive(Debug, Default)]
struct AccrualCounts {
    removals: AtomicU64,
    revivals: AtomicU64,
    probes: AtomicU64,
    removed_millis: AtomicU64,
}

/// The health of a client's endpoints, as failure accrual sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHealth {
    /// The health of each endpoint.
    pub endpoints: BTreeMap<SocketAddr, EndpointHealth>,
    /// How often an endpoint that was alive was shut. `failure_accrual/removals` in Linkerd.
    pub removals: u64,
    /// How often an endpoint that was shut became alive. `failure_accrual/revivals`.
    pub revivals: u64,
    /// How many probes were sent. `failure_accrual/probes`.
    pub probes: u64,
    /// For how many milliseconds endpoints were shut, all in all. `failure_accrual/removed_for_ms`.
    pub removed_millis: u64,
}

/// The health of an endpoint, as failure accrual sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointHealth {
    /// It takes requests.
    Alive {
        /// How many attempts in a row have failed.
        failures: u32,
    },
    /// It takes no requests until its pause is over and a probe has succeeded.
    Shut,
    /// One request finds out whether it answers again.
    Probing,
}

impl From<AccrualState> for EndpointHealth {
    fn from(state: AccrualState) -> Self {
        match state {
            AccrualState::Alive { failures } => Self::Alive { failures },
            AccrualState::Shut { .. } => Self::Shut,
            AccrualState::Probing { .. } => Self::Probing,
        }
    }
}

impl EndpointHealth {
    /// Returns how bad it is: shut is the worst.
    fn rank(self) -> (u8, u32) {
        match self {
            Self::Alive { failures } => (0, failures),
            Self::Probing => (1, 0),
            Self::Shut => (2, 0),
        }
    }
}

impl ClientHealth {
    /// Adds that of another client with the same id. An endpoint of both has the worse health of the two.
    fn add(&mut self, other: Self) {
        for (address, health) in other.endpoints {
            let known = self.endpoints.entry(address).or_insert(health);
            *known = std::cmp::max_by_key(*known, health, |health| health.rank());
        }
        self.removals += other.removals;
        self.revivals += other.revivals;
        self.probes += other.probes;
        self.removed_millis += other.removed_millis;
    }
}

/// Locks a table. One that a panic left behind is whole: no change of it takes two steps.
fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the value of a key while anyone holds it, or else makes it.
fn get_or_make<K: Eq + std::hash::Hash, V>(
    table: &mut HashMap<K, Weak<V>>,
    key: K,
    make: impl FnOnce() -> V,
) -> Arc<V> {
    if let Some(value) = table.get(&key).and_then(Weak::upgrade) {
        return value;
    }
    if table.len() == table.capacity() {
        table.retain(|_, value| value.strong_count() > 0);
    }
    let value = Arc::new(make());
    table.insert(key, Arc::downgrade(&value));
    value
}

impl EndpointRegistry {
    /// Makes an empty registry; the sockets of `guard` are not dialled, whosever endpoints they are.
    pub fn new(guard: DialGuard) -> Self {
        Self { guard, ..Self::default() }
    }

    /// Sets the zone that the process runs in.
    pub fn in_zone(mut self, zone: Option<Arc<str>>) -> Self {
        self.zone = zone;
        self
    }

    /// Returns the endpoints that the workers use, by client: each client's set as of its last request.
    pub fn endpoints(&self) -> BTreeMap<Path, BTreeSet<SocketAddr>> {
        let mut sets = BTreeMap::<_, BTreeSet<_>>::new();
        for client in self.shared_clients() {
            let states = lock(&client.states);
            let mut held = states.iter().filter(|(_, state)| state.strong_count() > 0).peekable();
            if held.peek().is_some() {
                sets.entry(client.id.clone()).or_default().extend(held.map(|(key, _)| key.address));
            }
        }
        sets
    }

    /// Returns the health of the endpoints that the workers use, by client.
    pub fn health(&self) -> BTreeMap<Path, ClientHealth> {
        let mut all = BTreeMap::<_, ClientHealth>::new();
        for client in self.shared_clients() {
            all.entry(client.id.clone()).or_default().add(client.health());
        }
        all
    }

    /// Returns the clients that a worker has.
    fn shared_clients(&self) -> Vec<Arc<SharedClient>> {
        lock(&self.clients).values().flatten().filter_map(Weak::upgrade).collect()
    }

    /// Returns what the workers share of a client, which is made if no worker has one yet whose connections are encrypted
    /// and verified in this way.
    pub(crate) fn client(&self, id: &Path, tls: Option<&EndpointTls>) -> Arc<SharedClient> {
        let mut clients = lock(&self.clients);
        if clients.len() == clients.capacity() && !clients.contains_key(id) {
            clients.retain(|_, alike| alike.iter().any(|client| client.strong_count() > 0));
        }
        let alike = clients.entry(id.clone()).or_default();
        alike.retain(|client| client.strong_count() > 0);
        if let Some(client) = alike.iter().filter_map(Weak::upgrade).find(|client| client.tls.as_ref() == tls)
        {
            return client;
        }
        let client = Arc::new(SharedClient {
            id: id.clone(),
            tls: tls.cloned(),
            states: Mutex::default(),
            counts: AccrualCounts::default(),
            guard: self.guard.clone(),
            order: self.order.clone(),
            zone: self.zone.clone(),
        });
        alike.push(Arc::downgrade(&client));
        client
    }

    /// Returns the budget of a client or a service, which is made if no worker has one with these settings yet.
    pub(crate) fn budget(
        &self,
        owner: BudgetOwner,
        name: &Path,
        settings: BudgetSettings,
    ) -> Arc<RetryBudget> {
        let mut budgets = lock(&self.budgets);
        let key = (owner, name.clone());
        if budgets.get(&key).and_then(Weak::upgrade).is_some_and(|budget| budget.settings() != settings) {
            budgets.remove(&key);
        }
        get_or_make(&mut budgets, key, || RetryBudget::new(settings))
    }
}

/// The owner of a budget: both kinds have names that are paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BudgetOwner {
    /// A client, which pays for further attempts.
    Client,
    /// A service, which pays for retries.
    Service,
}

impl SharedClient {
    /// Returns the bound id.
    pub(crate) fn id(&self) -> &Path {
        &self.id
    }

    /// Locks the states of its endpoints, to change a worker's set of them.
    pub(crate) fn states(self: &Arc<Self>) -> EndpointStates<'_> {
        EndpointStates { client: self, states: lock(&self.states) }
    }

    /// Returns the zone that the process runs in, if it is known.
    pub(crate) fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// Returns the place of an address in the order of the process.
    pub(crate) fn place(&self, address: SocketAddr) -> u64 {
        self.order.hash_one(address)
    }

    /// Counts a change in the health of one of its endpoints.
    pub(crate) fn count(&self, change: AccrualChange) {
        match change {
            AccrualChange::Removed(pause) => {
                self.counts.removals.fetch_add(1, Relaxed);
                self.count_pause(pause);
            }
            AccrualChange::ProbeFailed(pause) => self.count_pause(pause),
            AccrualChange::Revived => {
                self.counts.revivals.fetch_add(1, Relaxed);
            }
        }
    }

    fn count_pause(&self, pause: std::time::Duration) {
        self.counts.removed_millis.fetch_add(pause.as_millis() as u64, Relaxed);
    }

    /// Counts a probe that is sent.
    pub(crate) fn count_probe(&self) {
        self.counts.probes.fetch_add(1, Relaxed);
    }

    fn health(&self) -> ClientHealth {
        let states = lock(&self.states);
        let held = states.iter().filter_map(|(key, state)| Some((key.address, state.upgrade()?)));
        let AccrualCounts { removals, revivals, probes, removed_millis } = &self.counts;
        ClientHealth {
            endpoints: held.map(|(address, state)| (address, state.accrual().state().into())).collect(),
            removals: removals.load(Relaxed),
            revivals: revivals.load(Relaxed),
            probes: probes.load(Relaxed),
            removed_millis: removed_millis.load(Relaxed),
        }
    }
}

impl GroupSource for SharedClient {
    fn read(&self, at: usize) -> u64 {
        let count = |counted: fn(&EndpointState) -> usize| {
            lock(&self.states).values().filter_map(Weak::upgrade).map(|state| counted(&state) as u64).sum()
        };
        let AccrualCounts { removals, revivals, probes, removed_millis } = &self.counts;
        match at {
            0 => count(|_| 1),
            1 => count(|state| usize::from(state.accrual().is_alive())),
            2 => count(EndpointState::in_flight),
            3 => count(|state| state.waiters().count()),
            4 => removals.load(Relaxed),
            5 => revivals.load(Relaxed),
            6 => probes.load(Relaxed),
            _ => removed_millis.load(Relaxed),
        }
    }
}

/// The states of a client's endpoints, locked.
pub(crate) struct EndpointStates<'a> {
    client: &'a Arc<SharedClient>,
    states: MutexGuard<'a, HashMap<EndpointKey, Weak<EndpointState>>>,
}

impl EndpointStates<'_> {
    /// Returns the state of an endpoint, which is made if no worker uses it yet.
    pub(crate) fn state(&mut self, key: EndpointKey) -> Arc<EndpointState> {
        let client = self.client;
        get_or_make(&mut self.states, key, || EndpointState::new(Arc::clone(client), client.guard.clone()))
    }

    /// Forgets the state of an endpoint that has left the set, unless it is another one by now: when it comes back, it is
    /// new.
    pub(crate) fn forget(&mut self, key: EndpointKey, state: &Arc<EndpointState>) {
        if self.states.get(&key).is_some_and(|known| known.as_ptr() == Arc::as_ptr(state)) {
            self.states.remove(&key);
        }
    }
}
