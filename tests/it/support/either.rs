//! Callers and a service over either protocol, for behaviour that must be the same over both.

use super::http2::{Call, H2Client, H2Service, fields, write};
use super::{Message, Service, TestApp, Upstream, Wire, speaking};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use std::net::SocketAddr;

/// A protocol of one side of the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

use Speaks::{Http1, Http2};

/// What the caller speaks, and what the endpoint speaks, for each way on which HTTP/2 is spoken.
pub(crate) const WAYS: [(Speaks, Speaks); 3] = [(Http2, Http2), (Http2, Http1), (Http1, Http2)];

/// The `protocol` of a router whose endpoints speak this.
pub(crate) fn router(endpoint: Speaks) -> &'static str {
    match endpoint {
        Http1 => "http",
        Http2 => "h2",
    }
}

/// A GET for `/` at `web` over HTTP/1.
pub(crate) const HTTP1_GET: &str = "GET / HTTP/1.1\r\nHost: web\r\n\r\n";

/// An app whose every request goes to an upstream that is played by the test, and a client over HTTP/2.
pub(crate) async fn played(endpoint: Speaks) -> (TestApp, Upstream, H2Client) {
    let upstream = Upstream::with_small_buffers().await;
    let dtab = format!("/svc/* => {}", upstream.path());
    let app = TestApp::start_here(&speaking(router(endpoint), &dtab, "")).await;
    let client = app.h2_client().await;
    (app, upstream, client)
}

/// A request, over whatever it goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) fields: &'a [(&'static str, &'a str)],
    pub(crate) body: &'a [u8],
    /// Whether its length is said in its head.
    pub(crate) length: bool,
    /// Trailers are sent only without a length.
    pub(crate) trailers: &'a [(&'static str, &'a str)],
}

/// A message as it came, over whatever it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Of a request.
    pub(crate) method: String,
    /// Of a request.
    pub(crate) target: String,
    /// Of a request: `Host`, or `:authority`.
    pub(crate) host: String,
    /// Of a response.
    pub(crate) status: u16,
    /// The fields with their names in lower case, without those that frame an HTTP/1 message.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

/// A client that speaks either protocol.
pub(crate) enum Caller {
    Http1(Wire),
    Http2(H2Client),
}

/// A service that answers as its requests ask it to: with the status of `x-status`, with the fields that are named in
/// `x-back`, with a length in the head if `x-length` is there, and with the body and the trailers of the request.
pub(crate) enum Echo {
    Http1(Service),
    Http2(H2Service),
}

impl Caller {
    /// Connects to the app's first listener.
    pub(crate) async fn connect(app: &TestApp, speaks: Speaks) -> Self {
        Self::connect_to(app.first_address(), speaks).await
    }

    /// Connects to a listener.
    pub(crate) async fn connect_to(address: SocketAddr, speaks: Speaks) -> Self {
        match speaks {
            Http1 => Self::Http1(Wire::connect(address).await),
            Http2 => Self::Http2(H2Client::connect(address).await),
        }
    }

    /// Sends a request to the host `web` and reads the response.
    pub(crate) async fn ask(&mut self, ask: &Ask<'_>) -> Seen {
        match self {
            Self::Http1(wire) => ask_http1(wire, ask).await,
            Self::Http2(client) => ask_http2(client, ask).await,
        }
    }

    /// Asks for `/` at `web`, with more fields.
    pub(crate) async fn get(&mut self, fields: &[(&'static str, &str)]) -> Seen {
        self.ask(&Ask { method: "GET", target: "/", fields, ..Ask::default() }).await
    }
}

async fn ask_http1(wire: &mut Wire, ask: &Ask<'_>) -> Seen {
    let mut request = format!("{} {} HTTP/1.1\r\nHost: web\r\n", ask.method, ask.target).into_bytes();
    for (name, value) in ask.fields {
        request.extend(format!("{name}: {value}\r\n").bytes());
    }
    let has_body = !ask.body.is_empty() || !ask.trailers.is_empty();
    if ask.length {
        request.extend(format!("Content-Length: {}\r\n\r\n", ask.body.len()).bytes());
        request.extend(ask.body);
    } else if has_body {
        request.extend(b"Transfer-Encoding: chunked\r\n\r\n");
        request.extend(chunked(ask.body, ask.trailers.iter().copied()));
    } else {
        request.extend(b"\r\n");
    }
    if ask.method == "HEAD" {
        wire.send(request).await;
        return Seen::message(wire.head().await);
    }
    let Wire { reader, writer } = wire;
    // The answer may begin before all was sent.
    let ((), response) = tokio::join!(writer.send(request), reader.next_response());
    Seen::message(response)
}

fn chunked<'a>(body: &[u8], trailers: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !body.is_empty() {
        bytes.extend(format!("{:x}\r\n", body.len()).bytes());
        bytes.extend(body);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n");
    for (name, value) in trailers {
        bytes.extend(format!("{name}: {value}\r\n").bytes());
    }
    bytes.extend(b"\r\n");
    bytes
}

async fn ask_http2(client: &mut H2Client, ask: &Ask<'_>) -> Seen {
    let mut request = Request::builder().method(ask.method).uri(format!("http://web{}", ask.target));
    for (name, value) in ask.fields {
        request = request.header(*name, *value);
    }
    if ask.length {
        request = request.header("content-length", ask.body.len());
    }
    let request = request.body(()).expect("the request is one");
    let has_body = !ask.body.is_empty() || !ask.trailers.is_empty();
    let mut exchange = client.begin(request, has_body).await;
    if !ask.body.is_empty() {
        exchange.send(ask.body.to_vec(), ask.trailers.is_empty()).await;
    }
    if !ask.trailers.is_empty() {
        exchange.end_with(fields(ask.trailers));
    }
    let answer = exchange.answer().await;
    let mut seen = Seen {
        status: answer.status(),
        fields: pairs(answer.head.headers()),
        trailers: pairs(&answer.trailers),
        ..Seen::default()
    };
    seen.body = answer.body;
    seen
}

impl Echo {
    pub(crate) async fn start(speaks: Speaks) -> Self {
        match speaks {
            Http1 => Self::Http1(Service::start(async |request| echo_http1(Seen::message(request))).await),
            Http2 => Self::Http2(H2Service::start(echo_http2).await),
        }
    }

    /// The name of this endpoint.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Http1(service) => service.path(),
            Self::Http2(service) => service.path(),
        }
    }

    /// How many connections it accepted.
    pub(crate) fn connections(&self) -> usize {
        match self {
            Self::Http1(service) => service.connections(),
            Self::Http2(service) => service.connections(),
        }
    }

    /// The last request it got, without its body; all are forgotten.
    pub(crate) fn take_request(&self) -> Seen {
        match self {
            Self::Http1(service) => service.take_requests().pop().map(Seen::message),
            Self::Http2(service) => service.take_heads().pop().map(|head| Seen::request(&head)),
        }
        .expect("a request came")
    }
}

/// An app whose every request goes to an [`Echo`], and a caller of it.
pub(crate) async fn scene(caller: Speaks, endpoint: Speaks) -> (TestApp, Echo, Caller) {
    let echo = Echo::start(endpoint).await;
    let app =
        TestApp::start_here(&speaking(router(endpoint), &format!("/svc/* => {}", echo.path()), "")).await;
    let caller = Caller::connect(&app, caller).await;
    (app, echo, caller)
}

/// What an echo's answer has besides its body.
struct Back {
    status: u16,
    fields: Vec<(String, String)>,
    length: bool,
}

fn back(request: &Seen) -> Back {
    let named = request.field("x-back").unwrap_or_default();
    Back {
        status: request.field("x-status").map_or(200, |status| status.parse().expect("it is a number")),
        fields: request.fields.iter().filter(|(name, _)| named.contains(name.as_str())).cloned().collect(),
        length: request.field("x-length").is_some(),
    }
}

fn echo_http1(request: Seen) -> String {
    let back = back(&request);
    let mut response = format!("HTTP/1.1 {} Echo\r\n", back.status);
    for (name, value) in &back.fields {
        response += &format!("{name}: {value}\r\n");
    }
    let body = String::from_utf8(request.body).expect("what is echoed over HTTP/1 is text");
    let empty = matches!(back.status, 204 | 304);
    if back.length && back.status != 204 {
        response += &format!("Content-Length: {}\r\n", body.len());
    } else if !empty {
        response += "Transfer-Encoding: chunked\r\n";
    }
    response += "\r\n";
    if empty || request.method == "HEAD" {
        return response;
    }
    if back.length {
        return response + &body;
    }
    let trailers = request.trailers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    response + str::from_utf8(&chunked(body.as_bytes(), trailers)).expect("it is text")
}

async fn echo_http2(mut call: Call) {
    let mut request = Seen::request(&call.head);
    let (body, trailers) = call.read().await;
    request.body = body;
    let back = back(&request);
    let mut response = Response::builder().status(back.status);
    for (name, value) in &back.fields {
        response = response.header(name, value);
    }
    if back.length && back.status != 204 {
        response = response.header("content-length", request.body.len());
    }
    let response = response.body(()).expect("the response is one");
    let empty = matches!(back.status, 204 | 304) || request.method == "HEAD";
    if empty || (request.body.is_empty() && trailers.is_empty()) {
        call.respond.send_response(response, true).expect("the caller waits for it");
        return;
    }
    let mut out = call.begin(response);
    let body: Bytes = request.body.into();
    write(&mut out, body, trailers.is_empty()).await.expect("the caller waits for it");
    if !trailers.is_empty() {
        out.send_trailers(trailers).expect("the caller waits for it");
    }
}

impl Seen {
    fn message(message: Message) -> Self {
        let pair = |line: &str| {
            let (name, value) = line.split_once(':').expect("a field has a colon");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let mut seen = Self {
            fields: message.field_lines().into_iter().map(pair).collect(),
            trailers: message.trailers.iter().map(|line| pair(line)).collect(),
            ..Self::default()
        };
        if message.first_line().starts_with("HTTP/") {
            seen.status = message.status();
        } else {
            let mut words = message.first_line().split(' ').map(str::to_owned);
            seen.method = words.next().unwrap_or_default();
            seen.target = words.next().unwrap_or_default();
            seen.host = message.field("host").unwrap_or_default().to_owned();
        }
        seen.fields.retain(|(name, _)| !["host", "transfer-encoding"].contains(&name.as_str()));
        seen.body = message.body;
        seen
    }

    fn request(head: &Request<()>) -> Self {
        let uri = head.uri();
        Self {
            method: head.method().to_string(),
            target: uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            host: uri.authority().map(ToString::to_string).unwrap_or_default(),
            fields: pairs(head.headers()),
            ..Self::default()
        }
    }

    /// The values of all fields of that name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        all(&self.fields, name)
    }

    /// The value of the field of that name; there must not be two.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} comes {} times: {self:?}", all.len());
        all.first().copied()
    }

    /// The names of the fields, sorted.
    pub(crate) fn field_names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.fields.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The value of the first trailer of that name.
    pub(crate) fn trailer(&self, name: &str) -> Option<&str> {
        all(&self.trailers, name).first().copied()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the body is text")
    }
}

fn all<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
}

fn pairs(fields: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    fields.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
