//! Heads, framing and chunks against hyper as the second opinion, and as properties over any split of the
//! input.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use signpost::message::{
    CHUNK_END, ChunkEvent, Chunks, Framing, Head, HeadLimits, keeps_alive, request_framing, response_framing,
    write_chunk_head, write_last_chunk,
};
use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIMITS: HeadLimits = HeadLimits { line: 8192, fields_bytes: 65536, fields: 100 };

/// A request as a reader understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    method: String,
    target: String,
    body: Vec<u8>,
}

/// A response as a reader understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Response {
    status: u16,
    body: Vec<u8>,
}

/// How our reading of some bytes relates to hyper's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// Both read the same messages, perhaps none.
    Same,
    /// We stop earlier, on purpose; the text says why.
    Stricter(&'static str),
    /// hyper stops earlier; the text says why we need not.
    Looser(&'static str),
}
use Relation::{Looser, Same, Stricter};

/// The body at the front of `input` and how many bytes it took; `None` when it is cut off or malformed.
fn body(framing: Framing, input: &[u8]) -> Option<(Vec<u8>, usize)> {
    match framing {
        Framing::None => Some((Vec::new(), 0)),
        Framing::Length(length) => {
            let length = usize::try_from(length).ok()?;
            Some((input.get(..length)?.to_vec(), length))
        }
        Framing::Chunked => unchunk(&mut Chunks::new(), input),
        Framing::Close => Some((input.to_vec(), input.len())),
        Framing::Tunnel => None,
    }
}

fn unchunk(chunks: &mut Chunks, input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut taken) = (Vec::new(), 0);
    loop {
        match chunks.decode(&input[taken..]).ok()? {
            ChunkEvent::More { .. } => return None,
            ChunkEvent::Data { skip, data } => {
                body.extend_from_slice(&input[taken + skip..taken + skip + data]);
                taken += skip + data;
            }
            ChunkEvent::End { consumed } => return Some((body, taken + consumed)),
        }
    }
}

/// The requests our codec reads from one connection's bytes, up to the first it refuses or that is cut off.
fn our_requests(mut input: &[u8]) -> Vec<Request> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (mut requests, mut head) = (Vec::new(), Head::new());
    loop {
        head.clear();
        let Ok(Some(length)) = head.parse_request(input, &LIMITS) else { return requests };
        let Ok(framing) = request_framing(&head) else { return requests };
        let Some((body, taken)) = body(framing, &input[length..]) else { return requests };
        let request = Request { method: text(head.method()), target: text(head.target()), body };
        if head.normalise_target().is_err() {
            return requests;
        }
        requests.push(request);
        input = &input[length + taken..];
        if !keeps_alive(&head) {
            return requests;
        }
    }
}

/// The requests hyper's server reads from the same bytes: those whose body came whole.
async fn hyper_requests(input: &[u8]) -> Vec<Request> {
    let requests = Rc::new(RefCell::new(Vec::new()));
    let (mut client, server) = tokio::io::duplex(1 << 20);
    client.write_all(input).await.expect("the pipe has room");
    client.shutdown().await.expect("the pipe is open");
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let requests = Rc::clone(&requests);
        async move {
            let (method, target) = (request.method().to_string(), request.uri().to_string());
            if let Ok(body) = request.into_body().collect().await {
                requests.borrow_mut().push(Request { method, target, body: body.to_bytes().to_vec() });
            }
            Ok::<_, Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(server), service)
        .with_upgrades();
    // An error is hyper's way to refuse; the requests before it stand.
    let _ = connection.await;
    requests.take()
}

/// The final response our codec reads, the interim ones before it skipped.
fn our_response(mut input: &[u8], method: &str) -> Option<Response> {
    let mut head = Head::new();
    loop {
        head.clear();
        let length = head.parse_response(input, &LIMITS).ok()??;
        input = &input[length..];
        let framing = response_framing(&head, method.as_bytes()).ok()?;
        if head.status() >= 200 {
            let (body, _) = body(framing, input)?;
            return Some(Response { status: head.status(), body });
        }
        if framing == Framing::Tunnel {
            return None;
        }
    }
}

/// The final response hyper's client reads from the same bytes.
async fn hyper_response(input: &[u8], method: &str) -> Option<Response> {
    let (client, mut server) = tokio::io::duplex(1 << 20);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.ok()?;
    let request = hyper::Request::builder()
        .method(method)
        .uri("/")
        .header("host", "a")
        .body(Empty::<Bytes>::new())
        .expect("the request is well formed");
    let answer = async {
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            server.read_buf(&mut seen).await.expect("hyper sends the request");
        }
        server.write_all(input).await.expect("the pipe has room");
        server.shutdown().await.expect("the pipe is open");
    };
    let exchange = async {
        let response = sender.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.ok()?.to_bytes().to_vec();
        Some(Response { status, body })
    };
    let (_, _, response) = tokio::join!(connection, answer, exchange);
    response
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts").block_on(future)
}

/// Asserts that two readings of the same bytes relate as `expected`.
fn assert_relation<T: PartialEq + std::fmt::Debug>(
    ours: &[T],
    hypers: &[T],
    expected: Relation,
    input: &[u8],
) {
    let both = ours.len().min(hypers.len());
    let input = input.escape_ascii();
    assert_eq!(ours[..both], hypers[..both], "what both read is the same: {input}");
    let holds = match expected {
        Same => ours.len() == hypers.len(),
        Stricter(_) => ours.len() < hypers.len(),
        Looser(_) => ours.len() > hypers.len(),
    };
    assert!(holds, "{expected:?} does not hold: {input}\nours: {ours:?}\nhyper's: {hypers:?}");
}

/// Requests as they come, and how our reading relates to hyper's. `$` stands for `Host: a` with its CRLF, so
/// that a row shows what matters in it.
const REQUESTS: &[(&str, Relation)] = &[
    ("GET / HTTP/1.1\r\n$\r\n", Same),
    ("GET / HTTP/1.0\r\n\r\n", Same),
    ("HEAD /a?b=c HTTP/1.1\r\n$\r\n", Same),
    ("get / HTTP/1.1\r\n$\r\n", Same),
    ("\r\n\r\nGET / HTTP/1.1\r\n$\r\n", Same),
    ("GET /a HTTP/1.1\r\n$\r\nGET /b HTTP/1.1\r\n$\r\n", Same),
    ("GET /a HTTP/1.1\r\n$Connection: close\r\n\r\nGET /b HTTP/1.1\r\n$\r\n", Same),
    ("GET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.1\r\n$\r\n", Same),
    ("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.1\r\n$\r\n", Same),
    // Lengths.
    ("POST /a HTTP/1.1\r\n$Content-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\n$\r\n", Same),
    ("GET /a HTTP/1.1\r\n$Content-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\n$\r\n", Same),
    ("POST /a HTTP/1.1\r\n$Content-Length: 0\r\n\r\nGET /b HTTP/1.1\r\n$\r\n", Same),
    ("POST / HTTP/1.1\r\n$Content-Length: 4\r\n\r\nabc", Same),
    ("POST / HTTP/1.1\r\n$Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", Same),
    (
        "POST / HTTP/1.1\r\n$Content-Length: 3, 3\r\n\r\nabc",
        Looser("RFC 9112 6.3 lets a list of equal lengths count as one"),
    ),
    ("POST / HTTP/1.1\r\n$Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", Same),
    ("POST / HTTP/1.1\r\n$Content-Length: 3, 4\r\n\r\nabcd", Same),
    ("POST / HTTP/1.1\r\n$Content-Length: 3,\r\n\r\nabc", Same),
    ("POST / HTTP/1.1\r\n$Content-Length: +3\r\n\r\nabc", Same),
    ("POST / HTTP/1.1\r\n$Content-Length: -3\r\n\r\nabc", Same),
    ("POST / HTTP/1.1\r\n$Content-Length: 0x3\r\n\r\nabc", Same),
    ("POST / HTTP/1.1\r\n$Content-Length: 3x\r\n\r\nabc", Same),
    ("POST / HTTP/1.1\r\n$Content-Length:\r\n\r\nabc", Same),
    ("POST / HTTP/1.1\r\n$Content-Length: 18446744073709551619\r\n\r\nabc", Same),
    ("POST / HTTP/1.1\r\n$Content-Length: 003\r\n\r\nabc", Same),
    ("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", Same),
    ("POST / HTTP/1.1\r\n$Content_Length: 3\r\n\r\n", Stricter("gateways take the underscore for a hyphen")),
    // Codings.
    (
        "POST /a HTTP/1.1\r\n$Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /b HTTP/1.1\r\n$\r\n",
        Same,
    ),
    ("POST / HTTP/1.1\r\n$transfer-encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Same),
    (
        "POST / HTTP/1.1\r\n$Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        Stricter("two fields say where the body ends"),
    ),
    (
        "POST / HTTP/1.1\r\n$Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Stricter("two fields say where the body ends"),
    ),
    (
        "POST / HTTP/1.1\r\n$Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        Stricter("only one chunked is undone here"),
    ),
    (
        "POST / HTTP/1.1\r\n$Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        Stricter("only one chunked is undone here"),
    ),
    (
        "POST / HTTP/1.1\r\n$Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Stricter("only one chunked is undone here"),
    ),
    (
        "POST / HTTP/1.1\r\n$Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
        Stricter("only one chunked is undone here"),
    ),
    ("POST / HTTP/1.1\r\n$Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", Same),
    ("POST / HTTP/1.1\r\n$Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", Same),
    ("POST / HTTP/1.1\r\n$Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n", Same),
    ("POST / HTTP/1.1\r\n$Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", Same),
    ("POST / HTTP/1.1\r\n$Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", Same),
    ("POST / HTTP/1.1\r\n$Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", Same),
    ("POST / HTTP/1.1\r\n$Transfer-Encoding: \r\n\r\n0\r\n\r\n", Same),
    ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Same),
    // Chunks: `^` stands for the head of a chunked request.
    ("^3;a=b\r\nabc\r\n0;c\r\n\r\n", Same),
    ("^3 ;a\r\nabc\r\n0\r\n\r\n", Same),
    ("^3 \r\nabc\r\n0\r\n\r\n", Stricter("blanks behind a size belong to an extension")),
    ("^ 3\r\nabc\r\n0\r\n\r\n", Same),
    ("^+3\r\nabc\r\n0\r\n\r\n", Same),
    ("^0x3\r\nabc\r\n0\r\n\r\n", Same),
    ("^3\nabc\r\n0\r\n\r\n", Same),
    ("^3;a\nabc\r\n0\r\n\r\n", Same),
    ("^3\r\nabc\n0\r\n\r\n", Same),
    ("^3\r\nabc0\r\n\r\n", Same),
    ("^3\r\nabcd\r\n0\r\n\r\n", Same),
    ("^3\r\nabc\r\n0\r\n", Same),
    ("^3\r\nabc\r\n0\n\n", Same),
    ("^00000000000000003\r\nabc\r\n0\r\n\r\n", Stricter("a size has at most 16 digits")),
    ("^ffffffffffffffff\r\nabc\r\n0\r\n\r\n", Same),
    ("^10000000000000003\r\nabc\r\n0\r\n\r\n", Same),
    ("^\r\n3\r\nabc\r\n0\r\n\r\n", Same),
    ("^3;a\0\r\nabc\r\n0\r\n\r\n", Stricter("an extension is text")),
    ("^0\r\nA: b\r\n\r\nGET /b HTTP/1.1\r\n$\r\n", Same),
    ("^0\r\nA : b\r\n\r\n", Same),
    ("^0\r\nA: b\r\n c\r\n\r\n", Same),
    ("^0\r\nA: b\nC: d\r\n\r\n", Same),
    ("^0\r\nA\r\n\r\n", Same),
    ("^0\r\n: b\r\n\r\n", Same),
    // Lines.
    ("GET / HTTP/1.1\n$\r\n", Stricter("a line ends without CR")),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", Stricter("a line ends without CR")),
    ("GET / HTTP/1.1\r\n$\n", Stricter("a line ends without CR")),
    ("\nGET / HTTP/1.1\r\n$\r\n", Stricter("a line ends without CR")),
    ("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n$\r\n", Stricter("four empty lines are enough")),
    ("GET / HTTP/1.1\r\n$A: b\rc\r\n\r\n", Same),
    ("GET / HTTP/1.1\r\n$A: b\r\n c\r\n\r\n", Same),
    ("GET / HTTP/1.1\r\n$A : b\r\n\r\n", Same),
    ("GET / HTTP/1.1\r\n$: b\r\n\r\n", Same),
    ("GET / HTTP/1.1\r\n$A: \0\r\n\r\n", Same),
    ("GET / HTTP/1.1\r\n$A: \u{7f}\r\n\r\n", Same),
    ("GET / HTTP/1.1\r\n$A: \u{e4}\r\n\r\n", Same),
    ("GET  / HTTP/1.1\r\n$\r\n", Same),
    ("GET / HTTP/1.1 \r\n$\r\n", Same),
    ("GET / HTTP/1.2\r\n$\r\n", Same),
    ("GET / HTTP/2.0\r\n$\r\n", Same),
    ("GET / http/1.1\r\n$\r\n", Same),
    ("GET /\r\n", Same),
    // Targets.
    ("GET http://b/c HTTP/1.1\r\n$\r\n", Same),
    ("OPTIONS * HTTP/1.1\r\n$\r\n", Same),
    ("GET * HTTP/1.1\r\n$\r\n", Stricter("the target has no form that its method allows")),
    ("GET b HTTP/1.1\r\n$\r\n", Stricter("the target has no form that its method allows")),
    ("GET b:80 HTTP/1.1\r\n$\r\n", Stricter("the target has no form that its method allows")),
    ("GET ftp://b/c HTTP/1.1\r\n$\r\n", Stricter("the target has no form that its method allows")),
    ("GET http://u@b/c HTTP/1.1\r\n$\r\n", Stricter("an authority has no user information")),
    ("GET /b#c HTTP/1.1\r\n$\r\n", Stricter("hyper drops the fragment, others do not")),
    (
        "GET /b<c>\"d\" HTTP/1.1\r\n$\r\n",
        Looser("clients send such targets unencoded, and none of it frames"),
    ),
    ("GET /b\\c HTTP/1.1\r\n$\r\n", Same),
    ("GET /{b}|c^` HTTP/1.1\r\n$\r\n", Same),
    ("GET /\u{e4} HTTP/1.1\r\n$\r\n", Same),
    (
        "GET /?b?c[]'\u{e4}{\"d\"} HTTP/1.1\r\n$\r\n",
        Looser("clients send such targets unencoded, and none of it frames"),
    ),
    ("GET //b HTTP/1.1\r\n$\r\n", Same),
    // Hosts.
    ("GET / HTTP/1.1\r\n\r\n", Stricter("HTTP/1.1 wants a Host")),
    ("GET / HTTP/1.1\r\n$Host: a\r\n\r\n", Stricter("there are two hosts")),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Stricter("this is no host")),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Stricter("this is no host")),
    ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", Stricter("this is no host")),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Same),
];

#[test]
fn requests_as_hyper_reads_them() {
    let chunked = "POST /chunked HTTP/1.1\r\n$Transfer-Encoding: chunked\r\n\r\n";
    for &(text, relation) in REQUESTS {
        let input = text.replace('^', chunked).replace('$', "Host: a\r\n").into_bytes();
        assert_relation(&our_requests(&input), &block_on(hyper_requests(&input)), relation, &input);
    }
}

/// Responses to `method` as they come, and how our reading relates to hyper's. `^` stands for the head of a
/// chunked 200.
const RESPONSES: &[(&str, &str, Relation)] = &[
    ("GET", "HTTP/1.1 200 OK\r\n\r\nuntil the end", Same),
    ("GET", "HTTP/1.0 200 OK\r\n\r\nuntil the end", Same),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", Same),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", Same),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", Same),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Same),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", Same),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc", Same),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", Same),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc", Same),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Same,
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Same,
    ),
    ("GET", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Same),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        Stricter("only one chunked is undone here"),
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nabc",
        Stricter("only one chunked is undone here"),
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Stricter("only one chunked is undone here"),
    ),
    (
        "GET",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        Stricter("only one chunked is undone here"),
    ),
    ("GET", "^3\r\nabc\r\n0\r\n\r\n", Same),
    ("GET", "^3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\n", Same),
    ("GET", "^3\r\nabc\r\n0\r\n", Same),
    ("GET", "^3\r\nabc\r\n", Same),
    ("GET", "^3\nabc\r\n0\r\n\r\n", Same),
    ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Same),
    ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Same),
    ("GET", "HTTP/1.1 204 No Content\r\n\r\n", Same),
    ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", Same),
    ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", Same),
    ("GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", Same),
    ("GET", "HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\n\r\nabc", Same),
    ("GET", "HTTP/1.1 103 Early\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\n\r\nabc", Same),
    ("GET", "HTTP/1.1 200\r\n\r\nabc", Same),
    ("GET", "HTTP/1.1 200 \r\n\r\nabc", Same),
    ("GET", "HTTP/1.1 200 \u{e4}\r\n\r\nabc", Same),
    ("GET", "HTTP/1.1 999 OK\r\n\r\nabc", Same),
    ("GET", "HTTP/1.1 099 OK\r\n\r\nabc", Same),
    ("GET", "HTTP/1.1  200 OK\r\n\r\nabc", Same),
    ("GET", "HTTP/2.0 200 OK\r\n\r\nabc", Same),
    ("GET", "HTTP/1.1 200 OK\n\nabc", Stricter("a line ends without CR")),
    ("GET", "HTTP/1.1 200 OK\r\nA: b\n\r\nabc", Stricter("a line ends without CR")),
    ("GET", "\r\nHTTP/1.1 200 OK\r\n\r\nabc", Stricter("a server has no reason to send an empty line first")),
    ("GET", "HTTP/1.1 200 OK\r\nA : b\r\n\r\nabc", Same),
    ("GET", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\nabc", Same),
];

#[test]
fn responses_as_hyper_reads_them() {
    for &(method, text, relation) in RESPONSES {
        let input = text.replace('^', "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
        let (ours, hypers) = (our_response(&input, method), block_on(hyper_response(&input, method)));
        assert_relation(ours.as_slice(), hypers.as_slice(), relation, &input);
    }
}

/// Parts of requests that are well formed, nearly so, or neither.
fn piece(choices: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(choices)
}

const FIRST_LINES: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a HTTP/1.1\r\n",
    "POST /b?c HTTP/1.0\r\n",
    "HEAD /d HTTP/1.1\r\n",
    "\r\nPUT /e HTTP/1.1\r\n",
    "GET /f HTTP/1.1\n",
];

const STATUS_LINES: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 404 No\r\n",
    "HTTP/1.1 204 \r\n",
    "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200\r\n",
];

const FIELD_LINES: &[&str] = &[
    "Host: a\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 8\r\n",
    "content-length:5 \r\n",
    "Content-Length: 3, 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding:\tCHUNKED\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "A: b\r\n",
    "A:\r\n",
    "Content-Length : 3\r\n",
    " Content-Length: 3\r\n",
    "Content_Length: 3\r\n",
    "Content-Length: 3\n",
];

const BODIES: &[&str] = &[
    "",
    "abc",
    "3\r\nabc\r\n",
    "3;x=y\r\nabc\r\n",
    "0\r\n\r\n",
    "0\r\nA: b\r\n\r\n",
    "00\r\nContent-Length: 3\r\n\r\n",
    "3\nabc\n",
    "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// The bytes of a connection: requests of such parts, and a few bytes changed.
fn wire(first_lines: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let fields = proptest::collection::vec(piece(FIELD_LINES), 0..5);
    let bodies = proptest::collection::vec(piece(BODIES), 0..4);
    let message =
        (piece(first_lines), any::<bool>(), fields, bodies).prop_map(|(line, host, fields, bodies)| {
            let host = if host { "Host: a\r\n" } else { "" };
            [line, host, &fields.concat(), "\r\n", &bodies.concat()].concat()
        });
    let changes =
        proptest::collection::vec((any::<prop::sample::Index>(), proptest::option::of(odd_byte())), 0..3);
    (proptest::collection::vec(message, 1..4), changes).prop_map(|(messages, changes)| {
        let mut bytes = messages.concat().into_bytes();
        for (place, change) in changes {
            let place = place.index(bytes.len());
            match change {
                Some(byte) => bytes[place] = byte,
                None => drop(bytes.remove(place)),
            }
        }
        bytes
    })
}

/// Bytes that mean something to a parser, and any other.
fn odd_byte() -> impl Strategy<Value = u8> {
    prop_oneof![proptest::sample::select(b"\r\n\t :;,0aA\0\x7f\xff".as_slice()), any::<u8>()]
}

/// Where the pieces of `length` bytes end, in order, the end among them.
fn ends(length: usize, cuts: &[prop::sample::Index]) -> Vec<usize> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(length + 1)).chain([length]).collect();
    ends.sort_unstable();
    ends
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    proptest::collection::vec(any::<prop::sample::Index>(), 0..12)
}

fn fields(head: &Head) -> Vec<(Vec<u8>, Vec<u8>)> {
    head.fields().map(|field| (field.name.to_vec(), field.value.to_vec())).collect()
}

fn written(head: &Head) -> Vec<u8> {
    let mut out = Vec::new();
    head.write(&mut out);
    out
}

/// Decodes a chunked body that comes in pieces: what came out and, if it ended well, how many bytes it took.
fn unchunk_pieces(input: &[u8], ends: &[usize]) -> (Vec<u8>, Option<usize>, Vec<u8>) {
    let (mut chunks, mut body, mut at) = (Chunks::new(), Vec::new(), 0);
    for &end in ends {
        while at < end {
            match chunks.decode(&input[at..end]) {
                Ok(ChunkEvent::More { consumed }) => at += consumed,
                Ok(ChunkEvent::Data { skip, data }) => {
                    body.extend_from_slice(&input[at + skip..at + skip + data]);
                    at += skip + data;
                }
                Ok(ChunkEvent::End { consumed }) => {
                    return (body, Some(at + consumed), chunks.trailers().to_vec());
                }
                Err(_) => return (body, None, Vec::new()),
            }
        }
    }
    (body, None, Vec::new())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    /// Whatever comes, we and hyper never read different messages from the same bytes, and what we take hyper
    /// takes unless it minds the target or a list of lengths, the only piece with a comma.
    #[test]
    fn requests_never_differ_from_hypers(input in wire(FIRST_LINES)) {
        let (ours, hypers) = (our_requests(&input), block_on(hyper_requests(&input)));
        let both = ours.len().min(hypers.len());
        prop_assert_eq!(&ours[..both], &hypers[..both]);
        if let Some(only_ours) = ours.get(both) {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/?".contains(&byte);
            let plain = only_ours.target.bytes().all(is_plain);
            let list = input.contains(&b',');
            prop_assert!(!plain || list, "only we took {:?}", only_ours);
        }
    }

    /// The same for responses.
    #[test]
    fn responses_never_differ_from_hypers(
        input in wire(STATUS_LINES),
        method in piece(&["GET", "HEAD"]),
    ) {
        if let Some(ours) = our_response(&input, method) {
            prop_assert_eq!(Some(ours), block_on(hyper_response(&input, method)));
        }
    }

    /// A head that comes in pieces is read as one that comes whole. (That a head is malformed may be noticed
    /// later when it comes in pieces, but at its end at the latest; so every input here has an end.)
    #[test]
    fn any_split_of_a_head_reads_the_same(mut input in wire(FIRST_LINES), cuts in cuts()) {
        input.extend_from_slice(b"\r\n\r\n");
        let mut whole = Head::new();
        let expected = whole.parse_request(&input, &LIMITS);
        let mut head = Head::new();
        let ends = ends(input.len(), &cuts);
        let mut pieces = ends.into_iter().map(|end| head.parse_request(&input[..end], &LIMITS));
        let last = pieces.find(|read| *read != Ok(None)).unwrap_or(Ok(None));
        drop(pieces);
        match expected {
            Err(_) => prop_assert!(last.is_err()),
            Ok(taken) => {
                prop_assert_eq!(last, Ok(taken));
                prop_assert_eq!(fields(&head), fields(&whole));
                prop_assert_eq!((head.method(), head.target()), (whole.method(), whole.target()));
            }
        }
    }

    /// What is written reads as what was read, edited or not.
    #[test]
    fn what_is_written_reads_the_same(
        input in wire(FIRST_LINES),
        name in proptest::collection::vec(odd_byte(), 0..8),
        value in proptest::collection::vec(odd_byte(), 0..8),
        target in proptest::collection::vec(odd_byte(), 1..8),
        edited in any::<bool>(),
    ) {
        let mut head = Head::new();
        if let Ok(Some(_)) = head.parse_request(&input, &LIMITS) {
            if edited {
                head.strip_hop_by_hop();
                head.append(&name, &value);
                head.set(b"A", &value);
                if target.is_ascii() {
                    head.set_target(&target);
                }
            }
            let bytes = written(&head);
            let mut again = Head::new();
            prop_assert_eq!(again.parse_request(&bytes, &LIMITS), Ok(Some(bytes.len())));
            prop_assert_eq!(fields(&again), fields(&head));
            prop_assert_eq!((again.method(), again.target()), (head.method(), head.target()));
            prop_assert_eq!(again.version(), head.version());
        }
    }

    /// A body that was encoded is decoded from any pieces.
    #[test]
    fn a_chunked_body_survives_any_split(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        chunk in 1..50_usize,
        cuts in cuts(),
    ) {
        let mut input = Vec::new();
        for data in body.chunks(chunk) {
            write_chunk_head(data.len(), &mut input);
            input.extend_from_slice(data);
            input.extend_from_slice(CHUNK_END);
        }
        write_last_chunk(b"A: b\r\n", &mut input);
        let length = input.len();
        input.extend_from_slice(b"0\r\n\r\n");
        let decoded = unchunk_pieces(&input, &ends(input.len(), &cuts));
        prop_assert_eq!(decoded, (body, Some(length), b"A: b\r\n".to_vec()));
    }

    /// Bytes that may or may not be a chunked body mean the same in any pieces.
    #[test]
    fn any_split_of_chunks_reads_the_same(
        parts in proptest::collection::vec(piece(BODIES), 1..6),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), odd_byte()), 0..3),
        cuts in cuts(),
    ) {
        let mut input = parts.concat().into_bytes();
        for (place, byte) in changes {
            if let Some(at) = input.len().checked_sub(1).map(|last| place.index(last + 1)) {
                input[at] = byte;
            }
        }
        let whole = unchunk_pieces(&input, &[input.len()]);
        prop_assert_eq!(unchunk_pieces(&input, &ends(input.len(), &cuts)), whole);
    }
}
