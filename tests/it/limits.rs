//! The limits of a listener, and what happens to a caller that reaches one.

use crate::support::{Service, TestApp, Upstream, Wire, ok, one_router, routing_to, time_flies, until};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(flavor = "local")]
async fn connections_beyond_the_limit_are_told_and_closed() {
    for workers in [0, 2] {
        let yaml = one_router("/svc => /$/io.buoyant.http.status/204", ", maxConnections: 3");
        let app = match workers {
            0 => TestApp::start_here(&yaml).await,
            workers => TestApp::start_workers(&yaml, workers).await,
        };
        let mut open = [app.client().await, app.client().await, app.client().await];
        for client in &mut open {
            client.get("a", "").await.assert_status(204);
        }
        for _ in 0..2 {
            let mut refused = app.client().await;
            let response = refused.response().await;
            assert_eq!((response.status(), response.field("connection")), (503, Some("close")));
            assert_eq!(response.text(), "too many connections\n");
            refused.assert_ended().await;
        }
        assert_eq!((app.total("refused_connections", &[]), app.total("connections", &[])), (2, 3));
        let [first, mut second, mut third] = open;
        drop(first);
        until("there is room again", async || {
            let mut client = app.client().await;
            client.send(GET).await;
            let (rest, _) = (client.response().await.status() == 204, client);
            rest
        })
        .await;
        for client in [&mut second, &mut third] {
            client.get("a", "").await.assert_status(204);
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_listener_has_a_limit_of_its_own() {
    let yaml = crate::support::with_servers(
        "/svc => /$/io.buoyant.http.status/204",
        &[", maxConnections: 1", ", maxConnections: 1"],
    );
    let app = TestApp::start_here(&yaml).await;
    let mut clients = [app.client_of("http", 0).await, app.client_of("http", 1).await];
    for client in &mut clients {
        client.get("a", "").await.assert_status(204);
    }
    app.client_of("http", 1).await.response().await.assert_status(503);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_head_may_have_so_many_fields_and_take_so_long() {
    let yaml = one_router("/svc => /$/io.buoyant.http.status/204", ", maxHeaders: 2, headersTimeoutMs: 3000");
    let app = TestApp::start_here(&yaml).await;
    let mut client = app.client().await;
    client.get("a", "X: 1\r\n").await.assert_status(204);
    client.get("a", "X: 1\r\nY: 1\r\n").await.assert_status(431);
    let mut client = app.client().await;
    client.send("GET / HTTP/1.1\r\nHost: ").await;
    let ((), passed) = time_flies(client.assert_gone()).await;
    assert!((3..5).contains(&passed.as_secs()), "{passed:?}");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_connection_waits_as_long_as_is_said() {
    let service = Service::saying("hi").await;
    let table = [
        (", socketOptions: {readTimeoutMs: 20000}", 20),
        (", serverSession: {idleTimeMs: 30000}", 30),
        (", serverSession: {idleTimeMs: 30000}, socketOptions: {readTimeoutMs: 20000}", 30),
        (", serverSession: {idleTimeMs: 30000, lifeTimeMs: 15000}", 15),
    ];
    for (keys, seconds) in table {
        let app = TestApp::start_here(&one_router(&format!("/svc/* => {}", service.path()), keys)).await;
        let (mut new, mut used) = (app.client().await, app.client().await);
        used.get("a", "").await.assert_status(200);
        let (_, passed) = time_flies(async { tokio::join!(new.assert_ended(), used.assert_ended()) }).await;
        // The wait began before the clock was looked at.
        assert!((seconds - 1..seconds + 2).contains(&passed.as_secs()), "{keys}: {passed:?}");
        app.stop().await;
    }
}

/// Lets time pass while nothing happens.
async fn pass(seconds: u64) {
    time_flies(tokio::time::sleep(Duration::from_secs(seconds))).await;
}

#[tokio::test(flavor = "local")]
async fn the_request_that_is_served_when_a_connection_is_old_is_its_last() {
    let upstream = Upstream::start().await;
    let yaml = one_router(&format!("/svc/* => {}", upstream.path()), ", serverSession: {lifeTimeMs: 60000}");
    let app = TestApp::start_here(&yaml).await;
    let mut client = app.client().await;
    client.send(GET).await;
    let mut conn = upstream.accept().await;
    for _ in 0..2 {
        // Busy or not: it is not old yet.
        conn.request().await;
        pass(25).await;
        conn.send(ok("young")).await;
        let response = client.response().await;
        assert_eq!((response.text(), response.field("connection")), ("young", None));
        client.send(GET).await;
    }
    // Begun when it was young, and finished.
    conn.request().await;
    pass(25).await;
    conn.send(ok("young")).await;
    let response = client.response().await;
    assert_eq!((response.text(), response.field("connection")), ("young", None));
    client.assert_ended().await;

    // Begun in time, but read when it is old: the first keeps it waiting.
    let mut client = app.client().await;
    client.send([GET, GET].concat()).await;
    conn.request().await;
    pass(70).await;
    conn.send(ok("first")).await;
    assert_eq!(client.response().await.field("connection"), None);
    let mut conn = next(&upstream, conn).await;
    conn.send(ok("last")).await;
    let response = client.response().await;
    assert_eq!((response.text(), response.field("connection")), ("last", Some("close")));
    client.assert_ended().await;
    app.stop().await;
}

/// The connection on which the next request comes: the one that is open, unless it has waited too long.
async fn next(upstream: &Upstream, mut open: Wire) -> Wire {
    match timeout(Duration::from_secs(5), open.reader.next_request()).await {
        Ok(Some(_)) => open,
        _ => {
            let mut conn = upstream.accept().await;
            conn.request().await;
            conn
        }
    }
}

#[tokio::test(flavor = "local")]
async fn a_connection_over_http2_that_is_old_is_said_goodbye_to() {
    let yaml = one_router("/svc => /$/io.buoyant.http.status/204", ", serverSession: {lifeTimeMs: 60000}");
    let app = TestApp::start_here(&yaml).await;
    let address = app.address("http", 0);
    for is_used in [false, true] {
        let stream = TcpStream::connect(address).await.expect("it accepts");
        let (mut send, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
        let connection = tokio::task::spawn_local(connection);
        if is_used {
            pass(40).await;
            let request = http::Request::get("http://a/").body(()).expect("it is a request");
            let (response, _) = send.send_request(request, true).expect("there is room for it");
            assert_eq!(response.await.expect("it is answered").status(), 204);
        }
        let (ended, passed) = time_flies(connection).await;
        ended.expect("it is our task").expect("the connection ends in order");
        let waited = if is_used { 20 } else { 60 };
        assert!((waited - 1..waited + 3).contains(&passed.as_secs()), "{passed:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_body_that_stalls_is_given_up_after_what_is_said() {
    let upstream = Upstream::start().await;
    for keys in [", socketOptions: {readTimeoutMs: 5000}", ", socketOptions: {writeTimeoutMs: 5000}"] {
        let app = TestApp::start_here(&one_router(&format!("/svc/* => {}", upstream.path()), keys)).await;
        let mut client = app.client().await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n012").await;
        let mut conn = upstream.accept().await;
        conn.head().await;
        let ((), passed) = time_flies(client.assert_gone()).await;
        assert!((5..11).contains(&passed.as_secs()), "{keys}: {passed:?}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn by_default_a_listener_has_ten_thousand_connections() {
    let config = crate::support::read(&routing_to("/$/io.buoyant.http.status/204"));
    assert_eq!(config.routers[0].servers[0].max_connections, 10_000);
}
