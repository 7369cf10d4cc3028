//! A body on an HTTP/1 connection: read piece by piece, written piece by piece.

use super::conn::{Conn, Piece};
use crate::message::{ChunkEvent, Chunks, Framing, trailer_lines};
use crate::proxy::body::{Part, Sink, Trailers};
use crate::proxy::lend::{Buffer, Loan};
use std::io::{self, Write as _};
use std::rc::Rc;

/// A body that is being read.
#[derive(Debug)]
pub(crate) struct Incoming {
    conn: Rc<Conn>,
    rest: Rest,
}

/// What of a body is still to come.
#[derive(Debug)]
enum Rest {
    Length(u64),
    /// Boxed: most bodies have a length, and every connection pays for the size of this.
    Chunked(Box<Chunks>),
    UntilClose,
    Done(Option<Box<Chunks>>),
}

impl Incoming {
    /// A body that follows on `conn`; none, and a tunnel, have nothing to read.
    pub(crate) fn new(conn: Rc<Conn>, framing: Framing) -> Self {
        let rest = match framing {
            Framing::None | Framing::Tunnel | Framing::Length(0) => Rest::Done(None),
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked => Rest::Chunked(Box::default()),
            Framing::Close => Rest::UntilClose,
        };
        Self { conn, rest }
    }

    /// Whether all of it was read.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.rest, Rest::Done(_))
    }

    /// Trailer lines that came behind it and may go on, ready to be written.
    pub(crate) fn trailers(&self) -> &[u8] {
        match &self.rest {
            Rest::Done(Some(chunks)) => chunks.trailers(),
            _ => &[],
        }
    }

    /// The next piece; None when the body is over.
    ///
    /// # Errors
    ///
    /// The connection ended before the body, or its framing is broken (`InvalidData`).
    pub(crate) async fn next(&mut self) -> io::Result<Option<Piece>> {
        loop {
            if let Some(len) = self.at_hand()? {
                return Ok(Some(self.conn.take(len)));
            }
            if self.is_done() {
                return Ok(None);
            }
            if self.conn.fill().await? == 0 {
                if !matches!(self.rest, Rest::UntilClose) {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.rest = Rest::Done(None);
            }
        }
    }

    /// The next piece if it has come already.
    pub(crate) fn next_at_hand(&mut self) -> io::Result<Option<Piece>> {
        Ok(self.at_hand()?.map(|len| self.conn.take(len)))
    }

    /// How many bytes of body stand at the front of the input; what is framing before them is used up.
    fn at_hand(&mut self) -> io::Result<Option<usize>> {
        let here = self.conn.look(<[u8]>::len);
        let len = match &mut self.rest {
            Rest::Done(_) => 0,
            Rest::UntilClose => here,
            Rest::Length(left) => {
                let len = usize::try_from(*left).map_or(here, |left| left.min(here));
                *left -= len as u64;
                if *left == 0 {
                    self.rest = Rest::Done(None);
                }
                len
            }
            Rest::Chunked(_) => self.chunk_at_hand()?,
        };
        Ok((len > 0).then_some(len))
    }

    fn chunk_at_hand(&mut self) -> io::Result<usize> {
        let Rest::Chunked(chunks) = &mut self.rest else { return Ok(0) };
        let found = self.conn.look(|bytes| chunks.decode(bytes));
        match found.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            ChunkEvent::More { consumed } => {
                self.conn.consume(consumed);
                Ok(0)
            }
            ChunkEvent::Data { skip, data } => {
                self.conn.consume(skip);
                Ok(data)
            }
            ChunkEvent::End { consumed } => {
                self.conn.consume(consumed);
                let chunks = std::mem::take(chunks);
                self.rest = Rest::Done(Some(chunks));
                Ok(0)
            }
        }
    }
}

/// Up to how many bytes a piece of a body is copied behind what is written before it: that costs less than to hand the
/// kernel several slices.
const MOST_COPIED: usize = 4 * 1024;

/// A message that is being written: its head first, together with what of its body is at hand.
#[derive(Debug)]
pub(crate) struct Outgoing {
    conn: Rc<Conn>,
    chunked: bool,
    /// Whether trailers may be written behind chunks.
    trailers: bool,
    /// Written before the next piece: the head, the end of a chunk, the size of the next.
    before: Option<Loan<Buffer>>,
}

impl Outgoing {
    /// Begins a message with a head that is written with the first piece, or by [`Outgoing::flush`].
    pub(crate) fn new(conn: Rc<Conn>, head: Loan<Buffer>, chunked: bool) -> Self {
        Self { conn, chunked, trailers: true, before: Some(head) }
    }

    /// Says whether trailers may be written behind chunks: unless it is said, they may.
    pub(crate) fn with_trailers(self, trailers: bool) -> Self {
        Self { trailers, ..self }
    }
}

impl Sink for Outgoing {
    async fn piece(&mut self, part: &Part, _: bool) -> io::Result<()> {
        let bytes = part.bytes();
        if bytes.is_empty() {
            return Ok(());
        }
        let mut before = self.before.take().unwrap_or_else(|| self.conn.out());
        let mut after: &[u8] = b"";
        if self.chunked {
            // Writing to a vector does not fail.
            let _ = write!(before.out(), "{:x}\r\n", bytes.len());
            after = b"\r\n";
        }
        if bytes.len() <= MOST_COPIED {
            before.out().extend_from_slice(bytes);
            before.out().extend_from_slice(after);
            return self.conn.write([before.data(), b"", b""]).await;
        }
        self.conn.write([before.data(), bytes, after]).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        match self.before.take() {
            Some(before) => self.conn.write([before.data(), b"", b""]).await,
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
            let mut before = self.before.take().unwrap_or_else(|| self.conn.out());
            before.out().extend_from_slice(b"0\r\n");
            return self.conn.write([before.data(), trailers, b"\r\n"]).await;
        }
        self.flush().await
    }
}
