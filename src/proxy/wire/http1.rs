//! A body on an HTTP/1 connection: read piece by piece, written piece by piece.

use super::buffer::Buffer;
use super::connection::{Connection, InputPiece};
use super::object_pool::Pooled;
use super::sink::{BodyPart, Sink, Trailers};
use super::trailer_filter::TrailerFilter;
use crate::message::{ChunkError, ChunkEvent, Chunks, Framing, trailer_lines};
use std::io::{self, Write as _};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A body that is being read.
#[derive(Debug)]
pub(crate) struct Http1Reader {
    connection: Rc<Connection>,
    rest: Remainder,
}

/// The rest of a body, which is still to come.
#[derive(Debug)]
enum Remainder {
    Length(u64),
    /// It is boxed, because most bodies have a length, and every connection pays for the size of this.
    Chunked(Box<ChunkedRemainder>),
    UntilClose,
    Done(Option<Box<ChunkedRemainder>>),
}

/// The rest of a chunked body.
#[derive(Debug, Default)]
struct ChunkedRemainder {
    chunks: Chunks,
    /// The filter that the trailers pass, if any.
    filter: Option<Rc<TrailerFilter>>,
}

impl Http1Reader {
    /// Makes the reader of the body of a request that follows on `connection`; without a body, it has nothing to read.
    pub(crate) fn of_request(connection: Rc<Connection>, framing: Framing) -> Self {
        Self::new(connection, framing, Chunks::new)
    }

    /// Makes the reader of the body of a response that follows on `connection`; without a body, and in a tunnel, it has
    /// nothing to read.
    pub(crate) fn of_response(connection: Rc<Connection>, framing: Framing) -> Self {
        let reader = Self::new(connection, framing, Chunks::of_response);
        if !reader.is_done() {
            reader.connection.begin_body();
        }
        reader
    }

    fn new(connection: Rc<Connection>, framing: Framing, chunks: fn() -> Chunks) -> Self {
        let rest = match framing {
            Framing::None | Framing::Tunnel | Framing::Length(0) => Remainder::Done(None),
            Framing::Length(length) => Remainder::Length(length),
            Framing::Chunked => {
                Remainder::Chunked(Box::new(ChunkedRemainder { chunks: chunks(), filter: None }))
            }
            Framing::Close => Remainder::UntilClose,
        };
        Self { connection, rest }
    }

    /// Returns whether all of it was read.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.rest, Remainder::Done(_))
    }

    /// Returns the trailer lines that may pass, ready to be written.
    pub(crate) fn trailers(&self) -> &[u8] {
        match &self.rest {
            Remainder::Done(Some(rest)) => rest.chunks.trailers(),
            _ => &[],
        }
    }

    /// Has the trailers filtered, if any can follow.
    pub(super) fn filter_trailers(&mut self, filter: &Rc<TrailerFilter>) {
        if let Remainder::Chunked(rest) = &mut self.rest {
            rest.filter = Some(Rc::clone(filter));
        }
    }

    /// Returns the next piece; `None` when the body is over.
    ///
    /// # Errors
    ///
    /// The connection ended before the body, or its framing is broken (`InvalidData`).
    pub(crate) async fn next(&mut self) -> io::Result<Option<InputPiece>> {
        loop {
            if let Some(len) = self.at_hand()? {
                return Ok(Some(self.connection.take(len)));
            }
            if self.is_done() {
                return Ok(None);
            }
            if self.connection.fill().await? == 0 {
                if !matches!(self.rest, Remainder::UntilClose) {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.rest = Remainder::Done(None);
            }
        }
    }

    /// Returns the next piece if it has come already.
    pub(crate) fn next_at_hand(&mut self) -> io::Result<Option<InputPiece>> {
        Ok(self.at_hand()?.map(|len| self.connection.take(len)))
    }

    /// Checks all of the body that has come, and uses none of it up. When it is not whole, it looks once whether the
    /// connection has more, or has ended.
    ///
    /// # Errors
    ///
    /// As of [`Self::next`].
    pub(crate) fn check_at_hand(&self) -> io::Result<()> {
        if self.is_whole_at_hand()? {
            return Ok(());
        }
        match self.connection.poll_fill(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Poll::Ready(Ok(_)) => self.is_whole_at_hand().map(drop),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Ok(()),
        }
    }

    /// Returns whether all of the body has come, as far as its framing tells.
    fn is_whole_at_hand(&self) -> io::Result<bool> {
        self.connection.with_input(|input| match &self.rest {
            // The end of the connection ends the body, whenever it comes.
            Remainder::Done(_) | Remainder::UntilClose => Ok(true),
            Remainder::Length(left) => Ok(*left <= input.len() as u64),
            Remainder::Chunked(rest) => rest.chunks.check(input).map_err(invalid),
        })
    }

    /// Returns the number of bytes of body at the front of the input, having used up the framing before them.
    fn at_hand(&mut self) -> io::Result<Option<usize>> {
        let here = self.connection.with_input(<[u8]>::len);
        let len = match &mut self.rest {
            Remainder::Done(_) => 0,
            Remainder::UntilClose => here,
            Remainder::Length(left) => {
                let len = usize::try_from(*left).map_or(here, |left| left.min(here));
                *left -= len as u64;
                if *left == 0 {
                    self.rest = Remainder::Done(None);
                }
                len
            }
            Remainder::Chunked(_) => self.chunk_at_hand()?,
        };
        Ok((len > 0).then_some(len))
    }

    fn chunk_at_hand(&mut self) -> io::Result<usize> {
        let Remainder::Chunked(rest) = &mut self.rest else { return Ok(0) };
        let found = self.connection.with_input(|bytes| rest.chunks.decode(bytes));
        match found.map_err(invalid)? {
            ChunkEvent::More { consumed } => {
                self.connection.consume(consumed);
                Ok(0)
            }
            ChunkEvent::Data { skip, data } => {
                self.connection.consume(skip);
                Ok(data)
            }
            ChunkEvent::End { consumed } => {
                self.connection.consume(consumed);
                if let Some(filter) = rest.filter.take() {
                    filter.filter_lines(&mut rest.chunks);
                }
                let rest = std::mem::take(rest);
                self.rest = Remainder::Done(Some(rest));
                Ok(0)
            }
        }
    }
}

fn invalid(error: ChunkError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The most bytes of a piece that are copied behind the bytes before it: up to there a copy costs less than several
/// slices for the kernel.
const MOST_COPIED: usize = 4 * 1024;

/// A message that is being written: its head first, together with the bytes of its body that are at hand.
#[derive(Debug)]
pub(crate) struct Http1Writer {
    connection: Rc<Connection>,
    chunked: bool,
    /// Whether trailers may be written behind chunks.
    trailers: bool,
    /// The bytes to write before the next piece: the head, the end of a chunk, the size of the next.
    before: Option<Pooled<Buffer>>,
}

impl Http1Writer {
    /// Begins a message with a head that is written with the first piece, or by [`Http1Writer::flush`].
    pub(crate) fn new(connection: Rc<Connection>, head: Pooled<Buffer>, chunked: bool) -> Self {
        Self { connection, chunked, trailers: true, before: Some(head) }
    }

    /// Sets whether trailers may be written behind chunks; they may by default.
    pub(crate) fn with_trailers(self, trailers: bool) -> Self {
        Self { trailers, ..self }
    }
}

impl Sink for Http1Writer {
    async fn piece(&mut self, part: &BodyPart, _: bool) -> io::Result<()> {
        let bytes = part.bytes();
        if bytes.is_empty() {
            return Ok(());
        }
        let mut before = self.before.take().unwrap_or_else(|| self.connection.out());
        let mut after: &[u8] = b"";
        if self.chunked {
            // Writing to a vector does not fail.
            let _ = write!(before.out(), "{:x}\r\n", bytes.len());
            after = b"\r\n";
        }
        if bytes.len() <= MOST_COPIED {
            before.out().extend_from_slice(bytes);
            before.out().extend_from_slice(after);
            return self.connection.write([before.data(), b"", b""]).await;
        }
        self.connection.write([before.data(), bytes, after]).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        match self.before.take() {
            Some(before) => self.connection.write([before.data(), b"", b""]).await,
            None => Ok(()),
        }
    }

    async fn finish(&mut self, trailers: Trailers<'_>) -> io::Result<()> {
        if self.chunked {
            let translated;
            let trailers = match trailers {
                Trailers::Lines(lines) if self.trailers => lines,
                Trailers::Fields(fields) if self.trailers => {
                    translated = trailer_lines(fields);
                    translated.as_slice()
                }
                _ => b"",
            };
            let mut before = self.before.take().unwrap_or_else(|| self.connection.out());
            before.out().extend_from_slice(b"0\r\n");
            return self.connection.write([before.data(), trailers, b"\r\n"]).await;
        }
        self.flush().await
    }
}
