//! The limits of a listener, and what happens to a caller that reaches one.

use crate::support::http2::{self, Frame, Frames, H2Client, PREFACE, get, kind};
use crate::support::{Service, TestApp, Upstream, Wire, ok, one_router, routing_to, time_flies};
use socket2::SockRef;
use std::net::IpAddr;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Starts the app on the thread of the test, or on so many of its own.
async fn start(yaml: &str, workers: usize) -> TestApp {
    match workers {
        0 => TestApp::start_here(yaml).await,
        workers => TestApp::start_workers(yaml, workers).await,
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A connection on which a request comes.
async fn requested(mut conn: Wire) -> Wire {
    conn.request().await;
    conn
}

#[tokio::test(flavor = "local")]
async fn connections_beyond_the_limit_are_told_and_closed_while_none_is_idle() {
    for workers in [0, 2] {
        let upstream = Upstream::start().await;
        let yaml = one_router(&format!("/svc/* => {}", upstream.path()), ", maxConnections: 3");
        let app = start(&yaml, workers).await;
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut client = app.client().await;
            client.send(GET).await;
            open.push((client, requested(upstream.accept().await).await));
        }
        for _ in 0..2 {
            let mut refused = app.client().await;
            let response = refused.response().await;
            assert_eq!((response.status(), response.field("connection")), (503, Some("close")));
            assert_eq!(response.text(), "too many connections\n");
            refused.assert_ended().await;
        }
        assert_eq!((app.total("refused_connections", &[]), app.total("connections", &[])), (2, 3));
        let (mut idle, mut conn) = open.remove(0);
        conn.send(ok("hi")).await;
        assert_eq!(idle.response().await.text(), "hi");
        // It is not idle before the router knows that the response has gone out.
        let admitted = loop {
            let mut client = app.client().await;
            client.writer.try_send(GET).await;
            tokio::select! {
                _ = client.reader.next_head() => {}
                _ = conn.reader.next_request() => break (client, conn),
                // On another worker, which has no connection to the endpoint that waits.
                other = upstream.accept() => break (client, requested(other).await),
            }
        };
        open.push(admitted);
        idle.assert_ended().await;
        assert_eq!(app.total("evicted_connections", &[]), 1);
        for (mut client, mut conn) in open {
            conn.send(ok("hi")).await;
            assert_eq!(client.response().await.text(), "hi");
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_listener_has_a_limit_of_its_own() {
    let yaml = crate::support::with_servers(
        "/svc => /$/io.buoyant.http.status/204",
        &[", maxConnections: 1", ", maxConnections: 1"],
    );
    let app = TestApp::start_here(&yaml).await;
    let mut clients = [app.client_of("http", 0).await, app.client_of("http", 1).await];
    for client in &mut clients {
        client.get("a", "").await.assert_status(204);
    }
    app.client_of("http", 1).await.get("a", "").await.assert_status(204);
    let [mut other, mut idle] = clients;
    idle.assert_ended().await;
    other.get("a", "").await.assert_status(204);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_head_may_have_so_many_fields_and_take_so_long() {
    let yaml = one_router("/svc => /$/io.buoyant.http.status/204", ", maxHeaders: 2, headersTimeoutMs: 3000");
    let app = TestApp::start_here(&yaml).await;
    let mut client = app.client().await;
    client.get("a", "X: 1\r\n").await.assert_status(204);
    client.get("a", "X: 1\r\nY: 1\r\n").await.assert_status(431);
    let mut client = app.client().await;
    client.send("GET / HTTP/1.1\r\nHost: ").await;
    let ((), passed) = time_flies(client.assert_gone()).await;
    assert!((3..5).contains(&passed.as_secs()), "{passed:?}");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_first_head_is_due_a_while_after_the_connection_was_opened() {
    let begun = [("", "GET / HTTP/1.1\r\nHost: "), ("", ""), ("PRI * HT", "TP/2.0\r\n")];
    let app = TestApp::start_here(&one_router(
        "/svc => /$/io.buoyant.http.status/204",
        ", headersTimeoutMs: 30000",
    ))
    .await;
    for (first, then) in begun {
        let mut client = app.client().await;
        client.send(first).await;
        let (_, passed) = time_flies(async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            client.send(then).await;
            client.assert_gone().await;
        })
        .await;
        assert!((29..32).contains(&passed.as_secs()), "{first}{then}: {passed:?}");
    }
    // A second head has its time from its first byte on, and the wait for it is another.
    let mut client = app.client().await;
    client.get("a", "").await.assert_status(204);
    let (_, passed) = time_flies(async {
        tokio::time::sleep(Duration::from_secs(50)).await;
        client.send("GET /").await;
        client.assert_gone().await;
    })
    .await;
    assert!((79..82).contains(&passed.as_secs()), "{passed:?}");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_flood_of_connections_costs_other_addresses_nothing() {
    let yaml = one_router(
        "/svc => /$/io.buoyant.http.status/204",
        ", ip: 0.0.0.0, maxConnections: 8, maxConnectionsPerPeer: 7",
    );
    for workers in [0, 2] {
        let app = start(&yaml, workers).await;
        let address = ([127, 0, 0, 1], app.first_address().port()).into();
        let connect = async |last| Wire::connect_from(IpAddr::from([127, 0, 0, last]), address).await;
        let mut customer = connect(2).await;
        customer.get("a", "").await.assert_status(204);
        let mut over_http2 = H2Client::connect_from([127, 0, 0, 3].into(), address).await;
        over_http2.get("a", &[]).await.assert_status(204);
        let mut flood = Vec::new();
        for _ in 0..20 {
            flood.push(connect(4).await);
        }
        // It is accepted after them.
        connect(5).await.get("a", "").await.assert_status(204);
        for client in &mut flood[..13] {
            client.assert_ended().await;
        }
        customer.get("a", "").await.assert_status(204);
        over_http2.get("a", &[]).await.assert_status(204);
        assert_eq!(app.total("refused_connections", &[]), 0);
        app.stop().await;
    }
}

/// Connects until a connection is admitted and its request served.
async fn until_served(app: &TestApp) -> Wire {
    loop {
        let mut client = app.client().await;
        client.writer.try_send("GET / HTTP/1.1\r\nHost: here\r\n\r\n").await;
        if client.reader.next_head().await.is_some_and(|head| head.status() == 204) {
            return client;
        }
    }
}

#[tokio::test(flavor = "local")]
async fn a_connection_over_http2_without_a_stream_makes_room() {
    let upstream = Upstream::start().await;
    let dtab = format!("/svc/* => {}; /svc/here => /$/io.buoyant.http.status/204", upstream.path());
    let app = TestApp::start_here(&one_router(&dtab, ", maxConnections: 1")).await;
    let mut client = app.h2_client().await;
    let mut exchange = client.begin(get("a", &[]), false).await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    // It has a stream.
    app.client().await.response().await.assert_status(503);
    conn.send(ok("hi")).await;
    assert_eq!(exchange.answer().await.text(), "hi");
    let mut open = until_served(&app).await;
    client.over().await.expect("the connection ends in order");
    // One that does not finish its preface is idle as well.
    let mut begun = app.client().await;
    begun.send(&PREFACE[..20]).await;
    open.assert_gone().await;
    until_served(&app).await;
    begun.assert_gone().await;
    app.stop().await;
}

/// Reads frames until one of that kind comes on a stream; a ping is not answered.
async fn unanswered(frames: &mut Frames, kind: u8, stream: u32) -> Frame {
    loop {
        let frame = frames.read().await.expect("the connection goes on");
        if (frame.kind, frame.stream) == (kind, stream) {
            return frame;
        }
    }
}

/// A stream that comes at the same time as the newcomer for which its connection has to make room.
#[tokio::test(flavor = "local")]
async fn a_connection_over_http2_whose_stream_came_first_takes_no_more_of_them() {
    let upstream = Upstream::start().await;
    let dtab = format!("/svc/* => {}; /svc/here => /$/io.buoyant.http.status/204", upstream.path());
    let app = TestApp::start_here(&one_router(&dtab, ", maxConnections: 1")).await;
    let mut frames = app.frames().await;
    frames.ping().await.expect("it is idle");
    // Both are there when the router looks: the newcomer first.
    let newcomer = std::net::TcpStream::connect(app.first_address()).expect("it is accepted");
    frames.send(Frame::request(1, &http2::GET)).await;
    let goodbye = unanswered(&mut frames, kind::GOAWAY, 0).await;
    assert_eq!(goodbye.code(), 0, "it is said while the stream is open");
    let mut first = requested(upstream.accept().await).await;
    newcomer.set_nonblocking(true).expect("it is open");
    let mut newcomer = Wire::new(TcpStream::from_std(newcomer).expect("it is open"));
    newcomer.get("here", "").await.assert_status(204);
    // Its caller may not have read the goodbye yet. One that does not heed it is refused.
    frames.send(Frame::request(3, &http2::GET)).await;
    let mut second = requested(upstream.accept().await).await;
    pass(3).await;
    frames.send(Frame::request(5, &http2::GET)).await;
    let refused = unanswered(&mut frames, kind::RST_STREAM, 5).await;
    assert_eq!(refused.code(), u32::from(h2::Reason::REFUSED_STREAM));
    first.send(ok("hi")).await;
    assert_eq!(unanswered(&mut frames, kind::HEADERS, 1).await.status(), 200);
    second.send(ok("hi")).await;
    assert_eq!(unanswered(&mut frames, kind::HEADERS, 3).await.status(), 200);
    assert_eq!(frames.last_code().await, Some(0));
    drop((first, second, newcomer));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_connection_waits_as_long_as_is_said() {
    let service = Service::saying("hi").await;
    let table = [
        (", socketOptions: {readTimeoutMs: 20000}", 20),
        (", serverSession: {idleTimeMs: 30000}", 30),
        (", serverSession: {idleTimeMs: 30000}, socketOptions: {readTimeoutMs: 20000}", 30),
        (", serverSession: {idleTimeMs: 30000, lifeTimeMs: 15000}", 15),
    ];
    for (keys, seconds) in table {
        let app = TestApp::start_here(&one_router(&format!("/svc/* => {}", service.path()), keys)).await;
        let mut used = app.client().await;
        used.get("a", "").await.assert_status(200);
        let (_, passed) = time_flies(used.assert_ended()).await;
        // The wait began before the clock was looked at.
        assert!((seconds - 1..seconds + 2).contains(&passed.as_secs()), "{keys}: {passed:?}");
        app.stop().await;
    }
}

/// Lets time pass while nothing happens.
async fn pass(seconds: u64) {
    time_flies(tokio::time::sleep(Duration::from_secs(seconds))).await;
}

#[tokio::test(flavor = "local")]
async fn the_request_that_is_served_when_a_connection_is_old_is_its_last() {
    let upstream = Upstream::start().await;
    let yaml = one_router(&format!("/svc/* => {}", upstream.path()), ", serverSession: {lifeTimeMs: 60000}");
    let app = TestApp::start_here(&yaml).await;
    let mut client = app.client().await;
    client.send(GET).await;
    let mut conn = upstream.accept().await;
    for _ in 0..2 {
        // Busy or not: it is not old yet.
        conn.request().await;
        pass(25).await;
        conn.send(ok("young")).await;
        let response = client.response().await;
        assert_eq!((response.text(), response.field("connection")), ("young", None));
        client.send(GET).await;
    }
    // Begun when it was young, and finished.
    conn.request().await;
    pass(25).await;
    conn.send(ok("young")).await;
    let response = client.response().await;
    assert_eq!((response.text(), response.field("connection")), ("young", None));
    client.assert_ended().await;

    // Begun in time, but read when it is old: the first keeps it waiting.
    let mut client = app.client().await;
    client.send([GET, GET].concat()).await;
    conn.request().await;
    pass(70).await;
    conn.send(ok("first")).await;
    assert_eq!(client.response().await.field("connection"), None);
    let mut conn = next(&upstream, conn).await;
    conn.send(ok("last")).await;
    let response = client.response().await;
    assert_eq!((response.text(), response.field("connection")), ("last", Some("close")));
    client.assert_ended().await;
    app.stop().await;
}

/// The connection on which the next request comes: the one that is open, unless it has waited too long.
async fn next(upstream: &Upstream, mut open: Wire) -> Wire {
    match timeout(Duration::from_secs(5), open.reader.next_request()).await {
        Ok(Some(_)) => open,
        _ => {
            let mut conn = upstream.accept().await;
            conn.request().await;
            conn
        }
    }
}

#[tokio::test(flavor = "local")]
async fn a_connection_over_http2_that_is_old_is_said_goodbye_to() {
    let yaml = one_router("/svc => /$/io.buoyant.http.status/204", ", serverSession: {lifeTimeMs: 60000}");
    let app = TestApp::start_here(&yaml).await;
    let address = app.address("http", 0);
    for is_used in [false, true] {
        let stream = TcpStream::connect(address).await.expect("it accepts");
        let (mut send, connection) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
        let connection = tokio::task::spawn_local(connection);
        if is_used {
            pass(40).await;
            let request = http::Request::get("http://a/").body(()).expect("it is a request");
            let (response, _) = send.send_request(request, true).expect("there is room for it");
            assert_eq!(response.await.expect("it is answered").status(), 204);
        }
        let (ended, passed) = time_flies(connection).await;
        ended.expect("it is our task").expect("the connection ends in order");
        let waited = if is_used { 20 } else { 60 };
        assert!((waited - 1..waited + 3).contains(&passed.as_secs()), "{passed:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_body_that_stalls_is_given_up_after_what_is_said() {
    let upstream = Upstream::start().await;
    for keys in [", socketOptions: {readTimeoutMs: 5000}", ", socketOptions: {writeTimeoutMs: 5000}"] {
        let app = TestApp::start_here(&one_router(&format!("/svc/* => {}", upstream.path()), keys)).await;
        let mut client = app.client().await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n012").await;
        let mut conn = upstream.accept().await;
        conn.head().await;
        let ((), passed) = time_flies(client.assert_gone()).await;
        assert!((5..11).contains(&passed.as_secs()), "{keys}: {passed:?}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn by_default_a_listener_has_ten_thousand_connections() {
    let config = crate::support::read(&routing_to("/$/io.buoyant.http.status/204"));
    assert_eq!(config.routers[0].servers[0].max_connections, 10_000);
}

/// A caller that has read much of a response, so that the buffers have grown, and then reads nothing any more.
#[tokio::test(flavor = "local")]
async fn a_response_that_is_not_read_fills_no_large_buffers() {
    // How far the kernel has grown the buffer on the endpoint's side differs from run to run: 790 kB were seen once.
    const MOST: usize = 1024 * 1024;
    // The buffers of the test's own sockets, of which the kernel makes twice what is asked for.
    const OWN: usize = 128 * 1024;
    let upstream = Upstream::start().await;
    let app = TestApp::start(&routing_to(&upstream.path())).await;
    let socket = TcpSocket::new_v4().expect("sockets are left");
    socket.set_recv_buffer_size(32 * 1024).expect("the socket is open");
    let mut client = Wire::new(socket.connect(app.first_address()).await.expect("it accepts"));
    client.send(GET).await;
    let stream = upstream.accept_stream().await;
    SockRef::from(&stream).set_send_buffer_size(OWN / 2).expect("the socket is open");
    let mut conn = Wire::new(stream);
    conn.request().await;
    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
    client.head().await;
    let piece = [b'x'; 64 * 1024];
    for _ in 0..256 {
        tokio::join!(conn.writer.send(piece), client.reader.bytes(piece.len()));
    }
    let (taken, _) = time_flies(async {
        let mut taken = 0;
        loop {
            match conn.writer.send_some(&piece).await {
                0 => break taken,
                more => taken += more,
            }
        }
    })
    .await;
    assert!(taken < MOST + OWN + OWN / 2, "{taken} bytes were taken and not read");
    drop(client);
    app.stop().await;
}
