//! Where a bound name's requests go: one leaf by weight, and its client.

use super::balance::{Balancer, Loads, Member};
use super::body::Body;
use super::connect::connect;
use super::error::Error;
use super::exchange::{Request, Response, Upload};
use super::http1;
use super::http2::{self, Http2};
use super::lend::{Buffer, Lender, Loan};
use super::pool;
use crate::context::UpstreamNames;
use crate::interpret::{EndpointSet, Hint, Sampler};
use crate::message::{Framing, Head, HeadLimits};
use crate::name::Path;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// How many endpoints are tried when they refuse a connection, or close one before the request.
const MOST_TRIED: usize = 4;

/// The leaves of a bound name.
#[derive(Debug)]
pub(crate) struct Routes {
    sampler: Sampler,
    routes: Box<[Route]>,
}

/// One leaf of a bound name.
#[derive(Debug)]
pub struct Route {
    /// The bound id as it is printed.
    pub(crate) id: Box<str>,
    /// The residual as it is printed, unless it is empty.
    pub(crate) residual: Option<Box<str>>,
    /// Its client, or the status of an answer made here.
    pub(crate) to: Result<Rc<Client>, u16>,
}

/// Everything that ends at one bound id: its endpoints, with their connections, shared by all names that lead there.
#[derive(Debug)]
pub(crate) struct Client {
    id: Path,
    loads: Arc<Loads>,
    state: RefCell<(watch::Receiver<EndpointSet>, Balancer)>,
}

/// How endpoints are spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, from the first byte on.
    Http2,
}

/// How the endpoints of a router are spoken to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Upstreams {
    /// What those are spoken to that do not say it themselves.
    pub protocol: Protocol,
    /// Bounds on the heads of their responses.
    pub heads: HeadLimits,
    /// What those over HTTP/2 are told.
    pub http2: Http2,
}

/// What a client lends from its worker.
pub(crate) struct Tools<'a> {
    pub(crate) buffers: &'a Lender<Buffer>,
    pub(crate) heads: &'a Lender<Head>,
    pub(crate) upstreams: &'a Upstreams,
}

impl Tools<'_> {
    /// How an endpoint is spoken to.
    fn protocol_of(&self, member: &Member) -> Protocol {
        match member.hint {
            Some(Hint::H2c) => Protocol::Http2,
            Some(Hint::H1 | Hint::Ws) => Protocol::Http1,
            None => self.upstreams.protocol,
        }
    }
}

impl Routes {
    pub(crate) fn new(sampler: Sampler, routes: Box<[Route]>) -> Self {
        Self { sampler, routes }
    }

    /// The clients of the leaves that have one.
    pub(crate) fn clients(&self) -> impl Iterator<Item = &Rc<Client>> {
        self.routes.iter().filter_map(|route| route.to.as_ref().ok())
    }

    /// Draws a leaf by weight; None when the share of an empty branch was drawn.
    pub(crate) fn draw(&self) -> Option<&Route> {
        let at = self.sampler.pick(&mut fastrand::f64)?;
        self.routes.get(at)
    }
}

impl Route {
    /// Returns the bound id as it is printed, such as `/#/io.l5d.fs/web`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What the upstream is told of its name.
    pub(crate) fn leaving<'a>(&'a self, service: &'a str, overrides: &'a [u8]) -> UpstreamNames<'a> {
        UpstreamNames {
            service: service.as_bytes(),
            client: self.id.as_bytes(),
            residual: self.residual.as_deref().map(str::as_bytes),
            overrides,
        }
    }

    /// Sends a request along this leaf.
    pub(crate) async fn call(&self, request: &mut Request, tools: &Tools<'_>) -> Result<Response, Error> {
        match &self.to {
            Ok(client) => client.call(request, tools).await,
            Err(status @ ..200) => Err(Error::Naming(format!(
                "{status} is an interim status: it answers no request ({})",
                self.id
            ))),
            Err(status) => Ok(made_here(*status, tools.heads.lend())),
        }
    }
}

/// An empty answer, as `/$/io.buoyant.http.status/<code>` asks for.
pub(crate) fn made_here(status: u16, mut head: Loan<Head>) -> Response {
    head.set_status(status);
    if !matches!(status, 204 | 304) {
        head.append(b"content-length", b"0");
    }
    Response {
        head,
        framing: Framing::None,
        body: Body::Empty,
        upload: Upload::Done,
        upstream: None,
        permit: None,
    }
}

impl Client {
    pub(crate) fn new(id: Path, endpoints: watch::Receiver<EndpointSet>, loads: Arc<Loads>) -> Self {
        let mut balancer = Balancer::default();
        let mut endpoints = endpoints;
        balancer.update(&id, &endpoints.borrow_and_update().clone(), &loads);
        Self { id, loads, state: RefCell::new((endpoints, balancer)) }
    }

    /// Follows another source of the same name's endpoints: what a namer that was asked afresh gave.
    pub(crate) fn follow(&self, endpoints: &watch::Receiver<EndpointSet>) {
        let state = &mut *self.state.borrow_mut();
        if !state.0.same_channel(endpoints) {
            state.0 = endpoints.clone();
            state.1.update(&self.id, &state.0.borrow_and_update().clone(), &self.loads);
        }
    }

    /// Draws an endpoint of the set as it is now.
    fn pick(&self, tried: &[SocketAddr]) -> Option<Rc<Member>> {
        let (endpoints, balancer) = &mut *self.state.borrow_mut();
        // One atomic load while nothing changes; an error says that nothing will change any more.
        if endpoints.has_changed().unwrap_or(false) {
            let set = endpoints.borrow_and_update().clone();
            balancer.update(&self.id, &set, &self.loads);
        }
        balancer.pick(tried)
    }

    /// Sends a request to an endpoint; to another one as long as nothing of it was sent.
    async fn call(&self, request: &mut Request, tools: &Tools<'_>) -> Result<Response, Error> {
        let mut tried = Tried::default();
        loop {
            let Some(member) = self.pick(tried.addresses()) else {
                return Err(tried.failed.unwrap_or_else(|| {
                    Error::Unroutable(format!(
                        "Unable to route request!\n\nclient name: {}\nit has no endpoints",
                        self.id
                    ))
                }));
            };
            let error = match self.attempt(&member, request, tools, tried.count > 0).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let elsewhere = match &error {
                Error::Connecting { .. } | Error::ConnectTimeout { .. } => true,
                Error::Reset { unsent: true, .. } => false,
                _ => return Err(error),
            };
            tried.failed = Some(error);
            tried.count += 1;
            if elsewhere {
                tried.endpoints.push(member.address);
            }
            if tried.count == MOST_TRIED {
                return Err(tried.failed.unwrap_or(Error::Busy { limit: 0 }));
            }
        }
    }

    /// Sends a request to one endpoint, on a connection that waits or on a new one.
    async fn attempt(
        &self,
        member: &Rc<Member>,
        request: &mut Request,
        tools: &Tools<'_>,
        again: bool,
    ) -> Result<Response, Error> {
        let load = member.begin();
        request.note(|entry| entry.sent_to(member.address));
        if tools.protocol_of(member) == Protocol::Http2 {
            // Boxed, so that requests over HTTP/1 do not pay for its size.
            return Box::pin(http2::send(member, load, request, tools)).await;
        }
        // What waited beside a connection that turned out to be dead may be dead as well.
        let waiting = if again { None } else { pool::take(member, http1::repeatable(request)) };
        let reused = waiting.is_some();
        let conn = match waiting {
            Some(conn) => conn,
            None => Box::pin(connect(member.address, tools.buffers)).await?,
        };
        let upstream =
            http1::Upstream { conn, member: Rc::clone(member), reused, reusable: false, _load: load };
        http1::send(upstream, request, tools).await
    }

    /// Closes connections that waited too long.
    pub(crate) fn sweep(&self, now: Instant) {
        for member in self.state.borrow().1.members() {
            pool::sweep(member, now);
            member.http2.sweep(now);
        }
    }
}

/// What was tried for one request.
#[derive(Default)]
struct Tried {
    count: usize,
    endpoints: Vec<SocketAddr>,
    failed: Option<Error>,
}

impl Tried {
    fn addresses(&self) -> &[SocketAddr] {
        &self.endpoints
    }
}
