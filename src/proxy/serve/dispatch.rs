//! From a binding to a response: a leaf is drawn, the request leaves to its client, and the response is judged. A failure
//! that may be retried draws another leaf.

use super::{Service, made_here};
use crate::context::{Context, Deadline, Peer, UpstreamNames};
use crate::message::{Head, KnownField};
use crate::proxy::bind::Binding;
use crate::proxy::error::Error;
use crate::proxy::exchange::{
    Outcome, Request, Response, ResponseClass, ResponseStatus, TimeLimit, beside, grpc_code, trailing_code,
    within,
};
use crate::proxy::upstream::{LogicalService, RetryPauses, Route};
use crate::proxy::wire::body::Body;
use crate::proxy::wire::replay::{ReplayBuffer, read_ahead};
use std::pin::pin;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep};

/// The way of one request from its binding.
pub(super) struct Dispatch<'a> {
    pub(super) service: &'a Service,
    pub(super) peer: &'a Peer,
    pub(super) binding: &'a Binding,
    /// The entries that travel on as `l5d-ctx-dtab`.
    pub(super) overrides: &'a [u8],
    /// Whether the request is answered here: its `Max-Forwards` is used up.
    pub(super) is_last: bool,
}

/// A response, and the leaf that led to it.
type Answered<'a> = (&'a Route, Response);

impl<'a> Dispatch<'a> {
    /// Gets the response to a request, within the time of its service.
    pub(super) async fn run(
        &self,
        request: &mut Request,
        context: &mut Context,
    ) -> Result<Answered<'a>, Error> {
        let logical = self.binding.logical();
        if let Some(counters) = &logical.counters {
            request.record.note_service(counters);
        }
        let Some(total) = logical.settings.total_timeout else {
            return self.run_to_end(request, context, &logical).await;
        };
        let left = total.saturating_sub(request.record.began().elapsed());
        context.limit(SystemTime::now(), left);
        let limit = TimeLimit::of(total, left);
        request.time_limit = Some(request.time_limit.map_or(limit, |own| own.min(limit)));
        // Boxed, so that requests without such a limit do not pay for its size.
        within(Some(limit), Box::pin(self.run_to_end(request, context, &logical)).as_mut()).await
    }

    async fn run_to_end(
        &self,
        request: &mut Request,
        context: &mut Context,
        logical: &LogicalService,
    ) -> Result<Answered<'a>, Error> {
        if !logical.may_retry(request.head.method()) {
            let route = self.binding.draw()?;
            self.leave(request, context, route);
            let mut response = self.send(request, context, route).await?;
            response.classify(&logical.settings.classifier, &mut request.record);
            return Ok((route, response));
        }
        // Boxed, so that requests that are not retried do not pay for its size.
        Box::pin(self.retry(request, context, logical)).await
    }

    /// Prepares a request for the client of its first leaf.
    fn leave(&self, request: &mut Request, context: &mut Context, route: &Route) {
        let leaving = UpstreamNames {
            named_by: self.service.identifiers.headers(),
            ..route.leaving(&self.binding.service, self.overrides)
        };
        let hop_by_hop = self.service.policy.leave(self.peer, &mut request.head, context, &leaving);
        request.upgrade = hop_by_hop.tunnel_protocols();
    }

    /// Sends a request that has left to the client of a leaf.
    async fn send(&self, request: &mut Request, context: &Context, route: &Route) -> Result<Response, Error> {
        request.record.note_client(route.id());
        let pools = &self.service.pools;
        match &route.to {
            _ if self.is_last => Ok(made_here(200, pools.heads.take())),
            Ok(client) => {
                tell_deadline(request, context.deadline(), client.attempt_timeout());
                client.call(request, pools, route.limits.as_ref()).await
            }
            Err(status) => self.service.status_response(*status, route),
        }
    }

    /// Sends a request, and sends it again after a failure that may be retried, as long as its body is at hand, its time
    /// lasts and the budget of its service pays.
    async fn retry(
        &self,
        request: &mut Request,
        context: &mut Context,
        logical: &LogicalService,
    ) -> Result<Answered<'a>, Error> {
        let settings = &logical.settings;
        let mut pauses = RetryPauses::new(settings.retry_backoff);
        let body = std::mem::replace(&mut request.body, Body::Empty);
        let kept = (!body.is_done()).then(|| ReplayBuffer::new(body, settings.request_buffer));
        logical.budget.deposit(request.record.began());
        let mut has_left = false;
        loop {
            if let Some(body) = kept.as_ref().and_then(ReplayBuffer::reader) {
                (request.body, request.is_body_begun) = (body, false);
            }
            let route = self.binding.draw()?;
            if std::mem::replace(&mut has_left, true) {
                let residual = route.residual.as_deref().map(str::as_bytes);
                self.service.policy.name_client(&mut request.head, route.id().as_bytes(), residual);
            } else {
                self.leave(request, context, route);
            }
            let mut sent = self.send(request, context, route).await;
            let class = self.judge(request, &mut sent, logical, route).await?;
            let pause = pauses.next_pause();
            let may_retry = class == ResponseClass::RetryableFailure
                && request.upgrade.is_none()
                && kept.as_ref().is_none_or(ReplayBuffer::is_whole)
                && request.time_limit.is_none_or(|limit| limit.left() > pause);
            let is_paid = may_retry && logical.budget.withdraw(Instant::now());
            if may_retry && let Some(counters) = &logical.counters {
                counters.retried(is_paid);
            }
            if !is_paid {
                let mut response = sent?;
                response.classify(&settings.classifier, &mut request.record);
                return Ok((route, response));
            }
            tracing::debug!(service = %self.binding.service, client = route.id(), "a request is retried");
            if let Ok(response) = sent {
                discard(response, settings.response_buffer, settings.classification_timeout).await;
            }
            request.body = Body::Empty;
            if !pause.is_zero() {
                sleep(pause).await;
            }
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
            match (read, route.to.as_ref().ok().and_then(|_| request.record.endpoint())) {
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

/// Ends a response that is not passed on: a short rest of it is read, so that its connection can be used again; or else the
/// connection is closed, or the stream is reset.
async fn discard(mut response: Response, limit: usize, timeout: Duration) {
    let body = std::mem::replace(&mut response.body, Body::Empty);
    let status = response.head.status();
    if let Some(attempt) = &mut response.attempt {
        attempt.classify(false);
    }
    if !body.is_done() {
        let reading = pin!(read_ahead(body, limit, timeout, |_| ()));
        if !matches!(beside(&mut response.upload, reading).await, Ok((_, Ok(Some(()))))) {
            return response.discard_body();
        }
    }
    response.end(Outcome::Answered(status));
}

/// Tells the endpoint of this attempt until when an answer is awaited: by `l5d-ctx-deadline`, and a gRPC service also by
/// `grpc-timeout`.
fn tell_deadline(request: &mut Request, deadline: Option<Deadline>, attempt: Option<Duration>) {
    if attempt.is_none() && (deadline.is_none() || !request.grpc) {
        return;
    }
    let now = SystemTime::now();
    let own = attempt.map(|timeout| Deadline::after(now, timeout));
    let Some(deadline) = own.into_iter().chain(deadline).reduce(Deadline::combined) else { return };
    let mut text = Vec::new();
    deadline.encode(&mut text);
    request.head.remove(KnownField::L5dCtxDeadline);
    request.head.append_known(KnownField::L5dCtxDeadline, &text);
    if request.grpc
        && let Some(left) = deadline.remaining(now)
    {
        request.head.set(b"grpc-timeout", encode_grpc_timeout(left).as_bytes());
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
