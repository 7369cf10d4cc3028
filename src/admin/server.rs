//! Connections of the admin server.

use super::connections::{AdminConnections, MOST_OPEN, serve_busily};
use super::{AdminState, PageSet, pages};
use crate::drain::{Guard, Stage};
use crate::proxy::{ConnectionPlace, pause_after};
use crate::tls;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::io::Errno;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The time in which a client must send a head, also counted between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The limit on the bytes of a head.
const LONGEST_HEAD: usize = 64 * 1024;

/// Serves the pages of a set until the drain of `guard` begins, and finishes the requests under way.
///
/// That drain is the admin server's own, after that of the routers: while they drain, it still answers. However many idle
/// connections there are, a further one is served. `closed` is dropped when the socket is closed.
pub async fn serve(
    listener: TcpListener,
    pages: PageSet,
    state: AdminState,
    mut guard: Guard,
    closed: oneshot::Sender<()>,
) {
    let state = Arc::new(state);
    let open = AdminConnections::default();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST_OPEN => match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = open.add(peer.ip()) else { continue };
                    let place = Arc::new(place);
                    let served = ServedConnection { pages, peer: peer.ip(), place, state: Arc::clone(&state) };
                    drop(connections.spawn(served.run(stream, guard.clone())));
                }
                Err(error) => {
                    if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) {
                        open.make_room();
                    }
                    pause_after(&error).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = guard.reached(Stage::Stopping) => break,
        }
    }
    drop((listener, closed));
    while connections.join_next().await.is_some() {}
}

/// A connection that is served.
struct ServedConnection {
    pages: PageSet,
    peer: IpAddr,
    place: Arc<ConnectionPlace>,
    state: Arc<AdminState>,
}

impl ServedConnection {
    /// Serves it until it ends, has to give way, or the drain ends it.
    async fn run(self, stream: TcpStream, mut guard: Guard) {
        let tls = match self.pages {
            PageSet::All => self.state.tls.borrow().clone(),
            PageSet::Metrics => None,
        };
        let Some(tls) = tls else { return self.serve(stream, guard).await };
        let handshake = tls::accept(stream, tls.current());
        let done = tokio::select! {
            done = timeout(HEAD_TIMEOUT, handshake) => done,
            () = poll_fn(|cx| self.place.poll_evicted(cx)) => return,
            () = guard.reached(Stage::Stopping) => return,
        };
        match done {
            Ok(Ok((stream, _))) => self.serve(stream, guard).await,
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.peer, "a handshake with the admin server failed: {error}");
            }
            Err(_) => {}
        }
    }

    /// Serves a connection, over TLS or without.
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin, mut guard: Guard) {
        let Self { pages, peer, place, state } = self;
        let answer = service_fn(|request| {
            let (state, place) = (Arc::clone(&state), Arc::clone(&place));
            async move {
                let answer = serve_busily(&place, pages::answer(request, pages, peer, &state)).await;
                Ok::<_, Infallible>(answer)
            }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(LONGEST_HEAD)
            .serve_connection(TokioIo::new(stream), answer);
        let mut serving = std::pin::pin!(serving);
        tokio::select! {
            // An error is the client's end of the connection, and needs no log line.
            _ = serving.as_mut() => {}
            () = poll_fn(|cx| place.poll_evicted(cx)) => {}
            () = guard.reached(Stage::Stopping) => {
                serving.as_mut().graceful_shutdown();
                tokio::select! {
                    _ = serving => {}
                    () = guard.reached(Stage::Forced) => {}
                }
            }
        }
    }
}
