//! Tunnels of strangers in which nothing moves: they make room where others need it, and stay otherwise.

use crate::support::either::Speaks::{self, Http1, Http2};
use crate::support::either::{HTTP1_GET, router};
use crate::support::http2::MOST_CONNECTIONS;
use crate::support::web_socket::{End, PAIRS, open};
use crate::support::{TestApp, Upstream, Wire, ok, speaking, time_flies};
use std::net::IpAddr;
use std::time::Duration;

/// Lets so many seconds pass.
async fn pass(seconds: u64) {
    time_flies(tokio::time::sleep(Duration::from_secs(seconds))).await;
}

/// An app for callers at `127.0.0.1`, who are trusted or not, with an upstream that is played by the test.
async fn start(endpoint: Speaks, is_trusted: bool, server: &str, client: &str) -> (TestApp, Upstream) {
    let upstream = Upstream::start().await;
    let trust = if is_trusted { "everybody" } else { "nobody" };
    let server = format!(", ip: 0.0.0.0, trust: {trust}{server}");
    let yaml = speaking(router(endpoint), &format!("/svc/* => {}", upstream.path()), &server);
    (TestApp::start_here(&(yaml + client)).await, upstream)
}

/// Connects from another address, and asks for the service.
async fn newcomer(app: &TestApp) -> Wire {
    let address = ([127, 0, 0, 1], app.first_address().port()).into();
    let mut wire = Wire::connect_from(IpAddr::from([127, 0, 0, 2]), address).await;
    wire.send(HTTP1_GET).await;
    wire
}

#[tokio::test(flavor = "local")]
async fn a_connection_of_silent_tunnels_makes_room_for_another() {
    for caller in [Http1, Http2] {
        let (app, upstream) = start(Http1, false, ", maxConnections: 1", "").await;
        let (mut near, mut far) = open(&app, &upstream, (caller, Http1)).await;
        pass(400).await;
        near.send("a").await;
        far.expect(b"a").await;
        pass(400).await;
        far.send("b").await;
        near.expect(b"b").await;
        pass(590).await;
        assert_eq!(newcomer(&app).await.response().await.status(), 503, "{caller:?}");
        pass(20).await;
        let mut next = newcomer(&app).await;
        far.assert_broken().await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        conn.send(ok("hi")).await;
        assert_eq!(next.response().await.text(), "hi", "{caller:?}");
        let counts = ["evicted_connections", "success"].map(|count| app.total(count, &[]));
        assert_eq!(counts, [1, 2], "{caller:?}");
        drop((near, far, next, conn));
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_silent_tunnel_that_is_spoken_to_again_is_busy_again() {
    for caller in [Http1, Http2] {
        let (app, upstream) = start(Http1, false, ", maxConnections: 1", "").await;
        let (mut near, mut far) = open(&app, &upstream, (caller, Http1)).await;
        pass(3600).await;
        near.send("a").await;
        far.expect(b"a").await;
        assert_eq!(newcomer(&app).await.response().await.status(), 503, "{caller:?}");
        far.send("b").await;
        near.expect(b"b").await;
        drop((near, far));
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_trusted_tunnel_makes_no_room() {
    for caller in [Http1, Http2] {
        let keys = ", maxConnections: 1";
        let (app, upstream) = start(Http1, true, keys, "").await;
        let (mut near, mut far) = open(&app, &upstream, (caller, Http1)).await;
        pass(3600).await;
        assert_eq!(newcomer(&app).await.response().await.status(), 503, "{caller:?}");
        near.send("late").await;
        far.expect(b"late").await;
        drop((near, far));
        app.stop().await;
    }
}

/// Has the upstream answer a request that found room; the tunnel that was there ends at `far`.
async fn serve(upstream: &Upstream, far: &mut End) {
    match far {
        End::Http1(_) => {
            let mut conn = upstream.accept().await;
            conn.request().await;
            conn.send(ok("hi")).await;
        }
        End::Endpoint { conn, .. } => conn.call().await.say("hi").await,
        End::Caller { .. } => panic!("it is the other end"),
    }
}

/// Fills an endpoint with tunnels.
async fn fill(app: &TestApp, upstream: &Upstream, pair: (Speaks, Speaks)) -> Vec<(End, End)> {
    let mut tunnels = Vec::new();
    for _ in 0..if pair.1 == Http1 { 1 } else { MOST_CONNECTIONS } {
        tunnels.push(open(app, upstream, pair).await);
    }
    tunnels
}

/// An endpoint over HTTP/1 takes one request.
const ONE: &str = "  client: {hostConnectionPool: {maxSize: 1}}\n";

#[tokio::test(flavor = "local")]
async fn a_silent_tunnel_makes_room_at_its_endpoint() {
    for pair in PAIRS {
        let (app, upstream) = start(pair.1, false, ", serverSession: {idleTimeMs: 300000}", ONE).await;
        let mut tunnels = fill(&app, &upstream, pair).await;
        pass(290).await;
        let (response, _) = time_flies(newcomer(&app).await.response()).await;
        assert_eq!(response.status(), 503, "{pair:?}");
        for (near, far) in &mut tunnels[1..] {
            near.send("a").await;
            far.expect(b"a").await;
        }
        pass(20).await;
        let mut next = newcomer(&app).await;
        let (near, far) = &mut tunnels[0];
        far.assert_broken().await;
        near.assert_broken().await;
        serve(&upstream, far).await;
        assert_eq!(next.response().await.text(), "hi", "{pair:?}");
        for (near, far) in &mut tunnels[1..] {
            far.send("b").await;
            near.expect(b"b").await;
        }
        drop((tunnels, next));
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_trusted_tunnel_makes_no_room_at_its_endpoint() {
    for pair in PAIRS {
        let (app, upstream) = start(pair.1, true, ", serverSession: {idleTimeMs: 300000}", ONE).await;
        let mut tunnels = fill(&app, &upstream, pair).await;
        pass(500).await;
        let (response, _) = time_flies(newcomer(&app).await.response()).await;
        assert_eq!(response.status(), 503, "{pair:?}");
        for (near, far) in &mut tunnels {
            near.send("late").await;
            far.expect(b"late").await;
        }
        drop(tunnels);
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_silent_tunnel_on_one_worker_makes_room_for_a_request_on_another() {
    let upstream = Upstream::start().await;
    let server = ", ip: 0.0.0.0, trust: nobody, serverSession: {idleTimeMs: 1000}";
    let client = "  client: {hostConnectionPool: {maxSize: 1}, streamWaitMs: 20000}\n";
    let yaml = speaking("http", &format!("/svc/* => {}", upstream.path()), server) + client;
    let app = TestApp::start_workers(&yaml, 2).await;
    let (near, mut far) = open(&app, &upstream, (Http1, Http1)).await;
    // Each on a worker of its own: connections are spread evenly.
    let mut next = newcomer(&app).await;
    far.assert_broken().await;
    serve(&upstream, &mut far).await;
    assert_eq!(next.response().await.text(), "hi");
    drop((near, far));
    app.stop().await;
}
