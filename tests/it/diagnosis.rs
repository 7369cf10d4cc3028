//! TRACE with `l5d-add-context`: each router that a trusted caller's request passes says where it led, and why.

use crate::support::either::{Ask, Caller, Echo, Seen, Speaks, router};
use crate::support::{Service, TestApp, one_router, routing_to, speaking};
use Speaks::{Http1, Http2};

/// The protocols of the caller, of the connection between two routers, and of the service.
const WAYS: [[Speaks; 3]; 4] =
    [[Http1, Http1, Http1], [Http2, Http2, Http2], [Http1, Http2, Http1], [Http2, Http1, Http2]];

const WANTED: (&str, &str) = ("l5d-add-context", "true");

/// A TRACE request with these fields.
async fn trace(caller: &mut Caller, fields: &[(&'static str, &str)]) -> Seen {
    caller.ask(&Ask { method: "TRACE", target: "/", fields, ..Ask::default() }).await
}

/// The text of a response with every duration as 0.
fn timeless(seen: &Seen) -> String {
    let lines = seen.text().split_inclusive('\n').map(|line| match line.strip_prefix("request duration: ") {
        Some(rest) => {
            let (milliseconds, unit) = rest.split_once(' ').unwrap();
            assert!(milliseconds.parse::<u32>().is_ok(), "{line}");
            format!("request duration: 0 {unit}")
        }
        None => line.to_owned(),
    });
    lines.collect()
}

/// What a router says; without `selected`, it sent the request nowhere.
fn said(router: &str, port: u16, selected: bool, steps: &[String]) -> String {
    let selected = if selected { format!("selected address: 127.0.0.1:{port}\n") } else { String::new() };
    let steps: String = steps.iter().map(|step| format!("  {step}\n")).collect();
    format!(
        "--- Router: {router} ---\nrequest duration: 0 ms\nservice name: /svc/web\n\
         client name: /$/inet/127.0.0.1/{port}\naddresses: [127.0.0.1:{port}]\n{selected}dtab resolution:\n{steps}"
    )
}

fn port(path: &str) -> u16 {
    path.rsplit('/').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "local")]
async fn every_hop_says_where_it_led() {
    for [caller, between, service] in WAYS {
        let echo = Echo::start(service).await;
        let path = echo.path();
        let dtab = format!("/svc => /host ; /host/web => {path}");
        let second = TestApp::start(&speaking(router(service), &dtab, "")).await;
        let second_port = second.first_address().port();
        let dtab = format!("/svc/web => /$/inet/127.0.0.1/{second_port}");
        let first = TestApp::start(&speaking(router(between), &dtab, "")).await;
        let inner = |selected| {
            let steps = [
                "/svc/web".to_owned(),
                "/host/web (/svc=>/host)".to_owned(),
                format!("{path} (/host/web=>{path})"),
            ];
            said(router(service), port(&path), selected, &steps)
        };
        let outer = |selected| {
            let path = format!("/$/inet/127.0.0.1/{second_port}");
            let steps = ["/svc/web".to_owned(), format!("{path} (/svc/web=>{path})")];
            said(router(between), second_port, selected, &steps)
        };
        let all = inner(true) + "\n" + &outer(true);
        let mut caller = Caller::connect(&first, caller).await;
        for (fields, expected, arrives) in [
            (&[WANTED] as &[_], all.clone(), true),
            (&[WANTED, ("max-forwards", "2")], all.clone(), true),
            (&[WANTED, ("max-forwards", "1")], inner(false) + "\n" + &outer(true), false),
            (&[WANTED, ("max-forwards", "0")], outer(false), false),
            (&[("max-forwards", "0")], String::new(), false),
            (&[("l5d-add-context", "false")], String::new(), true),
            (&[], String::new(), true),
        ] {
            let seen = trace(&mut caller, fields).await;
            assert_eq!(seen.status, 200, "{fields:?}");
            assert_eq!(timeless(&seen), expected, "{fields:?}");
            if arrives {
                let wanted = fields.iter().find(|(name, _)| *name == "l5d-add-context");
                assert_eq!(echo.take_request().field("l5d-add-context"), wanted.map(|(_, value)| *value));
            }
        }
        assert_eq!(trace(&mut caller, &[WANTED, ("max-forwards", "some")]).await.status, 400);
        // What the service answered comes first.
        let ask = Ask {
            method: "TRACE",
            target: "/",
            fields: &[WANTED],
            body: b"hello",
            length: true,
            ..Ask::default()
        };
        let seen = caller.ask(&ask).await;
        assert_eq!(timeless(&seen), format!("hello\n\n{all}"));
        assert_eq!(seen.field("content-type"), Some("text/plain; charset=utf-8"));
        // Other methods do not ask.
        let ask = Ask { method: "POST", ..ask };
        assert_eq!(caller.ask(&ask).await.text(), "hello");
        first.stop().await;
        second.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_stranger_is_told_nothing() {
    for speaks in [Http1, Http2] {
        let echo = Echo::start(speaks).await;
        let dtab = format!("/svc/* => {}", echo.path());
        let app = TestApp::start(&speaking(router(speaks), &dtab, ", trust: nobody")).await;
        let mut caller = Caller::connect(&app, speaks).await;
        for name in ["l5d-add-context", "L5D-ADD-CONTEXT", "l5d_add_context"] {
            let name = if speaks == Http2 { "l5d-add-context" } else { name };
            for fields in [&[(name, "true")][..], &[(name, "true"), ("max-forwards", "0")]] {
                let seen = trace(&mut caller, fields).await;
                assert_eq!((seen.status, seen.text()), (405, "the method is not allowed\n"));
            }
        }
        assert_eq!(echo.connections(), 0, "the service is told nothing either");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn it_says_what_became_of_overrides() {
    let service = Service::saying("").await;
    let path = service.path();
    let app = TestApp::start(&one_router(&format!("/svc => /host ; /host/web => {path}"), "")).await;
    let mut caller = Caller::connect(&app, Http1).await;
    let entry = format!("/host/web=>{path}/rest");
    for (entry, expected) in [
        (
            entry.as_str(),
            format!(
                "overrides: bound\ndtab resolution:\n  /svc/web\n  /host/web (/svc=>/host)\n  {path}/rest ({entry})\n"
            ),
        ),
        (
            "/host/web=>/nowhere",
            "overrides: unbound: /host/web=>/nowhere\ndtab resolution:\n  /svc/web\n".to_owned(),
        ),
    ] {
        let seen = trace(&mut caller, &[WANTED, ("l5d-dtab", entry)]).await;
        assert!(seen.text().contains(&expected), "{}", seen.text());
        assert_eq!(seen.text().contains("\nresidual: /rest\n"), entry.ends_with("rest"), "{}", seen.text());
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_answer_is_bounded_and_text() {
    let long = "x".repeat(100_000);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    );
    let length =
        |length| format!("HTTP/1.1 404 Not Found\r\nContent-Length: {length}\r\n\r\n{}", &long[..length]);
    for (answer, status, begin) in [
        (chunked, 200, format!("{}\n(the rest of the body is left out)\n\n---", &long[..1 << 16])),
        (length(100_000), 404, format!("{}\n(the rest of the body is left out)\n\n---", &long[..1 << 16])),
        (length(1 << 16), 404, format!("{}\n\n---", &long[..1 << 16])),
        (
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x08\0".to_owned(),
            200,
            "(a body with the content-encoding gzip is left out)\n\n---".to_owned(),
        ),
        (
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
            200,
            "(the status was 204, which has no body)\n\n---".to_owned(),
        ),
    ] {
        let service = Service::start(async move |_| answer.clone()).await;
        let app = TestApp::start(&routing_to(&service.path())).await;
        let mut caller = Caller::connect(&app, Http1).await;
        for _ in 0..2 {
            let seen = trace(&mut caller, &[WANTED]).await;
            assert_eq!(seen.status, status);
            assert!(seen.text().starts_with(&begin), "{:.100}", seen.text());
            assert!(seen.body.len() < (1 << 16) + (9 << 10));
            assert_eq!(seen.field("content-encoding"), None);
        }
        app.stop().await;
    }
    // A dtab that takes more room than a router gives itself.
    let service = Service::saying("").await;
    let label = "y".repeat(6000);
    let app = TestApp::start(&routing_to(&format!("{}/{label}", service.path()))).await;
    let seen = trace(&mut Caller::connect(&app, Http1).await, &[WANTED]).await;
    assert_eq!(seen.body.len(), 8 << 10);
    app.stop().await;
}
