//! An encrypted connection: rustls without its buffers, over a socket.
//!
//! A connection that waits holds none: records are read into, and written from, buffers that all connections of a thread
//! share. It keeps what is left over: a part of a record, bytes that its reader had no room for, and what the socket did
//! not take.

use super::session::{RECORD, SessionOperation, SessionStep, TlsSession};
#[cfg(target_os = "linux")]
use rustix::net::{SendFlags, send};
use rustls::pki_types::CertificateDer;
use socket2::SockRef;
use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How many bytes are read from the socket at once: a whole record, and the head of another.
const READ: usize = 17 * 1024;

/// How many bytes may be kept of a record, or of a message of a handshake over several records.
const MOST_KEPT: usize = 64 * 1024;

/// How many bytes are encrypted at once, and so may wait for the socket.
const MOST_WRITTEN: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<ThreadBuffers> = RefCell::default();
}

/// The buffers that all connections of a thread share, each for one call.
#[derive(Default)]
struct ThreadBuffers {
    /// Records as they came, as far as it is filled. What lies behind is of earlier calls, and not cleared for each.
    records: Vec<u8>,
    filled: usize,
    /// The bytes in them.
    plain: Vec<u8>,
    /// Records as they go.
    outgoing: Vec<u8>,
    /// Pieces of a message that go into one record.
    gathered: Vec<u8>,
}

impl ThreadBuffers {
    /// Puts what was kept of a record into the buffer, and returns the room behind it.
    fn room(&mut self, kept: &[u8]) -> &mut [u8] {
        let length = kept.len() + READ;
        if self.records.len() < length {
            self.records.resize(length, 0);
        }
        let (begin, room) = self.records.split_at_mut(kept.len());
        begin.copy_from_slice(kept);
        room
    }

    /// Takes so many bytes that were read into the room behind what was kept; returns whether there are any.
    fn fill(&mut self, kept: &[u8], count: usize) -> bool {
        self.filled = kept.len() + count;
        count > 0
    }
}

/// An encrypted connection after its handshake.
pub struct TlsStream {
    pub(super) stream: TcpStream,
    pub(super) session: TlsSession,
    /// The beginning of a record.
    pub(super) incoming: Vec<u8>,
    /// Bytes that were read and decrypted, and not taken yet, from the position on.
    plain: Vec<u8>,
    taken: usize,
    /// Records that the socket did not take, from the position on.
    pub(super) outgoing: Vec<u8>,
    pub(super) written: usize,
    /// Whether the peer sends nothing more.
    is_ended: bool,
    /// Whether this side has said that it sends nothing more, or must not say so.
    is_closing: bool,
}

/// Returns the error of a connection whose peer does not keep to TLS.
fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

impl TlsStream {
    /// Makes a connection of a socket, before its handshake.
    pub(super) fn new(stream: TcpStream, session: TlsSession) -> Self {
        Self {
            stream,
            session,
            incoming: Vec::new(),
            plain: Vec::new(),
            taken: 0,
            outgoing: Vec::new(),
            written: 0,
            is_ended: false,
            is_closing: false,
        }
    }

    /// Returns the socket.
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Returns the protocol that both sides have agreed on (RFC 7301).
    pub fn alpn(&self) -> Option<&[u8]> {
        self.session.alpn()
    }

    /// Returns the certificate of the peer.
    pub(super) fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.session.peer_certificates()?.first()
    }

    /// Has the connection end without a word, as a reset does: what was written was not all.
    pub fn end_abruptly(&mut self) {
        self.is_closing = true;
    }

    /// Returns whether the peer has ended the connection, or sent bytes, while nothing was asked of it. What it sends for
    /// TLS alone, such as a ticket, is taken.
    ///
    /// `ask_kernel` also finds out what the runtime has not been told yet, at the price of one system call.
    pub fn is_stale(&mut self, ask_kernel: bool) -> bool {
        if self.is_ended || !self.plain.is_empty() {
            return true;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            loop {
                let room = scratch.room(&self.incoming);
                let read = match ask_kernel {
                    true => (&*SockRef::from(&self.stream)).read(room),
                    false => self.stream.try_read(room),
                };
                let read = read.map(|count| scratch.fill(&self.incoming, count));
                match read {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                    Ok(true) => {}
                    Ok(false) | Err(_) => return true,
                }
                scratch.plain.clear();
                let taken = self.take_records(scratch);
                if taken.is_err() || self.is_ended || !scratch.plain.is_empty() {
                    return true;
                }
            }
        })
    }

    /// Takes the records that came: decrypts them, and keeps the part of one that is not whole.
    fn take_records(&mut self, scratch: &mut ThreadBuffers) -> io::Result<SessionStep> {
        let ThreadBuffers { records, filled, plain, .. } = scratch;
        let records = records.get_mut(..*filled).unwrap_or_default();
        let mut used = 0;
        let ended = loop {
            let left = records.get_mut(used..).unwrap_or_default();
            let (discard, step) = self.session.step(left, plain, &mut self.outgoing, SessionOperation::None);
            used += discard;
            match step {
                Ok(SessionStep::Again) => {}
                Ok(SessionStep::PeerClosed) => self.is_ended = true,
                Ok(step) => break Ok(step),
                Err(error) => break Err(error),
            }
        };
        let left = records.get(used..).unwrap_or_default();
        let step = ended.map_err(|error| {
            self.fail();
            broken(error)
        })?;
        if left.is_empty() {
            self.incoming = Vec::new();
        } else {
            self.incoming.clear();
            self.incoming.extend_from_slice(left);
        }
        if self.incoming.len() > MOST_KEPT {
            (self.is_closing, self.is_ended) = (true, true);
            return Err(broken(rustls::Error::General("a message of the peer is too long".to_owned())));
        }
        Ok(step)
    }

    /// Ends the use of a session after an error, and appends the alert that tells the peer of it to what is to be written.
    fn fail(&mut self) {
        (self.is_closing, self.is_ended, self.incoming) = (true, true, Vec::new());
        let mut nothing = Vec::new();
        // What waits to be written comes before all else: the records, of which the session knows the place, are not looked
        // at again.
        while self.session.wants_write() {
            let (_, step) =
                self.session.step(&mut [], &mut nothing, &mut self.outgoing, SessionOperation::None);
            if !matches!(step, Ok(SessionStep::Again)) {
                return;
            }
        }
    }

    /// Reads from the socket once, and takes what comes.
    fn poll_records(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut ThreadBuffers,
    ) -> Poll<io::Result<SessionStep>> {
        let mut room = ReadBuf::new(scratch.room(&self.incoming));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
        let count = room.filled().len();
        if !scratch.fill(&self.incoming, count) {
            let reason = "the peer ended the connection without the closing message of TLS";
            return Poll::Ready(Err(io::Error::new(ErrorKind::UnexpectedEof, reason)));
        }
        let taken = self.take_records(scratch);
        if !self.outgoing.is_empty() {
            // Answers of TLS itself, or an alert; what the socket does not take goes with the next write.
            let _ = self.poll_write_outgoing(cx);
        }
        Poll::Ready(taken)
    }

    /// Takes the steps of a handshake; ready when it is done.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            // What there is to say first, or what was read before.
            scratch.plain.clear();
            scratch.room(&self.incoming);
            scratch.fill(&self.incoming, 0);
            let mut taken = self.take_records(scratch);
            loop {
                self.plain.extend_from_slice(&scratch.plain);
                scratch.plain.clear();
                if let Err(error) = taken {
                    let _ = self.poll_write_outgoing(cx);
                    return Poll::Ready(Err(error));
                }
                ready!(self.poll_write_outgoing(cx))?;
                if !self.session.is_handshaking() {
                    return Poll::Ready(Ok(()));
                }
                if self.is_ended {
                    return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
                }
                let kept = self.incoming.len();
                taken = Ok(ready!(self.poll_records(cx, scratch))?);
                *left = left.saturating_sub(scratch.filled.saturating_sub(kept));
                if *left == 0 {
                    let reason = "the handshake of the peer is too long";
                    return Poll::Ready(Err(broken(rustls::Error::General(reason.to_owned()))));
                }
            }
        })
    }

    /// Writes what the socket did not take before.
    fn poll_write_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left @ [_, ..]) = self.outgoing.get(self.written..) {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, left))?;
            if count == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        if !self.outgoing.is_empty() {
            (self.outgoing, self.written) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Encrypts bytes, or the closing message, into `outgoing`.
    fn seal(&mut self, operation: SessionOperation<'_>, outgoing: &mut Vec<u8>) -> io::Result<()> {
        let mut used = 0;
        let ended = loop {
            let left = self.incoming.get_mut(used..).unwrap_or_default();
            let (discard, step) = self.session.step(left, &mut self.plain, outgoing, operation);
            used += discard;
            match step {
                Ok(SessionStep::Again) => {}
                Ok(SessionStep::PeerClosed) => self.is_ended = true,
                Ok(SessionStep::Done) => break Ok(()),
                Ok(SessionStep::Blocked) => break Err(ErrorKind::NotConnected.into()),
                Err(error) => break Err(broken(error)),
            }
        };
        self.incoming.drain(..used);
        ended
    }

    /// Encrypts bytes and writes them, as far as the socket takes them; keeps the rest.
    fn poll_seal(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        scratch: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_write_outgoing(cx))?;
        if self.is_closing {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let bytes = bytes.get(..MOST_WRITTEN).unwrap_or(bytes);
        scratch.clear();
        self.seal(SessionOperation::Encrypt(bytes), scratch)?;
        let mut written = 0;
        while let Some(left @ [_, ..]) = scratch.get(written..) {
            match Pin::new(&mut self.stream).poll_write(cx, left) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.outgoing.extend_from_slice(left);
                    break;
                }
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// Gives the reader bytes that were decrypted before.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let left = self.plain.get(self.taken..).unwrap_or_default();
        let count = left.len().min(buf.remaining());
        buf.put_slice(left.get(..count).unwrap_or_default());
        self.taken += count;
        if self.taken == self.plain.len() {
            (self.plain, self.taken) = (Vec::new(), 0);
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !this.plain.is_empty() {
            this.give(buf);
            return Poll::Ready(Ok(()));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            loop {
                if this.is_ended {
                    return Poll::Ready(Ok(()));
                }
                scratch.plain.clear();
                let taken = ready!(this.poll_records(cx, scratch));
                if !scratch.plain.is_empty() {
                    let (now, later) = scratch.plain.split_at(scratch.plain.len().min(buf.remaining()));
                    buf.put_slice(now);
                    this.plain.extend_from_slice(later);
                    return Poll::Ready(Ok(()));
                }
                taken?;
            }
        })
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        SCRATCH.with_borrow_mut(|scratch| this.poll_seal(cx, bytes, &mut scratch.outgoing))
    }

    /// Several small pieces, such as a head and the beginning of a body, become one record.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        SCRATCH.with_borrow_mut(|scratch| {
            let ThreadBuffers { outgoing, gathered, .. } = scratch;
            match slices.iter().find(|slice| !slice.is_empty()) {
                Some(first) if first.len() >= RECORD => return this.poll_seal(cx, first, outgoing),
                _ => {}
            }
            gathered.clear();
            for slice in slices {
                let room = RECORD - gathered.len();
                gathered.extend_from_slice(slice.get(..room).unwrap_or(slice));
            }
            this.poll_seal(cx, gathered, outgoing)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_write_outgoing(cx)
    }

    /// Says that nothing more is sent, and ends this side of the socket.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.is_closing, true) {
            let mut outgoing = std::mem::take(&mut this.outgoing);
            let sealed = this.seal(SessionOperation::Close, &mut outgoing);
            this.outgoing = outgoing;
            sealed?;
        }
        ready!(this.poll_write_outgoing(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

impl Drop for TlsStream {
    /// Says that nothing more is sent, if the socket takes that at once: a peer that reads to the end could not tell it from
    /// a connection that broke.
    fn drop(&mut self) {
        if self.is_closing || self.session.is_handshaking() {
            return;
        }
        let mut outgoing = std::mem::take(&mut self.outgoing);
        if self.seal(SessionOperation::Close, &mut outgoing).is_ok()
            && let Some(left) = outgoing.get(self.written..)
        {
            write_last(&self.stream, left);
        }
    }
}

/// Writes the last bytes of a connection that is closed now, as far as the socket takes them.
fn write_last(stream: &TcpStream, bytes: &[u8]) {
    // The socket keeps them until it is closed, and sends them in one packet with the end of the connection.
    #[cfg(target_os = "linux")]
    let _ = send(stream, bytes, SendFlags::MORE | SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    #[cfg(not(target_os = "linux"))]
    let _ = stream.try_write(bytes);
}

impl std::fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStream").field("socket", &self.stream).finish_non_exhaustive()
    }
}
