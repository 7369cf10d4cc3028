//! The caller's end, on the h2 crate.

use super::{one, read, write};
use crate::support::wire::connect_from;
use crate::support::within;
use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// One connection of a client.
#[derive(Debug)]
pub(crate) struct H2Client {
    send: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

/// A request that was sent, or is being sent, and the response to it.
#[derive(Debug)]
pub(crate) struct Exchange {
    response: ResponseFuture,
    /// Where the rest of the request goes.
    pub(crate) out: SendStream<Bytes>,
}

/// A response that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Response<()>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl H2Client {
    /// Connects to `address`, with prior knowledge.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &Builder::new()).await
    }

    /// As [`H2Client::connect`], with settings of its own.
    pub(crate) async fn connect_with(address: SocketAddr, settings: &Builder) -> Self {
        let stream = within("connecting", TcpStream::connect(address)).await.expect("it accepts connections");
        Self::on(stream, settings).await
    }

    /// As [`H2Client::connect`], from another address of this machine.
    pub(crate) async fn connect_from(local: IpAddr, address: SocketAddr) -> Self {
        Self::on(connect_from(local, address).await, &Builder::new()).await
    }

    async fn on(stream: TcpStream, settings: &Builder) -> Self {
        stream.set_nodelay(true).expect("the socket is open");
        let (send, connection) =
            within("the handshake", settings.handshake(stream)).await.expect("it speaks HTTP/2");
        Self { send, driver: tokio::task::spawn_local(connection) }
    }

    /// Begins a request; it ends with its head when it has no body.
    pub(crate) async fn begin(&mut self, request: Request<()>, has_body: bool) -> Exchange {
        self.try_begin(request, has_body).await.expect("the connection takes another request")
    }

    /// As [`H2Client::begin`], on a connection that may be over.
    pub(crate) async fn try_begin(
        &mut self,
        request: Request<()>,
        has_body: bool,
    ) -> Result<Exchange, h2::Error> {
        let mut send = within("waiting for a stream", self.send.clone().ready()).await?;
        let (response, out) = send.send_request(request, !has_body)?;
        Ok(Exchange { response, out })
    }

    /// Sends a request with its body and reads the response.
    pub(crate) async fn ask(&mut self, request: Request<impl Into<Bytes>>) -> Answer {
        let (head, body) = request.into_parts();
        let body = body.into();
        let mut exchange = self.begin(Request::from_parts(head, ()), !body.is_empty()).await;
        if !body.is_empty() {
            exchange.send(body, true).await;
        }
        exchange.answer().await
    }

    /// Asks for `/` at `host`, with more fields, and reads the response.
    pub(crate) async fn get(&mut self, host: &str, fields: &[(&str, &str)]) -> Answer {
        self.ask(get(host, fields).map(|()| "")).await
    }

    /// Waits until the connection is over; returns how it ended.
    pub(crate) async fn over(self) -> Result<(), h2::Error> {
        let Self { send, driver } = self;
        let ended = within("waiting for the end of the connection", driver).await.expect("it is not aborted");
        drop(send);
        ended
    }

    /// Breaks the connection off.
    pub(crate) fn abort(self) {
        self.driver.abort();
    }
}

/// A POST for `/` at `web`.
pub(crate) fn post() -> Request<()> {
    Request::post("http://web/").body(()).expect("the request is one")
}

/// A GET for `/` at `host`.
pub(crate) fn get(host: &str, fields: &[(&str, &str)]) -> Request<()> {
    let request = Request::get(format!("http://{host}/"));
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(()).expect("the request is one")
}

impl Exchange {
    /// Sends a piece of the body.
    pub(crate) async fn send(&mut self, bytes: impl Into<Bytes>, last: bool) {
        write(&mut self.out, bytes, last).await.expect("the request goes on");
    }

    /// Ends the request with trailers.
    pub(crate) fn end_with(&mut self, trailers: HeaderMap) {
        self.out.send_trailers(trailers).expect("the request goes on");
    }

    /// Waits for the response's head.
    pub(crate) async fn head(&mut self) -> Result<Response<RecvStream>, h2::Error> {
        within("waiting for a response", &mut self.response).await
    }

    /// Waits for the next interim response.
    pub(crate) async fn interim(&mut self) -> Response<()> {
        let interim = poll_fn(|cx| self.response.poll_informational(cx));
        let interim = within("waiting for an interim response", interim).await;
        interim.expect("an interim response comes").expect("the stream is there")
    }

    /// Reads the response to its end.
    pub(crate) async fn answer(&mut self) -> Answer {
        let (head, mut body) = self.head().await.expect("a response comes").into_parts();
        let (body, trailers) = read(&mut body).await.expect("the response is whole");
        Answer { head: Response::from_parts(head, ()), body, trailers }
    }

    /// Waits until the stream is reset instead of answered; returns the code.
    pub(crate) async fn refused(&mut self) -> Reason {
        let error = self.head().await.expect_err("no response comes");
        error.reason().unwrap_or_else(|| panic!("the stream is reset: {error}"))
    }
}

impl Answer {
    /// The status.
    pub(crate) fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the body is text")
    }

    /// The value of the field of that name; there must not be two.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        one(self.head.headers(), name)
    }

    /// The value of the trailer of that name; there must not be two.
    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        one(&self.trailers, name)
    }

    /// Fails unless this is a response of that status.
    #[track_caller]
    pub(crate) fn assert_status(&self, status: u16) {
        assert_eq!(self.status(), status, "{:?}\n{}", self.head, String::from_utf8_lossy(&self.body));
    }
}
