//! `Upgrade`: a connection that becomes a tunnel, and those that do not.

use crate::support::{TestApp, Upstream, Wire, ok, routing_to, until};

const WEBSOCKET: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";

async fn scene() -> (TestApp, Upstream, Wire) {
    let upstream = Upstream::start().await;
    let app = TestApp::start(&routing_to(&upstream.path())).await;
    let client = app.client().await;
    (app, upstream, client)
}

#[tokio::test(flavor = "local")]
async fn a_tunnel_carries_bytes_both_ways() {
    let (app, upstream, mut client) = scene().await;
    client.send(WEBSOCKET).await;
    let mut conn = upstream.accept().await;
    let request = conn.request().await;
    assert_eq!((request.field("connection"), request.field("upgrade")), (Some("upgrade"), Some("websocket")));
    assert_eq!(request.field("sec-websocket-version"), Some("13"));
    // What comes right behind the head belongs to the tunnel.
    conn.send(format!("{SWITCHING}\x01first")).await;
    let response = client.head().await;
    assert_eq!(response.first_line(), "HTTP/1.1 101 Switching Protocols");
    assert_eq!(
        (response.field("connection"), response.field("upgrade")),
        (Some("upgrade"), Some("websocket"))
    );
    assert_eq!(response.field("sec-websocket-accept"), Some("x"));
    client.expect(b"\x01first").await;
    for _ in 0..3 {
        client.send(b"\x00\xff GET / HTTP/1.1\r\n\r\n").await;
        conn.expect(b"\x00\xff GET / HTTP/1.1\r\n\r\n").await;
        conn.send(b"\r\n0\r\n\r\n").await;
        client.expect(b"\r\n0\r\n\r\n").await;
    }
    client.writer.finish().await;
    assert_eq!(conn.reader.rest().await, b"", "the end is passed on");
    conn.send("still here").await;
    client.expect(b"still here").await;
    drop(conn);
    client.assert_ended().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn bytes_sent_before_the_switch_reach_the_upstream() {
    let (app, upstream, mut client) = scene().await;
    client.send(format!("{WEBSOCKET}eager")).await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send(SWITCHING).await;
    conn.expect(b"eager").await;
    client.head().await.assert_status(101);
    drop(client);
    conn.assert_gone().await;
    drop(conn);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_broken_tunnel_is_broken_for_both() {
    let (app, upstream, mut client) = scene().await;
    client.send(WEBSOCKET).await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send(SWITCHING).await;
    client.head().await.assert_status(101);
    conn.reset();
    client.assert_gone().await;
    // Its response is the switch, and that was passed on.
    until("the end of the request", async || {
        app.client().await;
        app.total("success", &[]) == 1
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_upstream_may_refuse_to_switch() {
    let (app, upstream, mut client) = scene().await;
    client.send(WEBSOCKET).await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send("HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket2\r\nContent-Length: 2\r\n\r\nno").await;
    let response = client.response().await;
    assert_eq!((response.status(), response.text()), (426, "no"));
    let said = (response.field("upgrade"), response.field("connection"));
    assert_eq!(said, (Some("websocket2"), Some("upgrade")), "it says what is required");
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(conn.request().await.field("upgrade"), None);
    conn.send(ok("as before")).await;
    assert_eq!(client.response().await.text(), "as before", "both connections go on");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_switch_without_an_upgrade_is_a_bad_response() {
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        // Without the connection option it is not for this hop; HTTP/1.0 cannot ask (RFC 9110 7.8).
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let (app, upstream, mut client) = scene().await;
        client.send(request).await;
        let mut conn = upstream.accept().await;
        assert_eq!(conn.request().await.field("upgrade"), None);
        conn.send(SWITCHING).await;
        let response = client.response().await;
        response.assert_status(502);
        assert!(response.text().contains("switches protocols"), "{response:?}");
        conn.assert_gone().await;
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn http_is_not_tunnelled_past_the_checks() {
    let forms = [
        "h2c",
        "H2C",
        "HTTP/2.0",
        "TLS/1.2",
        "h2c, h2",
        "http",
        "HTTP",
        "h2",
        "tls",
        "http/1.1",
        "h2c/1",
        "h2c-14",
        "web socket",
        "h2c;q=1",
        "websocket/1/2",
        "websocket h2c",
        "/h2c",
        "websocket/",
        ", ,",
        "\"h2c\"",
    ];
    for protocols in forms {
        let (app, upstream, mut client) = scene().await;
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocols}\r\n\
                 HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
            ))
            .await;
        let mut conn = upstream.accept().await;
        let request = conn.request().await;
        for absent in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(request.field(absent), None, "{protocols}");
        }
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n").await;
        client.response().await.assert_status(502);
        app.stop().await;
    }
    let (app, upstream, mut client) = scene().await;
    client.send(WEBSOCKET.replace("Upgrade: websocket", "Upgrade: h2c, websocket")).await;
    assert_eq!(upstream.accept().await.request().await.field("upgrade"), Some("websocket"));
    drop(client);
    app.stop().await;
}
