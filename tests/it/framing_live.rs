//! What could be read in two ways is refused on the wire, before any upstream could read it in the other.

use crate::support::{Service, TestApp, Upstream, Wire, ok, routing_to, time_flies};
use std::time::Duration;
use tokio::time::timeout;

/// Sends each request on a connection of its own, and expects that status and the end of the connection.
///
/// What stands behind a request, such as another one, must not be taken for one.
async fn are_refused(table: &[(&str, u16)]) {
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&routing_to(&upstream.path())).await;
    for (request, status) in table {
        let mut client = app.client().await;
        client.send(request).await;
        let request = &request[..request.len().min(200)];
        let response = client.response().await;
        assert_eq!(response.status(), *status, "{request:?}: {response:?}");
        assert_eq!(response.field("connection"), Some("close"), "{request:?}");
        assert!(!response.text().trim().is_empty(), "{request:?}: the answer says why");
        client.assert_ended().await;
    }
    assert_eq!(app.total("caller_faults", &[]), table.len() as u64);
    upstream.assert_unreached().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn ends_that_two_readers_would_see_in_two_places_are_refused() {
    are_refused(&[
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n0\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n", 501),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", 400),
    ])
    .await;
}

#[tokio::test(flavor = "local")]
async fn heads_that_two_readers_would_take_apart_in_two_ways_are_refused() {
    are_refused(&[
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n", 400),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\tfolded: 2\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\t: 1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x1bb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX(y): b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400),
        ("GET http://b/ HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
        ("GET /\r\nHost: a\r\n\r\n", 400),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", 400),
        ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n", 400),
    ])
    .await;
}

#[tokio::test(flavor = "local")]
async fn heads_over_their_limits_are_refused_before_they_end() {
    let long = "x".repeat(9 * 1024);
    let many = "X: 1\r\n".repeat(101);
    are_refused(&[
        (&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (&format!("GET /{long}"), 414),
        (&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), 431),
        (&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}"), 431),
        (&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
    ])
    .await;
}

#[tokio::test(flavor = "local")]
async fn limits_are_those_of_the_router() {
    let service = Service::saying("hi").await;
    let yaml = routing_to(&service.path()) + "  maxHeadersKB: 1\n  maxInitialLineKB: 1\n";
    let app = TestApp::start_here(&yaml).await;
    let table = [(900, 900, 200), (1100, 0, 414), (0, 1100, 431)];
    for (line, field, status) in table {
        let mut client = app.client().await;
        let (line, field) = ("x".repeat(line), "x".repeat(field));
        client
            .ask(format!("GET /{line} HTTP/1.1\r\nHost: a\r\nX: {field}\r\n\r\n"))
            .await
            .assert_status(status);
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_body_with_broken_chunks_is_not_passed_on_as_a_whole_one() {
    const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let table = [
        "x\r\n",
        "\r\n",
        "-1\r\n",
        "0x5\r\nhello",
        "5\nhello",
        "5 5\r\nhello",
        "5\r\nhelloo\r\n",
        "fffffffffffffffff\r\n",
        "0\r\nX Y: 1\r\n",
        "0\r\nX: 1\n\r\n",
    ];
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&routing_to(&upstream.path())).await;
    for broken in table {
        // At once with the head: nothing goes out that could be taken for all of it.
        let mut client = app.client().await;
        client.send(format!("{HEAD}{broken}")).await;
        let response = client.response().await;
        assert_eq!((response.status(), response.field("connection")), (400, Some("close")), "{broken:?}");
        client.assert_ended().await;
        let sent = upstream.accept().await.reader.rest().await;
        assert!(!sent.ends_with(b"\r\n0\r\n\r\n"), "{broken:?} became {sent:?}");

        // After a good chunk: the upstream sees its connection end before the body does.
        let mut client = app.client().await;
        client.send(format!("{HEAD}2\r\nhi\r\n")).await;
        let mut conn = upstream.accept().await;
        conn.head().await;
        conn.expect("2\r\nhi\r\n").await;
        client.send(broken).await;
        let response = client.response().await;
        assert_eq!((response.status(), response.field("connection")), (400, Some("close")), "{broken:?}");
        client.assert_ended().await;
        let rest = conn.reader.rest().await;
        assert!(!rest.ends_with(b"\r\n0\r\n\r\n"), "{broken:?} became {rest:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_slow_head_is_given_up() {
    let service = Service::saying("hi").await;
    let app = TestApp::start_here(&routing_to(&service.path())).await;
    let mut client = app.client().await;
    client.send("GET / HTTP/1.1\r\nHost: ").await;
    let ((), passed) = time_flies(client.assert_gone()).await;
    assert!((9..12).contains(&passed.as_secs()), "{passed:?}");

    // Byte by byte is no better: the limit is on the whole of it.
    let mut client = app.client().await;
    client.get("a", "").await.assert_status(200);
    let trickle = async {
        client.send("GET / HTTP/1.1\r\nX: ").await;
        while timeout(Duration::from_secs(1), client.assert_gone()).await.is_err() {
            client.send("x").await;
        }
    };
    let ((), passed) = time_flies(trickle).await;
    assert!((9..12).contains(&passed.as_secs()), "{passed:?}");
    assert_eq!(app.total("unfinished_heads", &[]), 2);
    assert_eq!(service.count(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_idle_connection_is_closed() {
    let service = Service::saying("hi").await;
    let app = TestApp::start_here(&routing_to(&service.path())).await;
    let (mut new, mut used) = (app.client().await, app.client().await);
    used.get("a", "").await.assert_status(200);
    let (_, passed) = time_flies(async { tokio::join!(new.assert_ended(), used.assert_ended()) }).await;
    assert!((590..620).contains(&passed.as_secs()), "{passed:?}");
    assert_eq!(app.total("unfinished_heads", &[]), 0);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn responses_that_could_be_read_in_two_ways_are_bad_ones() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: 1\r\n".repeat(1000));
    let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(40);
    let table = [
        "hello\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &long,
        &many,
        &interim,
    ];
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&routing_to(&upstream.path())).await;
    let mut client = app.client().await;
    for bad in table {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        conn.send(bad).await;
        let response = final_response(&mut client).await;
        response.assert_status(502);
        assert!(response.text().contains("malformed response"), "{bad:?}: {response:?}");
        conn.assert_gone().await;
    }
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send(ok("good")).await;
    assert_eq!(client.response().await.text(), "good", "the caller's connection was kept all the time");
    assert_eq!(app.total("upstream_faults", &[]), table.len() as u64);
    app.stop().await;
}

/// Reads responses until the final one.
async fn final_response(client: &mut Wire) -> crate::support::Message {
    loop {
        let response = client.response().await;
        if response.status() >= 200 {
            return response;
        }
    }
}
