//! One table for requests over HTTP/1 and HTTP/2: what a caller may send does not depend on how it is sent.

use crate::support::either::Speaks::{self, Http1, Http2};
use crate::support::either::{Ask, Caller, Echo, Seen, router, scene};
use crate::support::http2::Frame;
use crate::support::{TestApp, one_router, with_servers};

/// What a caller speaks, and what the endpoint speaks.
const WAYS: [(Speaks, Speaks); 4] = [(Http1, Http1), (Http1, Http2), (Http2, Http1), (Http2, Http2)];

/// Has a request with trailers echoed.
async fn echoed(way: (Speaks, Speaks), trailers: &[(&'static str, &str)]) -> Seen {
    let (app, _echo, mut caller) = scene(way.0, way.1).await;
    // Over HTTP/1, it says that it takes trailers.
    let fields: &[_] =
        if way.0 == Http1 { &[("te", "trailers"), ("connection", "te")] } else { &[("te", "trailers")] };
    let ask = Ask { method: "POST", target: "/", fields, body: b"hi", length: false, trailers };
    let answer = caller.ask(&ask).await;
    assert_eq!((answer.status, answer.text()), (200, "hi"), "{way:?}");
    drop(caller);
    app.stop().await;
    answer
}

#[tokio::test(flavor = "local")]
async fn blanks_around_a_value_are_not_passed_on() {
    for way in WAYS {
        let (app, echo, mut caller) = scene(way.0, way.1).await;
        for (sent, received) in [(" y", "y"), ("y\t", "y"), (" \ty z\t ", "y z"), (" ", ""), ("\t", "")] {
            assert_eq!(caller.get(&[("x", sent)]).await.status, 200, "{way:?} {sent:?}");
            assert_eq!(echo.take_request().field("x"), Some(received), "{way:?} {sent:?}");
        }
        assert_eq!(echo.connections(), 1, "{way:?}: none was ended because of it");
        app.stop().await;

        // The endpoint sends back those that it got, so both directions are seen.
        let answer = echoed(way, &[("a", " y"), ("b", "y\t"), ("c", " \ty z\t "), ("d", " ")]).await;
        for (name, value) in [("a", "y"), ("b", "y"), ("c", "y z"), ("d", "")] {
            assert_eq!(answer.trailer(name), Some(value), "{way:?}");
        }
    }
}

#[tokio::test(flavor = "local")]
async fn trailers_that_look_like_fields_of_the_head_do_not_pass() {
    let trailers = [
        ("x-forwarded-for", "1.1.1.1"),
        ("x_forwarded_for", "1.1.1.1"),
        ("x_real_ip", "1.1.1.1"),
        ("max_forwards", "1"),
        ("l5d", "a"),
        ("x-dtab", "a"),
        ("x_dtab", "a"),
        ("dtab-local-a", "a"),
        ("dtab_local_a", "a"),
        ("keep_alive", "a"),
        ("proxy_authorization", "a"),
        ("fine", "a"),
        ("al_so", "a"),
    ];
    for way in WAYS {
        let answer = echoed(way, &trailers).await;
        let mut names: Vec<_> = answer.trailers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["al_so", "fine"], "{way:?}");
        if way != (Http2, Http2) {
            // To or from HTTP/1, also those that authenticate or control: in any spelling.
            let answer =
                echoed(way, &[("set-cookie", "a"), ("set_cookie", "a"), ("cache_control", "a")]).await;
            assert_eq!(answer.trailers, [], "{way:?}");
        }
    }
}

#[tokio::test(flavor = "local")]
async fn a_stranger_does_not_trace() {
    for (caller, endpoint) in WAYS {
        let echo = Echo::start(endpoint).await;
        let yaml = one_router(&format!("/svc/* => {}", echo.path()), ", trust: nobody");
        let yaml = if endpoint == Http2 { yaml.replace("protocol: http", "protocol: h2") } else { yaml };
        let app = TestApp::start_here(&yaml).await;
        let mut caller = Caller::connect(&app, caller).await;
        for fields in [&[][..], &[("max-forwards", "0")], &[("l5d-add-context", "true")]] {
            let answer = caller.ask(&Ask { method: "TRACE", target: "/", fields, ..Ask::default() }).await;
            assert_eq!(answer.status, 405, "{fields:?}");
            let allowed = answer.field("allow").unwrap_or_default();
            assert!(allowed.contains("GET") && !allowed.contains("TRACE"), "{allowed}");
        }
        assert_eq!((echo.connections(), app.total("caller_faults", &[])), (0, 3));
        drop(caller);
        app.stop().await;
    }
}

/// An app with a listener that trusts its callers and one that trusts nobody, and a caller of each.
async fn trusted_and_stranger(dtab: &str, way: (Speaks, Speaks)) -> (TestApp, Caller, Caller) {
    let label = router(way.1);
    let yaml =
        with_servers(dtab, &["", ", trust: nobody"]).replace("protocol: http", &format!("protocol: {label}"));
    let app = TestApp::start(&yaml).await;
    let trusted = Caller::connect_to(app.address(label, 0), way.0).await;
    let stranger = Caller::connect_to(app.address(label, 1), way.0).await;
    (app, trusted, stranger)
}

#[tokio::test(flavor = "local")]
async fn a_share_that_is_lost_is_told_to_a_trusted_caller() {
    for way in WAYS {
        let echo = Echo::start(way.1).await;
        let dtab = format!("/echo => {}; /svc/web => /echo", echo.path());
        let (app, mut trusted, mut stranger) = trusted_and_stranger(&dtab, way).await;
        for (entry, lost) in [
            ("/svc/web => 1 * ! & 2 * /echo", Some("33.33 /svc/web=>! & 2*/echo")),
            ("/svc/web => 99 * /srv/web & 1 * /echo", Some("99 /svc/web=>99*/srv/web & /echo")),
            ("/svc/web => /srv/web | /echo", None),
        ] {
            let told = trusted.get(&[("l5d-dtab", entry)]).await;
            assert_eq!((told.status, told.field("l5d-dtab-lost")), (200, lost), "{way:?} {entry}");
            let told = stranger.get(&[("l5d-dtab", entry)]).await;
            assert_eq!((told.status, told.field("l5d-dtab-lost")), (200, None), "{way:?} {entry}");
        }
        assert_eq!(app.total("lost_shares", &[]), 2, "{way:?}");
        drop((trusted, stranger));
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn an_error_carries_the_id_by_which_it_is_found() {
    let is_made = |id: Option<&str>| {
        id.is_some_and(|id| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    for way in WAYS {
        let (app, mut trusted, mut stranger) = trusted_and_stranger("/svc => /nowhere", way).await;
        let own: &[_] = &[("x-request-id", "my-own")];
        let told = trusted.get(own).await;
        assert_eq!((told.status, told.field("x-request-id")), (502, Some("my-own")), "{way:?}");
        assert!(told.text().contains("ended at:\n  /nowhere/web"), "{way:?}: {}", told.text());
        let made = trusted.get(&[]).await;
        assert!(is_made(made.field("x-request-id")), "{way:?}: {made:?}");
        let told = stranger.get(own).await;
        assert_eq!(told.status, 502, "{way:?}");
        assert!(is_made(told.field("x-request-id")), "{way:?}: {told:?}");
        assert!(!told.text().contains("nowhere"), "{way:?}: {}", told.text());
        drop((trusted, stranger));
        app.stop().await;
    }
}

/// A target has no fragment (RFC 9112 3.2). Over HTTP/2, the library cuts it off before the router sees it: in no case does
/// it get to an endpoint.
#[tokio::test(flavor = "local")]
async fn no_fragment_of_a_target_is_passed_on() {
    for endpoint in [Http1, Http2] {
        let (app, echo, mut caller) = scene(Http1, endpoint).await;
        for target in ["/a#b", "/#", "/a?b#c"] {
            let ask = Ask { method: "GET", target, ..Ask::default() };
            let answer = Caller::connect(&app, Http1).await.ask(&ask).await;
            assert_eq!(answer.status, 400, "{target}");
        }
        assert_eq!(echo.connections(), 0);
        let mut frames = app.frames().await;
        for (stream, (sent, received)) in
            [("/a#b", "/a"), ("/#", "/"), ("/a?b#c", "/a?b")].into_iter().enumerate()
        {
            let stream = 2 * stream as u32 + 1;
            let fields = [(":method", "GET"), (":scheme", "http"), (":path", sent), (":authority", "web")];
            frames.send(Frame::request(stream, &fields)).await;
            assert_eq!(frames.status(stream).await, 200, "{sent}");
            assert_eq!(echo.take_request().target, received, "{sent}");
        }
        assert_eq!(caller.get(&[]).await.status, 200);
        drop((caller, frames));
        app.stop().await;
    }
}

/// What a request is named by, or may steer a router behind this one, is not for `Connection` to remove. HTTP/2 has no such
/// field.
#[tokio::test(flavor = "local")]
async fn connection_does_not_remove_what_steers() {
    let echo = Echo::start(Http1).await;
    let identifier =
        "  identifier: [{kind: io.l5d.header.token, header: x-who}, {kind: io.l5d.header, header: x-path}]\n";
    let app = TestApp::start(&(one_router(&format!("/svc/* => {}", echo.path()), "") + identifier)).await;
    let mut caller = Caller::connect(&app, Http1).await;
    let kept =
        [("x-who", "web"), ("X-Path", "/web"), ("tracestate", "a=b"), ("l5d-x", "c"), ("dtab-local", "d")];
    let removed = [("x-other", "a"), ("x-path2", "a")];
    let names = kept.iter().chain(&removed).map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let fields = [&kept[..], &removed, &[("Connection", names.as_str())]].concat();
    assert_eq!(caller.get(&fields).await.status, 200);
    let request = echo.take_request();
    for (name, value) in kept {
        assert_eq!(request.field(&name.to_ascii_lowercase()), Some(value), "{request:?}");
    }
    for (name, _) in removed {
        assert_eq!(request.field(name), None, "{request:?}");
    }
    app.stop().await;
}
