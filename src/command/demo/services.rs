//! The services of the demo, as small as a user would write them.

use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, client, header, server};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The pause after a failure to accept a connection.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// The field in which a router names an override entry that led nowhere. It tells of one hop: a service that asks another
/// hands it back, so that the first caller learns of it.
const UNBOUND: HeaderName = HeaderName::from_static("l5d-dtab-unbound");

/// A service that listens until it is dropped.
#[derive(Debug)]
pub(super) struct DemoService {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

/// The `host:port` of the per-node router, known once it listens.
pub(super) type RouterAddress = Arc<OnceLock<String>>;

impl DemoService {
    /// Starts a version of `world`, which answers with its name.
    pub(super) async fn world(listen: SocketAddr, world: &str) -> io::Result<Self> {
        let world: Arc<str> = world.into();
        let answer = move |_, address| {
            let world = Arc::clone(&world);
            async move { text(StatusCode::OK, format!("{world} ({address})!!")) }
        };
        Self::start(listen, answer).await
    }

    /// Starts `hello`, which answers with a greeting and the answer of `world`, called through the per-node router.
    pub(super) async fn hello(listen: SocketAddr, node: RouterAddress) -> io::Result<Self> {
        Self::start(listen, move |request, address| {
            let node = node.get().cloned();
            async move {
                match call_world(node, request).await {
                    Ok(WorldAnswer { status, unbound, text: answer }) => {
                        let status =
                            if status == StatusCode::OK { String::new() } else { format!("[{status}] ") };
                        let mut response =
                            text(StatusCode::OK, format!("Hello ({address}) {status}{answer}"));
                        unbound.map(|entry| response.headers_mut().insert(UNBOUND, entry));
                        response
                    }
                    Err(error) => {
                        text(StatusCode::BAD_GATEWAY, format!("Hello ({address}) no world: {error}"))
                    }
                }
            }
        })
        .await
    }

    async fn start<F, A>(listen: SocketAddr, answer: F) -> io::Result<Self>
    where
        F: Fn(Request<Incoming>, SocketAddr) -> A + Clone + Send + 'static,
        A: Future<Output = Response<Full<Bytes>>> + Send,
    {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, local)) = accept(&listener).await else {
                    // The process may be out of file descriptors: others may be closed meanwhile.
                    sleep(AFTER_FAILURE).await;
                    continue;
                };
                let answer = answer.clone();
                let service = service_fn(move |request| {
                    let answering = answer(request, local);
                    async move { Ok::<_, Infallible>(answering.await) }
                });
                tokio::spawn(
                    server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Ok(Self { address, task })
    }
}

/// Accepts a connection. Returns the address it was accepted on: one of the machine's addresses also when the service
/// listens on all of them.
async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, _) = listener.accept().await?;
    let local = stream.local_addr()?;
    Ok((stream, local))
}

impl Drop for DemoService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The answer of `world`.
struct WorldAnswer {
    status: StatusCode,
    /// An override entry that led nowhere on the way, if there is one.
    unbound: Option<HeaderValue>,
    text: String,
}

/// Calls `world` with the method of the request at hand, and the headers that carry its context: `l5d-ctx-*` and
/// `baggage`.
async fn call_world(
    node: Option<String>,
    request: Request<Incoming>,
) -> Result<WorldAnswer, Box<dyn Error + Send + Sync>> {
    let node = node.ok_or("the router does not listen yet")?;
    let stream = TcpStream::connect(node).await?;
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut forwarded = Request::new(Empty::<Bytes>::new());
    *forwarded.method_mut() = request.method().clone();
    forwarded.headers_mut().insert(header::HOST, HeaderValue::from_static("world"));
    for (name, value) in request.headers() {
        if name.as_str().starts_with("l5d-ctx-") || name == "baggage" {
            forwarded.headers_mut().append(name, value.clone());
        }
    }
    let response = sender.send_request(forwarded).await?;
    let (status, unbound) = (response.status(), response.headers().get(UNBOUND).cloned());
    let body = response.into_body().collect().await?.to_bytes();
    Ok(WorldAnswer { status, unbound, text: String::from_utf8_lossy(&body).into_owned() })
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
