//! Copies of requests to a second name.

use crate::support::{Service, TestApp, Upstream, ok, one_router, until};

/// A router whose service `web` is copied to `shadow`.
fn router(web: &str, shadow: &str, mirror: &str) -> String {
    let configs = format!("[{{prefix: /svc/web, mirror: {{name: /svc/shadow{mirror}}}}}]");
    one_router(&format!("/svc/web => {web}; /svc/shadow => {shadow}"), "")
        + &format!("  service: {{kind: io.l5d.static, configs: {configs}}}\n")
}

#[tokio::test(flavor = "local")]
async fn a_copy_has_the_request_and_nothing_that_steers() {
    let (web, shadow) = (Service::saying("web").await, Service::saying("shadow").await);
    let other = Service::saying("other").await;
    let app = TestApp::start(&router(&web.path(), &shadow.path(), "")).await;
    let mut client = app.client().await;
    let steered = format!(
        "l5d-dtab: /svc/shadow => {0}; /svc/web => {0}\r\nbaggage: a=1,dtab=%2Fx%3D%3E%2Fy\r\n",
        other.path()
    );
    let chunked = "POST /x?y=z HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    for (request, said, method, target, body) in [
        (format!("GET /a HTTP/1.1\r\nHost: web\r\n{steered}\r\n"), "other", "GET", "/a", ""),
        (
            "PUT /b HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
            "web",
            "PUT",
            "/b",
            "abc",
        ),
        (chunked.to_owned(), "web", "POST", "/x?y=z", "abcde"),
    ] {
        assert_eq!(client.ask(&request).await.text(), said);
        until("the copy is there", async || shadow.count() == 1).await;
        let copy = shadow.take_requests().pop().expect("there is one");
        assert_eq!(copy.first_line(), format!("{method} {target} HTTP/1.1"));
        assert_eq!((copy.text(), copy.field("l5d-mirror")), (body, Some("1")), "{request}");
        assert_eq!((copy.field("l5d-ctx-dtab"), copy.field("l5d-dst-service")), (None, Some("/svc/shadow")));
        assert!(copy.field("baggage").is_none_or(|baggage| baggage == "a=1"), "{:?}", copy.field("baggage"));
    }
    let of = |name: &'static str, service: &str| app.total(name, &[("service", service)]);
    until("all have ended", async || of("service_success", "/svc/shadow") == 3).await;
    assert_eq!((of("service_mirrored", "/svc/web"), of("service_mirror_skipped", "/svc/web")), (3, 0));
    assert_eq!(app.total("requests", &[]), 3, "a copy is no request of the listener");
    // A copy is not copied again.
    client.get("web", "l5d-mirror: 1\r\n").await.assert_status(200);
    client.get("web", "x-last: 1\r\n").await.assert_status(200);
    until("the last copy is there", async || shadow.count() > 0).await;
    assert_eq!(
        shadow.take_requests().iter().map(|copy| copy.field("x-last")).collect::<Vec<_>>(),
        [Some("1")]
    );
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_caller_waits_for_no_copy_and_hears_of_no_failure() {
    let (web, silent) = (Service::saying("web").await, Upstream::start().await);
    let app = TestApp::start(&router(&web.path(), &silent.path(), "")).await;
    let mut client = app.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("web", "").await.text(), "web");
    }
    let mut copies = Vec::new();
    for _ in 0..3 {
        let mut conn = silent.accept().await;
        conn.request().await;
        copies.push(conn);
    }
    assert_eq!(client.get("web", "").await.text(), "web", "while three copies wait");
    drop(copies);
    app.stop().await;
    let app = TestApp::start(&router(&web.path(), "!", "")).await;
    assert_eq!(app.client().await.get("web", "").await.text(), "web");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_large_body_is_not_copied_nor_is_more_than_the_share() {
    let web = Service::start(async |request| ok(&request.text().len().to_string())).await;
    let shadow = Service::saying("shadow").await;
    let app = TestApp::start(&router(&web.path(), &shadow.path(), "")).await;
    let large = format!("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 16384\r\n\r\n{}", "x".repeat(16384));
    assert_eq!(app.client().await.ask(large).await.text(), "16384");
    assert_eq!(app.total("service_mirror_skipped", &[("service", "/svc/web")]), 1);
    app.stop().await;
    let app = TestApp::start(&router(&web.path(), &shadow.path(), ", percent: 25")).await;
    let mut client = app.client().await;
    for _ in 0..400 {
        client.get("web", "").await.assert_status(200);
    }
    let copied = app.total("service_mirrored", &[("service", "/svc/web")]);
    assert!((40..160).contains(&copied), "about a hundred: {copied}");
    app.stop().await;
}
