//! The HTTP/2 connections of one worker to one endpoint, each of which carries many exchanges at once.

use super::connect::{ConnectTarget, connect};
use super::pings::{DOUBTED_AFTER, EndpointPings, LostEndpoint};
use super::settings::ClientSettings;
use crate::proxy::error::Error;
use crate::proxy::exchange::{OpenExchanges, StreamSlot, WaitQueue};
use crate::proxy::limits::PeerAddress;
use crate::proxy::wire::http2::{SEND_BUFFER, io_error};
use crate::proxy::wire::transport::Transport;
use bytes::Bytes;
use h2::SendStream;
use h2::client::{Builder, Connection as Driver, ResponseFuture, SendRequest};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// How many streams a connection may have until its endpoint has sent its limit: the least that RFC 9113 6.5.2
/// recommends.
const INITIAL_STREAMS: usize = 100;

/// How many bytes of all bodies an endpoint may send on one connection before some are passed on: the largest window
/// that the protocol has.
///
/// Each stream has a window of its own. A bound on all of them would let callers that do not read stop the others.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// How many streams that were reset here a connection remembers for a second: frames that the endpoint had sent on them
/// before it knew of the reset are not a fault of the endpoint.
const MOST_RESET: usize = 10_000;

/// How many heads may wait on a connection until they are written: 128. A head that waits there takes more memory than
/// its request, and a crowd of requests begins before the connection has its turn.
const MOST_UNWRITTEN: usize = 128;

/// How often the next request looks for room by itself: endpoints raise their limits without a word.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// A worker's connections to one endpoint.
#[derive(Debug)]
pub(crate) struct Http2Pool {
    open: RefCell<Vec<Rc<Http2Connection>>>,
    /// The connection that is being opened: one, however many requests wait for it.
    opening: RefCell<Option<Rc<Opening>>>,
    /// The requests that wait because all connections are full.
    ///
    /// They do not wait in the queue of h2, because it sends requests even if they were given up meanwhile.
    queue: Rc<WaitQueue>,
    /// The time before which connections were opened that take no more streams.
    left: Cell<Option<Instant>>,
}

/// The room for one more stream.
enum StreamRoom {
    /// On a connection that is open.
    Open(Rc<Http2Connection>),
    /// On a connection that is to be opened.
    New,
}

/// A connection that is being opened, or the error of it.
type Opening = OnceCell<Result<Rc<Http2Connection>, Error>>;

/// How many times its bound a field list may measure until h2 ends the connection with all of its streams. A list
/// beyond the bound, but not beyond this, fails its own stream only.
const FIELD_LIST_FACTOR: u32 = 4;

/// One connection, which carries many exchanges at once.
pub(crate) struct Http2Connection {
    sender: SendRequest<Bytes>,
    opened: Instant,
    /// Whether an exchange was begun on it before.
    used: Cell<bool>,
    /// The pings that find out whether the endpoint is still there.
    pings: Rc<EndpointPings>,
    /// How many exchanges are under way.
    streams: Rc<Cell<usize>>,
    /// Whether the connection takes no more exchanges.
    ended: Rc<Cell<bool>>,
    /// The time when a sweep first saw it without streams.
    idle_since: Cell<Option<Instant>>,
    /// The requests that look for room when a stream ends.
    queue: Rc<WaitQueue>,
    /// A permit for each head that may still wait to be written.
    unwritten: Rc<Semaphore>,
}

impl Http2Pool {
    /// Makes a pool whose requests wait in this queue.
    pub(crate) fn new(queue: &Rc<WaitQueue>) -> Self {
        Self {
            open: RefCell::default(),
            opening: RefCell::default(),
            queue: Rc::clone(queue),
            left: Cell::default(),
        }
    }

    /// Returns a connection with room for one more stream of this peer, open already or new. While there is none, the
    /// request waits, and one of `exchanges` that is silent may end.
    pub(crate) async fn connection(
        &self,
        target: ConnectTarget<'_>,
        peer: PeerAddress,
        exchanges: &OpenExchanges,
    ) -> Result<Rc<Http2Connection>, Error> {
        if self.queue.is_empty()
            && let Some(StreamRoom::Open(connection)) = self.room(target.settings)
        {
            return Ok(connection);
        }
        // Boxed, so that requests that need not wait do not pay for its size.
        Box::pin(self.await_connection(target, peer, exchanges)).await
    }

    async fn await_connection(
        &self,
        target: ConnectTarget<'_>,
        peer: PeerAddress,
        exchanges: &OpenExchanges,
    ) -> Result<Rc<Http2Connection>, Error> {
        let mut until = None;
        loop {
            let at_once = if self.queue.is_empty() { self.room(target.settings) } else { None };
            let room = match at_once {
                Some(room) => room,
                None => {
                    let (address, wait) = (target.address, target.settings.stream_wait);
                    let until = *until.get_or_insert_with(|| Instant::now() + wait);
                    let _waiter = target.waiters.begin(address, target.settings.max_waiters)?;
                    let take = |_: &Context<'_>| {
                        let room = self.room(target.settings);
                        if room.is_none() {
                            exchanges.reset_silent();
                        }
                        room
                    };
                    let room = self.queue.wait(peer, until, CHECK_EVERY, take).await;
                    room.ok_or(Error::EndpointBusy { address, wait })?
                }
            };
            if let StreamRoom::Open(connection) = room {
                return Ok(connection);
            }
            let opening = Rc::clone(self.opening.borrow_mut().get_or_insert_default());
            let opened = opening.get_or_init(|| Http2Connection::open(target, &self.queue)).await;
            let first = self.opening.borrow_mut().take_if(|current| Rc::ptr_eq(current, &opening)).is_some();
            let connection = opened.as_ref().map_err(copy_error)?;
            // The first request that waited takes the new connection; the others take the room that is left on it.
            if first {
                self.open.borrow_mut().push(Rc::clone(connection));
                return Ok(Rc::clone(connection));
            }
        }
    }

    /// Returns how many more streams there may be, on connections that are open and those that may be opened.
    pub(crate) fn free_streams(&self, settings: &ClientSettings) -> usize {
        let open = self.open.borrow();
        let live = || open.iter().filter(|connection| !connection.ended.get());
        let free = |connection: &Rc<Http2Connection>| {
            connection.most_streams().saturating_sub(connection.streams.get())
        };
        // A connection that is opened takes as many as the others, as far as can be known.
        let each = live().map(|connection| connection.most_streams()).max().unwrap_or(INITIAL_STREAMS);
        let unopened = settings.max_http2_connections.saturating_sub(live().count());
        live().map(free).fold(unopened.saturating_mul(each), usize::saturating_add)
    }

    /// Returns the room for one more stream, if there is any.
    fn room(&self, settings: &ClientSettings) -> Option<StreamRoom> {
        match self.least_busy(settings) {
            Some(least) if least.has_room() => Some(StreamRoom::Open(least)),
            Some(_) if self.open.borrow().len() >= settings.max_http2_connections => None,
            _ => Some(StreamRoom::New),
        }
    }

    /// Returns the connection with the fewest streams, of those that take more.
    fn least_busy(&self, settings: &ClientSettings) -> Option<Rc<Http2Connection>> {
        let mut open = self.open.borrow_mut();
        if let Some(life) = settings.connection_life {
            // Its streams go on; then it ends.
            open.retain(|connection| connection.opened.elapsed() < life);
        }
        if let Some(left) = self.left.get() {
            open.retain(|connection| connection.opened > left);
        }
        loop {
            open.retain(|connection| !connection.ended.get());
            let least = open.iter().min_by_key(|connection| connection.streams.get())?;
            if least.takes_more() {
                return Some(Rc::clone(least));
            }
            least.ended.set(true);
        }
    }

    /// Gives up all connections: their streams go on; then they end.
    pub(crate) fn leave(&self) {
        self.left.set(Some(Instant::now()));
        self.open.borrow_mut().clear();
    }

    /// Closes the connections that were without a stream for too long.
    pub(crate) fn sweep(&self, now: Instant, settings: &ClientSettings) {
        self.open.borrow_mut().retain(|connection| {
            if connection.streams.get() > 0 {
                connection.idle_since.set(None);
                return !connection.ended.get();
            }
            let since = connection.idle_since.get().unwrap_or(now);
            connection.idle_since.set(Some(since));
            !connection.ended.get() && now.saturating_duration_since(since) < settings.idle_timeout
        });
    }
}

impl Http2Connection {
    async fn open(target: ConnectTarget<'_>, queue: &Rc<WaitQueue>) -> Result<Rc<Self>, Error> {
        let ConnectTarget { address, settings, .. } = target;
        let (http2, opened) = (&settings.http2, Instant::now());
        let stream = connect(target).await?;
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(http2.stream_window)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .header_table_size(http2.header_table)
            .max_frame_size(http2.max_frame)
            .max_header_list_size(http2.header_list(&settings.heads).saturating_mul(FIELD_LIST_FACTOR))
            .max_send_buffer_size(SEND_BUFFER)
            .initial_max_send_streams(INITIAL_STREAMS)
            .max_concurrent_reset_streams(MOST_RESET)
            // By default, the faults of single streams are counted over the connection's life and end it with all
            // streams.
            .max_local_error_reset_streams(None);
        let (sender, mut driver) = builder
            .handshake(stream)
            .await
            .map_err(|error| Error::Connecting { address, source: io_error(error) })?;
        let (ended, unwritten) = (Rc::new(Cell::new(false)), Rc::new(Semaphore::new(MOST_UNWRITTEN)));
        let pings = EndpointPings::new(driver.ping_pong(), &ended);
        tokio::task::spawn_local(drive(driver, address, Rc::clone(&ended), Rc::clone(&unwritten)));
        let queue = Rc::clone(queue);
        Ok(Rc::new(Self {
            sender,
            opened,
            used: Cell::new(false),
            pings,
            streams: Rc::default(),
            ended,
            idle_since: Cell::new(None),
            queue,
            unwritten,
        }))
    }

    /// Waits until one more head may wait to be written; `None` when the connection has ended.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        match self.unwritten.try_acquire() {
            Ok(permit) => Some(permit),
            // Boxed, so that requests that need not wait do not pay for its size.
            Err(_) => Box::pin(self.unwritten.acquire()).await.ok(),
        }
    }

    /// Takes the place of one more stream. Returns also whether the connection had carried an exchange before, and carries
    /// none now.
    pub(crate) fn reserve(&self) -> (StreamSlot, bool) {
        let is_first_after_idle = self.used.replace(true) && self.streams.get() == 0;
        self.idle_since.set(None);
        (StreamSlot::take(&self.streams, &self.queue), is_first_after_idle)
    }

    /// Begins a stream in a place that was taken, with the head of a request whose turn it is. `whole` says that no body
    /// follows.
    pub(crate) fn begin(
        &self,
        request: http::Request<()>,
        whole: bool,
        turn: Option<SemaphorePermit<'_>>,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let begun = self.sender.clone().send_request(request, whole)?;
        if let Some(turn) = turn {
            // It comes back with those of the other heads that are written together.
            turn.forget();
        }
        Ok(begun)
    }

    /// Pings the endpoint if the connection was idle for long until `now`, when a request is to be sent on it. Returns
    /// whether it is in doubt that the endpoint is there.
    pub(crate) fn is_doubted(&self, now: Instant) -> bool {
        if let Some(since) = self.idle_since.get()
            && now.saturating_duration_since(since) >= DOUBTED_AFTER
        {
            self.idle_since.set(None);
            self.pings.check();
        }
        self.pings.is_awaited()
    }

    /// Returns the pings of the connection.
    pub(crate) fn pings(&self) -> &Rc<EndpointPings> {
        &self.pings
    }

    /// Returns whether the endpoint takes an extended CONNECT. It is asked for its settings first, if they have not come.
    ///
    /// # Errors
    ///
    /// The endpoint does not answer.
    pub(crate) async fn takes_extended_connect(&self) -> Result<bool, LostEndpoint> {
        if !self.sender.is_extended_connect_protocol_enabled() {
            self.pings.greeting().await?;
        }
        Ok(self.sender.is_extended_connect_protocol_enabled())
    }

    /// Returns whether the connection still takes streams: it is open, and the endpoint has not sent a GOAWAY.
    fn takes_more(&self) -> bool {
        // A sender without a stream of its own never waits.
        let ready = self.sender.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        !matches!(ready, Poll::Ready(Err(_)))
    }

    /// Returns whether the endpoint allows one more stream on the connection.
    fn has_room(&self) -> bool {
        self.streams.get() < self.most_streams()
    }

    /// Returns how many streams the endpoint allows on the connection.
    fn most_streams(&self) -> usize {
        self.sender.current_max_send_streams()
    }
}

impl fmt::Debug for Http2Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Connection")
            .field("opened", &self.opened)
            .field("streams", &self.streams)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// Drives the connection until it ends. It ends by itself when it is in no pool and no stream is left.
///
/// Each of its turns writes the heads that wait.
async fn drive(
    mut driver: Driver<Transport, Bytes>,
    address: SocketAddr,
    ended: Rc<Cell<bool>>,
    unwritten: Rc<Semaphore>,
) {
    let driven = poll_fn(|cx| {
        let polled = Pin::new(&mut driver).poll(cx);
        let left = unwritten.available_permits();
        if left < MOST_UNWRITTEN / 2 {
            unwritten.add_permits(MOST_UNWRITTEN - left);
        }
        polled
    });
    if let Err(error) = driven.await {
        tracing::debug!(%address, %error, "an HTTP/2 connection to an endpoint ended with an error");
    }
    ended.set(true);
    unwritten.close();
}

/// Copies the error of a connection for each request that waited for it.
fn copy_error(error: &Error) -> Error {
    match error {
        Error::Connecting { address, source } => {
            Error::Connecting { address: *address, source: io::Error::new(source.kind(), source.to_string()) }
        }
        Error::ConnectTimeout { address, timeout } => {
            Error::ConnectTimeout { address: *address, timeout: *timeout }
        }
        Error::OwnSocket { address } => Error::OwnSocket { address: *address },
        other => Error::Naming(other.to_string()),
    }
}
