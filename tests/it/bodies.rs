//! Bodies: framed anew, streamed both ways at once, and never more of them held than fits a few buffers.

use crate::support::{TestApp, Upstream, Wire, Writer, ok, routing_to, time_flies};
use std::time::Duration;

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// An app before an upstream that is played by the test, and a client.
async fn scene() -> (TestApp, Upstream, Wire) {
    let upstream = Upstream::with_small_buffers().await;
    let app = TestApp::start_here(&routing_to(&upstream.path())).await;
    let client = app.client().await;
    (app, upstream, client)
}

fn post(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

/// Bytes in which a lost or repeated piece shows.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[tokio::test(flavor = "local")]
async fn a_chunked_request_is_framed_anew() {
    let (app, upstream, mut client) = scene().await;
    client.send(CHUNKED).await;
    client.send("005;name=\"value\"\r\nhello\r\n1\r\n \r\nA ;x\r\n0123456789\r\n0;last\r\n").await;
    client
        .send("X-Checksum: 1\r\nHost: evil\r\nContent-Length: 3\r\nl5d-dtab: /a=>/b\r\nX_Sum:2\r\n\r\n")
        .await;
    let mut conn = upstream.accept().await;
    let request = conn.request().await;
    assert_eq!(request.field("transfer-encoding"), Some("chunked"));
    assert_eq!(request.text(), "hello 0123456789");
    assert_eq!(
        request.trailers,
        ["X-Checksum: 1", "X_Sum:2"],
        "those that frame, route or steer are dropped"
    );
    conn.send(ok("")).await;
    client.response().await.assert_status(200);

    client.send(format!("{CHUNKED}0\r\n\r\n")).await;
    assert_eq!(conn.request().await.text(), "");
    conn.send(ok("")).await;
    client.response().await.assert_status(200);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_chunked_response_is_framed_anew() {
    let (app, upstream, mut client) = scene().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n").await;
    let head = client.head().await;
    assert_eq!(head.field("transfer-encoding"), Some("chunked"));
    client.expect(b"3\r\nabc\r\n").await;
    conn.send("2\r\nde\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a\r\nTransfer-Encoding: gzip\r\n\r\n").await;
    client.expect("2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n").await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_takes_no_trailers_gets_none() {
    let (app, upstream, mut client) = scene().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nTE: gzip\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    assert_eq!(conn.request().await.field("te"), None);
    conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n").await;
    let response = client.response().await;
    assert_eq!((response.text(), response.trailers.len()), ("abc", 0));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_response_that_ends_with_its_connection_is_chunked() {
    let (app, upstream, mut client) = scene().await;
    for version in ["1.0", "1.1"] {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        conn.send(format!("HTTP/{version} 200 OK\r\nX: 1\r\n\r\nto the")).await;
        conn.send(" end").await;
        conn.writer.finish().await;
        let response = client.response().await;
        assert_eq!(response.first_line(), "HTTP/1.1 200 OK");
        assert_eq!(response.field("transfer-encoding"), Some("chunked"));
        assert_eq!((response.text(), response.field("connection")), ("to the end", None));
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn one_length_leaves_nothing_to_choose() {
    let (app, upstream, mut client) = scene().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length: 05, 5\r\n\r\nhello")
        .await;
    let mut conn = upstream.accept().await;
    let request = conn.request().await;
    assert_eq!((request.field("content-length"), request.text()), (Some("5"), "hello"));
    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nhi").await;
    let response = client.response().await;
    assert_eq!((response.field("content-length"), response.text()), (Some("2"), "hi"));

    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    conn.request().await;
    conn.send(
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    )
    .await;
    let response = client.response().await;
    assert_eq!(response.field("content-length"), None, "Transfer-Encoding overrides it (RFC 9112 6.3)");
    assert_eq!(response.text(), "hi");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn large_bodies_pass_both_ways_at_once() {
    const LENGTH: usize = 1 << 20;
    let (app, upstream, client) = scene().await;
    let Wire { mut reader, mut writer } = client;
    let upload = async {
        writer.send(post(LENGTH)).await;
        writer.send(content(LENGTH)).await;
    };
    let echo = async {
        let Wire { mut reader, mut writer } = upstream.accept().await;
        reader.head().await;
        writer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n")).await;
        // What comes is sent back before the next of it is read: neither side could hold it all.
        for _ in 0..LENGTH / 4096 {
            writer.send(reader.bytes(4096).await).await;
        }
    };
    let download = async {
        reader.head().await.assert_status(200);
        reader.bytes(LENGTH).await
    };
    let ((), (), received) = tokio::join!(upload, echo, download);
    assert!(received == content(LENGTH));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_conversation_in_chunks_goes_on_while_both_bodies_do() {
    let (app, upstream, mut client) = scene().await;
    client.send(CHUNKED).await;
    let mut conn = upstream.accept().await;
    conn.head().await;
    conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.head().await.assert_status(200);
    for word in ["one", "two", "six"] {
        let chunk = format!("3\r\n{word}\r\n");
        client.send(&chunk).await;
        conn.expect(&chunk).await;
        conn.send(&chunk).await;
        client.expect(&chunk).await;
    }
    client.send("0\r\n\r\n").await;
    conn.expect(b"0\r\n\r\n").await;
    conn.send("0\r\n\r\n").await;
    client.expect(b"0\r\n\r\n").await;

    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    conn.request().await;
    conn.send(ok("again")).await;
    assert_eq!(client.response().await.text(), "again", "both connections are kept");
    app.stop().await;
}

/// Sends up to `length` bytes, and stops when no more are taken; returns how many were taken.
async fn send_until_stuck(writer: &mut Writer, length: usize) -> usize {
    let block = [b'x'; 64 * 1024];
    let mut sent = 0;
    while sent < length {
        match writer.send_some(&block[..block.len().min(length - sent)]).await {
            0 => break,
            taken => sent += taken,
        }
    }
    sent
}

/// A body that no kernel and no router should hold for a peer that does not read.
const LONG: usize = 32 << 20;

#[tokio::test(flavor = "local")]
async fn an_upstream_that_does_not_read_stops_the_caller() {
    let (app, upstream, mut client) = scene().await;
    client.send(post(LONG)).await;
    let mut conn = upstream.accept().await;
    let (sent, _) = time_flies(send_until_stuck(&mut client.writer, LONG)).await;
    assert!(sent < LONG / 2, "{sent} bytes were taken though the upstream read nothing");
    conn.head().await;
    let rest = vec![b'x'; LONG - sent];
    let (received, ()) = tokio::join!(conn.reader.bytes(LONG), client.send(rest));
    assert!(received.iter().all(|&byte| byte == b'x'));
    conn.send(ok("all of it")).await;
    assert_eq!(client.response().await.text(), "all of it");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_does_not_read_stops_the_upstream() {
    let (app, upstream, mut client) = scene().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n")).await;
    let (sent, _) = time_flies(send_until_stuck(&mut conn.writer, LONG)).await;
    assert!(sent < LONG / 2, "{sent} bytes were taken though the caller read nothing");
    client.head().await.assert_status(200);
    let rest = vec![b'x'; LONG - sent];
    let (received, ()) = tokio::join!(client.reader.bytes(LONG), conn.send(rest));
    assert!(received.iter().all(|&byte| byte == b'x'));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_early_refusal_reaches_the_caller() {
    for then_close in [true, false] {
        let (app, upstream, mut client) = scene().await;
        client.send(post(100_000)).await;
        client.send(content(1000)).await;
        let mut conn = upstream.accept().await;
        conn.head().await;
        conn.send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
            .await;
        if then_close {
            // Unread bytes are there, so this is a reset.
            drop(conn);
        }
        let response = client.response().await;
        assert_eq!((response.status(), response.text()), (413, "big"));
        client.writer.finish().await;
        client.assert_ended().await;
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn an_early_answer_does_not_cut_the_request_off() {
    let (app, upstream, mut client) = scene().await;
    client.send(post(6)).await;
    client.send("abc").await;
    let mut conn = upstream.accept().await;
    conn.head().await;
    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel").await;
    client.head().await.assert_status(200);
    client.send("def").await;
    conn.expect(b"abcdef").await;
    conn.send("lo").await;
    client.expect(b"hello").await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    conn.request().await;
    conn.send(ok("next")).await;
    assert_eq!(client.response().await.text(), "next");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_request_that_ends_behind_its_answer_holds_up_no_other() {
    let (app, upstream, mut client) = scene().await;
    client.send(post(6)).await;
    client.send("abc").await;
    let mut conn = upstream.accept().await;
    conn.head().await;
    conn.send(ok("early")).await;
    assert_eq!(client.response().await.text(), "early");
    let next = async {
        client.send("def").await;
        conn.expect(b"abcdef").await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        conn.request().await;
        conn.send(ok("next")).await;
        assert_eq!(client.response().await.text(), "next");
    };
    let ((), passed) = time_flies(next).await;
    assert!(passed < Duration::from_secs(1), "{passed:?}");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_request_whose_body_ends_early_ends_there_for_the_upstream() {
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let (app, upstream, mut client) = scene().await;
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n3\r\nab")).await;
        let mut conn = upstream.accept().await;
        conn.head().await;
        client.writer.finish().await;
        client.assert_gone().await;
        let rest = conn.reader.rest().await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "half a body is not made a whole one: {rest:?}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_expects_100_is_told_to_go_on() {
    let (app, upstream, mut client) = scene().await;
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    assert_eq!(conn.head().await.field("expect"), Some("100-continue"), "the upstream decides");
    conn.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.response().await.first_line(), "HTTP/1.1 100 Continue");
    client.send("hello").await;
    conn.expect(b"hello").await;
    conn.send(ok("thanks")).await;
    assert_eq!(client.response().await.text(), "thanks");

    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    conn.request().await;
    conn.send(ok("next")).await;
    assert_eq!(client.response().await.text(), "next", "both connections are kept");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_expects_100_may_be_refused() {
    let (app, upstream, mut client) = scene().await;
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.head().await;
    conn.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno").await;
    let response = client.response().await;
    assert_eq!((response.status(), response.text()), (417, "no"));
    client.writer.finish().await;
    client.assert_ended().await;
    conn.assert_gone().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_old_client_gets_no_interim_response() {
    let (app, upstream, mut client) = scene().await;
    client.send("PUT / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi").await;
    let mut conn = upstream.accept().await;
    assert_eq!(conn.request().await.field("expect"), None);
    conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
    conn.send(ok("hi")).await;
    assert_eq!(client.response().await.text(), "hi");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn interim_responses_are_relayed() {
    let (app, upstream, mut client) = scene().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    for link in ["</a.css>", "</b.js>"] {
        conn.send(format!("HTTP/1.1 103 Early Hints\r\nLink: {link}\r\nConnection: x\r\nX: 1\r\n\r\n")).await;
        let hints = client.response().await;
        assert_eq!((hints.status(), hints.field("link")), (103, Some(link)), "before the final one comes");
        assert_eq!((hints.field("connection"), hints.field("x")), (None, None));
    }
    conn.send(ok("hi")).await;
    assert_eq!(client.response().await.text(), "hi");
    app.stop().await;
}
