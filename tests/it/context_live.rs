//! The context of requests, over the wire: headers that the upstream gets, that trusted callers may send, and that
//! untrusted callers may not.

use crate::support::{Message, Service, TestApp, Upstream, Wire, ok, one_router, routing_to, with_servers};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a request that came to an upstream says of its overrides.
async fn forwarded(client: &mut Wire, service: &Service, fields: &str) -> Message {
    client.get("world", fields).await.assert_status(200);
    service.take_requests().pop().expect("the service was asked")
}

#[tokio::test(flavor = "local")]
async fn the_upstream_is_told_the_names() {
    let service = Service::saying("hi").await;
    let app = TestApp::start(&one_router(&format!("/svc => /host; /host => {}", service.path()), "")).await;
    let mut client = app.client().await;
    let forged = "l5d-dst-service: /forged\r\nL5D-Dst-Client: /forged\r\nl5d-dst-residual: /forged\r\n\
                  l5d-reqid: forged\r\nl5d-sample: 1.0\r\nl5d-ctx-other: kept\r\nl5d-own: kept\r\n";
    for fields in ["", forged] {
        let request = forwarded(&mut client, &service, fields).await;
        assert_eq!(request.field("l5d-dst-service"), Some("/svc/world"));
        assert_eq!(request.field("l5d-dst-client"), Some(service.path().as_str()));
        assert_eq!(request.field("l5d-dst-residual"), Some("/world"));
        let id = request.field("l5d-reqid").expect("a request has an id");
        assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        for absent in ["l5d-ctx-dtab", "l5d-dtab", "l5d-ctx-deadline", "l5d-sample"] {
            assert_eq!(request.field(absent), None, "{absent}");
        }
        let kept = (!fields.is_empty()).then_some("kept");
        assert_eq!((request.field("l5d-ctx-other"), request.field("l5d-own")), (kept, kept));
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_trace_goes_on_from_hop_to_hop() {
    let service = Service::saying("hi").await;
    let app = TestApp::start(&routing_to(&service.path())).await;
    let mut client = app.client().await;
    let first = forwarded(&mut client, &service, "").await;
    let trace = first.field("l5d-ctx-trace").expect("a trace begins");
    let next = forwarded(&mut client, &service, &format!("l5d-ctx-trace: {trace}\r\n")).await;
    assert_eq!(next.field("l5d-reqid"), first.field("l5d-reqid"), "one root");
    assert_ne!(next.field("l5d-ctx-trace"), Some(trace), "another span");
    let other = forwarded(&mut client, &service, "l5d-ctx-trace: nonsense\r\n").await;
    assert_ne!(other.field("l5d-reqid"), first.field("l5d-reqid"), "another root");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn overrides_go_on_exactly() {
    let service = Service::saying("hi").await;
    let app = TestApp::start(&routing_to(&service.path())).await;
    let mut client = app.client().await;
    let table = [
        ("l5d-dtab: /a => /b\r\n", Some("/a=>/b")),
        ("l5d-dtab: /a => 0.001 * /b & 999.25 * /c | ! ;\r\n", Some("/a=>0.001*/b & 999.25*/c | !")),
        ("l5d-dtab: /x=>/y\r\nl5d-ctx-dtab: /a=>/b\r\n", Some("/a=>/b;/x=>/y")),
        ("l5d-dtab: /a=>/b\r\nl5d-dtab: /c=>/d\r\n", Some("/a=>/b;/c=>/d")),
        ("L5D-DTAB: /a=>/b, /c=>/d\r\n", Some("/a=>/b;/c=>/d")),
        ("l5d-dtab: /a => /b ; # a comment, with a comma\r\n", Some("/a=>/b")),
        ("l5d-dtab: /a/*/c => ~\r\n", Some("/a/*/c=>~")),
        ("l5d-dtab: /\\x2f => /\\xff\r\n", Some("/\\x2f=>/\\xff")),
        ("l5d-dtab:\r\nl5d-ctx-dtab: \r\n", None),
    ];
    for (fields, expected) in table {
        let request = forwarded(&mut client, &service, fields).await;
        assert_eq!(request.field("l5d-ctx-dtab"), expected, "{fields:?}");
        assert_eq!(request.field("l5d-dtab"), None, "{fields:?}: it is spent here");
        if let Some(printed) = expected {
            let again = forwarded(&mut client, &service, &format!("l5d-ctx-dtab: {printed}\r\n")).await;
            assert_eq!(again.field("l5d-ctx-dtab"), expected, "the next hop says the same");
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_later_word_counts() {
    let (base, ctx, user) =
        (Service::saying("base").await, Service::saying("ctx").await, Service::saying("user").await);
    let app = TestApp::start(&one_router(&format!("/svc/world => {}", base.path()), "")).await;
    let mut client = app.client().await;
    let (ctx, user) = (
        format!("l5d-ctx-dtab: /svc/world => {}\r\n", ctx.path()),
        format!("l5d-dtab: /svc/world => {}\r\n", user.path()),
    );
    for (fields, expected) in [
        (String::new(), "base"),
        (ctx.clone(), "ctx"),
        (user.clone(), "user"),
        (ctx.clone() + &user, "user"),
        (user.clone() + &ctx, "user"),
        (user.clone() + "l5d-dtab: /svc/world => /svc/other\r\n", "user"),
        (user + "l5d-dtab: /svc/other => /svc/world\r\n", "user"),
    ] {
        assert_eq!(client.get("world", &fields).await.text(), expected, "{fields:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn deadlines_are_merged() {
    let service = Service::saying("hi").await;
    let app = TestApp::start(&routing_to(&service.path())).await;
    let mut client = app.client().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_nanos();
    let hour = Duration::from_secs(3600).as_nanos();
    let (sooner, later) = (now + hour, now + 2 * hour);
    for fields in [
        format!("l5d-ctx-deadline: {} {later}\r\nl5d-ctx-deadline: {now} {sooner}\r\n", now - 5),
        format!("l5d-ctx-deadline: {now} {later}\r\nl5d-ctx-deadline: {} {sooner}\r\n", now - 5),
        format!("l5d-ctx-deadline: {now} {sooner}, {} {later}\r\n", now - 5),
        format!("l5d-ctx-deadline: nonsense\r\nl5d-ctx-deadline: {now} {sooner}\r\n"),
    ] {
        let request = forwarded(&mut client, &service, &fields).await;
        assert_eq!(request.field("l5d-ctx-deadline"), Some(format!("{now} {sooner}").as_str()), "{fields:?}");
    }
    let request = forwarded(&mut client, &service, "l5d-ctx-deadline: nonsense\r\n").await;
    assert_eq!(request.field("l5d-ctx-deadline"), None);
    app.stop().await;
}

/// Everything that an untrusted caller might try to steer by.
const STEERING: [&str; 23] = [
    "l5d-dtab: /svc => /$/fail",
    "L5D-DTAB: /svc => /$/fail",
    "l5d_dtab: /svc => /$/fail",
    "L5d_Dtab: not a dtab",
    "l5d-ctx-dtab: /svc => /$/fail",
    "l5d_ctx-dtab: ;;;",
    "l5d-ctx-deadline: 1 2",
    "l5d_ctx_deadline: 1 2",
    "l5d-ctx-trace: AAAAAAAAAAEAAAAAAAAAAQAAAAAAAAABAAAAAAAAAAA=",
    "l5d-sample: 1.0",
    "l5d-reqid: 0000000000000001",
    "l5d-dst-service: /forged",
    "l5d-dst-client: /forged",
    "L5d-Ctx-Anything: 1",
    "l5d-: 1",
    "L5d: 1",
    "dtab-local: /svc => /$/fail",
    "Dtab_Local: /svc => /$/fail",
    "X-Dtab-00-A: c3Zj",
    "x_dtab_00_b: c3Zj",
    "X-DTAB-: 1",
    "X-Dtab: 1",
    "dtab_local-x: 1",
];

#[tokio::test(flavor = "local")]
async fn untrusted_callers_steer_by_no_spelling() {
    let service = Service::saying("hi").await;
    for untrusting in [", trust: nobody", ", clearContext: true", ", ip: 0.0.0.0"] {
        let app = TestApp::start(&one_router(&format!("/svc/* => {}", service.path()), untrusting)).await;
        let mut client = Wire::connect(([127, 0, 0, 1], app.address("http", 0).port()).into()).await;
        let fields = STEERING.join("\r\n") + "\r\nbaggage: a=b\r\nx-dtabs: kept\r\nxl5d-dtab: kept\r\n";
        let request = forwarded(&mut client, &service, &fields).await;
        let names = request.field_names();
        let ours = ["l5d-ctx-trace", "l5d-dst-client", "l5d-dst-service", "l5d-reqid"];
        let kept =
            ["baggage", "host", "l5d-ctx-trace", "l5d-dst-client", "l5d-dst-service", "l5d-reqid", "via"];
        assert_eq!(
            names,
            [&kept[..], &["x-dtabs", "x-forwarded-for", "x-forwarded-proto", "xl5d-dtab"]].concat(),
            "{untrusting}"
        );
        for name in ours {
            assert!(!request.all(name)[0].contains("forged"), "{request:?}");
        }
        assert_ne!(request.field("l5d-reqid"), Some("0000000000000001"));
        let dropped = app.total("dropped_overrides", &[]);
        assert_eq!(
            dropped, 13,
            "each line of l5d-dtab, l5d-ctx-dtab, dtab-local and x-dtab, and of names behind those, in any spelling"
        );
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_listener_on_loopback_trusts_unless_it_says_otherwise() {
    let (base, other) = (Service::saying("base").await, Service::saying("other").await);
    let dtab = format!("/svc/world => {}", base.path());
    let fields = format!("l5d-dtab: /svc/world => {}\r\n", other.path());
    for (server, trusts) in [
        ("", true),
        (", ip: 127.0.0.2", true),
        (", ip: '::1'", true),
        (", ip: 0.0.0.0", false),
        (", ip: 0.0.0.0, trust: everybody", true),
        (", ip: 0.0.0.0, clearContext: false", true),
        (", trust: nobody", false),
        (", clearContext: true", false),
    ] {
        if server.contains("::1") && std::net::TcpListener::bind("[::1]:0").is_err() {
            continue; // This machine has no IPv6.
        }
        let app = TestApp::start(&one_router(&dtab, server)).await;
        let mut address = app.address("http", 0);
        if address.ip().is_unspecified() {
            address.set_ip([127, 0, 0, 1].into());
        }
        let mut client = Wire::connect(address).await;
        let expected = if trusts { "other" } else { "base" };
        assert_eq!(client.get("world", &fields).await.text(), expected, "{server}");
        assert_eq!(app.total("dropped_overrides", &[]), u64::from(!trusts), "{server}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn dropped_overrides_are_counted_by_listener() {
    let service = Service::saying("hi").await;
    let servers = ["", ", trust: nobody", ", trust: nobody"];
    let app = TestApp::start(&with_servers(&format!("/svc/* => {}", service.path()), &servers)).await;
    for (at, times) in [(0, 3), (1, 2)] {
        let mut client = app.client_of("http", at).await;
        for _ in 0..times {
            client.get("a", "l5d-dtab: /x => /y\r\nl5d-dtab: /x => /y\r\n").await.assert_status(200);
        }
    }
    for (listener, (dropped, requests)) in app.running().listeners().iter().zip([(0, 3), (4, 2), (0, 0)]) {
        let server = listener.server.as_str();
        let labels = [("router", "http"), ("server", server)];
        assert_eq!(app.total("dropped_overrides", &labels), dropped, "{server}");
        assert_eq!(app.total("requests", &labels), requests, "{server}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_override_that_leads_nowhere_is_seen() {
    let service = Service::saying("production").await;
    let dtab = format!("/svc => /host; /host/world => {}", service.path());
    let app = TestApp::start(&with_servers(&dtab, &["", ", trust: nobody"])).await;
    let mut client = app.client().await;
    let table = [
        ("/host/world => /srv/world-v2", Some("/host/world=>/srv/world-v2")),
        ("/svc/world => /srv/a | /srv/b & 2 * /srv/c", Some("/svc/world=>/srv/a | /srv/b & 2*/srv/c")),
        ("/host/world => /again ; /again => /never", Some("/host/world=>/again")),
        // Not asked, or of use.
        ("/host/other => /srv/world-v2", None),
        ("/host/world => /$/fail | /never", None),
        ("/x => /y", None),
    ];
    let mut counted = 0;
    for (entry, unbound) in table {
        let response = client.get("world", &format!("l5d-dtab: {entry}\r\n")).await;
        if entry.contains("fail") {
            response.assert_status(502);
            continue;
        }
        assert_eq!(response.text(), "production", "{entry}");
        assert_eq!(response.field("l5d-dtab-unbound"), unbound, "{entry}");
        counted += u64::from(unbound.is_some());
        assert_eq!(app.total("unbound_overrides", &[]), counted, "{entry}");
    }
    let response = client.get("world", "l5d-dtab: /host/world => /srv/world-v2 | !\r\n").await;
    response.assert_status(502);
    assert_eq!(service.count(), 5, "an override that ends with ! does not fall back");

    let mut stranger = app.client_of("http", 1).await;
    let response = stranger.get("world", "l5d-dtab: /host/world => /srv/world-v2\r\n").await;
    assert_eq!((response.text(), response.field("l5d-dtab-unbound")), ("production", None));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_share_of_an_override_that_is_lost_is_told() {
    let service = Service::saying("v2").await;
    let dtab = format!(
        "/v2 => {}; /svc/world => /v2; /split => 3 * /v2 & 1 * /dead; /svc/base => /split",
        service.path()
    );
    let app = TestApp::start(&with_servers(&dtab, &["", ", trust: nobody"])).await;
    let mut client = app.client().await;
    let table = [
        ("/svc/world => 99 * /srv/world & 1 * /v2", Some("99 /svc/world=>99*/srv/world & /v2")),
        ("/svc/world => 1 * ! & 2 * /v2", Some("33.33 /svc/world=>! & 2*/v2")),
        ("/svc/world => 1 * /$/inet/x & 1 * /v2", Some("50 /svc/world=>/$/inet/x & /v2")),
        ("/svc/world => /split", Some("25 /svc/world=>/split")),
        ("/svc/world => 1 * /half & 1 * /v2; /half => 1 * ! & 1 * /v2", Some("25 /svc/world=>/half & /v2")),
        ("/svc/world => 1 * /v2 & 0 * /srv/world", None),
        ("/svc/world => /srv/world | /v2", None),
    ];
    let mut counted = 0;
    for (entry, lost) in table {
        let response = client.get("world", &format!("l5d-dtab: {entry}\r\n")).await;
        assert_eq!(response.text(), "v2", "{entry}");
        assert_eq!(response.field("l5d-dtab-lost"), lost, "{entry}");
        counted += u64::from(lost.is_some());
        assert_eq!(app.total("lost_shares", &[]), counted, "{entry}");
    }
    assert_eq!(app.total("losing_names", &[]), 0);
    // By the router's own dtab.
    assert_eq!(client.get("base", "").await.field("l5d-dtab-lost"), None);
    assert_eq!((app.total("lost_shares", &[]), app.total("losing_names", &[])), (counted, 1));

    let mut stranger = app.client_of("http", 1).await;
    let response = stranger.get("base", "l5d-dtab: /svc/base => 9 * ! & 1 * /v2\r\n").await;
    assert_eq!((response.text(), response.field("l5d-dtab-lost")), ("v2", None));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_cannot_say_that_an_override_led_nowhere() {
    let upstream = Upstream::start().await;
    let app = TestApp::start(&one_router(&format!("/svc/* => {}", upstream.path()), ", trust: nobody")).await;
    let mut client = app.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send(ok("hi").replace("Content", "l5d-dtab-unbound: /a=>/b\r\nContent")).await;
    assert_eq!(
        client.response().await.field("l5d-dtab-unbound"),
        None,
        "to an untrusted caller, nothing that begins so"
    );
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn forwarded_names_the_address_that_the_caller_reached() {
    let service = Service::saying("hi").await;
    for ip in ["127.0.0.1", "127.0.0.2", "0.0.0.0"] {
        let server =
            format!(", ip: {ip}, addForwardedHeader: {{by: {{kind: 'ip:port'}}, for: {{kind: ip}}}}");
        let app = TestApp::start(&one_router(&format!("/svc/* => {}", service.path()), &server)).await;
        let bound = app.first_address();
        let reached = if bound.ip().is_unspecified() { ([127, 0, 0, 3], bound.port()).into() } else { bound };
        let request = forwarded(&mut Wire::connect(reached).await, &service, "").await;
        let expected = format!("by=\"{reached}\";for=127.0.0.1;host=world;proto=http");
        assert_eq!(request.field("forwarded"), Some(&*expected), "{ip}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn forwarded_and_timestamp_are_added_when_configured() {
    let service = Service::saying("hi").await;
    let server = ", addForwardedHeader: {by: {kind: router}, for: {kind: ip}}, timestampHeader: x-when";
    let app = TestApp::start(&one_router(&format!("/svc/* => {}", service.path()), server)).await;
    let mut client = app.client().await;
    let request = forwarded(&mut client, &service, "").await;
    assert_eq!(request.field("forwarded"), Some("by=_http;for=127.0.0.1;host=world;proto=http"));
    let when: u128 = request.field("x-when").and_then(|when| when.parse().ok()).expect("milliseconds");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_millis();
    assert!((now - 60_000..=now).contains(&when), "{when}");
    let request = forwarded(&mut client, &service, "Forwarded: for=a\r\nX-When: then\r\n").await;
    assert_eq!(request.all("forwarded").len(), 2);
    assert_eq!(request.field("x-when"), Some("then"));
    app.stop().await;
}
