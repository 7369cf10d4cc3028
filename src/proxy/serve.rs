//! The life of a request: each step needs the results of those before it.

use super::bind::Bindings;
use super::error::Error;
use super::exchange::{Request, Response, TimeLimit, within};
use super::limits::{Limits, Permit, Permits};
use super::metrics::Counters;
use super::upstream::{ObjectPools, Route};
use super::wire::body::Body;
use super::wire::object_pool::{ObjectPool, PoolItem, Pooled};
use crate::context::{Context, Grant, Peer, Policy, Refusal, encode_error, encode_grpc_message};
use crate::fault::Fault as _;
use crate::identify::Identifiers;
use crate::message::{Field, Framing, Head, KnownField, ResponseConnection};
use crate::name::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::SystemTime;

/// One listener's requests on one worker, by the settings that hold now.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) policy: Policy,
    pub(crate) identifiers: Rc<Identifiers>,
    pub(crate) bindings: Rc<Bindings>,
    pub(crate) limits: Limits,
    pub(crate) permits: Option<Permits>,
    pub(crate) counters: Counters,
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

impl Service {
    /// Carries one request to an endpoint and its response back.
    pub(crate) async fn serve(&self, peer: &Peer, request: &mut Request) -> Result<Response, Error> {
        self.counters.requests.increment();
        let permit = self.permit()?;
        let mut scratch = self.scratch.take();
        let Scratch { context, name } = &mut *scratch;
        let (grant, entered) = self.policy.enter(peer, &mut request.head, context);
        request.grant = Some(grant);
        self.counters.dropped_overrides.add(context.dropped().into());
        entered?;
        request.record.note_trace(context.trace());
        if is_last_stop(&mut request.head)? {
            return Ok(made_here(200, self.pools.heads.take()));
        }
        self.identifiers.identify(&mut request.head, name)?;
        request.record.note_name(name);
        let overrides = self.bindings.overrides(context.overrides(), self.policy.override_limits())?;
        request.time_limit = self.time_limit(context)?;
        let limit = request.time_limit;
        let carried = pin!(async {
            let binding = self.bindings.bind(name, &overrides).await?;
            if let Some(dentry) = &binding.unbound {
                self.counters.unbound_overrides.increment();
                tracing::debug!(name = %binding.service, %dentry, "an override leads nowhere");
                request.unbound = Some(dentry.clone());
            }
            let route = binding.draw()?;
            request.record.note_client(route.id());
            let leaving = route.leaving(&binding.service, overrides.printed());
            let hop_by_hop = self.policy.leave(peer, &mut request.head, context, &leaving);
            request.upgrade = hop_by_hop.tunnel_protocols();
            let mut response = match &route.to {
                Ok(client) => client.call(request, &self.pools, route.limits.as_ref()).await?,
                Err(status) => self.status_response(*status, route)?,
            };
            self.answer(&mut response, grant, request.unbound.as_deref());
            Ok(response)
        });
        let mut response = within(limit, carried).await?;
        self.counters.carried(response.head.status());
        response.permit = permit;
        Ok(response)
    }

    /// Makes the response of a route to a status.
    fn status_response(&self, status: u16, route: &Route) -> Result<Response, Error> {
        if status < 200 {
            let id = route.id();
            return Err(Error::Naming(format!(
                "{status} is an interim status: it answers no request ({id})"
            )));
        }
        Ok(made_here(status, self.pools.heads.take()))
    }

    /// Prepares a response for its caller.
    fn answer(&self, response: &mut Response, grant: Grant, unbound: Option<&str>) {
        let answered = self.policy.answer(&mut response.head, grant);
        if response.framing == Framing::Tunnel {
            // Before the fields that follow: other responses are settled where they are written.
            let protocols = answered.hop_by_hop.upgrade.as_deref();
            response.head.settle_response(Framing::Tunnel, ResponseConnection::Tunnel { protocols });
        }
        if grant.is_trusted() {
            name_unbound(&mut response.head, unbound);
        }
        if answered.blank_body && response.framing != Framing::Tunnel {
            response.discard_body();
        }
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
        let now = SystemTime::now();
        if let Some(limit) = self.limits.request {
            context.limit(now, limit);
        }
        let left = context.deadline().map(|deadline| deadline.remaining(now));
        match left {
            Some(None) => Err(Error::Refused(Refusal::DeadlinePassed)),
            Some(left) => Ok(left.map(TimeLimit::new)),
            None => Ok(None),
        }
    }

    /// Makes the response to a request that was not carried; without `request` when its bytes were none.
    pub(crate) fn error_response(&self, peer: &Peer, error: &Error, request: Option<&Request>) -> Response {
        let grant = request.and_then(|request| request.grant);
        let trusted = grant.unwrap_or_else(|| self.policy.grant(peer)).is_trusted();
        let mut text = error.text(trusted);
        text.truncate(text.floor_char_boundary(self.limits.error_bytes));
        let mut head = self.pools.heads.take();
        let grpc = request.is_some_and(|request| request.grpc);
        if grpc {
            set_grpc_error(&mut head, error.status().grpc, &text);
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
            name_unbound(&mut head, request.and_then(|request| request.unbound.as_deref()));
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

    /// Counts a request that was not carried.
    pub(crate) fn count_error(&self, error: &Error) {
        self.counters.failed(error);
        tracing::debug!(%error, "not carried");
    }
}

/// Names the entry of an override that leads nowhere: otherwise a fallback to production would be silent.
///
/// An entry that a router behind has named already is not named again: the same override leads nowhere at each hop.
fn name_unbound(head: &mut Head, dentry: Option<&str>) {
    const NAME: &[u8] = b"l5d-dtab-unbound";
    let Some(dentry) = dentry.map(str::as_bytes) else { return };
    let is_named = |field: Field<'_>| field.name.eq_ignore_ascii_case(NAME) && field.value == dentry;
    if !head.fields().any(is_named) {
        head.append(NAME, dentry);
    }
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

/// Makes an empty response, as `/$/io.buoyant.http.status/<code>` asks for.
fn made_here(status: u16, mut head: Pooled<Head>) -> Response {
    head.set_status(status);
    if !matches!(status, 204 | 304) {
        head.append(b"content-length", b"0");
    }
    Response::new(head, Framing::None, Body::Empty)
}
