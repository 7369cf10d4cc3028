//! Connections of the admin server.

use super::{Shown, pages};
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

/// How long a client may take to send a head, and to wait between two.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many bytes a head may have.
const LONGEST_HEAD: usize = 64 * 1024;

/// How many connections are served at once; more wait to be accepted.
const MOST_CONNECTIONS: usize = 100;

/// Serves until the drain of `guard` begins, and finishes what was begun.
///
/// That drain is the admin server's own, after that of the routers: while they drain, it still answers.
pub async fn serve(listener: TcpListener, shown: Shown, mut guard: Guard) {
    let shown = Arc::new(shown);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, Arc::clone(&shown), guard.clone()))),
                Err(error) => pause_after(&error).await,
            },
            Some(_) = connections.join_next() => {}
            () = guard.reached(Stage::Stopping) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, shown: Arc<Shown>, mut guard: Guard) {
    let answer = service_fn(|request| {
        let shown = Arc::clone(&shown);
        async move { Ok::<_, Infallible>(pages::answer(request, &shown).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), answer);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        // A client that breaks its connection off is nobody's concern here.
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
