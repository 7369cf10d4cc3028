//! A bare hyper pass-through: hyper on both sides, a keep-alive pool, every field forwarded, bodies streamed. It does
//! nothing else: no routing, no limits on time, no counting.
//!
//! It runs as the router does, one current-thread runtime for one worker, so that what differs is the work itself.

use super::child::{Error, commands, on_one_thread};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::net::{TcpListener, TcpStream};

/// The connections to the upstream that wait for a request.
type Pool = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

/// Serves on a port of its own, and prints where.
pub(crate) fn run(upstream: &str) -> Result<(), Error> {
    let _commands = commands();
    let upstream: SocketAddr = upstream.parse()?;
    on_one_thread(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let pool = Pool::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(serve(stream, Rc::clone(&pool), upstream));
        }
    })
}

/// Serves one connection; its end, however it comes, ends this.
async fn serve(stream: TcpStream, pool: Pool, upstream: SocketAddr) {
    let service = service_fn(|request| forward(request, Rc::clone(&pool), upstream));
    let _ = server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn forward(
    request: Request<Incoming>,
    pool: Pool,
    upstream: SocketAddr,
) -> Result<Response<Lent>, Error> {
    let mut sender = match waiting(&pool).await {
        Some(sender) => sender,
        None => connect(upstream).await?,
    };
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| Lent { body, sender: Some(sender), pool }))
}

/// Takes a connection that waits and is still good.
async fn waiting(pool: &Pool) -> Option<SendRequest<Incoming>> {
    loop {
        let mut sender = pool.borrow_mut().pop()?;
        if sender.ready().await.is_ok() {
            return Some(sender);
        }
    }
}

async fn connect(upstream: SocketAddr) -> Result<SendRequest<Incoming>, Error> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// A response's body, which gives its connection back to the pool when it was read to its end.
struct Lent {
    body: Incoming,
    sender: Option<SendRequest<Incoming>>,
    pool: Pool,
}

impl Body for Lent {
    type Data = <Incoming as Body>::Data;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Self::Data>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take().filter(|_| self.body.is_end_stream()) {
            self.pool.borrow_mut().push(sender);
        }
    }
}
