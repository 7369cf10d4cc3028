//! HTTP/2 on the wire: bodies on streams, the errors of streams, and the response to a caller's stream.
//!
//! The `h2` crate has the protocol itself: frames, field compression, the states of streams, the windows. This module
//! passes three things from one side to the other: the windows, so that a slow reader slows the sender; the code of a
//! reset; the end of a connection.
//!
//! Bytes that came over HTTP/2 are not copied. Those of HTTP/1 are copied once towards HTTP/2, where they are kept until
//! the peer's window opens.

use super::sink::{BodyPart, Http2Data, Sink, Trailers};
use super::timer::PeerProgress;
use super::trailer_filter::TrailerFilter;
use crate::message::{Head, strip_trailers, trailer_fields};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

/// How many bytes of one stream may wait to be written, beside the bound of the peer's window.
pub(crate) const SEND_BUFFER: usize = 32 * 1024;

/// How long a connection without streams may take to end after its GOAWAY; and how long the rest of a request's body may
/// take to arrive when the endpoint has answered already.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// The sending half of a stream, shared by the writer of the body and the part that may have to reset the stream.
pub(crate) type SharedSendStream = Rc<RefCell<SendStream<Bytes>>>;

/// Returns the error of a stream in the form that other sources of bytes have.
pub(crate) fn io_error(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
    }
    io::Error::other(error)
}

/// Returns the code with which the peer reset the stream, if it did.
pub(crate) fn reset_code(error: &io::Error) -> Option<Reason> {
    let error = error.get_ref()?.downcast_ref::<h2::Error>()?;
    if error.is_remote() && error.is_reset() { error.reason() } else { None }
}

/// Returns the code with which the peer ended a stream that it has not answered.
///
/// A peer that went away before it looked at the stream has refused it: the request may be sent again (RFC 9113 8.7).
pub(crate) fn refusal_code(error: &io::Error) -> Option<Reason> {
    let went_away = |error: &h2::Error| error.is_remote() && error.is_go_away();
    match error.get_ref()?.downcast_ref::<h2::Error>() {
        Some(error) if went_away(error) => Some(Reason::REFUSED_STREAM),
        _ => reset_code(error),
    }
}

/// The sender of the response to a caller's stream.
pub(crate) struct ResponseSender {
    respond: RefCell<SendResponse<Bytes>>,
    /// The stream of the body, once the head of the response was sent.
    stream: RefCell<Option<SharedSendStream>>,
    /// The code with which the caller gave the stream up.
    given_up: Cell<Option<Reason>>,
    /// The bytes that the caller sends in a tunnel, until that stands.
    tunnel_input: Cell<Option<Box<RecvStream>>>,
}

impl fmt::Debug for ResponseSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseSender")
            .field("stream", &self.stream)
            .field("given_up", &self.given_up)
            .finish_non_exhaustive()
    }
}

impl ResponseSender {
    pub(crate) fn new(respond: SendResponse<Bytes>) -> Rc<Self> {
        Rc::new(Self {
            respond: RefCell::new(respond),
            stream: RefCell::default(),
            given_up: Cell::default(),
            tunnel_input: Cell::default(),
        })
    }

    /// Keeps the bytes that the caller sends for a tunnel.
    pub(crate) fn keep_tunnel_input(&self, stream: RecvStream) {
        self.tunnel_input.set(Some(Box::new(stream)));
    }

    /// Takes what was kept for the tunnel, which stands now.
    pub(crate) fn take_tunnel_input(&self) -> Option<RecvStream> {
        self.tunnel_input.take().map(|stream| *stream)
    }

    /// Returns the code with which the caller gave the stream up, if it did.
    pub(crate) fn given_up(&self) -> Option<Reason> {
        self.given_up.get()
    }

    /// Returns whether the head of the response was sent.
    pub(crate) fn is_begun(&self) -> bool {
        self.stream.borrow().is_some()
    }

    /// Sends an interim response.
    pub(crate) fn interim(&self, head: &Head) {
        if let Ok(head) = head.to_http2_response() {
            // A stream that is gone is noticed where its response is written.
            let _ = self.respond.borrow_mut().send_informational(head);
        }
    }

    /// Sends the head of the response; `whole` if nothing follows it.
    pub(crate) fn begin(&self, head: &Head, whole: bool) -> io::Result<SharedSendStream> {
        let head = head.to_http2_response().map_err(io::Error::other)?;
        let stream = self.respond.borrow_mut().send_response(head, whole).map_err(io_error)?;
        let stream = Rc::new(RefCell::new(stream));
        *self.stream.borrow_mut() = Some(Rc::clone(&stream));
        Ok(stream)
    }

    /// Ends a stream whose body has begun with trailers. It is reset when that is not possible any more.
    pub(crate) fn end_with(&self, trailers: HeaderMap) {
        let sent = match &*self.stream.borrow() {
            Some(stream) => stream.borrow_mut().send_trailers(trailers).is_ok(),
            None => false,
        };
        if !sent {
            self.reset(Reason::INTERNAL_ERROR);
        }
    }

    /// Resets the stream.
    pub(crate) fn reset(&self, reason: Reason) {
        match &*self.stream.borrow() {
            Some(stream) => stream.borrow_mut().send_reset(reason),
            None => self.respond.borrow_mut().send_reset(reason),
        }
    }

    /// Is ready when the caller has given the stream up; [`Self::given_up`] returns the code from then on.
    pub(crate) fn poll_given_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &*self.stream.borrow() {
            Some(stream) => stream.borrow_mut().poll_reset(cx),
            None => self.respond.borrow_mut().poll_reset(cx),
        };
        self.given_up.set(Some(ready!(reset).unwrap_or(Reason::CANCEL)));
        Poll::Ready(())
    }
}

/// A body that is being read.
#[derive(Debug)]
pub(crate) struct Http2Reader {
    stream: RecvStream,
    /// They are boxed: few bodies have any, and every request and response is moved with the size of this.
    trailers: Option<Box<HeaderMap>>,
    ended: bool,
    /// The progress of the peer, unless it may be awaited for ever.
    progress: Option<Rc<PeerProgress>>,
    /// The filter that the trailers pass, if any.
    filter: Option<Rc<TrailerFilter>>,
}

impl Http2Reader {
    pub(crate) fn new(stream: RecvStream, progress: Option<Rc<PeerProgress>>) -> Self {
        Self { stream, trailers: None, ended: false, progress, filter: None }
    }

    /// Returns whether all of it was read.
    pub(crate) fn is_done(&self) -> bool {
        self.ended || self.stream.is_end_stream()
    }

    /// Has the trailers filtered, if any follow.
    pub(super) fn filter_trailers(&mut self, filter: &Rc<TrailerFilter>) {
        self.filter = Some(Rc::clone(filter));
    }

    /// Returns the trailers that may pass, once the body is over.
    pub(crate) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_deref().filter(|trailers| !trailers.is_empty())
    }

    /// Returns the next part; `None` when the body is over.
    ///
    /// # Errors
    ///
    /// The stream was reset, or its connection ended.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Http2Data>> {
        poll_fn(|cx| {
            let next = self.poll_next(cx);
            if let Some(progress) = &self.progress {
                progress.for_bytes.set(next.is_pending());
            }
            next
        })
        .await
    }

    /// Returns the next part if it has come already.
    pub(crate) fn next_at_hand(&mut self) -> io::Result<Option<Http2Data>> {
        match self.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(next) => next,
            Poll::Pending => Ok(None),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Http2Data>>> {
        while !self.ended {
            match ready!(self.stream.poll_data(cx)).transpose().map_err(io_error)? {
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => {
                    if let Some(progress) = &self.progress {
                        progress.add(bytes.len());
                    }
                    let credit = self.stream.flow_control().clone();
                    return Poll::Ready(Ok(Some(Http2Data::new(bytes, credit))));
                }
                None => {
                    let trailers = ready!(self.stream.poll_trailers(cx)).map_err(io_error)?;
                    let filter = self.filter.take();
                    self.trailers = trailers.map(|mut trailers| {
                        if let Some(filter) = filter {
                            filter.filter_fields(&mut trailers);
                        }
                        strip_trailers(&mut trailers);
                        Box::new(trailers)
                    });
                    self.ended = true;
                }
            }
        }
        Poll::Ready(Ok(None))
    }
}

/// A body that is being written.
#[derive(Debug)]
pub(crate) struct Http2Writer {
    stream: SharedSendStream,
    ended: bool,
    /// The progress of the peer, unless it may be awaited for ever.
    progress: Option<Rc<PeerProgress>>,
}

impl Http2Writer {
    pub(crate) fn new(stream: SharedSendStream, progress: Option<Rc<PeerProgress>>) -> Self {
        Self { stream, ended: false, progress }
    }

    /// Waits until the peer takes bytes; returns how many.
    async fn room(&self, wanted: usize) -> io::Result<usize> {
        self.stream.borrow_mut().reserve_capacity(wanted);
        poll_fn(|cx| {
            let room = self.poll_room(cx);
            if let Some(progress) = &self.progress {
                progress.for_room.set(room.is_pending());
            }
            room
        })
        .await
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        loop {
            // Room that has been granted already is not announced again.
            match stream.capacity() {
                0 => {}
                room => return Poll::Ready(Ok(room)),
            }
            match ready!(stream.poll_capacity(cx)) {
                Some(granted) => _ = granted.map_err(io_error)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }

    fn send(&self, bytes: Bytes, last: bool) -> io::Result<()> {
        let len = bytes.len();
        self.stream.borrow_mut().send_data(bytes, last).map_err(io_error)?;
        if let Some(progress) = &self.progress {
            progress.add(len);
        }
        Ok(())
    }
}

impl Sink for Http2Writer {
    async fn piece(&mut self, part: &BodyPart, last: bool) -> io::Result<()> {
        let mut left = part.to_bytes();
        while !left.is_empty() {
            let room = self.room(left.len()).await?;
            let now = left.split_to(room.min(left.len()));
            self.ended = last && left.is_empty();
            self.send(now, self.ended)?;
        }
        Ok(())
    }

    /// Nothing is held back: frames leave as soon as the connection is written to.
    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn finish(&mut self, trailers: Trailers<'_>) -> io::Result<()> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let fields = match trailers {
            Trailers::None => return self.send(Bytes::new(), true),
            Trailers::Lines(lines) => trailer_fields(lines),
            Trailers::Fields(fields) => fields.clone(),
        };
        self.stream.borrow_mut().send_trailers(fields).map_err(io_error)
    }
}
