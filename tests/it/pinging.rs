//! PING on connections over HTTP/2 that were idle: an endpoint that is lost is noticed, and none is pinged too often.

use crate::support::either::HTTP1_GET;
use crate::support::http2::{Frame, Frames, H2Conn, flag, get, kind, post};
use crate::support::{TestApp, Upstream, speaking, time_flies};
use h2::Reason;
use std::time::Duration;

/// Longer than a connection is idle until it is in doubt.
const IDLE: Duration = Duration::from_secs(11);

/// An endpoint, frame by frame, that keeps grpc-go's policy about pings (`internal/transport/http2_server.go`, `handlePing`).
struct Endpoint {
    conn: Frames,
    pings: usize,
    strikes: usize,
    /// Whether something was sent to the client since the last ping.
    is_paid: bool,
}

impl Endpoint {
    async fn accept(upstream: &Upstream) -> Self {
        let conn = Frames::accept(upstream, &[]).await;
        Self { conn, pings: 0, strikes: 0, is_paid: true }
    }

    /// Reads the next frame but for settings, windows and bodies; counts pings, and answers them if it `is_there`.
    async fn next(&mut self, is_there: bool) -> Frame {
        loop {
            let frame = self.conn.read().await.expect("the connection goes on");
            match frame.kind {
                kind::SETTINGS if !frame.has(flag::ACK) => {
                    self.conn.send(Frame::new(kind::SETTINGS, flag::ACK, 0, [])).await;
                }
                kind::SETTINGS | kind::WINDOW_UPDATE | kind::DATA => {}
                kind::PING => {
                    self.pings += 1;
                    // All pings but the first of a connection come sooner than it allows.
                    self.strikes = if std::mem::take(&mut self.is_paid) { 0 } else { self.strikes + 1 };
                    assert!(self.strikes <= 2, "too_many_pings");
                    if is_there {
                        self.conn.send(Frame::new(kind::PING, flag::ACK, 0, frame.payload)).await;
                    } else {
                        return frame;
                    }
                }
                _ => return frame,
            }
        }
    }

    /// Reads the head of the next request; returns its stream.
    async fn request(&mut self) -> u32 {
        loop {
            let frame = self.next(true).await;
            if frame.kind == kind::HEADERS {
                return frame.stream;
            }
        }
    }

    /// Answers a request.
    async fn answer(&mut self, stream: u32) {
        self.conn.send(Frame::head(stream, &[(":status", "200")])).await;
        self.conn.send(Frame::data(stream, b"hi", true)).await;
        self.is_paid = true;
    }
}

/// An app, and its endpoint after a first request.
async fn start() -> (TestApp, Upstream, Endpoint) {
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&speaking("h2", &format!("/svc/* => {}", upstream.path()), "")).await;
    let mut client = app.client().await;
    client.send(HTTP1_GET).await;
    let mut endpoint = Endpoint::accept(&upstream).await;
    let stream = endpoint.request().await;
    endpoint.answer(stream).await;
    assert_eq!(client.response().await.text(), "hi");
    (app, upstream, endpoint)
}

async fn idle() {
    time_flies(tokio::time::sleep(IDLE)).await;
}

#[tokio::test(flavor = "local")]
async fn what_may_be_sent_twice_is_when_the_endpoint_is_lost() {
    let (app, upstream, mut lost) = start().await;
    idle().await;
    let mut client = app.client().await;
    client.send(HTTP1_GET).await;
    let mut frames = [lost.next(false).await, lost.next(false).await];
    frames.sort_by_key(|frame| frame.kind);
    assert_eq!(frames.map(|frame| frame.kind), [kind::HEADERS, kind::PING], "both go at once");
    let (mut conn, passed) = time_flies(H2Conn::accept(&upstream)).await;
    assert_eq!(passed.as_secs(), 3);
    conn.call().await.say("here").await;
    assert_eq!(client.response().await.text(), "here");
    assert_eq!(app.total("client_requeues", &[]), 1);
    // The one that is lost takes no more.
    client.send(HTTP1_GET).await;
    conn.call().await.say("still here").await;
    assert_eq!(client.response().await.text(), "still here");
    drop(lost);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_may_not_be_sent_twice_is_not_sent_before_the_answer() {
    let (app, upstream, mut endpoint) = start().await;
    idle().await;
    let mut client = app.h2_client().await;
    let mut exchange = client.begin(post(), true).await;
    exchange.send("once", true).await;
    let ping = endpoint.next(false).await;
    assert_eq!(ping.kind, kind::PING, "alone");
    endpoint.conn.send(Frame::new(kind::PING, flag::ACK, 0, ping.payload)).await;
    let stream = endpoint.request().await;
    endpoint.answer(stream).await;
    assert_eq!(exchange.answer().await.text(), "hi");
    idle().await;
    let mut exchange = client.begin(post(), true).await;
    exchange.send("once", true).await;
    assert_eq!(endpoint.next(false).await.kind, kind::PING);
    let (mut conn, passed) = time_flies(H2Conn::accept(&upstream)).await;
    assert_eq!(passed.as_secs(), 3);
    let mut call = conn.call().await;
    assert_eq!(call.read().await.0, b"once");
    call.say("here").await;
    assert_eq!(exchange.answer().await.text(), "here");
    drop((endpoint, client));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_lost_endpoint_that_is_not_replaced_is_a_504() {
    let upstream = Upstream::start().await;
    let keys = "  client: {requeueBudget: {minRetriesPerSec: 0, percentCanRetry: 0}}\n";
    let yaml = speaking("h2", &format!("/svc/* => {}", upstream.path()), "") + keys;
    let app = TestApp::start_here(&yaml).await;
    let mut client = app.client().await;
    client.send(HTTP1_GET).await;
    let mut endpoint = Endpoint::accept(&upstream).await;
    let stream = endpoint.request().await;
    endpoint.answer(stream).await;
    client.response().await.assert_status(200);
    idle().await;
    let (response, _) = time_flies(client.ask(HTTP1_GET)).await;
    response.assert_status(504);
    assert!(response.text().contains("did not answer a ping"), "{}", response.text());
    assert_eq!(response.field("l5d-retryable"), None, "it may have been executed");
    assert_eq!(app.total("client_failures", &[("kind", "timeout")]), 1);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_is_pinged_no_more_than_grpc_allows() {
    let (app, _upstream, mut endpoint) = start().await;
    let mut client = app.h2_client().await;
    // A call now and then, each answered: one ping each.
    for round in 1..=20 {
        idle().await;
        let mut exchange = client.begin(post(), false).await;
        let stream = endpoint.request().await;
        endpoint.answer(stream).await;
        assert_eq!(exchange.answer().await.text(), "hi");
        assert_eq!(endpoint.pings, round);
    }
    // Calls that are given up before they are answered.
    for _ in 0..10 {
        idle().await;
        let mut exchange = client.begin(get("web", &[]), false).await;
        endpoint.request().await;
        exchange.out.send_reset(Reason::CANCEL);
        while endpoint.next(true).await.kind != kind::RST_STREAM {}
    }
    assert_eq!(endpoint.pings, 22);
    drop((client, endpoint));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn busy_and_unused_connections_are_not_pinged() {
    let (app, _upstream, mut endpoint) = start().await;
    let mut client = app.client().await;
    for _ in 0..10 {
        time_flies(tokio::time::sleep(Duration::from_secs(4))).await;
        client.send(HTTP1_GET).await;
        let stream = endpoint.request().await;
        endpoint.answer(stream).await;
        assert_eq!(client.response().await.text(), "hi");
    }
    time_flies(tokio::time::sleep(Duration::from_secs(50))).await;
    client.send(HTTP1_GET).await;
    let stream = endpoint.request().await;
    assert_eq!(endpoint.pings, 1, "with the last request, and none before");
    endpoint.answer(stream).await;
    client.response().await.assert_status(200);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_that_answers_requests_is_not_lost() {
    let (app, upstream, mut endpoint) = start().await;
    idle().await;
    let mut client = app.client().await;
    // It answers, and not the ping.
    client.send(HTTP1_GET).await;
    let frames = [endpoint.next(false).await, endpoint.next(false).await];
    let head = frames.iter().find(|frame| frame.kind == kind::HEADERS).expect("a request comes");
    endpoint.answer(head.stream).await;
    assert_eq!(client.response().await.text(), "hi");
    time_flies(tokio::time::sleep(Duration::from_secs(2))).await;
    client.send(HTTP1_GET).await;
    let stream = endpoint.request().await;
    endpoint.answer(stream).await;
    assert_eq!(client.response().await.text(), "hi");
    upstream.assert_unreached().await;
    app.stop().await;
}
