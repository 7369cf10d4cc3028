//! A body on an HTTP/2 stream: read as credit allows, written as the peer's window does.

use super::{Sending, io_error};
use crate::message::{strip_trailers, trailer_fields};
use crate::proxy::body::{Part, Sink, Trailers};
use crate::proxy::patience::Waits;
use bytes::Bytes;
use h2::{FlowControl, RecvStream};
use http::HeaderMap;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// A body that is being read.
#[derive(Debug)]
pub(crate) struct Incoming {
    stream: RecvStream,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// Where it is noted that the peer is awaited, if it may not be awaited for ever.
    waits: Option<Rc<Waits>>,
}

/// A part of a body; when it is dropped, the peer may send as much again.
#[derive(Debug)]
pub(crate) struct Data {
    bytes: Bytes,
    credit: FlowControl,
}

impl Data {
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        // Refused only when the stream is over.
        let _ = self.credit.release_capacity(self.bytes.len());
    }
}

impl Incoming {
    pub(crate) fn new(stream: RecvStream, waits: Option<Rc<Waits>>) -> Self {
        Self { stream, trailers: None, ended: false, waits }
    }

    /// Whether all of it was read.
    pub(crate) fn is_done(&self) -> bool {
        self.ended || self.stream.is_end_stream()
    }

    /// What came behind it, stripped.
    pub(crate) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref().filter(|trailers| !trailers.is_empty())
    }

    /// The next part; None when the body is over.
    ///
    /// # Errors
    ///
    /// The stream was reset, or its connection ended.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Data>> {
        poll_fn(|cx| {
            let next = self.poll_next(cx);
            if let Some(waits) = &self.waits {
                waits.for_bytes.set(next.is_pending());
            }
            next
        })
        .await
    }

    /// The next part if it has come already.
    pub(crate) fn next_at_hand(&mut self) -> io::Result<Option<Data>> {
        match self.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(next) => next,
            Poll::Pending => Ok(None),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Data>>> {
        while !self.ended {
            match ready!(self.stream.poll_data(cx)).transpose().map_err(io_error)? {
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => {
                    if let Some(waits) = &self.waits {
                        waits.move_on(bytes.len());
                    }
                    let credit = self.stream.flow_control().clone();
                    return Poll::Ready(Ok(Some(Data { bytes, credit })));
                }
                None => {
                    self.trailers = ready!(self.stream.poll_trailers(cx)).map_err(io_error)?;
                    if let Some(trailers) = &mut self.trailers {
                        strip_trailers(trailers);
                    }
                    self.ended = true;
                }
            }
        }
        Poll::Ready(Ok(None))
    }
}

/// A body that is being written.
#[derive(Debug)]
pub(crate) struct Outgoing {
    stream: Sending,
    ended: bool,
    /// Where it is noted that the peer is awaited, if it may not be awaited for ever.
    waits: Option<Rc<Waits>>,
}

impl Outgoing {
    pub(crate) fn new(stream: Sending, waits: Option<Rc<Waits>>) -> Self {
        Self { stream, ended: false, waits }
    }

    /// Waits until the peer takes bytes; says how many.
    async fn room(&self, wanted: usize) -> io::Result<usize> {
        self.stream.borrow_mut().reserve_capacity(wanted);
        poll_fn(|cx| {
            let room = self.poll_room(cx);
            if let Some(waits) = &self.waits {
                waits.for_room.set(room.is_pending());
            }
            room
        })
        .await
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        loop {
            // What has been granted already is not announced again.
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
        if let Some(waits) = &self.waits {
            waits.move_on(len);
        }
        Ok(())
    }
}

impl Sink for Outgoing {
    async fn piece(&mut self, part: &Part, last: bool) -> io::Result<()> {
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
