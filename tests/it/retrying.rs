//! Requests that are sent again after an answer that is a failure, and the times that bound them all.

use crate::support::http2::{Call, H2Service, fields};
use crate::support::{Service, TestApp, Upstream, ok, one_router, speaking, time_flies};
use http::{Request, Response};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FAILED: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy";

/// A service that fails so many times with this response, and then says what it was sent.
async fn failing(times: usize, response: &'static str) -> Service {
    let left = Rc::new(Cell::new(times));
    Service::start(async move |request| match left.get().checked_sub(1) {
        Some(rest) => {
            left.set(rest);
            response.to_owned()
        }
        None => ok(request.text()),
    })
    .await
}

/// A router of HTTP/1 whose names lead to this endpoint, with these lines.
fn router(path: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    one_router(&format!("/svc/* => {path}"), "") + &lines
}

fn retrying(kind: &str) -> String {
    format!("service: {{responseClassifier: {{kind: io.l5d.http.{kind}}}}}")
}

fn request(method: &str, fields: &str, body: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: web\r\n{fields}\r\n{body}")
}

#[tokio::test(flavor = "local")]
async fn a_failure_is_retried_when_the_classifier_says_so_for_the_method() {
    for (kind, method, status, sent) in [
        ("nonRetryable5XX", "GET", 503, 1),
        ("retryableRead5XX", "GET", 200, 3),
        ("retryableRead5XX", "PUT", 503, 1),
        ("retryableIdempotent5XX", "PUT", 200, 3),
        ("retryableIdempotent5XX", "POST", 503, 1),
        ("retryableAll5XX", "POST", 200, 3),
        ("allSuccessful", "GET", 503, 1),
    ] {
        let service = failing(2, FAILED).await;
        let app = TestApp::start(&router(&service.path(), &[&retrying(kind)])).await;
        let answer = app.client().await.ask(request(method, "", "")).await;
        assert_eq!((answer.status(), service.count()), (status, sent), "{kind} {method}");
        assert_eq!(service.connections(), 1, "a short answer is read to its end: {kind} {method}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_retry_draws_another_leaf() {
    let (bad, good) = (failing(usize::MAX, FAILED).await, Service::saying("hi").await);
    let path = format!("1 * {} & 1 * {}", bad.path(), good.path());
    let app = TestApp::start(&router(&path, &[&retrying("retryableRead5XX")])).await;
    let mut client = app.client().await;
    for _ in 0..30 {
        let answer = client.get("web", "").await;
        assert_eq!(answer.text(), "hi");
    }
    assert!(bad.count() > 0 && good.count() == 30, "{} {}", bad.count(), good.count());
    let told = good.take_requests();
    let own = good.path();
    assert!(
        told.iter().all(|request| request.all("l5d-dst-client") == [own.as_str()]),
        "of the last leaf alone"
    );
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_body_is_sent_again_if_it_fits_the_buffer() {
    const BUFFER: usize = 16_383;
    let lengths =
        [("Content-Length: 16383\r\n", BUFFER, 200), ("Content-Length: 16384\r\n", BUFFER + 1, 503)];
    for (field, length, status) in lengths {
        let service = failing(1, FAILED).await;
        let app = TestApp::start(&router(&service.path(), &[&retrying("retryableAll5XX")])).await;
        let body = "x".repeat(length);
        let answer = app.client().await.ask(request("POST", field, &body)).await;
        assert_eq!(answer.status(), status, "{length}");
        let bodies: Vec<_> = service.take_requests().iter().map(|request| request.text().len()).collect();
        assert!(bodies.iter().all(|sent| *sent == length), "{bodies:?}");
        app.stop().await;
    }
    // In chunks, with trailers.
    let service = failing(1, FAILED).await;
    let app = TestApp::start(&router(&service.path(), &[&retrying("retryableAll5XX")])).await;
    let chunks = "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let answer = app.client().await.ask(request("POST", "Transfer-Encoding: chunked\r\n", chunks)).await;
    assert_eq!((answer.status(), answer.text()), (200, "abcde"));
    app.stop().await;
}

/// The answer comes before the body has: what had come of it goes to the next endpoint too, and the rest only there.
#[tokio::test(flavor = "local")]
async fn a_body_that_is_still_coming_is_sent_again_from_its_beginning() {
    let upstream = Upstream::start().await;
    let app = TestApp::start(&router(&upstream.path(), &[&retrying("retryableAll5XX")])).await;
    let mut client = app.client().await;
    client.send(request("POST", "Content-Length: 6\r\n", "abc")).await;
    let mut first = upstream.accept().await;
    first.head().await;
    first.expect("abc").await;
    first.send(FAILED).await;
    let mut second = upstream.accept().await;
    client.send("def").await;
    assert_eq!(second.request().await.text(), "abcdef");
    second.send(ok("whole")).await;
    assert_eq!(client.response().await.text(), "whole");
    first.assert_gone().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_is_believed_only_if_the_client_says_so() {
    const RETRYABLE: &str =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nl5d-retryable: true\r\n\r\n";
    for (lines, status, sent) in [(&[][..], 503, 1), (&["client: {trustRetryable: true}"], 200, 2)] {
        let service = failing(1, RETRYABLE).await;
        let app = TestApp::start(&router(&service.path(), lines)).await;
        let answer = app.client().await.ask(request("POST", "Content-Length: 1\r\n", "x")).await;
        assert_eq!((answer.status(), service.count()), (status, sent));
        app.stop().await;
    }
}

/// With every endpoint failing, the two budgets together.
#[tokio::test(flavor = "local")]
async fn retries_are_paid_from_the_budget_of_the_service() {
    const REQUESTS: usize = 200;
    let service = failing(usize::MAX, FAILED).await;
    let budget = "{minRetriesPerSec: 0, percentCanRetry: 0.2, ttlSecs: 60}";
    let lines = format!(
        "service: {{responseClassifier: {{kind: io.l5d.http.retryableAll5XX}}, retries: {{budget: {budget}}}}}"
    );
    let app = TestApp::start(&router(&service.path(), &[&lines])).await;
    let mut client = app.client().await;
    for _ in 0..REQUESTS {
        client.get("web", "").await.assert_status(503);
    }
    assert_eq!(service.count(), REQUESTS + REQUESTS / 5);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_late_attempt_is_a_504_or_is_retried() {
    let upstream = Upstream::start().await;
    let late = "client: {requestAttemptTimeoutMs: 500}";
    let app = TestApp::start_here(&router(&upstream.path(), &[late])).await;
    let mut client = app.client().await;
    client.send(request("GET", "", "")).await;
    let mut silent = upstream.accept().await;
    silent.request().await;
    let (answer, passed) = time_flies(client.response()).await;
    answer.assert_status(504);
    assert!(answer.text().contains("requestAttemptTimeoutMs"), "{}", answer.text());
    // The clock flies from a while after the beginning of the attempt.
    assert!(passed.as_millis() < 1500, "{passed:?}");
    silent.assert_gone().await;
    app.stop().await;

    let app = TestApp::start_here(&router(&upstream.path(), &[late, &retrying("retryableRead5XX")])).await;
    let mut client = app.client().await;
    client.send(request("GET", "", "")).await;
    let mut silent = upstream.accept().await;
    silent.request().await;
    let (mut second, _) = time_flies(upstream.accept()).await;
    second.request().await;
    second.send(ok("in time")).await;
    assert_eq!(client.response().await.text(), "in time");
    app.stop().await;
}

/// Returns how far the deadline that a request tells lies ahead, from the time at which it was set.
fn told(deadline: &str) -> Duration {
    let (set, until) = deadline.split_once(' ').expect("two numbers");
    Duration::from_nanos(until.parse::<u64>().unwrap() - set.parse::<u64>().unwrap())
}

#[tokio::test(flavor = "local")]
async fn the_total_time_bounds_all_attempts_and_the_least_time_travels_on() {
    let upstream = Upstream::start().await;
    let classifier = "responseClassifier: {kind: io.l5d.http.retryableRead5XX}";
    let lines = [
        &format!("service: {{totalTimeoutMs: 1200, {classifier}}}"),
        "client: {requestAttemptTimeoutMs: 500}",
    ];
    let app = TestApp::start_here(&router(&upstream.path(), &lines)).await;
    let mut client = app.client().await;
    client.send(request("GET", "", "")).await;
    let ((answer, attempts), passed) = time_flies(async {
        let answering = async { client.response().await };
        let attempting = async {
            let mut attempts = Vec::new();
            loop {
                let mut conn = upstream.accept().await;
                let request = conn.request().await;
                attempts.push((conn, told(request.field("l5d-ctx-deadline").expect("it has a time"))));
                if attempts.len() == 3 {
                    return attempts;
                }
            }
        };
        tokio::join!(answering, attempting)
    })
    .await;
    answer.assert_status(504);
    assert!(passed.as_millis() < 2000, "{passed:?}");
    let times: Vec<_> = attempts.iter().map(|(_, told)| told.as_millis()).collect();
    assert!(times.iter().all(|time| *time <= 500), "{times:?}");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn settings_hold_by_prefix_and_a_reload_changes_them_for_the_next_request() {
    let service = failing(usize::MAX, FAILED).await;
    let by_prefix = |prefix: &str| {
        format!(
            "service: {{kind: io.l5d.static, configs: [{{prefix: {prefix}, retries: {{budget: {{minRetriesPerSec: 0, \
             percentCanRetry: 1000, ttlSecs: 60}}, backoff: {{kind: constant, ms: 0}}}}}}, {{prefix: {prefix}, \
             responseClassifier: {{kind: io.l5d.http.retryableRead5XX}}, totalTimeoutMs: 50}}]}}"
        )
    };
    let mut app = TestApp::start(&router(&service.path(), &[&by_prefix("/svc/other")])).await;
    let mut client = app.client().await;
    client.get("web", "").await.assert_status(503);
    assert_eq!(service.count(), 1, "no entry matches");
    let left = app.reload(&router(&service.path(), &[&by_prefix("\"/svc/{name}\"")])).await;
    assert!(left.is_empty(), "{left:?}");
    service.take_requests();
    crate::support::until("it is retried until its time is over", async || {
        client.get("web", "").await;
        service.take_requests().len() > 2
    })
    .await;
    assert_eq!(service.connections(), 1, "the pool stays");
    app.stop().await;
}

/// A router of HTTP/2 with this classifier of gRPC, and these keys of its service.
fn grpc(path: &str, kind: &str, keys: &str) -> String {
    let classifier = format!("responseClassifier: {{kind: io.l5d.h2.grpc.{kind}}}");
    speaking("h2", &format!("/svc/* => {path}"), "") + &format!("  service: {{{classifier}{keys}}}\n")
}

fn call(fields: &[(&str, &str)]) -> Request<&'static str> {
    let mut request = Request::post("http://web/a.B/C").header("content-type", "application/grpc");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body("message").unwrap()
}

/// Answers a call with a body and this status in its trailers; with none in its head alone.
async fn end(mut call: Call, body: Option<&str>, status: &str) {
    let Some(body) = body else {
        let response = Response::builder().header("grpc-status", status).body("").unwrap();
        return call.answer(response).await;
    };
    call.read().await;
    let mut out = call.begin(Response::new(()));
    out.send_data(body.to_owned().into(), false).unwrap();
    out.send_trailers(fields(&[("grpc-status", status)])).unwrap();
}

#[tokio::test(flavor = "local")]
async fn a_call_is_retried_by_its_grpc_status() {
    for (kind, keys, body, status, sent) in [
        ("default", "", None, "14", 2),
        ("default", "", Some("half an answer"), "14", 2),
        ("default", "", Some("half an answer"), "13", 1),
        ("alwaysRetryable", "", Some("half an answer"), "13", 2),
        ("neverRetryable", "", None, "14", 1),
        ("default", ", retryBufferSize: {responseBytes: 3}", Some("half an answer"), "14", 1),
    ] {
        let seen = Rc::new(Cell::new(0));
        let count = Rc::clone(&seen);
        let service = H2Service::start(async move |call: Call| {
            count.set(count.get() + 1);
            let (body, status) = if count.get() == 1 { (body, status) } else { (Some("whole"), "0") };
            end(call, body, status).await;
        })
        .await;
        let app = TestApp::start(&grpc(&service.path(), kind, keys)).await;
        let answer = app.h2_client().await.ask(call(&[])).await;
        assert_eq!(seen.get(), sent, "{kind} {keys} {body:?} {status}");
        let code = answer.trailer("grpc-status").or(answer.field("grpc-status"));
        assert_eq!(code, Some(if sent == 2 { "0" } else { status }));
        assert_eq!(answer.text(), if sent == 2 { "whole" } else { body.unwrap_or_default() });
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn the_compliant_classifier_retries_a_503_without_a_grpc_status() {
    for (kind, sent) in [("default", 1), ("compliant", 2)] {
        let seen = Rc::new(Cell::new(0));
        let count = Rc::clone(&seen);
        let service = H2Service::start(async move |call: Call| {
            count.set(count.get() + 1);
            match count.get() {
                1 => call.answer(Response::builder().status(503).body("").unwrap()).await,
                _ => end(call, Some("whole"), "0").await,
            }
        })
        .await;
        let app = TestApp::start(&grpc(&service.path(), kind, "")).await;
        let answer = app.h2_client().await.ask(call(&[])).await;
        assert_eq!((answer.status(), seen.get()), (if sent == 2 { 200 } else { 503 }, sent), "{kind}");
        app.stop().await;
    }
}

/// A stream of messages begins to flow although its trailers are not there.
#[tokio::test(flavor = "local")]
async fn a_response_whose_trailers_do_not_come_is_passed_on() {
    let service = H2Service::start(async |mut call: Call| {
        let mut out = call.begin(Response::new(()));
        out.send_data("first".into(), false).unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let app = TestApp::start_here(&grpc(&service.path(), "alwaysRetryable", "")).await;
    let mut client = app.h2_client().await;
    let mut exchange = client.begin(call(&[]).map(drop), false).await;
    let (head, passed) = time_flies(exchange.head()).await;
    assert_eq!(head.expect("it comes").status(), 200);
    assert!(passed.as_millis() < 1100, "{passed:?}");
    drop(exchange);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_calls_timeout_is_a_deadline_and_the_rest_of_it_travels_on() {
    let service = H2Service::start(async |call: Call| {
        let told = format!(
            "{} {}",
            call.field("grpc-timeout").unwrap_or_default(),
            call.field("l5d-ctx-deadline").unwrap_or_default()
        );
        end(call, Some(&told), "0").await;
    })
    .await;
    let app = TestApp::start(&grpc(&service.path(), "default", "")).await;
    let mut client = app.h2_client().await;
    let answer = client.ask(call(&[("grpc-timeout", "1H")])).await;
    let mut words = answer.text().split(' ');
    let left = words.next().expect("a time");
    let seconds: u64 = left.strip_suffix('m').expect("milliseconds").parse().unwrap();
    assert!((3_590_000..=3_600_000).contains(&seconds), "{left}");
    let until: u64 = words.nth(1).expect("a deadline").parse().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let ahead = Duration::from_nanos(until).checked_sub(now).expect("it lies ahead");
    assert!((3590..=3600).contains(&ahead.as_secs()), "{ahead:?}");
    // It is over before the call is carried.
    let late = client.ask(call(&[("grpc-timeout", "0n")])).await;
    assert_eq!((late.status(), late.field("grpc-status")), (200, Some("4")));
    app.stop().await;
}
