//! A proxy before the API server, as `kubectl proxy` is one, which ends watches and holds requests back when it is told
//! to.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::ConfigExt as _;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet, spawn_local};
use tower::{BoxError, ServiceBuilder};

/// A proxy before the API server; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Gate {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
    /// Each answer that is under way has a receiver.
    answers: watch::Sender<()>,
    /// How many requests have come.
    asked: Rc<Cell<u64>>,
    server: AbortHandle,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Gate {
    /// Starts one, whose requests are this client's.
    pub(crate) async fn start(config: &kube::Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let (is_open, answers) = (watch::Sender::new(true), watch::Sender::new(()));
        let asked = Rc::<Cell<_>>::default();
        let passing = Passing {
            client: client(config),
            is_open: is_open.subscribe(),
            answers: answers.clone(),
            asked: Rc::clone(&asked),
        };
        let server = spawn_local(serve(listener, passing)).abort_handle();
        Self { address, is_open, answers, asked, server }
    }

    /// The keys of a namer that asks here.
    pub(crate) fn keys(&self) -> String {
        format!("host: {}, port: {}", self.address.ip(), self.address.port())
    }

    /// Ends all watches in order, as a server does when their time is over, and lets requests wait. Returns when the
    /// watches have ended.
    pub(crate) async fn hold(&self) {
        self.is_open.send_replace(false);
        self.answers.closed().await;
    }

    /// Returns how many requests have come.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.get()
    }

    /// Lets everything pass, also what has waited.
    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }
}

/// What it takes to pass a request on.
#[derive(Clone)]
struct Passing {
    client: kube::Client,
    is_open: watch::Receiver<bool>,
    answers: watch::Sender<()>,
    asked: Rc<Cell<u64>>,
}

/// Not the client that `kube` makes, which would repeat requests unseen.
fn client(config: &kube::Config) -> kube::Client {
    let connector = config.rustls_https_connector().expect("we wrote it");
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().expect("we wrote it"))
        .layer(config.extra_headers_layer().expect("we wrote it"))
        .map_err(BoxError::from)
        .service(legacy::Client::builder(TokioExecutor::new()).build(connector));
    kube::Client::new(service, "default")
}

async fn serve(listener: TcpListener, passing: Passing) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("files are left");
        let passing = passing.clone();
        let answer = service_fn(move |request| passing.clone().answer(request));
        let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
        connections.spawn_local(serving);
        while connections.try_join_next().is_some() {}
    }
}

impl Passing {
    async fn answer(
        mut self,
        request: Request<Incoming>,
    ) -> kube::Result<Response<impl Body<Data = Bytes, Error = kube::Error>>> {
        self.asked.set(self.asked.get() + 1);
        // An error is a gate that is gone, as this request will be.
        let _ = self.is_open.wait_for(|is_open| *is_open).await;
        let request = request.map(|_| kube::client::Body::empty());
        let answer = self.client.send(request).await?;
        let under_way = self.answers.subscribe();
        Ok(answer.map(|body| {
            let held = async move {
                let _ = self.is_open.wait_for(|is_open| !is_open).await;
            };
            let data = body.into_data_stream().take_until(Box::pin(held));
            StreamBody::new(data.map_ok(move |data| {
                // Until the answer ends it is counted.
                let _ = &under_way;
                Frame::data(data)
            }))
        }))
    }
}
