//! The endpoint's side of an exchange over HTTP/2, on one stream of a connection that many exchanges share.

use super::endpoint::WorkerEndpoint;
use super::http2_pool::Http2Connection;
use super::pings::LostEndpoint;
use super::settings::ClientSettings;
use crate::message::{Framing, Head, HeadError, KnownField, response_framing};
use crate::proxy::error::{Error, Exposure, TunnelDefect};
use crate::proxy::exchange::{
    Carrier, MOST_INTERIM, Request, Response, Upload, UploadCarrier, UpstreamEndpoint as _, UpstreamStream,
    WebSocketKey, beside, is_repeatable, relay_interim,
};
use crate::proxy::wire::body::Body;
use crate::proxy::wire::http2::{Http2Reader, Http2Writer, SharedSendStream, io_error};
use crate::proxy::wire::object_pool::{ObjectPool, Pooled};
use h2::client::ResponseFuture;
use h2::ext::Protocol;
use h2::{Reason, RecvStream};
use http::StatusCode;
use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::timeout;

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
    // A handshake that cannot be passed on is refused before a connection is opened for it.
    HttpTunnel::of(request).map(drop)?;
    // In one step: what waits through several is held to the end.
    let connection = take_connection(endpoint, request, &settings).await?;
    // Not before: of a crowd that comes at once, all find the streams free.
    endpoint.check_share(request, || endpoint.http2().free_streams(&settings))?;
    let (slot, is_first_after_idle) = connection.reserve();
    let turn = connection.turn().await;
    let http2_request = {
        let plain = request.head.to_http2_request(request.takes_trailers, settings.tls.is_some())?;
        match HttpTunnel::of(request)? {
            None => plain,
            Some(tunnel) => tunnel.extend(plain),
        }
    };
    let is_tunnel = request.http2_protocol().is_some();
    let whole = request.body.is_done() && !is_tunnel;
    let (response, stream) = connection
        .begin(http2_request, whole, turn)
        .map_err(|error| reset(address, error, Exposure::Unseen))?;
    let answers = connection.pings().answers();
    let stream = Rc::new(RefCell::new(stream));
    let sending = Rc::clone(&stream);
    let upstream_stream = UpstreamStream::new(Rc::clone(&stream), request.caller.clone(), slot);
    let response_heads = ResponseHeads { heads, settings: &settings, connection: &connection };
    let unanswered = (!whole && !is_tunnel).then(|| endpoint.exchanges().begin(request.silent_after));
    let mut upload = match &unanswered {
        None => Upload::Done,
        Some(open) => begin_upload(request, stream, open.carrier()),
    };
    let (parts, body) = {
        let reading = pin!(read_head(response, request, &response_heads));
        let read = beside(&mut upload, reading).await.map_err(Error::RequestBody)?;
        // The end of a connection that was idle may cross a request, as over HTTP/1.
        let may_have_crossed =
            is_first_after_idle && connection.pings().answers() == answers && is_repeatable(request);
        read.map_err(|failure| failure.into_error(address, may_have_crossed))?.into_parts()
    };
    drop(unanswered);
    let mut head = heads.take();
    head.take_http2_response(&parts, &settings.heads)
        .map_err(|error| Error::of_response_head(address, error, &settings.heads))?;
    if (200..300).contains(&head.status())
        && let Some(tunnel) = HttpTunnel::of(request)?
    {
        tunnel.switch(&mut head);
        let carrier = Some(Carrier::Http2(Box::new(upstream_stream)));
        let body = Body::Http2(Http2Reader::new(body, None));
        return Ok(Response { carrier, ..Response::new(head, Framing::Tunnel, body) });
    }
    let (framing, body) = take_body(&head, body, request).map_err(|reason| bad_response(address, reason))?;
    if !body.is_done() {
        // Until the first byte of the response has gone out, it can still be a bad gateway.
        check_stream(&sending).map_err(|error| Error::of_response_body(address, io_error(error)))?;
    }
    let body = body.timed(settings.read_timeout);
    let carrier = Some(Carrier::Http2(Box::new(upstream_stream)));
    Ok(Response { upload, carrier, ..Response::new(head, framing, body) })
}

/// The tunnel that a request asks for, as HTTP/2 has it (RFC 8441).
struct HttpTunnel {
    protocol: Protocol,
    /// The key that is answered to a caller over HTTP/1.
    key: Option<WebSocketKey>,
}

impl HttpTunnel {
    /// Returns the tunnel of a request, if it asks for one that HTTP/2 has.
    ///
    /// # Errors
    ///
    /// It came over HTTP/1, and its handshake has no key.
    fn of(request: &Request) -> Result<Option<Self>, Error> {
        let Some(protocol) = request.http2_protocol() else { return Ok(None) };
        let key = match request.is_tunnel_alone() {
            true => None,
            false => Some(WebSocketKey::of(&request.head).ok_or(NO_KEY)?),
        };
        Ok(Some(Self { protocol: protocol.into(), key }))
    }

    /// Makes a request an extended CONNECT.
    fn extend(self, mut request: http::Request<()>) -> http::Request<()> {
        *request.method_mut() = http::Method::CONNECT;
        // What follows on the stream is no content.
        request.headers_mut().remove(http::header::CONTENT_LENGTH);
        request.extensions_mut().insert(self.protocol);
        if self.key.is_some() {
            request.headers_mut().remove(http::header::SEC_WEBSOCKET_KEY);
        }
        request
    }

    /// Makes the head of a successful answer that of a switch of protocols.
    fn switch(&self, head: &mut Head) {
        head.set_status(101);
        head.remove(KnownField::ContentLength);
        if let Some(key) = &self.key {
            key.answer(head);
        }
    }
}

/// The defect of an opening handshake without a key (RFC 6455 4.2.1).
const NO_KEY: HeadError = HeadError::Malformed("an upgrade to websocket has no valid Sec-WebSocket-Key");

/// Takes a connection for a request. When it is in doubt that the endpoint is still there, the request may be sent twice.
async fn take_connection(
    endpoint: &WorkerEndpoint,
    request: &Request,
    settings: &ClientSettings,
) -> Result<Rc<Http2Connection>, Error> {
    let target = endpoint.connect_target(settings);
    let connection =
        endpoint.http2().connection(target, request.peer.address(), endpoint.exchanges()).await?;
    let must_wait = connection.is_doubted(request.record.began()) && !is_repeatable(request);
    if !must_wait && request.upgrade.is_none() {
        return Ok(connection);
    }
    // Boxed, so that other requests do not pay for its size.
    Box::pin(async move {
        let connection =
            if must_wait { await_answer(endpoint, request, settings, connection).await? } else { connection };
        if request.http2_protocol().is_some() {
            let address = endpoint.address();
            let is_taken = connection.takes_extended_connect().await;
            if !is_taken.map_err(|LostEndpoint| lost(address, Exposure::Unseen))? {
                return Err(Error::TunnelUnsupported { address, reason: TunnelDefect::NotAllowed });
            }
        }
        Ok(connection)
    })
    .await
}

/// Waits until the endpoint of a connection that is in doubt has answered, with a request that cannot be sent twice; returns
/// the connection to send it on. That may be another one: other requests wait as well, and take the room.
async fn await_answer(
    endpoint: &WorkerEndpoint,
    request: &Request,
    settings: &ClientSettings,
    mut connection: Rc<Http2Connection>,
) -> Result<Rc<Http2Connection>, Error> {
    while connection.is_doubted(request.record.began()) {
        let answered = connection.pings().answer().await;
        answered.map_err(|LostEndpoint| lost(endpoint.address(), Exposure::Unseen))?;
        let target = endpoint.connect_target(settings);
        connection =
            endpoint.http2().connection(target, request.peer.address(), endpoint.exchanges()).await?;
    }
    Ok(connection)
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

fn lost(address: SocketAddr, exposure: Exposure) -> Error {
    Error::Lost { address, exposure }
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

/// The pool of heads of a worker, the settings of the client, and the connection on which heads of responses come.
struct ResponseHeads<'a> {
    heads: &'a ObjectPool<Head>,
    settings: &'a ClientSettings,
    connection: &'a Http2Connection,
}

impl ResponseHeads<'_> {
    /// Is ready when the endpoint has not answered a ping in time. Only a request that may be sent twice was sent to an
    /// endpoint that is in doubt.
    fn poll_lost<T>(&self, request: &Request, cx: &mut Context<'_>) -> Poll<Result<T, ResponseFailure>> {
        let pings = self.connection.pings();
        if pings.is_quiet() || !is_repeatable(request) {
            return Poll::Pending;
        }
        pings.poll_lost(cx).map(|()| Err(ResponseFailure::Lost))
    }
}

/// The failure to get a final response.
enum ResponseFailure {
    /// The stream or its connection ended.
    Stream(h2::Error),
    /// The endpoint has not answered a ping, nor any request.
    Lost,
    /// The endpoint has sent nothing of it for so long.
    Silent(Duration),
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
            Self::Silent(timeout) => Error::EndpointSilent { address, timeout },
            Self::Lost => lost(address, Exposure::Repeatable),
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
        let received = poll_fn(|cx| match poll_head(&mut response, cx) {
            Poll::Pending => response_heads.poll_lost(request, cx),
            received => received,
        });
        let received = match response_heads.settings.read_timeout {
            None => received.await?,
            // Boxed, so that requests without such a limit do not pay for its size.
            Some(limit) => {
                Box::pin(timeout(limit, received)).await.unwrap_or(Err(ResponseFailure::Silent(limit)))?
            }
        };
        response_heads.connection.pings().note_answer();
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
    if head.take_http2_response(&parts, &response_heads.settings.heads).is_ok() {
        relay_interim(&mut head, request).await;
    }
}

/// Returns whether the endpoint says that it did not process the request: it refused the stream, or sent a GOAWAY
/// that leaves it out (RFC 9113 8.7).
fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}
