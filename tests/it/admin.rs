//! What the admin server shows of the running app.

use crate::support::{Message, Service, TestApp, Wire, ok, one_router, routing_to, until, within};
use serde_json::{Value, json};

/// Asks the admin server for a page.
async fn get(app: &TestApp, target: &str) -> Message {
    ask(app, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await
}

/// Sends a request to the admin server.
async fn ask(app: &TestApp, request: &str) -> Message {
    Wire::connect(app.running().admin()).await.ask(request).await
}

/// Asks the admin server for JSON.
async fn get_json(app: &TestApp, target: &str) -> Value {
    let answer = get(app, target).await;
    assert_eq!((answer.status(), answer.field("content-type")), (200, Some("application/json")), "{target}");
    serde_json::from_slice(&answer.body).expect("it is JSON")
}

#[tokio::test(flavor = "local")]
async fn each_page_says_what_may_be_asked() {
    let app = TestApp::start(&one_router("", "")).await;
    assert!(app.running().admin().ip().is_loopback());
    let mut admin = Wire::connect(app.running().admin()).await;
    for (request, status, allow) in [
        ("GET /admin/ping", 200, None),
        ("GET /admin/live", 200, None),
        ("GET /admin/ready", 200, None),
        ("GET /elsewhere", 404, None),
        ("GET /admin/", 404, None),
        ("DELETE /admin/ping", 405, Some("GET, HEAD")),
        ("GET /admin/shutdown", 405, Some("POST")),
        ("HEAD /admin/shutdown", 405, Some("POST")),
    ] {
        admin.send(format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let head = admin.head().await;
        assert_eq!((head.status(), head.field("allow")), (status, allow), "{request}");
        assert_eq!(head.field("x-content-type-options"), Some("nosniff"), "{request}");
        assert!(head.field("content-security-policy").is_some(), "{request}");
        if !request.starts_with("HEAD") {
            let length = head.field("content-length").unwrap().parse().unwrap();
            admin.reader.bytes(length).await;
        }
    }
    assert_eq!(get(&app, "/admin/ping").await.text(), "pong");
    assert_eq!(get(&app, "/admin/ready").await.text(), "ready\n");
    app.stop().await;
    admin.assert_gone().await;
}

#[tokio::test(flavor = "local")]
async fn head_is_get_without_the_body() {
    let app = TestApp::start(&one_router("", "")).await;
    let mut admin = Wire::connect(app.running().admin()).await;
    admin.send("HEAD /admin/ping HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = admin.head().await;
    assert_eq!((head.status(), head.field("content-length")), (200, Some("4")));
    assert_eq!(admin.ask("GET /admin/ping HTTP/1.1\r\nHost: a\r\n\r\n").await.text(), "pong");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_index_lists_the_pages() {
    let app = TestApp::start(&one_router("", "")).await;
    for path in ["/", "/admin"] {
        let list = get(&app, path).await;
        assert!(list.text().contains("/admin/ping  answers"), "{list:?}");
        assert!(list.text().contains("\nPOST /admin/shutdown  stops"), "{list:?}");
        let page = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept: text/html,*/*\r\n\r\n");
        let page = ask(&app, &page).await;
        assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
        assert!(page.text().contains("<a href=\"/admin/ping\">"), "{page:?}");
        assert!(!page.text().contains("href=\"/admin/shutdown\""), "{page:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_stop_can_be_asked_for_but_not_by_a_page_of_somebody_else() {
    let app = TestApp::start(&one_router("", "")).await;
    for fields in ["Host: localhost\r\nOrigin: http://evil.example", "Host: evil.example"] {
        let refused = ask(&app, &format!("POST /admin/shutdown HTTP/1.1\r\n{fields}\r\n\r\n")).await;
        assert_eq!(refused.status(), 403, "{fields}");
    }
    let asked = ask(&app, "POST /admin/shutdown HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!((asked.status(), asked.text()), (200, "stopping\n"));
    within("being asked", app.running().stop_asked()).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_head_of_too_many_fields_is_refused() {
    let app = TestApp::start(&one_router("", "")).await;
    let request = format!("GET /admin/ping HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(200));
    assert_eq!(ask(&app, &request).await.status(), 431);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_is_counted_is_shown() {
    let service = Service::start(async |request| match request.first_line() {
        "GET /bad HTTP/1.1" => "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => ok("fine"),
    })
    .await;
    for workers in [0, 2] {
        let yaml = routing_to(&service.path());
        let app = match workers {
            0 => TestApp::start(&yaml).await,
            workers => TestApp::start_workers(&yaml, workers).await,
        };
        let (mut client, mut gone) = (app.client().await, app.client().await);
        for target in ["/", "/bad", "/"] {
            client.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        }
        gone.ask("GET / HTTP/1.1\r\nHost: a\r\nl5d-dtab: /nonsense\r\n\r\n").await.assert_status(400);
        gone.ask("GET / HTTP/1.1\r\n\r\n").await.assert_status(400);
        gone.assert_gone().await;

        let address = app.address("http", 0);
        let server = format!("rt/http/server/{}/{}", address.ip(), address.port());
        let flat = format!("/admin/metrics.json?q={server}");
        until("one connection is left", async || get_json(&app, &flat).await["connections"] == 1).await;
        let shown = get_json(&app, &flat).await;
        for (name, count) in [
            ("connects", 2),
            ("requests", 4),
            ("success", 2),
            ("failures", 3),
            ("failures/caller", 2),
            ("failures/response", 1),
            ("failures/router", 0),
            ("status/2XX", 2),
            ("status/4XX", 2),
            ("status/5XX", 1),
            ("request_latency_ms.count", 4),
        ] {
            assert_eq!(shown[name], count, "{name}: {shown}");
        }
        let all = get_json(&app, "/admin/metrics.json?pretty=true").await;
        assert_eq!(all[&format!("{server}/requests")], 4);
        let tree = get_json(&app, "/admin/metrics.json?tree=1&q=rt/http/server").await;
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        assert_eq!(tree[ip][port]["requests"], json!({ "counter": 4 }));
        let missing = get(&app, "/admin/metrics.json?q=rt/%22none%22").await;
        assert_eq!((missing.status(), missing.text()), (404, r#"{"error":"No such subtree: rt/\"none\""}"#));

        let text = get(&app, "/admin/metrics/prometheus").await;
        let labels = format!("router=\"http\",server=\"{}/{}\"", address.ip(), address.port());
        let line = format!("signpost_requests_total{{{labels}}} 4");
        assert!(text.text().lines().any(|found| found == line), "{line}\n{}", text.text());
        app.stop().await;
    }
}
