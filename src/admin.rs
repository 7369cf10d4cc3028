//! Shows the state of the router on a port of its own: for now, that it is alive.
//!
//! What is shown comes as values; nothing here changes routing.

use crate::drain::{Guard, Stage};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How long a client may take to send a head, and to wait between two.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many connections are served at once; more wait to be accepted.
const MOST_CONNECTIONS: usize = 100;

/// Serves until the drain begins, and finishes what was begun.
pub async fn serve(listener: TcpListener, mut guard: Guard) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let mut guard = guard.clone();
                    connections.spawn(async move {
                        let serving = http1::Builder::new()
                            .timer(TokioTimer::new())
                            .header_read_timeout(PATIENCE)
                            .serve_connection(TokioIo::new(stream), service_fn(answer));
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
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "no admin connection can be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = guard.reached(Stage::Stopping) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/admin/ping") => (StatusCode::OK, "pong"),
        (_, "/admin/ping") => (StatusCode::METHOD_NOT_ALLOWED, "ask with GET\n"),
        _ => (StatusCode::NOT_FOUND, "here is: /admin/ping\n"),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/plain"));
    Ok(response)
}
