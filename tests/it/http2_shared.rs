//! Callers that share an endpoint's connection: what one of them does is no other's matter.

use crate::support::http2::{self, Exchange, Frame, Frames, FullUpstream, GET, H2Client, H2Conn, get, kind};
use crate::support::{TestApp, Upstream, speaking, time_flies};
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use std::collections::HashSet;
use std::future::poll_fn;
use std::time::Duration;

/// An app whose every request goes to an upstream over HTTP/2 that is played by the test.
async fn scene() -> (TestApp, Upstream) {
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&speaking("h2", &format!("/svc/* => {}", upstream.path()), "")).await;
    (app, upstream)
}

/// Sends until there is no room for more. On a paused clock.
async fn send_until_stuck(out: &mut SendStream<bytes::Bytes>) {
    const LONG: Duration = Duration::from_secs(1);
    while let Ok(room) = tokio::time::timeout(LONG, http2::room(out, 1 << 20)).await {
        let now = room.expect("the stream goes on");
        out.send_data(vec![b'x'; now].into(), false).expect("the stream goes on");
    }
}

/// Asks for something that the router answers by itself: what was sent before it is being carried by then.
async fn ask_the_router(client: &mut H2Client) {
    let request = Request::options("http://web/").header("max-forwards", "0");
    client.ask(request.body("").expect("it is one")).await.assert_status(200);
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_does_not_read_stops_no_other() {
    // Their windows together are more than a connection's usually is.
    const STUCK: usize = 20;
    let (app, upstream) = scene().await;
    let mut client = app.h2_client().await;
    let mut stuck: Vec<(Exchange, SendStream<_>, RecvStream)> = Vec::new();
    let mut exchange = client.begin(get("web", &[]), false).await;
    let mut conn = H2Conn::accept(&upstream).await;
    for _ in 0..STUCK {
        let mut out = conn.call().await.begin(Response::new(()));
        let body = exchange.head().await.expect("a head comes").into_body();
        time_flies(send_until_stuck(&mut out)).await;
        stuck.push((exchange, out, body));
        exchange = client.begin(get("web", &[]), false).await;
    }
    drop(exchange);
    let mut other = app.h2_client().await;
    let mut exchange = other.begin(get("web", &[("x", "other")]), false).await;
    let call = loop {
        let call = conn.call().await;
        if call.field("x").is_some() {
            break call;
        }
    };
    let (answer, ()) = tokio::join!(exchange.answer(), call.answer(Response::new(vec![b'y'; 1 << 20])));
    assert_eq!(answer.body.len(), 1 << 20);
    drop(stuck);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_takes_no_bytes_is_given_up() {
    let (app, upstream) = scene().await;
    let mut client = app.h2_client().await;
    let mut exchange = client.begin(get("web", &[]), false).await;
    let mut conn = H2Conn::accept(&upstream).await;
    let mut call = conn.call().await;
    let mut out = call.begin(Response::new(()));
    let mut body = exchange.head().await.expect("a head comes").into_body();
    let gone = async {
        send_until_stuck(&mut out).await;
        poll_fn(|cx| out.poll_reset(cx)).await.expect("the connection is there")
    };
    let (reason, passed) = time_flies(gone).await;
    assert_eq!(reason, Reason::CANCEL);
    assert!((Duration::from_secs(60)..Duration::from_secs(130)).contains(&passed), "{passed:?}");
    let broken = async {
        loop {
            if let Err(error) = http2::piece(&mut body).await.expect("it has no end") {
                break error.reason();
            }
        }
    };
    assert_eq!(broken.await, Some(Reason::CANCEL));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn small_messages_without_a_reader_wait() {
    const MESSAGES: usize = 3000;
    let (app, upstream) = scene().await;
    let mut settings = h2::client::Builder::new();
    settings.initial_window_size(0);
    let mut deaf = H2Client::connect_with(app.first_address(), &settings).await;
    let mut first = deaf.begin(get("web", &[]), false).await;
    let mut conn = H2Conn::accept(&upstream).await;
    let mut call = conn.call().await;
    let mut out = call.begin(Response::new(()));
    for _ in 0..MESSAGES {
        http2::write(&mut out, "a message!", false).await.expect("there is room for it");
    }
    first.head().await.expect("a head comes");
    let mut other = app.h2_client().await;
    let mut second = other.begin(get("web", &[]), false).await;
    conn.call().await.say("hi").await;
    assert_eq!(second.answer().await.text(), "hi");
    assert_eq!(app.total("upstream_faults", &[]), 0);
    first.out.send_reset(Reason::CANCEL);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn small_messages_that_an_endpoint_does_not_read_wait() {
    const MESSAGES: usize = 3000;
    let (app, upstream) = scene().await;
    let mut frames = app.frames().await;
    let post = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "web")];
    frames.send(Frame::head(1, &post)).await;
    let mut settings = h2::server::Builder::new();
    settings.initial_window_size(0);
    let mut conn = H2Conn::accept_with(&upstream, &settings).await;
    let call = conn.call().await;
    for _ in 0..MESSAGES {
        frames.send(Frame::data(1, b"a message!", false)).await;
    }
    frames.send(Frame::data(1, b"", true)).await;
    frames.ping().await.expect("the caller has kept to its window");
    call.say("hi").await;
    assert_eq!(frames.status(1).await, 200);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_request_given_up_while_it_waits_for_a_stream_is_not_sent() {
    let (app, upstream) = scene().await;
    let mut client = app.h2_client().await;
    let full = FullUpstream::fill(&upstream, &mut client, || get("web", &[]), false).await;
    let FullUpstream { mut exchanges, mut conns, mut calls } = full;
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
    assert_eq!(call.field("x"), Some("last"), "requests that were given up are not sent before it");
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

#[tokio::test(flavor = "local")]
async fn many_requests_given_up_end_no_other_stream() {
    const ROUNDS: u32 = 25;
    const AT_ONCE: u32 = 100;
    let (app, upstream) = scene().await;
    let mut good = app.h2_client().await;
    let mut patient = good.begin(get("web", &[]), false).await;
    let mut conn = Frames::accept(&upstream, &[]).await;
    conn.next_of(kind::HEADERS, 1).await;
    let mut bad = app.frames().await;
    let mut stream = 1;
    for _ in 0..ROUNDS {
        for _ in 0..AT_ONCE {
            bad.send(Frame::request(stream, &GET)).await;
            stream += 2;
        }
        let mut begun = HashSet::new();
        while begun.len() < AT_ONCE as usize {
            let frame = conn.next().await.expect("the connection goes on");
            assert_ne!(frame.kind, kind::GOAWAY, "{frame:?}");
            if frame.kind == kind::HEADERS {
                conn.send(Frame::head(frame.stream, &[(":status", "200")])).await;
                begun.insert(frame.stream);
            }
        }
        for _ in 0..AT_ONCE {
            assert_eq!(bad.next().await.map(|frame| frame.kind), Some(kind::HEADERS));
        }
        for at in 1..=AT_ONCE {
            bad.send(Frame::reset(stream - 2 * at, Reason::CANCEL.into())).await;
        }
        // What is on its way to them comes too late.
        let mut ended = HashSet::new();
        while ended.len() < AT_ONCE as usize {
            let frame = conn.next().await.expect("the connection goes on");
            assert_ne!(frame.kind, kind::GOAWAY, "{frame:?}");
            if frame.kind == kind::RST_STREAM && begun.contains(&frame.stream) && ended.insert(frame.stream) {
                conn.send(Frame::data(frame.stream, b"late", false)).await;
            }
        }
    }
    conn.send(Frame::head(1, &[(":status", "200")])).await;
    conn.send(Frame::data(1, b"hi", true)).await;
    assert_eq!(patient.answer().await.text(), "hi");
    app.stop().await;
}

/// More requests than heads that may wait to be written on a connection, begun at once.
#[tokio::test(flavor = "local")]
async fn a_crowd_of_requests_is_carried_whole() {
    const CROWD: usize = 500;
    let (app, upstream) = scene().await;
    let mut client = app.h2_client().await;
    let mut settings = h2::server::Builder::new();
    settings.max_concurrent_streams(1000);
    let (first, mut conn) = tokio::join!(client.get("web", &[]), async {
        let mut conn = H2Conn::accept_with(&upstream, &settings).await;
        conn.call().await.say("hi").await;
        conn
    });
    first.assert_status(200);
    let mut begun = Vec::new();
    for _ in 0..CROWD {
        begun.push(client.begin(get("web", &[]), false).await);
    }
    // All of them are there before the first is answered.
    let mut calls = Vec::new();
    for _ in 0..CROWD {
        calls.push(conn.call().await);
    }
    for (call, exchange) in calls.into_iter().zip(&mut begun) {
        call.say("hi").await;
        assert_eq!(exchange.answer().await.text(), "hi");
    }
    drop((conn, begun));
    app.stop().await;
}
