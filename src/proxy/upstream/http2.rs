//! The endpoint's side of an exchange over HTTP/2, on one stream of a connection that many exchanges share.

use super::endpoint::WorkerEndpoint;
use super::http2_pool::{Http2Connection, NewStream};
use super::uploads::UploadCarrier;
use crate::message::{Framing, Head, HeadLimits, response_framing};
use crate::proxy::error::{Error, Exposure};
use crate::proxy::exchange::{
    Carrier, MOST_INTERIM, Request, Response, Upload, UpstreamStream, beside, is_repeatable, relay_interim,
};
use crate::proxy::wire::body::Body;
use crate::proxy::wire::http2::{Http2Reader, Http2Writer, SharedSendStream, io_error};
use crate::proxy::wire::object_pool::{ObjectPool, Pooled};
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::StatusCode;
use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Sends a request on a stream and reads the head of its response. The returned response holds what is left of both
/// bodies.
///
/// # Errors
///
/// [`Error::Reset`] says whether the endpoint may have executed the request.
pub(crate) async fn send(
    endpoint: &WorkerEndpoint,
    request: &mut Request,
    heads: &ObjectPool<Head>,
) -> Result<Response, Error> {
    let (address, settings) = (endpoint.address(), endpoint.settings());
    let http2_request = request.head.to_http2_request(request.takes_trailers, settings.tls.is_some())?;
    let connection = endpoint
        .http2()
        .connection(endpoint.connect_target(&settings), request.peer, endpoint.uploads())
        .await?;
    let whole = request.body.is_done();
    let NewStream { response, stream, slot, is_first_after_idle } =
        connection.begin(http2_request, whole).map_err(|error| reset(address, error, Exposure::Unseen))?;
    let answers = connection.answers();
    let stream = Rc::new(RefCell::new(stream));
    let sending = Rc::clone(&stream);
    let upstream_stream = UpstreamStream::new(Rc::clone(&stream), request.caller.clone(), slot);
    let response_heads = ResponseHeads { heads, limits: &settings.heads, connection: &connection };
    let unanswered = (!whole).then(|| endpoint.uploads().begin(request.silent_after));
    let mut upload = match &unanswered {
        None => Upload::Done,
        Some(open) => begin_upload(request, stream, open.carrier()),
    };
    let (parts, body) = {
        let reading = pin!(read_head(response, request, &response_heads));
        let read = beside(&mut upload, reading).await.map_err(Error::RequestBody)?;
        // The end of a connection that was idle may cross a request, as over HTTP/1.
        let may_have_crossed =
            is_first_after_idle && connection.answers() == answers && is_repeatable(request);
        read.map_err(|failure| failure.into_error(address, may_have_crossed))?.into_parts()
    };
    drop(unanswered);
    let mut head = heads.take();
    head.take_http2_response(&parts, &settings.heads)
        .map_err(|error| Error::of_response_head(address, error, &settings.heads))?;
    let (framing, body) = take_body(&head, body, request).map_err(|reason| bad_response(address, reason))?;
    if !body.is_done() {
        // Until the first byte of the response has gone out, it can still be a bad gateway.
        check_stream(&sending).map_err(|error| Error::of_response_body(address, io_error(error)))?;
    }
    let carrier = Some(Carrier::Http2(Box::new(upstream_stream)));
    Ok(Response { upload, carrier, ..Response::new(head, framing, body) })
}

/// Checks that a stream whose response has begun has not ended in an error already. A reset without an error says that the
/// rest of the request is not wanted (RFC 9113 8.1).
fn check_stream(stream: &SharedSendStream) -> Result<(), h2::Error> {
    match stream.borrow_mut().poll_reset(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(Reason::NO_ERROR)) | Poll::Pending => Ok(()),
        Poll::Ready(Ok(reason)) => Err(reason.into()),
        Poll::Ready(Err(error)) => Err(error),
    }
}

fn reset(address: SocketAddr, error: h2::Error, exposure: Exposure) -> Error {
    Error::Reset { address, source: io_error(error), exposure }
}

fn bad_response(address: SocketAddr, reason: String) -> Error {
    Error::BadResponse { address, reason }
}

/// Begins to send the rest of a request's body.
fn begin_upload(request: &mut Request, stream: SharedSendStream, carrier: UploadCarrier) -> Upload {
    request.is_body_begun = true;
    let mut body = std::mem::replace(&mut request.body, Body::Empty);
    let caller = request.caller.clone();
    let mut outgoing = Http2Writer::new(stream, None);
    Upload::Going(Box::pin(async move {
        let carried = carrier.carry(&mut body, &mut outgoing).await;
        // If the endpoint did not take the whole body, the rest was not read from the caller: the bytes that follow are
        // not a request.
        if carried.is_ok() {
            caller.set_body_wanted(false);
        }
        carried
    }))
}

/// Returns the framing of a response's body, and the body.
fn take_body(head: &Head, body: RecvStream, request: &Request) -> Result<(Framing, Body), String> {
    let framing = response_framing(head, request.head.method()).map_err(|error| error.to_string())?;
    let ended = body.is_end_stream();
    match framing {
        Framing::None => Ok((Framing::None, Body::Empty)),
        Framing::Tunnel => Err(SWITCHING.to_owned()),
        Framing::Length(length) => Ok((Framing::Length(length), Body::Http2(Http2Reader::new(body, None)))),
        _ if ended => Ok((Framing::Length(0), Body::Empty)),
        _ => Ok((Framing::Chunked, Body::Http2(Http2Reader::new(body, None)))),
    }
}

/// The defect of a 101 (RFC 9113 8.6).
const SWITCHING: &str = "it switches protocols, which HTTP/2 does not allow";

/// The pool of heads of a worker, the bounds on the heads of responses, and the connection on which they come.
struct ResponseHeads<'a> {
    heads: &'a ObjectPool<Head>,
    limits: &'a HeadLimits,
    connection: &'a Http2Connection,
}

/// The failure to get a final response.
enum ResponseFailure {
    /// The stream or its connection ended.
    Stream(h2::Error),
    /// There were too many interim responses.
    Interim,
    /// The response was a 101: a caller over HTTP/1 would take the bytes that follow for another protocol.
    Switching,
}

impl ResponseFailure {
    /// Makes the error of it. `may_have_crossed` says that the request may be executed twice, and that the end of a
    /// connection that was idle before may have crossed it.
    fn into_error(self, address: SocketAddr, may_have_crossed: bool) -> Error {
        match self {
            Self::Stream(error) if is_unprocessed(&error) => reset(address, error, Exposure::Unseen),
            Self::Stream(error) if may_have_crossed && error.is_io() => {
                reset(address, error, Exposure::Repeatable)
            }
            Self::Stream(error) => reset(address, error, Exposure::Seen),
            Self::Interim => bad_response(address, format!("more than {MOST_INTERIM} interim responses")),
            Self::Switching => bad_response(address, SWITCHING.to_owned()),
        }
    }
}

/// Waits for the final response. Interim responses are passed on to the caller.
async fn read_head(
    mut response: ResponseFuture,
    request: &Request,
    response_heads: &ResponseHeads<'_>,
) -> Result<http::Response<RecvStream>, ResponseFailure> {
    for _ in 0..=MOST_INTERIM {
        let received = poll_fn(|cx| poll_head(&mut response, cx)).await?;
        response_heads.connection.note_answer();
        let interim = match received {
            ReceivedHead::Final(response) => return Ok(response),
            ReceivedHead::Interim(interim) => interim,
        };
        Box::pin(pass_interim(interim, request, response_heads)).await;
    }
    Err(ResponseFailure::Interim)
}

/// A head that was received on the stream.
enum ReceivedHead {
    Interim(http::Response<()>),
    Final(http::Response<RecvStream>),
}

/// Polls for the next head, interim or final.
fn poll_head(
    response: &mut ResponseFuture,
    cx: &mut Context<'_>,
) -> Poll<Result<ReceivedHead, ResponseFailure>> {
    if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
        let interim = interim.map_err(ResponseFailure::Stream)?;
        if interim.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Poll::Ready(Err(ResponseFailure::Switching));
        }
        return Poll::Ready(Ok(ReceivedHead::Interim(interim)));
    }
    Pin::new(response).poll(cx).map_ok(ReceivedHead::Final).map_err(ResponseFailure::Stream)
}

/// Passes an interim response on to the caller.
async fn pass_interim(interim: http::Response<()>, request: &Request, response_heads: &ResponseHeads<'_>) {
    let mut head: Pooled<Head> = response_heads.heads.take();
    let (parts, ()) = interim.into_parts();
    // One that is out of bounds is dropped: no caller depends on it.
    if head.take_http2_response(&parts, response_heads.limits).is_ok() {
        relay_interim(&mut head, request).await;
    }
}

/// Returns whether the endpoint says that it did not process the request: it refused the stream, or sent a GOAWAY
/// that leaves it out (RFC 9113 8.7).
fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}
