//! An endpoint that takes no more requests at once: who waits for it, how long, and who has to end.

use crate::support::http2::{FullUpstream, H2Client, H2Conn, MOST_CONNECTIONS, get, post};
use crate::support::{TestApp, Upstream, Wire, ok, one_router, speaking, time_flies, until};
use h2::Reason;
use http::Response;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

/// An app whose endpoint takes one request on a connection over HTTP/2, and whose connections are all taken by a caller
/// whose bodies do not come.
struct FullEndpoint {
    app: TestApp,
    filling: H2Client,
    full: FullUpstream,
}

impl FullEndpoint {
    async fn start(keys: &str) -> Self {
        let upstream = Upstream::start().await;
        let server = ", ip: 0.0.0.0, trust: everybody";
        let app = speaking("h2", &format!("/svc/* => {}", upstream.path()), server) + keys;
        let app = TestApp::start_here(&app).await;
        let mut filling = connect(&app, 1).await;
        let full = FullUpstream::fill(&upstream, &mut filling, post, true).await;
        Self { app, filling, full }
    }
}

/// Connects over HTTP/2 from an address of its own.
async fn connect(app: &TestApp, last: u8) -> H2Client {
    let address = ([127, 0, 0, 1], app.first_address().port()).into();
    H2Client::connect_from(IpAddr::from([127, 0, 0, last]), address).await
}

#[tokio::test(flavor = "local")]
async fn a_request_waits_for_a_stream_so_long() {
    for (keys, seconds) in [("", 1), ("  client: {streamWaitMs: 5000}\n", 5)] {
        let FullEndpoint { app, filling, full } = FullEndpoint::start(keys).await;
        let mut client = connect(&app, 2).await;
        let (answer, passed) = time_flies(client.get("web", &[])).await;
        assert_eq!((answer.status(), answer.field("l5d-retryable")), (503, Some("true")));
        assert!((seconds..seconds + 1).contains(&passed.as_secs()), "{passed:?}");
        drop((filling, full, client));
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn no_more_requests_wait_than_may() {
    let keys = "  client: {streamWaitMs: 60000, hostConnectionPool: {maxWaiters: 1}}\n";
    let FullEndpoint { app, filling, full } = FullEndpoint::start(keys).await;
    let mut client = connect(&app, 2).await;
    let mut waiting = client.begin(get("web", &[]), false).await;
    until("one waits", async || app.total("client_waiters", &[]) == 1).await;
    let answer = client.get("web", &[]).await;
    assert_eq!((answer.status(), answer.field("l5d-retryable")), (503, Some("true")));
    assert!(answer.text().contains("`hostConnectionPool.maxWaiters`"), "{}", answer.text());
    let FullUpstream { mut conns, mut calls, exchanges } = full;
    calls.remove(0).say("room").await;
    conns[0].call().await.say("served").await;
    assert_eq!(waiting.answer().await.text(), "served");
    drop((filling, exchanges, calls, conns, client));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_silent_body_ends_only_while_others_wait() {
    let FullEndpoint { app, filling, full } = FullEndpoint::start("").await;
    let FullUpstream { mut exchanges, mut conns, mut calls } = full;
    // Silent, and answered: a stream of messages may be so.
    let _answered = calls[0].begin(Response::new(()));
    exchanges[0].head().await.expect("a head comes");
    time_flies(async {
        tokio::time::sleep(Duration::from_secs(50)).await;
        exchanges[1].send("some of it", false).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
    })
    .await;
    let mut client = connect(&app, 2).await;
    let mut waiting = client.begin(get("web", &[]), false).await;
    assert_eq!(exchanges[2].refused().await, Reason::CANCEL, "the first that is silent for 60 s");
    assert_eq!(calls[2].given_up().await, Reason::CANCEL);
    conns[2].call().await.say("served").await;
    assert_eq!(waiting.answer().await.text(), "served");
    assert_eq!(app.total("stalled", &[]), 1);
    for at in [1, 3, 7] {
        exchanges[at].send("the end", true).await;
    }
    let rest = calls.into_iter().zip(&mut exchanges).enumerate();
    for (_, (call, exchange)) in rest.filter(|(at, _)| [1, 3, 7].contains(at)) {
        call.say("hi").await;
        assert_eq!(exchange.answer().await.text(), "hi");
    }
    drop((exchanges, filling, conns));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn each_address_has_its_turn() {
    let keys = "  client: {streamWaitMs: 60000}\n";
    let FullEndpoint { app, filling, full } = FullEndpoint::start(keys).await;
    let FullUpstream { exchanges, mut conns, mut calls } = full;
    let [mut many, mut few] = [connect(&app, 2).await, connect(&app, 3).await];
    let mut waiting = Vec::new();
    for name in ["first", "second", "third"] {
        waiting.push(many.begin(get("web", &[("x", name)]), false).await);
    }
    // What was begun on one connection is in order; this comes behind it.
    until("they wait", async || app.total("requests", &[]) >= 1 + MOST_CONNECTIONS as u64 + 3).await;
    waiting.push(few.begin(get("web", &[("x", "other")]), false).await);
    until("it waits", async || app.total("requests", &[]) >= 1 + MOST_CONNECTIONS as u64 + 4).await;
    let mut call = calls.remove(0);
    for expected in ["first", "other", "second", "third"] {
        call.say("hi").await;
        call = conns[0].call().await;
        assert_eq!(call.field("x"), Some(expected));
    }
    call.say("hi").await;
    for exchange in &mut waiting {
        assert_eq!(exchange.answer().await.text(), "hi");
    }
    drop((filling, exchanges, calls, waiting));
    app.stop().await;
}

const GET: &str = "GET / HTTP/1.1\r\nHost: web\r\n\r\n";

/// Begins a request, and waits until the upstream has it on a new connection.
async fn begun(app: &TestApp, upstream: &Upstream) -> (Wire, Wire) {
    let mut client = app.client().await;
    client.send(GET).await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    (client, conn)
}

#[tokio::test(flavor = "local")]
async fn a_request_waits_for_a_connection_so_long() {
    let upstream = Upstream::start().await;
    let keys = "  client: {hostConnectionPool: {maxSize: 2}, streamWaitMs: 3000}\n";
    let app = TestApp::start_here(&(one_router(&format!("/svc/* => {}", upstream.path()), "") + keys)).await;
    let [(mut first, mut conn), (mut second, mut other)] =
        [begun(&app, &upstream).await, begun(&app, &upstream).await];
    let mut client = app.client().await;
    let (response, passed) = time_flies(client.ask(GET)).await;
    assert_eq!((response.status(), response.field("l5d-retryable")), (503, Some("true")));
    assert_eq!(passed.as_secs(), 3);
    upstream.assert_unreached().await;
    client.send(GET).await;
    conn.send(ok("hi")).await;
    assert_eq!(first.response().await.text(), "hi");
    conn.request().await;
    conn.send(ok("there is room")).await;
    assert_eq!(client.response().await.text(), "there is room");
    other.send(ok("hi")).await;
    assert_eq!(second.response().await.text(), "hi");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn room_on_one_worker_is_found_by_the_others() {
    let upstream = Upstream::start().await;
    let keys = "  client: {hostConnectionPool: {maxSize: 1}, streamWaitMs: 10000}\n";
    let yaml = one_router(&format!("/svc/* => {}", upstream.path()), "") + keys;
    let app = TestApp::start_workers(&yaml, 2).await;
    let (mut first, mut conn) = begun(&app, &upstream).await;
    let mut others = [app.client().await, app.client().await];
    for client in &mut others {
        client.send(GET).await;
    }
    until("they wait", async || app.total("requests", &[]) == 3).await;
    upstream.assert_unreached().await;
    conn.send(ok("hi")).await;
    assert_eq!(first.response().await.text(), "hi");
    // One is on the same worker, and has its connection; the other has one of its own.
    for _ in 0..2 {
        let mut next = tokio::select! {
            next = upstream.accept() => next,
            _ = conn.reader.next_request() => { conn.send(ok("hi")).await; continue }
        };
        next.request().await;
        next.send(ok("hi")).await;
    }
    for client in &mut others {
        assert_eq!(client.response().await.text(), "hi");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_is_given_back_wakes_other_workers() {
    const TURNS: usize = 20;
    let upstream = Upstream::start().await;
    let keys = "  client: {hostConnectionPool: {maxSize: 1}, streamWaitMs: 10000}\n";
    let yaml = one_router(&format!("/svc/* => {}", upstream.path()), "") + keys;
    let app = TestApp::start_workers(&yaml, 2).await;
    // Each on a worker of its own: connections are spread evenly.
    let mut clients = [app.client().await, app.client().await];
    clients[0].send(GET).await;
    let mut conns = vec![upstream.accept().await];
    conns[0].request().await;
    let began = tokio::time::Instant::now();
    for turn in 0..TURNS {
        let (now, next) = (turn % 2, (turn + 1) % 2);
        clients[next].send(GET).await;
        until("it waits", async || {
            app.client().await;
            app.total("client_waiters", &[]) == 1
        })
        .await;
        conns[now].send(ok("hi")).await;
        assert_eq!(clients[now].response().await.text(), "hi");
        if turn == 0 {
            conns.push(upstream.accept().await);
        }
        conns[next].request().await;
    }
    // One that looks by itself does so every 250 ms.
    let (passed, slow) = (began.elapsed(), Duration::from_millis(250) * TURNS as u32 / 4);
    assert!(passed < slow, "{passed:?}");
    conns[TURNS % 2].send(ok("hi")).await;
    assert_eq!(clients[TURNS % 2].response().await.text(), "hi");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_silent_body_to_an_endpoint_over_http1_ends_while_others_wait() {
    let upstream = Upstream::start().await;
    let keys = "  client: {hostConnectionPool: {maxSize: 1}}\n";
    let app = TestApp::start_here(&(one_router(&format!("/svc/* => {}", upstream.path()), "") + keys)).await;
    let mut client = app.h2_client().await;
    let mut silent = client.begin(post(), true).await;
    let mut conn = upstream.accept().await;
    conn.head().await;
    time_flies(tokio::time::sleep(Duration::from_secs(61))).await;
    let mut waiting = app.client().await;
    waiting.send(GET).await;
    assert_eq!(silent.refused().await, Reason::CANCEL);
    conn.assert_gone().await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send(ok("hi")).await;
    assert_eq!(waiting.response().await.text(), "hi");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_silent_body_on_one_worker_ends_while_a_request_waits_on_another() {
    let upstream = Upstream::start().await;
    let keys = "  client: {hostConnectionPool: {maxSize: 1}, streamWaitMs: 10000}\n";
    let server = ", socketOptions: {readTimeoutMs: 100}, serverSession: {idleTimeMs: 60000}";
    let yaml = speaking("http", &format!("/svc/* => {}", upstream.path()), server) + keys;
    let app = TestApp::start_workers(&yaml, 2).await;
    // Each on a worker of its own: connections are spread evenly.
    let mut client = app.h2_client().await;
    let mut waiting = app.client().await;
    let mut silent = client.begin(post(), true).await;
    let mut conn = upstream.accept().await;
    conn.head().await;
    waiting.send(GET).await;
    assert_eq!(silent.refused().await, Reason::CANCEL);
    conn.assert_gone().await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send(ok("hi")).await;
    assert_eq!(waiting.response().await.text(), "hi");
    app.stop().await;
}

/// Nobody is trusted here.
const STRANGERS: &str = ", ip: 0.0.0.0, trust: nobody";

#[tokio::test(flavor = "local")]
async fn one_address_of_strangers_leaves_connections_for_others() {
    let upstream = Upstream::start().await;
    let keys = "  client: {hostConnectionPool: {maxSize: 18}}\n";
    let yaml = speaking("http", &format!("/svc/* => {}", upstream.path()), STRANGERS);
    let app = TestApp::start_here(&(yaml + keys)).await;
    let mut many = connect(&app, 2).await;
    let (mut begun, mut conns) = (Vec::new(), Vec::new());
    for _ in 0..16 {
        begun.push(many.begin(get("web", &[]), false).await);
        let mut conn = upstream.accept().await;
        conn.request().await;
        conns.push(conn);
    }
    // Two are free, for each of which it may have eight.
    let (refused, passed) = time_flies(many.get("web", &[])).await;
    assert_eq!((refused.status(), passed.as_secs()), (503, 0));
    let mut few = connect(&app, 3).await;
    for _ in 0..2 {
        begun.push(few.begin(get("web", &[]), false).await);
        let mut conn = upstream.accept().await;
        conn.request().await;
        conns.push(conn);
    }
    for (conn, exchange) in conns.iter_mut().zip(&mut begun) {
        conn.send(ok("hi")).await;
        assert_eq!(exchange.answer().await.text(), "hi");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn one_address_of_strangers_leaves_streams_for_others() {
    let upstream = Upstream::start().await;
    let trusted = ", ip: 0.0.0.0, trust: {from: [127.0.0.4]}";
    let yaml = speaking("h2", &format!("/svc/* => {}", upstream.path()), trusted);
    let app = TestApp::start_here(&yaml).await;
    let mut settings = h2::server::Builder::new();
    settings.max_concurrent_streams(3);
    let mut many = connect(&app, 2).await;
    // The first tells what is allowed: three streams on each of eight connections.
    let (answer, first) = tokio::join!(many.get("web", &[]), async {
        let mut conn = H2Conn::accept_with(&upstream, &settings).await;
        conn.call().await.say("hi").await;
        conn
    });
    answer.assert_status(200);
    let (mut conns, mut calls, mut begun) = (vec![first], Vec::new(), Vec::new());
    let mut begin = async |client: &mut H2Client| {
        begun.push(client.begin(get("web", &[]), false).await);
        let at = calls.len() / 3;
        if at == conns.len() {
            conns.push(H2Conn::accept_with(&upstream, &settings).await);
        }
        calls.push(conns[at].call().await);
    };
    for _ in 0..22 {
        begin(&mut many).await;
    }
    let (refused, passed) = time_flies(many.get("web", &[])).await;
    assert_eq!((refused.status(), passed.as_secs()), (503, 0));
    // An address with few has the last but one, and a caller that is trusted the last.
    begin(&mut connect(&app, 3).await).await;
    begin(&mut connect(&app, 4).await).await;
    for (call, exchange) in calls.into_iter().zip(&mut begun) {
        call.say("hi").await;
        assert_eq!(exchange.answer().await.text(), "hi");
    }
    drop((begun, conns));
    app.stop().await;
}

/// All requests find the endpoint free, and wait together until there is a connection.
#[tokio::test(flavor = "local")]
async fn a_crowd_from_one_address_leaves_streams_for_others() {
    let upstream = Rc::new(Upstream::start().await);
    let yaml = speaking("h2", &format!("/svc/* => {}", upstream.path()), STRANGERS);
    let app = TestApp::start_here(&yaml).await;
    let held = Rc::new(RefCell::new(Vec::new()));
    let (serving, holding) = (Rc::clone(&upstream), Rc::clone(&held));
    let endpoint = tokio::task::spawn_local(async move {
        let mut settings = h2::server::Builder::new();
        settings.max_concurrent_streams(3);
        loop {
            let mut conn = H2Conn::accept_with(&serving, &settings).await;
            let holding = Rc::clone(&holding);
            tokio::task::spawn_local(async move {
                loop {
                    let call = conn.call().await;
                    match call.field("x") {
                        Some("few") => call.say("hi").await,
                        _ => holding.borrow_mut().push(call),
                    }
                }
            });
        }
    });
    let (mut many, mut few) = (connect(&app, 2).await, connect(&app, 3).await);
    let mut crowd = Vec::new();
    for _ in 0..40 {
        crowd.push(many.begin(get("web", &[]), false).await);
    }
    until("as many are there as may be", async || held.borrow().len() >= 15).await;
    for _ in 0..10 {
        assert_eq!(few.get("web", &[("x", "few")]).await.text(), "hi");
    }
    assert!(held.borrow().len() < 24, "{}", held.borrow().len());
    endpoint.abort();
    held.borrow_mut().clear();
    drop((crowd, many, few));
    app.stop().await;
}
