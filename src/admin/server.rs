//! Connections of the admin server.

use super::{AdminState, pages};
use crate::drain::{Guard, Stage};
use crate::proxy::pause_after;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The time in which a client must send a head, also counted between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The limit on the bytes of a head.
const LONGEST_HEAD: usize = 64 * 1024;

/// The limit on connections served at once; more wait to be accepted.
const MOST_CONNECTIONS: usize = 100;

/// Serves until the drain of `guard` begins, and finishes the requests under way.
///
/// That drain is the admin server's own, after that of the routers: while they drain, it still answers.
pub async fn serve(listener: TcpListener, state: AdminState, mut guard: Guard) {
    let state = Arc::new(state);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, Arc::clone(&state), guard.clone()))),
                Err(error) => pause_after(&error).await,
            },
            Some(_) = connections.join_next() => {}
            () = guard.reached(Stage::Stopping) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection until it ends, or the drain ends it.
async fn connection(stream: TcpStream, state: Arc<AdminState>, mut guard: Guard) {
    let answer = service_fn(|request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(pages::answer(request, &state).await) }
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
        () = guard.reached(Stage::Stopping) => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                _ = serving => {}
                () = guard.reached(Stage::Forced) => {}
            }
        }
    }
}
