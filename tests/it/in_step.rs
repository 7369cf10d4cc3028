//! A connection stays in step: no byte of one message is ever read as a part of another, on either side.

use crate::support::{TestApp, Upstream, Wire, ok, routing_to, time_flies};
use std::time::Duration;

async fn scene() -> (TestApp, Upstream, Wire) {
    let upstream = Upstream::with_small_buffers().await;
    let app = TestApp::start_here(&routing_to(&upstream.path())).await;
    let client = app.client().await;
    (app, upstream, client)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A body made of requests, whichever byte of it is read first.
fn body_of_requests(length: usize) -> Vec<u8> {
    let request = b"GET /x HTTP/1.1\r\nHost: a\r\nX: 34567\r\n\r\n";
    request.iter().copied().cycle().take(length).collect()
}

#[tokio::test(flavor = "local")]
async fn the_rest_of_a_body_is_no_request_when_the_endpoint_breaks_off() {
    let (app, upstream, mut client) = scene().await;
    // More than the sockets on the way hold, however large they have become.
    let body = body_of_requests(32 << 20);
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len())).await;
    let mut conn = upstream.accept().await;
    conn.head().await;
    let Wire { mut reader, mut writer } = client;
    // The endpoint reads nothing more, so that the upload gets stuck in writing; then it dies with bytes unread.
    let (mut sent, mut stuck) = (0, 0);
    while stuck < 3 {
        let went = writer.send_some(&body[sent..]).await;
        sent += went;
        stuck = if went == 0 { stuck + 1 } else { 0 };
    }
    assert!(sent < body.len(), "back-pressure reaches the caller");
    conn.reset();
    let response = reader.head().await;
    response.assert_status(502);
    assert_eq!(response.field("connection"), Some("close"));
    let rest = reader.rest().await;
    assert!(!rest.windows(5).any(|bytes| bytes == b"HTTP/"), "{}", rest.escape_ascii());
    assert_eq!(app.total("requests", &[]), 1);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_stands_behind_a_response_is_not_the_next_one() {
    let stray = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray";
    let table = [
        ("GET", format!("{}{stray}", ok("mine"))),
        ("GET", format!("HTTP/1.1 204 No Content\r\n\r\n{stray}")),
        ("HEAD", format!("HTTP/1.1 200 OK\r\nContent-Length: 48\r\n\r\n{stray}")),
        ("GET", "HTTP/1.1 304 Not Modified\r\n\r\n0\r\n\r\n".to_owned()),
    ];
    for (method, response) in table {
        let (app, upstream, mut client) = scene().await;
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        conn.send(&response).await;
        client.head().await;
        let mut other = app.client().await;
        other.send(GET).await;
        let mut fresh = upstream.accept().await;
        fresh.request().await;
        fresh.send(ok("yours")).await;
        assert_eq!(other.response().await.text(), "yours", "after {method} and {response:?}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn an_unread_body_is_skipped_or_ends_the_connection() {
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&routing_to("/$/io.buoyant.http.status/204")).await;
    let mut client = app.client().await;
    let post = |length: usize| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    client.ask([post(400).into_bytes(), body_of_requests(400)].concat()).await.assert_status(204);
    client.ask(GET).await.assert_status(204);
    assert_eq!(app.total("requests", &[]), 2);
    client.send(post(1 << 20)).await;
    let response = client.head().await;
    assert_eq!(response.field("connection"), Some("close"));
    client.assert_ended().await;
    assert_eq!(app.total("requests", &[]), 3);
    upstream.assert_unreached().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_that_answers_early_may_read_on() {
    let (app, upstream, mut client) = scene().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234").await;
    let mut conn = upstream.accept().await;
    conn.head().await;
    conn.send(ok("early")).await;
    assert_eq!(client.response().await.text(), "early");
    client.send("56789").await;
    conn.expect("0123456789").await;
    client.send(GET).await;
    assert_eq!(conn.request().await.first_line(), "GET / HTTP/1.1", "on the same connection");
    conn.send(ok("next")).await;
    assert_eq!(client.response().await.text(), "next");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_stalls_in_its_body_is_given_up() {
    let (app, upstream, mut client) = scene().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n012").await;
    let mut conn = upstream.accept().await;
    conn.head().await;
    conn.expect("012").await;
    let ((), waited) = time_flies(client.assert_gone()).await;
    assert!((60..=121).contains(&waited.as_secs()), "{waited:?}");
    conn.assert_gone().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_waits_is_not_given_up() {
    let (app, upstream, mut client) = scene().await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n012").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    time_flies(tokio::time::sleep(Duration::from_secs(1000))).await;
    conn.send(ok("at last")).await;
    assert_eq!(client.response().await.text(), "at last");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn http_in_a_tunnel_is_not_offered() {
    let (app, upstream, mut client) = scene().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n")
        .await;
    let mut conn = upstream.accept().await;
    let request = conn.request().await;
    assert_eq!((request.field("upgrade"), request.field("connection")), (None, None));
    conn.send(ok("plain")).await;
    assert_eq!(client.response().await.text(), "plain");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn max_forwards_is_counted_down() {
    let (app, upstream, mut client) = scene().await;
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 2\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    assert_eq!(conn.request().await.field("max-forwards"), Some("1"));
    conn.send(ok("")).await;
    client.response().await.assert_status(200);
    client.ask("TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n").await.assert_status(200);
    client.ask("TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: some\r\n\r\n").await.assert_status(400);
    app.stop().await;
}
