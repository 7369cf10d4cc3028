//! Callers that share an endpoint's connection: what one of them does is no other's matter.

use crate::support::http2::{H2Client, H2Conn, get};
use crate::support::{TestApp, Upstream, speaking};
use h2::Reason;
use http::Request;

/// An app whose every request goes to an upstream over HTTP/2 that is played by the test.
async fn scene() -> (TestApp, Upstream) {
    let upstream = Upstream::start().await;
    let app = TestApp::start(&speaking("h2", &format!("/svc/* => {}", upstream.path()), "")).await;
    (app, upstream)
}

/// Asks for something that the router answers by itself: what was sent before it is being carried by then.
async fn ask_the_router(client: &mut H2Client) {
    let request = Request::options("http://web/").header("max-forwards", "0");
    client.ask(request.body("").expect("it is one")).await.assert_status(200);
}

#[tokio::test(flavor = "local")]
async fn who_waits_for_a_stream_and_gives_up_is_not_sent() {
    const CONNECTIONS: usize = 8;
    let (app, upstream) = scene().await;
    let mut client = app.h2_client().await;
    let mut settings = h2::server::Builder::new();
    settings.max_concurrent_streams(1);
    // The first tells what is allowed.
    let (answer, first) = tokio::join!(client.get("web", &[]), async {
        let mut conn = H2Conn::accept_with(&upstream, &settings).await;
        conn.call().await.say("hi").await;
        conn
    });
    answer.assert_status(200);
    let (mut conns, mut calls, mut exchanges) = (vec![first], Vec::new(), Vec::new());
    for at in 0..CONNECTIONS {
        exchanges.push(client.begin(get("web", &[]), false).await);
        if at > 0 {
            conns.push(H2Conn::accept_with(&upstream, &settings).await);
        }
        calls.push(conns[at].call().await);
    }
    for _ in 0..5 {
        let mut waiting = client.begin(get("web", &[("x", "gone")]), false).await;
        ask_the_router(&mut client).await;
        waiting.out.send_reset(Reason::CANCEL);
    }
    let mut last = client.begin(get("web", &[("x", "last")]), false).await;
    ask_the_router(&mut client).await;
    upstream.assert_unreached().await;
    calls.remove(0).say("hi").await;
    assert_eq!(exchanges.remove(0).answer().await.text(), "hi");
    let call = conns[0].call().await;
    assert_eq!(call.field("x"), Some("last"), "those who gave up are not sent before it");
    call.say("hi").await;
    assert_eq!(last.answer().await.text(), "hi");
    for (call, mut exchange) in calls.into_iter().zip(exchanges) {
        call.say("hi").await;
        assert_eq!(exchange.answer().await.text(), "hi");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn requests_that_wait_for_a_connection_are_not_all_sent_on_it() {
    // What may be sent before the endpoint has said how many it allows.
    const ALLOWED: usize = 100;
    let (app, upstream) = scene().await;
    let mut client = app.h2_client().await;
    let mut settings = h2::server::Builder::new();
    settings.max_concurrent_streams(ALLOWED as u32);
    let mut exchanges = Vec::new();
    for _ in 0..ALLOWED + 50 {
        exchanges.push(client.begin(get("web", &[]), false).await);
    }
    let (mut first, mut calls) = (H2Conn::accept_with(&upstream, &settings).await, Vec::new());
    for _ in 0..ALLOWED {
        calls.push(first.call().await);
    }
    let mut second = H2Conn::accept_with(&upstream, &settings).await;
    for _ in 0..50 {
        calls.push(second.call().await);
    }
    upstream.assert_unreached().await;
    drop((exchanges, client, calls));
    app.stop().await;
}
