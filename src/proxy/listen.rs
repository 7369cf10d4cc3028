//! Listeners: sockets bound before any accepts, accepted connections spread evenly over the workers.

use super::RouterSettings;
use super::error::Error;
use crate::context::Peer;
use crate::drain::{Guard, Stage};
use crate::message;
use crate::telemetry::Counter;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What a listener bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Bounds on a request's head.
    pub heads: message::HeadLimits,
    /// How long a head may take from its first byte to its last: `headersTimeoutMs`.
    pub head: Duration,
    /// How long a connection may wait for a request: `serverSession.idleTimeMs`, or else
    /// `socketOptions.readTimeoutMs`.
    pub idle: Duration,
    /// How old a connection may become: `serverSession.lifeTimeMs`. The request that is being served then is its last.
    pub life: Option<Duration>,
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
            heads: message::HeadLimits { line: 4 * 1024, fields_bytes: 8 * 1024, fields: 100 },
            head: Duration::from_secs(10),
            idle: Duration::from_secs(600),
            life: None,
            request: None,
            stalled: Duration::from_secs(60),
            error_bytes: 5120 * 1024,
        }
    }
}

impl Limits {
    /// How long a connection of that age may wait for a request.
    pub(crate) fn wait(&self, opened: Instant) -> Duration {
        // The clock is read only where the age matters.
        self.life.map_or(self.idle, |life| self.idle.min(life.saturating_sub(opened.elapsed())))
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

/// How much of something there may be at once, `maxConcurrentRequests` or `maxConnections`: counted over all workers,
/// and nobody waits.
///
/// Another limit on the same count counts what was there before.
#[derive(Clone, Debug)]
pub(crate) struct Permits {
    limit: usize,
    taken: Arc<AtomicUsize>,
}

/// The right to one request or connection; its drop gives it back.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AtomicUsize>);

/// What is counted of one listener over all workers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Requests that are being served, while their number is limited.
    pub(crate) requests: Arc<AtomicUsize>,
    /// Connections that are open.
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Permits {
    pub(crate) fn new(limit: usize, taken: &Arc<AtomicUsize>) -> Self {
        Self { limit, taken: Arc::clone(taken) }
    }

    pub(crate) fn take(&self) -> Result<Permit, Error> {
        if self.taken.fetch_add(1, Relaxed) >= self.limit {
            self.taken.fetch_sub(1, Relaxed);
            return Err(Error::Busy { limit: self.limit });
        }
        Ok(Permit(Arc::clone(&self.taken)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
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
    /// Held as long as the connection is open.
    pub(crate) permit: Permit,
}

/// The way to one worker.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) sender: mpsc::UnboundedSender<Accepted>,
}

/// One listening socket, and what becomes of the connections it accepts.
pub(crate) struct Acceptor {
    /// Its position among the listeners.
    pub(crate) listener: usize,
    pub(crate) socket: std::net::TcpListener,
    pub(crate) options: SocketOptions,
    pub(crate) settings: watch::Receiver<Vec<RouterSettings>>,
    /// How many connections of this listener are open.
    pub(crate) open: Arc<AtomicUsize>,
    /// How many were refused.
    pub(crate) refused: Counter,
    pub(crate) workers: Vec<Mailbox>,
}

impl Acceptor {
    /// Accepts until the drain begins; each connection goes to the worker that has the fewest.
    ///
    /// # Errors
    ///
    /// The socket cannot be watched.
    pub(crate) async fn run(mut self, mut guard: Guard) -> io::Result<()> {
        let socket = TcpListener::from_std(self.socket.try_clone()?)?;
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = guard.reached(Stage::LastCall) => break,
            };
            match accepted {
                Ok((stream, remote)) => {
                    let Ok(stream) = stream.into_std() else { continue };
                    if self.take(stream, remote).is_none() {
                        return Ok(());
                    }
                }
                Err(error) => pause_after(&error).await,
            }
        }
        // Who is connected as far as the system is concerned would be reset with the socket.
        for _ in 0..self.options.backlog {
            let Ok((stream, remote)) = self.socket.accept() else { break };
            if stream.set_nonblocking(true).is_ok() && self.take(stream, remote).is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Hands a connection over to a worker, or refuses it; None when there is no worker left.
    fn take(&mut self, stream: std::net::TcpStream, remote: SocketAddr) -> Option<()> {
        // Without an address it was gone before it was there.
        let Ok(local) = stream.local_addr() else { return Some(()) };
        let Ok(permit) = Permits::new(self.most_connections(), &self.open).take() else {
            self.refused.increment();
            refuse(&stream);
            return Some(());
        };
        set_options(&stream, self.options);
        let (listener, peer) = (self.listener, Peer::new(remote, local));
        hand_over(Accepted { listener, stream, peer, permit }, &mut self.workers)
    }

    /// How many connections this listener may have now.
    fn most_connections(&self) -> usize {
        let settings = self.settings.borrow();
        let mut listeners = settings.iter().flat_map(|router| &router.listeners);
        listeners.nth(self.listener).map_or(0, |listener| listener.max_connections)
    }
}

/// What a connection beyond the limit is told, in the hope that it speaks HTTP/1.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 21\r\n\r\ntoo many connections\n";

/// Tells a connection that it is one too many, as far as that takes no time: whoever has too many cannot wait for them.
fn refuse(mut stream: &std::net::TcpStream) {
    // Closing while bytes wait to be read would reset the connection, and the answer could be lost (RFC 9112 9.6).
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write(TOO_MANY);
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
pub async fn pause_after(error: &io::Error) {
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
fn set_options(stream: &std::net::TcpStream, options: SocketOptions) {
    let _ = stream.set_nodelay(options.no_delay);
    if options.keep_alive {
        let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new());
    }
}
