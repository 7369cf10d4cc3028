//! A request and its response, as they pass from one side of the proxy to the other; the attempt that they hold, and the
//! record of what became of them.

mod attempt;
mod classifier;
mod open_exchanges;
mod outcome;
mod record;
mod repeat;
mod wait_queue;
mod web_socket;

pub(crate) use self::attempt::{
    Attempt, AttemptReport, AttemptTime, Carrier, PendingAttempt, Standing, StreamSlot, UpstreamEndpoint,
    UpstreamStream,
};
pub use self::classifier::{Classifier, GrpcClassifier, RetriedMethods, StatusCodes, UNAVAILABLE};
pub(crate) use self::classifier::{ResponseClass, ResponseStatus, grpc_code, trailing_code};
pub(crate) use self::open_exchanges::{OpenExchange, OpenExchanges, RoomDemand, UploadCarrier};
pub(crate) use self::outcome::Outcome;
pub(crate) use self::record::{Observer, OverrideFate, REQUEST_ID, Record};
pub(crate) use self::repeat::{MOST_INTERIM, is_repeatable, relay_interim};
pub(crate) use self::wait_queue::WaitQueue;
pub(crate) use self::web_socket::{WEB_SOCKET, WebSocketKey, remove_keys};

use super::limits::{PeerRequests, Permit};
use super::wire::body::{Body, TransferError, carry};
use super::wire::connection::Connection;
use super::wire::http2;
use super::wire::object_pool::{PoolItem, Pooled};
use super::wire::sink::Sink;
use super::wire::timer::{TaskTimer, bounded};
use crate::context::Grant;
use crate::message::{Framing, Head};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

impl PoolItem for Head {
    fn reset(&mut self) -> bool {
        self.clear();
        true
    }
}

/// A request on its way to an endpoint.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) head: Pooled<Head>,
    pub(crate) framing: Framing,
    pub(crate) body: Body,
    /// Whether a part of the body was taken from it for an endpoint: the request cannot be sent again.
    pub(crate) is_body_begun: bool,
    /// The caller, to which interim responses go.
    pub(crate) caller: Caller,
    /// The requests of the caller's address, by which it has its turn where requests wait, and its share of an endpoint.
    pub(crate) peer: Rc<PeerRequests>,
    /// How long its caller may send nothing of the body while others wait for its endpoint.
    pub(crate) silent_after: Duration,
    /// Whether the caller understands them: HTTP/1.0 does not (RFC 9110 15.2).
    pub(crate) takes_interim: bool,
    /// Whether the caller takes trailers: `TE` says so.
    pub(crate) takes_trailers: bool,
    /// Whether it is a gRPC call, which gets its errors in gRPC's form.
    pub(crate) grpc: bool,
    /// The rights of its caller, once it has entered.
    pub(crate) grant: Option<Grant>,
    /// The protocols it asks to switch to: those of `Upgrade`, or that of an extended CONNECT, which is a GET here.
    pub(crate) upgrade: Option<Box<[u8]>>,
    /// The time it may take until its response begins, once that is known.
    pub(crate) time_limit: Option<TimeLimit>,
    /// The time at which the present attempt begins.
    pub(crate) attempt_time: AttemptTime,
    /// The timer of the task that serves it, for all limits on its time.
    pub(crate) timer: Rc<TaskTimer>,
    /// Its record, which takes the facts as they become known.
    pub(crate) record: Record,
}

impl Request {
    /// Returns whether it asks for a connection to its endpoint as it is, without HTTP.
    pub(crate) fn is_connect(&self) -> bool {
        self.head.method() == b"CONNECT"
    }

    /// Returns whether its caller has entered and is trusted.
    pub(crate) fn is_trusted(&self) -> bool {
        self.grant.is_some_and(Grant::is_trusted)
    }

    /// Returns whether a successful answer opens a tunnel for its caller, whatever the answer is meant as: it is a CONNECT,
    /// plain or extended (RFC 9110 9.3.6, RFC 8441 4).
    pub(crate) fn is_tunnel_alone(&self) -> bool {
        self.is_connect() || (self.upgrade.is_some() && matches!(self.caller, Caller::Http2(_)))
    }

    /// Returns the protocol that an endpoint over HTTP/2 is asked to switch to. Of those of a caller over HTTP/1, it is
    /// WebSocket, and others are left out.
    pub(crate) fn http2_protocol(&self) -> Option<&str> {
        let protocols = std::str::from_utf8(self.upgrade.as_deref()?).ok()?;
        match self.caller {
            Caller::Http2(_) => Some(protocols),
            Caller::Http1(_) => {
                let has_no_body = matches!(self.framing, Framing::None | Framing::Length(0));
                let is_plain = self.head.method() == b"GET" && has_no_body;
                (is_plain && has_web_socket(protocols)).then_some(WEB_SOCKET)
            }
            Caller::None => None,
        }
    }

    /// Returns whether it is an extended CONNECT for WebSocket.
    pub(crate) fn is_web_socket_of_http2(&self) -> bool {
        let is_named =
            self.upgrade.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(WEB_SOCKET.as_bytes()));
        is_named && matches!(self.caller, Caller::Http2(_))
    }
}

/// Returns whether WebSocket is one of the protocols of an `Upgrade`.
fn has_web_socket(protocols: &str) -> bool {
    protocols.split(',').any(|protocol| protocol.trim().eq_ignore_ascii_case(WEB_SOCKET))
}

/// The time a request may take until its response begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeLimit {
    until: Instant,
    /// The whole of it, for the error.
    timeout: Duration,
    /// Whether its caller set it: it then gives up.
    is_callers: bool,
}

impl TimeLimit {
    /// Makes a limit that begins now. One that the clock cannot hold becomes one year.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self::since(Instant::now(), timeout)
    }

    /// Makes a limit of the time from `began` on.
    pub(crate) fn since(began: Instant, timeout: Duration) -> Self {
        Self { until: began + bounded(timeout), timeout, is_callers: false }
    }

    /// Makes the limit of a caller, which begins now.
    pub(crate) fn of_caller(timeout: Duration) -> Self {
        Self { is_callers: true, ..Self::new(timeout) }
    }

    /// Returns the one that ends first.
    pub(crate) fn min(self, other: Self) -> Self {
        if other.until < self.until { other } else { self }
    }

    /// Returns the time at which it ends.
    pub(crate) fn until(self) -> Instant {
        self.until
    }

    /// Returns the whole of it.
    pub(crate) fn whole(self) -> Duration {
        self.timeout
    }

    /// Returns how much time is left.
    pub(crate) fn left(self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Returns the time at which the time is over that the router allows; `None` if it is its caller's own: a caller whose
    /// time is over has given up.
    pub(crate) fn times_out(self) -> Option<Instant> {
        (!self.is_callers).then_some(self.until)
    }
}

/// The caller of a request.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// There is none: the request is a copy.
    None,
    /// A connection, which carries nothing else meanwhile.
    Http1(Rc<Connection>),
    /// A stream.
    Http2(Rc<http2::ResponseSender>),
}

impl Caller {
    /// Sets whether the request's body is being read, so that the end of input is noticed there.
    pub(crate) fn set_body_wanted(&self, wanted: bool) {
        if let Self::Http1(connection) = self {
            connection.set_body_wanted(wanted);
        }
    }

    /// Sends an interim response. A caller that cannot be written to is noticed where its final response is written.
    pub(crate) async fn interim(&self, head: &Head) {
        match self {
            Self::Http1(connection) => {
                let mut out = connection.out();
                head.write(out.out());
                let _ = connection.write([out.data(), b"", b""]).await;
            }
            Self::Http2(reply) => reply.interim(head),
            Self::None => {}
        }
    }
}

/// The sending of a request's body, which may go on beside the response.
pub(crate) enum Upload {
    /// All of it was sent, or there was none.
    Done,
    /// It is being sent.
    Going(Pin<Box<dyn Future<Output = Result<(), TransferError>>>>),
    /// The endpoint takes no more of it; the rest was not read.
    Refused,
}

impl Upload {
    /// Drives it to its end.
    pub(crate) async fn end(&mut self) {
        if let Self::Going(sending) = self {
            *self = if sending.as_mut().await.is_ok() { Self::Done } else { Self::Refused };
        }
    }
}

/// A response on its way to the caller, with the values that must be held until it has been delivered.
pub(crate) struct Response {
    pub(crate) head: Pooled<Head>,
    pub(crate) framing: Framing,
    pub(crate) body: Body,
    pub(crate) upload: Upload,
    /// The attempt that led to the response, held until that has been delivered; `None` for a response made here.
    pub(crate) attempt: Option<Attempt>,
    /// The connection or stream to the endpoint, held as long.
    pub(crate) carrier: Option<Carrier>,
    /// The permit of the request, held as long as it counts as being served.
    pub(crate) permit: Option<Permit>,
}

impl Response {
    /// Makes a response that holds no endpoint, no upload and no permit.
    pub(crate) fn new(head: Pooled<Head>, framing: Framing, body: Body) -> Self {
        Self { head, framing, body, upload: Upload::Done, attempt: None, carrier: None, permit: None }
    }

    /// Drops the body unread: the endpoint has answered, and its connection is closed.
    pub(crate) fn discard_body(&mut self) {
        if let Some(attempt) = &mut self.attempt {
            attempt.end(Outcome::Answered(self.head.status()));
        }
        (self.attempt, self.carrier) = (None, None);
        self.body = Body::Empty;
        if self.framing != Framing::None {
            self.framing = Framing::Length(0);
        }
    }

    /// Carries the body to the caller, and the rest of the request's body to the endpoint beside it.
    ///
    /// # Errors
    ///
    /// One of the three ended before the response did.
    pub(crate) async fn carry_body(&mut self, to: &mut impl Sink) -> Result<(), DeliveryFailure> {
        let carrying = pin!(carry(&mut self.body, to));
        match beside(&mut self.upload, carrying).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(TransferError::Source(error))) => Err(DeliveryFailure::Response(error)),
            Ok(Err(TransferError::Sink(_))) => Err(DeliveryFailure::Caller),
            Err(error) => Err(DeliveryFailure::Request(error)),
        }
    }

    /// Notes whether the response is a success, where its status alone does not say so.
    pub(crate) fn classify(&mut self, classifier: &Classifier, record: &mut Record) {
        if self.framing == Framing::Tunnel {
            // It is a success, whatever else a classifier looks for in a response.
            return;
        }
        let is_success = match classifier {
            Classifier::Status { judges: true, .. } => return,
            Classifier::Status { judges: false, .. } => true,
            Classifier::Grpc(rule) => {
                let code = self.head.find(b"grpc-status").and_then(grpc_code);
                if code.is_none() && !self.body.is_done() {
                    return record.await_code(rule.success);
                }
                code.is_some_and(|code| rule.success.has(code))
            }
        };
        self.note_class(is_success, record);
    }

    /// Notes whether the response is a success by its trailers, if it was to be classified by them. It has been read to its
    /// end.
    pub(crate) fn classify_by_trailers(&mut self, record: &mut Record) {
        if let Some(success) = record.take_awaited() {
            let code = trailing_code(self.body.trailers());
            self.note_class(code.is_some_and(|code| success.has(code)), record);
        }
    }

    fn note_class(&mut self, is_success: bool, record: &mut Record) {
        record.note_class(is_success);
        if let Some(attempt) = &mut self.attempt {
            attempt.classify(is_success);
        }
    }

    /// Ends the exchange with this outcome.
    ///
    /// After a complete exchange, the connection to the endpoint waits for another request.
    pub(crate) fn end(self, outcome: Outcome) {
        let is_complete = matches!(outcome, Outcome::Answered(_));
        let Some(mut attempt) = self.attempt else { return };
        attempt.end(outcome);
        if is_complete
            && matches!(self.upload, Upload::Done)
            && self.body.is_done()
            && let Some(carrier) = self.carrier
        {
            carrier.keep(&attempt);
        }
    }
}

/// The failure to pass a response on to its end, by the part that ended early.
#[derive(Debug)]
pub(crate) enum DeliveryFailure {
    /// The response could not be read.
    Response(io::Error),
    /// The request's body, which was still being sent, could not be read.
    Request(io::Error),
    /// The caller takes no more of the response.
    Caller,
}

/// Drives `work` to its end, and the upload beside it.
///
/// # Errors
///
/// The request's body could not be read. An endpoint that stops taking the body is no error: it may have answered already.
pub(crate) async fn beside<T>(
    upload: &mut Upload,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> io::Result<T> {
    poll_fn(|cx| {
        if let Upload::Going(sending) = upload
            && let Poll::Ready(sent) = sending.as_mut().poll(cx)
        {
            match sent {
                Ok(()) => *upload = Upload::Done,
                Err(TransferError::Sink(_)) => *upload = Upload::Refused,
                Err(TransferError::Source(error)) => return Poll::Ready(Err(error)),
            }
        }
        work.as_mut().poll(cx).map(Ok)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response is moved through every step of serving a request: each 16 bytes are an instruction more in each.
    #[test]
    fn a_response_is_small() {
        assert!(size_of::<Body>() <= 48, "{} bytes", size_of::<Body>());
        assert!(size_of::<Response>() <= 152, "{} bytes", size_of::<Response>());
    }
}
