//! HTTP/2 on either side of the router, or on both: what is carried, and how it is said on the other side.

use crate::support::either::Speaks::{Http1, Http2};
use crate::support::either::{Ask, Caller, Echo, WAYS, router, scene};
use crate::support::http2::{self, Frame, H2Client, H2Conn, H2Service, get};
use crate::support::{Names, Service, TestApp, Upstream, ok, one_router, routing_to, speaking, until};
use http::{Request, Response};

#[tokio::test(flavor = "local")]
async fn requests_and_responses_pass_all_ways() {
    for (caller, endpoint) in WAYS {
        let (app, echo, mut client) = scene(caller, endpoint).await;
        for (method, target, status) in [
            ("GET", "/", 200),
            ("GET", "/a//b?c=%20d&e", 404),
            ("DELETE", "/a", 500),
            ("PATCH", "/?", 299),
            ("OPTIONS", "/x", 301),
            ("QUERY", "/x", 200),
        ] {
            let fields = [
                ("x-status", &*status.to_string()),
                ("x-back", "x-a server set-cookie"),
                ("x-a", "1"),
                ("server", "odd"),
                ("x-a", "2"),
                ("set-cookie", "a=b"),
                ("set-cookie", "c=d"),
            ];
            let answer = client.ask(&Ask { method, target, fields: &fields, ..Ask::default() }).await;
            let way = format!("{caller:?} to {endpoint:?}: {method} {target}");
            assert_eq!(answer.status, status, "{way}");
            assert_eq!(answer.all("x-a"), ["1", "2"], "{way}");
            assert_eq!(answer.all("set-cookie"), ["a=b", "c=d"], "{way}");
            assert_eq!((answer.field("server"), answer.text()), (Some("odd"), ""), "{way}");
            let request = echo.take_request();
            assert_eq!(
                (&*request.method, &*request.target, &*request.host),
                (method, target, "web"),
                "{way}"
            );
            assert_eq!(request.all("x-a"), ["1", "2"], "{way}");
            let version = if caller == Http1 { "1.1" } else { "2" };
            assert_eq!(request.field("via"), Some(&*format!("{version} signpost")), "{way}");
            let version = if endpoint == Http1 { "1.1" } else { "2" };
            assert_eq!(answer.field("via"), Some(&*format!("{version} signpost")), "{way}");
        }
        assert_eq!(echo.connections(), 1, "{caller:?} to {endpoint:?}");
        assert_eq!((app.total("connections", &[]), app.total("requests", &[])), (1, 6));
        assert_eq!(app.total("responses", &[("class", "2xx")]), 3);
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn bodies_of_all_sizes_pass_both_ways() {
    for (caller, endpoint) in WAYS {
        let (app, echo, mut client) = scene(caller, endpoint).await;
        for size in [0, 1, 16 << 10, 1 << 20] {
            // Bytes in which a lost or repeated piece shows.
            let body: Vec<u8> = (0..size).map(|at| b' ' + (at % 83) as u8).collect();
            for (length, back) in [(true, &[("x-length", "yes")][..]), (false, &[]), (true, &[])] {
                let ask =
                    Ask { method: "POST", target: "/", fields: back, body: &body, length, ..Ask::default() };
                let answer = client.ask(&ask).await;
                let way = format!("{caller:?} to {endpoint:?}: {size} bytes, {length}, {back:?}");
                assert!(answer.status == 200 && answer.body == body, "{way}: {} came", answer.body.len());
                let said = echo.take_request().field("content-length").map(str::to_owned);
                assert_eq!(said, length.then(|| size.to_string()), "{way}");
                if !back.is_empty() {
                    assert_eq!(answer.field("content-length"), Some(&*size.to_string()), "{way}");
                }
            }
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn answers_without_a_body_have_none() {
    for (caller, endpoint) in WAYS {
        let (app, _echo, mut client) = scene(caller, endpoint).await;
        for (method, status, length) in [
            ("HEAD", "200", true),
            ("HEAD", "200", false),
            ("GET", "204", false),
            ("GET", "304", true),
            ("GET", "304", false),
            ("HEAD", "404", true),
        ] {
            let fields = [("x-status", status), ("x-length", "yes")];
            let fields = if length { &fields[..] } else { &fields[..1] };
            let answer = client.ask(&Ask { method, target: "/", fields, ..Ask::default() }).await;
            let way = format!("{caller:?} to {endpoint:?}: {method} {status} {length}");
            assert_eq!((answer.status.to_string().as_str(), answer.text()), (status, ""), "{way}");
            assert_eq!(answer.field("content-length"), length.then_some("0"), "{way}");
        }
        assert_eq!(client.get(&[]).await.status, 200, "the connection is kept");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_length_is_not_made_up_for_what_has_no_body() {
    let upstream = Upstream::start().await;
    let app = TestApp::start(&speaking("h2", &format!("/svc/* => {}", upstream.path()), "")).await;
    let mut client = app.h2_client().await;
    let mut exchange = client.begin(Request::head("http://web/").body(()).expect("it is one"), false).await;
    let mut conn = H2Conn::accept(&upstream).await;
    let call = conn.call().await;
    assert!(call.body.is_end_stream() && call.field("content-length").is_none());
    call.answer(Response::builder().header("content-length", "1234").body("").expect("it is one")).await;
    let answer = exchange.answer().await;
    assert_eq!((answer.field("content-length"), answer.text()), (Some("1234"), ""));
    app.stop().await;
}

/// Trailers, with those that may not be there: of framing, of the connection, of authentication, and what steers.
const TRAILERS: [(&str, &str); 9] = [
    ("x-sum", "1"),
    ("grpc-status", "0"),
    ("x-sum", "2"),
    ("l5d-ctx-dtab", "/a => /b"),
    ("l5d_dtab", "/a => /b"),
    ("content-length", "7"),
    ("host", "evil"),
    ("authorization", "Basic eDp5"),
    ("set-cookie", "a=b"),
];

#[tokio::test(flavor = "local")]
async fn trailers_pass_all_ways() {
    for (caller, endpoint) in WAYS {
        for takes in [true, false] {
            let (app, _echo, mut client) = scene(caller, endpoint).await;
            let fields = if takes { &[("te", "trailers")][..] } else { &[] };
            // Behind a body, and alone.
            for body in [&b"hi"[..], b""] {
                let ask =
                    Ask { method: "POST", target: "/", fields, body, trailers: &TRAILERS, ..Ask::default() };
                let answer = client.ask(&ask).await;
                let way = format!("{caller:?} to {endpoint:?}, {takes}: {:?}", answer.trailers);
                assert_eq!((answer.status, &*answer.body), (200, body), "{way}");
                let names: Vec<_> = answer.trailers.iter().map(|(name, _)| name.as_str()).collect();
                let mut sorted = names.clone();
                sorted.sort_unstable();
                let expected: &[&str] = match (caller, endpoint) {
                    (Http2, Http2) => &["authorization", "grpc-status", "set-cookie", "x-sum", "x-sum"],
                    (Http1, _) if !takes => &[],
                    _ => &["grpc-status", "x-sum", "x-sum"],
                };
                assert_eq!(sorted, expected, "{way}");
                if !expected.is_empty() {
                    assert_eq!(
                        (answer.trailer("x-sum"), answer.trailer("grpc-status")),
                        (Some("1"), Some("0"))
                    );
                }
            }
            app.stop().await;
        }
    }
}

#[tokio::test(flavor = "local")]
async fn te_trailers_is_the_only_word_about_a_connection_that_goes_on() {
    let (app, echo, mut client) = scene(Http1, Http2).await;
    let fields = [
        ("Connection", "close, X-Named, TE"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("X-Named", "1"),
        ("TE", "gzip, trailers"),
        ("Upgrade", "websocket"),
        ("X-Kept", "1"),
    ];
    assert_eq!(client.get(&fields).await.status, 200);
    let request = echo.take_request();
    let expected = ["l5d-ctx-trace", "l5d-dst-client", "l5d-dst-service", "l5d-reqid", "te", "via", "x-kept"];
    assert_eq!(request.field_names(), expected, "{request:?}");
    assert_eq!(request.field("te"), Some("trailers"));
    app.stop().await;

    let (app, echo, mut client) = scene(Http2, Http2).await;
    client.get(&[("te", "trailers")]).await;
    assert_eq!(echo.take_request().field("te"), Some("trailers"));
    client.get(&[]).await;
    assert_eq!(echo.take_request().field("te"), None);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_an_http1_endpoint_says_of_its_connection_stays_there() {
    let service = Service::start(async |_| {
        "HTTP/1.1 200 OK\r\nConnection: close, X-Named\r\nX-Named: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: x\r\nX-Kept: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
            .to_owned()
    })
    .await;
    let app = TestApp::start(&routing_to(&service.path())).await;
    let mut client = app.h2_client().await;
    for _ in 0..2 {
        let answer = client.get("web", &[]).await;
        assert_eq!(answer.text(), "hi");
        let mut names: Vec<_> = answer.head.headers().keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["via", "x-kept"]);
    }
    assert_eq!(app.total("connections", &[]), 1, "the caller's connection is not the endpoint's");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_authority_is_the_host() {
    let (one, two) = (Service::saying("one").await, Service::saying("two").await);
    let dtab = format!("/svc/web => {}; /svc/other => {}", one.path(), two.path());
    let app = TestApp::start(&one_router(&dtab, "")).await;
    let mut client = app.h2_client().await;
    // As the library writes it: with `:authority`.
    assert_eq!(client.get("web", &[]).await.text(), "one");
    assert_eq!(one.take_requests()[0].field("host"), Some("web"));
    assert_eq!(client.get("WEB", &[("host", "Web")]).await.text(), "one", "both say the same");
    assert_eq!(one.take_requests()[0].field("host"), Some("web"));
    client.get("web", &[("host", "other")]).await.assert_status(400);
    client.get("other", &[("host", "web")]).await.assert_status(400);
    // As only a converted request has it: with `host` alone.
    let mut request = Request::get("/").header("host", "other").body("").expect("it is one");
    *request.version_mut() = http::Version::HTTP_11;
    assert_eq!(client.ask(request).await.text(), "two");
    assert_eq!(two.take_requests()[0].field("host"), Some("other"));
    assert_eq!((one.count(), two.count()), (0, 0), "what is malformed goes nowhere");
    app.stop().await;

    let service = H2Service::saying("hi").await;
    let app = TestApp::start(&speaking("h2", &format!("/svc/web => {}", service.path()), "")).await;
    assert_eq!(app.client().await.get("web", "").await.text(), "hi");
    let head = &service.take_heads()[0];
    assert_eq!(head.uri().to_string(), "http://web/");
    assert!(!head.headers().contains_key("host"), "it is said once: {head:?}");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_parts_of_a_cookie_become_one() {
    for endpoint in [Http1, Http2] {
        let (app, echo, mut client) = scene(Http2, endpoint).await;
        client.get(&[("cookie", "a=1"), ("x-a", "1"), ("cookie", "b=2; c=3"), ("cookie", "d=4")]).await;
        let request = echo.take_request();
        let cookies = request.all("cookie");
        assert_eq!(cookies.join("; "), "a=1; b=2; c=3; d=4");
        assert!(endpoint == Http2 || cookies.len() == 1, "{cookies:?}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn each_listener_understands_both_protocols() {
    let (h1, h2) = (Service::saying("over 1").await, H2Service::saying("over 2").await);
    let yaml = format!(
        "admin: {{port: 0}}\nrouters:\n\
         - {{protocol: http, dtab: '/svc/* => {}', servers: [{{port: 0}}]}}\n\
         - {{protocol: h2, dtab: '/svc/* => {}', servers: [{{port: 0}}]}}\n",
        h1.path(),
        h2.path()
    );
    let app = TestApp::start(&yaml).await;
    for (router, says) in [("http", "over 1"), ("h2", "over 2")] {
        assert_eq!(app.client_of(router, 0).await.get("web", "").await.text(), says);
        let mut client = H2Client::connect(app.address(router, 0)).await;
        assert_eq!(client.get("web", &[]).await.text(), says);
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_a_name_file_says_of_an_endpoint_counts_more_than_the_router() {
    let (h1, h2) = (Service::saying("over 1").await, H2Service::saying("over 2").await);
    let names = Names::new();
    for protocol in ["http", "h2"] {
        let app = TestApp::start(&(speaking(protocol, "/svc => /#/io.l5d.fs", "") + &names.namer())).await;
        for (at, endpoint, says) in [(h1.address(), "http", "over 1"), (h2.address(), "h2c", "over 2")] {
            names.write_lines("web", &format!("{} {} {endpoint}\n", at.ip(), at.port()));
            until("the file is read", async || app.h2_client().await.get("web", &[]).await.text() == says)
                .await;
            assert_eq!(app.client().await.get("web", "").await.text(), says);
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_preface_may_come_byte_by_byte() {
    let service = H2Service::saying("hi").await;
    let app = TestApp::start(&speaking("h2", &format!("/svc/* => {}", service.path()), "")).await;
    let mut frames = http2::Frames::connect(app.first_address()).await;
    let request = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "web")];
    let bytes = [http2::PREFACE, &Frame::settings(&[(1, 0)]).encode(), &Frame::request(1, &request).encode()];
    for byte in bytes.concat() {
        frames.wire.send([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(frames.status(1).await, 200);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_override_goes_on_from_hop_to_hop() {
    for (caller, endpoint) in WAYS {
        let (base, staged) = (Echo::start(endpoint).await, Echo::start(endpoint).await);
        let dtab = format!("/srv/web => {}; /srv/web-v2 => {}", base.path(), staged.path());
        let inner = TestApp::start(&speaking(router(endpoint), &(dtab + "; /svc => /srv"), "")).await;
        let address = inner.first_address();
        let way_in = format!("/svc/* => /$/inet/{}/{}", address.ip(), address.port());
        // Between the two routers is HTTP/2, whatever the caller speaks.
        let outer = TestApp::start(&speaking("h2", &way_in, "")).await;
        let mut client = Caller::connect(&outer, caller).await;
        let over = "/svc/web => /srv/web-v2 ;";
        let table =
            [(&[][..], &base, None), (&[("l5d-dtab", over)][..], &staged, Some("/svc/web=>/srv/web-v2"))];
        for (fields, to, said) in table {
            assert_eq!(client.get(fields).await.status, 200, "{caller:?} to {endpoint:?}");
            let request = to.take_request();
            assert_eq!((request.field("l5d-ctx-dtab"), request.field("l5d-dtab")), (said, None));
            assert_eq!(request.field("l5d-dst-service"), Some("/svc/web"));
            assert_eq!(request.field("l5d-dst-client"), Some(&*to.path()));
            assert_eq!(request.all("via").join(", ").matches("signpost").count(), 2, "{request:?}");
        }
        let refused = client.get(&[("l5d-dtab", "/svc/web = /x")]).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains('^') && refused.field("l5d-err").is_some(), "{refused:?}");
        outer.stop().await;
        inner.stop().await;
    }
}

/// Everything that an untrusted caller might try to steer by, as HTTP/2 can spell it.
const STEERING: [(&str, &str); 12] = [
    ("l5d-dtab", "/svc => /$/fail"),
    ("l5d_dtab", "/svc => /$/fail"),
    ("l5d-ctx-dtab", "/svc => /$/fail"),
    ("l5d_ctx-dtab", ";;;"),
    ("l5d-ctx-deadline", "1 2"),
    ("l5d-ctx-trace", "AAAAAAAAAAEAAAAAAAAAAQAAAAAAAAABAAAAAAAAAAA="),
    ("l5d-sample", "1.0"),
    ("l5d-reqid", "0000000000000001"),
    ("l5d-dst-service", "/forged"),
    ("l5d-", "1"),
    ("dtab-local", "/svc => /$/fail"),
    ("x-dtab-00-a", "c3Zj"),
];

#[tokio::test(flavor = "local")]
async fn untrusted_callers_steer_by_nothing() {
    for endpoint in [Http1, Http2] {
        let echo = Echo::start(endpoint).await;
        let dtab = format!("/svc/* => {}", echo.path());
        let app = TestApp::start(&speaking(router(endpoint), &dtab, ", trust: nobody")).await;
        let mut client = Caller::connect(&app, Http2).await;
        let back = [("x-back", "l5d-dst-client l5d-reqid"), ("te", "trailers")];
        let fields = [&STEERING[..], &back].concat();
        let trailers = [&STEERING[..], &[("x-sum", "1")]].concat();
        let ask = Ask { method: "POST", target: "/", fields: &fields, trailers: &trailers, ..Ask::default() };
        let answer = client.ask(&ask).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let steering: Vec<_> = answer.fields.iter().filter(|(name, _)| name.starts_with("l5d")).collect();
        assert!(steering.is_empty(), "nothing of the inside is told: {steering:?}");
        let trailers: Vec<_> = answer.trailers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(trailers, ["x-sum"], "what the endpoint saw, and what came back");
        let request = echo.take_request();
        let ours = ["l5d-ctx-trace", "l5d-dst-client", "l5d-dst-service", "l5d-reqid"];
        let l5d =
            request.field_names().into_iter().filter(|name| name.starts_with("l5d") || name.contains("dtab"));
        assert_eq!(l5d.collect::<Vec<_>>(), ours, "{request:?}");
        assert!(request.fields.iter().all(|(_, value)| !value.contains("forged")), "{request:?}");
        assert_ne!(request.field("l5d-reqid"), Some("0000000000000001"));
        assert_eq!(app.total("dropped_overrides", &[]), 6, "each that holds dtab entries");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn names_that_lead_nowhere_are_told() {
    let service = H2Service::saying("hi").await;
    for protocol in ["http", "h2"] {
        let dtab = format!("/svc/web => {}; /svc/status => /$/io.buoyant.http.status/418", service.path());
        let app = TestApp::start(&speaking(protocol, &dtab, "")).await;
        let mut client = app.h2_client().await;
        let answer = client.get("nowhere", &[]).await;
        answer.assert_status(502);
        assert!(answer.text().contains("/svc/nowhere"), "{answer:?}");
        assert_eq!(answer.field("content-length"), Some(&*answer.body.len().to_string()));
        let head = client.ask(Request::head("http://nowhere/").body("").expect("it is one")).await;
        assert_eq!((head.status(), head.text()), (502, ""));
        let answer = client.get("status", &[]).await;
        assert_eq!((answer.status(), answer.text()), (418, ""));
        let connect = client.ask(Request::connect("web:80").body("").expect("it is one")).await;
        connect.assert_status(501);
        assert_eq!(app.total("router_faults", &[]), 2);
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn many_streams_share_one_connection() {
    const STREAMS: usize = 100;
    for endpoint in [Http1, Http2] {
        let (app, echo, caller) = scene(Http2, endpoint).await;
        let Caller::Http2(mut client) = caller else { unreachable!("it speaks HTTP/2") };
        let mut begun = Vec::new();
        for at in 0..STREAMS {
            let request = Request::post(format!("http://web/{at}")).body(()).expect("it is one");
            begun.push((at, client.begin(request, true).await));
        }
        for (at, exchange) in begun.iter_mut().rev() {
            exchange.send(at.to_string(), true).await;
        }
        for (at, exchange) in &mut begun {
            assert_eq!(exchange.answer().await.text(), at.to_string());
        }
        assert_eq!(app.total("connections", &[]), 1);
        let most = if endpoint == Http1 { STREAMS } else { 1 };
        assert!(echo.connections() <= most, "{} connections", echo.connections());
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn interim_responses_pass() {
    let upstream = Upstream::start().await;
    let app = TestApp::start_here(&routing_to(&upstream.path())).await;
    let mut client = app.h2_client().await;
    let mut exchange = client.begin(get("web", &[]), false).await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\nX: 1\r\n\r\n").await;
    let hints = exchange.interim().await;
    assert_eq!((hints.status().as_u16(), hints.headers().len()), (103, 1), "{hints:?}");
    assert_eq!(hints.headers()["link"], "</a.css>");
    conn.send(ok("hi")).await;
    assert_eq!(exchange.answer().await.text(), "hi");
    app.stop().await;

    let app = TestApp::start_here(&speaking("h2", &format!("/svc/* => {}", upstream.path()), "")).await;
    let (mut h1, mut h2) = (app.client().await, app.h2_client().await);
    let mut exchange = h2.begin(get("web", &[]), false).await;
    let mut conn = H2Conn::accept(&upstream).await;
    let hints = Response::builder().status(103).header("link", "</a.css>").body(()).expect("it is one");
    let mut call = conn.call().await;
    call.respond.send_informational(hints.clone()).expect("the caller waits");
    assert_eq!(exchange.interim().await.headers()["link"], "</a.css>");
    call.say("hi").await;
    assert_eq!(exchange.answer().await.text(), "hi");

    h1.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
    let mut call = conn.call().await;
    call.respond.send_informational(hints).expect("the caller waits");
    let seen = h1.response().await;
    assert_eq!((seen.status(), seen.field("link")), (103, Some("</a.css>")));
    call.say("hi").await;
    assert_eq!(h1.response().await.text(), "hi");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_upgrade_but_to_web_socket_is_not_for_an_http2_endpoint() {
    let service = H2Service::saying("hi").await;
    let app = TestApp::start(&speaking("h2", &format!("/svc/* => {}", service.path()), "")).await;
    let mut client = app.client().await;
    let response = client.get("web", "Connection: upgrade\r\nUpgrade: odd\r\n").await;
    assert_eq!(
        (response.status(), response.text()),
        (200, "hi"),
        "the endpoint may go on without the upgrade"
    );
    assert_eq!(client.get("web", "").await.text(), "hi");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn messages_flow_both_ways_at_once() {
    let upstream = Upstream::start().await;
    let app = TestApp::start(&speaking("h2", &format!("/svc/* => {}", upstream.path()), "")).await;
    let mut client = app.h2_client().await;
    let mut exchange = client.begin(Request::post("http://web/").body(()).expect("it is one"), true).await;
    let mut conn = H2Conn::accept(&upstream).await;
    let mut call = conn.call().await;
    let mut back = call.begin(Response::new(()));
    let mut answer = exchange.head().await.expect("the head comes before the request is over").into_body();
    for word in ["one", "two", "six"] {
        exchange.send(word, false).await;
        let came = http2::piece(&mut call.body).await.expect("it goes on").expect("it is whole");
        http2::write(&mut back, came, false).await.expect("it goes on");
        assert_eq!(http2::piece(&mut answer).await.expect("it goes on").expect("it is whole"), word);
    }
    exchange.send("", true).await;
    assert!(http2::piece(&mut call.body).await.is_none());
    http2::write(&mut back, "", true).await.expect("it goes on");
    assert!(http2::piece(&mut answer).await.is_none());
    app.stop().await;
}
