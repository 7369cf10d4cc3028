//! Listeners: sockets bound before any accepts, accepted connections spread evenly over the workers.

use super::error::Error;
use crate::context::Peer;
use crate::message;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What a listener bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Bounds on a request's head.
    pub heads: message::Limits,
    /// How long a head may take from its first byte to its last.
    pub head: Duration,
    /// How long a connection may wait for a request.
    pub idle: Duration,
    /// How long a request may take until its response begins: `timeoutMs`.
    pub request: Option<Duration>,
    /// How long a caller may send nothing of a body that is awaited, or take nothing of what is written to it: the
    /// shorter of `socketOptions.readTimeoutMs` and `socketOptions.writeTimeoutMs`. It is given up between once and
    /// twice that time.
    pub stalled: Duration,
    /// How many bytes an error's text may have: `maxErrResponseKB`.
    pub error_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heads: message::Limits { line: 4 * 1024, fields_bytes: 8 * 1024, fields: 100 },
            head: Duration::from_secs(10),
            idle: Duration::from_secs(600),
            request: None,
            stalled: Duration::from_secs(60),
            error_bytes: 5120 * 1024,
        }
    }
}

/// Options of a listening socket and of the connections it accepts: `socketOptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Small writes leave at once.
    pub no_delay: bool,
    /// Several processes may listen on the port.
    pub reuse_port: bool,
    /// Idle connections are probed.
    pub keep_alive: bool,
    /// How many connections may wait to be accepted.
    pub backlog: i32,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { no_delay: true, reuse_port: false, keep_alive: false, backlog: 1024 }
    }
}

/// `maxConcurrentRequests`: counted over all workers, and nobody waits.
#[derive(Debug)]
pub(crate) struct Permits {
    limit: usize,
    taken: AtomicUsize,
}

/// The right to one request; its drop gives it back.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

impl Permits {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicUsize::new(0) })
    }

    pub(crate) fn take(self: &Arc<Self>) -> Result<Permit, Error> {
        if self.taken.fetch_add(1, Relaxed) >= self.limit {
            self.taken.fetch_sub(1, Relaxed);
            return Err(Error::Busy { limit: self.limit });
        }
        Ok(Permit(Arc::clone(self)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Relaxed);
    }
}

/// Binds a listening socket.
///
/// # Errors
///
/// What the system says: the address is in use, is not this machine's, or needs more rights.
pub fn bind(address: SocketAddr, options: &SocketOptions) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Without it a restart would have to wait for the connections of the process before.
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    Ok(socket.into())
}

/// An accepted connection on its way to a worker.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The position of its listener.
    pub(crate) listener: usize,
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: Peer,
}

/// The way to one worker.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) sender: mpsc::UnboundedSender<Accepted>,
}

/// Accepts until dropped; each connection goes to the worker that has the fewest.
pub(crate) async fn accept(
    listener: usize,
    socket: std::net::TcpListener,
    options: SocketOptions,
    mut workers: Vec<Mailbox>,
) -> io::Result<()> {
    let socket = TcpListener::from_std(socket)?;
    loop {
        let (stream, peer) = match socket.accept().await {
            Ok((stream, remote)) => match stream.local_addr() {
                Ok(local) => (stream, Peer::new(remote, local)),
                // It was gone before it was there.
                Err(_) => continue,
            },
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        set_options(&stream, options);
        let Ok(stream) = stream.into_std() else { continue };
        if hand_over(Accepted { listener, stream, peer }, &mut workers).is_none() {
            return Ok(());
        }
    }
}

/// Gives a connection to the worker that has the fewest; None when there is no worker left.
///
/// One that has ended is passed by: the others go on serving.
fn hand_over(mut accepted: Accepted, workers: &mut Vec<Mailbox>) -> Option<()> {
    loop {
        let (at, fewest) =
            workers.iter().enumerate().min_by_key(|(_, worker)| worker.connections.load(Relaxed))?;
        fewest.connections.fetch_add(1, Relaxed);
        match fewest.sender.send(accepted) {
            Ok(()) => return Some(()),
            Err(mpsc::error::SendError(returned)) => accepted = returned,
        }
        workers.remove(at);
    }
}

/// Waits a little when the process is out of descriptors or memory: the next accept would fail at once, for ever.
async fn pause_after(error: &io::Error) {
    let of_one_connection = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    );
    if !of_one_connection {
        tracing::warn!(%error, "no connection can be accepted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Options that a socket refuses leave it usable.
fn set_options(stream: &tokio::net::TcpStream, options: SocketOptions) {
    let _ = stream.set_nodelay(options.no_delay);
    if options.keep_alive {
        let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new());
    }
}
