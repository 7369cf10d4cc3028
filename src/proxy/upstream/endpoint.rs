//! An endpoint: its state, which all workers share, and its connections, which each worker has to itself.

use super::connect::ConnectTarget;
use super::dial_guard::DialGuard;
use super::http2_pool::Http2Pool;
use super::pool::Pool;
use super::retry_budget::{BudgetSettings, RetryBudget};
use super::settings::ClientSettings;
use super::uploads::OpenUploads;
use super::waiters::Waiters;
use crate::interpret::{Endpoint, Hint};
use crate::name::Path;
use crate::proxy::error::Error;
use crate::proxy::exchange::{Outcome, PendingAttempt, TimeLimit, UpstreamEndpoint, WaitQueue};
use crate::proxy::limits::PeerAddress;
use crate::proxy::wire::WireProtocol;
use crate::proxy::wire::connection::Connection;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// The state of one endpoint of one client, which all workers share.
///
/// Aligned to two cache lines (processors fetch them in pairs), so that workers that serve different endpoints do not
/// wait for each other.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct EndpointState {
    /// How many requests are under way, over all workers.
    in_flight: AtomicUsize,
    /// Those of them that wait for a connection or a stream.
    waiters: Waiters,
    /// The sockets that no worker dials.
    guard: DialGuard,
}

impl EndpointState {
    /// Counts a request that begins.
    fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// Returns how many requests have a connection over HTTP/1, or open one.
    fn connections(&self) -> usize {
        self.in_flight.load(Relaxed).saturating_sub(self.waiters.count())
    }

    /// Counts a request that has ended. Its outcome is all that workers tell of an endpoint's health.
    fn report(&self, _outcome: Outcome) {
        self.in_flight.fetch_sub(1, Relaxed);
    }
}

/// The registry of all clients' endpoints and budgets, with the state of each that the workers share.
///
/// It is locked when a client is made or its set of endpoints changes, and not for each request.
#[derive(Debug, Default)]
pub struct EndpointRegistry {
    states: Mutex<HashMap<(Path, SocketAddr), Weak<EndpointState>>>,
    budgets: Mutex<HashMap<(BudgetOwner, Path), Weak<RetryBudget>>>,
    guard: DialGuard,
}

impl EndpointRegistry {
    /// Makes an empty registry; the sockets of `guard` are not dialled, whosever endpoints they are.
    pub fn new(guard: DialGuard) -> Self {
        Self { states: Mutex::default(), budgets: Mutex::default(), guard }
    }

    /// Returns the endpoints that the workers use, by client: each client's set as of its last request.
    pub fn endpoints(&self) -> BTreeMap<Path, BTreeSet<SocketAddr>> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let mut clients: BTreeMap<Path, BTreeSet<SocketAddr>> = BTreeMap::new();
        for ((client, address), _) in states.iter().filter(|(_, state)| state.strong_count() > 0) {
            clients.entry(client.clone()).or_default().insert(*address);
        }
        clients
    }

    /// Returns the state of an endpoint of a client, which is made if no worker uses it yet.
    pub(crate) fn state(&self, client: &Path, address: SocketAddr) -> Arc<EndpointState> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (client.clone(), address);
        if let Some(state) = states.get(&key).and_then(Weak::upgrade) {
            return state;
        }
        if states.len() == states.capacity() {
            states.retain(|_, state| state.strong_count() > 0);
        }
        let state = Arc::new(EndpointState { guard: self.guard.clone(), ..EndpointState::default() });
        states.insert(key, Arc::downgrade(&state));
        state
    }

    /// Returns the budget of a client or a service, which is made if no worker has one with these settings yet.
    pub(crate) fn budget(
        &self,
        owner: BudgetOwner,
        name: &Path,
        settings: BudgetSettings,
    ) -> Arc<RetryBudget> {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (owner, name.clone());
        let known = budgets.get(&key).and_then(Weak::upgrade);
        if let Some(budget) = known.filter(|budget| budget.settings() == settings) {
            return budget;
        }
        if budgets.len() == budgets.capacity() {
            budgets.retain(|_, budget| budget.strong_count() > 0);
        }
        let budget = Arc::new(RetryBudget::new(settings));
        budgets.insert(key, Arc::downgrade(&budget));
        budget
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

/// One endpoint on one worker.
#[derive(Debug)]
pub(crate) struct WorkerEndpoint {
    address: SocketAddr,
    hint: Option<Hint>,
    settings: RefCell<Rc<ClientSettings>>,
    /// The idle HTTP/1 connections of this worker.
    pool: Pool,
    /// The HTTP/2 connections of this worker.
    http2: Http2Pool,
    /// The requests of this worker that wait for room.
    queue: Rc<WaitQueue>,
    /// The bodies of this worker that the endpoint has not answered.
    uploads: Rc<OpenUploads>,
    state: Arc<EndpointState>,
}

impl WorkerEndpoint {
    pub(crate) fn new(endpoint: &Endpoint, state: Arc<EndpointState>, settings: Rc<ClientSettings>) -> Self {
        let queue = Rc::<WaitQueue>::default();
        Self {
            address: endpoint.address,
            hint: endpoint.hint,
            settings: RefCell::new(settings),
            pool: Pool::default(),
            http2: Http2Pool::new(&queue),
            queue,
            uploads: Rc::default(),
            state,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn hint(&self) -> Option<Hint> {
        self.hint
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn http2(&self) -> &Http2Pool {
        &self.http2
    }

    pub(crate) fn uploads(&self) -> &Rc<OpenUploads> {
        &self.uploads
    }

    /// Waits until a request that was begun may have a connection over HTTP/1.
    pub(crate) async fn http1_room(&self, peer: PeerAddress, settings: &ClientSettings) -> Result<(), Error> {
        let most = settings.max_http1_connections;
        // The request itself is counted.
        if self.queue.is_empty() && self.state.connections() <= most {
            return Ok(());
        }
        // Boxed, so that requests that need not wait do not pay for its size.
        Box::pin(self.await_http1_room(peer, settings)).await
    }

    async fn await_http1_room(&self, peer: PeerAddress, settings: &ClientSettings) -> Result<(), Error> {
        let (most, wait) = (settings.max_http1_connections, settings.stream_wait);
        let _waiter = self.state.waiters.begin(self.address, settings.max_waiters)?;
        let take = || {
            let has_room = self.state.connections() < most;
            if !has_room {
                self.uploads.reset_silent();
            }
            has_room.then_some(())
        };
        let room = self.queue.wait(peer, Instant::now() + wait, take).await;
        room.ok_or(Error::EndpointBusy { address: self.address, wait })
    }

    /// Returns the number of requests under way, over all workers.
    pub(crate) fn in_flight(&self) -> usize {
        self.state.in_flight.load(Relaxed)
    }

    /// Returns how long one attempt may take, if that is limited.
    pub(crate) fn attempt_timeout(&self) -> Option<Duration> {
        self.settings.borrow().attempt_timeout
    }

    /// Returns the settings for the next request.
    pub(crate) fn settings(&self) -> Rc<ClientSettings> {
        Rc::clone(&self.settings.borrow())
    }

    /// Returns the target of a new connection under these settings.
    pub(crate) fn connect_target<'a>(&'a self, settings: &'a ClientSettings) -> ConnectTarget<'a> {
        ConnectTarget {
            address: self.address,
            settings,
            guard: &self.state.guard,
            waiters: &self.state.waiters,
        }
    }

    /// Replaces the settings for the next requests. Open connections stay.
    pub(crate) fn configure(&self, settings: &Rc<ClientSettings>) {
        *self.settings.borrow_mut() = Rc::clone(settings);
    }

    /// Returns the protocol of the endpoint's connections: its namer's hint, or else its client's setting.
    pub(crate) fn protocol(&self) -> WireProtocol {
        match self.hint {
            Some(Hint::H2c) => WireProtocol::Http2,
            Some(Hint::H1 | Hint::Ws) => WireProtocol::Http1,
            None => self.settings.borrow().protocol,
        }
    }

    /// Begins an attempt to send a request to the endpoint.
    pub(crate) fn begin(self: &Rc<Self>, time_limit: Option<TimeLimit>) -> PendingAttempt {
        self.state.begin();
        let endpoint = Rc::clone(self);
        PendingAttempt::new(endpoint, time_limit)
    }

    /// Closes connections that were idle for too long.
    pub(crate) fn sweep(&self, now: Instant) {
        let settings = self.settings.borrow();
        self.pool.sweep(now, &settings);
        self.http2.sweep(now, &settings);
    }
}

impl UpstreamEndpoint for WorkerEndpoint {
    fn report(&self, outcome: Outcome) {
        self.state.report(outcome);
        self.queue.wake_next();
    }

    fn keep(&self, connection: Rc<Connection>) {
        self.pool.keep(connection, &self.settings.borrow());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HeadLimits;
    use crate::proxy::wire::WireProtocol;

    #[test]
    fn states_of_endpoints_share_no_cache_line() {
        let registry = EndpointRegistry::default();
        let states: Vec<_> = (1..=8)
            .map(|port| registry.state(&Path::empty(), SocketAddr::from(([127, 0, 0, 1], port))))
            .collect();
        let mut addresses: Vec<_> = states.iter().map(|state| Arc::as_ptr(state) as usize).collect();
        addresses.sort_unstable();
        assert!(addresses.windows(2).all(|pair| pair[1] - pair[0] >= 128), "{addresses:?}");
    }

    #[test]
    fn every_outcome_ends_one_request() {
        let settings = Rc::new(ClientSettings::new(
            WireProtocol::Http1,
            HeadLimits { line: 1, fields_bytes: 1, fields: 1 },
        ));
        let state = Arc::<EndpointState>::default();
        let endpoint = Endpoint::at(SocketAddr::from(([127, 0, 0, 1], 1)));
        let endpoint = Rc::new(WorkerEndpoint::new(&endpoint, state, settings));
        let [answered, failed, given_up] = std::array::from_fn(|_| endpoint.begin(None));
        assert_eq!(endpoint.in_flight(), 3);
        let attempt = answered.answered();
        assert_eq!(endpoint.in_flight(), 3, "an attempt is under way until it is dropped");
        drop(attempt);
        assert_eq!(endpoint.in_flight(), 2);
        failed.fail(Outcome::Reset);
        assert_eq!(endpoint.in_flight(), 1);
        drop(given_up);
        assert_eq!(endpoint.in_flight(), 0);
    }
}
