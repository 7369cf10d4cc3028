//! The metrics of services and clients.

use crate::support::http2::{Call, H2Service, fields};
use crate::support::{Service, TestApp, dead_address, ok, one_router, speaking, until};
use http::{Request, Response};
use std::cell::Cell;

const FAILED: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

#[tokio::test(flavor = "local")]
async fn requests_are_counted_by_service_and_attempts_by_client() {
    let fails = Cell::new(2_usize);
    let service = Service::start(async move |_| match fails.replace(fails.get().saturating_sub(1)) {
        0 => ok("hi"),
        _ => FAILED.to_owned(),
    })
    .await;
    let yaml = one_router(&format!("/svc/web => {}", service.path()), "")
        + "  service: {responseClassifier: {kind: io.l5d.http.retryableRead5XX}}\n";
    let app = TestApp::start_workers(&yaml, 2).await;
    for _ in 0..3 {
        app.client().await.get("web", "").await.assert_status(200);
    }
    app.client().await.get("nowhere", "").await.assert_status(502);
    let path = service.path();
    // A request ends when its caller has got all of the response, and so a moment later than that.
    until("all have ended", async || {
        app.total("service_success", &[]) + app.total("router_faults", &[]) == 4
    })
    .await;
    let (of_service, of_client) = ([("service", "/svc/web")], [("client", path.as_str())]);
    for (name, labels, expected) in [
        ("service_requests", &of_service, 3),
        ("service_success", &of_service, 3),
        ("service_retries", &of_service, 2),
        ("service_request_duration", &of_service, 3),
        ("service_retries_budget", &of_service, 98),
        ("client_requests", &of_client, 5),
        ("client_success", &of_client, 3),
        ("client_failures", &of_client, 2),
        ("client_request_duration", &of_client, 3),
        ("client_endpoints", &of_client, 1),
        ("client_endpoints_available", &of_client, 1),
        ("client_requests_under_way", &of_client, 0),
    ] {
        assert_eq!(app.total(name, labels), expected, "{name}");
    }
    assert_eq!(app.total("service_requests", &[("service", "/svc/nowhere")]), 0, "it is not there");
    let tree = app.json("/admin/metrics.json").await;
    let client = format!("rt/http/client/{}", path.strip_prefix('/').expect("a path"));
    for (name, expected) in [
        ("rt/http/service/svc/web/requests".to_owned(), 3),
        ("rt/http/service/svc/web/success".to_owned(), 3),
        ("rt/http/service/svc/web/retries/total".to_owned(), 2),
        ("rt/http/service/svc/web/request_latency_ms.count".to_owned(), 3),
        (format!("{client}/requests"), 5),
        (format!("{client}/failures"), 2),
        (format!("{client}/failures/response"), 2),
        (format!("{client}/loadbalancer/size"), 1),
        (format!("{client}/failure_accrual/removals"), 0),
    ] {
        let found = tree.get(&name);
        assert_eq!(found.and_then(serde_json::Value::as_u64), Some(expected), "{name}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_failure_is_counted_by_its_kind() {
    let (address, _socket) = dead_address();
    let path = format!("/$/inet/{}/{}", address.ip(), address.port());
    let app = TestApp::start(&one_router(&format!("/svc/web => {path}"), "")).await;
    app.client().await.get("web", "").await.assert_status(502);
    let refused = [("client", path.as_str()), ("kind", "refused")];
    assert_eq!(app.total("client_failures", &refused), 1, "no other endpoint is there for a further attempt");
    let failed = [("service", "/svc/web"), ("kind", "upstream")];
    until("the request has ended", async || app.total("service_failures", &failed) == 1).await;
    app.stop().await;
}

/// A call that fails by its trailers is a failure of the service and of the client, although its status is 200.
#[tokio::test(flavor = "local")]
async fn a_call_counts_by_its_grpc_status() {
    let service = H2Service::start(async |mut call: Call| {
        call.read().await;
        let status = call.field("x-status").unwrap_or("0").to_owned();
        let mut out = call.begin(Response::new(()));
        out.send_data("answer".into(), false).unwrap();
        out.send_trailers(fields(&[("grpc-status", &status)])).unwrap();
    })
    .await;
    let yaml = speaking("h2", &format!("/svc/web => {}", service.path()), "")
        + "  service: {responseClassifier: {kind: io.l5d.h2.grpc.neverRetryable}}\n";
    let app = TestApp::start(&yaml).await;
    let mut client = app.h2_client().await;
    for status in ["0", "13", "5"] {
        let call = Request::post("http://web/a.B/C")
            .header("content-type", "application/grpc")
            .header("x-status", status)
            .body("message")
            .unwrap();
        assert_eq!(client.ask(call).await.trailer("grpc-status"), Some(status));
    }
    for name in ["service", "client"] {
        let label = if name == "service" { "/svc/web".to_owned() } else { service.path() };
        let total = |series: &'static str| app.total(series, &[(name, label.as_str())]);
        until("all have ended", async || {
            app.total("client_success", &[]) + app.total("client_failures", &[]) == 3
        })
        .await;
        let (success, failures) = match name {
            "service" => (total("service_success"), total("service_failures")),
            _ => (total("client_success"), total("client_failures")),
        };
        assert_eq!((success, failures), (1, 2), "{name}");
    }
    app.stop().await;
}
