//! The PROXY protocol: who calls is what a proxy that is listed says, and nobody else is listened to.

use crate::support::http2::{Frame, Frames, GET, H2Client, PREFACE};
use crate::support::tls::{Authority, FrontOptions, TlsFiles, TlsFront};
use crate::support::{Service, TestApp, Upstream, Wire, one_router, time_flies};
use std::net::IpAddr;

const FROM: &str = "PROXY TCP4 192.0.2.7 127.0.0.1 4711 4140\r\n";

#[tokio::test(flavor = "local")]
async fn the_caller_is_the_one_that_the_proxy_names() {
    let service = Service::saying("hi").await;
    let keys = ", proxyProtocol: {from: [127.0.0.1]}, trust: {from: [192.0.2.7, 127.0.0.1]}, forwardedFrom: [], \
                addForwardedHeader: {by: {kind: router}, for: {kind: ip}}";
    let app = TestApp::start(&one_router(&format!("/svc/* => {}", service.path()), keys)).await;
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\x7f\0\0\x01\x12\x67\x10\x2c";
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    // Whether the override holds, and who is said to call.
    for (header, is_trusted, caller) in [
        (FROM.as_bytes(), true, "192.0.2.7"),
        (v2, false, "192.0.2.8"),
        // The address of the proxy is trusted, and not whoever may be behind it.
        (local, false, "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n", false, "127.0.0.1"),
    ] {
        let mut client = app.client().await;
        // The destination in the header is not believed, nor does it hold up what comes with it.
        client.send([header, b"GET / HTTP/1.1\r\nHost: web\r\nl5d-dtab: /svc => !\r\n\r\n"].concat()).await;
        let status = client.response().await.status();
        assert_eq!(status, if is_trusted { 502 } else { 200 }, "{caller}");
        client.get("web", "X-Forwarded-For: 203.0.113.1\r\n").await.assert_status(200);
        let request = service.take_requests().pop().expect("it came");
        assert_eq!(request.field("x-forwarded-for"), Some(caller));
        let forwarded = request.field("forwarded").expect("it is added");
        assert!(forwarded.contains(&format!(";for={caller};")), "{forwarded}");
    }
    app.stop().await;
}

/// The header of a caller.
fn header_of(caller: u8) -> Vec<u8> {
    format!("PROXY TCP4 192.0.2.{caller} 127.0.0.1 4711 4140\r\n").into()
}

#[tokio::test(flavor = "local")]
async fn connections_count_for_the_caller_that_the_proxy_names() {
    let keys = ", proxyProtocol: {from: [127.0.0.1]}, maxConnections: 8";
    for workers in [1, 2] {
        let dtab = "/svc => /$/io.buoyant.http.status/204";
        let app = TestApp::start_workers(&one_router(dtab, keys), workers).await;
        let connect = async |caller| {
            let mut wire = app.client().await;
            wire.send(header_of(caller)).await;
            wire
        };
        let mut customer = connect(2).await;
        customer.get("web", "").await.assert_status(204);
        let mut over_http2 = Frames { wire: connect(3).await };
        over_http2.wire.send([PREFACE, &Frame::settings(&[(1, 0)]).encode()].concat()).await;
        over_http2.send(Frame::request(1, &GET)).await;
        assert_eq!(over_http2.status(1).await, 204);
        let mut flood = Vec::new();
        for _ in 0..20 {
            let mut wire = connect(4).await;
            wire.get("web", "").await.assert_status(204);
            flood.push(wire);
        }
        connect(5).await.get("web", "").await.assert_status(204);
        for wire in &mut flood[..15] {
            wire.assert_ended().await;
        }
        customer.get("web", "").await.assert_status(204);
        over_http2.send(Frame::request(3, &GET)).await;
        assert_eq!(over_http2.status(3).await, 204);
        let counts = ["evicted_connections", "refused_connections"].map(|name| app.total(name, &[]));
        assert_eq!(counts, [15, 0]);
        drop(over_http2);
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn one_caller_behind_a_proxy_may_have_so_many_connections() {
    let upstream = Upstream::start().await;
    let keys = ", proxyProtocol: {from: [127.0.0.1]}, maxConnectionsPerPeer: 2";
    let app = TestApp::start_here(&one_router(&format!("/svc/* => {}", upstream.path()), keys)).await;
    let mut open = Vec::new();
    for caller in [4, 4, 5] {
        let mut wire = app.client().await;
        wire.send([&header_of(caller)[..], b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"].concat()).await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        open.push((wire, conn));
    }
    let mut third = app.client().await;
    third.send(header_of(4)).await;
    let response = third.response().await;
    assert_eq!((response.status(), response.text()), (503, "too many connections\n"));
    third.assert_ended().await;
    assert_eq!(app.total("refused_connections", &[]), 1);
    drop(open);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn from_elsewhere_and_without_a_header_a_connection_ends() {
    let service = Service::saying("hi").await;
    let keys = ", proxyProtocol: {from: [127.0.0.2]}, headersTimeoutMs: 2000";
    let app = TestApp::start_here(&one_router(&format!("/svc/* => {}", service.path()), keys)).await;
    let proxy: IpAddr = "127.0.0.2".parse().unwrap();
    let mut elsewhere = app.client().await;
    elsewhere.writer.try_send(format!("{FROM}GET / HTTP/1.1\r\nHost: web\r\n\r\n")).await;
    elsewhere.assert_gone().await;
    let mut bare = Wire::connect_from(proxy, app.first_address()).await;
    bare.writer.try_send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
    bare.assert_gone().await;
    let mut silent = Wire::connect_from(proxy, app.first_address()).await;
    let ((), passed) = time_flies(silent.assert_gone()).await;
    assert!((1..=3).contains(&passed.as_secs()), "{passed:?}");
    let mut good = Wire::connect_from(proxy, app.first_address()).await;
    good.send(FROM).await;
    assert_eq!(good.get("web", "").await.text(), "hi");
    assert_eq!((service.count(), app.total("proxy_protocol_failures", &[])), (1, 3));
    drop(good);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_header_stands_before_tls_and_before_http2() {
    let service = Service::saying("hi").await;
    let (files, authority) = (TlsFiles::new(), Authority::new("authority"));
    files.write("ca.pem", authority.pem());
    files.write_pair("edge", &authority.issue(&["edge.test"]));
    let dtab = format!("/svc/* => {}", service.path());
    let keys =
        format!(", proxyProtocol: {{from: [127.0.0.1]}}, trust: nobody, tls: {{{}}}", files.keys("edge"));
    let app = TestApp::start(&one_router(&dtab, &keys)).await;
    for alpn in [&["h2"][..], &["http/1.1"]] {
        let options = FrontOptions { name: "edge.test", alpn, prelude: FROM, ..FrontOptions::default() };
        let front = TlsFront::start(app.first_address(), &authority, options).await;
        if alpn == ["h2"] {
            H2Client::connect(front.address()).await.get("web", &[]).await.assert_status(200);
        } else {
            Wire::connect(front.address()).await.get("web", "").await.assert_status(200);
        }
        let request = service.take_requests().pop().expect("it came");
        let said = (request.field("x-forwarded-for"), request.field("x-forwarded-proto"));
        assert_eq!(said, (Some("192.0.2.7"), Some("https")), "{alpn:?}");
    }
    app.stop().await;
}
