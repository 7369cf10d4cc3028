//! Counts the frames of a caller over HTTP/2 as they are read, before the library works on them.
//!
//! The library answers each SETTINGS and PING, visits every stream of the connection for a SETTINGS that changes the
//! window, and bounds none of them. The heads of frames are found here in the bytes on their way to it, and nothing else of
//! them is looked at.

use super::transport::RewoundTransport;
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// The time in which frames are counted.
const SPAN: Duration = Duration::from_secs(10);

/// How many SETTINGS that are no acknowledgement a caller may send in [`SPAN`]. Each may change the windows of all
/// streams; callers send one at their beginning, and hardly ever another.
const MOST_SETTINGS: u32 = 100;

/// How many other frames that carry nothing of a request a caller may send in [`SPAN`]: PING, PRIORITY, RST_STREAM,
/// WINDOW_UPDATE, CONTINUATION, GOAWAY, DATA without content or end, and types that are not known.
///
/// That many cost less than 1 % of a core. A caller that receives much sends more of them, windows and pings that measure
/// the path: it has one more for each [`BYTES_FOR_ONE`] bytes that were sent to it.
const MOST_CONTROL: u64 = 10_000;

/// How many bytes sent to a caller let it send one more frame without content.
const BYTES_FOR_ONE: u64 = 32;

/// How many frames are read until the connection's task gives way to others.
const TURN: u32 = 64;

/// The bytes of a frame's head (RFC 9113 4.1).
const HEAD: usize = 9;

/// The counts of one connection's frames.
#[derive(Debug)]
pub(crate) struct FrameCounts {
    /// Whether the first SETTINGS has come.
    has_settings: Cell<bool>,
    is_flood: Cell<bool>,
    /// The time when the count of SETTINGS began.
    settings_began: Cell<Instant>,
    settings: Cell<u32>,
    /// The time when the count of other frames began. It ends, at the earliest after [`SPAN`], when their limit is reached:
    /// the clock is not read for each.
    control_began: Cell<Instant>,
    control: Cell<u64>,
    /// The bytes that were sent to the caller in the same time.
    sent: Cell<u64>,
    /// The frames that were read since the task had its turn.
    turn: Cell<u32>,
}

impl FrameCounts {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            has_settings: Cell::new(false),
            is_flood: Cell::new(false),
            settings_began: Cell::new(now),
            settings: Cell::new(0),
            control_began: Cell::new(now),
            control: Cell::new(0),
            sent: Cell::new(0),
            turn: Cell::new(0),
        }
    }

    /// Returns whether the caller has sent its first SETTINGS.
    pub(crate) fn has_settings(&self) -> bool {
        self.has_settings.get()
    }

    /// Returns whether the caller has sent too many frames that make work. Nothing more is read of it then.
    pub(crate) fn is_flood(&self) -> bool {
        self.is_flood.get()
    }

    /// Lets the connection's task read so many frames again.
    pub(crate) fn begin_turn(&self) {
        self.turn.set(0);
    }

    fn is_turn_over(&self) -> bool {
        self.turn.get() >= TURN
    }

    /// Counts a frame by its head; false when it is one too many.
    fn note(&self, head: FrameHead) -> bool {
        self.turn.set(self.turn.get() + 1);
        match head {
            FrameHead { kind: 4, flags, .. } if flags & 1 == 0 => {
                self.has_settings.set(true);
                self.note_settings();
            }
            FrameHead { kind: 0, flags, length } if is_content(flags, length) => {}
            FrameHead { kind: 1 | 4, .. } => {}
            _ => self.note_control(),
        }
        !self.is_flood.get()
    }

    fn note_settings(&self) {
        let now = Instant::now();
        if now.duration_since(self.settings_began.get()) >= SPAN {
            self.settings_began.set(now);
            self.settings.set(0);
        }
        self.settings.set(self.settings.get() + 1);
        if self.settings.get() > MOST_SETTINGS {
            self.is_flood.set(true);
        }
    }

    fn note_control(&self) {
        self.control.set(self.control.get() + 1);
        if self.control.get() <= MOST_CONTROL + self.sent.get() / BYTES_FOR_ONE {
            return;
        }
        let now = Instant::now();
        if now.duration_since(self.control_began.replace(now)) < SPAN {
            self.is_flood.set(true);
        }
        self.control.set(1);
        self.sent.set(0);
    }
}

/// Returns whether DATA ends a body or may have content. Padding of which a small frame may consist counts as none.
fn is_content(flags: u8, length: u32) -> bool {
    const END: u8 = 1;
    const PADDED: u8 = 8;
    flags & END != 0 || length > if flags & PADDED == 0 { 0 } else { 256 }
}

/// The head of a frame, without its stream.
#[derive(Clone, Copy, Debug)]
struct FrameHead {
    length: u32,
    kind: u8,
    flags: u8,
}

/// A transport of a caller over HTTP/2 whose frames are counted.
#[derive(Debug)]
pub(crate) struct MeteredTransport {
    transport: RewoundTransport,
    counts: Rc<FrameCounts>,
    position: FramePosition,
}

/// The place in a sequence of frames up to which it was read.
#[derive(Debug)]
struct FramePosition {
    /// How many bytes follow before the next head.
    left: usize,
    /// The beginning of a head that was not read to its end.
    head: [u8; HEAD],
    begun: usize,
}

impl MeteredTransport {
    /// Counts the frames of a transport; the first `preface` bytes are none.
    pub(crate) fn new(transport: RewoundTransport, preface: usize) -> Self {
        let position = FramePosition { left: preface, head: [0; HEAD], begun: 0 };
        Self { transport, counts: Rc::new(FrameCounts::new()), position }
    }

    /// Returns the counts of its frames.
    pub(crate) fn counts(&self) -> Rc<FrameCounts> {
        Rc::clone(&self.counts)
    }
}

impl FramePosition {
    /// Counts the frames whose heads end in `bytes`; returns how many bytes come before one that is too many.
    fn pass(&mut self, bytes: &[u8], counts: &FrameCounts) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            if self.left > 0 {
                let now = self.left.min(rest.len());
                self.left -= now;
                at += now;
                continue;
            }
            let now = (HEAD - self.begun).min(rest.len());
            self.head[self.begun..self.begun + now].copy_from_slice(&rest[..now]);
            self.begun += now;
            if self.begun == HEAD {
                let [high, middle, low, kind, flags, ..] = self.head;
                let length = u32::from_be_bytes([0, high, middle, low]);
                if !counts.note(FrameHead { length, kind, flags }) {
                    return at;
                }
                (self.begun, self.left) = (0, length as usize);
            }
            at += now;
        }
        at
    }
}

impl AsyncRead for MeteredTransport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { transport, counts, position } = &mut *self;
        if counts.is_flood() {
            // The session ends the connection.
            return Poll::Pending;
        }
        if counts.is_turn_over() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(transport).poll_read(cx, buf);
        let passed = position.pass(&buf.filled()[before..], counts);
        buf.set_filled(before + passed);
        if counts.is_flood() && passed == 0 {
            // No bytes would say that the caller has ended its side.
            return Poll::Pending;
        }
        read
    }
}

impl AsyncWrite for MeteredTransport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write(cx, bytes);
        self.counts.note_sent(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write_vectored(cx, slices);
        self.counts.note_sent(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

impl FrameCounts {
    fn note_sent(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.sent.set(self.sent.get() + *bytes as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::wire::transport::Transport;
    use std::pin::pin;
    use std::task::Waker;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::advance;

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    const SETTINGS: [u8; 15] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1];
    const ACK: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];

    struct FrameCaller {
        counts: FrameCounts,
        position: FramePosition,
    }

    impl FrameCaller {
        fn new() -> Self {
            let position = FramePosition { left: 0, head: [0; HEAD], begun: 0 };
            Self { counts: FrameCounts::new(), position }
        }

        /// Sends bytes; returns how many of them were passed on.
        fn send(&mut self, bytes: &[u8]) -> usize {
            self.position.pass(bytes, &self.counts)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn frames_are_found_however_they_are_cut() {
        let bytes = [&PING[..], &SETTINGS, &ACK, &PING].concat();
        for size in 1..bytes.len() {
            let mut caller = FrameCaller::new();
            for piece in bytes.chunks(size) {
                assert_eq!(caller.send(piece), piece.len());
            }
            let FrameCounts { settings, control, turn, .. } = &caller.counts;
            assert_eq!((settings.get(), control.get(), turn.get()), (1, 2, 4), "{size}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_may_send_so_many_settings_in_ten_seconds() {
        let mut caller = FrameCaller::new();
        for _ in 0..3 {
            for _ in 0..100 {
                caller.send(&SETTINGS);
                caller.send(&ACK);
            }
            assert!(!caller.counts.is_flood());
            advance(SPAN).await;
        }
        assert_eq!(
            caller.send(&SETTINGS.repeat(200)),
            100 * SETTINGS.len(),
            "nothing of the next is passed on"
        );
        assert!(caller.counts.is_flood());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_may_send_so_many_frames_without_content_for_what_it_receives() {
        let frame = |kind, flags| [0, 0, 0, kind, flags, 0, 0, 0, 1];
        let [priority, reset, window, unknown] = [2, 3, 8, 0x42].map(|kind| frame(kind, 0));
        for bytes in [&PING[..], &priority, &reset, &window, &unknown, &frame(0, 0), &frame(0, 8)] {
            let mut caller = FrameCaller::new();
            caller.send(&bytes.repeat(10_000));
            assert!(!caller.counts.is_flood(), "{bytes:?}");
            caller.counts.note_sent(&Poll::Ready(Ok(3200)));
            caller.send(&bytes.repeat(100));
            assert!(!caller.counts.is_flood(), "{bytes:?}");
            advance(SPAN).await;
            caller.send(&bytes.repeat(10_000));
            assert!(!caller.counts.is_flood(), "{bytes:?}");
            caller.send(bytes);
            assert!(caller.counts.is_flood(), "{bytes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_and_content_are_not_counted() {
        let mut caller = FrameCaller::new();
        let frame = |kind, flags, length| [0, 0, length, kind, flags, 0, 0, 0, 1];
        let (head, end) = (frame(1, 4, 0), frame(0, 1, 0));
        let data = [&frame(0, 0, 1)[..], b"x"].concat();
        for bytes in [&head[..], &end, &data] {
            caller.send(&bytes.repeat(30_000));
        }
        assert_eq!((caller.counts.is_flood(), caller.counts.control.get()), (false, 0));
    }

    #[tokio::test]
    async fn a_task_reads_so_many_frames_in_a_turn() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        caller.write_all(&PING.repeat(150)).await.unwrap();
        let rewound = RewoundTransport::new(None, Transport::Plain(stream));
        let mut metered = MeteredTransport::new(rewound, 0);
        let mut frame = [0; PING.len()];
        for _ in 0..2 {
            for _ in 0..TURN {
                metered.read_exact(&mut frame).await.unwrap();
            }
            let next = pin!(metered.read_exact(&mut frame));
            assert!(
                next.poll(&mut Context::from_waker(Waker::noop())).is_pending(),
                "others have their turns"
            );
            metered.counts().begin_turn();
        }
        metered.read_exact(&mut frame).await.unwrap();
    }
}
