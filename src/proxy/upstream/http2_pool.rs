//! Connections over HTTP/2, each for many exchanges at once: a worker's own, to one endpoint.

use super::connect::connect;
use super::settings::ClientSettings;
use crate::proxy::error::Error;
use crate::proxy::exchange::StreamSlot;
use crate::proxy::wire::http2::{SEND_BUFFER, io_error};
use crate::proxy::wire::transport::Transport;
use bytes::Bytes;
use h2::SendStream;
use h2::client::{Builder, Connection as Driver, ResponseFuture, SendRequest};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::{Notify, OnceCell};
use tokio::time::{Instant, timeout};

/// How many streams a connection may have before its endpoint has said how many: what RFC 9113 6.5.2 wants it to allow.
const STREAMS_UNTIL_SAID: usize = 100;

/// How many bytes of all bodies an endpoint may send on one connection before some are passed on: as many as can be said.
///
/// Each stream has a bound of its own. One for all of them would let callers that do not read stop the others.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// How many streams that were given up a connection remembers for a second: what an endpoint had sent on them before it
/// heard of it is no fault of its own.
const MOST_GIVEN_UP: usize = 10_000;

/// How often a request that progress for a stream looks whether the endpoint allows more of them.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A worker's connections to one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Http2Pool {
    open: RefCell<Vec<Rc<Http2Connection>>>,
    /// The connection that is being made: one, however many requests wait for it.
    opening: RefCell<Option<Rc<Opening>>>,
    /// Told of every stream that ends: requests wait for one when all connections are full.
    ///
    /// They wait here and not in the library's queue, which sends even what was given up meanwhile.
    freed: Rc<Notify>,
}

type Opening = OnceCell<Result<Rc<Http2Connection>, Error>>;

/// How much larger than its bound a field list may be until the connection ends, with everybody's streams: up to
/// there it is only its own stream's fault.
const LISTS: u32 = 4;

/// One connection, which carries many exchanges at once.
#[derive(Debug)]
pub(crate) struct Http2Connection {
    sender: SendRequest<Bytes>,
    /// Whether an exchange was begun on it before.
    used: Cell<bool>,
    /// Exchanges under way on it.
    streams: Rc<Cell<usize>>,
    /// Whether it takes no more of them.
    ended: Rc<Cell<bool>>,
    /// When a sweep first saw it without streams.
    idle: Cell<Option<Instant>>,
    freed: Rc<Notify>,
}

/// A stream that was just begun.
pub(crate) struct NewStream {
    pub(crate) response: ResponseFuture,
    pub(crate) stream: SendStream<Bytes>,
    pub(crate) slot: StreamSlot,
    /// Whether its connection had carried an exchange before.
    pub(crate) reused: bool,
}

impl Http2Pool {
    /// A connection with room for one more stream: one that is there, or a new one.
    pub(crate) async fn connection(
        &self,
        address: SocketAddr,
        settings: &ClientSettings,
    ) -> Result<Rc<Http2Connection>, Error> {
        loop {
            if let Some(least) = self.least_busy() {
                if least.has_room() {
                    return Ok(least);
                }
                if self.open.borrow().len() >= settings.max_http2_connections {
                    let _ = timeout(LOOK_AGAIN, self.freed.notified()).await;
                    continue;
                }
            }
            let opening = Rc::clone(self.opening.borrow_mut().get_or_insert_default());
            // Boxed, so that requests for which a connection is open do not pay for its size.
            let opened =
                opening.get_or_init(|| Box::pin(Http2Connection::open(address, settings, &self.freed))).await;
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
    fn least_busy(&self) -> Option<Rc<Http2Connection>> {
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
    pub(crate) fn sweep(&self, now: Instant, settings: &ClientSettings) {
        self.open.borrow_mut().retain(|connection| {
            if connection.streams.get() > 0 {
                connection.idle.set(None);
                return !connection.ended.get();
            }
            let since = connection.idle.get().unwrap_or(now);
            connection.idle.set(Some(since));
            !connection.ended.get() && now.saturating_duration_since(since) < settings.idle_timeout
        });
    }
}

impl Http2Connection {
    async fn open(
        address: SocketAddr,
        settings: &ClientSettings,
        freed: &Rc<Notify>,
    ) -> Result<Rc<Self>, Error> {
        let http2 = &settings.http2;
        let stream = connect(address, settings).await?;
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(http2.stream_window)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .header_table_size(http2.header_table)
            .max_frame_size(http2.max_frame)
            .max_header_list_size(http2.header_list(&settings.heads).saturating_mul(LISTS))
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
            streams: Rc::default(),
            ended,
            idle: Cell::new(None),
            freed,
        }))
    }

    /// Begins a stream with the head of a request, `whole` if there is nothing behind it; says whether the connection
    /// had carried an exchange before.
    pub(crate) fn begin(&self, request: http::Request<()>, whole: bool) -> Result<NewStream, h2::Error> {
        let reused = self.used.replace(true);
        let (response, stream) = self.sender.clone().send_request(request, whole)?;
        self.idle.set(None);
        Ok(NewStream { response, stream, slot: StreamSlot::take(&self.streams, &self.freed), reused })
    }

    /// Whether it takes streams still: its endpoint has not said goodbye.
    fn takes_more(&self) -> bool {
        // A sender without a stream of its own never progress.
        let ready = self.sender.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        !matches!(ready, Poll::Ready(Err(_)))
    }

    /// Whether the endpoint allows one more stream on it.
    fn has_room(&self) -> bool {
        self.streams.get() < self.sender.current_max_send_streams()
    }
}

/// Moves the connection's frames until it ends; it ends by itself when nobody holds it and no stream is left.
async fn drive(driver: Driver<Transport, Bytes>, address: SocketAddr, ended: Rc<Cell<bool>>) {
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
