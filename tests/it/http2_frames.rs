//! HTTP/2 frame by frame: what keeps to the rules and is odd, what breaks them, and what is too much.

use crate::support::either::Speaks::{Http1, Http2};
use crate::support::either::{HTTP1_GET, played};
use crate::support::http2::{
    self, Frame, Frames, GET, H2Conn, H2Service, PREFACE, Refusal, block, flag, get, kind, post,
};
use crate::support::{TestApp, Upstream, speaking, time_flies};
use h2::Reason;
use std::time::Duration;

/// An app before a service over HTTP/2 that says `hi`, with more keys of its server, and a client of frames.
async fn raw_scene(server: &str) -> (TestApp, H2Service, Frames) {
    let service = H2Service::saying("hi").await;
    let app = TestApp::start_here(&speaking("h2", &format!("/svc/* => {}", service.path()), server)).await;
    let frames = app.frames().await;
    (app, service, frames)
}

/// A body that the router should not hold for a peer that does not read.
const LONG: usize = 10 << 20;

#[tokio::test(flavor = "local")]
async fn malformed_requests_are_refused() {
    let (app, service, _) = raw_scene("").await;
    let [method, scheme, path, authority] = GET;
    let with = |extra: &[(&'static str, &'static str)]| [&GET[..], extra].concat();
    let table = [
        ("a name in upper case", with(&[("X-Upper", "1")])),
        ("an empty name", with(&[("", "1")])),
        ("a name with a blank", with(&[("a b", "1")])),
        ("a line end in a value", with(&[("x", "a\r\nb: c")])),
        ("connection", with(&[("connection", "keep-alive")])),
        ("keep-alive", with(&[("keep-alive", "5")])),
        ("proxy-connection", with(&[("proxy-connection", "keep-alive")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("another te than trailers", with(&[("te", "gzip")])),
        ("no method", vec![scheme, path, authority]),
        ("no scheme", vec![method, path, authority]),
        ("no path", vec![method, scheme, authority]),
        ("an empty path", vec![method, scheme, (":path", ""), authority]),
        ("two methods", with(&[(":method", "GET")])),
        ("two paths", vec![method, scheme, path, path, authority]),
        ("two authorities", with(&[(":authority", "web")])),
        ("a late pseudo-field", vec![method, scheme, path, ("x", "1"), authority]),
        ("an unknown pseudo-field", with(&[(":odd", "1")])),
        ("a response's pseudo-field", with(&[(":status", "200")])),
    ];
    for (what, fields) in table {
        let mut frames = app.frames().await;
        frames.send(Frame::request(1, &fields)).await;
        match frames.refusal(1).await {
            Refusal::Reset(1) | Refusal::Status(400) => {
                frames.send(Frame::request(3, &GET)).await;
                assert_eq!(frames.status(3).await, 200, "{what}: the connection is kept");
                assert_eq!(service.take_heads().len(), 1, "{what}");
            }
            // The library takes what cannot even be a field for an error of the whole connection (RFC 9113 5.4.1).
            Refusal::Goaway(1) if ["name", "line end", "pseudo"].iter().any(|part| what.contains(part)) => {}
            said => panic!("{what}: {said:?}"),
        }
        assert!(service.take_heads().is_empty(), "{what}: nothing of it was carried");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn odd_targets_and_hosts_are_refused() {
    let (app, service, _) = raw_scene("").await;
    let table: [[(&str, &str); 4]; 6] = [
        [(":method", "GET"), (":scheme", "http"), (":path", "no/slash"), (":authority", "web")],
        [(":method", "GET"), (":scheme", "http"), (":path", "*"), (":authority", "web")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "user@web")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "we b")],
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "web/a")],
        [(":method", "G T"), (":scheme", "http"), (":path", "/"), (":authority", "web")],
    ];
    for fields in table {
        let mut frames = app.frames().await;
        frames.send(Frame::request(1, &fields)).await;
        let said = frames.refusal(1).await;
        let refused = matches!(said, Refusal::Reset(1) | Refusal::Status(400) | Refusal::Goaway(1));
        assert!(refused, "{fields:?}: {said:?}");
    }
    assert!(service.take_heads().is_empty(), "nothing of it was carried");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_request_whose_length_lies_is_broken_off() {
    let (app, upstream, _client) = played(Http2).await;
    let mut frames = app.frames().await;
    let mut conn = None;
    let mut stream = 1;
    for (said, body) in [("5", "hey"), ("2", "hey"), ("0", "x")] {
        let fields = [&GET[..], &[("content-length", said)]].concat();
        frames.send(Frame::head(stream, &fields)).await;
        let conn = match &mut conn {
            Some(conn) => conn,
            None => conn.insert(H2Conn::accept(&upstream).await),
        };
        let mut call = conn.call().await;
        frames.send(Frame::data(stream, body.as_bytes(), true)).await;
        http2::read(&mut call.body).await.expect_err("half a request is not made a whole one");
        assert_eq!(frames.reset_code(stream).await, 1);
        stream += 2;
    }
    drop(frames);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_response_whose_length_lies_is_broken_off() {
    for caller in [Http1, Http2] {
        for (said, body) in [("5", "hey"), ("2", "hey")] {
            let (app, upstream, mut client) = played(Http2).await;
            let mut wire = app.client().await;
            let mut exchange = None;
            match caller {
                Http1 => wire.send(HTTP1_GET).await,
                Http2 => exchange = Some(client.begin(get("web", &[]), false).await),
            }
            let mut conn = Frames::accept(&upstream, &[]).await;
            conn.next_of(kind::HEADERS, 1).await;
            conn.send(Frame::head(1, &[(":status", "200"), ("content-length", said)])).await;
            conn.send(Frame::data(1, body.as_bytes(), true)).await;
            let way = format!("{caller:?}: {said} for {body}");
            match &mut exchange {
                // The whole response may be there before its head went on.
                Some(exchange) => match exchange.head().await {
                    Ok(head) if head.status() == 502 => {}
                    Ok(head) => _ = http2::read(&mut head.into_body()).await.expect_err(&way),
                    Err(error) => assert!(error.is_reset(), "{way}: {error}"),
                },
                None => {
                    // So it may be over before its head went on.
                    let head = wire.reader.next_head().await;
                    if let Some(head) = head
                        && head.status() == 200
                    {
                        let rest = wire.reader.bytes_or_end(said.parse().expect("it is a number")).await;
                        assert!(rest.is_none() || said == "2", "{way}: {rest:?}");
                    }
                }
            }
            app.stop().await;
        }
    }
}

#[tokio::test(flavor = "local")]
async fn malformed_responses_are_the_endpoints_fault() {
    let (app, upstream, mut client) = played(Http2).await;
    for fields in [
        &[(":status", "200"), ("connection", "close")][..],
        &[(":status", "200"), ("transfer-encoding", "chunked")],
        &[(":status", "200"), ("X-Upper", "1")],
        &[("x", "1")],
        &[(":status", "2000")],
        &[(":status", "101")],
        &[(":status", "200"), (":status", "200")],
        &[(":method", "GET")],
        &[(":status", "200"), ("content-length", "x")],
        &[(":status", "200"), ("content-length", "1"), ("content-length", "2")],
    ] {
        let mut exchange = client.begin(post(), true).await;
        exchange.send("hi", true).await;
        let mut conn = Frames::accept(&upstream, &[]).await;
        conn.next_of(kind::HEADERS, 1).await;
        conn.send(Frame::head(1, fields)).await;
        match exchange.head().await {
            Ok(head) => assert_eq!(head.status(), 502, "{fields:?}"),
            Err(error) => assert!(error.is_reset(), "{fields:?}: {error}"),
        }
        // A new one for the next.
        conn.send(Frame::goaway(1, 0)).await;
        conn.last_code().await;
    }
    assert_eq!(app.total("upstream_faults", &[]), 10);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn no_endpoint_over_http2_switches_protocols() {
    for upgrade in ["odd", "websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="] {
        let (app, upstream, _client) = played(Http2).await;
        let mut wire = app.client().await;
        let request = "GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade:";
        wire.send(format!("{request} {upgrade}\r\n\r\n")).await;
        // SETTINGS_ENABLE_CONNECT_PROTOCOL
        let mut conn = Frames::accept(&upstream, &[(8, 1)]).await;
        conn.next_of(kind::HEADERS, 1).await;
        conn.send(Frame::head(1, &[(":status", "101"), ("upgrade", "websocket")])).await;
        wire.response().await.assert_status(502);
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn heads_of_responses_are_bounded() {
    let (app, upstream, mut client) = played(Http2).await;
    let (long, huge) = ("x".repeat(9 << 10), vec![b'x'; 16 << 10]);
    let status = [(":status", "200")];
    let endless = |first: Vec<u8>, more: &[u8]| {
        let mut frames = vec![Frame::new(kind::HEADERS, 0, 1, first)];
        frames.resize(10_000, Frame::new(kind::CONTINUATION, 0, 1, more));
        frames
    };
    for (what, frames) in [
        ("a long field", vec![Frame::head(1, &[status[0], ("x", &long)])]),
        (
            "many fields",
            vec![Frame::head(1, &[status[0]].into_iter().chain([("x", "1"); 101]).collect::<Vec<_>>())],
        ),
        ("fields without end", endless(block(&status), &block(&[("x", "1")]))),
        ("a field without end", endless(block(&status), &huge)),
        ("nothing without end", endless(block(&status), b"")),
    ] {
        let mut exchange = client.begin(post(), true).await;
        exchange.send("hi", true).await;
        let mut conn = Frames::accept(&upstream, &[]).await;
        conn.next_of(kind::HEADERS, 1).await;
        for frame in &frames {
            if !conn.try_send(frame).await {
                break;
            }
        }
        match exchange.head().await {
            Ok(head) => assert_eq!(head.status(), 502, "{what}"),
            Err(error) => assert!(error.is_reset(), "{what}: {error}"),
        }
        // A new one for the next.
        conn.try_send(&Frame::goaway(1, 0)).await;
        conn.last_code().await;
    }
    assert_eq!(app.total("upstream_faults", &[]), 5);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn trailers_are_no_second_head() {
    let (app, upstream, _client) = played(Http2).await;
    let mut frames = app.frames().await;
    frames.send(Frame::head(1, &GET)).await;
    let mut conn = H2Conn::accept(&upstream).await;
    let mut call = conn.call().await;
    frames.send(Frame::request(1, &[(":path", "/evil"), ("x-sum", "1")])).await;
    // The library drops them, or the stream.
    if let Ok((body, trailers)) = http2::read(&mut call.body).await {
        assert!(body.is_empty() && trailers.len() <= 1, "{trailers:?}");
    }
    // Trailers that do not end the stream.
    frames.send(Frame::head(3, &GET)).await;
    let mut call = conn.call().await;
    frames.send(Frame::head(3, &[("x-sum", "1")])).await;
    http2::read(&mut call.body).await.expect_err("it does not end well");
    drop(frames);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn frames_that_mean_nothing_are_passed_over() {
    let (app, upstream, _client) = played(Http2).await;
    let mut frames = app.frames().await;
    let mut padded = vec![3];
    padded.extend([0, 0, 0, 0, 10]);
    padded.extend(block(&[&GET[..3], &[(":authority", "web")]].concat()));
    padded.extend([0; 3]);
    frames.send(Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 5])).await;
    frames.send(Frame::new(0x42, 0xff, 0, *b"unknown")).await;
    frames.send(Frame::settings(&[(0x4242, 1)])).await;
    frames
        .send(Frame::new(kind::HEADERS, flag::END_HEADERS | flag::PADDED | flag::PRIORITY, 1, padded))
        .await;
    frames.send(Frame::new(0x42, 0xff, 1, *b"unknown")).await;
    frames.send(Frame::new(kind::DATA, flag::PADDED, 1, *b"\x04hello\0\0\0\0")).await;
    frames.send(Frame::data(1, b"", false)).await;
    frames.send(Frame::new(kind::DATA, flag::PADDED | flag::END_STREAM, 1, [255; 1].repeat(256))).await;
    let mut conn = H2Conn::accept(&upstream).await;
    let mut call = conn.call().await;
    assert_eq!(call.read().await.0, b"hello");
    call.say("hi").await;
    assert_eq!(frames.status(1).await, 200);
    drop(frames);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_breaks_the_protocol_ends_the_connection() {
    const PROTOCOL: u32 = 1;
    const FLOW: u32 = 3;
    const CLOSED: u32 = 5;
    const SIZE: u32 = 6;
    const COMPRESSION: u32 = 9;
    let request = Frame::request(1, &GET);
    let open = Frame::head(1, &GET);
    let table: [(&str, Vec<Frame>, &[u32]); 17] = [
        ("data on no stream", vec![Frame::data(0, b"x", false)], &[PROTOCOL]),
        ("data on a stream that is not open", vec![Frame::data(5, b"x", false)], &[PROTOCOL]),
        ("a stream of even number", vec![Frame::request(2, &GET)], &[PROTOCOL]),
        (
            "a stream below another",
            vec![Frame::request(5, &GET), Frame::request(3, &GET)],
            &[PROTOCOL, CLOSED],
        ),
        ("a promise", vec![Frame::new(kind::PUSH_PROMISE, 4, 1, [0, 0, 0, 2])], &[PROTOCOL]),
        ("a lone continuation", vec![Frame::new(kind::CONTINUATION, 4, 1, *b"")], &[PROTOCOL]),
        (
            "something between a head and its continuation",
            vec![Frame::new(kind::HEADERS, 0, 1, block(&GET)), Frame::data(1, b"x", false)],
            &[PROTOCOL],
        ),
        (
            "a block that cannot be decoded",
            vec![Frame::new(kind::HEADERS, 5, 1, [0xff; 9])],
            &[COMPRESSION, PROTOCOL],
        ),
        (
            "an index that is not there",
            vec![Frame::new(kind::HEADERS, 5, 1, [0xfe])],
            &[COMPRESSION, PROTOCOL],
        ),
        ("more padding than there is", vec![Frame::new(kind::DATA, 8, 1, [9, 0])], &[PROTOCOL]),
        ("a ping of a wrong size", vec![Frame::new(kind::PING, 0, 0, [0; 7])], &[SIZE, PROTOCOL]),
        ("a ping on a stream", vec![open.clone(), Frame::new(kind::PING, 0, 1, [0; 8])], &[PROTOCOL]),
        ("settings of a wrong size", vec![Frame::new(kind::SETTINGS, 0, 0, [0; 5])], &[SIZE, PROTOCOL]),
        ("a window beyond its bound", vec![Frame::settings(&[(4, 0x8000_0000)])], &[FLOW, PROTOCOL]),
        ("no window at all", vec![Frame::window(0, 0)], &[PROTOCOL]),
        ("too much window", vec![Frame::window(0, 0x7fff_ffff)], &[FLOW]),
        ("a reset of what is idle", vec![request, Frame::reset(9, 8)], &[PROTOCOL]),
    ];
    let (app, _service, mut good) = raw_scene("").await;
    for (what, sent, codes) in table {
        let mut frames = app.frames().await;
        for frame in sent {
            frames.try_send(&frame).await;
        }
        let code = frames.last_code().await;
        assert!(code.is_some_and(|code| codes.contains(&code)), "{what}: {code:?}");
    }
    // A frame that is longer than was allowed.
    let mut frames = app.frames().await;
    frames.wire.send([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]).await;
    assert_eq!(frames.last_code().await, Some(SIZE));
    good.send(Frame::request(1, &GET)).await;
    assert_eq!(good.status(1).await, 200, "others see nothing of it");
    drop((good, frames));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn windows_of_streams_are_bounded() {
    let (app, upstream, _client) = played(Http2).await;
    let mut frames = app.frames().await;
    frames.send(Frame::head(1, &GET)).await;
    let mut conn = H2Conn::accept(&upstream).await;
    conn.call().await;
    frames.send(Frame::window(1, 0x7fff_ffff)).await;
    assert_eq!(frames.reset_code(1).await, 3);
    // More than the window allows: what the router cannot be made to hold.
    frames.send(Frame::head(3, &GET)).await;
    conn.call().await;
    let piece = Frame::data(3, &[b'x'; 16 << 10], false);
    let mut taken = 0;
    while taken < LONG && frames.try_send(&piece).await {
        taken += 16 << 10;
    }
    assert_eq!(frames.reset_code(3).await, 3);
    drop(frames);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_does_not_begin_as_http2_is_not_served_as_it() {
    let (app, service, _) = raw_scene("").await;
    for (bytes, refused) in [
        (&b"PRI * HTTP/1.1\r\n\r\n"[..], true),
        (b"PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n", true),
        (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", true),
        (b"PRX * HTTP/2.0\r\n\r\n", true),
        (b"PRI * HTTP/2.0\r\nHost: web\r\n\r\n", true),
        (b"\x16\x03\x01\x02\x00\x01", false),
    ] {
        let mut wire = app.client().await;
        wire.send(bytes).await;
        wire.writer.finish().await;
        let said = wire.reader.rest().await;
        let said = String::from_utf8_lossy(&said).into_owned();
        let status = said.starts_with("HTTP/1.1 400 ") || said.starts_with("HTTP/1.1 505 ");
        assert!(status || (!refused && said.is_empty()), "{:?}: {said:?}", bytes.escape_ascii().to_string());
    }
    assert!(service.take_heads().is_empty());
    // Garbage behind the preface.
    let mut frames = Frames::connect(app.first_address()).await;
    frames.wire.send([PREFACE, &[0xff; 100]].concat()).await;
    let code = frames.last_code().await;
    assert!(code.is_none_or(|code| code == 1 || code == 6), "{code:?}");
    drop(frames);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_sends_half_of_something_is_given_up() {
    let half = Frame::new(kind::HEADERS, 0, 1, block(&GET)).encode();
    let settings = Frame::settings(&[]).encode();
    let table: [(&str, Vec<u8>, u64); 6] = [
        ("half a preface", PREFACE[..10].to_vec(), 10),
        ("no settings", PREFACE.to_vec(), 600),
        ("half the settings", [PREFACE, &settings[..4]].concat(), 600),
        ("half a frame", [PREFACE, &settings, &half[..12]].concat(), 600),
        ("half a head", [PREFACE, &settings, &half].concat(), 600),
        ("nothing more", [PREFACE, &settings].concat(), 600),
    ];
    let (app, _service, _) = raw_scene("").await;
    for (what, bytes, limit) in table {
        let mut frames = Frames::connect(app.first_address()).await;
        frames.wire.send(&bytes).await;
        let (_, passed) = time_flies(frames.last_code()).await;
        // Twice, for limits that are only looked at now and then; and a little for a goodbye.
        let most = 2 * limit + 10;
        assert!(passed <= Duration::from_secs(most), "{what}: given up after {passed:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_idle_connection_is_told_goodbye() {
    let (app, _service, mut frames) = raw_scene("").await;
    frames.send(Frame::request(1, &GET)).await;
    assert_eq!(frames.status(1).await, 200);
    let (code, passed) = time_flies(frames.last_code()).await;
    assert_eq!(code, Some(0));
    assert!((590..=700).contains(&passed.as_secs()), "{passed:?}");
    drop(frames);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_answers_no_ping_is_gone() {
    let (app, upstream, mut client) = played(Http2).await;
    let mut silent = app.frames().await;
    silent.send(Frame::request(1, &GET)).await;
    let mut conn = H2Conn::accept(&upstream).await;
    let mut call = conn.call().await;
    let reading = async { while silent.read().await.is_some() {} };
    let ((), passed) = time_flies(reading).await;
    assert!((10..=120).contains(&passed.as_secs()), "{passed:?}");
    assert_eq!(call.given_up().await, Reason::CANCEL);

    // One that answers may wait for long.
    let mut exchange = client.begin(get("web", &[]), false).await;
    let call = conn.call().await;
    let waiting = async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        call.say("at last").await;
        exchange.answer().await
    };
    let (answer, _) = time_flies(waiting).await;
    assert_eq!(answer.text(), "at last");
    drop(silent);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn streams_beyond_the_limit_are_refused() {
    let upstream = Upstream::start().await;
    let server = ", maxConcurrentStreamsPerConnection: 3";
    let app = TestApp::start_here(&speaking("h2", &format!("/svc/* => {}", upstream.path()), server)).await;
    let mut frames = app.frames().await;
    for stream in [1, 3, 5, 7] {
        frames.send(Frame::request(stream, &GET)).await;
    }
    assert_eq!(frames.reset_code(7).await, u32::from(Reason::REFUSED_STREAM));
    let mut conn = H2Conn::accept(&upstream).await;
    conn.call().await.say("hi").await;
    // Whichever of them it was.
    let answered = frames.next().await.expect("an answer comes");
    assert_eq!((answered.kind, answered.status()), (kind::HEADERS, 200));
    frames.next_of(kind::DATA, answered.stream).await;
    frames.send(Frame::request(9, &GET)).await;
    for _ in 0..3 {
        conn.call().await.say("hi").await;
    }
    assert_eq!(frames.status(9).await, 200, "there is room again");
    drop(frames);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn heads_beyond_their_bounds_are_refused() {
    let (app, service, mut frames) = raw_scene("").await;
    let long = "x".repeat(9 << 10);
    let huge = "x".repeat(15 << 10);
    let path = format!("/{}", "y".repeat(5 << 10));
    let many: Vec<_> = std::iter::repeat_n(("x", "1"), 101).collect();
    let table = [
        ([&GET[..], &[("x", &*long)]].concat(), 431),
        ([&GET[..], &[("x", &*huge)]].concat(), 431),
        ([&GET[..], &many].concat(), 431),
        ([&GET[..2], &[(":path", &*path), GET[3]]].concat(), 414),
    ];
    let mut stream = 1;
    for (fields, status) in table {
        frames.send(Frame::request(stream, &fields)).await;
        assert_eq!(frames.status(stream).await, status);
        stream += 2;
    }
    assert!(service.take_heads().is_empty());
    frames.send(Frame::request(stream, &GET)).await;
    assert_eq!(frames.status(stream).await, 200, "the connection is kept");
    drop(frames);
    app.stop().await;
}

/// Sends frames until the router takes no more, up to `most`; returns how many it took.
async fn flood(frames: &mut Frames, most: u32, frame: impl Fn(u32) -> Vec<Frame>) -> u32 {
    for at in 0..most {
        for frame in frame(at) {
            if !frames.try_send(&frame).await {
                return at;
            }
        }
    }
    most
}

#[tokio::test(flavor = "local")]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let (app, _service, mut frames) = raw_scene("").await;
    flood(&mut frames, 20_000, |at| {
        vec![Frame::head(2 * at + 1, &GET), Frame::reset(2 * at + 1, Reason::CANCEL.into())]
    })
    .await;
    assert_eq!(frames.last_code().await, Some(Reason::ENHANCE_YOUR_CALM.into()));
    let mut frames = app.frames().await;
    frames.send(Frame::request(1, &GET)).await;
    assert_eq!(frames.status(1).await, 200, "others see nothing of it");
    drop(frames);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn streams_that_are_reset_as_soon_as_they_are_carried_end_the_connection() {
    let service = H2Service::start(async |mut call| _ = call.given_up().await).await;
    let app = TestApp::start_here(&speaking("h2", &format!("/svc/* => {}", service.path()), "")).await;
    for whole in [true, false] {
        let mut frames = app.frames().await;
        let head = if whole { Frame::request } else { Frame::head };
        let mut stream = 1;
        let code = loop {
            assert!(stream < 5_000, "{stream} is enough");
            frames.try_send(&head(stream, &GET)).await;
            if let Err(code) = frames.ping().await {
                break code;
            }
            frames.try_send(&Frame::reset(stream, Reason::CANCEL.into())).await;
            stream += 2;
        };
        assert_eq!(code, u32::from(Reason::ENHANCE_YOUR_CALM), "{whole}");
    }
    assert_eq!(app.total("reset_floods", &[]), 2);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn streams_that_the_router_is_made_to_reset_end_the_connection() {
    let (app, _service, mut frames) = raw_scene("").await;
    // Each is malformed, so that it is the router that resets it.
    let malformed = [&GET[..], &[("upgrade", "x")]].concat();
    flood(&mut frames, 20_000, |at| vec![Frame::request(2 * at + 1, &malformed)]).await;
    assert_eq!(frames.last_code().await, Some(Reason::ENHANCE_YOUR_CALM.into()));
    drop(frames);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_head_without_an_end_ends_the_connection() {
    let (app, _service, mut frames) = raw_scene("").await;
    for piece in [&b""[..], &[0], &block(&[("x", "y")]), &[b'x'; 16 << 10]] {
        let mut frames = app.frames().await;
        frames.send(Frame::new(kind::HEADERS, 0, 1, block(&GET))).await;
        let most = 100_000;
        let taken = flood(&mut frames, most, |_| vec![Frame::new(kind::CONTINUATION, 0, 1, piece)]).await;
        assert!(taken < most, "{} bytes again and again", piece.len());
        frames.last_code().await;
    }
    frames.send(Frame::request(1, &GET)).await;
    assert_eq!(frames.status(1).await, 200, "others see nothing of it");
    drop(frames);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn floods_of_small_frames_stop_no_other_caller() {
    let (app, _service, mut good) = raw_scene("").await;
    let settings = Frame::settings(&[(4, 65_535)]);
    let frames: [(&str, Frame); 6] = [
        ("pings", Frame::new(kind::PING, 0, 0, [0; 8])),
        ("settings", settings),
        ("priorities", Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 5])),
        ("windows", Frame::window(0, 1)),
        ("empty data", Frame::data(1, b"", false)),
        ("unknown frames", Frame::new(0x42, 0, 1, *b"x")),
    ];
    for (at, (what, frame)) in frames.into_iter().enumerate() {
        let mut bad = app.frames().await;
        bad.send(Frame::head(1, &GET)).await;
        // Its answers are not read: they must not pile up either.
        flood(&mut bad, 20_000, |_| vec![frame.clone()]).await;
        let stream = 2 * at as u32 + 1;
        good.send(Frame::request(stream, &GET)).await;
        assert_eq!(good.status(stream).await, 200, "{what}");
    }
    drop(good);
    app.stop().await;
}

/// A frame as a peer without sense might send it: many are almost right.
fn any_frame() -> impl proptest::strategy::Strategy<Value = Frame> {
    use proptest::prelude::*;
    let payload = prop_oneof![
        Just(block(&GET)),
        Just(block(&[(":status", "200")])),
        Just(vec![0; 4]),
        Just(vec![0, 0, 0, 5]),
        Just(vec![0; 5]),
        Just(vec![0; 6]),
        Just(vec![0; 8]),
        proptest::collection::vec(any::<u8>(), 0..100),
    ];
    let stream = prop_oneof![Just(0), 1u32..8, any::<u32>()];
    let kind = prop_oneof![Just(kind::HEADERS), Just(kind::DATA), 0u8..10, any::<u8>()];
    let flags = prop_oneof![
        Just(flag::END_HEADERS | flag::END_STREAM),
        Just(flag::END_HEADERS),
        Just(0),
        any::<u8>()
    ];
    (kind, flags, stream, payload)
        .prop_map(|(kind, flags, stream, payload)| Frame::new(kind, flags, stream, payload))
}

/// Sequences of frames, the same in every run.
fn sequences(count: usize) -> Vec<Vec<Frame>> {
    use proptest::strategy::{Strategy as _, ValueTree as _};
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let sequence = proptest::collection::vec(any_frame(), 1..20);
    (0..count).map(|_| sequence.new_tree(&mut runner).expect("nothing is rejected").current()).collect()
}

#[tokio::test(flavor = "local")]
async fn no_caller_breaks_the_router() {
    let (app, _service, mut good) = raw_scene("").await;
    for sequence in sequences(500) {
        let mut frames = app.frames().await;
        for frame in &sequence {
            if !frames.try_send(frame).await {
                break;
            }
        }
        frames.wire.writer.try_finish().await;
        // It ends, and does not hang.
        frames.last_code().await;
    }
    good.send(Frame::request(1, &GET)).await;
    assert_eq!(good.status(1).await, 200);
    drop(good);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn no_endpoint_breaks_the_router() {
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&speaking("h2", &format!("/svc/* => {}", upstream.path()), "")).await;
    let mut wire = app.client().await;
    for sequence in sequences(200) {
        wire.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\n\r\nhi").await;
        let playing = async {
            // It may be asked again when it seems to have processed nothing.
            loop {
                let mut frames = Frames::accept(&upstream, &[]).await;
                frames.next_of(kind::HEADERS, 1).await;
                for frame in &sequence {
                    if !frames.try_send(frame).await {
                        break;
                    }
                }
                frames.wire.writer.try_finish().await;
                frames.last_code().await;
            }
        };
        tokio::select! {
            head = wire.reader.next_head() => match head {
                // By chance it is a response.
                Some(head) if head.status() == 200 => {}
                Some(head) => head.assert_status(502),
                None => {}
            },
            () = playing => {}
        }
        wire = app.client().await;
    }
    let mut client = app.h2_client().await;
    let (answer, _conn) = tokio::join!(client.get("web", &[]), async {
        loop {
            let mut conn = H2Conn::accept(&upstream).await;
            // What is left of the last sequence may have opened one more.
            if let Some(call) = conn.try_call().await {
                call.say("hi").await;
                return conn;
            }
        }
    });
    assert_eq!(answer.text(), "hi");
    app.stop().await;
}
