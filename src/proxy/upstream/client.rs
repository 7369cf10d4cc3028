//! A client: the endpoints of one bound id, and the attempts to send a request to one of them.

use super::balancer::{Balancer, PickedEndpoint};
use super::connect::connect;
use super::endpoint::WorkerEndpoint;
use super::http1::Http1Exchange;
use super::http2;
use super::registry::{BudgetOwner, EndpointRegistry};
use super::retry_budget::WorkerBudget;
use super::settings::{ClientSettings, Egress};
use crate::context::OverrideLimits;
use crate::interpret::EndpointSet;
use crate::message::{Framing, Head};
use crate::name::Path;
use crate::proxy::error::{Error, Exposure, TunnelDefect};
use crate::proxy::exchange::{
    AttemptTime, Carrier, Outcome, Request, Response, UpstreamEndpoint as _, is_repeatable,
};
use crate::proxy::metrics::{ClientCounters, TrafficMetrics};
use crate::proxy::wire::WireProtocol;
use crate::proxy::wire::body::Body;
use crate::proxy::wire::buffer::Buffer;
use crate::proxy::wire::connection::Connection;
use crate::proxy::wire::object_pool::ObjectPool;
use crate::proxy::wire::timer::{before, bounded};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The endpoints of one bound id with their connections, on one worker. All names that lead to the id share it.
#[derive(Debug)]
pub(crate) struct Client {
    id: Path,
    text: Rc<str>,
    registry: Arc<EndpointRegistry>,
    counters: Rc<ClientCounters>,
    state: RefCell<ClientState>,
}

/// A bound id and its endpoints, from which a client is made.
pub(crate) struct ClientTarget<'a> {
    pub(crate) id: &'a Path,
    pub(crate) endpoints: &'a watch::Receiver<EndpointSet>,
}

/// The part of a client that changes.
#[derive(Debug)]
struct ClientState {
    endpoints: watch::Receiver<EndpointSet>,
    balancer: Balancer,
    settings: Rc<ClientSettings>,
    /// The budget of its repeats, over all workers.
    budget: WorkerBudget,
}

impl ClientState {
    /// Gives the balancer the present set of endpoints.
    fn update_endpoints(&mut self) {
        let set = self.endpoints.borrow_and_update().clone();
        self.balancer.update(&set, &self.settings);
    }
}

/// The pools of a worker from which a request takes its buffers and heads.
#[derive(Clone, Debug, Default)]
pub(crate) struct ObjectPools {
    pub(crate) buffers: ObjectPool<Buffer>,
    pub(crate) heads: ObjectPool<Head>,
}

impl Client {
    /// Makes the client of a bound id. The workers share `registry`.
    pub(crate) fn new(
        bound: &ClientTarget<'_>,
        settings: Rc<ClientSettings>,
        (registry, metrics): (&Arc<EndpointRegistry>, &TrafficMetrics),
    ) -> Self {
        let shared = registry.client(bound.id, settings.tls.as_ref());
        let source = Arc::downgrade(&shared);
        let text: Rc<str> = bound.id.to_string().into();
        let counters = metrics.client(&text, source);
        let mut state = ClientState {
            endpoints: bound.endpoints.clone(),
            balancer: Balancer::new(shared, &counters, &settings),
            budget: registry.budget(BudgetOwner::Client, bound.id, settings.requeue_budget).into(),
            settings,
        };
        state.update_endpoints();
        let registry = Arc::clone(registry);
        Self { id: bound.id.clone(), text, registry, counters, state: RefCell::new(state) }
    }

    /// Returns the settings that hold for its next request.
    #[cfg(test)]
    pub(crate) fn settings(&self) -> Rc<ClientSettings> {
        Rc::clone(&self.state.borrow().settings)
    }

    /// Returns how long one attempt may take, if that is limited.
    pub(crate) fn attempt_timeout(&self) -> Option<Duration> {
        self.state.borrow().settings.attempt_timeout
    }

    /// Returns the treatment of its endpoints, if they are outside.
    pub(crate) fn egress(&self) -> Option<Egress> {
        self.state.borrow().settings.egress
    }

    /// Returns whether an endpoint is told the certificate of the caller.
    pub(crate) fn forwards_certificate(&self) -> bool {
        self.state.borrow().settings.forwards_certificate
    }

    /// Returns whether an endpoint's `l5d-retryable` is believed.
    pub(crate) fn trusts_retryable(&self) -> bool {
        self.state.borrow().settings.trust_retryable
    }

    /// Returns the bound id.
    pub(crate) fn id(&self) -> &Path {
        &self.id
    }

    /// Returns the bound id as text.
    pub(crate) fn text(&self) -> &Rc<str> {
        &self.text
    }

    /// Returns the addresses of its endpoints.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.state.borrow().balancer.endpoints().map(|endpoint| endpoint.address()).collect()
    }

    /// Replaces the source of the endpoints: a namer that is asked again gives a new one for the same id.
    pub(crate) fn replace_source(&self, endpoints: &watch::Receiver<EndpointSet>) {
        let state = &mut *self.state.borrow_mut();
        if !state.endpoints.same_channel(endpoints) {
            state.endpoints = endpoints.clone();
            state.update_endpoints();
        }
    }

    /// Replaces the settings for the next requests. Open connections stay, unless others are to verify them.
    pub(crate) fn configure(&self, settings: Rc<ClientSettings>) {
        let state = &mut *self.state.borrow_mut();
        state.balancer.configure(&settings);
        if state.settings.tls != settings.tls {
            // Other workers, and other routers, may have endpoints still that are verified as before.
            let shared = self.registry.client(&self.id, settings.tls.as_ref());
            self.counters.set_source(Arc::downgrade(&shared) as _);
            state.balancer = Balancer::new(shared, &self.counters, &settings);
        }
        state.budget = self.registry.budget(BudgetOwner::Client, &self.id, settings.requeue_budget).into();
        state.settings = settings;
        // What it prefers may have changed.
        state.update_endpoints();
    }

    /// Picks an endpoint of the present set that is not in `tried`.
    fn pick(&self, tried: &[SocketAddr], time: &AttemptTime) -> Option<PickedEndpoint> {
        let state = &mut *self.state.borrow_mut();
        // One atomic load while nothing changes. An error means that the set will not change any more.
        if state.endpoints.has_changed().unwrap_or(false) {
            state.update_endpoints();
        }
        state.balancer.pick(tried, time)
    }

    /// Sends a request to an endpoint. After a failed attempt, sends it again or to another endpoint, as long as
    /// attempts are left, the request may be sent again and the budget pays for it.
    ///
    /// `limits` are those of the override that leads to the client, if one does. An address that they deny is not
    /// dialled, nor is a connection to it used that other requests have opened.
    ///
    /// # Errors
    ///
    /// The error of the last attempt, or that the client has no endpoints, or that the address of one is denied.
    pub(crate) async fn call(
        &self,
        request: &mut Request,
        pools: &ObjectPools,
        limits: Option<&OverrideLimits>,
    ) -> Result<Response, Error> {
        let left = {
            let state = self.state.borrow();
            state.budget.deposit(request.record.began());
            state.settings.max_attempts
        };
        let mut attempts = Attempts { client: self, pools, left, failed: None };
        loop {
            let Some(endpoint) = self.pick(attempts.unreachable(), &request.attempt_time) else {
                return Err(attempts.failed.map_or_else(|| self.no_endpoints(), |failed| failed.last_error));
            };
            if limits.is_some_and(|limits| limits.denies(endpoint.address().ip())) {
                return Err(Error::DeniedAddress { address: endpoint.address() });
            }
            match attempts.attempt(&endpoint, request).await {
                Ok(response) => return Ok(response),
                Err(error) => attempts.prepare_next(&endpoint, request, error)?,
            }
        }
    }

    fn no_endpoints(&self) -> Error {
        let id = &self.id;
        Error::Unroutable(format!("Unable to route request!\n\nclient name: {id}\nit has no endpoints"))
    }

    /// Closes connections that waited too long.
    pub(crate) fn sweep(&self, now: Instant) {
        self.state.borrow().balancer.endpoints().for_each(|endpoint| endpoint.sweep(now));
    }
}

/// The attempts of one request.
struct Attempts<'a> {
    client: &'a Client,
    pools: &'a ObjectPools,
    /// How many attempts are left.
    left: usize,
    /// The attempts that have failed. It is boxed, for most requests have one attempt only.
    failed: Option<Box<FailedAttempts>>,
}

/// The attempts of one request that have failed.
struct FailedAttempts {
    /// The error of the last one.
    last_error: Error,
    /// Whether the request was sent again although an endpoint may have executed it.
    is_repeated: bool,
    /// The endpoints to which no connection could be opened.
    unreachable: Vec<SocketAddr>,
}

impl Attempts<'_> {
    /// Returns the endpoints to which no connection could be opened.
    fn unreachable(&self) -> &[SocketAddr] {
        self.failed.as_ref().map_or(&[], |failed| &failed.unreachable)
    }

    /// Sends a request to one endpoint. The attempt goes with the response, or ends with the error.
    async fn attempt(&self, endpoint: &PickedEndpoint, request: &mut Request) -> Result<Response, Error> {
        let pending = endpoint.begin(request.time_limit, &request.attempt_time);
        request.record.note_endpoint(endpoint.address());
        self.client.counters.begun();
        // The first attempt begins with its request, as far as that is of interest.
        let is_first = self.failed.is_none();
        let began = if is_first { request.record.began() } else { request.attempt_time.get() };
        request.record.note_attempt(Some((Rc::clone(&self.client.counters), began)));
        let mut sent = {
            let until = endpoint.attempt_timeout().map(|limit| request.attempt_time.get() + bounded(limit));
            let timer = Rc::clone(&request.timer);
            let sending = pin!(self.send(endpoint, request));
            let sent = before(move || until, timer, sending).await;
            sent.unwrap_or_else(|| {
                Err(Error::AttemptTimeout { timeout: endpoint.attempt_timeout().unwrap_or_default() })
            })
        };
        match &mut sent {
            Ok(response) => response.attempt = pending.answered(response.head.status()),
            Err(error) => {
                request.record.note_attempt(None);
                pending.fail(Outcome::of(error));
            }
        }
        sent
    }

    /// Sends a request on a connection from the pool, or on a new one.
    async fn send(&self, endpoint: &WorkerEndpoint, request: &mut Request) -> Result<Response, Error> {
        endpoint.renew_tls();
        if endpoint.protocol() == WireProtocol::Http2 && !request.is_connect() {
            return http2::send(endpoint, request, &self.pools.heads).await;
        }
        let (address, settings) = (endpoint.address(), endpoint.settings());
        if request.is_tunnel_alone() && !request.is_connect() && !request.is_web_socket_of_http2() {
            return Err(Error::TunnelUnsupported { address, reason: TunnelDefect::OtherProtocol });
        }
        endpoint.http1_room(request, &settings).await?;
        if request.is_connect() {
            // Boxed, so that other requests do not pay for its size.
            return Box::pin(self.open_tunnel(endpoint)).await;
        }
        // After a connection from the pool turned out to be dead, the others in it may be dead as well.
        let pooled = if self.failed.is_none() {
            endpoint.pool().take(is_repeatable(request), &settings, &request.attempt_time)
        } else {
            None
        };
        let reused = pooled.is_some();
        let connection = match pooled {
            Some(connection) => connection,
            None => {
                let stream = Box::pin(connect(endpoint.connect_target(&settings))).await?;
                Connection::to_endpoint(stream, self.pools.buffers.clone())
            }
        };
        let heads = &self.pools.heads;
        let (limits, exchanges) = (&settings.heads, endpoint.exchanges());
        let read_timeout = settings.read_timeout;
        let exchange = Http1Exchange { connection, address, reused, heads, limits, read_timeout, exchanges };
        exchange.send(request).await
    }

    /// Opens a connection for a CONNECT: it is the end of a tunnel, whatever protocol the endpoint speaks.
    async fn open_tunnel(&self, endpoint: &WorkerEndpoint) -> Result<Response, Error> {
        let settings = endpoint.settings();
        let stream = Box::pin(connect(endpoint.connect_target(&settings))).await?;
        let connection = Connection::to_endpoint(stream, self.pools.buffers.clone());
        let mut head = self.pools.heads.take();
        head.set_status(200);
        let carrier = Some(Carrier::Http1 { connection, reusable: false });
        Ok(Response { carrier, ..Response::new(head, Framing::Tunnel, Body::Empty) })
    }

    /// Prepares the next attempt after a failed one. Returns the error if there is to be no other.
    fn prepare_next(
        &mut self,
        endpoint: &WorkerEndpoint,
        request: &Request,
        error: Error,
    ) -> Result<(), Error> {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 || !self.may_repeat(request, &error) {
            return Err(error);
        }
        request.attempt_time.forget();
        let is_paid = self.client.state.borrow().budget.withdraw(request.attempt_time.get());
        self.client.counters.requeued(is_paid);
        if !is_paid {
            tracing::debug!(%error, "not sent again: the budget of the client is used up");
            return Err(error);
        }
        let (mut is_repeated, mut unreachable) = match self.failed.take() {
            Some(failed) => (failed.is_repeated, failed.unreachable),
            None => (false, Vec::new()),
        };
        match &error {
            Error::Reset { exposure, .. } | Error::Lost { exposure, .. } => {
                is_repeated |= *exposure == Exposure::Repeatable;
            }
            _ => unreachable.push(endpoint.address()),
        }
        self.failed = Some(Box::new(FailedAttempts { last_error: error, is_repeated, unreachable }));
        Ok(())
    }

    /// Returns whether the request may be sent again after this error. One that an endpoint may have executed is sent once
    /// more at most.
    fn may_repeat(&self, request: &Request, error: &Error) -> bool {
        match error {
            Error::Connecting { .. } | Error::ConnectTimeout { .. } => true,
            Error::Reset { exposure, .. } | Error::Lost { exposure, .. } => match exposure {
                Exposure::Unseen => !request.is_body_begun,
                Exposure::Repeatable => !self.failed.as_ref().is_some_and(|failed| failed.is_repeated),
                Exposure::Seen => false,
            },
            _ => false,
        }
    }
}
