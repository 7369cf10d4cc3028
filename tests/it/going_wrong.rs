//! Responses that go wrong: at once, or when a part of them was passed on.

use crate::support::either::Speaks::{Http1, Http2};
use crate::support::either::{Ask, Caller, Echo, Speaks, played, router};
use crate::support::http2::{Call, Frame, Frames, H2Conn, H2Service, kind, write};
use crate::support::{Service, TestApp, Upstream, speaking};
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

#[tokio::test(flavor = "local")]
async fn blanks_behind_the_size_of_a_chunk_are_read_in_responses_alone() {
    let (app, upstream, _client) = played(Http1).await;
    for speaks in CALLERS {
        let mut caller = Caller::connect(&app, speaks).await;
        let answering = async {
            let mut conn = upstream.accept().await;
            conn.request().await;
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
            conn.send(format!("{head}5 \r\nhello\r\n1\t  \r\n!\r\n0 \r\n\r\n")).await;
        };
        let (answer, ()) = tokio::join!(caller.get(&[]), answering);
        assert_eq!((answer.status, answer.text()), (200, "hello!"), "{speaks:?}");
    }
    let mut wire = app.client().await;
    let request =
        "POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n";
    wire.ask(request).await.assert_status(400);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_response_beyond_a_limit_names_the_key() {
    let many = |count: usize| (0..count).map(|at| (format!("x-{at}"), "y".to_owned())).collect::<Vec<_>>();
    let long = || vec![("x".to_owned(), "y".repeat(9 << 10))];
    // The router's own fields do not count: the response has the length of its body beside these.
    let table = [
        ("", many(99), None),
        ("", many(100), Some("more than 100 header fields (`maxResponseHeaders` of the router)")),
        ("  maxResponseHeaders: 200\n", many(199), None),
        ("  maxResponseHeaders: 2\n", many(2), Some("more than 2 header fields (`maxResponseHeaders`")),
        ("", long(), Some("more than 8192 bytes (`maxHeadersKB` of the router")),
    ];
    for endpoint in CALLERS {
        for (keys, fields, named) in &table {
            let echo = answering_with(endpoint, fields.clone()).await;
            let yaml = speaking(router(endpoint), &format!("/svc/* => {}", echo.path()), "");
            let app = TestApp::start(&(yaml + keys)).await;
            for speaks in CALLERS {
                let answer = Caller::connect(&app, speaks).await.get(&[]).await;
                assert_eq!(answer.status, if named.is_some() { 502 } else { 200 }, "{endpoint:?} {keys:?}");
                let named = named.unwrap_or_default();
                assert!(answer.text().contains(named), "{named}: {}", answer.text());
            }
            app.stop().await;
        }
    }
}

/// A service whose every response has these fields, and a length.
async fn answering_with(speaks: Speaks, fields: Vec<(String, String)>) -> Echo {
    if speaks == Http2 {
        let answer = async move |call: Call| {
            let response = Response::builder().header("content-length", "2");
            let named = fields.iter().fold(response, |response, (name, value)| response.header(name, value));
            call.answer(named.body("hi").expect("a response")).await;
        };
        return Echo::Http2(H2Service::start(answer).await);
    }
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{lines}\r\nhi");
    Echo::Http1(Service::start(async move |_| response.clone()).await)
}
