//! From a binding to a response: a leaf is drawn, the request leaves to its client, and the response is judged. A failure
//! that may be retried draws another leaf.

use super::mirror::Mirror;
use super::retry::Retry;
use super::{Service, made_here};
use crate::context::{Context, Deadline, Peer, Timestamp, UpstreamNames};
use crate::message::{Framing, Head, KnownField};
use crate::proxy::bind::Binding;
use crate::proxy::error::Error;
use crate::proxy::exchange::{
    Caller, Outcome, Request, Response, ResponseClass, ResponseStatus, TimeLimit, Upload, beside, grpc_code,
    trailing_code,
};
use crate::proxy::upstream::{Client, Egress, LogicalService, RetryPauses, Route};
use crate::proxy::wire::body::Body;
use crate::proxy::wire::replay::{ReplayBuffer, read_ahead};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The way of one request from its binding.
pub(super) struct Dispatch<'a> {
    service: &'a Service,
    binding: &'a Binding,
    logical: Rc<LogicalService>,
    /// The entries that travel on as `l5d-ctx-dtab`.
    overrides: &'a [u8],
    /// Whether the request is answered here: its `Max-Forwards` is used up.
    is_last: bool,
}

/// A response, and the leaf that led to it.
type Answered<'a> = (&'a Route, Response);

impl<'a> Dispatch<'a> {
    pub(super) fn new(
        (service, binding): (&'a Service, &'a Binding),
        logical: Rc<LogicalService>,
        overrides: &'a [u8],
        is_last: bool,
    ) -> Self {
        Self { service, binding, logical, overrides, is_last }
    }

    /// Limits the time of the request by that of its service, which began with the request. Returns the time by the clock on
    /// the wall if it was read for that.
    pub(super) fn limit(&self, request: &mut Request, context: &mut Context) -> Option<Timestamp> {
        let total = self.logical.settings.total_timeout?;
        let (began, present) = (request.record.began(), request.attempt_time.get());
        // Mostly they are the same, and a difference of times is not free.
        let left = if present == began {
            total
        } else {
            total.saturating_sub(present.saturating_duration_since(began))
        };
        let now = Timestamp::now();
        context.limit(now, left);
        let own = TimeLimit::since(began, total);
        request.time_limit = Some(request.time_limit.map_or(own, |limit| limit.min(own)));
        Some(now)
    }

    /// Returns whether its service has a mirror.
    pub(super) fn is_mirrored(&self) -> bool {
        self.logical.settings.mirror.is_some()
    }

    /// Begins to copy the request, if its service has a mirror.
    pub(super) fn mirror(
        &self,
        peer: &Peer,
        request: &mut Request,
        context: &Context,
    ) -> Option<Box<Mirror>> {
        Mirror::begin((self.service, &self.logical), peer, request, context).map(Box::new)
    }

    /// Draws the first leaf, and prepares the request for its client. `now` is the time, if it was read.
    ///
    /// # Errors
    ///
    /// Those of [`Binding::draw`].
    pub(super) fn leave(
        &self,
        peer: &Peer,
        request: &mut Request,
        context: &mut Context,
        now: Option<Timestamp>,
    ) -> Result<&'a Route, Error> {
        if let Some(counters) = &self.logical.counters {
            request.record.note_service(counters);
        }
        let route = self.binding.draw()?;
        let leaving = UpstreamNames {
            named_by: self.service.identifiers.headers(),
            ..route.leaving(&self.binding.service, self.overrides)
        };
        let deadline = attempt_deadline(context, route, now);
        let whole = context.replace_deadline(deadline);
        let hop_by_hop = self.service.policy.leave(peer, &mut request.head, context, &leaving);
        context.replace_deadline(whole);
        // That of an extended CONNECT is known already.
        if matches!(request.caller, Caller::Http1(_)) {
            request.upgrade = hop_by_hop.tunnel_protocols();
        }
        request.record.note_client(route.id());
        tell_grpc_timeout(request, deadline);
        tell_certificate(request, peer, route);
        Ok(route)
    }

    /// Returns the service, once the request has left.
    pub(super) fn into_logical(self) -> Rc<LogicalService> {
        self.logical
    }

    /// Sends a request that has left to the client of a leaf.
    pub(super) async fn send(&self, request: &mut Request, route: &Route) -> Result<Response, Error> {
        send(self.service, request, route, self.is_last).await
    }

    /// Prepares a request that may be sent again, as its method and its service say: counts it in the budget, and has its body
    /// kept.
    ///
    /// # Errors
    ///
    /// Those of [`Retry::rewind`].
    pub(super) fn prepare_retry(&self, request: &mut Request) -> Result<Option<Retry>, Error> {
        let logical = &*self.logical;
        if !logical.may_retry(request.head.method()) {
            return Ok(None);
        }
        logical.budget.deposit(request.record.began());
        if request.body.is_done() {
            return Ok(Some(Retry::Bodiless));
        }
        let body = std::mem::replace(&mut request.body, Body::Empty);
        let retry = Retry::Body(ReplayBuffer::new(body, logical.settings.request_buffer));
        retry.rewind(request)?;
        Ok(Some(retry))
    }

    /// Sends a request again after a failure that may be retried, as long as its body is at hand, its time lasts and the budget
    /// of its service pays. The first response comes with the leaf that led to it, as the last one is returned.
    pub(super) async fn retry(
        &self,
        peer: &Peer,
        request: &mut Request,
        context: &Context,
        (retry, mut route, mut sent): (Retry, &'a Route, Result<Response, Error>),
    ) -> Result<Answered<'a>, Error> {
        let logical = &*self.logical;
        let settings = &logical.settings;
        let mut pauses = RetryPauses::new(settings.retry_backoff);
        loop {
            let class = self.judge(request, &mut sent, logical, route).await?;
            let pause = pauses.next_pause();
            let may_retry = class == ResponseClass::RetryableFailure
                && request.upgrade.is_none()
                && retry.is_possible()
                && request.time_limit.is_none_or(|limit| limit.left() > pause);
            let is_paid = may_retry && logical.budget.withdraw(Instant::now());
            if may_retry && let Some(counters) = &logical.counters {
                counters.retried(is_paid);
            }
            if !is_paid {
                return Ok((route, sent?));
            }
            tracing::debug!(service = %self.binding.service, client = route.id(), "a request is retried");
            if let Ok(response) = sent {
                discard(response, settings.response_buffer, settings.classification_timeout).await;
            }
            request.body = Body::Empty;
            if !pause.is_zero() {
                sleep(pause).await;
            }
            request.attempt_time.forget();
            // It was whole when the answer before was judged, and was not read since.
            retry.rewind(request)?;
            route = self.binding.draw()?;
            let residual = route.residual.as_deref().map(str::as_bytes);
            self.service.policy.name_client(&mut request.head, route.id().as_bytes(), residual);
            request.record.note_client(route.id());
            tell_deadline(request, attempt_deadline(context, route, None));
            tell_certificate(request, peer, route);
            sent = self.send(request, route).await;
        }
    }

    /// Judges a response, or the error in its place. What had to be read of the body for it is in front of the rest again.
    ///
    /// # Errors
    ///
    /// The request's own body could not be read.
    async fn judge(
        &self,
        request: &Request,
        sent: &mut Result<Response, Error>,
        logical: &LogicalService,
        route: &Route,
    ) -> Result<ResponseClass, Error> {
        let settings = &logical.settings;
        let (classifier, method) = (&settings.classifier, request.head.method());
        let response = match sent {
            Err(error) => return Ok(classifier.judge_error(method, error)),
            // What follows is not to be read here, and has no trailers.
            Ok(response) if response.framing == Framing::Tunnel => return Ok(ResponseClass::Success),
            Ok(response) => response,
        };
        let status = response.head.status();
        let mut grpc = response.head.find(b"grpc-status").and_then(grpc_code);
        if classifier.reads_trailers() && grpc.is_none() && !response.body.is_done() {
            let body = std::mem::replace(&mut response.body, Body::Empty);
            let (limit, time) = (settings.response_buffer, settings.classification_timeout);
            let reading = pin!(read_ahead(body, limit, time, trailing_code));
            let (body, read) = beside(&mut response.upload, reading).await.map_err(Error::RequestBody)?;
            response.body = body;
            match (read, request.record.endpoint()) {
                (Ok(Some(code)), _) => grpc = code,
                // Larger, or slower: it is passed on as it is.
                (Ok(None), _) | (Err(_), None) => return Ok(ResponseClass::Success),
                (Err(source), Some(address)) => {
                    let broken = Error::of_response_body(address, source);
                    let class = classifier.judge_error(method, &broken);
                    *sent = Err(broken);
                    return Ok(class);
                }
            }
        }
        let class = classifier.judge(method, ResponseStatus { status, grpc });
        let is_told = class == ResponseClass::Failure
            && route.to.as_ref().is_ok_and(|client| client.trusts_retryable())
            && response.head.find(b"l5d-retryable").is_some_and(|value| value.eq_ignore_ascii_case(b"true"));
        Ok(if is_told { ResponseClass::RetryableFailure } else { class })
    }
}

/// Sends a request that has left to the client of a leaf. One that `is_last` is answered here.
pub(super) async fn send(
    service: &Service,
    request: &mut Request,
    route: &Route,
    is_last: bool,
) -> Result<Response, Error> {
    let pools = &service.pools;
    match &route.to {
        _ if is_last => Ok(made_here(200, pools.heads.take())),
        Ok(client) => match client.egress() {
            None => client.call(request, pools, route.limits.as_ref()).await,
            Some(egress) => send_outside(service, request, route, (client, egress)).await,
        },
        Err(status) => service.status_response(*status, route, request),
    }
}

/// Sends a request to a client whose endpoints are outside: it goes without what steers, and has it again afterwards, for a
/// retry may draw another client.
async fn send_outside(
    service: &Service,
    request: &mut Request,
    route: &Route,
    (client, egress): (&Client, Egress),
) -> Result<Response, Error> {
    let inside = Head::clone(&request.head);
    service.policy.strip_outward(&mut request.head, egress.removes_baggage);
    request.body.filter_trailers(&service.trailers);
    let sent = client.call(request, &service.pools, route.limits.as_ref()).await;
    *request.head = inside;
    let mut response = sent?;
    service.policy.strip_inward(&mut response.head);
    Ok(response)
}

/// Ends a response that is not passed on: a short rest of it is read, so that its connection can be used again; or else the
/// connection is closed, or the stream is reset.
async fn discard(mut response: Response, limit: usize, timeout: Duration) {
    let body = std::mem::replace(&mut response.body, Body::Empty);
    let status = response.head.status();
    if let Some(attempt) = &mut response.attempt {
        attempt.classify(false);
    }
    // A request that is still being sent is not sent on: more of it than is kept might be read meanwhile.
    if !matches!(response.upload, Upload::Done) {
        return response.discard_body();
    }
    if !body.is_done() && !matches!(read_ahead(body, limit, timeout, |_| ()).await, (_, Ok(Some(())))) {
        return response.discard_body();
    }
    response.end(Outcome::Answered(status));
}

/// Returns the time until which an answer to this attempt is awaited, if there is one. `now` is the time, if it was read.
fn attempt_deadline(context: &Context, route: &Route, now: Option<Timestamp>) -> Option<Deadline> {
    let timeout = route.to.as_ref().ok().and_then(|client| client.attempt_timeout());
    let own = timeout.map(|timeout| Deadline::after(now.unwrap_or_else(Timestamp::now), timeout));
    match (own, context.deadline()) {
        (Some(own), Some(whole)) => Some(own.combined(whole)),
        (own, whole) => own.or(whole),
    }
}

/// Tells the endpoint of another attempt until when an answer is awaited, in place of what the one before was told.
fn tell_deadline(request: &mut Request, deadline: Option<Deadline>) {
    request.head.remove(KnownField::L5dCtxDeadline);
    match deadline {
        Some(deadline) => {
            deadline.append_to(&mut request.head);
            tell_grpc_timeout(request, Some(deadline));
        }
        None if request.grpc => {
            request.head.remove_where(|field| field.name.eq_ignore_ascii_case(b"grpc-timeout"));
        }
        None => {}
    }
}

/// Tells a gRPC service how long an answer is awaited: it does not read `l5d-ctx-deadline`.
fn tell_grpc_timeout(request: &mut Request, deadline: Option<Deadline>) {
    if request.grpc
        && let Some(left) = deadline.and_then(|deadline| deadline.remaining(Timestamp::now()))
    {
        request.head.set(b"grpc-timeout", encode_grpc_timeout(left).as_bytes());
    }
}

/// Tells the endpoint of this attempt the certificate of the caller, where the client says so: nothing that the caller said of
/// it goes there. What was written for another client, before this one was drawn, is taken back.
fn tell_certificate(request: &mut Request, peer: &Peer, route: &Route) {
    const NAME: &[u8] = b"x-forwarded-client-cert";
    let is_named = |name: &[u8]| {
        let plain = name.iter().map(|byte| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() });
        name.len() == NAME.len() && plain.eq(NAME.iter().copied())
    };
    let own = peer.identity().map(|identity| identity.forwarded().as_bytes());
    let is_forwarded = route.to.as_ref().is_ok_and(|client| client.forwards_certificate());
    if !is_forwarded && own.is_none() {
        return;
    }
    request.head.remove_where(|field| {
        field.known == KnownField::XForwarded
            && is_named(field.name)
            && (is_forwarded || Some(field.value) == own)
    });
    if let Some(own) = own.filter(|_| is_forwarded) {
        request.head.append(NAME, own);
    }
}

/// Returns the time that a gRPC call may take, by its `grpc-timeout`: at most eight digits and a unit (grpc/grpc
/// `doc/PROTOCOL-HTTP2.md`). A malformed value is none.
pub(super) fn grpc_timeout(head: &Head) -> Option<Duration> {
    let value = std::str::from_utf8(head.find(b"grpc-timeout")?).ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Writes a time as `grpc-timeout`, rounded down to the finest unit in which it has eight digits.
fn encode_grpc_timeout(left: Duration) -> String {
    const MOST: u128 = 99_999_999;
    let units = [(left.as_nanos(), 'n'), (left.as_micros(), 'u'), (left.as_millis(), 'm')];
    match units.into_iter().find(|(count, _)| *count <= MOST) {
        Some((count, unit)) => format!("{count}{unit}"),
        None => format!("{}S", u128::from(left.as_secs()).min(MOST)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_timeout_is_read_and_written() {
        let read = |value: &str| {
            let mut head = Head::request(b"POST", b"/");
            head.append(b"grpc-timeout", value.as_bytes());
            grpc_timeout(&head)
        };
        for (text, time) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("100m", Duration::from_millis(100)),
            ("7u", Duration::from_micros(7)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(read(text), Some(time), "{text}");
        }
        for wrong in ["", "S", "1", "100000000S", "-1S", "+1S", "1 S", "1s", "1ä", "ä"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        for (time, text) in [
            (Duration::from_nanos(5), "5n"),
            (Duration::from_millis(100), "100000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::MAX, "99999999S"),
        ] {
            assert_eq!(encode_grpc_timeout(time), text);
        }
    }
}
