//! The kernel's buffer for bytes that a peer has sent and the router has not read yet.

use std::cell::Cell;
use tokio::net::TcpStream;

/// How many bytes of a body its receiver has to take until the kernel may grow the buffer of its sender.
///
/// It is more than fits into the sockets on the way to a receiver that reads nothing.
const MOST_UNTRIED: u64 = 512 * 1024;

/// The bound on the kernel's receive buffer of one connection over HTTP/1, for the bodies of responses and for tunnels. Bodies of
/// requests have none: 1 MiB sent would cost a tenth more.
///
/// Left to itself, the kernel grows the buffer to megabytes while the first 350 kB of a body are read, and fills it when the
/// receiver of that body then takes no more. Here the buffer has a fixed size until the receiver has taken much of the body.
/// From then on to the end of that body, the kernel may grow it as far as `net.ipv4.tcp_rmem` and the length of the path ask
/// for. A buffer that was grown stays as large as it is, and so a connection to an endpoint that has one does not wait long for
/// another request.
#[derive(Debug, Default)]
pub(super) struct ReceiveBuffer {
    growth: Cell<Growth>,
    /// How many bytes of the present body its receiver has taken.
    taken: Cell<u64>,
    /// Whether the kernel may have grown it.
    may_be_large: Cell<bool>,
}

/// The growth of a buffer.
#[derive(Clone, Copy, Debug, Default)]
enum Growth {
    /// It is the kernel's, for no body has begun yet.
    #[default]
    Untouched,
    /// The kernel may not grow it.
    Stopped,
    /// The kernel may grow it until the body ends.
    Allowed,
    /// It is the kernel's, which cannot be told to begin with it again.
    Uncontrolled,
}

impl ReceiveBuffer {
    /// Begins a body that comes through the socket.
    #[inline]
    pub(super) fn begin_body(&self, socket: &TcpStream) {
        self.taken.set(0);
        let stopped = match self.growth.get() {
            Growth::Stopped | Growth::Uncontrolled => return,
            Growth::Untouched => kernel::bound(socket),
            Growth::Allowed => kernel::stop_growth(socket),
        };
        self.growth.set(if stopped { Growth::Stopped } else { Growth::Uncontrolled });
    }

    /// Counts bytes of the body that its receiver has taken. Returns whether the buffer may grow from now on, which it is then
    /// told by [`Self::allow_growth`].
    #[inline]
    pub(super) fn add_taken(&self, len: usize) -> bool {
        let taken = self.taken.get() + len as u64;
        self.taken.set(taken);
        taken > MOST_UNTRIED && matches!(self.growth.get(), Growth::Stopped)
    }

    /// Returns whether the kernel may have grown the buffer.
    pub(super) fn may_be_large(&self) -> bool {
        self.may_be_large.get()
    }

    /// Allows the kernel to grow the buffer until the body ends.
    pub(super) fn allow_growth(&self, socket: &TcpStream) {
        self.may_be_large.set(true);
        self.growth.set(if kernel::allow_growth(socket) { Growth::Allowed } else { Growth::Uncontrolled });
    }
}

/// The options of a socket by which its buffer is bounded. Each function returns whether the kernel has them.
#[cfg(target_os = "linux")]
mod kernel {
    use nix::sys::socket::{getsockopt, setsockopt};
    use nix::{getsockopt_impl, libc, setsockopt_impl, sockopt_impl};
    use socket2::SockRef;
    use std::sync::OnceLock;
    use tokio::net::TcpStream;

    /// The size of a buffer, in bytes of memory. With those that wait in the socket of a receiver that reads nothing, 160 kB at
    /// most, they are less than 512 KiB.
    const MOST_UNREAD: usize = 344 * 1024;

    sockopt_impl!(
        /// The buffers of a socket whose size the kernel leaves as it is, since Linux 5.14 (`SO_BUF_LOCK`).
        BufferLocks,
        Both,
        libc::SOL_SOCKET,
        libc::SO_BUF_LOCK,
        u32
    );

    /// The receive buffer among [`BufferLocks`], `SOCK_RCVBUF_LOCK`.
    pub(super) const RECEIVE_BUFFER: u32 = 2;

    pub(super) fn bound(socket: &TcpStream) -> bool {
        static HAS_LOCKS: OnceLock<bool> = OnceLock::new();
        // Without them, a buffer that was given a size could not grow again. The kernel doubles the size, for what it needs to
        // keep the bytes, and grows the buffer no more.
        *HAS_LOCKS.get_or_init(|| getsockopt(socket, BufferLocks).is_ok())
            && SockRef::from(socket).set_recv_buffer_size(MOST_UNREAD / 2).is_ok()
    }

    pub(super) fn stop_growth(socket: &TcpStream) -> bool {
        setsockopt(socket, BufferLocks, &RECEIVE_BUFFER).is_ok()
    }

    pub(super) fn allow_growth(socket: &TcpStream) -> bool {
        setsockopt(socket, BufferLocks, &0).is_ok()
    }
}

/// Other systems grow buffers as well, and cannot be told to stop and to begin again.
#[cfg(not(target_os = "linux"))]
mod kernel {
    use tokio::net::TcpStream;

    pub(super) fn bound(_: &TcpStream) -> bool {
        false
    }

    pub(super) fn stop_growth(_: &TcpStream) -> bool {
        false
    }

    pub(super) fn allow_growth(_: &TcpStream) -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::kernel::{BufferLocks, RECEIVE_BUFFER};
    use super::*;
    use crate::message::Framing;
    use crate::proxy::wire::connection::Connection;
    use crate::proxy::wire::http1::Http1Reader;
    use crate::proxy::wire::object_pool::ObjectPool;
    use crate::proxy::wire::transport::Transport;
    use nix::sys::socket::getsockopt;
    use socket2::{SockRef, Socket};
    use std::rc::Rc;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    /// A connection, the socket under it once more, and its peer.
    async fn pair() -> (Rc<Connection>, Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(connecting, listener.accept());
        let near = near.unwrap();
        let socket = SockRef::from(&near).try_clone().unwrap();
        (Connection::new(Transport::Plain(near), ObjectPool::default()), socket, far.unwrap().0)
    }

    fn locks(socket: &Socket) -> u32 {
        getsockopt(socket, BufferLocks).unwrap()
    }

    /// Reads and uses up so many bytes of a body; the peer sends without end meanwhile.
    async fn take(body: &mut Http1Reader, mut count: usize, far: &mut TcpStream) {
        let bytes = vec![b'x'; 1 << 20];
        while count > 0 {
            tokio::select! {
                piece = body.next() => count = count.saturating_sub(piece.unwrap().unwrap().bytes().len()),
                sent = far.write(&bytes) => drop(sent.unwrap()),
            }
        }
    }

    #[tokio::test]
    async fn a_buffer_grows_once_much_of_a_body_was_taken() {
        const ALL: Framing = Framing::Length(1 << 40);
        for framing in [ALL, Framing::Close] {
            let (connection, socket, mut far) = pair().await;
            let untouched = socket.recv_buffer_size().unwrap();
            drop(Http1Reader::of_response(Rc::clone(&connection), Framing::None));
            assert_eq!((locks(&socket), socket.recv_buffer_size().unwrap()), (0, untouched));

            let mut body = Http1Reader::of_response(Rc::clone(&connection), framing);
            let bounded = socket.recv_buffer_size().unwrap();
            assert!(bounded <= 344 * 1024, "{bounded} bytes");
            take(&mut body, 400 * 1024, &mut far).await;
            assert_eq!(socket.recv_buffer_size().unwrap(), bounded);
            assert_eq!(locks(&socket), RECEIVE_BUFFER);
            assert!(!connection.may_have_large_buffer());

            take(&mut body, 200 * 1024, &mut far).await;
            assert_eq!(locks(&socket), 0, "the kernel may grow it");
            take(&mut body, 16 << 20, &mut far).await;
            let grown = socket.recv_buffer_size().unwrap();
            assert!(grown >= bounded, "{grown} of {bounded} bytes");
            assert!(connection.may_have_large_buffer());

            drop(body);
            drop(Http1Reader::of_response(connection, framing));
            assert_eq!(locks(&socket), RECEIVE_BUFFER, "another body has begun");
            assert_eq!(socket.recv_buffer_size().unwrap(), grown);
        }
    }
}
