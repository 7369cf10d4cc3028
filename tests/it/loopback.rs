//! Listeners that trust because they are on loopback: a page whose name was bound to 127.0.0.1 cannot steer them.

use crate::support::either::{Ask, Caller, Echo, Seen, Speaks, router};
use crate::support::http2::H2Client;
use crate::support::{Service, TestApp, Wire, one_router, speaking};
use Speaks::{Http1, Http2};

/// Hosts, and whether the overrides of a request to them hold.
const HOSTS: [(&str, bool); 15] = [
    ("world", true),
    ("WORLD:80", true),
    ("127.0.0.1", true),
    ("10.0.0.7:4140", true),
    ("[::1]:4140", true),
    ("localhost:4140", true),
    ("a.b.localhost", true),
    ("newsvc", true),
    ("NewSvc.:4140", true),
    ("a.b.example.test", true),
    ("example.test", false),
    ("newsvc.evil.example", false),
    ("127.0.0.1.evil.example", false),
    ("localhost.evil.example:4140", false),
    ("evil.example", false),
];

/// Asks for `/` at a host with an override, over HTTP/1 and over HTTP/2.
async fn ask_both(app: &TestApp, host: &str, entry: &str) -> [(u16, String, Option<String>); 2] {
    let mut http1 = app.client().await;
    let http1 = http1.get(host, &format!("l5d-dtab: {entry}\r\n")).await;
    let mut http2 = app.h2_client().await;
    let http2 = http2.get(host, &[("l5d-dtab", entry)]).await;
    [
        (http1.status(), http1.text().to_owned(), http1.field("l5d-dtab-dropped").map(str::to_owned)),
        (http2.status(), http2.text().to_owned(), http2.field("l5d-dtab-dropped").map(str::to_owned)),
    ]
}

#[tokio::test(flavor = "local")]
async fn overrides_hold_for_hosts_that_no_page_has() {
    let (base, staged) = (Service::saying("base").await, Service::saying("staged").await);
    let dtab = format!("/svc/world => {0} ; /svc/world:80 => {0}", base.path());
    let entry = format!("/svc/* => {}", staged.path());
    for (keys, lifted) in [(", hosts: [newsvc, \"*.example.test\"]", false), (", trust: everybody", true)] {
        let app = TestApp::start(&one_router(&dtab, keys)).await;
        let mut dropped = 0;
        // The same requests again are answered from what the router remembers.
        for (host, holds) in HOSTS.iter().chain(&HOSTS) {
            for (status, text, reason) in ask_both(&app, host, &entry).await {
                if *holds || lifted {
                    assert_eq!((status, text.as_str(), reason), (200, "staged", None), "{host}");
                } else {
                    let host = host.split(':').next().unwrap();
                    let advice = format!("write `hosts: [{host}]` or `trust: everybody` at this server");
                    assert_eq!(status, 502, "{host}: {text}");
                    assert!(text.contains("The overrides were dropped") && text.contains(&advice), "{text}");
                    assert!(reason.is_some_and(|reason| reason.contains(&advice)), "{host}");
                    dropped += 1;
                }
            }
        }
        assert_eq!(app.total("unknown_host_overrides", &[]), dropped, "{keys}");
        assert_eq!(dropped > 0, !lifted);
        assert_eq!(app.total("dropped_overrides", &[]), 0);
        app.stop().await;
    }
}

/// A page may choose the path by which a request is named, and every header but the host.
#[tokio::test(flavor = "local")]
async fn a_name_that_is_not_of_the_host_shows_nothing() {
    for (caller, service) in [(Http1, Http1), (Http2, Http2), (Http1, Http2), (Http2, Http1)] {
        let (base, staged) = (Echo::start(service).await, Echo::start(service).await);
        let dtab = format!("/svc/world => {}", base.path());
        let by_path = "identifier: {kind: io.l5d.header.path}\n  servers:";
        let yaml = |keys| speaking(router(service), &dtab, keys).replacen("servers:", by_path, 1);
        let dentry = format!("/svc/world => {}", staged.path());
        let baggage = format!("a=b,dtab={},c=d", dentry.replace('/', "%2F").replace(' ', "%20"));
        let fields: [&[(&str, &str)]; 3] =
            [&[("l5d-dtab", &dentry)], &[("l5d-ctx-dtab", &dentry)], &[("baggage", &baggage)]];
        // The callers of the kit call the host `web`.
        for (keys, holds) in [("", false), (", hosts: [web]", true), (", trust: everybody", true)] {
            let app = TestApp::start(&yaml(keys)).await;
            let mut client = Caller::connect(&app, caller).await;
            for fields in fields {
                // A path may end in the host, too.
                for target in ["/world", "/world/web"] {
                    let ask = Ask { method: "GET", target, fields, ..Ask::default() };
                    let seen: Seen = client.ask(&ask).await;
                    assert_eq!(seen.status, 200, "{keys}: {seen:?}");
                    assert_eq!(
                        seen.field("l5d-dtab-dropped").is_none(),
                        holds,
                        "{keys}: {fields:?} {target}"
                    );
                    if holds {
                        staged.take_request();
                    } else {
                        let arrived = base.take_request();
                        assert_eq!(arrived.field("l5d-ctx-dtab"), None);
                        let rest = fields.iter().find(|(name, _)| *name == "baggage").map(|_| "a=b,c=d");
                        assert_eq!(arrived.field("baggage"), rest, "no later hop follows it either");
                    }
                }
            }
            app.stop().await;
        }
    }
}

/// A tenant steers behind the router: it is dropped without a dtab beside it, and that of the listener's rules stays.
#[tokio::test(flavor = "local")]
async fn a_page_names_no_tenant() {
    let base = Service::saying("base").await;
    let rule = ", inject: [{when: {header: {x-job: \"1\"}}, sandbox: job}]";
    let yaml = one_router(&format!("/svc/world => {}", base.path()), rule);
    let yaml = yaml.replacen("servers:", "identifier: {kind: io.l5d.path}\n  servers:", 1);
    let app = TestApp::start(&yaml).await;
    let mut client = app.client().await;
    for (host, fields, arrived, dropped) in [
        ("evil.example", "baggage: a=b,sd-sandbox=x\r\n", "a=b", true),
        ("evil.example", "ot-baggage-sd-sandbox: x\r\nbaggage: a=b\r\n", "a=b", true),
        ("evil.example", "baggage: a=b\r\n", "a=b", false),
        ("evil.example", "x-job: 1\r\nbaggage: sd-sandbox=x\r\n", "sd-routing-key=job", true),
        ("evil.example", "x-job: 1\r\nl5d-dtab: /a => /b\r\n", "sd-routing-key=job", true),
        ("evil.example", "x-job: 1\r\n", "sd-routing-key=job", false),
        ("localhost", "baggage: a=b,sd-sandbox=x\r\n", "a=b,sd-sandbox=x", false),
    ] {
        let answer = client.ask(format!("GET /world HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).await;
        assert_eq!(answer.field("l5d-dtab-dropped").is_some(), dropped, "{host} {fields}");
        let request = base.take_requests().pop().expect("it is carried");
        assert_eq!(request.all("baggage").join(" | "), arrived, "{host} {fields}");
        assert_eq!(request.field("ot-baggage-sd-sandbox"), None);
    }
    app.stop().await;
}

/// The listener's own rules are no page's.
#[tokio::test(flavor = "local")]
async fn injected_entries_stay() {
    let [base, staged, injected] = ["base", "staged", "injected"].map(Service::saying);
    let (base, staged, injected) = tokio::join!(base, staged, injected);
    let rule = format!(", inject: [{{when: {{}}, dtab: \"/svc/world => {}\"}}]", injected.path());
    let yaml = one_router(&format!("/svc/world => {}", base.path()), &rule);
    let yaml = yaml.replacen("servers:", "identifier: {kind: io.l5d.path}\n  servers:", 1);
    let app = TestApp::start(&yaml).await;
    let mut client = app.client().await;
    let dentry = format!("l5d-dtab: /svc/world => {}\r\n", staged.path());
    for (host, fields, expected, dropped) in [
        ("evil.example", "", "injected", false),
        ("evil.example", dentry.as_str(), "injected", true),
        ("localhost", &dentry, "staged", false),
    ] {
        let answer = client.ask(format!("GET /world HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).await;
        assert_eq!(
            (answer.text(), answer.field("l5d-dtab-dropped").is_some()),
            (expected, dropped),
            "{host}"
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_request_without_a_host_is_no_browsers() {
    let (base, staged) = (Service::saying("base").await, Service::saying("staged").await);
    let yaml = one_router(&format!("/svc/world => {}", base.path()), "");
    let yaml = yaml.replacen("servers:", "identifier: {kind: io.l5d.path}\n  servers:", 1);
    let app = TestApp::start(&yaml).await;
    for (host, expected) in [("", "staged"), ("Host: \r\n", "staged"), ("Host: evil.example\r\n", "base")] {
        let mut client = app.client().await;
        let request =
            format!("GET /world HTTP/1.0\r\n{host}l5d-dtab: /svc/world => {}\r\n\r\n", staged.path());
        assert_eq!(client.ask(request).await.text(), expected, "{host:?}");
    }
    app.stop().await;
}

/// An absolute target names the host, and not the field beside it (RFC 9112 3.2.2).
#[tokio::test(flavor = "local")]
async fn the_host_of_an_absolute_target_counts() {
    let staged = Service::saying("staged").await;
    let app = TestApp::start(&one_router("", "")).await;
    let mut client: Wire = app.client().await;
    let entry = format!("l5d-dtab: /svc/* => {}", staged.path());
    for (target, host, status) in
        [("http://evil.example/", "localhost", 502), ("http://localhost/", "evil.example", 200)]
    {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{entry}\r\n\r\n");
        client.ask(request).await.assert_status(status);
    }
    let mut client: H2Client = app.h2_client().await;
    let request = http::Request::builder().uri("http://evil.example/").header("host", "evil.example");
    let request = request.header("l5d-dtab", format!("/svc/* => {}", staged.path())).body(()).unwrap();
    assert_eq!(client.begin(request, false).await.answer().await.status(), 502);
    app.stop().await;
}
