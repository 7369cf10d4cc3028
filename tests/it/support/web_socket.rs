//! WebSockets over either version of HTTP, with both of their ends.

use super::either::Speaks::{self, Http1, Http2};
use super::http2::{Call, Exchange, H2Client, H2Conn, piece, write};
use super::{TestApp, Upstream, Wire, within};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response};

/// The key and the answer of RFC 6455 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The four pairs of protocols: the caller's, and the endpoint's.
pub(crate) const PAIRS: [(Speaks, Speaks); 4] =
    [(Http1, Http1), (Http1, Http2), (Http2, Http1), (Http2, Http2)];

/// An opening handshake over HTTP/1.
pub(crate) fn handshake(key: &str) -> String {
    format!(
        "GET /chat?a HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}\
         Content-Length: 0\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
}

/// An extended CONNECT.
pub(crate) fn extended(protocol: &'static str) -> Request<()> {
    let request = Request::builder().method(Method::CONNECT).uri("http://web/chat?a");
    let request = request.header("sec-websocket-version", "13").header("sec-websocket-protocol", "chat");
    request.extension(Protocol::from_static(protocol)).body(()).expect("the request is one")
}

/// Accepts a connection from the router, and allows one extended CONNECT on it.
pub(crate) async fn accept_http2(upstream: &Upstream) -> H2Conn {
    H2Conn::accept_with(
        upstream,
        h2::server::Builder::new().enable_connect_protocol().max_concurrent_streams(1),
    )
    .await
}

/// One end of a tunnel, over whatever it goes.
#[expect(clippy::large_enum_variant, reason = "there are two of them")]
pub(crate) enum End {
    Http1(Wire),
    Caller { _client: H2Client, exchange: Exchange, input: RecvStream },
    Endpoint { conn: H2Conn, call: Call, output: SendStream<Bytes> },
}

impl End {
    /// The two halves of a stream.
    fn stream(&mut self) -> (&mut SendStream<Bytes>, &mut RecvStream) {
        match self {
            Self::Http1(_) => panic!("it is a connection"),
            Self::Caller { exchange, input, .. } => (&mut exchange.out, input),
            Self::Endpoint { call, output, .. } => (output, &mut call.body),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl Into<Bytes>) {
        match self {
            Self::Http1(wire) => wire.send(bytes.into()).await,
            _ => write(self.stream().0, bytes, false).await.expect("the tunnel stands"),
        }
    }

    pub(crate) async fn read(&mut self, count: usize) -> Vec<u8> {
        if let Self::Http1(wire) = self {
            return wire.reader.bytes(count).await;
        }
        let mut read = Vec::new();
        while read.len() < count {
            read.extend(piece(self.stream().1).await.expect("more comes").expect("the tunnel stands"));
        }
        read
    }

    pub(crate) async fn expect(&mut self, bytes: &[u8]) {
        assert_eq!(self.read(bytes.len()).await, bytes);
    }

    /// Ends its side in order.
    pub(crate) async fn finish(&mut self) {
        match self {
            Self::Http1(wire) => wire.writer.finish().await,
            _ => write(self.stream().0, "", true).await.expect("the tunnel stands"),
        }
    }

    /// Fails unless the other side has ended in order, without another byte.
    pub(crate) async fn assert_ended(&mut self) {
        match self {
            Self::Http1(wire) => assert_eq!(wire.reader.rest().await, b""),
            _ => assert!(piece(self.stream().1).await.is_none()),
        }
    }

    /// Breaks off; returns what is to be held until the other side has noticed it.
    pub(crate) fn reset(mut self) -> Option<Self> {
        match self {
            Self::Http1(wire) => wire.reset(),
            _ => {
                self.stream().0.send_reset(Reason::CANCEL);
                return Some(self);
            }
        }
        None
    }

    /// Fails unless the other side has broken off.
    pub(crate) async fn assert_broken(&mut self) {
        match self {
            Self::Http1(wire) => {
                let read = within("waiting for the end", wire.reader.bytes_or_end(1)).await;
                assert_eq!(read, None);
            }
            _ => {
                let error =
                    piece(self.stream().1).await.expect("it is no orderly end").expect_err("an error");
                assert_eq!(error.reason(), Some(Reason::CANCEL));
            }
        }
    }
}

/// The answer to a key.
pub(crate) fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// A caller whose request was sent.
pub(crate) enum Asking {
    Http1(Wire),
    Http2(H2Client, Exchange),
}

impl Asking {
    /// Asks for a WebSocket.
    pub(crate) async fn begin(app: &TestApp, speaks: Speaks) -> Self {
        if speaks == Http2 {
            let mut client = app.h2_client().await;
            let exchange = client.begin(extended("websocket"), true).await;
            return Self::Http2(client, exchange);
        }
        let mut wire = app.client().await;
        wire.send(handshake(&format!("Sec-WebSocket-Key: {KEY}\r\n"))).await;
        Self::Http1(wire)
    }

    /// Waits for the switch.
    pub(crate) async fn switched(self) -> End {
        match self {
            Self::Http1(mut wire) => {
                let response = wire.head().await;
                assert_eq!(response.status(), 101);
                for (name, value) in [
                    ("connection", "upgrade"),
                    ("upgrade", "websocket"),
                    ("sec-websocket-accept", ACCEPT),
                    ("sec-websocket-protocol", "chat"),
                ] {
                    assert_eq!(response.field(name), Some(value), "{name}");
                }
                End::Http1(wire)
            }
            Self::Http2(client, mut exchange) => {
                let (head, input) = exchange.head().await.expect("a response comes").into_parts();
                assert_eq!(head.status, 200);
                assert_eq!(head.headers["sec-websocket-protocol"], "chat");
                for absent in ["sec-websocket-accept", "upgrade", "connection", "content-length"] {
                    assert!(!head.headers.contains_key(absent), "{absent}");
                }
                End::Caller { _client: client, exchange, input }
            }
        }
    }

    /// Waits for an answer that does not switch; returns its status and text.
    pub(crate) async fn refused(self) -> (u16, String) {
        match self {
            Self::Http1(mut wire) => {
                let response = wire.response().await;
                (response.status(), response.text().to_owned())
            }
            Self::Http2(_client, mut exchange) => {
                let answer = exchange.answer().await;
                (answer.status(), answer.text().to_owned())
            }
        }
    }
}

/// Accepts a WebSocket as an endpoint does.
async fn switch(upstream: &Upstream, speaks: Speaks, caller: Speaks) -> End {
    if speaks == Http1 {
        let mut conn = upstream.accept().await;
        let request = conn.request().await;
        assert_eq!(request.first_line(), "GET /chat?a HTTP/1.1");
        assert_eq!((request.field("host"), request.field("upgrade")), (Some("web"), Some("websocket")));
        assert_eq!(request.field("sec-websocket-protocol"), Some("chat"));
        assert_eq!(request.field("l5d-dst-service"), Some("/svc/web"));
        let key = request.field("sec-websocket-key").expect("there is a key");
        assert_eq!(key == KEY, caller == Http1, "the router makes a key for a caller that has none");
        conn.send(switching(&accept(key))).await;
        return End::Http1(conn);
    }
    let mut conn = accept_http2(upstream).await;
    let mut call = conn.call().await;
    assert_eq!(call.head.method(), Method::CONNECT);
    let protocol = call.head.extensions().get::<Protocol>().map(Protocol::as_str);
    assert_eq!((protocol, call.authority()), (Some("websocket"), Some("web")));
    assert_eq!(call.head.uri().path_and_query().map(|path| path.as_str()), Some("/chat?a"));
    assert_eq!(call.field("sec-websocket-protocol"), Some("chat"));
    assert_eq!(call.field("l5d-dst-service"), Some("/svc/web"));
    for absent in ["sec-websocket-key", "upgrade", "connection", "content-length"] {
        assert_eq!(call.field(absent), None, "{absent}");
    }
    let response = Response::builder().header("sec-websocket-protocol", "chat");
    let output = call.begin(response.body(()).expect("it is one"));
    End::Endpoint { conn, call, output }
}

pub(crate) fn switching(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
}

/// Opens a WebSocket; returns the caller's and the endpoint's end.
pub(crate) async fn open(
    app: &TestApp,
    upstream: &Upstream,
    (caller, endpoint): (Speaks, Speaks),
) -> (End, End) {
    let asking = Asking::begin(app, caller).await;
    let endpoint = switch(upstream, endpoint, caller).await;
    (asking.switched().await, endpoint)
}
