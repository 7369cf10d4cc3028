//! The other end of the router: a listener whose connections are scripts, and services that answer by themselves.

use super::{Message, Wire, within};
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A response with status 200 and this body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// An upstream whose connections are played by the test.
#[derive(Debug)]
pub(crate) struct Upstream {
    listener: TcpListener,
    address: SocketAddr,
}

impl Upstream {
    /// Listens on a port of its own.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        Self { listener, address }
    }

    /// As [`Upstream::start`]; its connections hold few bytes that were not read.
    pub(crate) async fn with_small_buffers() -> Self {
        let upstream = Self::start().await;
        SockRef::from(&upstream.listener).set_recv_buffer_size(8 * 1024).expect("the socket is open");
        upstream
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name of this endpoint.
    pub(crate) fn path(&self) -> String {
        inet(self.address)
    }

    /// Waits for the next connection.
    pub(crate) async fn accept(&self) -> Wire {
        Wire::new(self.accept_stream().await)
    }

    /// Waits for the next connection, and returns its stream, which the test speaks over by itself.
    pub(crate) async fn accept_stream(&self) -> TcpStream {
        within("waiting for a connection", self.next_stream()).await.expect("it accepts")
    }

    /// The next connection, whenever it comes.
    pub(crate) async fn next_stream(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Waits for the next connection for as long as it takes.
    pub(crate) async fn next(&self) -> io::Result<Wire> {
        let (stream, _) = self.listener.accept().await?;
        Ok(Wire::new(stream))
    }

    /// Fails if a connection waits to be accepted.
    pub(crate) async fn assert_unreached(&self) {
        let mut accept = pin!(self.listener.accept());
        let reached = poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx).is_ready())).await;
        assert!(!reached, "no connection to this upstream is expected");
    }
}

/// A service that answers every request by itself until it is dropped.
#[derive(Debug)]
pub(crate) struct Service {
    address: SocketAddr,
    seen: Rc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: Cell<usize>,
    requests: RefCell<Vec<Message>>,
}

impl Service {
    /// Answers each request with the bytes that `answer` makes of it.
    pub(crate) async fn start(answer: impl AsyncFn(Message) -> String + 'static) -> Self {
        let Upstream { listener, address } = Upstream::start().await;
        let seen = Rc::<Seen>::default();
        let shared = Rc::clone(&seen);
        let answer = Rc::new(answer);
        let task = tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.set(shared.connections.get() + 1);
                let (seen, answer) = (Rc::clone(&shared), Rc::clone(&answer));
                tokio::task::spawn_local(async move {
                    let mut wire = Wire::new(stream);
                    while let Some(request) = wire.reader.next_request().await {
                        seen.requests.borrow_mut().push(request.clone());
                        wire.send(answer(request).await).await;
                    }
                });
            }
        });
        Self { address, seen, task }
    }

    /// Answers each request with this text.
    pub(crate) async fn saying(text: &str) -> Self {
        let response = ok(text);
        Self::start(async move |_| response.clone()).await
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name of this endpoint.
    pub(crate) fn path(&self) -> String {
        inet(self.address)
    }

    /// How many connections it accepted.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.get()
    }

    /// How many requests it got.
    pub(crate) fn count(&self) -> usize {
        self.seen.requests.borrow().len()
    }

    /// The requests it got, which are forgotten.
    pub(crate) fn take_requests(&self) -> Vec<Message> {
        self.seen.requests.take()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn inet(address: SocketAddr) -> String {
    format!("/$/inet/{}/{}", address.ip(), address.port())
}
