//! Requests that are not carried: the answers that callers get.

use crate::support::{
    Message, Names, Service, Serving, TestApp, Upstream, Wire, address, dead_address, ok, one_router,
    routing_to, time_flies, until, with_servers,
};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Undoes the encoding of `l5d-err`.
fn l5d_err(response: &Message) -> String {
    let mut text = Vec::new();
    let mut bytes = response.field("l5d-err").expect("an answer made here says so").bytes();
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex: String = bytes.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&hex, 16).expect("% is followed by two digits")
            }
            byte => byte,
        });
    }
    String::from_utf8(text).expect("the text was text")
}

#[tokio::test(flavor = "local")]
async fn a_request_that_nothing_names_is_the_callers_fault() {
    let service = Service::saying("hi").await;
    let yaml = routing_to(&service.path()) + "  identifier: {kind: io.l5d.header.token, header: x-who}\n";
    let app = TestApp::start_here(&yaml).await;
    let mut client = app.client().await;
    let response = client.get("a", "").await;
    response.assert_status(400);
    assert_eq!(response.text(), "Unknown destination: x-who header is absent\n");
    assert_eq!(l5d_err(&response), response.text().trim_end());
    client.get("a", "X-Who: me\r\n").await.assert_status(200);
    assert_eq!(app.total("caller_faults", &[]), 1);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_typo_in_an_override_is_pointed_at() {
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&routing_to(&upstream.path())).await;
    let mut client = app.client().await;
    for header in ["l5d-dtab", "l5d-ctx-dtab", "L5D-Dtab"] {
        let response = client.get("a", &format!("{header}: /host/world = /srv/world-v2;\r\n")).await;
        response.assert_status(400);
        let lines: Vec<_> = response.text().lines().collect();
        let shown =
            lines.iter().position(|line| line.contains("/host/world = /srv/world-v2")).expect("the line");
        let column = lines[shown].find("= /srv").expect("the typo");
        assert_eq!(lines[shown + 1].find('^'), Some(column), "{response:?}");
        assert!(response.text().contains(&header.to_lowercase()), "{response:?}");
        assert_eq!(l5d_err(&response), response.text().trim_end());
    }
    upstream.assert_unreached().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn overrides_over_their_bounds_are_refused() {
    let upstream = Upstream::start().await;
    let yaml = routing_to(&upstream.path()) + "  maxHeadersKB: 64\n";
    let app = TestApp::start_here(&yaml).await;
    let mut client = app.client().await;
    let entries = |count: usize| "/a => /b;".repeat(count);
    let response =
        client.get("a", &format!("l5d-ctx-dtab: {}\r\nl5d-dtab: {}\r\n", entries(50), entries(51))).await;
    response.assert_status(400);
    assert!(response.text().contains("100 entries"), "{response:?}");
    let response = client.get("a", &format!("l5d-dtab: /a => /{}\r\n", "b".repeat(8192))).await;
    response.assert_status(400);
    assert!(response.text().contains("8192 bytes"), "{response:?}");
    upstream.assert_unreached().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_name_that_leads_nowhere_is_shown_with_both_dtabs() {
    let table = [
        ("nobody", ""),
        ("failing", ""),
        ("nil", ""),
        ("neg", ""),
        ("bang", ""),
        ("empty", ""),
        ("known", "l5d-dtab: /svc/known => /svc/nobody | !\r\n"),
    ];
    let app = TestApp::start_here(&one_router(
        "/svc/known => /$/inet/127.0.0.1/1; /svc/failing => /$/fail; /svc/nil => /$/nil; /svc/neg => ~; \
         /svc/bang => ! | /svc/known; /svc/empty => $",
        "",
    ))
    .await;
    let mut client = app.client().await;
    for (host, fields) in table {
        let response = client.get(host, fields).await;
        response.assert_status(502);
        let text = response.text();
        assert!(text.starts_with("Unable to route request!"), "{response:?}");
        for part in
            [&format!("service name: /svc/{host}"), "base dtab:", "/svc/nil => /$/nil", "override dtab:"]
        {
            assert!(text.contains(part), "{part}: {response:?}");
        }
        assert_eq!(text.contains("/svc/known => /svc/nobody | !"), !fields.is_empty(), "{response:?}");
        assert_eq!(response.field("l5d-retryable"), None);
        assert_eq!(l5d_err(&response).trim_end(), text.trim_end());
    }
    assert_eq!(app.total("router_faults", &[]), table.len() as u64);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_error_says_where_the_name_ended_or_by_which_id_it_is_found() {
    let dtab = "/svc => /host; /host => /srv; /srv/failing => /$/inet/1.2.3.4";
    let app = TestApp::start_here(&with_servers(dtab, &["", ", trust: nobody"])).await;
    let is_id = |id: &str| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (mut trusted, mut stranger) = (app.client_of("http", 0).await, app.client_of("http", 1).await);
    for (host, end) in [
        ("web", "ended at:\n  /srv/web (/host => /srv): no such name\n"),
        (
            "failing",
            "ended at:\n  /$/inet/1.2.3.4 (/srv/failing => /$/inet/1.2.3.4): failed: /$/inet/1.2.3.4: the port",
        ),
    ] {
        let response = trusted.get(host, "x-request-id: my-own\r\n").await;
        response.assert_status(502);
        assert!(response.text().contains(end), "{}", response.text());
        assert_eq!(response.field("x-request-id"), Some("my-own"));
        assert!(trusted.get(host, "").await.field("x-request-id").is_some_and(is_id));

        let response = stranger.get(host, "x-request-id: my-own\r\n").await;
        response.assert_status(502);
        assert!(!response.text().contains("srv"), "{}", response.text());
        assert!(response.field("x-request-id").is_some_and(is_id), "{response:?}");
    }
    // Where the caller is at fault, it needs none.
    let response = trusted.get("web", "l5d-dtab: /a\r\n").await;
    response.assert_status(400);
    assert_eq!(response.field("x-request-id"), None);
    app.stop().await;
}

/// The log is that of a process: tests in one process share theirs.
#[tokio::test(flavor = "local")]
async fn the_log_says_why_a_request_was_not_carried_once_a_second_for_each_listener() {
    let names = Names::new();
    let file = format!("{}/config.yaml", names.path());
    fs::write(&file, with_servers("/svc => /nowhere", &["", ", trust: nobody"]))
        .expect("the folder is there");
    let mut serving = Serving::start(&["run", &file]);
    let lines = serving.until(" admin address=").await;
    let servers: Vec<SocketAddr> = lines
        .iter()
        .filter(|line| line.contains(" serving "))
        .map(|line| address(std::slice::from_ref(line), " serving "))
        .collect();
    let mut clients = Vec::new();
    for server in &servers {
        clients.push(Wire::connect(*server).await);
    }
    let is_of = |line: &str, server: &SocketAddr, host: &str, response: &Message| {
        let id = response.field("x-request-id").expect("it has one");
        let parts =
            ["INFO", "router=\"http\"", &format!("127.0.0.1/{}", server.port()), id, &format!("/svc/{host}")];
        parts.iter().all(|part| line.contains(part))
    };
    const SAID: &str = "a request was not carried: ";

    // A caller that is at fault is not worth a line.
    clients[0].get("wrong", "l5d-dtab: /a\r\n").await.assert_status(400);
    let began = Instant::now();
    for (at, server) in servers.iter().enumerate() {
        let response = clients[at].get("first", "").await;
        let lines = serving.until(SAID).await;
        assert_eq!(lines.iter().filter(|line| line.contains(SAID)).count(), 1, "{lines:#?}");
        let line = lines.last().expect("the line itself");
        assert!(is_of(line, server, "first", &response) && line.contains("skipped=0"), "{line} {response:?}");
    }
    // Those of the same second are only counted, and the next line says how many. A machine that is busy may let a
    // second pass in between; then a line skips none, and the one after it is awaited.
    for said in 1.. {
        let lines = {
            let mut saying = pin!(serving.until(SAID));
            loop {
                tokio::select! {
                    lines = &mut saying => break lines,
                    response = clients[0].get("later", "") => response.assert_status(502),
                }
            }
        };
        assert!(said <= began.elapsed().as_secs(), "one a second: {:?}", began.elapsed());
        let line = lines.last().expect("the line itself");
        assert!(line.contains("/svc/later"), "{line}");
        if !line.contains("skipped=0") {
            break;
        }
    }
    assert_eq!(serving.end("TERM").await, Some(0));
}

#[tokio::test(flavor = "local")]
async fn a_bound_of_delegation_does_not_fall_back_in_silence() {
    let service = Service::saying("production").await;
    let app = TestApp::start_here(&routing_to(&service.path())).await;
    let mut client = app.client().await;
    assert_eq!(client.get("good", "").await.text(), "production");
    let response = client.get("good", "l5d-dtab: /a => /a; /svc/good => /a\r\n").await;
    response.assert_status(502);
    assert_eq!(service.count(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_answer_can_be_a_status() {
    let app = TestApp::start_here(&one_router(
        "/svc/gone => /$/io.buoyant.http.status/410; /svc/done => /$/io.buoyant.http.status/204",
        "",
    ))
    .await;
    let mut client = app.client().await;
    let response = client.get("gone", "").await;
    assert_eq!((response.first_line(), response.text()), ("HTTP/1.1 410 Gone", ""));
    client.get("done", "").await.assert_status(204);
    let post = |length: usize| {
        format!("POST / HTTP/1.1\r\nHost: done\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length))
    };
    for length in [0, 5, 20_000] {
        client.ask(post(length)).await.assert_status(204);
    }
    client.get("gone", "").await.assert_status(410);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_answer_made_here_does_not_wait_for_a_body() {
    let app = TestApp::start_here(&one_router("/svc/done => /$/io.buoyant.http.status/204", "")).await;
    for (host, status) in [("done", 204), ("nobody", 502)] {
        for body in [
            "Content-Length: 1000000\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Expect: 100-continue\r\nContent-Length: 5\r\n",
        ] {
            let mut client = app.client().await;
            let response = client.ask(format!("PUT / HTTP/1.1\r\nHost: {host}\r\n{body}\r\n")).await;
            assert_eq!(response.status(), status, "{body:?}");
            assert_eq!(response.field("connection"), Some("close"), "{body:?}: where it ends is not known");
            client.assert_ended().await;
        }
        let mut client = app.client().await;
        client.send(format!("HEAD / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(client.head().await.status(), status);
        client.get(host, "").await.assert_status(status);
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_refused_connection_is_the_upstreams_fault() {
    let (address, _held) = dead_address();
    let app = TestApp::start_here(&routing_to(&format!("/$/inet/127.0.0.1/{}", address.port()))).await;
    let mut client = app.client().await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", post, post] {
        let response = client.ask(request).await;
        response.assert_status(502);
        let refused = format!("Unable to establish connection to {address}: ");
        assert!(response.text().starts_with(&refused), "{response:?}");
        assert_eq!(response.field("l5d-retryable"), Some("true"), "nothing was sent");
    }
    assert_eq!(app.total("upstream_faults", &[]), 3);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_dead_endpoint_is_passed_over() {
    let (names, service) = (Names::new(), Service::saying("alive").await);
    let (dead, _held) = dead_address();
    names.write("world", &[dead, service.address()]);
    let app = TestApp::start_here(&(one_router("/svc => /#/io.l5d.fs", "") + &names.namer())).await;
    let mut client = app.client().await;
    for _ in 0..50 {
        let post = "POST / HTTP/1.1\r\nHost: world\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(client.ask(post).await.text(), "alive", "nothing was sent, so even a POST can go on");
    }
    assert_eq!(service.count(), 50);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_name_that_is_not_resolved_in_time_may_be_tried_again() {
    let (names, service) = (Names::new(), Service::saying("hi").await);
    names.write("world", &[service.address()]);
    let yaml = one_router("/svc => /#/io.l5d.fs", "") + "  bindingTimeoutMs: 50\n" + &names.namer();
    let app = TestApp::start_workers(&yaml, 1).await;
    // Asked from this very thread, which is where control runs: while it waits, no namer can answer.
    let response =
        ask_blocking(app.address("http", 0), "GET / HTTP/1.1\r\nHost: world\r\nConnection: close\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{response}");
    assert!(
        response.contains("Exceeded 50ms binding timeout while resolving name: /svc/world"),
        "{response}"
    );
    assert!(response.contains("l5d-retryable: true\r\n"), "{response}");
    let mut client = app.client().await;
    until("it is resolved", async || client.get("world", "").await.text() == "hi").await;
    app.stop().await;
}

/// Asks without letting anything else run on this thread; returns what comes until the connection is closed.
fn ask_blocking(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it accepts connections");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("the socket is open");
    stream.write_all(request.as_bytes()).expect("it takes requests");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("it answers with text");
    response
}

#[tokio::test(flavor = "local")]
async fn a_response_that_takes_too_long_is_not_awaited() {
    let upstream = Upstream::start().await;
    let yaml = one_router(&format!("/svc/* => {}", upstream.path()), ", timeoutMs: 7000");
    let app = TestApp::start_here(&yaml).await;
    let mut client = app.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    let request = conn.request().await;
    let (response, passed) = time_flies(client.response()).await;
    response.assert_status(504);
    assert_eq!(response.field("l5d-retryable"), None, "it was sent, and may have been heard");
    assert!((6..9).contains(&passed.as_secs()), "{passed:?}");
    conn.assert_gone().await;
    assert!(request.field("l5d-ctx-deadline").is_some(), "the upstream is told how long it has");

    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send(ok("in time")).await;
    assert_eq!(client.response().await.text(), "in time");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_deadline_that_has_passed_is_not_pursued() {
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&routing_to(&upstream.path())).await;
    let mut client = app.client().await;
    let response = client.get("a", "l5d-ctx-deadline: 1500000000000000000 1500000001000000000\r\n").await;
    response.assert_status(504);
    assert!(response.text().contains("deadline"), "{response:?}");
    upstream.assert_unreached().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_router_waits_no_longer_than_the_caller() {
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&routing_to(&upstream.path())).await;
    let mut client = app.client().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_nanos();
    let deadline = now + Duration::from_secs(100).as_nanos();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nl5d-ctx-deadline: {now} {deadline}\r\n\r\n")).await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    let (response, passed) = time_flies(client.response()).await;
    response.assert_status(504);
    assert!((60..=101).contains(&passed.as_secs()), "{passed:?}");
    conn.assert_gone().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_is_too_much_at_once_is_refused_over_all_workers() {
    let upstream = Upstream::start().await;
    let yaml = one_router(&format!("/svc/* => {}", upstream.path()), ", maxConcurrentRequests: 3");
    let app = TestApp::start_workers(&yaml, 2).await;
    let mut served = Vec::new();
    for _ in 0..3 {
        let mut client = app.client().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut conn = upstream.accept().await;
        conn.request().await;
        served.push((client, conn));
    }
    for _ in 0..4 {
        let response = app.client().await.get("a", "").await;
        response.assert_status(503);
        assert_eq!(response.field("l5d-retryable"), Some("true"));
    }
    upstream.assert_unreached().await;
    for (client, conn) in &mut served {
        conn.send(ok("done")).await;
        assert_eq!(client.response().await.text(), "done");
    }
    // Only now: a connection whose answer is out has given back its permit, or gives it back before it reads on.
    let (mut clients, conns): (Vec<_>, Vec<_>) = served.into_iter().unzip();
    drop(conns);
    clients[0].send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send(ok("again")).await;
    assert_eq!(clients[0].response().await.text(), "again");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn untrusted_callers_learn_nothing_internal() {
    let inner = Service::start(async |request| match request.first_line().split(' ').nth(1) {
        Some("/error") => {
            "HTTP/1.1 502 Bad Gateway\r\nl5d-err: secret\r\nL5D_Retryable: true\r\nl5d-success-class: 1.0\r\n\
             Content-Length: 6\r\n\r\nsecret"
        }
        _ => "HTTP/1.1 200 OK\r\nl5d-success-class: 1.0\r\nL5d-Anything: secret\r\nContent-Length: 2\r\n\r\nhi",
    }
    .to_owned())
    .await;
    let (dead, _held) = dead_address();
    let dtab = format!("/svc/dead => /$/inet/127.0.0.1/{}; /svc/inner => {}", dead.port(), inner.path());
    let app = TestApp::start_here(&one_router(&dtab, ", trust: nobody, maxCallDepth: 5")).await;
    let mut client = app.client().await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: nobody\r\n\r\n", 502),
        ("GET / HTTP/1.1\r\nHost: dead\r\n\r\n", 502),
        ("GET / HTTP/1.1\r\nHost: inner\r\nVia: a,b,c,d,e,f\r\n\r\n", 400),
        ("GET /error HTTP/1.1\r\nHost: inner\r\n\r\n", 502),
        ("GET /fine HTTP/1.1\r\nHost: inner\r\nl5d-dtab: not a dtab\r\n\r\n", 200),
    ] {
        let response = client.ask(request).await;
        response.assert_status(status);
        let names = response.field_names();
        assert!(!names.iter().any(|name| name.starts_with("l5d")), "{request:?}: {response:?}");
        for inside in ["/svc", "/$", "127.0.0.1", "secret", "dtab"] {
            assert!(!response.text().contains(inside), "{request:?}: {response:?}");
        }
    }
    let response = client.ask("GET /error HTTP/1.1\r\nHost: inner\r\n\r\n").await;
    assert_eq!((response.field("content-length"), response.text()), (Some("0"), ""));
    app.stop().await;
}
