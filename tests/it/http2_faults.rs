//! HTTP/2 when a side fails, goes away, or is slow.

use crate::support::either::Speaks::{Http1, Http2};
use crate::support::either::{HTTP1_GET, played};
use crate::support::http2::{
    self, Call, Exchange, Frame, Frames, GET, H2Client, H2Conn, H2Service, PREFACE, get, kind, post,
};
use crate::support::{Names, TestApp, Upstream, dead_address, ok, speaking, time_flies, within};
use bytes::Bytes;
use h2::{Reason, SendStream};
use http::Response;
use std::time::Duration;

#[tokio::test(flavor = "local")]
async fn a_reset_before_the_response_goes_on_to_the_caller() {
    let (app, upstream, mut client) = played(Http2).await;
    let mut exchange = client.begin(get("web", &[]), false).await;
    let mut conn = H2Conn::accept(&upstream).await;
    for code in [
        Reason::CANCEL,
        Reason::INTERNAL_ERROR,
        Reason::ENHANCE_YOUR_CALM,
        Reason::HTTP_1_1_REQUIRED,
        Reason::from(0x1234),
    ] {
        conn.call().await.respond.send_reset(code);
        assert_eq!(exchange.refused().await, code);
        exchange = client.begin(get("web", &[]), false).await;
    }
    conn.call().await.say("hi").await;
    assert_eq!(exchange.answer().await.text(), "hi", "both connections are kept");
    assert_eq!((app.total("connections", &[]), app.total("upstream_faults", &[])), (1, 5));

    let mut wire = app.client().await;
    wire.send(HTTP1_GET).await;
    conn.call().await.respond.send_reset(Reason::CANCEL);
    wire.response().await.assert_status(502);
    wire.send(HTTP1_GET).await;
    conn.call().await.say("hi").await;
    assert_eq!(wire.response().await.text(), "hi", "this one, too");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_reset_after_the_head_goes_on_to_the_caller() {
    let (app, upstream, mut client) = played(Http2).await;
    let mut exchange = client.begin(get("web", &[]), false).await;
    let mut conn = H2Conn::accept(&upstream).await;
    for code in [Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::REFUSED_STREAM] {
        let mut out = conn.call().await.begin(Response::new(()));
        http2::write(&mut out, "hi", false).await.expect("the caller reads");
        let mut body = exchange.head().await.expect("a head comes").into_body();
        assert_eq!(http2::piece(&mut body).await.expect("it goes on").expect("it is whole"), "hi");
        out.send_reset(code);
        let error = http2::piece(&mut body).await.expect("no end comes").expect_err("it breaks off");
        assert_eq!(error.reason(), Some(code));
        exchange = client.begin(get("web", &[]), false).await;
    }
    conn.call().await.say("hi").await;
    assert_eq!(exchange.answer().await.text(), "hi");

    let mut wire = app.client().await;
    wire.send(HTTP1_GET).await;
    let mut out = conn.call().await.begin(Response::new(()));
    http2::write(&mut out, "hi", false).await.expect("the caller reads");
    wire.head().await.assert_status(200);
    wire.expect("2\r\nhi\r\n").await;
    out.send_reset(Reason::CANCEL);
    wire.assert_gone().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_gives_up_is_heard_upstream() {
    let (app, upstream, mut client) = played(Http2).await;
    let mut exchange = client.begin(post(), true).await;
    let mut conn = H2Conn::accept(&upstream).await;
    for (code, answered) in [
        (Reason::CANCEL, false),
        (Reason::INTERNAL_ERROR, false),
        (Reason::CANCEL, true),
        (Reason::ENHANCE_YOUR_CALM, true),
    ] {
        let mut call = conn.call().await;
        let mut out = None;
        if answered {
            out = Some(call.begin(Response::new(())));
            exchange.head().await.expect("a head comes");
        }
        exchange.out.send_reset(code);
        let heard = match &mut out {
            None => call.given_up().await,
            Some(out) => given_up(out).await,
        };
        assert_eq!(heard, code, "{answered}");
        exchange = client.begin(post(), true).await;
    }
    let mut call = conn.call().await;
    client.abort();
    assert_eq!(call.given_up().await, Reason::CANCEL, "whose connection is lost gives up");

    let mut wire = app.client().await;
    wire.send(HTTP1_GET).await;
    let mut call = conn.call().await;
    wire.reset();
    assert_eq!(call.given_up().await, Reason::CANCEL);
    app.stop().await;

    let (app, upstream, mut client) = played(Http1).await;
    let mut exchange = client.begin(get("web", &[]), false).await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    exchange.out.send_reset(Reason::CANCEL);
    conn.assert_gone().await;
    app.stop().await;
}

async fn given_up(out: &mut SendStream<Bytes>) -> Reason {
    let reset = std::future::poll_fn(|cx| out.poll_reset(cx));
    within("waiting for a reset", reset).await.expect("the connection is there")
}

#[tokio::test(flavor = "local")]
async fn an_early_refusal_reaches_the_caller() {
    let (app, upstream, mut client) = played(Http2).await;
    let mut exchange = client.begin(post(), true).await;
    exchange.send("some of it", false).await;
    let mut conn = Frames::accept(&upstream, &[]).await;
    // The rest of the request is not wanted (RFC 9113 8.1). By hand, for the library would forget what it has not sent.
    let refuse = async |conn: &mut Frames, stream| {
        conn.next_of(kind::HEADERS, stream).await;
        conn.send(Frame::head(stream, &[(":status", "413")])).await;
        conn.send(Frame::data(stream, b"big", true)).await;
        conn.send(Frame::reset(stream, Reason::NO_ERROR.into())).await;
    };
    refuse(&mut conn, 1).await;
    let answer = exchange.answer().await;
    assert_eq!((answer.status(), answer.text()), (413, "big"));

    let mut wire = app.client().await;
    wire.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 100000\r\n\r\nsome of it").await;
    refuse(&mut conn, 3).await;
    let response = wire.response().await;
    assert_eq!((response.status(), response.text()), (413, "big"));
    drop(wire);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn bodies_without_a_reader_take_no_room_for_ever() {
    // Together more than the windows of any connection.
    const PIECE: usize = 60_000;
    const TIMES: usize = 40;
    let (app, upstream, mut client) = played(Http2).await;
    let mut exchange = client.begin(post(), true).await;
    let mut conn = H2Conn::accept(&upstream).await;
    for _ in 0..TIMES {
        // A request whose body the endpoint does not read.
        exchange.send(vec![b'x'; PIECE], false).await;
        conn.call().await.say("no").await;
        assert_eq!(exchange.answer().await.text(), "no");
        exchange.out.send_reset(Reason::CANCEL);
        exchange = client.begin(post(), true).await;
    }
    for _ in 0..TIMES {
        // A response whose body the caller does not read.
        let mut call = conn.call().await;
        let mut out = call.begin(Response::new(()));
        http2::write(&mut out, vec![b'x'; PIECE], false).await.expect("there is room");
        exchange.head().await.expect("a head comes");
        exchange.out.send_reset(Reason::CANCEL);
        assert_eq!(given_up(&mut out).await, Reason::CANCEL);
        exchange = client.begin(post(), true).await;
    }
    let mut call = conn.call().await;
    let large = vec![b'y'; 1 << 20];
    let ((body, _), ()) = tokio::join!(call.read(), exchange.send(large.clone(), true));
    assert!(body == large);
    let (answer, ()) = tokio::join!(exchange.answer(), call.answer(Response::new(large.clone())));
    assert!(answer.body == large);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_that_breaks_off_is_a_bad_gateway() {
    for endpoint in [Http1, Http2] {
        let (app, upstream, mut client) = played(endpoint).await;
        // A POST, so that it is not tried again.
        let mut exchange = client.begin(post(), true).await;
        exchange.send("hi", true).await;
        if endpoint == Http1 {
            let mut conn = upstream.accept().await;
            conn.request().await;
            drop(conn);
        } else {
            let mut conn = H2Conn::accept(&upstream).await;
            conn.call().await;
        }
        exchange.answer().await.assert_status(502);
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn half_an_answer_is_not_made_a_whole_one() {
    for endpoint in [Http1, Http2] {
        let (app, upstream, mut client) = played(endpoint).await;
        let mut exchange = client.begin(get("web", &[]), false).await;
        let mut body;
        if endpoint == Http1 {
            let mut conn = upstream.accept().await;
            conn.request().await;
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
            body = exchange.head().await.expect("a head comes").into_body();
        } else {
            let mut conn = H2Conn::accept(&upstream).await;
            let mut call = conn.call().await;
            let mut out = call.begin(Response::new(()));
            http2::write(&mut out, "half", false).await.expect("the caller reads");
            body = exchange.head().await.expect("a head comes").into_body();
        }
        let broken = http2::read(&mut body).await.expect_err("it breaks off");
        assert!(broken.is_reset() && broken.is_remote(), "the stream, not the connection: {broken}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_that_goes_away_finishes_its_streams() {
    let (app, upstream, mut client) = played(Http2).await;
    let mut first = client.begin(get("web", &[]), false).await;
    let mut old = H2Conn::accept(&upstream).await;
    let call = old.call().await;
    old.go_away();
    // The next ones go elsewhere as soon as that is known.
    let mut second = client.begin(get("web", &[]), false).await;
    let mut new = tokio::select! {
        conn = H2Conn::accept(&upstream) => conn,
        late = old.call() => {
            late.say("late").await;
            assert_eq!(second.answer().await.text(), "late");
            second = client.begin(get("web", &[]), false).await;
            H2Conn::accept(&upstream).await
        }
    };
    new.call().await.say("second").await;
    assert_eq!(second.answer().await.text(), "second");
    call.say("first").await;
    assert_eq!(first.answer().await.text(), "first");
    old.over().await.expect("it ends in order");
    assert_eq!(app.total("connections", &[]), 1, "the caller sees nothing of it");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_was_not_processed_is_sent_elsewhere_unseen() {
    for caller in [Http1, Http2] {
        let upstream = Upstream::start().await;
        let app = TestApp::start_here(&speaking("h2", &format!("/svc/* => {}", upstream.path()), "")).await;
        let asking = async {
            match caller {
                Http1 => app.client().await.get("web", "").await.text().to_owned(),
                Http2 => app.h2_client().await.get("web", &[]).await.text().to_owned(),
            }
        };
        let answering = async {
            let mut conn = Frames::accept(&upstream, &[]).await;
            conn.next_of(kind::HEADERS, 1).await;
            conn.send(Frame::reset(1, Reason::REFUSED_STREAM.into())).await;
            // On the same connection, or on another one.
            conn.next_of(kind::HEADERS, 3).await;
            conn.send(Frame::goaway(1, 0)).await;
            let mut conn = H2Conn::accept(&upstream).await;
            conn.call().await.say("hi").await;
            conn
        };
        let (answer, _conn) = tokio::join!(asking, answering);
        assert_eq!(answer, "hi", "{caller:?}");
        assert_eq!(app.total("upstream_faults", &[]), 0);
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_that_refuses_everything_is_asked_a_few_times_only() {
    let service = H2Service::start(async |mut call: Call| {
        call.respond.send_reset(Reason::REFUSED_STREAM);
    })
    .await;
    let app = TestApp::start_here(&speaking("h2", &format!("/svc/* => {}", service.path()), "")).await;
    let mut client = app.h2_client().await;
    let answer = client.get("web", &[]).await;
    answer.assert_status(502);
    assert_eq!(answer.field("l5d-retryable"), Some("true"), "the caller may ask again, and knows it");
    assert!((2..=8).contains(&service.take_heads().len()));
    // What has begun to be sent cannot be sent again from here.
    let mut exchange = client.begin(post(), true).await;
    exchange.send("hi", true).await;
    assert_eq!(exchange.refused().await, Reason::REFUSED_STREAM);
    assert_eq!(service.take_heads().len(), 1);
    app.client().await.get("web", "").await.assert_status(502);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_body_that_was_not_looked_at_is_its_callers_to_send_again() {
    let (app, upstream, mut client) = played(Http2).await;
    let mut exchange = client.begin(post(), true).await;
    exchange.send("hi", true).await;
    let mut conn = Frames::accept(&upstream, &[]).await;
    conn.next_of(kind::HEADERS, 1).await;
    conn.send(Frame::goaway(0, 0)).await;
    assert_eq!(exchange.refused().await, Reason::REFUSED_STREAM);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_that_cannot_be_reached_is_passed_by() {
    let service = H2Service::saying("hi").await;
    let (dead, _held) = dead_address();
    let names = Names::new();
    names.write("web", &[dead, service.address()]);
    let app = TestApp::start_here(&(speaking("h2", "/svc => /#/io.l5d.fs", "") + &names.namer())).await;
    let mut client = app.h2_client().await;
    for _ in 0..20 {
        assert_eq!(client.get("web", &[]).await.text(), "hi");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_that_does_not_speak_http2_is_a_bad_gateway() {
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&speaking("h2", &format!("/svc/* => {}", upstream.path()), "")).await;
    let mut client = app.h2_client().await;
    let mut exchange = client.begin(get("web", &[]), false).await;
    let answering = async {
        // It may be tried again, for nothing was served.
        loop {
            let mut conn = upstream.accept().await;
            conn.expect(PREFACE).await;
            conn.send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
        }
    };
    tokio::select! {
        answer = exchange.answer() => answer.assert_status(502),
        () = answering => {}
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_drain_says_goodbye_and_finishes() {
    let (app, upstream, client) = played(Http2).await;
    let (mut busy, mut idle) = (app.frames().await, app.frames().await);
    busy.send(Frame::request(1, &GET)).await;
    let mut conn = H2Conn::accept(&upstream).await;
    let call = conn.call().await;
    idle.ping().await.expect("the connection is served");
    let caller = async {
        assert_eq!(idle.last_code().await, Some(0), "a connection without streams is closed");
        client.over().await.expect("so is the library");
        let goodbye = busy.next_of(kind::GOAWAY, 0).await;
        assert_eq!((goodbye.code(), goodbye.last_stream() >= 1), (0, true));
        call.say("hi").await;
        assert_eq!(busy.status(1).await, 200);
        let mut body = Vec::new();
        while let Some(frame) = busy.next().await {
            if frame.kind == kind::DATA {
                body.extend(frame.payload);
            }
        }
        assert_eq!(body, b"hi");
        conn.over().await.expect("the upstream's connection ends in order");
    };
    tokio::join!(app.stop(), caller);
}

#[tokio::test(flavor = "local")]
async fn a_request_behind_the_goodbye_is_not_served() {
    let (app, upstream, _client) = played(Http2).await;
    let mut frames = app.frames().await;
    frames.send(Frame::request(1, &GET)).await;
    let mut conn = H2Conn::accept(&upstream).await;
    let call = conn.call().await;
    let caller = async {
        // Two of them: the first tells of the shutdown, the second where it begins (RFC 9113 6.8).
        loop {
            if frames.next_of(kind::GOAWAY, 0).await.last_stream() == 1 {
                break;
            }
        }
        frames.send(Frame::request(3, &GET)).await;
        call.say("hi").await;
        let mut answered = Vec::new();
        while let Some(frame) = frames.next().await {
            if frame.kind == kind::HEADERS {
                answered.push(frame.stream);
            }
        }
        assert_eq!(answered, [1]);
    };
    tokio::join!(app.stop(), caller);
}

/// Sends up to `length` bytes and stops when there is no room for more; returns how many there was room for. On a
/// paused clock.
async fn send_until_stuck(out: &mut SendStream<Bytes>, length: usize) -> usize {
    const LONG: Duration = Duration::from_secs(1);
    let mut sent = 0;
    while sent < length {
        let Ok(room) = tokio::time::timeout(LONG, http2::room(out, length - sent)).await else { break };
        let now = room.expect("the stream goes on").min(length - sent);
        out.send_data(vec![b'x'; now].into(), sent + now == length).expect("the stream goes on");
        sent += now;
    }
    sent
}

/// A body that the router should not hold for a peer that does not read.
const LONG: usize = 10 << 20;

/// What both windows of the router and the one of a peer may hold, generously.
const WINDOWS: usize = 1 << 20;

#[tokio::test(flavor = "local")]
async fn a_caller_that_does_not_read_stops_the_upstream() {
    let (app, upstream, mut client) = played(Http2).await;
    let mut exchange = client.begin(get("web", &[]), false).await;
    let mut conn = H2Conn::accept(&upstream).await;
    let mut call = conn.call().await;
    let mut out = call.begin(Response::new(()));
    let mut body = exchange.head().await.expect("a head comes").into_body();
    let (sent, _) = time_flies(send_until_stuck(&mut out, LONG)).await;
    assert!((1..=WINDOWS).contains(&sent), "{sent} bytes were taken though the caller read nothing");
    let rest = vec![b'x'; LONG - sent];
    let (sent, read) = tokio::join!(http2::write(&mut out, rest, true), http2::read(&mut body));
    sent.expect("the caller reads");
    let (read, _) = read.expect("it is whole");
    assert!(read.len() == LONG && read.iter().all(|&byte| byte == b'x'));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_upstream_that_does_not_read_stops_the_caller() {
    for endpoint in [Http1, Http2] {
        let (app, upstream, mut client) = played(endpoint).await;
        let mut exchange = client.begin(post(), true).await;
        let most = if endpoint == Http1 { LONG / 2 } else { WINDOWS };
        if endpoint == Http1 {
            let mut conn = upstream.accept().await;
            let (sent, _) = time_flies(send_until_stuck(&mut exchange.out, LONG)).await;
            assert!((1..=most).contains(&sent), "{sent} bytes were taken though the upstream read nothing");
            let (request, ()) = tokio::join!(conn.request(), exchange.send(vec![b'x'; LONG - sent], true));
            assert_eq!(request.body.len(), LONG);
            conn.send(ok("all of it")).await;
            assert_eq!(exchange.answer().await.text(), "all of it");
        } else {
            let mut conn = H2Conn::accept(&upstream).await;
            let mut call = conn.call().await;
            let (sent, _) = time_flies(send_until_stuck(&mut exchange.out, LONG)).await;
            assert!((1..=most).contains(&sent), "{sent} bytes were taken though the upstream read nothing");
            let ((body, _), ()) = tokio::join!(call.read(), exchange.send(vec![b'x'; LONG - sent], true));
            assert_eq!(body.len(), LONG);
            call.say("all of it").await;
            assert_eq!(exchange.answer().await.text(), "all of it");
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn an_http1_caller_that_does_not_read_stops_the_upstream() {
    let (app, upstream, _) = played(Http2).await;
    let mut wire = app.client().await;
    wire.send(HTTP1_GET).await;
    let mut conn = H2Conn::accept(&upstream).await;
    let mut call = conn.call().await;
    let length = 4 * LONG;
    let head = Response::builder().header("content-length", length).body(()).expect("it is one");
    let mut out = call.begin(head);
    let (sent, _) = time_flies(send_until_stuck(&mut out, length)).await;
    assert!((1..length / 2).contains(&sent), "{sent} bytes were taken though the caller read nothing");
    let rest = vec![b'x'; length - sent];
    let (sent, response) = tokio::join!(http2::write(&mut out, rest, true), wire.response());
    sent.expect("the caller reads");
    assert_eq!(response.body.len(), length);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_stream_that_is_stuck_stops_no_other() {
    const STUCK: usize = 5;
    let (app, upstream, _client) = played(Http2).await;
    // Room on its connection is the caller's own affair.
    let mut settings = h2::client::Builder::new();
    settings.initial_connection_window_size(16 << 20);
    let mut client = H2Client::connect_with(app.first_address(), &settings).await;
    let mut stuck: Vec<(Exchange, SendStream<Bytes>, h2::RecvStream)> = Vec::new();
    let mut exchange = client.begin(get("web", &[]), false).await;
    let mut conn = H2Conn::accept(&upstream).await;
    for _ in 0..STUCK {
        let mut out = conn.call().await.begin(Response::new(()));
        let body = exchange.head().await.expect("a head comes").into_body();
        time_flies(send_until_stuck(&mut out, LONG)).await;
        stuck.push((exchange, out, body));
        exchange = client.begin(get("web", &[]), false).await;
    }
    let call = conn.call().await;
    let (answer, ()) = tokio::join!(exchange.answer(), call.answer(Response::new(vec![b'y'; 1 << 20])));
    assert_eq!(answer.body.len(), 1 << 20, "the one behind the stuck ones is carried");
    drop(stuck);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_ends_its_side_is_still_answered() {
    let (app, upstream, _client) = played(Http2).await;
    let mut frames = app.frames().await;
    frames.send(Frame::request(1, &GET)).await;
    frames.send(Frame::goaway(0, 0)).await;
    let mut conn = H2Conn::accept(&upstream).await;
    conn.call().await.say("hi").await;
    assert_eq!(frames.status(1).await, 200, "it goes away after this one");
    assert_eq!(frames.next_of(kind::DATA, 1).await.payload, b"hi");
    frames.wire.writer.finish().await;
    frames.last_code().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn no_request_waits_for_a_connection_that_is_gone() {
    let (app, upstream, mut client) = played(Http2).await;
    // One request opens the connection, and it is kept.
    let (answer, conn) = tokio::join!(client.get("web", &[]), async {
        let mut conn = H2Conn::accept(&upstream).await;
        conn.call().await.say("hi").await;
        conn
    });
    answer.assert_status(200);
    conn.go_away_with(Reason::NO_ERROR);
    conn.over().await.expect("it ends in order");
    let (answer, _conn) = tokio::join!(client.get("web", &[]), async {
        let mut conn = H2Conn::accept(&upstream).await;
        conn.call().await.say("again").await;
        conn
    });
    assert_eq!(answer.text(), "again");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_streams_that_an_endpoint_allows_are_not_exceeded() {
    const ALLOWED: u32 = 2;
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&speaking("h2", &format!("/svc/* => {}", upstream.path()), "")).await;
    let mut client = app.h2_client().await;
    let mut settings = h2::server::Builder::new();
    settings.max_concurrent_streams(ALLOWED);
    // The first opens a connection and learns what is allowed on it.
    let (answer, mut first) = tokio::join!(client.get("web", &[]), async {
        let mut conn = H2Conn::accept_with(&upstream, &settings).await;
        conn.call().await.say("hi").await;
        conn
    });
    answer.assert_status(200);
    let mut exchanges = Vec::new();
    for _ in 0..=ALLOWED {
        exchanges.push(client.begin(get("web", &[]), false).await);
    }
    let mut second = H2Conn::accept_with(&upstream, &settings).await;
    second.call().await.say("hi").await;
    for _ in 0..ALLOWED {
        first.call().await.say("hi").await;
    }
    for exchange in &mut exchanges {
        assert_eq!(exchange.answer().await.text(), "hi");
    }
    app.stop().await;
}
