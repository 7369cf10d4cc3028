//! The endpoint's side of an exchange over HTTP/2, on a stream of a connection that many exchanges share.

use super::endpoint::WorkerEndpoint;
use super::http2_pool::NewStream;
use crate::message::{Framing, Head, HeadLimits, response_framing};
use crate::proxy::error::Error;
use crate::proxy::exchange::{
    Carrier, MOST_INTERIM, Request, Response, Upload, UpstreamStream, beside, is_repeatable, relay_interim,
};
use crate::proxy::wire::body::{Body, carry};
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
use std::task::{Context, Poll};

/// Sends a request on a stream and reads the head of its response; what of either body is left is in what comes back.
///
/// # Errors
///
/// [`Error::Reset`] with `unsent` says that the endpoint has not looked at the request: it may be sent again.
pub(crate) async fn send(
    endpoint: &WorkerEndpoint,
    request: &mut Request,
    heads: &ObjectPool<Head>,
) -> Result<(Response, Carrier), Error> {
    let (address, settings) = (endpoint.address(), endpoint.settings());
    let reset = |error: h2::Error, unsent| Error::Reset { address, source: io_error(error), unsent };
    let sent = request.head.to_http2_request(request.takes_trailers)?;
    let connection = endpoint.http2().connection(address, &settings).await?;
    let whole = request.body.is_done();
    let NewStream { response, stream, slot, reused } =
        connection.begin(sent, whole).map_err(|error| reset(error, true))?;
    let stream = Rc::new(RefCell::new(stream));
    let exchange = UpstreamStream::new(Rc::clone(&stream), request.caller.clone(), slot);
    let lent = ResponseHeads { heads, limits: &settings.heads };
    let mut upload = if whole { Upload::Done } else { upload(request, stream) };
    let (parts, body) = {
        let reading = pin!(read_head(response, request, &lent));
        let read = beside(&mut upload, reading).await.map_err(Error::RequestBody)?;
        read.map_err(|failed| match failed {
            ResponseFailure::Stream(error) => {
                // The end of a connection that waited crosses a request, as over HTTP/1.
                let crossed = reused && error.is_io() && is_repeatable(request);
                let unsent = whole && (crossed || is_unprocessed(&error));
                reset(error, unsent)
            }
            ResponseFailure::Interim => bad(address, format!("more than {MOST_INTERIM} interim responses")),
            ResponseFailure::Switching => bad(address, SWITCHING.to_owned()),
        })?
        .into_parts()
    };
    let mut head = heads.take();
    head.take_http2_response(&parts, &settings.heads).map_err(|error| bad(address, error.to_string()))?;
    let (framing, body) = take_body(&head, body, request).map_err(|reason| bad(address, reason))?;
    Ok((Response::new(head, framing, body, upload), Carrier::Http2(exchange)))
}

fn bad(address: SocketAddr, reason: String) -> Error {
    Error::BadResponse { address, reason }
}

/// The sending of a request's body.
fn upload(request: &mut Request, stream: SharedSendStream) -> Upload {
    let mut body = std::mem::replace(&mut request.body, Body::Empty);
    let caller = request.caller.clone();
    let mut outgoing = Http2Writer::new(stream, None);
    Upload::Going(Box::pin(async move {
        let carried = carry(&mut body, &mut outgoing).await;
        // What an endpoint did not take was not read: the bytes behind it are no request.
        if carried.is_ok() {
            caller.set_body_wanted(false);
        }
        carried
    }))
}

/// How the body of a response ends, and the body.
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

/// What is wrong with a 101 (RFC 9113 8.6).
const SWITCHING: &str = "it switches protocols, which HTTP/2 does not have";

/// The heads of a worker, and the bounds on those that come from an endpoint.
struct ResponseHeads<'a> {
    heads: &'a ObjectPool<Head>,
    limits: &'a HeadLimits,
}

/// Why no response came.
enum ResponseFailure {
    Stream(h2::Error),
    /// Too many interim ones did.
    Interim,
    /// It was a 101: a caller over HTTP/1 would take what follows for another protocol.
    Switching,
}

/// PeerProgress for the final response; interim ones go to the caller.
async fn read_head(
    mut response: ResponseFuture,
    request: &Request,
    lent: &ResponseHeads<'_>,
) -> Result<http::Response<RecvStream>, ResponseFailure> {
    for _ in 0..=MOST_INTERIM {
        match poll_fn(|cx| poll_head(&mut response, cx)).await.map_err(ResponseFailure::Stream)? {
            ReceivedHead::Final(response) => return Ok(response),
            ReceivedHead::Interim(interim) if interim.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(ResponseFailure::Switching);
            }
            ReceivedHead::Interim(interim) => Box::pin(pass_interim(&interim, request, lent)).await,
        }
    }
    Err(ResponseFailure::Interim)
}

enum ReceivedHead {
    Interim(http::Response<()>),
    Final(http::Response<RecvStream>),
}

fn poll_head(response: &mut ResponseFuture, cx: &mut Context<'_>) -> Poll<Result<ReceivedHead, h2::Error>> {
    if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
        return Poll::Ready(interim.map(ReceivedHead::Interim));
    }
    Pin::new(response).poll(cx).map_ok(ReceivedHead::Final)
}

async fn pass_interim(interim: &http::Response<()>, request: &Request, lent: &ResponseHeads<'_>) {
    let mut head: Pooled<Head> = lent.heads.take();
    let (parts, ()) = interim.clone().into_parts();
    // One that is out of bounds is dropped: nobody depends on it.
    if head.take_http2_response(&parts, lent.limits).is_ok() {
        relay_interim(&mut head, request).await;
    }
}

/// Whether the endpoint says that it has not looked at the request: it refused the stream, or went away before it (RFC
/// 9113 8.7).
fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}
