//! The caller's side over HTTP/2: accepts the streams of a connection and gives each to a task.

use super::listener::ConnectionContext;
use super::open_streams::{OpenStream, OpenStreams};
use super::stream::Stream;
use super::tunnel::TunnelPlace as _;
use crate::context::Peer;
use crate::proxy::wire::frame_meter::{FrameCounts, MeteredTransport};
use crate::proxy::wire::http2::{LINGER, SEND_BUFFER};
use crate::proxy::wire::transport::RewoundTransport;
use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep, timeout};

/// The bytes with which every HTTP/2 connection begins (RFC 9113 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How often a caller with open streams is pinged.
const PING_EVERY: Duration = Duration::from_secs(30);

/// How long a caller may take to answer a ping.
const PING_ANSWER: Duration = Duration::from_secs(20);

/// How many streams may be reset before they are accepted: a burst of calls that the caller cancels at once is no
/// attack.
const MOST_UNSEEN: usize = 200;

/// How many bytes the small frames that wait to be read may take on the connection of a trusted caller; a frame takes about 256
/// bytes beside its content. It is enough for a dozen streams to fill their windows with messages of 15 bytes: callers that
/// stream messages are then slowed down by their windows, as others are, and their connection does not end.
const SMALL_FRAMES: usize = 16 << 20;

/// The same for other callers: enough for four streams, which fill the window of such a connection.
const SMALL_FRAMES_OF_STRANGERS: usize = 5 << 20;

/// Serves one connection until it ends. Its first bytes are the caller's preface.
pub(crate) async fn serve_connection(mut context: ConnectionContext, transport: RewoundTransport) {
    let service = context.listener.service();
    let limits = &service.limits;
    let settings = context.listener.http2();
    let is_trusted = service.policy.grant(&context.peer).is_trusted();
    let max_streams = settings.streams(is_trusted);
    let transport = MeteredTransport::new(transport, PREFACE.len());
    let frames = transport.counts();
    let small_frames = if is_trusted { SMALL_FRAMES } else { SMALL_FRAMES_OF_STRANGERS };
    let handshake = Builder::new()
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window(is_trusted))
        .data_frame_budget(small_frames)
        .header_table_size(settings.header_table)
        .max_frame_size(settings.max_frame)
        .max_header_list_size(settings.header_list(&limits.heads))
        .max_concurrent_streams(max_streams)
        .max_pending_accept_reset_streams(MOST_UNSEEN)
        .max_concurrent_reset_streams(max_streams as usize)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol()
        .handshake(transport);
    let due = limits.head.saturating_sub(context.place.opened().elapsed());
    let Ok(Ok(mut connection)) = timeout(due, handshake).await else {
        return service.counters.unfinished_heads.increment();
    };
    let liveness = Liveness::new(connection.ping_pong());
    context.timer.begin(limits.head.saturating_sub(context.place.opened().elapsed()));
    drop(service);
    let session = Http2Session {
        peer: Rc::new(context.peer.clone()),
        context,
        connection,
        frames,
        is_greeted: false,
        streams: Rc::default(),
        busy: false,
        liveness,
        goodbye: None,
        is_silent: false,
        is_evicted: false,
        is_flooded: false,
    };
    session.run().await;
}

/// One connection with its streams.
struct Http2Session {
    /// Before the context, so that the socket is closed when the place of the connection is given back.
    connection: Connection<MeteredTransport, Bytes>,
    context: ConnectionContext,
    peer: Rc<Peer>,
    frames: Rc<FrameCounts>,
    /// Whether the caller's first SETTINGS has come: the time for it is that of a head.
    is_greeted: bool,
    streams: Rc<OpenStreams>,
    /// Whether streams were open since the idle timer was last set.
    busy: bool,
    liveness: Liveness,
    /// When the caller was told that no new streams are taken.
    goodbye: Option<Instant>,
    /// Whether the streams are silent, as the listener's table knows.
    is_silent: bool,
    /// Whether the connection ends to make room for another.
    is_evicted: bool,
    /// Whether the connection ends because the caller sent too many frames that make work.
    is_flooded: bool,
}

impl Http2Session {
    async fn run(mut self) {
        poll_fn(|cx| self.poll_run(cx)).await;
    }

    /// Handles all events of the connection; ready when the connection is over.
    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.goodbye.is_none() && self.context.shutdown.poll_received(cx).is_ready() {
            self.say_goodbye();
        }
        self.frames.begin_turn();
        loop {
            if let Poll::Ready(accepted) = self.connection.poll_accept(cx) {
                match accepted {
                    Some(Ok((request, respond))) => self.begin(request, respond),
                    // The caller broke the protocol, and h2 has told it so.
                    Some(Err(error)) => {
                        tracing::debug!(%error, "an HTTP/2 connection of a caller ended with an error");
                        return Poll::Ready(());
                    }
                    None => return Poll::Ready(()),
                }
                continue;
            }
            if self.streams.take_flood() {
                self.context.listener.service().counters.reset_floods.increment();
                self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            if self.frames.is_flood() && !std::mem::replace(&mut self.is_flooded, true) {
                self.context.listener.service().counters.frame_floods.increment();
                self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            if self.streams.is_empty() {
                return self.poll_idle(cx);
            }
            self.streams.register(cx);
            if self.poll_silent_end(cx).is_ready() {
                continue;
            }
            return self.liveness.poll_peer_lost(cx);
        }
    }

    /// Says goodbye to a caller that has had no stream for too long, and ends the connection when the caller does not
    /// close it within [`LINGER`]. A connection that has to make room for another ends as soon as its GOAWAY is written.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.busy) {
            self.context.await_request();
            if self.goodbye.is_some() {
                self.context.timer.begin(LINGER);
            }
        }
        if !self.is_evicted && self.context.place.poll_evicted(cx).is_ready() {
            self.is_evicted = true;
            self.goodbye.get_or_insert_with(Instant::now);
            self.connection.abrupt_shutdown(Reason::NO_ERROR);
            self.context.timer.begin(LINGER);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.frames.has_settings()
            && !std::mem::replace(&mut self.is_greeted, true)
            && self.goodbye.is_none()
        {
            self.context.await_request();
        }
        ready!(self.context.timer.poll_elapsed(cx));
        if !self.is_greeted {
            self.context.listener.service().counters.unfinished_heads.increment();
            return Poll::Ready(());
        }
        if self.goodbye.is_some() {
            return Poll::Ready(());
        }
        self.say_goodbye();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ends a connection that has to make room for another while all of its streams are silent.
    fn poll_silent_end(&mut self, cx: &Context<'_>) -> Poll<()> {
        let is_silent = self.streams.are_silent();
        if std::mem::replace(&mut self.is_silent, is_silent) != is_silent {
            self.context.place.note_silence(is_silent);
        }
        if !is_silent || self.is_evicted {
            return Poll::Pending;
        }
        ready!(self.context.place.poll_evicted(cx));
        self.is_evicted = true;
        self.goodbye.get_or_insert_with(Instant::now);
        self.connection.abrupt_shutdown(Reason::NO_ERROR);
        Poll::Ready(())
    }

    fn begin(&mut self, request: http::Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        // A caller that does not heed the goodbye could keep the connection for ever.
        if self.goodbye.is_some_and(|said| said.elapsed() >= LINGER) {
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        let listener = &self.context.listener;
        let service = listener.service();
        if self.context.requests.has_reached(service.limits.peer_requests)
            && !service.policy.grant(&self.peer).is_trusted()
        {
            service.counters.refused_streams.increment();
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        let is_old = service.limits.life.is_some_and(|life| self.context.place.opened().elapsed() >= life);
        // A connection that was told to make room when this stream came ends when its streams are over.
        let is_last = !std::mem::replace(&mut self.busy, true) && !self.context.place.begin_work();
        listener.streams().spawn(Stream {
            service,
            access: listener.access(),
            peer: Rc::clone(&self.peer),
            request,
            respond,
            open: OpenStream::new(&self.streams),
            counted: self.context.requests.begin(),
        });
        if (is_old || is_last) && self.goodbye.is_none() {
            self.say_goodbye();
        }
    }

    /// Tells the caller that no new streams are taken. Open streams are finished (RFC 9113 6.8), as are those that come
    /// within [`LINGER`]: their caller may not have read it.
    fn say_goodbye(&mut self) {
        self.goodbye = Some(Instant::now());
        self.connection.graceful_shutdown();
        self.context.timer.begin(LINGER);
    }
}

/// Pings a caller with open streams. Without pings, a caller that is lost without closing its connection would be
/// served for ever.
struct Liveness {
    pings: Option<PingPong>,
    timer: Pin<Box<Sleep>>,
    awaits_pong: bool,
}

impl Liveness {
    fn new(pings: Option<PingPong>) -> Self {
        Self { pings, timer: Box::pin(sleep(PING_EVERY)), awaits_pong: false }
    }

    /// Becomes ready when the caller has not answered a ping in time.
    fn poll_peer_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pings) = &mut self.pings else { return Poll::Pending };
        loop {
            if self.awaits_pong && pings.poll_pong(cx).is_ready() {
                self.awaits_pong = false;
                self.timer.as_mut().reset(Instant::now() + PING_EVERY);
            }
            ready!(self.timer.as_mut().poll(cx));
            // A ping that cannot be sent counts as one that is not answered.
            if self.awaits_pong || pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Ready(());
            }
            self.awaits_pong = true;
            self.timer.as_mut().reset(Instant::now() + PING_ANSWER);
        }
    }
}
