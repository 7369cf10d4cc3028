//! CONNECT: a tunnel to an endpoint, which gets the bytes as they are.

use crate::support::either::Speaks::{Http1, Http2};
use crate::support::either::{Speaks, router};
use crate::support::http2::{Exchange, H2Client, piece, write};
use crate::support::{
    TestApp, Upstream, Wire, dead_address, one_router, speaking, time_flies, until, within,
};
use h2::{Reason, RecvStream};
use http::{Method, Request};
use std::time::Duration;

const CONNECT: &str = "CONNECT db:5432 HTTP/1.1\r\nHost: other\r\n\r\n";

/// An app that tunnels, and the endpoint of the name that CONNECT for `db:5432` has.
async fn start(server: &str) -> (TestApp, Upstream) {
    let upstream = Upstream::start().await;
    let dtab = format!("/svc/db:5432 => {}", upstream.path());
    (TestApp::start_here(&one_router(&dtab, &format!(", connect: true{server}"))).await, upstream)
}

/// A CONNECT over HTTP/2.
fn connect(authority: &str) -> Request<()> {
    let request = Request::builder().method(Method::CONNECT).uri(authority);
    request.body(()).expect("the request is one")
}

/// Opens a tunnel over HTTP/1; returns both ends.
async fn open(app: &TestApp, upstream: &Upstream) -> (Wire, Wire) {
    let mut client = app.client().await;
    client.send(CONNECT).await;
    let endpoint = upstream.accept().await;
    let response = client.head().await;
    assert_eq!(response.first_line(), "HTTP/1.1 200 OK");
    for absent in ["content-length", "transfer-encoding", "connection", "upgrade"] {
        assert_eq!(response.field(absent), None, "{absent}");
    }
    (client, endpoint)
}

/// Opens a tunnel over HTTP/2.
async fn open_http2(app: &TestApp) -> (H2Client, Exchange, RecvStream) {
    let mut client = app.h2_client().await;
    let mut exchange = client.begin(connect("db:5432"), true).await;
    let (head, input) = exchange.head().await.expect("a response comes").into_parts();
    assert_eq!(head.status, 200);
    assert!(!head.headers.contains_key("content-length"));
    (client, exchange, input)
}

#[tokio::test(flavor = "local")]
async fn a_tunnel_carries_bytes_as_they_are() {
    let (app, upstream) = start("").await;
    let (mut client, mut endpoint) = open(&app, &upstream).await;
    for _ in 0..3 {
        client.send(b"\x00\xff GET / HTTP/1.1\r\n\r\n").await;
        endpoint.expect(b"\x00\xff GET / HTTP/1.1\r\n\r\n").await;
        endpoint.send(b"\r\n0\r\n\r\n").await;
        client.expect(b"\r\n0\r\n\r\n").await;
    }
    client.writer.finish().await;
    assert_eq!(endpoint.reader.rest().await, b"", "the end is passed on");
    endpoint.send("still here").await;
    client.expect("still here").await;
    drop(endpoint);
    client.assert_ended().await;
    until("its end is counted", async || app.total("success", &[]) == 1 && served(&app).await).await;
    assert_eq!(app.total("client_success", &[]), 1);
    app.stop().await;
}

/// Whether the app still answers: a question that takes I/O.
async fn served(app: &TestApp) -> bool {
    app.client().await.ask("GET / HTTP/1.1\r\nHost: no\r\n\r\n").await.status() == 502
}

#[tokio::test(flavor = "local")]
async fn a_tunnel_over_http2_is_a_stream() {
    let (app, upstream) = start("").await;
    let (client, mut exchange, mut input) = open_http2(&app).await;
    let mut endpoint = upstream.accept().await;
    write(&mut exchange.out, "ping", false).await.expect("the tunnel stands");
    endpoint.expect("ping").await;
    endpoint.send("pong").await;
    assert_eq!(piece(&mut input).await.expect("more comes").expect("the tunnel stands"), "pong");
    write(&mut exchange.out, "", true).await.expect("the tunnel stands");
    assert_eq!(endpoint.reader.rest().await, b"", "the end is passed on");
    endpoint.writer.finish().await;
    assert!(piece(&mut input).await.is_none());
    // A connection that is reset resets the stream, and the other way round.
    let (other, exchange, mut input) = open_http2(&app).await;
    upstream.accept().await.reset();
    let error = piece(&mut input).await.expect("it is no orderly end").expect_err("an error");
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    drop((other, exchange));
    let (other, mut exchange, input) = open_http2(&app).await;
    let mut endpoint = upstream.accept().await;
    exchange.out.send_reset(Reason::CANCEL);
    assert_eq!(within("waiting for the end", endpoint.reader.bytes_or_end(1)).await, None);
    drop((client, other, input));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn bytes_behind_the_head_belong_to_the_tunnel() {
    let (app, upstream) = start("").await;
    let mut client = app.client().await;
    client.send(format!("{CONNECT}eager")).await;
    let mut endpoint = upstream.accept().await;
    endpoint.expect("eager").await;
    client.head().await.assert_status(200);
    drop((client, endpoint));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_over_http2_gets_the_bytes_as_they_are() {
    let upstream = Upstream::start().await;
    let dtab = format!("/svc/db:5432 => {}", upstream.path());
    let app = TestApp::start_here(&speaking(router(Http2), &dtab, ", connect: true")).await;
    let (mut client, mut endpoint) = open(&app, &upstream).await;
    client.send("SELECT 1").await;
    endpoint.expect("SELECT 1").await;
    drop((client, endpoint));
    app.stop().await;
}

/// Asks for a tunnel, over either protocol; returns the status and the text.
async fn refused(
    app: &TestApp,
    speaks: Speaks,
    authority: &str,
    field: Option<(&str, &str)>,
) -> (u16, String) {
    if speaks == Http2 {
        let mut request = connect(authority);
        if let Some((name, value)) = field {
            let name: http::HeaderName = name.parse().expect("it is a name");
            request.headers_mut().insert(name, value.parse().expect("it is a value"));
        }
        let answer = app.h2_client().await.begin(request, true).await.answer().await;
        return (answer.status(), answer.text().to_owned());
    }
    let field = field.map(|(name, value)| format!("{name}: {value}\r\n")).unwrap_or_default();
    let mut client = app.client().await;
    // Behind it comes what is for the tunnel, and looks like a request.
    let eager = "GET / HTTP/1.1\r\nHost: db:5432\r\n\r\n";
    client.send(format!("CONNECT {authority} HTTP/1.1\r\nHost: other\r\n{field}\r\n{eager}")).await;
    let response = client.response().await;
    assert_eq!(response.field("connection"), Some("close"), "what follows is for the tunnel");
    client.writer.finish().await;
    client.assert_ended().await;
    (response.status(), response.text().to_owned())
}

#[tokio::test(flavor = "local")]
async fn a_tunnel_is_a_success_for_every_classifier() {
    let upstream = Upstream::start().await;
    let dtab = format!("/svc/db:5432 => {}", upstream.path());
    let keys = "  service: {responseClassifier: {kind: io.l5d.h2.grpc.alwaysRetryable}}\n";
    let app = TestApp::start_here(&(speaking("h2", &dtab, ", connect: true") + keys)).await;
    let (mut client, mut endpoint) = open(&app, &upstream).await;
    endpoint.send("hello").await;
    client.expect("hello").await;
    client.writer.finish().await;
    endpoint.assert_ended().await;
    endpoint.writer.finish().await;
    client.assert_ended().await;
    upstream.assert_unreached().await;
    until("its end is counted", async || {
        served(&app).await && (app.total("client_success", &[]), app.total("service_success", &[])) == (1, 1)
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn strangers_and_other_listeners_get_no_tunnel() {
    for server in
        ["", ", connect: false", ", connect: true, trust: nobody", ", connect: true, clearContext: true"]
    {
        let upstream = Upstream::start().await;
        let app = TestApp::start(&one_router(&format!("/svc/* => {}", upstream.path()), server)).await;
        for speaks in [Http1, Http2] {
            let (status, text) = refused(&app, speaks, "db:5432", None).await;
            assert_eq!(status, 501, "{server}: {text}");
            assert!(!text.contains('/'), "{text}");
        }
        upstream.assert_unreached().await;
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn errors_before_the_tunnel_are_answers() {
    let (dead, _held) = dead_address();
    let dtab = format!(
        "/svc/dead:1 => /$/inet/{}/{}; /svc/ok:1 => /$/io.buoyant.http.status/200; /svc/no:1 => \
         /$/io.buoyant.http.status/404",
        dead.ip(),
        dead.port()
    );
    let app = TestApp::start(&one_router(&dtab, ", connect: true")).await;
    for speaks in [Http1, Http2] {
        for (authority, status, text) in [
            ("dead:1", 502, "Unable to establish connection"),
            ("nowhere:1", 502, "/svc/nowhere:1"),
            ("ok:1", 502, "would open a tunnel"),
            ("no:1", 404, ""),
            ("host", 400, "not a host and a port"),
        ] {
            let (got, said) = refused(&app, speaks, authority, None).await;
            assert_eq!(got, status, "{speaks:?} {authority}: {said}");
            assert!(said.contains(text), "{said}");
        }
    }
    let mut client = app.client().await;
    let response = client.ask("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 2\r\n\r\nhi").await;
    response.assert_status(400);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn overrides_and_their_limits_hold() {
    let (right, other) = (Upstream::start().await, Upstream::start().await);
    let dtab = format!("/svc/db:5432 => {}", right.path());
    let limits = ", connect: true, overrides: {addresses: {deny: [127.0.0.0/8]}}";
    let away = format!("/svc/db:5432 => {}", other.path());
    for (keys, allowed) in [(", connect: true", true), (limits, false)] {
        let app = TestApp::start(&one_router(&dtab, keys)).await;
        if allowed {
            let mut client = app.client().await;
            client.send(format!("CONNECT db:5432 HTTP/1.1\r\nHost: a\r\nl5d-dtab: {away}\r\n\r\n")).await;
            let mut endpoint = other.accept().await;
            client.head().await.assert_status(200);
            client.send("overridden").await;
            endpoint.expect("overridden").await;
        } else {
            for speaks in [Http1, Http2] {
                let (status, text) = refused(&app, speaks, "db:5432", Some(("l5d-dtab", &away))).await;
                assert_eq!(status, 403, "{text}");
            }
            other.assert_unreached().await;
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn the_admin_server_is_not_at_the_end_of_a_tunnel() {
    let app = TestApp::start(&one_router("", ", connect: true, trust: everybody")).await;
    let admin = app.running().admin();
    let dtab = format!("/svc/a:1 => /$/inet/{}/{}", admin.ip(), admin.port());
    for speaks in [Http1, Http2] {
        let (status, text) = refused(&app, speaks, "a:1", Some(("l5d-dtab", &dtab))).await;
        assert_eq!(status, 403, "{text}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_session_keys_bound_a_tunnel() {
    for (keys, seconds) in [
        (", serverSession: {idleTimeMs: 20000}", 20),
        (", serverSession: {idleTimeMs: 20000, lifeTimeMs: 15000}", 15),
        ("", 600),
    ] {
        let (app, upstream) = start(keys).await;
        let (mut client, mut endpoint) = open(&app, &upstream).await;
        let (_, passed) = time_flies(async {
            client.assert_gone().await;
            endpoint.assert_gone().await;
        })
        .await;
        assert!(
            (seconds..=seconds + 1).contains(&(passed.as_secs_f64().round() as u64)),
            "{keys}: {passed:?}"
        );
        let (held, exchange, mut input) = open_http2(&app).await;
        let mut endpoint = upstream.accept().await;
        let (_, passed) = time_flies(async {
            assert!(piece(&mut input).await.is_some_and(|end| end.is_err()));
            assert_eq!(endpoint.reader.bytes_or_end(1).await, None);
        })
        .await;
        assert!(
            (seconds..=seconds + 1).contains(&(passed.as_secs_f64().round() as u64)),
            "{keys} over HTTP/2: {passed:?}"
        );
        drop((held, exchange));
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_tunnel_in_which_bytes_move_stays() {
    let (app, upstream) = start(", serverSession: {idleTimeMs: 20000}").await;
    let (mut client, mut endpoint) = open(&app, &upstream).await;
    for _ in 0..5 {
        time_flies(tokio::time::sleep(Duration::from_secs(15))).await;
        client.send("x").await;
        endpoint.expect("x").await;
    }
    drop((client, endpoint));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_reload_switches_tunnels_on_and_off() {
    let upstream = Upstream::start().await;
    let yaml = |keys: &str| one_router(&format!("/svc/* => {}", upstream.path()), keys);
    let mut app = TestApp::start(&yaml("")).await;
    let mut client = app.client().await;
    client.ask(CONNECT).await.assert_status(501);
    assert!(app.reload(&yaml(", connect: true")).await.is_empty());
    until("the workers have it", async || {
        let mut client = app.client().await;
        client.send(CONNECT).await;
        client.head().await.status() == 200
    })
    .await;
    // Its end of the tunnel is not accepted, and so never ends by itself.
    drop(upstream);
    app.stop().await;
}
