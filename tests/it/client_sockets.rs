//! `socketOptions` of clients: an endpoint that sends nothing, or takes nothing.

use crate::support::either::{HTTP1_GET, Speaks, Speaks::Http1, Speaks::Http2, router};
use crate::support::http2::H2Conn;
use crate::support::{TestApp, Upstream, speaking, time_flies};
use bytes::Bytes;
use http::Response;
use std::time::Duration;
use tokio::time::sleep;

fn yaml(endpoint: Speaks, upstream: &Upstream, options: &str) -> String {
    let dtab = format!("/svc/* => {}", upstream.path());
    speaking(router(endpoint), &dtab, "") + &format!("  client: {{socketOptions: {{{options}}}}}\n")
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_may_be_silent_so_long_before_its_response() {
    for endpoint in [Http1, Http2] {
        let upstream = Upstream::start().await;
        let mut app = TestApp::start_here(&yaml(endpoint, &upstream, "readTimeoutMs: 5000")).await;
        let mut client = app.client().await;
        let (response, passed) = time_flies(client.ask(HTTP1_GET)).await;
        response.assert_status(504);
        assert!(response.text().contains("`socketOptions.readTimeoutMs`"), "{}", response.text());
        assert_eq!(passed.as_secs(), 5, "{endpoint:?}");
        assert_eq!(app.total("client_failures", &[("kind", "timeout")]), 1);
        // Without the key it may be silent for any time.
        assert!(app.reload(&yaml(endpoint, &upstream, "")).await.is_empty());
        let upstream_side = async {
            match endpoint {
                Http1 => {
                    let mut first = upstream.accept().await;
                    first.request().await;
                    let mut conn = upstream.accept().await;
                    conn.request().await;
                    sleep(Duration::from_secs(50)).await;
                    conn.send(crate::support::ok("late")).await;
                }
                Http2 => {
                    let mut conn = H2Conn::accept(&upstream).await;
                    conn.call().await;
                    let call = conn.call().await;
                    sleep(Duration::from_secs(50)).await;
                    call.say("late").await;
                    // The connection is there until the answer has passed.
                    sleep(Duration::from_secs(1)).await;
                }
            }
        };
        let ((response, ()), _) =
            time_flies(async { tokio::join!(client.ask(HTTP1_GET), upstream_side) }).await;
        assert_eq!(response.text(), "late");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_that_sends_now_and_then_is_not_silent() {
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&yaml(Http1, &upstream, "readTimeoutMs: 5000")).await;
    let mut client = app.client().await;
    client.send(HTTP1_GET).await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    for part in ["HTTP/1.1 200 OK\r\n", "Content-Length: 4\r\n", "\r\n", "b", "o", "d", "y"] {
        time_flies(sleep(Duration::from_secs(4))).await;
        conn.send(part).await;
    }
    assert_eq!(client.response().await.text(), "body");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_response_whose_endpoint_falls_silent_breaks_off() {
    for endpoint in [Http1, Http2] {
        let upstream = Upstream::start().await;
        let app = TestApp::start_here(&yaml(endpoint, &upstream, "readTimeoutMs: 5000")).await;
        let mut client = app.client().await;
        client.send(HTTP1_GET).await;
        let mut held = None;
        let mut wire = None;
        match endpoint {
            Http1 => {
                let mut conn = upstream.accept().await;
                conn.request().await;
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await;
                wire = Some(conn);
            }
            Http2 => {
                let mut conn = H2Conn::accept(&upstream).await;
                let mut call = conn.call().await;
                let response = Response::builder().header("content-length", "9");
                let mut out = call.begin(response.body(()).expect("it is one"));
                out.send_data(Bytes::from("half"), false).expect("the caller waits for it");
                held = Some((conn, call, out));
            }
        }
        let head = client.head().await;
        assert_eq!(head.status(), 200);
        client.expect("half").await;
        let (_, passed) = time_flies(client.assert_gone()).await;
        assert_eq!(passed.as_secs(), 5, "{endpoint:?}");
        assert_eq!(app.total("upstream_faults", &[]), 1);
        drop((held, wire));
        app.stop().await;
    }
}

/// The kernel watches the writes, on a clock that no test can pause.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "local")]
async fn an_endpoint_that_takes_nothing_is_given_up() {
    let upstream = Upstream::with_small_buffers().await;
    let app = TestApp::start(&yaml(Http1, &upstream, "writeTimeoutMs: 500")).await;
    let mut client = app.client().await;
    const LENGTH: usize = 16 << 20;
    client.send(format!("PUT / HTTP/1.1\r\nHost: web\r\nContent-Length: {LENGTH}\r\n\r\n")).await;
    let mut conn = upstream.accept().await;
    conn.head().await;
    let (reader, writer) = (&mut client.reader, &mut client.writer);
    let body = vec![b'x'; LENGTH];
    let (_, response) = tokio::join!(writer.try_send(&body), reader.next_response());
    response.assert_status(502);
    app.stop().await;
}
