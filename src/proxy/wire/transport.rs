//! The bytes of a connection, as they pass through the socket.

use super::buffer::Buffer;
use super::object_pool::Pooled;
use crate::tls::TlsStream;
use socket2::SockRef;
use std::io::{self, ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How many bytes the kernel takes beyond those that are on their way to a peer.
#[cfg(target_os = "linux")]
const MOST_UNSENT: u32 = 128 * 1024;

/// Bounds what the kernel takes of the bytes for a peer that reads nothing: it would fill a buffer that the kernel has grown to
/// megabytes. The buffer for bytes on their way grows as before, so that a peer far away is sent as much at once as its path
/// takes. A socket without the option works as before.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "other systems have no such option"))]
pub(crate) fn bound_unsent(socket: &SockRef<'_>) {
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(MOST_UNSENT);
}

/// The transport under a connection. Only this type knows how bytes get into the socket.
#[derive(Debug)]
pub(crate) enum Transport {
    /// TCP, without encryption.
    Plain(TcpStream),
    /// TLS over TCP. Boxed, so that connections without it do not pay for its size.
    Tls(Box<TlsStream>),
}

impl Transport {
    /// Returns whether the peer has closed the connection, or sent bytes, while the connection was idle.
    ///
    /// `ask_kernel` also finds out what the runtime has not been told yet, at the price of one system call.
    pub(crate) fn is_stale(&mut self, ask_kernel: bool) -> bool {
        let read = match self {
            Self::Plain(stream) if ask_kernel => SockRef::from(&*stream).peek(&mut [MaybeUninit::uninit()]),
            Self::Plain(stream) => stream.try_read(&mut [0]),
            Self::Tls(stream) => return stream.is_stale(ask_kernel),
        };
        !matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Has the kernel acknowledge at once what has come, instead of with the next bytes that go out, or 40 ms later: a peer
    /// that writes a head and its body apart waits for that between the two (RFC 896, RFC 1122 4.2.3.2).
    #[cfg_attr(
        not(target_os = "linux"),
        expect(clippy::unused_self, reason = "other systems have no such option")
    )]
    pub(crate) fn acknowledge(&self) {
        #[cfg(target_os = "linux")]
        {
            // A socket that refuses works as before.
            let _ = SockRef::from(self.socket()).set_tcp_quickack(true);
        }
    }

    /// Makes the end of the connection a reset, so that the peer cannot take a part for the whole.
    pub(crate) fn reset_on_close(&mut self) {
        // A socket that refuses is closed as any other.
        let _ = SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
        if let Self::Tls(stream) = self {
            stream.end_abruptly();
        }
    }

    /// Returns the socket under it.
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.socket(),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

/// A transport whose first bytes were read already: they are read once more, before those that follow.
#[derive(Debug)]
pub(crate) struct RewoundTransport {
    begun: Option<Pooled<Buffer>>,
    transport: Transport,
}

impl RewoundTransport {
    /// Puts the bytes that were read back in front of the transport.
    pub(crate) fn new(begun: Option<Pooled<Buffer>>, transport: Transport) -> Self {
        Self { begun, transport }
    }
}

impl AsyncRead for RewoundTransport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(begun) = &mut self.begun else { return Pin::new(&mut self.transport).poll_read(cx, buf) };
        let len = begun.data().len().min(buf.remaining());
        buf.put_slice(&begun.data()[..len]);
        begun.consume(len);
        if begun.is_empty() {
            self.begun = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RewoundTransport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, slices)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::wire::object_pool::ObjectPool;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    async fn pair() -> (Transport, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(connecting, listener.accept());
        (Transport::Plain(near.unwrap()), far.unwrap().0)
    }

    /// Waits until the transport has something to read, be it the end.
    async fn readable(transport: &Transport) {
        transport.socket().readable().await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_is_stale_once_its_peer_has_spoken_or_gone() {
        for ask_kernel in [true, false] {
            let (mut idle, mut far) = pair().await;
            assert!(!idle.is_stale(ask_kernel));
            far.write_all(b"unasked").await.unwrap();
            readable(&idle).await;
            assert!(idle.is_stale(ask_kernel), "bytes that no request asked for");
            let (mut idle, far) = pair().await;
            drop(far);
            readable(&idle).await;
            assert!(idle.is_stale(ask_kernel), "the peer has closed it");
        }
    }

    #[tokio::test]
    async fn a_reset_reaches_the_peer() {
        let (mut transport, mut far) = pair().await;
        transport.reset_on_close();
        drop(transport);
        let error = far.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn bytes_that_were_read_are_read_again() {
        let (transport, mut far) = pair().await;
        let mut begun = ObjectPool::<Buffer>::default().take();
        begun.out().extend_from_slice(b"PRI * ");
        let mut rewound = RewoundTransport::new(Some(begun), transport);
        far.write_all(b"HTTP/2.0").await.unwrap();
        let mut read = [0; 14];
        // Two at a time: the first bytes are given out in pieces.
        for piece in read.chunks_mut(2) {
            rewound.read_exact(piece).await.unwrap();
        }
        assert_eq!(&read, b"PRI * HTTP/2.0");
        rewound.write_all(b"answer").await.unwrap();
        far.read_exact(&mut read[..6]).await.unwrap();
        assert_eq!(&read[..6], b"answer");
    }
}
