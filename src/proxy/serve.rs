//! The life of a request: what is known after each step is what the next one needs.

use super::access::AccessLogger;
use super::bind::Bindings;
use super::body::Body;
use super::error::Error;
use super::exchange::{Request, Response, Upload};
use super::http2::{Http2, Stream, Tasks};
use super::lend::{Buffer, Lender, Reuse};
use super::listen::{Limits, Permit, Permits};
use super::metrics::Counters;
use super::patience::Bell;
use super::route::{self, Tools, Upstreams};
use crate::context::{Context, Peer, Policy, Refusal, encode_error, encode_grpc_message};
use crate::fault::Fault as _;
use crate::identify::Identifiers;
use crate::message::{Framing, Head, HopByHopFields, KnownField, Version};
use crate::name::PathBuf;
use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// One listener on one worker. Whoever begins to serve a request takes its service as it is then.
pub(crate) struct Listener(RefCell<Rc<Service>>);

/// One listener's requests on one worker, as long as nothing is said to be done otherwise.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) policy: Policy,
    pub(crate) identifiers: Rc<Identifiers>,
    pub(crate) bindings: Rc<Bindings>,
    pub(crate) limits: Limits,
    /// What callers over HTTP/2 are told.
    pub(crate) http2: Http2,
    pub(crate) upstreams: Upstreams,
    pub(crate) permits: Option<Permits>,
    pub(crate) access: Option<Rc<AccessLogger>>,
    pub(crate) counters: Counters,
    pub(crate) buffers: Lender<Buffer>,
    pub(crate) heads: Lender<Head>,
    pub(crate) scratch: Lender<Scratch>,
    pub(crate) streams: Tasks<Stream>,
    pub(crate) bell: Rc<Bell>,
}

/// Where a request's context and name are kept while it is served.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    context: Context,
    name: PathBuf,
}

impl Reuse for Scratch {
    fn reset(&mut self) -> bool {
        self.context.clear();
        self.name.clear();
        true
    }
}

impl Listener {
    pub(crate) fn new(service: Service) -> Rc<Self> {
        Rc::new(Self(RefCell::new(Rc::new(service))))
    }

    /// Returns the service as it is now.
    pub(crate) fn service(&self) -> Rc<Service> {
        Rc::clone(&self.0.borrow())
    }

    /// Changes the service; requests that were begun are not touched.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Service)) {
        change(Rc::make_mut(&mut self.0.borrow_mut()));
    }
}

impl Service {
    /// Carries one request to an endpoint and its response back.
    pub(crate) async fn serve(&self, peer: &Peer, request: &mut Request) -> Result<Response, Error> {
        self.counters.requests.increment();
        let permit = self.permit()?;
        let mut scratch = self.scratch.lend();
        let Scratch { context, name } = &mut *scratch;
        let entered = self.policy.enter(peer, &mut request.head, context);
        self.counters.dropped_overrides.add(context.dropped().into());
        entered?;
        request.note(|entry| entry.traced(context.trace()));
        if is_last_stop(&mut request.head)? {
            return Ok(route::made_here(200, self.heads.lend()));
        }
        self.identifiers.identify(&mut request.head, name)?;
        request.note(|entry| entry.named(name));
        let overrides = self.bindings.overrides(context.overrides(), &self.policy.override_limits())?;
        let limit = self.time_limit(context)?;
        let carried = pin!(async {
            let binding = self.bindings.bind(name, &overrides).await?;
            if let Some(dentry) = &binding.unbound {
                self.counters.unbound_overrides.increment();
                tracing::debug!(name = %binding.service, %dentry, "an override leads nowhere");
                request.unbound = Some(dentry.clone());
            }
            let route = binding.draw()?;
            request.note(|entry| entry.bound(route.id()));
            let leaving = route.leaving(&binding.service, overrides.printed());
            let hop_by_hop = self.policy.leave(peer, &mut request.head, context, &leaving);
            request.upgrade = tunnelled(&hop_by_hop);
            let mut response = route.call(request, &self.tools()).await?;
            self.answer(&mut response, context, request.unbound.as_deref());
            Ok(response)
        });
        let mut response = within(limit, carried).await?;
        self.counters.carried(response.head.status());
        response.permit = permit;
        Ok(response)
    }

    fn tools(&self) -> Tools<'_> {
        Tools { buffers: &self.buffers, heads: &self.heads, upstreams: &self.upstreams }
    }

    /// Prepares a response for its caller.
    fn answer(&self, response: &mut Response, context: &Context, unbound: Option<&str>) {
        let answered = self.policy.answer(&mut response.head, context);
        // The version is the sender's own (RFC 9112 2.3): chunks, or a connection that is kept, are not HTTP/1.0's.
        response.head.set_version(Version::Http11);
        if response.framing == Framing::Tunnel {
            say_upgrade(&mut response.head, answered.hop_by_hop.upgrade.as_deref());
        }
        if context.trusted() {
            say_unbound(&mut response.head, unbound);
        }
        if answered.blank_body && response.framing != Framing::Tunnel {
            // What it was is not read: its connection is closed.
            let framing = if response.framing == Framing::None { Framing::None } else { Framing::Length(0) };
            (response.body, response.upstream, response.framing) = (Body::Empty, None, framing);
        }
    }

    fn permit(&self) -> Result<Option<Permit>, Error> {
        match &self.permits {
            Some(permits) => permits.take().map(Some),
            None => Ok(None),
        }
    }

    /// How long the request may take: the listener's limit, or less when its caller gives up before.
    fn time_limit(&self, context: &mut Context) -> Result<Option<Duration>, Error> {
        if self.limits.request.is_none() && context.deadline().is_none() {
            return Ok(None);
        }
        let now = SystemTime::now();
        if let Some(limit) = self.limits.request {
            context.limit(now, limit);
        }
        let left = context.deadline().map(|deadline| deadline.remaining(now));
        match left {
            Some(None) => Err(Error::Refused(Refusal::DeadlinePassed)),
            Some(left) => Ok(left),
            None => Ok(None),
        }
    }

    /// The answer to a request that was not carried.
    ///
    /// `request` is that request, when it came so far as to be one.
    pub(crate) fn error_response(&self, peer: &Peer, error: &Error, request: Option<&Request>) -> Response {
        let trusted = self.policy.trusts(peer);
        let mut text = error.text(trusted);
        text.truncate(text.floor_char_boundary(self.limits.error_bytes));
        let mut head = self.heads.lend();
        let grpc = request.is_some_and(|request| request.grpc);
        if grpc {
            say_grpc_error(&mut head, error.status().grpc, &text);
        } else {
            head.set_status(error.status().http);
            head.append(b"content-type", b"text/plain; charset=utf-8");
            head.append(b"content-length", (text.len() + 1).to_string().as_bytes());
        }
        if trusted {
            head.append(b"l5d-err", &encode_error(&text));
            if error.retryable() {
                head.append(b"l5d-retryable", b"true");
            }
            say_unbound(&mut head, request.and_then(|request| request.unbound.as_deref()));
        }
        text.push('\n');
        let to_head = request.is_some_and(|request| request.head.method() == b"HEAD");
        let body = if to_head || grpc { Body::Empty } else { Body::Text(text.into_bytes()) };
        Response { head, framing: Framing::None, body, upload: Upload::Done, upstream: None, permit: None }
    }

    pub(crate) fn count_error(&self, error: &Error) {
        self.counters.failed(error);
        tracing::debug!(%error, "not carried");
    }
}

/// Names the entry of an override that leads nowhere: without it, a fallback to production would be silent.
fn say_unbound(head: &mut Head, dentry: Option<&str>) {
    if let Some(dentry) = dentry {
        head.append(b"l5d-dtab-unbound", dentry.as_bytes());
    }
}

/// Counts `Max-Forwards` of TRACE and OPTIONS down, and says whether the request was to go no further (RFC 9110 7.6.2).
fn is_last_stop(head: &mut Head) -> Result<bool, Error> {
    if !head.contains(KnownField::MaxForwards) || !matches!(head.method(), b"TRACE" | b"OPTIONS") {
        return Ok(false);
    }
    let text = head.get(KnownField::MaxForwards).and_then(|value| std::str::from_utf8(value).ok());
    let left: u32 = text.and_then(|text| text.parse().ok()).ok_or(Error::MaxForwards)?;
    if let Some(left) = left.checked_sub(1) {
        head.set(b"max-forwards", left.to_string().as_bytes());
        return Ok(false);
    }
    Ok(true)
}

/// Makes a head that of a gRPC call that failed: all of the answer is in it ("Trailers-Only" of gRPC's
/// PROTOCOL-HTTP2), and its HTTP status says nothing.
fn say_grpc_error(head: &mut Head, status: u8, text: &str) {
    head.set_status(200);
    head.append(b"content-type", b"application/grpc");
    head.append(b"grpc-status", status.to_string().as_bytes());
    head.append(b"grpc-message", &encode_grpc_message(text));
}

fn say_upgrade(head: &mut Head, protocols: Option<&[u8]>) {
    if let Some(protocols) = protocols {
        head.append(b"connection", b"upgrade");
        head.append(b"upgrade", protocols);
    }
}

/// The protocols that an upgrade may switch to: none that carries HTTP itself, for its requests would pass unjudged.
///
/// RFC 9113 has retired `h2c` in `Upgrade`.
fn tunnelled(hop_by_hop: &HopByHopFields) -> Option<Box<[u8]>> {
    let carries_http = |protocol: &&[u8]| {
        let name = protocol.to_ascii_lowercase();
        [b"h2".as_slice(), b"http/", b"tls/"].iter().any(|prefix| name.starts_with(prefix))
    };
    let protocols: Vec<&[u8]> = hop_by_hop
        .upgrade
        .as_deref()?
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|protocol| !carries_http(protocol))
        .collect();
    (!protocols.is_empty()).then(|| protocols.join(b", ".as_slice()).into())
}

/// A limit on the time of a request, when there is one.
///
/// The work stays where its caller pinned it: here it would be held twice, once for each arm.
async fn within<T>(
    limit: Option<Duration>,
    work: Pin<&mut impl Future<Output = Result<T, Error>>>,
) -> Result<T, Error> {
    match limit {
        None => work.await,
        Some(limit) => timeout(limit, work).await.unwrap_or(Err(Error::Timeout { timeout: limit })),
    }
}
