//! The other end of the router, on the h2 crate: connections whose streams are played by the test, and services that
//! answer by themselves.

use super::{one, read, write};
use crate::support::{Upstream, within};
use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// One connection of an upstream. When it is dropped, it is broken off.
#[derive(Debug)]
pub(crate) struct H2Conn {
    calls: mpsc::UnboundedReceiver<Call>,
    going_away: mpsc::UnboundedSender<Option<Reason>>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

/// A request that came, and the way to answer it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) head: Request<()>,
    pub(crate) body: RecvStream,
    pub(crate) respond: SendResponse<Bytes>,
}

impl H2Conn {
    /// Waits for the next connection.
    pub(crate) async fn accept(upstream: &Upstream) -> Self {
        Self::accept_with(upstream, &Builder::new()).await
    }

    /// As [`H2Conn::accept`], with settings of its own.
    pub(crate) async fn accept_with(upstream: &Upstream, settings: &Builder) -> Self {
        Self::serve(upstream.accept_stream().await, settings.clone())
    }

    fn serve(stream: TcpStream, settings: Builder) -> Self {
        let (sender, calls) = mpsc::unbounded_channel();
        let (going_away, orders) = mpsc::unbounded_channel();
        Self { calls, going_away, driver: tokio::task::spawn_local(drive(stream, settings, sender, orders)) }
    }

    /// Waits for the next request.
    pub(crate) async fn call(&mut self) -> Call {
        within("waiting for a request", self.calls.recv()).await.expect("a request comes")
    }

    /// Waits for the next request; None when the connection ends instead.
    pub(crate) async fn try_call(&mut self) -> Option<Call> {
        within("waiting for a request, or the end", self.next()).await
    }

    async fn next(&mut self) -> Option<Call> {
        self.calls.recv().await
    }

    /// Says that it takes no further requests, and finishes those it has.
    pub(crate) fn go_away(&self) {
        // An error means that the connection is over already.
        let _ = self.going_away.send(None);
    }

    /// Says that it goes away because of this, and ends.
    pub(crate) fn go_away_with(&self, reason: Reason) {
        let _ = self.going_away.send(Some(reason));
    }

    /// Waits until the connection is over; returns how it ended.
    pub(crate) async fn over(mut self) -> Result<(), h2::Error> {
        within("waiting for the end of the connection", &mut self.driver).await.expect("it is not aborted")
    }
}

impl Drop for H2Conn {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn drive(
    stream: TcpStream,
    settings: Builder,
    calls: mpsc::UnboundedSender<Call>,
    mut orders: mpsc::UnboundedReceiver<Option<Reason>>,
) -> Result<(), h2::Error> {
    let mut connection = within("the handshake", settings.handshake(stream)).await?;
    loop {
        tokio::select! {
            stream = connection.accept() => {
                let Some(stream) = stream else { return Ok(()) };
                let (request, respond) = stream?;
                let (head, body) = request.into_parts();
                // A test that wants no more calls leaves them unanswered.
                let _ = calls.send(Call { head: Request::from_parts(head, ()), body, respond });
            }
            Some(reason) = orders.recv() => match reason {
                None => connection.graceful_shutdown(),
                Some(reason) => connection.abrupt_shutdown(reason),
            },
        }
    }
}

impl Call {
    /// The value of the field of that name; there must not be two.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        one(self.head.headers(), name)
    }

    /// What it says of the host.
    pub(crate) fn authority(&self) -> Option<&str> {
        self.head.uri().authority().map(http::uri::Authority::as_str)
    }

    /// Reads the request to its end.
    pub(crate) async fn read(&mut self) -> (Vec<u8>, HeaderMap) {
        read(&mut self.body).await.expect("the request is whole")
    }

    /// Sends the head of the response, with a body to come.
    pub(crate) fn begin(&mut self, response: Response<()>) -> SendStream<Bytes> {
        self.respond.send_response(response, false).expect("the caller waits for it")
    }

    /// Sends the whole response.
    pub(crate) async fn answer(mut self, response: Response<impl Into<Bytes>>) {
        let (head, body) = response.into_parts();
        let (head, body) = (Response::from_parts(head, ()), body.into());
        if body.is_empty() {
            self.respond.send_response(head, true).expect("the caller waits for it");
            return;
        }
        let mut out = self.begin(head);
        write(&mut out, body, true).await.expect("the caller waits for it");
    }

    /// Sends a response with status 200 and this text.
    pub(crate) async fn say(self, text: &str) {
        self.answer(Response::new(text.to_owned())).await;
    }

    /// Waits until the caller resets the stream; returns the code.
    pub(crate) async fn given_up(&mut self) -> Reason {
        let reset = poll_fn(|cx| self.respond.poll_reset(cx));
        within("waiting for a reset", reset).await.expect("the connection is there")
    }
}

/// A service that answers every request by itself until it is dropped.
#[derive(Debug)]
pub(crate) struct H2Service {
    address: SocketAddr,
    path: String,
    seen: Rc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: Cell<usize>,
    heads: RefCell<Vec<Request<()>>>,
}

impl H2Service {
    /// Does with each request what `answer` does.
    pub(crate) async fn start(answer: impl AsyncFn(Call) + 'static) -> Self {
        let upstream = Upstream::start().await;
        let (address, path) = (upstream.address(), upstream.path());
        let seen = Rc::<Seen>::default();
        let (shared, answer) = (Rc::clone(&seen), Rc::new(answer));
        let task = tokio::task::spawn_local(async move {
            loop {
                let Ok(stream) = upstream.next_stream().await else { return };
                shared.connections.set(shared.connections.get() + 1);
                let (seen, answer) = (Rc::clone(&shared), Rc::clone(&answer));
                tokio::task::spawn_local(async move {
                    let mut conn = H2Conn::serve(stream, Builder::new());
                    while let Some(call) = conn.next().await {
                        seen.heads.borrow_mut().push(call.head.clone());
                        let answer = Rc::clone(&answer);
                        tokio::task::spawn_local(async move { answer(call).await });
                    }
                });
            }
        });
        Self { address, path, seen, task }
    }

    /// Answers each request with this text.
    pub(crate) async fn saying(text: &str) -> Self {
        let text = text.to_owned();
        Self::start(async move |call| call.say(&text).await).await
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The name of this endpoint.
    pub(crate) fn path(&self) -> String {
        self.path.clone()
    }

    /// How many connections it accepted.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.get()
    }

    /// The heads of the requests it got, which are forgotten.
    pub(crate) fn take_heads(&self) -> Vec<Request<()>> {
        self.seen.heads.take()
    }
}

impl Drop for H2Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}
