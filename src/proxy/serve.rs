//! The life of a request: each step needs the results of those before it.

mod diagnosis;
mod dispatch;
mod mirror;
mod redirect;
mod response_fields;
mod retry;
mod sandboxes;

use self::diagnosis::Routing;
use self::dispatch::{Dispatch, grpc_timeout};
use self::response_fields::{request_id, tell_fate, tell_request_id};
use self::retry::Retry;
use super::bind::{Binding, Bindings, NameCaller};
use super::error::Error;
use super::exchange::{
    Caller, Carrier, OverrideFate, Record, Request, Response, TimeLimit, WEB_SOCKET, remove_keys,
};
use super::limits::{Limits, LogTurns, Permit, Permits};
use super::metrics::Counters;
use super::upstream::{ObjectPools, Route};
use super::wire::body::Body;
use super::wire::object_pool::{ObjectPool, PoolItem, Pooled};
use super::wire::timer::before;
use super::wire::trailer_filter::TrailerFilter;
use crate::context::{
    Context, Grant, Peer, Policy, Refusal, Timestamp, encode_error, encode_grpc_message, host_without_port,
};
use crate::fault::{Blame, Fault as _};
use crate::identify::{Identifiers, NamedBy, Scheme};
use crate::message::{Framing, Head, KnownField, ResponseConnection};
use crate::name::PathBuf;
use crate::sandbox::{Overlay, UnknownKey, WorkerSandboxes};
use std::cell::Cell;
use std::ops::ControlFlow;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// One listener's requests on one worker, by the settings that hold now.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) policy: Policy,
    pub(crate) identifiers: Rc<Identifiers>,
    pub(crate) bindings: Rc<Bindings>,
    pub(crate) sandboxes: Rc<WorkerSandboxes>,
    /// The overlay of requests that select no sandbox.
    pub(crate) no_sandboxes: Rc<Overlay>,
    pub(crate) unknown_key: UnknownKey,
    pub(crate) limits: Limits,
    /// Whether CONNECT of trusted callers opens a tunnel.
    pub(crate) connect: bool,
    /// The port to which requests in clear are sent whose Ingress has a certificate for their host, if they are.
    pub(crate) https_redirect: Option<u16>,
    pub(crate) permits: Option<Permits>,
    pub(crate) counters: Rc<Counters>,
    /// The filter for the trailers of untrusted requests.
    pub(crate) trailers: Rc<TrailerFilter>,
    pub(crate) log_turns: Arc<LogTurns>,
    /// The label of the listener.
    pub(crate) server: Rc<str>,
    pub(crate) pools: ObjectPools,
    pub(crate) scratch: ObjectPool<Scratch>,
}

/// The room for a request's context and name while it is served.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    context: Context,
    name: PathBuf,
}

impl PoolItem for Scratch {
    fn reset(&mut self) -> bool {
        self.context.clear();
        self.name.clear();
        true
    }
}

/// The findings about a request that has entered.
#[derive(Clone, Copy)]
struct EnteredRequest {
    grant: Grant,
    named_by: NamedBy,
    /// Whether it is answered here: its `Max-Forwards` is used up.
    is_last: bool,
    /// Whether its response says where it went.
    is_diagnosed: bool,
}

impl Service {
    /// Carries one request to an endpoint and its response back.
    pub(crate) async fn serve(&self, peer: &Peer, request: &mut Request) -> Result<Response, Error> {
        let permit = self.permit()?;
        let mut scratch = self.scratch.take();
        let EnteredRequest { grant, named_by, is_last, is_diagnosed } =
            match self.enter(peer, request, &mut scratch)? {
                ControlFlow::Continue(entered) => entered,
                ControlFlow::Break(response) => return Ok(response),
            };
        let until = Cell::new(request.time_limit.map(TimeLimit::until));
        let (has_waited, mirror) = (Cell::new(false), Cell::new(None));
        let answered = {
            let timer = Rc::clone(&request.timer);
            let carried = pin!(async {
                let Scratch { context, name } = &mut *scratch;
                let limits = self.policy.override_limits();
                let by_host = (named_by == NamedBy::Host).then_some(&*name);
                self.drop_doubtful(request, context, by_host).await?;
                let overlay = self.select_sandboxes(&mut request.record, context).await?;
                let (dtab, binding) = {
                    let caller = NameCaller::new(&request.peer, grant.is_trusted());
                    let added = (&overlay, context.overrides(), limits);
                    self.bindings.bind_request(name, added, caller).await?
                };
                if !dtab.dtab().is_empty() {
                    self.note_bound(&mut request.record, &binding, !context.overrides().is_empty());
                }
                let dispatch =
                    Dispatch::new((self, &binding), binding.logical(), dtab.overrides().printed(), is_last);
                if !has_waited.get() {
                    // What was done since it began took some microseconds, and the clock need not be asked again.
                    request.attempt_time.set(request.record.began());
                }
                let now = dispatch.limit(request, context);
                until.set(request.time_limit.map(TimeLimit::until));
                if dispatch.is_mirrored() {
                    mirror.set(dispatch.mirror(peer, request, context));
                }
                let retry = dispatch.prepare_retry(request)?;
                let route = dispatch.leave(peer, request, context, now)?;
                // A request that waits for its answer does not hold what other requests can use meanwhile, nor what can be made
                // again.
                let scratch = (is_diagnosed || retry.is_some()).then_some(scratch);
                let logical = dispatch.into_logical();
                let sent = match &route.to {
                    // This arm alone is not boxed: it is the way of most requests.
                    Ok(client) if !is_last && client.egress().is_none() => {
                        client.call(request, &self.pools, route.limits.as_ref()).await
                    }
                    _ => Box::pin(dispatch::send(self, request, route, is_last)).await,
                };
                let (sent, retry) = Retry::settle(sent, retry, request, &logical);
                let (route, mut response) = match (&scratch, retry) {
                    (Some(scratch), Some(retry)) => {
                        let overrides = dtab.overrides().printed();
                        let dispatch =
                            Dispatch::new((self, &binding), Rc::clone(&logical), overrides, is_last);
                        // Boxed, so that other requests do not pay for its size.
                        Box::pin(dispatch.retry(peer, request, &scratch.context, (retry, route, sent)))
                            .await?
                    }
                    _ => (route, sent?),
                };
                response.classify(&logical.settings.classifier, &mut request.record);
                if let Some(Scratch { name, .. }) = scratch.as_deref().filter(|_| is_diagnosed) {
                    let routing = {
                        let delegation = &Box::pin(self.bindings.explain(name, &dtab)).await;
                        let (router, record) = (self.policy.router(), &request.record);
                        Routing { router, service: &binding.service, route, record, delegation }.to_string()
                    };
                    Box::pin(diagnosis::add(&mut response, routing)).await?;
                }
                self.answer(&mut response, grant, request);
                Ok(response)
            });
            // Asked for the time whenever the work has to wait.
            let until = || {
                has_waited.set(true);
                until.get()
            };
            before(until, timer, carried).await
        };
        if let Some(mirror) = mirror.take() {
            mirror.send();
        }
        let too_late =
            || Error::Timeout { timeout: request.time_limit.map_or(Duration::ZERO, TimeLimit::whole) };
        let mut response = answered.unwrap_or_else(|| Err(too_late()))?;
        response.permit = permit;
        Ok(response)
    }

    /// Takes a request in: judges what its caller may do, names it, and limits its time. A request that is answered here at once
    /// comes back as its response.
    fn enter(
        &self,
        peer: &Peer,
        request: &mut Request,
        scratch: &mut Scratch,
    ) -> Result<ControlFlow<Response, EnteredRequest>, Error> {
        let Scratch { context, name } = scratch;
        let (grant, entered) = self.policy.enter(peer, &mut request.head, context);
        request.grant = Some(grant);
        self.note_removals(&mut request.record, context);
        if !grant.is_trusted() {
            request.body.filter_trailers(&self.trailers);
        }
        entered?;
        self.check_direction(peer, &request.head)?;
        request.record.note_trace(context.trace());
        if grant.is_trusted() {
            request.record.note_caller_id(&request.head);
        }
        if request.head.method() == b"TRACE" && !grant.is_trusted() {
            return Err(Error::Trace);
        }
        let is_last = is_last_stop(&mut request.head)?;
        let is_diagnosed = diagnosis::is_wanted(&request.head, grant);
        if is_last && !is_diagnosed {
            return Ok(ControlFlow::Break(made_here(200, self.pools.heads.take())));
        }
        let named_by = {
            let scheme = if peer.is_secure() { Scheme::Https } else { Scheme::Http };
            self.identifiers.identify(&mut request.head, scheme, name)?
        };
        request.record.note_name(name);
        if let Some(port) = self.https_redirect
            && let Some(location) = redirect::location(port, named_by, peer, &request.head)
        {
            let mut response = made_here(308, self.pools.heads.take());
            response.head.append(b"location", location.as_bytes());
            return Ok(ControlFlow::Break(response));
        }
        if let Some(timeout) = request.grpc.then(|| grpc_timeout(&request.head)).flatten() {
            context.limit(Timestamp::now(), timeout);
        }
        request.time_limit = self.time_limit(context)?;
        Ok(ControlFlow::Continue(EnteredRequest { grant, named_by, is_last, is_diagnosed }))
    }

    /// Checks that a request over TLS is for a host of its connection: clients share connections among hosts.
    fn check_direction(&self, peer: &Peer, head: &Head) -> Result<(), Error> {
        let (Some(tls), Some(host)) = (&peer.tls, head.get(KnownField::Host)) else { return Ok(()) };
        if tls.is_misdirected(host_without_port(host)) { Err(Error::Misdirected) } else { Ok(()) }
    }

    /// Makes the response of a route to a status.
    fn status_response(&self, status: u16, route: &Route, request: &Request) -> Result<Response, Error> {
        let id = route.id();
        if status < 300 && request.is_tunnel_alone() {
            return Err(Error::Unroutable(format!(
                "{status} would open a tunnel, and no endpoint is at its end ({id})"
            )));
        }
        if status < 200 {
            return Err(Error::Naming(format!(
                "{status} is an interim status: it answers no request ({id})"
            )));
        }
        Ok(made_here(status, self.pools.heads.take()))
    }

    /// Returns whether CONNECT of a caller opens a tunnel.
    pub(crate) fn takes_connect(&self, peer: &Peer) -> bool {
        self.connect && self.policy.grant(peer).is_trusted()
    }

    /// Prepares a response for its caller.
    fn answer(&self, response: &mut Response, grant: Grant, request: &Request) {
        let answered = self.policy.answer(&mut response.head, grant);
        if response.framing == Framing::Tunnel {
            // Before the fields that follow: other responses are settled where they are written.
            open_tunnel(response, answered.hop_by_hop.upgrade.as_deref(), &request.caller);
        }
        if let (426, Some(protocols)) = (response.head.status(), &answered.hop_by_hop.upgrade) {
            // It is what the response is about (RFC 9110 15.5.22).
            response.head.append(b"connection", b"upgrade");
            response.head.append(b"upgrade", protocols);
        }
        if grant.is_trusted() {
            tell_fate(&mut response.head, &request.record);
        }
        if answered.blank_body && response.framing != Framing::Tunnel {
            response.discard_body();
        }
    }

    /// Drops what a request steers by if a page in a browser may have sent it, with the reason in its record. `by_host` is the request's name, if it was named by its host.
    async fn drop_doubtful(
        &self,
        request: &mut Request,
        context: &mut Context,
        by_host: Option<&PathBuf>,
    ) -> Result<(), Error> {
        if !context.is_steered_by_caller() {
            return Ok(());
        }
        let Some(host) = self.policy.doubtful_host(&request.head) else { return Ok(()) };
        // A mistake in them is told before they are dropped.
        let caller = NameCaller::new(&request.peer, request.is_trusted());
        let (raw, limits) = (context.overrides(), self.policy.override_limits());
        let none = self.bindings.no_sandboxes();
        self.bindings.request_dtab_in_turn(&none, raw, limits, caller).await?;
        if let Some(name) = by_host.filter(|name| is_element(host, name)) {
            let base = self.bindings.no_entries();
            if self.bindings.bind_for(name, &base, caller).await?.is_routable() {
                return Ok(());
            }
        }
        self.counters.unknown_host_overrides.increment();
        request.record.note_overrides(OverrideFate::Dropped(Some(unknown_host_text(host).into())));
        self.policy.drop_overrides(&mut request.head, context)?;
        request.body.filter_trailers(&self.trailers);
        Ok(())
    }

    /// Counts what was removed from a request, and notes the overrides of a caller that is not trusted.
    fn note_removals(&self, record: &mut Record, context: &Context) {
        self.counters.count_removals(context.removals());
        if context.dropped() > 0 {
            record.note_overrides(OverrideFate::Dropped(None));
        }
    }

    /// Notes what became of the entries of sandboxes, and of overrides if the request has any.
    fn note_bound(&self, record: &mut Record, binding: &Binding, is_overridden: bool) {
        if let Some(entry) = &binding.fallback {
            self.counters.sandboxes.fallbacks.increment();
            record.note_fallback(entry);
        }
        if let Some(entries) = &binding.lost {
            self.counters.lost_shares.increment();
            tracing::debug!(name = %binding.service, %entries, "a share of an override is lost");
            record.note_lost(entries);
        }
        if !is_overridden {
            return;
        }
        let Some(dentry) = &binding.unbound else { return record.note_overrides(OverrideFate::Bound) };
        self.counters.unbound_overrides.increment();
        tracing::debug!(name = %binding.service, %dentry, "an override leads nowhere");
        record.note_overrides(OverrideFate::Unbound(dentry.clone()));
    }

    fn permit(&self) -> Result<Option<Permit>, Error> {
        let Some(permits) = &self.permits else { return Ok(None) };
        permits.take().map(Some).ok_or(Error::Busy { limit: permits.limit() })
    }

    /// Returns the time that the request may take: the listener's limit, or less when its caller gives up before.
    fn time_limit(&self, context: &mut Context) -> Result<Option<TimeLimit>, Error> {
        if self.limits.request.is_none() && context.deadline().is_none() {
            return Ok(None);
        }
        let now = Timestamp::now();
        if let Some(limit) = self.limits.request {
            context.limit(now, limit);
        }
        let left = context.deadline().map(|deadline| deadline.remaining(now));
        match left {
            Some(None) => Err(Error::Refused(Refusal::DeadlinePassed)),
            Some(Some(left)) => {
                let is_callers = self.limits.request.is_none_or(|limit| left < limit);
                Ok(Some(if is_callers { TimeLimit::of_caller(left) } else { TimeLimit::new(left) }))
            }
            None => Ok(None),
        }
    }

    /// Makes the response to a request that was not carried; without `request` when its bytes were none.
    pub(crate) fn error_response(&self, peer: &Peer, error: &Error, request: Option<&Request>) -> Response {
        let grant = request.and_then(|request| request.grant);
        let trusted = grant.unwrap_or_else(|| self.policy.grant(peer)).is_trusted();
        let mut text = error.text(trusted);
        let record = request.map(|request| &request.record);
        if let (true, Some(OverrideFate::Dropped(Some(reason)))) = (trusted, record.map(Record::overrides)) {
            // They may be the reason why the name leads nowhere.
            text.push_str("\n\nThe overrides were dropped: ");
            text.push_str(reason);
        }
        text.truncate(text.floor_char_boundary(self.limits.error_bytes));
        let mut head = self.pools.heads.take();
        let grpc = request.is_some_and(|request| request.grpc);
        if grpc {
            set_grpc_error(&mut head, error.status().grpc, &text);
        } else {
            head.set_status(error.status().http);
            head.append(b"content-type", b"text/plain; charset=utf-8");
            if let Error::Trace = error {
                // RFC 9110 15.5.6 wants it.
                head.append(b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
            }
            head.append(b"content-length", (text.len() + 1).to_string().as_bytes());
        }
        if let Some(request) = request.filter(|_| error.blame() != Blame::Caller) {
            tell_request_id(&mut head, request, trusted);
        }
        if trusted {
            head.append(b"l5d-err", &encode_error(&text));
            if error.retryable() {
                head.append(b"l5d-retryable", b"true");
            }
            if let Some(record) = record {
                tell_fate(&mut head, record);
            }
        }
        text.push('\n');
        let to_head = request.is_some_and(|request| request.head.method() == b"HEAD");
        let (framing, body) = if to_head || grpc {
            (Framing::None, Body::Empty)
        } else {
            (Framing::Length(text.len() as u64), Body::Text(text.into_bytes()))
        };
        Response::new(head, framing, body)
    }

    /// Says in the log why a request was not carried, at `info` unless the caller is at fault; at most once a second for
    /// each listener.
    pub(crate) fn log_error(&self, error: &Error, record: &Record) {
        let turn = if error.blame() == Blame::Caller { None } else { self.log_turns.take() };
        match turn {
            Some(skipped) => {
                let (router, server) = (self.policy.router(), &*self.server);
                let id = record.trace().map_or_else(Vec::new, request_id);
                let request_id = String::from_utf8_lossy(&id);
                let reason = error.log_text();
                tracing::info!(router, server, %request_id, skipped, "a request was not carried: {reason}");
            }
            None => tracing::debug!(%error, "not carried"),
        }
    }
}

/// Returns whether a host without its port is an element of a name.
fn is_element(host: &[u8], name: &PathBuf) -> bool {
    name.elems().any(|element| host_without_port(element).eq_ignore_ascii_case(host))
}

/// Returns the reason why the overrides of a request to this host are dropped, with what to do about it.
fn unknown_host_text(host: &[u8]) -> String {
    let host = String::from_utf8_lossy(host);
    format!(
        "the host {host} is not known without them, so a page in a browser may have sent them; write \
         `hosts: [{host}]` or `trust: everybody` at this server"
    )
}

/// Counts `Max-Forwards` of TRACE and OPTIONS down; returns whether the request goes no further (RFC 9110 7.6.2).
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

/// Makes a head the answer to a gRPC call that failed: it holds all of the answer ("Trailers-Only" of gRPC's
/// PROTOCOL-HTTP2), and its HTTP status is always 200.
fn set_grpc_error(head: &mut Head, status: u8, text: &str) {
    head.set_status(200);
    head.append(b"content-type", b"application/grpc");
    head.append(b"grpc-status", status.to_string().as_bytes());
    head.append(b"grpc-message", &encode_grpc_message(text));
}

/// Makes the head of a response that opens a tunnel the one that its caller understands: a 101 over HTTP/1, unless the
/// request was a CONNECT, and a 200 over HTTP/2.
fn open_tunnel(response: &mut Response, protocols: Option<&[u8]>, caller: &Caller) {
    let head = &mut response.head;
    if let Caller::Http2(_) = caller {
        head.set_status(200);
        return remove_keys(head);
    }
    // An endpoint over HTTP/2 does not repeat the protocol that it was asked for.
    let is_switched = head.status() == 101 && matches!(response.carrier, Some(Carrier::Http2(_)));
    let protocols = if is_switched { Some(WEB_SOCKET.as_bytes()) } else { protocols };
    head.settle_response(Framing::Tunnel, ResponseConnection::Tunnel { protocols });
}

/// Makes an empty response, as `/$/io.buoyant.http.status/<code>` asks for.
fn made_here(status: u16, mut head: Pooled<Head>) -> Response {
    head.set_status(status);
    if !matches!(status, 204 | 304) {
        head.append(b"content-length", b"0");
    }
    Response::new(head, Framing::None, Body::Empty)
}
