//! One request in, one out, over real sockets: heads, connections, versions, targets.

use crate::support::{Service, TestApp, Upstream, ok, one_router, routing_to};

#[tokio::test(flavor = "local")]
async fn a_request_and_its_response_pass_as_they_came() {
    let upstream = Upstream::start().await;
    let app = TestApp::start(&routing_to(&upstream.path())).await;
    let mut client = app.client().await;
    let fields = ["Host: hello", "X-Mixed-Case:  Kept \t", "accept: */*", "Accept: b", "Content-Length: 5"];
    client.send(format!("PATCH /a//b?c=%20d&e HTTP/1.1\r\n{}\r\n\r\nhello", fields.join("\r\n"))).await;

    let mut conn = upstream.accept().await;
    let request = conn.request().await;
    assert_eq!(request.first_line(), "PATCH /a//b?c=%20d&e HTTP/1.1");
    assert_eq!(request.field_lines()[..5], fields, "bytes, case and order are kept");
    assert_eq!(request.text(), "hello");

    let fields = ["Server: odd", "Set-Cookie: a=b", "set-cookie: c=d"];
    conn.send(format!("HTTP/1.1 299 Odd One\r\n{}\r\nContent-Length: 2\r\n\r\nhi", fields.join("\r\n")))
        .await;
    let response = client.response().await;
    assert_eq!(response.first_line(), "HTTP/1.1 299 Odd One");
    assert_eq!(response.field_lines()[..3], fields);
    assert_eq!(response.field_lines()[3..], ["Content-Length: 2", "Via: 1.1 signpost"], "and nothing more");
    assert_eq!(response.text(), "hi");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn both_connections_are_kept() {
    let service = Service::saying("hi").await;
    let app = TestApp::start_here(&routing_to(&service.path())).await;
    let mut client = app.client().await;
    for _ in 0..5 {
        assert_eq!(client.get("a", "").await.text(), "hi");
    }
    let mut other = app.client().await;
    assert_eq!(other.get("b", "").await.text(), "hi", "another name, another caller, the same endpoint");
    assert_eq!((service.count(), service.connections()), (6, 1));
    let listener = [("router", "http")];
    for (name, total) in [("connections", 2), ("requests", 6), ("success", 6), ("caller_faults", 0)] {
        assert_eq!(app.total(name, &listener), total, "{name}");
    }
    app.stop().await;
    client.assert_ended().await;
}

#[tokio::test(flavor = "local")]
async fn a_connection_is_not_kept_when_either_side_says_so() {
    let service = Service::start(async |request| match request.field("x-answer") {
        Some(field) => format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 2\r\n\r\nhi"),
        None => ok("hi"),
    })
    .await;
    let app = TestApp::start(&routing_to(&service.path())).await;

    let mut client = app.client().await;
    let response = client.get("a", "Connection: close\r\n").await;
    assert_eq!(response.field("connection"), Some("close"));
    client.assert_ended().await;

    let mut client = app.client().await;
    let response = client.get("a", "X-Answer: Connection: Close\r\n").await;
    assert_eq!(response.field("connection"), None, "the upstream's connection is not the caller's");
    assert_eq!(service.connections(), 1, "the caller's close was not the upstream's either");
    client.get("a", "").await.assert_status(200);
    assert_eq!(service.connections(), 2);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::start().await;
    let app = TestApp::start(&routing_to(&upstream.path())).await;
    let mut client = app.client().await;
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    client.send([&get("/1"), post, &get("/3")].concat()).await;
    let mut conn = upstream.accept().await;
    for (target, body) in [("/1", ""), ("/2", "abc"), ("/3", "")] {
        let request = conn.request().await;
        assert_eq!((request.first_line().split(' ').nth(1), request.text()), (Some(target), body));
        conn.send(ok(target)).await;
        assert_eq!(client.response().await.text(), target);
    }
    upstream.assert_unreached().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn nothing_is_read_behind_a_last_request() {
    let service = Service::saying("hi").await;
    let app = TestApp::start(&routing_to(&service.path())).await;
    let mut client = app.client().await;
    let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client.send(format!("{last}GET /never HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    client.response().await.assert_status(200);
    client.assert_gone().await;
    assert_eq!(service.count(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn answers_are_not_mixed_up() {
    let service = Service::start(async |request| ok(request.first_line())).await;
    let app = TestApp::start_workers(&routing_to(&service.path()), 2).await;
    let mut asking = tokio::task::JoinSet::new();
    for caller in 0..20 {
        let mut client = app.client().await;
        asking.spawn_local(async move {
            for at in 0..20 {
                let line = format!("GET /{caller}/{at} HTTP/1.1");
                assert_eq!(client.ask(format!("{line}\r\nHost: {at}\r\n\r\n")).await.text(), line);
            }
        });
    }
    asking.join_all().await;
    assert_eq!(service.count(), 400);
    assert!(service.connections() <= 20, "{} connections for 20 callers", service.connections());
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn bytes_that_come_one_by_one_mean_the_same() {
    let upstream = Upstream::start().await;
    let app = TestApp::start(&routing_to(&upstream.path())).await;
    let mut client = app.client().await;
    let request = "\r\nPOST /a HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;x=y\r\nabc\r\n02\r\nde\r\n0\r\nX: 1\r\n\r\n";
    let response = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                    2\r\nhi\r\n0\r\nY: 2\r\n\r\n";
    for _ in 0..2 {
        for byte in request.bytes() {
            client.send([byte]).await;
            tokio::task::yield_now().await;
        }
    }
    let mut conn = upstream.accept().await;
    for _ in 0..2 {
        let received = conn.request().await;
        assert_eq!((received.text(), &received.trailers[..]), ("abcde", &["X: 1".to_owned()][..]));
        for byte in response.bytes() {
            conn.send([byte]).await;
            tokio::task::yield_now().await;
        }
        client.response().await.assert_status(100);
        let received = client.response().await;
        assert_eq!((received.text(), &received.trailers[..]), ("hi", &["Y: 2".to_owned()][..]));
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_head_request_gets_a_length_and_no_body() {
    let upstream = Upstream::start().await;
    let app = TestApp::start(&routing_to(&upstream.path())).await;
    let mut client = app.client().await;
    client.send("HEAD /long HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    assert_eq!(conn.request().await.first_line(), "HEAD /long HTTP/1.1");
    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
    assert_eq!(client.head().await.field("content-length"), Some("1000000"));

    client.send("HEAD /chunked HTTP/1.1\r\nHost: a\r\n\r\n").await;
    conn.request().await;
    conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.head().await.assert_status(200);

    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
    conn.request().await;
    conn.send(ok("next")).await;
    assert_eq!(client.response().await.text(), "next", "nothing was taken for a body");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn some_statuses_have_no_body() {
    let upstream = Upstream::start().await;
    let app = TestApp::start(&routing_to(&upstream.path())).await;
    let mut client = app.client().await;
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send("HTTP/1.1 204 No Content\r\nX: 1\r\nContent-Length: 5\r\n\r\n").await;
    let response = client.response().await;
    response.assert_status(204);
    assert_eq!(response.field("content-length"), None, "RFC 9110 8.6");

    client.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    conn.request().await;
    conn.send("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\n").await;
    let response = client.response().await;
    response.assert_status(304);
    assert_eq!(response.field("content-length"), Some("5"), "the length of what was not modified");

    client.send("GET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    conn.request().await;
    conn.send(ok("3")).await;
    assert_eq!(client.response().await.text(), "3");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_old_client_has_its_connection_closed_unless_it_asks() {
    let service = Service::saying("hi").await;
    let app = TestApp::start(&routing_to(&service.path())).await;
    let mut client = app.client().await;
    let response = client.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert_eq!((response.text(), response.field("content-length")), ("hi", Some("2")));
    client.assert_ended().await;

    let mut client = app.client().await;
    for _ in 0..2 {
        let response = client.ask("GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n").await;
        assert_eq!((response.text(), response.field("connection")), ("hi", Some("keep-alive")));
    }
    let requests = service.take_requests();
    assert_eq!(service.connections(), 1, "to the upstream the router speaks HTTP/1.1");
    for request in requests {
        assert_eq!(request.first_line(), "GET / HTTP/1.1");
        assert_eq!(request.field("via"), Some("1.0 signpost"), "the version it came in");
        assert_eq!(request.field("connection"), None);
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_old_client_gets_no_chunks() {
    let service = Service::start(async |_| {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nT: 1\r\n\r\n"
            .to_owned()
    })
    .await;
    let app = TestApp::start(&routing_to(&service.path())).await;
    let mut client = app.client().await;
    let response = client.ask("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").await;
    assert_eq!((response.field("transfer-encoding"), response.field("connection")), (None, Some("close")));
    assert_eq!(response.text(), "hello", "delimited by the end of the connection");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_old_client_may_send_no_host() {
    let service = Service::saying("hi").await;
    let yaml = routing_to(&service.path()) + "  identifier: {kind: io.l5d.static, path: /x}\n";
    let app = TestApp::start(&yaml).await;
    let mut client = app.client().await;
    client.ask("GET / HTTP/1.0\r\n\r\n").await.assert_status(200);
    let requests = service.take_requests();
    assert_eq!(requests[0].field("host"), Some(""), "HTTP/1.1 has a Host, be it empty");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_old_upstream_is_spoken_for() {
    let service = Service::start(async |request| match request.first_line().split(' ').nth(1) {
        Some("/length") => "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        Some("/keep") => {
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello".to_owned()
        }
        _ => panic!("{request:?}"),
    })
    .await;
    let app = TestApp::start(&routing_to(&service.path())).await;
    let mut client = app.client().await;
    for (target, connections) in [("/length", 1), ("/keep", 2), ("/keep", 2)] {
        let response = client.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(
            response.first_line(),
            "HTTP/1.1 200 OK",
            "the version is the sender's own (RFC 9112 2.3)"
        );
        assert_eq!((response.field("via"), response.field("connection")), (Some("1.0 signpost"), None));
        assert_eq!((response.text(), service.connections()), ("hello", connections));
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_speaks_of_one_connection_is_not_passed_on() {
    let service = Service::start(async |_| {
        "HTTP/1.1 200 OK\r\nConnection: x-hop, keep-alive, Content-Length\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Authenticate: Basic\r\nProxy-Connection: keep-alive\r\nTrailer: A\r\nUpgrade: h2c\r\nX-Kept: 1\r\n\
         Content-Length: 2\r\n\r\nhi"
            .to_owned()
    })
    .await;
    let app = TestApp::start(&routing_to(&service.path())).await;
    let mut client = app.client().await;
    let response = client
        .get(
            "a",
            "Connection: X-Hop, close-not, host, content-length, via, l5d-dst-service\r\nx-hop: 1\r\n\
             Keep-Alive: 300\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: secret\r\nTE: trailers\r\n\
             Trailer: A\r\nUpgrade: websocket\r\nVia: 1.1 before\r\nX-Kept: 1\r\n",
        )
        .await;
    assert_eq!(response.field_names(), ["content-length", "via", "x-kept"]);
    assert_eq!(response.text(), "hi");
    let request = service.take_requests().remove(0);
    let ours = ["l5d-ctx-trace", "l5d-dst-client", "l5d-dst-service", "l5d-reqid"];
    let names: Vec<_> =
        request.field_names().into_iter().filter(|name| !ours.contains(&name.as_str())).collect();
    assert_eq!(names, ["connection", "host", "te", "via", "x-kept"]);
    assert_eq!(
        (request.field("connection"), request.field("te")),
        (Some("te"), Some("trailers")),
        "trailers are passed on, so it is said that they are taken"
    );
    assert_eq!(request.field("host"), Some("a"), "Connection names away neither the host");
    assert_eq!(request.field("via"), Some("1.1 before, 1.1 signpost"), "nor the way it came");
    assert_eq!(request.field("l5d-dst-service"), Some("/svc/a"), "nor what the router says");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn via_grows_both_ways_and_bounds_the_depth() {
    let service =
        Service::start(async |_| "HTTP/1.1 200 OK\r\nVia: 1.1 inner\r\nContent-Length: 0\r\n\r\n".to_owned())
            .await;
    let app =
        TestApp::start(&one_router(&format!("/svc/* => {}", service.path()), ", maxCallDepth: 3")).await;
    let mut client = app.client().await;
    let response = client.get("a", "Via: 1.1 a, 1.0 b\r\nVia: HTTP/2 c\r\n").await;
    assert_eq!(response.all("via"), ["1.1 inner, 1.1 signpost"]);
    assert_eq!(service.take_requests()[0].all("via"), ["1.1 a, 1.0 b", "HTTP/2 c, 1.1 signpost"]);
    let response = client.get("a", "Via: 1.1 a, 1.0 b\r\nVia: HTTP/2 c, 1.1 d\r\n").await;
    response.assert_status(400);
    assert!(response.text().contains("Maximum number of calls (3) has been exceeded"), "{response:?}");
    assert_eq!(service.count(), 0);
    client.get("a", "").await.assert_status(200);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn max_forwards_counts_down_to_here() {
    let service = Service::saying("there").await;
    let app = TestApp::start(&routing_to(&service.path())).await;
    let mut client = app.client().await;
    for (method, sent, status, received) in [
        ("OPTIONS", "2", 200, Some("1")),
        ("TRACE", "1", 200, Some("0")),
        ("OPTIONS", "0", 200, None),
        ("TRACE", "0", 200, None),
        ("OPTIONS", "some", 400, None),
        // For other methods it means nothing (RFC 9110 7.6.2).
        ("GET", "0", 200, Some("0")),
    ] {
        let response =
            client.ask(format!("{method} / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {sent}\r\n\r\n")).await;
        assert_eq!(response.status(), status, "{method} {sent}");
        assert_eq!(response.text() == "there", received.is_some(), "{method} {sent}");
        let request = service.take_requests().pop();
        let found = request.as_ref().and_then(|request| request.field("max-forwards"));
        assert_eq!(found, received, "{method} {sent}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn targets_and_hosts_are_brought_into_one_form() {
    let service = Service::saying("").await;
    let app = TestApp::start(&routing_to(&service.path())).await;
    let mut client = app.client().await;
    let table = [
        ("GET /A/B HTTP/1.1\r\nHost: WWW.Hello.World", "GET /A/B HTTP/1.1", "www.hello.world"),
        ("GET http://Other:80/x?y HTTP/1.1\r\nHost: hello", "GET /x?y HTTP/1.1", "other:80"),
        ("GET http://other HTTP/1.1\r\nHost: hello", "GET / HTTP/1.1", "other"),
        ("GET https://other?q HTTP/1.1\r\nHost: hello", "GET /?q HTTP/1.1", "other"),
        ("GET /http://other/ HTTP/1.1\r\nHost: hello", "GET /http://other/ HTTP/1.1", "hello"),
        ("OPTIONS * HTTP/1.1\r\nHost: hello", "OPTIONS * HTTP/1.1", "hello"),
        ("OPTIONS http://other HTTP/1.1\r\nHost: hello", "OPTIONS * HTTP/1.1", "other"),
        ("BREW-2 /pot HTTP/1.1\r\nHost: hello", "BREW-2 /pot HTTP/1.1", "hello"),
    ];
    for (head, line, host) in table {
        client.ask(format!("{head}\r\n\r\n")).await.assert_status(200);
        let request = service.take_requests().remove(0);
        assert_eq!((request.first_line(), request.field("host")), (line, Some(host)), "{head}");
        assert_eq!(request.field("l5d-dst-service"), Some(format!("/svc/{host}").as_str()), "{head}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn connect_is_not_carried() {
    let upstream = Upstream::start().await;
    let app = TestApp::start(&routing_to(&upstream.path())).await;
    let mut client = app.client().await;
    let response = client.ask("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").await;
    response.assert_status(501);
    assert_eq!(response.field("connection"), Some("close"), "what follows might be for the tunnel");
    client.writer.finish().await;
    client.assert_ended().await;
    upstream.assert_unreached().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn two_workers_share_the_connections() {
    let service = Service::saying("hi").await;
    let app = TestApp::start_workers(&routing_to(&service.path()), 2).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(app.client().await);
    }
    for client in &mut clients {
        assert_eq!(client.get("a", "").await.text(), "hi");
    }
    assert_eq!(service.connections(), 2, "one for each worker: few connections are spread evenly");
    assert_eq!(app.total("requests", &[]), 4);
    app.stop().await;
}
