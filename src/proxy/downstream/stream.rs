//! One stream of a caller over HTTP/2: a request and its response.

use super::access::{AccessLogger, CountingSink};
use super::open_streams::{OpenStream, StreamEnd};
use super::tasks::TaskWork;
use super::tunnel::{TunnelEnd, TunnelInput, TunnelOutput, tunnel};
use crate::context::Peer;
use crate::message::{Framing, Head, KnownField, ResponseConnection, is_tunnel_protocol, request_framing};
use crate::proxy::error::{Error, Exposure};
use crate::proxy::exchange::{
    AttemptTime, Caller, DeliveryFailure, Outcome, Record, Request, Response, Upload,
};
use crate::proxy::limits::CountedRequest;
use crate::proxy::metrics::RequestOutcome;
use crate::proxy::serve::Service;
use crate::proxy::wire::body::Body;
use crate::proxy::wire::http2::{
    Http2Reader, Http2Writer, LINGER, ResponseSender, io_error, refusal_code, reset_code,
};
use crate::proxy::wire::timer::{PeerProgress, StallLimit, TaskTimer};
use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::header::{HeaderName, HeaderValue};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::timeout;

/// How soon after it began a stream must be reset to count as premature.
const PREMATURE: Duration = Duration::from_secs(1);

/// A stream that has begun, for the task that serves it.
pub(crate) struct Stream {
    pub(super) service: Rc<Service>,
    pub(super) access: Option<Rc<AccessLogger>>,
    pub(super) peer: Rc<Peer>,
    pub(super) request: http::Request<RecvStream>,
    pub(super) respond: SendResponse<Bytes>,
    pub(super) open: OpenStream,
    pub(super) counted: CountedRequest,
}

impl TaskWork for Stream {
    fn begin(self: Box<Self>, timer: &Rc<TaskTimer>) -> impl Future<Output = ()> + use<> {
        let Self { service, access, peer, request, respond, open, counted } = *self;
        let (reply, timer) = (ResponseSender::new(respond), Rc::clone(timer));
        let turn = Http2Turn { service, access, peer, reply, open, progress: Rc::default(), timer };
        let (mut request, valid) = turn.take(request, &counted);
        async move {
            let _counted = counted;
            let ended = turn.serve(&mut request, valid).await;
            // The end of the request is counted before that of its stream.
            drop(request);
            turn.open.end(ended);
        }
    }
}

/// The serving of one request on its stream.
struct Http2Turn {
    service: Rc<Service>,
    access: Option<Rc<AccessLogger>>,
    peer: Rc<Peer>,
    reply: Rc<ResponseSender>,
    open: OpenStream,
    progress: Rc<PeerProgress>,
    timer: Rc<TaskTimer>,
}

impl Http2Turn {
    /// Serves the stream until it is answered, or the caller resets it or stalls.
    async fn serve(&self, request: &mut Request, valid: Result<(), Box<Error>>) -> StreamEnd {
        let ended = {
            let serving = pin!(self.answer(request, valid));
            self.unless_ended(serving).await
        };
        let Err(outcome) = ended else { return StreamEnd::Answered };
        if let Some(reason @ Reason::PROTOCOL_ERROR) = self.reply.given_up() {
            // Its body is not as its head says, for which h2 has reset it.
            request.record.fail(&Error::RequestBody(io_error(reason.into())));
        }
        request.record.end(outcome);
        let is_premature = !self.reply.is_begun() && request.record.began().elapsed() < PREMATURE;
        if is_premature { StreamEnd::Premature } else { StreamEnd::Reset }
    }

    /// Drives `work` to its end.
    ///
    /// # Errors
    ///
    /// The caller resets the stream meanwhile, or stalls for too long.
    async fn unless_ended(&self, mut work: Pin<&mut impl Future<Output = ()>>) -> Result<(), RequestOutcome> {
        // It begins when the stream waits for the caller for the first time: most streams never do.
        let mut stall = None;
        poll_fn(|cx| {
            // Checked before the work is polled, which would see only that a body has ended early.
            if self.reply.poll_given_up(cx).is_ready() {
                return Poll::Ready(Err(RequestOutcome::Abandoned));
            }
            if work.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if stall.is_some() || self.progress.awaits_peer() {
                let limit = self.service.limits.stalled;
                let stall = stall.get_or_insert_with(|| StallLimit::now(limit));
                if stall.poll_stalled(&self.progress, (&self.timer, limit), cx).is_ready() {
                    self.reply.reset(Reason::CANCEL);
                    return Poll::Ready(Err(RequestOutcome::Stalled));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Has a request served, and sends its response or error.
    async fn answer(&self, request: &mut Request, valid: Result<(), Box<Error>>) {
        let served = match valid {
            Ok(()) => self.service.serve(&self.peer, request).await,
            Err(error) => Err(*error),
        };
        let response = match served {
            Ok(response) => response,
            // The caller is silent, and others had to wait for its endpoint.
            Err(Error::RequestBody(error)) if error.kind() == io::ErrorKind::TimedOut => {
                request.record.end(RequestOutcome::Stalled);
                return self.reply.reset(Reason::CANCEL);
            }
            // The caller ended its own request early.
            Err(Error::RequestBody(_)) => return self.reply.reset(Reason::PROTOCOL_ERROR),
            Err(error) => {
                self.service.log_error(&error, &request.record);
                request.record.fail(&error);
                if let Error::Reset { source, exposure, .. } = &error
                    && (*exposure != Exposure::Unseen || request.is_body_begun)
                    && let Some(reason) = refusal_code(source)
                {
                    return self.reply.reset(reason);
                }
                self.service.error_response(&self.peer, &error, Some(request))
            }
        };
        request.record.answered(response.head.status());
        self.deliver(response, request).await;
    }

    /// Makes a request of the stream's head and body, and checks it.
    fn take(
        &self,
        request: http::Request<RecvStream>,
        counted: &CountedRequest,
    ) -> (Request, Result<(), Box<Error>>) {
        let (mut parts, body) = request.into_parts();
        let line = self.access.as_ref().map(|log| log.begin_http2(&parts, &self.peer));
        let record = Record::new(&self.service.counters, line);
        let mut head = self.service.pools.heads.take();
        let opens_tunnel = parts.method == http::Method::CONNECT;
        let whole = opens_tunnel || body.is_end_stream();
        let taken = self.take_head(&mut head, &mut parts);
        let framing = taken.and_then(|()| validate(&mut head, whole)).map(|framing| {
            // What follows on the stream is no content.
            if opens_tunnel && head.remove(KnownField::ContentLength) > 0 { Framing::None } else { framing }
        });
        // A body without a length may be a stream of messages, which may pause for any time: it has no stall timer.
        let progress = matches!(framing, Ok(Framing::Length(_))).then(|| Rc::clone(&self.progress));
        let value = |name| parts.headers.get(name).map(HeaderValue::as_bytes);
        let grpc = !opens_tunnel && value(http::header::CONTENT_TYPE).is_some_and(is_grpc);
        let takes_trailers = value(http::header::TE) == Some(b"trailers");
        let upgrade = parts.extensions.get::<Protocol>().map(|protocol| protocol.as_ref().into());
        let body = if opens_tunnel {
            self.reply.keep_tunnel_input(body);
            Body::Empty
        } else if whole {
            Body::Empty
        } else {
            Body::Http2(Http2Reader::new(body, progress))
        };
        let request = Request {
            head,
            framing: *framing.as_ref().unwrap_or(&Framing::None),
            body,
            is_body_begun: false,
            caller: Caller::Http2(Rc::clone(&self.reply)),
            peer: Rc::clone(counted.peer()),
            silent_after: self.service.limits.stalled,
            takes_interim: true,
            takes_trailers,
            grpc,
            grant: None,
            upgrade,
            time_limit: None,
            attempt_time: AttemptTime::default(),
            timer: Rc::clone(&self.timer),
            record,
        };
        (request, framing.map(drop).map_err(Box::new))
    }

    /// Takes the header list of a request over, unless it asks for a tunnel that is not opened. An extended CONNECT becomes
    /// the GET that asks for the same over HTTP/1 (RFC 8441 5): it has the same name.
    fn take_head(&self, head: &mut Head, parts: &mut http::request::Parts) -> Result<(), Error> {
        match parts.extensions.get::<Protocol>() {
            Some(protocol) if !is_tunnel_protocol(protocol.as_ref()) => return Err(Error::Connect),
            Some(_) => parts.method = http::Method::GET,
            None if parts.method != http::Method::CONNECT => {}
            None if !self.service.takes_connect(&self.peer) => return Err(Error::Connect),
            None => {}
        }
        Ok(head.take_http2_request(parts, &self.service.limits.heads)?)
    }

    /// Sends a response with its body, and ends the exchange.
    async fn deliver(&self, mut response: Response, request: &mut Request) {
        response.head.settle_response(response.framing, ResponseConnection::Http2);
        if response.framing == Framing::Tunnel {
            return Box::pin(self.open_tunnel(response, request)).await;
        }
        let (reply, is_grpc, record) = (&self.reply, request.grpc, &mut request.record);
        record.note_response(&response.head);
        let whole = response.body.is_done();
        let Ok(stream) = reply.begin(&response.head, whole) else {
            return reply.reset(Reason::INTERNAL_ERROR);
        };
        if !whole {
            let outgoing = Http2Writer::new(stream, Some(Rc::clone(&self.progress)));
            let carried = response.carry_body(&mut CountingSink::new(outgoing, record)).await;
            if let Err(failure) = carried {
                self.break_off(&failure, is_grpc);
                if let DeliveryFailure::Response(_) = failure {
                    response.end(Outcome::Reset);
                }
                return record.fail_delivery(failure);
            }
        }
        response.classify_by_trailers(record);
        record.complete();
        let outcome = Outcome::Answered(response.head.status());
        if matches!(response.upload, Upload::Going(_)) {
            // The endpoint has answered, and may still read the rest of the body.
            let _ = timeout(LINGER, response.upload.end()).await;
        }
        response.end(outcome);
    }

    /// Sends the head of a response behind which a tunnel begins, and carries the bytes of both sides.
    async fn open_tunnel(&self, response: Response, request: &mut Request) {
        request.record.note_response(&response.head);
        let Some(input) = self.reply.take_tunnel_input() else {
            return self.reply.reset(Reason::INTERNAL_ERROR);
        };
        let Ok(stream) = self.reply.begin(&response.head, false) else {
            return self.reply.reset(Reason::INTERNAL_ERROR);
        };
        let input = TunnelInput::Http2(Http2Reader::new(input, None));
        let output = TunnelOutput::Http2(Http2Writer::new(stream, Some(Rc::clone(&self.progress))));
        let carried = tunnel((input, output), (request, response), &self.service.limits, &self.open).await;
        if carried == TunnelEnd::Broken {
            // As a connection that is reset (RFC 8441 5).
            self.reply.reset(Reason::CANCEL);
        }
    }

    /// Ends a stream whose response has begun and cannot be passed on to its end: with the code of the endpoint, if it gave
    /// one.
    ///
    /// A gRPC call whose endpoint is gone ends with the status that its client understands (grpc/grpc
    /// `doc/statuscodes.md`, UNAVAILABLE): a reset without an endpoint's code would be an error inside the router.
    fn break_off(&self, failure: &DeliveryFailure, is_grpc: bool) {
        match failure {
            DeliveryFailure::Response(error) => match reset_code(error) {
                Some(code) => self.reply.reset(code),
                None if is_grpc => self.reply.end_with(unavailable()),
                None => self.reply.reset(Reason::INTERNAL_ERROR),
            },
            DeliveryFailure::Request(_) => self.reply.reset(Reason::CANCEL),
            // Its end is what broke the response off.
            DeliveryFailure::Caller => {}
        }
    }
}

/// Returns the trailers of a gRPC call whose endpoint is gone.
fn unavailable() -> http::HeaderMap {
    let fields = [
        ("grpc-status", "14"),
        ("grpc-message", "the connection to the service ended before its response was whole"),
    ];
    fields
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

/// Checks a head, `whole` if no body follows, and brings it into the form in which it is routed.
fn validate(head: &mut Head, whole: bool) -> Result<Framing, Error> {
    match request_framing(head)? {
        Framing::Length(length) => {
            head.set_content_length(length);
            Ok(Framing::Length(length))
        }
        _ if whole => Ok(Framing::None),
        _ => Ok(Framing::Chunked),
    }
}

/// Returns whether a content type is that of gRPC: `application/grpc` in any case, alone or with a format or parameters
/// after it.
fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let (is_named, rest) = match content_type.split_at_checked(GRPC.len()) {
        Some((name, rest)) => (name.eq_ignore_ascii_case(GRPC), rest),
        None => return false,
    };
    is_named && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_size<F>(_: fn(Box<Stream>, &'static Rc<TaskTimer>) -> F) -> usize {
        size_of::<F>()
    }

    /// A request that waits for its answer holds this, and half as much again in heads and in the states of both streams.
    #[test]
    fn the_work_of_a_stream_is_small() {
        let size = future_size(<Stream as TaskWork>::begin);
        assert!(size <= 2_384, "{size} bytes");
    }
}
