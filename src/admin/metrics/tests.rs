use super::{flat_json, linkerd_metrics, openmetrics, subtree, tree_json};
use crate::telemetry::Registry;
use http_body_util::BodyExt as _;
use serde_json::json;
use std::time::Duration;

/// A registry with a little of everything.
fn registry() -> Registry {
    let registry = Registry::default();
    let labels = [("router", "a/b"), ("server", "127.0.0.1/4140")];
    for (name, count) in [("requests", 7), ("success", 3), ("caller_faults", 1), ("failed_responses", 2)] {
        registry.counter(name, &labels).add(count);
    }
    registry.counter("responses", &[labels[0], labels[1], ("class", "2xx")]).add(3);
    registry.gauge("open_connections", &labels).add(2);
    registry.durations("request_duration", &labels).record(Duration::from_micros(100));
    registry.describe("requests", "Requests \"read\"");
    registry
}

#[test]
fn names_are_linkerds() {
    let expected = json!({
        "rt/a/b/server/127.0.0.1/4140/connections": 2,
        "rt/a/b/server/127.0.0.1/4140/failures": 3,
        "rt/a/b/server/127.0.0.1/4140/failures/caller": 1,
        "rt/a/b/server/127.0.0.1/4140/failures/response": 2,
        "rt/a/b/server/127.0.0.1/4140/request_latency_ms.avg": 0.1,
        "rt/a/b/server/127.0.0.1/4140/request_latency_ms.count": 1,
        "rt/a/b/server/127.0.0.1/4140/request_latency_ms.p50": 0.05,
        "rt/a/b/server/127.0.0.1/4140/request_latency_ms.p90": 0.09,
        "rt/a/b/server/127.0.0.1/4140/request_latency_ms.p95": 0.095,
        "rt/a/b/server/127.0.0.1/4140/request_latency_ms.p99": 0.099,
        "rt/a/b/server/127.0.0.1/4140/request_latency_ms.p9990": 0.1,
        "rt/a/b/server/127.0.0.1/4140/request_latency_ms.p9999": 0.1,
        "rt/a/b/server/127.0.0.1/4140/request_latency_ms.sum": 0.1,
        "rt/a/b/server/127.0.0.1/4140/requests": 7,
        "rt/a/b/server/127.0.0.1/4140/status/2XX": 3,
        "rt/a/b/server/127.0.0.1/4140/success": 3,
    });
    let shown = flat_json(&linkerd_metrics(&registry()));
    for (name, value) in expected.as_object().unwrap() {
        let (value, found) = (value.as_f64().unwrap(), shown[name].as_f64());
        assert!(found.is_some_and(|found| (found - value).abs() < 0.001), "{name}: {found:?}");
    }
    assert_eq!(shown.as_object().unwrap().len(), expected.as_object().unwrap().len());
}

#[test]
fn a_subtree_has_its_own_names() {
    let all = linkerd_metrics(&registry());
    for q in ["rt/a/b/server/127.0.0.1/4140/failures", "/rt/a/b/server/127.0.0.1/4140/failures/"] {
        assert_eq!(flat_json(&subtree(&all, q)), json!({ "": 3, "caller": 1, "response": 2 }));
        assert_eq!(
            tree_json(&subtree(&all, q)),
            json!({ "counter": 3, "caller": { "counter": 1 }, "response": { "counter": 2 } })
        );
    }
    assert_eq!(subtree(&all, "").len(), all.len());
    assert!(subtree(&all, "rt/a/b/server/127.0.0.1/4140/requests/more").is_empty());
    assert!(subtree(&all, "rt/a").is_empty(), "a label is one level");
    let tree = tree_json(&all);
    assert_eq!(tree["rt"]["a/b"]["server"]["127.0.0.1"]["4140"]["connections"], json!({ "gauge": 2 }));
    assert_eq!(
        tree["rt"]["a/b"]["server"]["127.0.0.1"]["4140"]["request_latency_ms"]["stat.count"],
        json!(1)
    );
}

#[tokio::test]
async fn openmetrics_text() {
    let body = openmetrics(&registry()).into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&body).unwrap();
    let labels = "router=\"a/b\",server=\"127.0.0.1/4140\"";
    for line in [
        "# HELP signpost_requests Requests \"read\"",
        "# TYPE signpost_requests counter",
        &format!("signpost_requests_total{{{labels}}} 7"),
        &format!("signpost_responses_total{{{labels},class=\"2xx\"}} 3"),
        "# TYPE signpost_open_connections gauge",
        &format!("signpost_open_connections{{{labels}}} 2"),
        "# TYPE signpost_request_duration_seconds histogram",
        "# UNIT signpost_request_duration_seconds seconds",
        &format!("signpost_request_duration_seconds_count{{{labels}}} 1"),
        &format!("signpost_request_duration_seconds_bucket{{le=\"0.0001\",{labels}}} 1"),
        &format!("signpost_request_duration_seconds_bucket{{le=\"+Inf\",{labels}}} 1"),
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert_eq!(text.matches("# TYPE signpost_requests ").count(), 1);
}
