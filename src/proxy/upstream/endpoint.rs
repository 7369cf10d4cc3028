//! An endpoint: its state, which all workers share, and its connections, which each worker has to itself.

use super::accrual::{AccrualChange, AccrualPolicy, ProbeClaim};
use super::connect::ConnectTarget;
use super::endpoint_state::EndpointState;
use super::http2_pool::Http2Pool;
use super::pool::Pool;
use super::registry::EndpointKey;
use super::settings::ClientSettings;
use crate::interpret::{Endpoint, Hint};
use crate::proxy::error::Error;
use crate::proxy::exchange::{
    AttemptReport, AttemptTime, OpenExchanges, PendingAttempt, Request, Standing, TimeLimit,
    UpstreamEndpoint, WaitQueue,
};
use crate::proxy::limits::PeerAddress;
use crate::proxy::metrics::ClientCounters;
use crate::proxy::wire::WireProtocol;
use crate::proxy::wire::connection::Connection;
use crate::tls::{ClientTls, LiveTls};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;
use tokio::time::Instant;

/// How often the next request looks for room by itself: exchanges become silent without a word.
const CHECK_EVERY: Duration = Duration::from_millis(250);

/// One endpoint on one worker.
#[derive(Debug)]
pub(crate) struct WorkerEndpoint {
    key: EndpointKey,
    hint: Option<Hint>,
    /// Whether its namer no longer has it.
    is_on_probation: Cell<bool>,
    settings: RefCell<Rc<ClientSettings>>,
    /// The configuration of TLS as it was looked at last.
    tls: RefCell<Option<LiveTls<ClientTls>>>,
    /// The idle HTTP/1 connections of this worker.
    pool: Pool,
    /// The HTTP/2 connections of this worker.
    http2: Http2Pool,
    /// The requests of this worker that wait for room.
    queue: Rc<WaitQueue>,
    /// The exchanges of this worker that may have to make room for others.
    exchanges: Rc<OpenExchanges>,
    state: Arc<EndpointState>,
    counters: Rc<ClientCounters>,
}

impl WorkerEndpoint {
    /// Makes an endpoint with its state and the counters of its client.
    pub(crate) fn new(
        endpoint: &Endpoint,
        (state, counters): (Arc<EndpointState>, &Rc<ClientCounters>),
        settings: Rc<ClientSettings>,
    ) -> Self {
        let queue = Rc::<WaitQueue>::default();
        Self {
            key: EndpointKey::of(endpoint),
            hint: endpoint.hint,
            is_on_probation: Cell::new(false),
            tls: RefCell::new(settings.tls.as_ref().map(|tls| tls.config.newly_read())),
            settings: RefCell::new(settings),
            pool: Pool::default(),
            http2: Http2Pool::new(&queue),
            queue,
            exchanges: Rc::new(OpenExchanges::new(state.waiters().demand())),
            state,
            counters: Rc::clone(counters),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.key.address
    }

    pub(crate) fn key(&self) -> EndpointKey {
        self.key
    }

    /// Returns the state that the workers share.
    pub(crate) fn state(&self) -> &Arc<EndpointState> {
        &self.state
    }

    /// Returns whether failure accrual has it take requests.
    pub(crate) fn is_alive(&self) -> bool {
        self.state.accrual().is_alive()
    }

    /// Claims the probe of an endpoint that is shut; returns whether the request is the probe.
    pub(crate) fn claim_probe(&self, now: Instant) -> bool {
        let claim = self.state.claim_probe(now);
        if claim == ProbeClaim::Revived {
            self.log(AccrualChange::Revived);
        }
        claim == ProbeClaim::Granted
    }

    /// Returns whether its namer no longer has it.
    pub(crate) fn is_on_probation(&self) -> bool {
        self.is_on_probation.get()
    }

    /// Sets whether its namer no longer has it.
    pub(crate) fn set_on_probation(&self, is_on_probation: bool) {
        self.is_on_probation.set(is_on_probation);
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

    /// Checks that a request may have one of the places that are `free`, at the moment at which it takes one: a caller without
    /// trust takes the last ones only if its address has few requests under way.
    ///
    /// # Errors
    ///
    /// Its address has too many.
    pub(crate) fn check_share(&self, request: &Request, free: impl FnOnce() -> usize) -> Result<(), Error> {
        if request.is_trusted() || !request.peer.is_beyond_share(free) {
            return Ok(());
        }
        Err(Error::EndpointShare { address: self.address() })
    }

    /// Waits until a request that was begun may have a connection over HTTP/1.
    pub(crate) async fn http1_room(&self, request: &Request, settings: &ClientSettings) -> Result<(), Error> {
        let most = settings.max_http1_connections;
        // The request itself is counted.
        self.check_share(request, || (most + 1).saturating_sub(self.state.connections()))?;
        if self.queue.is_empty() && self.state.connections() <= most {
            return Ok(());
        }
        // Boxed, so that requests that need not wait do not pay for its size.
        Box::pin(self.await_http1_room(request.peer.address(), settings)).await
    }

    async fn await_http1_room(&self, peer: PeerAddress, settings: &ClientSettings) -> Result<(), Error> {
        let (most, wait) = (settings.max_http1_connections, settings.stream_wait);
        let _waiter = self.state.waiters().begin(self.address(), settings.max_waiters)?;
        let turn = self.state.waiters().turn();
        let take = |cx: &Context<'_>| {
            let has_room = || self.state.connections() < most;
            if has_room() {
                return Some(());
            }
            // The connections of all workers are counted together.
            if !self.exchanges.reset_silent() {
                self.state.waiters().demand().ask();
            }
            // What was given back before the task was registered is seen now.
            turn.register(cx.waker());
            has_room().then_some(())
        };
        let room = self.queue.wait(peer, Instant::now() + wait, CHECK_EVERY, take).await;
        if room.is_some() {
            turn.serve();
        }
        room.ok_or(Error::EndpointBusy { address: self.address(), wait })
    }

    /// Returns the number of requests under way, over all workers.
    pub(crate) fn in_flight(&self) -> usize {
        self.state.in_flight()
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
            address: self.address(),
            protocol: self.protocol(),
            settings,
            guard: self.state.guard(),
            waiters: self.state.waiters(),
            counters: &self.counters,
        }
    }

    /// Replaces the settings for the next requests. Open connections stay.
    pub(crate) fn configure(&self, settings: &Rc<ClientSettings>) {
        if settings.accrual.policy == AccrualPolicy::None {
            self.state.accrual().revive();
        }
        let before = self.settings.replace(Rc::clone(settings));
        if before.tls != settings.tls {
            *self.tls.borrow_mut() = settings.tls.as_ref().map(|tls| tls.config.newly_read());
            self.leave_connections();
        }
    }

    /// Leaves the connections that other certificates have verified to the requests that they serve.
    pub(crate) fn renew_tls(&self) {
        // One atomic load, and none without TLS.
        if self.tls.borrow_mut().as_mut().is_some_and(LiveTls::take_change) {
            self.leave_connections();
        }
    }

    /// Has no further request use the connections that are open.
    fn leave_connections(&self) {
        self.pool.leave();
        self.http2.leave();
    }

    /// Returns the protocol of the endpoint's connections: its namer's hint, or else its client's setting.
    pub(crate) fn protocol(&self) -> WireProtocol {
        match self.hint {
            Some(Hint::H2c) => WireProtocol::Http2,
            Some(Hint::H1 | Hint::Ws) => WireProtocol::Http1,
            None => self.settings.borrow().protocol,
        }
    }

    /// Begins an attempt to send a request to the endpoint, which has this standing.
    pub(crate) fn begin(
        self: &Rc<Self>,
        standing: Standing,
        time_limit: Option<TimeLimit>,
        time: &AttemptTime,
    ) -> PendingAttempt {
        self.state.begin(standing);
        let began = self.decay().map(|_| time.get());
        let endpoint = Rc::clone(self);
        PendingAttempt::new(endpoint, time_limit).at(standing).measured(began)
    }

    /// Returns the decay of its latency, if its balancer wants to know that.
    fn decay(&self) -> Option<Duration> {
        self.settings.borrow().balancer.decay()
    }

    /// Closes connections that were idle for too long.
    pub(crate) fn sweep(&self, now: Instant) {
        let settings = self.settings.borrow();
        self.pool.sweep(now, &settings);
        self.http2.sweep(now, &settings);
    }
}

impl WorkerEndpoint {
    /// Says in the log that the health of the endpoint has changed.
    #[cold]
    fn log(&self, change: AccrualChange) {
        let (client, address) = (self.state.client().id(), self.address());
        match change {
            AccrualChange::Removed(pause) => {
                tracing::info!(%client, %address, ?pause, "an endpoint failed too often and is shut");
            }
            AccrualChange::ProbeFailed(pause) => {
                tracing::debug!(%client, %address, ?pause, "an endpoint that is shut failed its probe");
            }
            AccrualChange::Revived => tracing::info!(%client, %address, "an endpoint that was shut is alive"),
        }
    }
}

impl UpstreamEndpoint for WorkerEndpoint {
    fn note_latency(&self, began: Instant) {
        if let Some(decay) = self.decay() {
            self.state.observe(began, decay);
        }
    }

    fn note_least_latency(&self, began: Instant) {
        if let Some(decay) = self.decay() {
            self.state.observe_least(began, decay);
        }
    }

    fn note_probe_answer(&self) {
        self.state.accrual().note_probe_answer();
    }

    fn report(&self, report: AttemptReport) {
        self.counters.ended(report.end());
        if let Some(change) = self.state.report(report, &self.settings.borrow()) {
            self.log(change);
        }
        self.queue.wake_next();
        self.state.waiters().wake_next();
    }

    fn exchanges(&self) -> &Rc<OpenExchanges> {
        &self.exchanges
    }

    fn keep(&self, connection: Rc<Connection>) {
        self.pool.keep(connection, &self.settings.borrow());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HeadLimits;
    use crate::name::Path;
    use crate::proxy::exchange::Outcome;
    use crate::proxy::metrics::TrafficMetrics;
    use crate::proxy::upstream::registry::EndpointRegistry;

    fn key(port: u16) -> EndpointKey {
        EndpointKey { address: SocketAddr::from(([127, 0, 0, 1], port)), instance: None }
    }

    #[test]
    fn states_of_endpoints_share_no_cache_line() {
        let client = EndpointRegistry::default().client(&Path::empty(), None);
        let states: Vec<_> = (1..=8).map(|port| client.states().state(key(port))).collect();
        let mut addresses: Vec<_> = states.iter().map(|state| Arc::as_ptr(state) as usize).collect();
        addresses.sort_unstable();
        assert!(addresses.windows(2).all(|pair| pair[1] - pair[0] >= 128), "{addresses:?}");
        assert!(size_of::<EndpointState>() == 128, "one pair of lines each");
    }

    #[test]
    fn every_outcome_ends_one_request() {
        let heads = HeadLimits { line: 1, fields_bytes: 1, fields: 1 };
        let settings = Rc::new(ClientSettings::new(WireProtocol::Http1, heads));
        let client = EndpointRegistry::default().client(&Path::empty(), None);
        let state = client.states().state(key(1));
        let counters = TrafficMetrics::default().client("", Arc::downgrade(&client) as _);
        let endpoint =
            Rc::new(WorkerEndpoint::new(&Endpoint::at(key(1).address), (state, &counters), settings));
        let [answered, failed, given_up] =
            std::array::from_fn(|_| endpoint.begin(Standing::Alive, None, &AttemptTime::default()));
        assert_eq!(endpoint.in_flight(), 3);
        let attempt = answered.answered(200);
        assert_eq!(endpoint.in_flight(), 3, "an attempt is under way until it is dropped");
        drop(attempt);
        assert_eq!(endpoint.in_flight(), 2);
        failed.fail(Outcome::Reset);
        assert_eq!(endpoint.in_flight(), 1);
        drop(given_up);
        assert_eq!(endpoint.in_flight(), 0);
    }
}
