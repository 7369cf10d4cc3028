//! The bounds on callers that the listener does not trust, over HTTP/2 and HTTP/1.

use crate::support::http2::{Frame, Frames, GET, PREFACE, flag, kind};
use crate::support::{TestApp, Upstream, Wire, ok, one_router, speaking, time_flies};
use h2::Reason;
use std::net::IpAddr;

/// The SETTINGS_MAX_CONCURRENT_STREAMS that the router announces (RFC 9113 6.5.2).
async fn announced_streams(frames: &mut Frames) -> Option<u32> {
    loop {
        let frame = frames.read().await.expect("the connection goes on");
        if frame.kind == kind::SETTINGS && !frame.has(flag::ACK) {
            let settings = frame.payload.chunks(6);
            return settings.filter(|setting| setting[1] == 3).map(|setting| value(&setting[2..])).next();
        }
    }
}

fn value(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("a value has four bytes"))
}

#[tokio::test(flavor = "local")]
async fn a_stranger_has_a_hundred_streams_on_a_connection() {
    let table = [
        ("", 1000),
        (", trust: nobody", 100),
        (", trust: {from: [127.0.0.0/8]}", 1000),
        (", trust: {from: [10.0.0.0/8]}", 100),
        (", trust: nobody, maxConcurrentStreamsPerConnection: 300", 300),
        (", maxConcurrentStreamsPerConnection: 3", 3),
    ];
    for (keys, streams) in table {
        let app = TestApp::start_here(&one_router("/svc => /$/io.buoyant.http.status/204", keys)).await;
        let mut frames = app.frames().await;
        assert_eq!(announced_streams(&mut frames).await, Some(streams), "{keys}");
        drop(frames);
        app.stop().await;
    }
}

/// The bytes of all bodies that the router takes on a connection (RFC 9113 6.9.2).
async fn announced_window(frames: &mut Frames) -> u32 {
    loop {
        let frame = frames.read().await.expect("the connection goes on");
        if frame.kind == kind::WINDOW_UPDATE && frame.stream == 0 {
            return 65_535 + value(&frame.payload);
        }
    }
}

#[tokio::test(flavor = "local")]
async fn the_bodies_of_a_stranger_have_a_smaller_window_on_a_connection() {
    let table = [
        ("", 16 << 20),
        (", trust: nobody", 256 << 10),
        (", trust: nobody, initialStreamWindowBytes: 1000000", 1_000_000),
    ];
    for (keys, window) in table {
        let config = speaking("h2", "/svc => /$/io.buoyant.http.status/204", keys);
        let app = TestApp::start_here(&config).await;
        let mut frames = app.frames().await;
        assert_eq!(announced_window(&mut frames).await, window, "{keys}");
        drop(frames);
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn an_address_of_strangers_has_so_many_requests_under_way() {
    let upstream = Upstream::start().await;
    let keys = ", ip: 0.0.0.0, trust: {from: [127.0.0.9]}, maxRequestsPerPeer: 2";
    let app = TestApp::start_here(&one_router(&format!("/svc/* => {}", upstream.path()), keys)).await;
    let address = ([127, 0, 0, 1], app.first_address().port()).into();
    let connect = async |last| Frames::client_from(IpAddr::from([127, 0, 0, last]), address).await;
    let mut frames = [connect(2).await, connect(2).await];
    let mut carried = Vec::new();
    for frames in &mut frames {
        frames.send(Frame::request(1, &GET)).await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        carried.push(conn);
    }
    let [first, second] = &mut frames;
    second.send(Frame::request(3, &GET)).await;
    assert_eq!(second.reset_code(3).await, u32::from(Reason::REFUSED_STREAM));
    let mut wire = Wire::connect_from(IpAddr::from([127, 0, 0, 2]), address).await;
    wire.get("a", "").await.assert_status(503);
    assert_eq!(app.total("refused_streams", &[]), 1);
    upstream.assert_unreached().await;

    // Others are another matter, and so are callers that are trusted.
    let mut others = Vec::new();
    for last in [3, 9, 9, 9] {
        let mut other = connect(last).await;
        other.send(Frame::request(1, &GET)).await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        others.push((other, conn));
    }

    // There is room again once one is answered.
    carried[0].send(ok("hi")).await;
    assert_eq!(first.status(1).await, 200);
    first.next_of(kind::DATA, 1).await;
    wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    carried[0].request().await;
    carried[0].send(ok("hi")).await;
    assert_eq!(wire.response().await.text(), "hi");
    drop((frames, carried, others));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn frames_that_make_work_end_the_connection() {
    let app = TestApp::start_here(&one_router("/svc => /$/io.buoyant.http.status/204", "")).await;
    let toggling = [Frame::settings(&[(4, 1)]), Frame::settings(&[(4, 65_535)])];
    let priority = [Frame::new(kind::PRIORITY, 0, 5, [0, 0, 0, 0, 5])];
    // A little more than is allowed, for what the router has sent.
    let floods = [(&toggling[..], 49, 1), (&priority, 9_990, 60)];
    for (at, (frames, allowed, more)) in floods.into_iter().enumerate() {
        let mut caller = app.frames().await;
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        caller.wire.send(bytes.repeat(allowed)).await;
        caller.send(Frame::request(1, &GET)).await;
        assert_eq!(caller.status(1).await, 204, "so many are allowed");
        caller.wire.send(bytes.repeat(more)).await;
        assert_eq!(caller.last_code().await, Some(Reason::ENHANCE_YOUR_CALM.into()));
        assert_eq!(app.total("frame_floods", &[]), at as u64 + 1);
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn settings_are_due_a_while_after_the_connection_was_opened() {
    let app = TestApp::start_here(&one_router("/svc => /$/io.buoyant.http.status/204", "")).await;
    for begun in [PREFACE.to_vec(), [PREFACE, &Frame::settings(&[]).encode()[..5]].concat()] {
        let mut frames = Frames::connect(app.first_address()).await;
        frames.wire.send(begun).await;
        let (_, passed) = time_flies(async { while frames.read().await.is_some() {} }).await;
        assert!((9..12).contains(&passed.as_secs()), "{passed:?}");
    }
    // A caller that has sent them waits as long as any other.
    let mut frames = app.frames().await;
    let (code, passed) = time_flies(frames.last_code()).await;
    assert_eq!(code, Some(0));
    assert!((599..605).contains(&passed.as_secs()), "{passed:?}");
    app.stop().await;
}
