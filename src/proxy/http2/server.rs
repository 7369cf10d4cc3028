//! The caller's side over HTTP/2: streams are accepted, each is one request and its response.

use super::tasks::Work;
use super::{Incoming, Outgoing, SEND_BUFFER, Sending, io_error, refusal_code, reset_code};
use crate::context::Peer;
use crate::message::{Framing, Head, Known, request_framing};
use crate::proxy::access::{Counted, Entry};
use crate::proxy::body::{Body, Broken, carry};
use crate::proxy::error::Error;
use crate::proxy::exchange::{Caller, Request, Response, Upload, beside};
use crate::proxy::patience::{Hearer, Patience, Stall, Waits};
use crate::proxy::serve::{Listener, Service};
use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep, timeout};

/// The bytes every HTTP/2 connection begins with (RFC 9113 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a connection that was said goodbye to may take to end when it has no stream, and a body to arrive that an
/// endpoint has answered already.
const LINGER: Duration = Duration::from_secs(2);

/// How often a caller with open streams is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(30);

/// How long it may take to answer.
const PING_ANSWER: Duration = Duration::from_secs(20);

/// How many streams may be reset before they were looked at: a burst of calls that are given up at once is no attack.
const MOST_UNSEEN: usize = 200;

/// How soon after its beginning a stream must be reset to count as one that was never meant.
const PREMATURE: Duration = Duration::from_secs(1);

/// How many such streams, less those that were answered, end a connection.
const MOST_PREMATURE: u32 = 500;

/// How much memory small frames that wait to be read may take on a connection: a frame takes some 256 bytes beside its
/// content. It is enough for a dozen streams to fill their windows with messages of 15 bytes, so that those who stream
/// messages are made to wait as others are, and their connection does not end.
const SMALL_FRAMES: usize = 16 << 20;

/// Serves one connection until it ends; the caller's preface is what `io` gives first.
pub(crate) async fn serve_connection<T>(
    listener: Rc<Listener>,
    io: T,
    peer: Peer,
    hearer: Hearer,
    patience: Patience,
    opened: Instant,
) where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let service = listener.service();
    let limits = &service.limits;
    let settings = &service.http2;
    // One stream may use its whole window.
    let connection_window = settings.connection_window.max(settings.stream_window);
    let handshake = Builder::new()
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(connection_window)
        .data_frame_budget(SMALL_FRAMES)
        .header_table_size(settings.header_table)
        .max_frame_size(settings.max_frame)
        .max_header_list_size(settings.header_list(&limits.heads))
        .max_concurrent_streams(settings.max_streams)
        .max_pending_accept_reset_streams(MOST_UNSEEN)
        .max_concurrent_reset_streams(settings.max_streams as usize)
        .max_send_buffer_size(SEND_BUFFER)
        .handshake(io);
    let Ok(Ok(mut connection)) = timeout(limits.head, handshake).await else {
        return service.counters.unfinished_heads.increment();
    };
    let liveness = Liveness::new(connection.ping_pong());
    drop(service);
    let session = Session {
        listener,
        opened,
        peer: Rc::new(peer),
        connection,
        streams: Rc::default(),
        busy: false,
        hearer,
        patience,
        liveness,
        leaving: false,
    };
    session.run().await;
}

/// One connection with its streams.
struct Session<T> {
    listener: Rc<Listener>,
    /// When the connection was accepted.
    opened: Instant,
    peer: Rc<Peer>,
    connection: Connection<T, Bytes>,
    streams: Rc<Streams>,
    /// Whether there were streams when it was last looked.
    busy: bool,
    hearer: Hearer,
    patience: Patience,
    liveness: Liveness,
    /// Whether goodbye was said.
    leaving: bool,
}

/// The streams of a connection.
#[derive(Debug, Default)]
struct Streams {
    open: Cell<usize>,
    /// Those that were reset as soon as they began, less those that were answered.
    premature: Cell<u32>,
    /// Who is told when none is left, or too many were premature.
    session: RefCell<Option<Waker>>,
}

/// One stream that is open; its drop says that it is over.
struct Open {
    streams: Rc<Streams>,
    ended: Ended,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Answered,
    /// Its caller reset it as soon as it had begun it.
    Premature,
    Reset,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Session<T> {
    async fn run(mut self) {
        self.patience.begin(self.listener.service().limits.wait(self.opened));
        poll_fn(|cx| self.poll_run(cx)).await;
    }

    /// Takes what has happened; ready when the connection is over.
    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.leaving && self.hearer.poll_rung(cx).is_ready() {
            self.say_goodbye();
        }
        loop {
            if let Poll::Ready(accepted) = self.connection.poll_accept(cx) {
                match accepted {
                    Some(Ok((request, respond))) => self.begin(request, respond),
                    // It broke the protocol, and was told so.
                    Some(Err(error)) => {
                        tracing::debug!(%error, "a caller's connection over HTTP/2 ended");
                        return Poll::Ready(());
                    }
                    None => return Poll::Ready(()),
                }
                continue;
            }
            if self.streams.premature.get() >= MOST_PREMATURE {
                self.streams.premature.set(0);
                self.listener.service().counters.reset_floods.increment();
                self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                continue;
            }
            if self.streams.open.get() == 0 {
                return self.poll_idle(cx);
            }
            self.streams.tell(cx);
            return self.liveness.poll_gone(cx);
        }
    }

    /// Says goodbye to a caller that has begun no stream for too long, and gives it up when it does not hear.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.busy) {
            let limits = self.listener.service().limits;
            self.patience.begin(if self.leaving { LINGER } else { limits.wait(self.opened) });
        }
        ready!(self.patience.poll_over(cx));
        if self.leaving {
            return Poll::Ready(());
        }
        self.say_goodbye();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn begin(&mut self, request: http::Request<RecvStream>, respond: SendResponse<Bytes>) {
        let (service, peer) = (self.listener.service(), Rc::clone(&self.peer));
        let is_old = service.limits.life.is_some_and(|life| self.opened.elapsed() >= life);
        self.busy = true;
        let (tasks, open) = (service.streams.clone(), Open::new(&self.streams));
        tasks.spawn(Stream { service, peer, request, respond, open });
        if is_old && !self.leaving {
            self.say_goodbye();
        }
    }

    /// Takes no new streams; those that are there are finished (RFC 9113 6.8).
    fn say_goodbye(&mut self) {
        self.leaving = true;
        self.connection.graceful_shutdown();
        self.patience.begin(LINGER);
    }
}

impl Streams {
    /// Sees to it that the session's task is woken when it has to do something.
    fn tell(&self, cx: &Context<'_>) {
        let mut session = self.session.borrow_mut();
        if !session.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *session = Some(cx.waker().clone());
        }
    }
}

impl Open {
    fn new(streams: &Rc<Streams>) -> Self {
        streams.open.set(streams.open.get() + 1);
        Self { streams: Rc::clone(streams), ended: Ended::Reset }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a stream was given up: this is a defect of the router");
        }
        let Streams { open, premature, session } = &*self.streams;
        open.set(open.get() - 1);
        match self.ended {
            Ended::Answered => premature.set(premature.get().saturating_sub(1)),
            Ended::Premature => premature.set(premature.get() + 1),
            Ended::Reset => {}
        }
        if (open.get() == 0 || premature.get() >= MOST_PREMATURE)
            && let Some(session) = session.take()
        {
            session.wake();
        }
    }
}

/// Asks a caller with open streams whether it is there: one that is gone without a word would be served for ever.
struct Liveness {
    pings: Option<PingPong>,
    timer: Pin<Box<Sleep>>,
    asked: bool,
}

impl Liveness {
    fn new(pings: Option<PingPong>) -> Self {
        Self { pings, timer: Box::pin(sleep(PING_EVERY)), asked: false }
    }

    /// Whether the caller has not answered in time.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pings) = &mut self.pings else { return Poll::Pending };
        loop {
            if self.asked && pings.poll_pong(cx).is_ready() {
                self.asked = false;
                self.timer.as_mut().reset(Instant::now() + PING_EVERY);
            }
            ready!(self.timer.as_mut().poll(cx));
            // One that cannot be sent is as good as one that is not answered.
            if self.asked || pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Ready(());
            }
            self.asked = true;
            self.timer.as_mut().reset(Instant::now() + PING_ANSWER);
        }
    }
}

/// The way back to the caller of one stream.
#[derive(Debug)]
pub(crate) struct Reply {
    respond: RefCell<SendResponse<Bytes>>,
    /// Once the head of the response was sent.
    stream: RefCell<Option<Sending>>,
    /// The code with which the caller gave the stream up.
    given_up: Cell<Option<Reason>>,
}

impl Reply {
    fn new(respond: SendResponse<Bytes>) -> Rc<Self> {
        Rc::new(Self {
            respond: RefCell::new(respond),
            stream: RefCell::default(),
            given_up: Cell::default(),
        })
    }

    /// The code with which the caller gave the stream up.
    pub(crate) fn given_up(&self) -> Option<Reason> {
        self.given_up.get()
    }

    /// Sends an interim response.
    pub(crate) fn interim(&self, head: &Head) {
        if let Ok(head) = head.to_http2_response() {
            // A stream that is gone is noticed by who waits for it.
            let _ = self.respond.borrow_mut().send_informational(head);
        }
    }

    /// Sends the head of the response; `whole` if nothing follows it.
    fn begin(&self, head: &Head, whole: bool) -> io::Result<Sending> {
        let head = head.to_http2_response().map_err(io::Error::other)?;
        let stream = self.respond.borrow_mut().send_response(head, whole).map_err(io_error)?;
        let stream = Rc::new(RefCell::new(stream));
        *self.stream.borrow_mut() = Some(Rc::clone(&stream));
        Ok(stream)
    }

    fn reset(&self, reason: Reason) {
        match &*self.stream.borrow() {
            Some(stream) => stream.borrow_mut().send_reset(reason),
            None => self.respond.borrow_mut().send_reset(reason),
        }
    }

    /// Notices that the caller gave the stream up.
    fn poll_given_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &*self.stream.borrow() {
            Some(stream) => stream.borrow_mut().poll_reset(cx),
            None => self.respond.borrow_mut().poll_reset(cx),
        };
        self.given_up.set(Some(ready!(reset).unwrap_or(Reason::CANCEL)));
        Poll::Ready(())
    }
}

/// A stream that was begun, for the task that serves it.
pub(crate) struct Stream {
    service: Rc<Service>,
    peer: Rc<Peer>,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
    open: Open,
}

impl Work for Stream {
    async fn run(self) {
        let Self { service, peer, request, respond, mut open } = self;
        open.ended = serve_stream(service, peer, request, respond).await;
    }
}

/// Serves one stream.
async fn serve_stream(
    service: Rc<Service>,
    peer: Rc<Peer>,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
) -> Ended {
    let began = Instant::now();
    let reply = Reply::new(respond);
    let waits = Rc::<Waits>::default();
    // Made when the caller is awaited for the first time: most streams never wait for it.
    let mut stall = None;
    let mut work = pin!(exchange(&service, &peer, request, &reply, &waits, began));
    poll_fn(|cx| {
        // Before the work, which would see only that a body has broken off.
        if reply.poll_given_up(cx).is_ready() {
            let premature = reply.stream.borrow().is_none() && began.elapsed() < PREMATURE;
            return Poll::Ready(if premature { Ended::Premature } else { Ended::Reset });
        }
        if work.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ended::Answered);
        }
        if stall.is_some() || waits.for_peer() {
            let (stall, patience) = stall.get_or_insert_with(|| Stall::now(service.limits.stalled));
            if stall.poll_stalled(&waits, patience, cx).is_ready() {
                reply.reset(Reason::CANCEL);
                return Poll::Ready(Ended::Reset);
            }
        }
        Poll::Pending
    })
    .await
}

/// Carries one request and its response.
async fn exchange(
    service: &Service,
    peer: &Peer,
    request: http::Request<RecvStream>,
    reply: &Rc<Reply>,
    waits: &Rc<Waits>,
    began: Instant,
) {
    let (mut request, judged) = take(service, peer, request, reply, waits);
    let served = match judged {
        Ok(()) => service.serve(peer, &mut request).await,
        Err(error) => Err(error),
    };
    let response = match served {
        Ok(response) => response,
        // The caller broke its own request off.
        Err(Error::RequestBody(_)) => return reply.reset(Reason::PROTOCOL_ERROR),
        Err(error) => {
            service.count_error(&error);
            request.note(|entry| entry.failed(&error));
            if let Error::Reset { source, unsent: false, .. } = &error
                && let Some(reason) = refusal_code(source)
            {
                return reply.reset(reason);
            }
            service.error_response(peer, &error, Some(&request))
        }
    };
    service.counters.answered(response.head.status(), began);
    deliver(response, reply, waits, request.entry.take()).await;
}

/// Makes of what the stream brought a request, and judges it.
fn take(
    service: &Service,
    peer: &Peer,
    request: http::Request<RecvStream>,
    reply: &Rc<Reply>,
    waits: &Rc<Waits>,
) -> (Request, Result<(), Error>) {
    let (parts, body) = request.into_parts();
    let entry = service.access.as_ref().map(|log| log.begin_http2(&parts, peer));
    let mut head = service.heads.lend();
    let whole = body.is_end_stream();
    let framing = judge(&mut head, &parts, whole, service);
    // A body without a length may be a stream of messages, silent as long as it likes.
    let waits = matches!(framing, Ok(Framing::Length(_))).then(|| Rc::clone(waits));
    let value = |name| parts.headers.get(name).map(http::HeaderValue::as_bytes);
    let request = Request {
        head,
        framing: *framing.as_ref().unwrap_or(&Framing::None),
        body: if whole { Body::Empty } else { Body::Http2(Incoming::new(body, waits)) },
        caller: Caller::Http2(Rc::clone(reply)),
        takes_interim: true,
        takes_trailers: value(http::header::TE) == Some(b"trailers"),
        grpc: value(http::header::CONTENT_TYPE).is_some_and(is_grpc),
        unbound: None,
        upgrade: None,
        entry,
    };
    (request, framing.map(drop))
}

/// Checks a head and puts it into the form in which it is routed.
fn judge(
    head: &mut Head,
    parts: &http::request::Parts,
    whole: bool,
    service: &Service,
) -> Result<Framing, Error> {
    if parts.method == http::Method::CONNECT {
        return Err(Error::Connect);
    }
    head.take_http2_request(parts, &service.limits.heads)?;
    match request_framing(head)? {
        Framing::Length(length) => {
            head.set_content_length(length);
            Ok(Framing::Length(length))
        }
        _ if whole => Ok(Framing::None),
        _ => Ok(Framing::Chunked),
    }
}

/// Whether a content type is gRPC's own: `application/grpc`, alone or with a format or parameters behind it.
fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Writes a response and the body behind it.
async fn deliver(
    mut response: Response,
    reply: &Rc<Reply>,
    waits: &Rc<Waits>,
    mut entry: Option<Box<Entry>>,
) {
    settle_length(&mut response);
    if let Some(entry) = &mut entry {
        entry.answered(&response.head);
    }
    let whole = response.body.is_done();
    let Ok(stream) = reply.begin(&response.head, whole) else {
        return reply.reset(Reason::INTERNAL_ERROR);
    };
    if !whole {
        let outgoing = Outgoing::new(stream, Some(Rc::clone(waits)));
        let mut counted = Counted::new(outgoing, entry.as_deref());
        let carrying = pin!(carry(&mut response.body, &mut counted));
        match beside(&mut response.upload, carrying).await {
            Ok(Ok(())) => {}
            Ok(Err(Broken::Source(error))) => {
                return reply.reset(reset_code(&error).unwrap_or(Reason::INTERNAL_ERROR));
            }
            Ok(Err(Broken::Sink(_))) => return,
            Err(_) => return reply.reset(Reason::CANCEL),
        }
    }
    if let Some(entry) = entry {
        entry.complete();
    }
    if matches!(response.upload, Upload::Going(_)) {
        // The endpoint has answered, and may read on to the end.
        let _ = timeout(LINGER, response.upload.end()).await;
    }
    response.finish();
}

/// Leaves `Content-Length` only where it says what the frames will: one length, none on a 204 (RFC 9110 8.6).
fn settle_length(response: &mut Response) {
    match response.framing {
        Framing::Length(length) if response.head.contains(Known::ContentLength) => {
            response.head.set_content_length(length);
        }
        Framing::Length(_) => {}
        Framing::None if response.head.status() != 204 => {}
        _ => _ = response.head.remove(Known::ContentLength),
    }
}
