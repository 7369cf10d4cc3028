//! The upstream's side of an exchange over HTTP/2: connections that many exchanges share, and one exchange on them.

use super::{Incoming, Outgoing, SEND_BUFFER, Sending, io_error};
use crate::message::{Framing, Head, response_framing};
use crate::proxy::balance::{Load, Member};
use crate::proxy::body::{Body, carry};
use crate::proxy::connect;
use crate::proxy::error::Error;
use crate::proxy::exchange::{Caller, Request, Response, Upload, Upstream, beside};
use crate::proxy::http1::{MOST_INTERIM, relay_interim, repeatable};
use crate::proxy::lend::Loan;
use crate::proxy::route::Tools;
use bytes::Bytes;
use h2::client::{Builder, Connection as Driver, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::StatusCode;
use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Notify, OnceCell};
use tokio::time::{Instant, timeout};

/// How many connections a worker has to one endpoint: the second and those behind it serve what is beyond the streams
/// that the endpoint allows on one.
const MOST_CONNECTIONS: usize = 8;

/// How many streams a connection may have before its endpoint has said how many: what RFC 9113 6.5.2 wants it to allow.
const STREAMS_UNTIL_SAID: usize = 100;

/// How many bytes of all bodies an endpoint may send on one connection before some are passed on: as many as can be said.
///
/// Each stream has a bound of its own. One for all of them would let callers that do not read stop the others.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// How many streams that were given up a connection remembers for a second: what an endpoint had sent on them before it
/// heard of it is no fault of its own.
const MOST_GIVEN_UP: usize = 10_000;

/// How often a request that waits for a stream looks whether the endpoint allows more of them.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a connection without streams is kept.
const PATIENCE: Duration = Duration::from_secs(60);

/// A worker's connections to one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: RefCell<Vec<Rc<Connection>>>,
    /// The connection that is being made: one, however many requests wait for it.
    opening: RefCell<Option<Rc<Opening>>>,
    /// Told of every stream that ends: requests wait for one when all connections are full.
    ///
    /// They wait here and not in the library's queue, which sends even what was given up meanwhile.
    freed: Rc<Notify>,
}

type Opening = OnceCell<Result<Rc<Connection>, Error>>;

/// How much larger than its bound a field list may be until the connection ends, with everybody's streams: up to
/// there it is only its own stream's fault.
const LISTS: u32 = 4;

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Bytes>,
    /// Whether an exchange was begun on it before.
    used: Cell<bool>,
    /// Exchanges under way on it.
    streams: Cell<usize>,
    /// Whether it takes no more of them.
    ended: Rc<Cell<bool>>,
    /// When a sweep first saw it without streams.
    idle: Cell<Option<Instant>>,
    freed: Rc<Notify>,
}

/// One exchange; its drop ends what is not finished, with the code that the caller gave.
#[derive(Debug)]
pub(crate) struct Exchange {
    stream: Sending,
    caller: Caller,
    connection: Rc<Connection>,
    _load: Load,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let streams = &self.connection.streams;
        streams.set(streams.get().saturating_sub(1));
        self.connection.freed.notify_one();
        if let Caller::Http2(reply) = &self.caller
            && let Some(reason) = reply.given_up()
        {
            self.stream.borrow_mut().send_reset(reason);
        }
    }
}

impl Connections {
    /// A connection with room for one more stream: one that is there, or a new one.
    async fn connection(&self, address: SocketAddr, tools: &Tools<'_>) -> Result<Rc<Connection>, Error> {
        loop {
            if let Some(least) = self.least_busy() {
                if least.has_room() {
                    return Ok(least);
                }
                if self.open.borrow().len() >= MOST_CONNECTIONS {
                    let _ = timeout(LOOK_AGAIN, self.freed.notified()).await;
                    continue;
                }
            }
            let opening = Rc::clone(self.opening.borrow_mut().get_or_insert_default());
            // Boxed, so that requests for which a connection is open do not pay for its size.
            let opened =
                opening.get_or_init(|| Box::pin(Connection::open(address, tools, &self.freed))).await;
            let first = self.opening.borrow_mut().take_if(|current| Rc::ptr_eq(current, &opening)).is_some();
            let connection = opened.as_ref().map_err(again)?;
            // Who waited beside the first takes what room is left on it.
            if first {
                self.open.borrow_mut().push(Rc::clone(connection));
                return Ok(Rc::clone(connection));
            }
        }
    }

    /// The connection with the fewest streams, of those that take more.
    fn least_busy(&self) -> Option<Rc<Connection>> {
        let mut open = self.open.borrow_mut();
        loop {
            open.retain(|connection| !connection.ended.get());
            let least = open.iter().min_by_key(|connection| connection.streams.get())?;
            if least.takes_more() {
                return Some(Rc::clone(least));
            }
            least.ended.set(true);
        }
    }

    /// Closes the connections that had no stream for a while.
    pub(crate) fn sweep(&self, now: Instant) {
        self.open.borrow_mut().retain(|connection| {
            if connection.streams.get() > 0 {
                connection.idle.set(None);
                return !connection.ended.get();
            }
            let since = connection.idle.get().unwrap_or(now);
            connection.idle.set(Some(since));
            !connection.ended.get() && now.saturating_duration_since(since) < PATIENCE
        });
    }
}

impl Connection {
    async fn open(address: SocketAddr, tools: &Tools<'_>, freed: &Rc<Notify>) -> Result<Rc<Self>, Error> {
        let settings = &tools.upstreams.http2;
        let stream = connect::open(address).await?;
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(settings.stream_window)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .header_table_size(settings.header_table)
            .max_frame_size(settings.max_frame)
            .max_header_list_size(settings.header_list(&tools.upstreams.heads).saturating_mul(LISTS))
            .max_send_buffer_size(SEND_BUFFER)
            .initial_max_send_streams(STREAMS_UNTIL_SAID)
            .max_concurrent_reset_streams(MOST_GIVEN_UP)
            // Faults of streams, counted over the life of the connection, would end it for everybody on it.
            .max_local_error_reset_streams(None);
        let (sender, driver) = builder
            .handshake(stream)
            .await
            .map_err(|error| Error::Connecting { address, source: io_error(error) })?;
        let ended = Rc::new(Cell::new(false));
        tokio::task::spawn_local(drive(driver, address, Rc::clone(&ended)));
        let freed = Rc::clone(freed);
        Ok(Rc::new(Self {
            sender,
            used: Cell::new(false),
            streams: Cell::new(0),
            ended,
            idle: Cell::new(None),
            freed,
        }))
    }

    /// Whether it takes streams still: its endpoint has not said goodbye.
    fn takes_more(&self) -> bool {
        // A sender without a stream of its own never waits.
        let ready = self.sender.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        !matches!(ready, Poll::Ready(Err(_)))
    }

    /// Whether the endpoint allows one more stream on it.
    fn has_room(&self) -> bool {
        self.streams.get() < self.sender.current_max_send_streams()
    }
}

/// Moves the connection's frames until it ends; it ends by itself when nobody holds it and no stream is left.
async fn drive(driver: Driver<TcpStream, Bytes>, address: SocketAddr, ended: Rc<Cell<bool>>) {
    if let Err(error) = driver.await {
        tracing::debug!(%address, %error, "a connection over HTTP/2 ended");
    }
    ended.set(true);
}

/// The error of a connection that several requests waited for, for one of them.
fn again(error: &Error) -> Error {
    match error {
        Error::Connecting { address, source } => {
            Error::Connecting { address: *address, source: io::Error::new(source.kind(), source.to_string()) }
        }
        Error::ConnectTimeout { address, timeout } => {
            Error::ConnectTimeout { address: *address, timeout: *timeout }
        }
        other => Error::Naming(other.to_string()),
    }
}

/// Sends a request on a stream and reads the head of its response; what of either body is left is in what comes back.
///
/// # Errors
///
/// [`Error::Reset`] with `unsent` says that the endpoint has not looked at the request: it may be sent again.
pub(crate) async fn send(
    member: &Member,
    load: Load,
    request: &mut Request,
    tools: &Tools<'_>,
) -> Result<Response, Error> {
    let address = member.address;
    let reset = |error: h2::Error, unsent| Error::Reset { address, source: io_error(error), unsent };
    let sent = request.head.to_http2_request(request.takes_trailers)?;
    let connection = member.http2.connection(address, tools).await?;
    let whole = request.body.is_done();
    let reused = connection.used.replace(true);
    let (response, stream) =
        connection.sender.clone().send_request(sent, whole).map_err(|error| reset(error, true))?;
    connection.streams.set(connection.streams.get() + 1);
    connection.idle.set(None);
    let stream = Rc::new(RefCell::new(stream));
    let exchange =
        Exchange { stream: Rc::clone(&stream), caller: request.caller.clone(), connection, _load: load };
    let mut upload = if whole { Upload::Done } else { upload(request, stream) };
    let (parts, body) = {
        let reading = pin!(read_head(response, request, tools));
        let read = beside(&mut upload, reading).await.map_err(Error::RequestBody)?;
        read.map_err(|failed| match failed {
            Failed::Stream(error) => {
                // The end of a connection that waited crosses a request, as over HTTP/1.
                let crossed = reused && error.is_io() && repeatable(request);
                let unsent = whole && (crossed || is_unprocessed(&error));
                reset(error, unsent)
            }
            Failed::Interim => bad(address, format!("more than {MOST_INTERIM} interim responses")),
            Failed::Switching => bad(address, SWITCHING.to_owned()),
        })?
        .into_parts()
    };
    let mut head = tools.heads.lend();
    head.take_http2_response(&parts, &tools.upstreams.heads)
        .map_err(|error| bad(address, error.to_string()))?;
    let (framing, body) = take_body(&head, body, request).map_err(|reason| bad(address, reason))?;
    let upstream = Some(Upstream::Http2(exchange));
    Ok(Response { head, framing, body, upload, upstream, permit: None })
}

fn bad(address: SocketAddr, reason: String) -> Error {
    Error::BadResponse { address, reason }
}

/// The sending of a request's body.
fn upload(request: &mut Request, stream: Sending) -> Upload {
    let mut body = std::mem::replace(&mut request.body, Body::Empty);
    let caller = request.caller.clone();
    let mut outgoing = Outgoing::new(stream, None);
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
        Framing::Length(length) => Ok((Framing::Length(length), Body::Http2(Incoming::new(body, None)))),
        _ if ended => Ok((Framing::Length(0), Body::Empty)),
        _ => Ok((Framing::Chunked, Body::Http2(Incoming::new(body, None)))),
    }
}

/// What is wrong with a 101 (RFC 9113 8.6).
const SWITCHING: &str = "it switches protocols, which HTTP/2 does not have";

/// Why no response came.
enum Failed {
    Stream(h2::Error),
    /// Too many interim ones did.
    Interim,
    /// It was a 101: a caller over HTTP/1 would take what follows for another protocol.
    Switching,
}

/// Waits for the final response; interim ones go to the caller.
async fn read_head(
    mut response: ResponseFuture,
    request: &Request,
    tools: &Tools<'_>,
) -> Result<http::Response<RecvStream>, Failed> {
    for _ in 0..=MOST_INTERIM {
        match poll_fn(|cx| poll_head(&mut response, cx)).await.map_err(Failed::Stream)? {
            Arrived::Final(response) => return Ok(response),
            Arrived::Interim(interim) if interim.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Failed::Switching);
            }
            Arrived::Interim(interim) => Box::pin(pass_interim(&interim, request, tools)).await,
        }
    }
    Err(Failed::Interim)
}

enum Arrived {
    Interim(http::Response<()>),
    Final(http::Response<RecvStream>),
}

fn poll_head(response: &mut ResponseFuture, cx: &mut Context<'_>) -> Poll<Result<Arrived, h2::Error>> {
    if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
        return Poll::Ready(interim.map(Arrived::Interim));
    }
    Pin::new(response).poll(cx).map_ok(Arrived::Final)
}

async fn pass_interim(interim: &http::Response<()>, request: &Request, tools: &Tools<'_>) {
    let mut head: Loan<Head> = tools.heads.lend();
    let (parts, ()) = interim.clone().into_parts();
    // One that is out of bounds is dropped: nobody depends on it.
    if head.take_http2_response(&parts, &tools.upstreams.heads).is_ok() {
        relay_interim(&mut head, request).await;
    }
}

/// Whether the endpoint says that it has not looked at the request: it refused the stream, or went away before it (RFC
/// 9113 8.7).
fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}
