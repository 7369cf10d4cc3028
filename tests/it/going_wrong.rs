//! Responses that go wrong: at once, or when a part of them was passed on.

use crate::support::either::Speaks::{Http1, Http2};
use crate::support::either::{Ask, Caller, Speaks, played};
use crate::support::http2::{Frame, Frames, H2Conn, kind, write};
use crate::support::{TestApp, Upstream};
use http::Response;

const CALLERS: [Speaks; 2] = [Http1, Http2];

/// Responses over HTTP/1 whose first bytes show what is wrong with them. After each, the connection is closed.
const WRONG_AT_ONCE: [&str; 9] = [
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\noops\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\noops\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhigh\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\nhi\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nno field\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
];

/// Asks with a POST, which may not be sent again.
async fn ask(app: &TestApp, speaks: Speaks) -> u16 {
    let post = Ask { method: "POST", target: "/", length: true, ..Ask::default() };
    let answer = Caller::connect(app, speaks).await.ask(&post).await;
    assert!(!answer.fields.iter().any(|(name, _)| name == "l5d-retryable"), "it was executed: {answer:?}");
    answer.status
}

/// Every request was a fault of its endpoint, and no endpoint is asked another time.
async fn assert_faults(app: TestApp, upstream: &Upstream, count: usize) {
    upstream.assert_unreached().await;
    assert_eq!((app.total("upstream_faults", &[]), app.total("success", &[])), (count as u64, 0));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_response_that_goes_wrong_at_once_is_a_bad_gateway() {
    let (app, upstream, _client) = played(Http1).await;
    for caller in CALLERS {
        for response in WRONG_AT_ONCE {
            let answering = async {
                let mut conn = upstream.accept().await;
                conn.request().await;
                conn.send(response).await;
            };
            let (status, ()) = tokio::join!(ask(&app, caller), answering);
            assert_eq!(status, 502, "{caller:?}: {response:?}");
        }
    }
    assert_faults(app, &upstream, 2 * WRONG_AT_ONCE.len()).await;
}

#[tokio::test(flavor = "local")]
async fn a_stream_that_goes_wrong_at_once_is_a_bad_gateway() {
    let head = |fields: &[(&str, &str)]| Frame::head(1, &[&[(":status", "200")], fields].concat());
    let table = [
        vec![head(&[]), Frame::reset(1, 2)],
        vec![head(&[]), Frame::data(1, b"hi", false), Frame::reset(1, 8)],
        vec![head(&[("content-length", "3")]), Frame::data(1, b"hi", true)],
        vec![head(&[("content-length", "1")]), Frame::data(1, b"hi", false)],
        // The connection ends.
        vec![head(&[])],
        vec![head(&[]), Frame::data(1, b"hi", false)],
    ];
    let (app, upstream, _client) = played(Http2).await;
    for caller in CALLERS {
        for frames in &table {
            let answering = async {
                let mut conn = Frames::accept(&upstream, &[]).await;
                conn.next_of(kind::HEADERS, 1).await;
                let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
                conn.wire.send(bytes).await;
            };
            let (status, ()) = tokio::join!(ask(&app, caller), answering);
            assert_eq!(status, 502, "{caller:?}: {frames:?}");
        }
    }
    assert_faults(app, &upstream, 2 * table.len()).await;
}

#[tokio::test(flavor = "local")]
async fn a_response_that_goes_wrong_later_is_the_endpoints_fault() {
    let (app, upstream, _client) = played(Http1).await;
    let mut wire = app.client().await;
    wire.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
    wire.head().await.assert_status(200);
    wire.expect("2\r\nhi\r\n").await;
    conn.send("oops\r\n").await;
    wire.assert_gone().await;
    assert_faults(app, &upstream, 1).await;

    let (app, upstream, _client) = played(Http2).await;
    let mut wire = app.client().await;
    wire.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
    let mut conn = H2Conn::accept(&upstream).await;
    let mut out = conn.call().await.begin(Response::new(()));
    write(&mut out, "hi", false).await.expect("the caller reads");
    wire.head().await.assert_status(200);
    wire.expect("2\r\nhi\r\n").await;
    drop(conn);
    wire.assert_gone().await;
    assert_faults(app, &upstream, 1).await;
}
