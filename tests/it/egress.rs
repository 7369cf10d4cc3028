//! Requests that go outside, and responses that come back.

use crate::support::{Service, TestApp, one_router};

const ANSWER: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nl5d-err: inside\r\nl5d-retryable: true\r\nx-own: a\r\n\r\nhi";

/// The fields that a trusted caller sends.
const FIELDS: &str =
    "l5d-dtab: /a => /b\r\nbaggage: user=7,dtab=%2Fc%3D%3E%2Fd,sd-sandboxes=pr-1\r\nx-app: 1\r\n";

#[tokio::test(flavor = "local")]
async fn nothing_that_steers_goes_outside_or_comes_back() {
    for (keys, baggage) in [("egress: true", Some("user=7")), ("egress: true, removeBaggage: true", None)] {
        let outside = Service::start(async |_| ANSWER.to_owned()).await;
        let yaml = one_router(&format!("/svc/web => {}", outside.path()), "")
            + &format!("  client: {{{keys}}}\nsandboxes: {{keys: [sd-sandboxes]}}\n");
        let app = TestApp::start(&yaml).await;
        let answer = app.client().await.get("web", FIELDS).await;
        let told = outside.take_requests().pop().expect("it was asked");
        let names = told.field_names();
        assert!(names.iter().all(|name| !name.to_ascii_lowercase().starts_with("l5d-")), "{names:?}");
        assert_eq!((told.field("baggage"), told.field("x-app")), (baggage, Some("1")));
        assert!(told.field("via").is_some(), "{names:?}");
        assert_eq!((answer.text(), answer.field("x-own")), ("hi", Some("a")));
        assert_eq!((answer.field("l5d-err"), answer.field("l5d-retryable")), (None, None));
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_retry_inside_has_what_was_not_told_outside() {
    let failing = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let outside = Service::start(async |_| failing.to_owned()).await;
    let inside = Service::saying("inside").await;
    let dtab = format!("/svc/web => 1 * {} & 1 * {}", outside.path(), inside.path());
    let client = format!("{{kind: io.l5d.static, configs: [{{prefix: {}, egress: true}}]}}", outside.path());
    let yaml = one_router(&dtab, "")
        + &format!(
            "  client: {client}\n  service: {{responseClassifier: {{kind: io.l5d.http.retryableRead5XX}}}}\n"
        );
    let app = TestApp::start(&yaml).await;
    let mut client = app.client().await;
    for _ in 0..30 {
        assert_eq!(client.get("web", FIELDS).await.text(), "inside");
    }
    assert!(outside.count() > 0, "a share of the requests was there first");
    for told in outside.take_requests() {
        assert_eq!((told.field("l5d-ctx-dtab"), told.field("l5d-dst-client")), (None, None));
    }
    for told in inside.take_requests() {
        assert!(told.field("l5d-ctx-dtab").is_some(), "{told:?}");
        assert_eq!(told.all("l5d-dst-client"), [inside.path().as_str()]);
    }
    app.stop().await;
}
