//! Listening sockets: all are bound before any accepts, and accepted connections are spread evenly over the workers.

use super::settings::{AcceptSettings, SocketOptions};
use crate::context::Peer;
use crate::drain::{Guard, Stage};
use crate::machine::{SocketUse, leaves_reserve};
use crate::proxy::limits::{ConnectionPlace, ConnectionTable};
use crate::proxy::metrics::AcceptCounters;
use crate::proxy::wire::transport::bound_unsent;
use mio::net::TcpListener;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// Binds a listening socket.
///
/// # Errors
///
/// The system's error: the address is in use, is not this machine's, or needs more rights.
pub fn bind(address: SocketAddr, options: &SocketOptions) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Without it, a restart would have to wait until the connections of the previous process are gone.
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    inherit_options(&SockRef::from(&socket), options);
    socket.listen(options.backlog)?;
    Ok(socket.into())
}

/// Binds a listening socket in place of others of this process, which are going to be closed: `leaving`. One of those may
/// have its port, at the same address or at one that includes it.
///
/// # Errors
///
/// Those of [`bind`].
pub fn bind_beside(
    address: SocketAddr,
    options: &SocketOptions,
    leaving: &[&std::net::TcpListener],
) -> io::Result<std::net::TcpListener> {
    let has_port = |socket: &&&std::net::TcpListener| {
        socket.local_addr().is_ok_and(|bound| bound.port() == address.port())
    };
    let beside: Vec<_> = leaving.iter().filter(has_port).map(|socket| SockRef::from(*socket)).collect();
    match bind(address, options) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && !beside.is_empty() => {}
        bound => return bound,
    }
    // The sockets of one user may share a port while all of them say so.
    let share = |socket: &SockRef<'_>| -> io::Result<bool> {
        let shared = socket.reuse_port()?;
        socket.set_reuse_port(true)?;
        Ok(shared)
    };
    let shared: Vec<_> = beside.iter().map(share).collect();
    let bound = bind(address, &SocketOptions { reuse_port: true, ..*options });
    for (socket, shared) in beside.iter().zip(shared) {
        socket.set_reuse_port(shared.unwrap_or_default())?;
    }
    let bound = bound?;
    SockRef::from(&bound).set_reuse_port(options.reuse_port)?;
    Ok(bound)
}

/// Applies options to a socket that listens.
///
/// # Errors
///
/// The system refuses one of them.
pub(super) fn apply_options(socket: &std::net::TcpListener, options: &SocketOptions) -> io::Result<()> {
    let socket = SockRef::from(socket);
    inherit_options(&socket, options);
    socket.set_reuse_port(options.reuse_port)?;
    // Of a socket that listens, it changes the number that may wait.
    socket.listen(options.backlog)
}

/// An accepted connection on its way to a worker.
#[derive(Debug)]
pub(crate) struct AcceptedConnection {
    pub(crate) stream: TcpStream,
    pub(crate) peer: Peer,
    /// The place of the connection, as long as it is open.
    pub(crate) place: ConnectionPlace,
}

/// A connection that is counted for its worker. Its drop ends the count.
#[derive(Debug)]
pub(crate) struct ConnectionCount(Arc<AtomicUsize>);

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The sending end of a listener's connections to one worker.
#[derive(Debug)]
pub(super) struct WorkerPort {
    /// How many connections the worker has, of all listeners.
    pub(super) connections: Arc<AtomicUsize>,
    pub(super) sender: mpsc::UnboundedSender<(AcceptedConnection, ConnectionCount)>,
}

/// One listening socket, with the workers that serve its connections.
pub(crate) struct Acceptor {
    pub(super) socket: Arc<std::net::TcpListener>,
    /// The address to which it is bound.
    pub(super) address: SocketAddr,
    pub(super) settings: watch::Receiver<ActiveSettings>,
    /// The open connections of this listener.
    pub(super) open: Arc<ConnectionTable>,
    pub(super) workers: Vec<WorkerPort>,
    /// Received when it is to accept; its error is the end.
    pub(super) begin: oneshot::Receiver<()>,
    pub(super) guard: Guard,
    /// Dropped when the socket is closed.
    pub(super) closed: oneshot::Sender<()>,
}

/// The settings of an acceptor, and the cells in which it counts.
#[derive(Clone, Debug)]
pub(super) struct ActiveSettings {
    pub(super) accept: AcceptSettings,
    pub(super) counters: Option<AcceptCounters>,
}

/// An acceptor whose socket is watched by the runtime.
pub(crate) struct OpenAcceptor {
    acceptor: Acceptor,
    /// Not tokio's listener: that one would have this runtime watch each connection, until it is handed over.
    watched: AsyncFd<TcpListener>,
}

impl Acceptor {
    /// Has the runtime watch the socket.
    ///
    /// # Errors
    ///
    /// It cannot.
    pub(crate) fn open(self) -> io::Result<OpenAcceptor> {
        let socket = TcpListener::from_std(self.socket.try_clone()?);
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types whose descriptor changes: this one's does not"
        )]
        let watched = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(OpenAcceptor { acceptor: self, watched })
    }
}

impl OpenAcceptor {
    /// Accepts until the drain begins; each connection goes to the worker that has the fewest.
    pub(crate) async fn run(self) {
        let Self { mut acceptor, watched } = self;
        if (&mut acceptor.begin).await.is_ok() {
            acceptor.accept(&watched).await;
        }
        let Acceptor { socket, closed, .. } = acceptor;
        drop((watched, socket));
        drop(closed);
    }
}

impl Acceptor {
    async fn accept(&mut self, watched: &AsyncFd<TcpListener>) {
        // Made once, and not for each connection.
        let mut guard = self.guard.clone();
        let mut last_call = pin!(guard.reached(Stage::LastCall));
        loop {
            let accepted = tokio::select! {
                accepted = watched.async_io(Interest::READABLE, accept_one) => accepted,
                () = &mut last_call => break,
            };
            match accepted {
                Ok((stream, remote)) => {
                    if self.admit(stream, remote).await.is_none() {
                        return;
                    }
                }
                Err(error) => pause_after(&error).await,
            }
        }
        // Connections that the system has accepted already would be reset when the socket is closed.
        let most = self.settings.borrow().accept.socket.backlog;
        for _ in 0..most {
            let Ok((stream, remote)) = accept_one(watched.get_ref()) else { break };
            if self.admit(stream, remote).await.is_none() {
                break;
            }
        }
    }

    /// Hands a connection over to a worker, or refuses it; None when no worker is left.
    async fn admit(&mut self, mut stream: TcpStream, remote: SocketAddr) -> Option<()> {
        // A connection without a local address has ended already.
        let Ok(local) = self.local_address(&stream) else { return Some(()) };
        let ActiveSettings { accept, counters } = self.settings.borrow().clone();
        let Some(place) = self.admission(&mut stream, remote, &accept, counters.as_ref()).await else {
            if let Some(counters) = counters {
                counters.refused.increment();
            }
            refuse(&stream, accept.is_encrypted);
            return Some(());
        };
        if !IS_INHERITED {
            set_options(&SockRef::from(&stream), &accept.socket);
        }
        hand_over(AcceptedConnection { stream, peer: Peer::new(remote, local), place }, &mut self.workers)
    }

    /// Returns the local address of a connection: that of the socket, unless it is bound to all addresses.
    fn local_address(&self, stream: &TcpStream) -> io::Result<SocketAddr> {
        if self.address.ip().to_canonical().is_unspecified() { stream.local_addr() } else { Ok(self.address) }
    }

    /// Finds a place for a connection. One that takes a descriptor of those that are kept for other uses waits until another
    /// has made room for it, and takes that descriptor. It makes no room while room is being made already: a burst of them
    /// would end all that are idle, before the first descriptor is free again.
    async fn admission(
        &self,
        stream: &mut TcpStream,
        remote: SocketAddr,
        accept: &AcceptSettings,
        counters: Option<&AcceptCounters>,
    ) -> Option<ConnectionPlace> {
        let is_beyond = !leaves_reserve(stream, SocketUse::Caller);
        let mut limits = accept.accept_limits();
        if is_beyond {
            if self.open.is_making_room() {
                return None;
            }
            limits.total = limits.total.min(self.open.count());
        }
        let ended = self.open.ended();
        let admission = self.open.admit(remote.ip(), limits)?;
        if let Some(counters) = counters {
            counters.evicted.add(admission.evicted);
        }
        if is_beyond {
            // One that has not ended by then is noticed by its descriptor.
            let _ = timeout(LONGEST_END, ended).await;
            // It has the lowest descriptor that is free.
            let lower = stream.try_clone().ok()?;
            if !leaves_reserve(&lower, SocketUse::Caller) {
                return None;
            }
            *stream = lower;
        }
        Some(admission.place)
    }
}

/// How long a newcomer waits for the descriptor of a connection that makes room for it; no other is accepted meanwhile.
const LONGEST_END: Duration = Duration::from_millis(500);

/// Accepts a connection that waits. It does not block, and no program that this process starts inherits it.
fn accept_one(socket: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, remote) = socket.accept()?;
    Ok((OwnedFd::from(stream).into(), remote))
}

/// The response to a connection beyond the limit. A caller that speaks HTTP/1 can read it.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 21\r\n\r\ntoo many connections\n";

/// The alert to a connection beyond the limit of a listener with TLS: fatal, `internal_error` (RFC 8446 6.2), which stands for a
/// lack of resources. Before a handshake it is in clear.
const TOO_MANY_ENCRYPTED: &[u8] = b"\x15\x03\x03\0\x02\x02\x50";

/// Tells the caller that there are too many connections, as far as the socket allows at once: the acceptor never waits
/// for a caller.
fn refuse(mut stream: &TcpStream, is_encrypted: bool) {
    // Closing while received bytes are unread would reset the connection, and the response could be lost (RFC 9112
    // 9.6).
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write(refusal(is_encrypted));
}

/// Returns what a caller is told when there are too many connections.
pub(super) const fn refusal(is_encrypted: bool) -> &'static [u8] {
    if is_encrypted { TOO_MANY_ENCRYPTED } else { TOO_MANY }
}

/// Gives a connection to the worker that has the fewest; None when no worker is left.
///
/// A worker that has ended is left out, and the others go on serving.
fn hand_over(mut accepted: AcceptedConnection, workers: &mut Vec<WorkerPort>) -> Option<()> {
    loop {
        let (at, fewest) =
            workers.iter().enumerate().min_by_key(|(_, worker)| worker.connections.load(Relaxed))?;
        fewest.connections.fetch_add(1, Relaxed);
        let counted = ConnectionCount(Arc::clone(&fewest.connections));
        match fewest.sender.send((accepted, counted)) {
            Ok(()) => return Some(()),
            Err(mpsc::error::SendError((returned, _))) => accepted = returned,
        }
        workers.remove(at);
    }
}

/// Waits for 100 ms after an error of accept that is not about one connection, such as running out of descriptors or
/// memory: the next accept would fail at once, again and again.
pub async fn pause_after(error: &io::Error) {
    let of_one_connection = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    );
    if !of_one_connection {
        tracing::warn!(%error, "cannot accept connections");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether a connection has the options of the socket that accepted it. POSIX leaves that open.
const IS_INHERITED: bool = cfg!(target_os = "linux");

/// Sets the options of connections on the socket that accepts them, where they have them from there.
fn inherit_options(socket: &SockRef<'_>, options: &SocketOptions) {
    if IS_INHERITED {
        set_options(socket, options);
    }
}

/// Sets the options of connections. Errors are ignored: a socket without the options still works.
fn set_options(socket: &SockRef<'_>, options: &SocketOptions) {
    let _ = socket.set_tcp_nodelay(options.no_delay);
    let _ = socket.set_keepalive(options.keep_alive);
    bound_unsent(socket);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{OFlags, fcntl_getfl};
    use rustix::io::{FdFlags, fcntl_getfd};

    /// A caller, and the connection that was accepted of it.
    fn accepted(listener: &std::net::TcpListener) -> (TcpStream, TcpStream) {
        let address = listener.local_addr().unwrap();
        let caller = TcpStream::connect(address).unwrap();
        let listener = TcpListener::from_std(listener.try_clone().unwrap());
        let stream = loop {
            match accept_one(&listener) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                stream => break stream.unwrap().0,
            }
        };
        (caller, stream)
    }

    #[test]
    fn an_accepted_connection_does_not_block_and_is_not_inherited() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), &SocketOptions::default()).unwrap();
        let (_caller, stream) = accepted(&listener);
        assert!(fcntl_getfl(&stream).unwrap().contains(OFlags::NONBLOCK));
        assert!(fcntl_getfd(&stream).unwrap().contains(FdFlags::CLOEXEC));
    }

    /// On other systems they are set when the connection is accepted.
    #[cfg(target_os = "linux")]
    #[test]
    fn an_accepted_connection_has_the_options_of_its_listener() {
        let address = "127.0.0.1:0".parse().unwrap();
        let options = SocketOptions::default();
        let listener = bind(address, &options).unwrap();
        let expect = |no_delay, keep_alive| {
            let (_caller, stream) = accepted(&listener);
            let socket = SockRef::from(&stream);
            assert_eq!((socket.tcp_nodelay().unwrap(), socket.keepalive().unwrap()), (no_delay, keep_alive));
            assert_eq!(socket.tcp_notsent_lowat().unwrap(), 128 * 1024);
        };
        expect(true, false);
        apply_options(&listener, &SocketOptions { no_delay: false, keep_alive: true, ..options }).unwrap();
        expect(false, true);
        apply_options(&listener, &options).unwrap();
        expect(true, false);
    }
}
