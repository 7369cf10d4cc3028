//! WebSocket and other protocols over either version of HTTP: `Upgrade`, and extended CONNECT (RFC 8441).

use crate::support::either::Speaks::{Http1, Http2};
use crate::support::either::{Speaks, router};
use crate::support::http2::{H2Conn, get, kind, piece, write};
use crate::support::web_socket::{Asking, PAIRS, accept, accept_http2, extended, handshake, open, switching};
use crate::support::{TestApp, Upstream, ok, one_router, speaking, time_flies, until};
use bytes::Bytes;
use h2::ext::Protocol;
use http::{Method, Response};
use std::time::Duration;

/// An app whose every request goes to an upstream that is played by the test.
async fn start(endpoint: Speaks) -> (TestApp, Upstream) {
    let upstream = Upstream::start().await;
    let dtab = format!("/svc/* => {}", upstream.path());
    (TestApp::start(&speaking(router(endpoint), &dtab, "")).await, upstream)
}

#[tokio::test(flavor = "local")]
async fn a_web_socket_passes_all_four_ways() {
    for pair in PAIRS {
        let (app, upstream) = start(pair.1).await;
        let (mut caller, mut endpoint) = open(&app, &upstream, pair).await;
        for _ in 0..3 {
            caller.send("\x00\r\n GET / HTTP/1.1\r\n\r\n").await;
            endpoint.expect(b"\x00\r\n GET / HTTP/1.1\r\n\r\n").await;
            endpoint.send("0\r\n\r\n").await;
            caller.expect(b"0\r\n\r\n").await;
        }
        caller.finish().await;
        endpoint.assert_ended().await;
        endpoint.send("still here").await;
        caller.expect(b"still here").await;
        endpoint.finish().await;
        caller.assert_ended().await;
        until("its end is counted", async || {
            app.client().await;
            app.total("success", &[]) == 1
        })
        .await;
        drop((caller, endpoint));
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn much_passes_both_ways() {
    /// More than all windows and buffers on the way.
    const MUCH: usize = 3 << 20;
    let bytes: Bytes = (0..MUCH).map(|at| (at % 251) as u8).collect();
    for pair in PAIRS {
        let (app, upstream) = start(pair.1).await;
        let (mut caller, mut endpoint) = open(&app, &upstream, pair).await;
        caller.send(bytes.slice(..100_000)).await;
        assert!(endpoint.read(100_000).await == bytes[..100_000], "{pair:?}");
        let ((), read) = tokio::join!(caller.send(bytes.clone()), endpoint.read(MUCH));
        assert!(read == bytes, "{pair:?}");
        let ((), read) = tokio::join!(endpoint.send(bytes.clone()), caller.read(MUCH));
        assert!(read == bytes, "{pair:?}");
        drop((caller, endpoint));
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn what_breaks_on_one_side_breaks_on_the_other() {
    for pair in PAIRS {
        let (app, upstream) = start(pair.1).await;
        let (caller, mut endpoint) = open(&app, &upstream, pair).await;
        let held = caller.reset();
        endpoint.assert_broken().await;
        drop((held, endpoint));
        let (mut caller, endpoint) = open(&app, &upstream, pair).await;
        let held = endpoint.reset();
        caller.assert_broken().await;
        until("both are counted as what they were: answered", async || {
            app.client().await;
            app.total("success", &[]) == 2
        })
        .await;
        drop((held, caller));
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn silence_does_not_end_a_web_socket() {
    for pair in PAIRS {
        let upstream = Upstream::start().await;
        let dtab = format!("/svc/* => {}", upstream.path());
        let keys = ", serverSession: {idleTimeMs: 60000}, socketOptions: {readTimeoutMs: 60000}";
        let app = TestApp::start_here(&speaking(router(pair.1), &dtab, keys)).await;
        let (mut caller, mut endpoint) = open(&app, &upstream, pair).await;
        time_flies(tokio::time::sleep(Duration::from_secs(3600))).await;
        caller.send("late").await;
        endpoint.expect(b"late").await;
        drop((caller, endpoint));
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_classifier_of_grpc_leaves_web_sockets_alone() {
    let keys = "  service: {responseClassifier: {kind: io.l5d.h2.grpc.alwaysRetryable}, retryBufferSize: {responseBytes: 9}}\n";
    for pair in [(Http1, Http2), (Http2, Http2)] {
        let upstream = Upstream::start().await;
        let dtab = format!("/svc/* => {}", upstream.path());
        let app = TestApp::start(&(speaking("h2", &dtab, "") + keys)).await;
        let (mut caller, mut endpoint) = open(&app, &upstream, pair).await;
        for _ in 0..3 {
            endpoint.send("more than nine bytes").await;
            caller.expect(b"more than nine bytes").await;
        }
        caller.finish().await;
        endpoint.finish().await;
        caller.assert_ended().await;
        until("its end is counted", async || {
            app.client().await;
            app.total("service_success", &[]) == 1 && app.total("client_success", &[]) == 1
        })
        .await;
        drop((caller, endpoint));
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_may_refuse_to_switch() {
    for (caller, endpoint) in PAIRS {
        let (app, upstream) = start(endpoint).await;
        let asking = Asking::begin(&app, caller).await;
        let refused = (403, "not!".to_owned());
        if endpoint == Http1 {
            let mut conn = upstream.accept().await;
            conn.request().await;
            conn.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nnot!").await;
            assert_eq!(asking.refused().await, refused, "{caller:?} to {endpoint:?}");
        } else {
            let mut conn = accept_http2(&upstream).await;
            let call = conn.call().await;
            call.answer(Response::builder().status(403).body("not!").expect("it is one")).await;
            assert_eq!(asking.refused().await, refused, "{caller:?} to {endpoint:?}");
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_success_that_does_not_switch_opens_no_tunnel_over_http2() {
    for (answer, text) in
        [(ok("hello"), "does not switch"), (switching("no answer to any key"), "does not answer the key")]
    {
        let (app, upstream) = start(Http1).await;
        let asking = Asking::begin(&app, Http2).await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        conn.send(answer).await;
        let (status, said) = asking.refused().await;
        assert_eq!(status, 502);
        assert!(said.contains(text), "{said}");
        conn.assert_gone().await;
        app.stop().await;
    }
    let app = TestApp::start(&one_router("/svc/* => /$/io.buoyant.http.status/200", "")).await;
    assert_eq!(Asking::begin(&app, Http2).await.refused().await.0, 502);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_whose_settings_do_not_allow_it_is_not_asked() {
    for caller in [Http1, Http2] {
        let upstream = Upstream::start().await;
        // One worker, and so one connection.
        let dtab = format!("/svc/* => {}", upstream.path());
        let app = TestApp::start_here(&speaking("h2", &dtab, "")).await;
        let asking = Asking::begin(&app, caller).await;
        let mut conn = H2Conn::accept(&upstream).await;
        let (status, said) = asking.refused().await;
        assert_eq!(status, 502, "{said}");
        assert!(said.contains("do not allow an extended CONNECT"), "{said}");
        // The connection goes on, and carries what is no upgrade.
        let mut client = app.h2_client().await;
        let mut exchange = client.begin(get("web", &[]), false).await;
        conn.call().await.say("hi").await;
        assert_eq!(exchange.answer().await.text(), "hi");
        drop((exchange, client, conn));
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_handshake_without_a_key_is_refused_before_an_endpoint_over_http2() {
    for key in ["", "Sec-WebSocket-Key: short\r\n"] {
        let (app, upstream) = start(Http2).await;
        let response = app.client().await.ask(handshake(key)).await;
        response.assert_status(400);
        assert!(response.text().contains("Sec-WebSocket-Key"), "{response:?}");
        upstream.assert_unreached().await;
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn other_protocols_pass_between_alike() {
    let (app, upstream) = start(Http2).await;
    let mut client = app.h2_client().await;
    let mut exchange = client.begin(extended("connect-udp"), true).await;
    let mut conn = accept_http2(&upstream).await;
    let mut call = conn.call().await;
    assert_eq!(call.head.extensions().get::<Protocol>().map(Protocol::as_str), Some("connect-udp"));
    let mut output = call.begin(Response::new(()));
    let (head, mut input) = exchange.head().await.expect("a response comes").into_parts();
    assert_eq!(head.status, 200);
    write(&mut output, "capsule", false).await.expect("the tunnel stands");
    assert_eq!(piece(&mut input).await.expect("more comes").expect("the tunnel stands"), "capsule");
    drop((exchange, client, call, conn));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn other_protocols_do_not_pass_to_http1() {
    let (app, upstream) = start(Http1).await;
    let mut client = app.h2_client().await;
    // It may be another's: the endpoint is not asked.
    let answer = client.begin(extended("connect-udp"), true).await.answer().await;
    answer.assert_status(502);
    assert!(answer.text().contains("WebSocket alone"), "{}", answer.text());
    for carrier in ["h2c", "HTTP/2.0", "tls", "a b", ""] {
        let mut request = extended("websocket");
        request.extensions_mut().insert(Protocol::from(carrier));
        let answer = client.begin(request, true).await.answer().await;
        assert_eq!(answer.status(), 501, "{carrier:?}");
    }
    upstream.assert_unreached().await;
    drop(client);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn other_upgrades_are_left_out_on_the_way_to_http2() {
    let (app, upstream) = start(Http2).await;
    let mut client = app.client().await;
    client.send("GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: odd\r\n\r\n").await;
    let mut conn = accept_http2(&upstream).await;
    let call = conn.call().await;
    assert_eq!(call.head.method(), Method::GET);
    call.say("as before").await;
    assert_eq!(client.response().await.text(), "as before");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_setting_is_announced() {
    let (app, _upstream) = start(Http1).await;
    let mut frames = app.frames().await;
    let settings = frames.read().await.expect("settings come first");
    assert_eq!(settings.kind, kind::SETTINGS);
    let settings: Vec<_> = settings.payload.chunks(6).map(<[u8]>::to_vec).collect();
    assert!(settings.contains(&vec![0, 8, 0, 0, 0, 1]), "SETTINGS_ENABLE_CONNECT_PROTOCOL: {settings:?}");
    drop(frames);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn strangers_steer_no_web_socket() {
    let (right, wrong) = (Upstream::start().await, Upstream::start().await);
    let app = TestApp::start(&one_router(&format!("/svc/* => {}", right.path()), ", trust: nobody")).await;
    let mut client = app.h2_client().await;
    let mut request = extended("websocket");
    let steering = format!("/svc/* => {}", wrong.path());
    request.headers_mut().insert("l5d-dtab", steering.parse().expect("it is a value"));
    let mut exchange = client.begin(request, true).await;
    let mut conn = right.accept().await;
    let received = conn.request().await;
    assert_eq!(received.field("l5d-ctx-dtab"), None);
    let accepted = accept(received.field("sec-websocket-key").expect("there is a key"));
    conn.send(switching(&accepted)).await;
    let head = exchange.head().await.expect("a response comes");
    assert_eq!(head.status(), 200);
    assert!(head.headers().keys().all(|name| !name.as_str().starts_with("l5d-")), "{head:?}");
    wrong.assert_unreached().await;
    drop((head, exchange, client, conn));
    app.stop().await;
}
