//! One HTTP/1 connection, of a caller or of an upstream: bytes in, bytes out.

use super::buffer::Buffer;
use super::object_pool::{ObjectPool, Pooled};
use super::receive_buffer::ReceiveBuffer;
use super::timer::{PeerProgress, bounded};
use super::transport::{RewoundTransport, Transport};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio::time::{Instant, timeout};

/// One connection. Reading and writing may go on at once, in the same task.
///
/// While no bytes have come it holds no buffer.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Borrowed for one poll at a time.
    transport: RefCell<Transport>,
    input: RefCell<Option<Pooled<Buffer>>>,
    buffers: ObjectPool<Buffer>,
    ended: Cell<bool>,
    body_wanted: Cell<bool>,
    /// Whether its last message had no body where its sender may still send one.
    is_doubtful: Cell<bool>,
    receive_buffer: ReceiveBuffer,
    pub(crate) progress: PeerProgress,
    /// Whether a write was begun and not finished: bytes written behind it would be read as a part of it.
    is_broken_off: Cell<bool>,
    opened: Instant,
}

/// A piece of a body, in the buffer it came in; when it is dropped, its bytes are used up.
#[derive(Debug)]
pub(crate) struct InputPiece {
    buffer: Option<Pooled<Buffer>>,
    len: usize,
    connection: Rc<Connection>,
}

impl Connection {
    /// Makes a connection that takes its buffers from a pool.
    pub(crate) fn new(transport: Transport, buffers: ObjectPool<Buffer>) -> Rc<Self> {
        Rc::new(Self {
            transport: RefCell::new(transport),
            input: RefCell::new(None),
            buffers,
            ended: Cell::new(false),
            body_wanted: Cell::new(false),
            is_doubtful: Cell::new(false),
            receive_buffer: ReceiveBuffer::default(),
            progress: PeerProgress::default(),
            is_broken_off: Cell::new(false),
            opened: Instant::now(),
        })
    }

    /// Makes a connection to an endpoint. What it sends is bounded from the first byte on: the kernel could have grown the
    /// buffer while the first head was read.
    pub(crate) fn to_endpoint(transport: Transport, buffers: ObjectPool<Buffer>) -> Rc<Self> {
        let connection = Self::new(transport, buffers);
        connection.begin_body();
        connection
    }

    /// Returns whether it is so old at this time.
    pub(crate) fn is_older(&self, age: Duration, now: Instant) -> bool {
        now >= self.opened + bounded(age)
    }

    /// Returns the time at which it was opened.
    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    /// Takes the transport back, for another protocol; the bytes that came in are in front of it again.
    ///
    /// Returns `None` while another part of the router holds the connection.
    pub(crate) fn into_transport(this: Rc<Self>) -> Option<RewoundTransport> {
        let connection = Rc::into_inner(this)?;
        Some(RewoundTransport::new(connection.input.into_inner(), connection.transport.into_inner()))
    }

    /// Calls `f` with the bytes that came in and were not used yet.
    pub(crate) fn with_input<T>(&self, f: impl FnOnce(&[u8]) -> T) -> T {
        f(self.input.borrow().as_ref().map(|buffer| buffer.data()).unwrap_or_default())
    }

    /// Uses up the first `n` bytes that came in.
    pub(crate) fn consume(&self, n: usize) {
        let mut input = self.input.borrow_mut();
        if let Some(buffer) = input.as_mut() {
            buffer.consume(n);
            if buffer.is_empty() {
                *input = None;
            }
        }
    }

    /// Begins the body of a response, or a tunnel, that comes in: the kernel keeps a bounded part of it until its receiver has
    /// taken much.
    #[inline]
    pub(crate) fn begin_body(&self) {
        self.receive_buffer.begin_body(self.transport.borrow().socket());
    }

    /// Returns whether the kernel may have grown its buffer for bytes of the peer.
    pub(crate) fn may_have_large_buffer(&self) -> bool {
        self.receive_buffer.may_be_large()
    }

    /// Takes the first `len` bytes that came in as a piece of a body.
    pub(crate) fn take(self: &Rc<Self>, len: usize) -> InputPiece {
        InputPiece { buffer: self.input.borrow_mut().take(), len, connection: Rc::clone(self) }
    }

    /// Reads more bytes; returns their number, or zero when the peer has ended its side.
    pub(crate) fn poll_fill(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended.get() {
            return Poll::Ready(Ok(0));
        }
        let mut input = self.input.borrow_mut();
        // Taken before it is known whether there are bytes: to ask for readiness first would ask twice.
        let buffer = input.get_or_insert_with(|| self.buffers.take());
        let mut transport = self.transport.borrow_mut();
        let read = pin!(transport.read_buf(buffer.room())).poll(cx);
        if buffer.is_empty() {
            *input = None;
        }
        if let Poll::Ready(Ok(n)) = read {
            self.ended.set(n == 0);
            self.progress.add(n);
        }
        read
    }

    /// Has the peer's bytes acknowledged at once if none of the body is here that its head announces: a peer that writes
    /// the two apart waits for it. It costs a system call, and so is not done where both come together.
    pub(crate) fn acknowledge_head(&self) {
        if self.with_input(<[u8]>::is_empty) {
            self.transport.borrow().acknowledge();
        }
    }

    /// Waits for more bytes; returns their number, or zero when the peer has ended its side.
    pub(crate) async fn fill(&self) -> io::Result<usize> {
        poll_fn(|cx| {
            let read = self.poll_fill(cx);
            self.progress.for_bytes.set(read.is_pending());
            read
        })
        .await
    }

    /// Sets whether the request's body is being read, so that the end of input is noticed there.
    pub(crate) fn set_body_wanted(&self, wanted: bool) {
        self.body_wanted.set(wanted);
    }

    /// Returns whether the request's body is being read, or still has to be.
    pub(crate) fn is_body_wanted(&self) -> bool {
        self.body_wanted.get()
    }

    /// Is ready when the caller has gone away while it waited for its response.
    ///
    /// A request that is pipelined behind the present one is kept; while it waits for its turn, nothing more is read.
    pub(crate) fn poll_peer_end(&self, cx: &mut Context<'_>) -> Poll<PeerEnd> {
        if self.body_wanted.get() || self.input.borrow().is_some() {
            return Poll::Pending;
        }
        match ready!(self.poll_fill(cx)) {
            Ok(0) => Poll::Ready(PeerEnd::HalfClosed),
            Ok(_) => Poll::Pending,
            Err(_) => Poll::Ready(PeerEnd::Broken),
        }
    }

    /// Sets whether the message that was read last has no body by its kind: the response to HEAD, a 204 or a 304. A peer
    /// that sends one all the same sends it a moment later, where the next response is expected.
    pub(crate) fn set_doubtful(&self, is_doubtful: bool) {
        self.is_doubtful.set(is_doubtful);
    }

    /// Returns whether the peer has closed the connection, or sent bytes unasked, while it was idle.
    ///
    /// `ask_kernel` also finds out what the runtime has not been told yet, at the price of one system call. The kernel is
    /// always asked about a connection that is in doubt.
    pub(crate) fn is_stale(&self, ask_kernel: bool) -> bool {
        let ask_kernel = ask_kernel || self.is_doubtful.get();
        self.input.borrow().is_some() || self.transport.borrow_mut().is_stale(ask_kernel)
    }

    /// Writes all the given bytes, in one system call when the socket takes them.
    ///
    /// After a write that was given up halfway nothing more is written.
    pub(crate) async fn write(&self, parts: [&[u8]; 3]) -> io::Result<()> {
        if self.is_broken_off.replace(true) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let total = parts.iter().map(|part| part.len()).sum();
        let mut done = 0;
        poll_fn(|cx| {
            while done < total {
                let (slices, count) = rest(parts, done);
                let mut transport = self.transport.borrow_mut();
                let transport = Pin::new(&mut *transport);
                let written = match &slices[..count] {
                    // The kernel has a shorter way for it.
                    [only] => transport.poll_write(cx, only),
                    several => transport.poll_write_vectored(cx, several),
                };
                self.progress.for_room.set(written.is_pending());
                let written = ready!(written)?;
                if written == 0 {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero)));
                }
                done += written;
                self.progress.add(written);
            }
            // What is encrypted may wait for the socket still.
            let flushed = Pin::new(&mut *self.transport.borrow_mut()).poll_flush(cx);
            self.progress.for_room.set(flushed.is_pending());
            flushed
        })
        .await?;
        self.is_broken_off.set(false);
        Ok(())
    }

    /// Makes the end of the connection a reset, so that the peer cannot take a part for the whole.
    pub(crate) fn reset_on_close(&self) {
        self.transport.borrow_mut().reset_on_close();
    }

    /// Ends this side of the connection.
    pub(crate) async fn shutdown(&self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *self.transport.borrow_mut()).poll_shutdown(cx)).await
    }

    /// Returns a buffer for bytes to be written.
    pub(crate) fn out(&self) -> Pooled<Buffer> {
        self.buffers.take()
    }
}

/// The end of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerEnd {
    /// It ended its side. It may still be there to read the response: TCP does not tell.
    HalfClosed,
    /// The connection is broken.
    Broken,
}

/// Drives `work` as long as bytes move at least once in `limit`; `moved` counts them.
pub(crate) async fn while_moving<T>(
    moved: impl Fn() -> u64,
    limit: Duration,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    loop {
        let before = moved();
        match timeout(limit, work.as_mut()).await {
            Ok(done) => return Some(done),
            Err(_) if moved() == before => return None,
            Err(_) => {}
        }
    }
}

/// Returns the parts that are left after `done` bytes, and how many they are.
fn rest(parts: [&[u8]; 3], mut done: usize) -> ([IoSlice<'_>; 3], usize) {
    let mut slices = [IoSlice::new(b""); 3];
    let mut count = 0;
    for part in parts {
        let left = part.get(done..).unwrap_or_default();
        done = done.saturating_sub(part.len());
        if !left.is_empty() {
            slices[count] = IoSlice::new(left);
            count += 1;
        }
    }
    (slices, count)
}

impl InputPiece {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.as_ref().and_then(|buffer| buffer.data().get(..self.len)).unwrap_or_default()
    }
}

impl Drop for InputPiece {
    fn drop(&mut self) {
        if let Some(mut buffer) = self.buffer.take() {
            buffer.consume(self.len);
            let connection = &self.connection;
            if connection.receive_buffer.add_taken(self.len) {
                connection.receive_buffer.allow_growth(connection.transport.borrow().socket());
            }
            if !buffer.is_empty() {
                *connection.input.borrow_mut() = Some(buffer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_three_parts() {
        let parts: [&[u8]; 3] = [b"head", b"", b"tail"];
        let left = |done| {
            let (slices, count) = rest(parts, done);
            slices[..count]
                .iter()
                .map(|slice| String::from_utf8_lossy(slice).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(left(0), ["head", "tail"]);
        assert_eq!(left(3), ["d", "tail"]);
        assert_eq!(left(4), ["tail"]);
        assert_eq!(left(7), ["l"]);
        assert!(left(8).is_empty());
    }
}
