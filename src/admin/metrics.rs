//! The metrics, in Linkerd's tree and as OpenMetrics text.

mod openmetrics;

pub(super) use self::openmetrics::openmetrics;

use super::query::Query;
use super::response::{PageResponse, json};
use crate::telemetry::{Distribution, Registry, Series, Total};
use hyper::StatusCode;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// The parts of a metric's name in Linkerd's tree.
type MetricPath = Vec<String>;

/// Answers `/admin/metrics.json`: flat, or as a tree with `tree=1`; with `q=rt/outgoing`, only the metrics below that.
pub(super) fn metrics_json(registry: &Registry, query: Query<'_>) -> PageResponse {
    let mut metrics = linkerd_metrics(registry);
    if let Some(q) = query.get("q") {
        metrics = subtree(&metrics, &q);
        if metrics.is_empty() {
            let error = serde_json::json!({ "error": format!("No such subtree: {q}") });
            return json(StatusCode::NOT_FOUND, &error, false);
        }
    }
    let shown = if query.flag("tree") { tree_json(&metrics) } else { flat_json(&metrics) };
    json(StatusCode::OK, &shown, query.flag("pretty"))
}

/// Returns every metric under the name it has in Linkerd.
fn linkerd_metrics(registry: &Registry) -> BTreeMap<MetricPath, Total> {
    let mut metrics: BTreeMap<MetricPath, Total> = BTreeMap::new();
    for (series, total) in registry.totals() {
        let scope = scope(&series);
        for name in linkerd_names(&series) {
            let full: MetricPath = scope.iter().cloned().chain(name.split('/').map(str::to_owned)).collect();
            match (metrics.get_mut(&full), &total) {
                (Some(Total::Counter(sum)), Total::Counter(more)) => *sum += more,
                (Some(Total::Gauge(sum)), Total::Gauge(more)) => *sum += more,
                _ => drop(metrics.insert(full, total.clone())),
            }
        }
    }
    metrics
}

/// Returns the levels above the name of a series: `rt/<router>/server/<ip>/<port>`.
fn scope(series: &Series) -> MetricPath {
    let label = |name| series.labels.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
    let mut scope = Vec::new();
    let levels = ["router", "server", "service", "client"].map(label);
    for (part, label) in ["rt", "server", "service", "client"].into_iter().zip(levels) {
        if let Some(label) = label {
            scope.push(part.to_owned());
            // A name is one level without its first slash. An address and a port are two levels; a router's label is one,
            // whatever it holds.
            let is_name = matches!(part, "service" | "client");
            let label = if is_name { label.strip_prefix('/').unwrap_or(label) } else { label };
            let levels: Vec<&str> = if part == "server" { label.split('/').collect() } else { vec![label] };
            scope.extend(levels.into_iter().map(str::to_owned));
        }
    }
    scope
}

/// Returns the names that a series has there in Linkerd: its own, and that of the sum it is a part of.
fn linkerd_names(series: &Series) -> Vec<String> {
    let with_sum = |part: &str| vec!["failures".to_owned(), format!("failures/{part}")];
    match series.name {
        "connections" => vec!["connects".to_owned()],
        "open_connections" => vec!["connections".to_owned()],
        "caller_faults" => with_sum("caller"),
        "router_faults" => with_sum("router"),
        "upstream_faults" => with_sum("upstream"),
        "failed_responses" => with_sum("response"),
        "abandoned" | "stalled" => with_sum(series.name),
        "request_duration" => vec!["request_latency_ms".to_owned()],
        "responses" => {
            let class = series.labels.iter().find(|(key, _)| *key == "class");
            vec![format!("status/{}", class.map_or(String::new(), |(_, class)| class.to_uppercase()))]
        }
        own => match traffic_name(own) {
            Some("failures") => {
                let kind =
                    series.labels.iter().find(|(key, _)| *key == "kind").map(|(_, kind)| kind.as_str());
                with_sum(kind.unwrap_or_default())
            }
            Some(name) => vec![name.to_owned()],
            None => vec![own.to_owned()],
        },
    }
}

/// Returns the name that a series of a service or client has there in Linkerd.
fn traffic_name(own: &str) -> Option<&str> {
    let (of_service, of_client) = (own.strip_prefix("service_"), own.strip_prefix("client_"));
    Some(match of_service.or(of_client)? {
        "request_duration" => "request_latency_ms",
        "retries" => "retries/total",
        "retries_budget" => "retries/budget",
        "retries_budget_exhausted" | "requeues_budget_exhausted" => "retries/budget_exhausted",
        "requeues" => "retries/requeues",
        "endpoints" => "loadbalancer/size",
        "endpoints_available" => "loadbalancer/available",
        "requests_under_way" => "pending",
        "waiters" => "pool_waiters",
        "accrual_removals" => "failure_accrual/removals",
        "accrual_revivals" => "failure_accrual/revivals",
        "accrual_probes" => "failure_accrual/probes",
        "accrual_removed_ms" => "failure_accrual/removed_for_ms",
        name => name,
    })
}

/// Returns the metrics below a scope that is written with `/`, under the names they have there.
fn subtree(metrics: &BTreeMap<MetricPath, Total>, q: &str) -> BTreeMap<MetricPath, Total> {
    let wanted: Vec<&str> = q.split('/').filter(|part| !part.is_empty()).collect();
    // A label may hold slashes itself, so the joined names are compared.
    let rest = |scope: &MetricPath| {
        (0..=scope.len())
            .find(|taken| {
                scope.iter().take(*taken).flat_map(|part| part.split('/')).eq(wanted.iter().copied())
            })
            .map(|taken| scope.iter().skip(taken).cloned().collect())
    };
    metrics.iter().filter_map(|(scope, total)| Some((rest(scope)?, total.clone()))).collect()
}

/// Returns one object, the parts of names joined with `/`.
fn flat_json(metrics: &BTreeMap<MetricPath, Total>) -> Value {
    let mut flat = Map::new();
    for (scope, total) in metrics {
        let name = scope.join("/");
        match total {
            Total::Counter(count) => drop(flat.insert(name, (*count).into())),
            Total::Gauge(count) => drop(flat.insert(name, (*count).into())),
            Total::Durations(all) => {
                flat.extend(
                    duration_members(all)
                        .into_iter()
                        .map(|(member, value)| (format!("{name}.{member}"), value)),
                );
            }
        }
    }
    flat.into()
}

/// Returns objects in objects, with members `counter`, `gauge` or `stat.*` where a name ends.
fn tree_json(metrics: &BTreeMap<MetricPath, Total>) -> Value {
    let mut root = Map::new();
    for (scope, total) in metrics {
        let members = match total {
            Total::Counter(count) => vec![("counter".to_owned(), (*count).into())],
            Total::Gauge(count) => vec![("gauge".to_owned(), (*count).into())],
            Total::Durations(all) => duration_members(all)
                .into_iter()
                .map(|(member, value)| (format!("stat.{member}"), value))
                .collect(),
        };
        add_members(&mut root, scope, members);
    }
    root.into()
}

/// Adds members to the object at a scope.
fn add_members(node: &mut Map<String, Value>, scope: &[String], members: Vec<(String, Value)>) {
    match scope.split_first() {
        None => node.extend(members),
        Some((part, rest)) => {
            let below = node.entry(part.as_str()).or_insert_with(|| Map::new().into());
            if let Value::Object(below) = below {
                add_members(below, rest, members);
            }
        }
    }
}

/// Returns the members of durations, in milliseconds, since the start.
fn duration_members(all: &Distribution) -> Vec<(&'static str, Value)> {
    let count = all.count();
    let mut members = vec![("count", count.into())];
    if count > 0 {
        let shares =
            [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p9990", 0.999), ("p9999", 0.9999)];
        members.extend(shares.map(|(member, share)| (member, millis(all.quantile(share)).into())));
        members.push(("sum", millis(all.sum).into()));
        // A count of requests is far smaller than what a double counts exactly.
        members.push(("avg", (millis(all.sum) / count as f64).into()));
    }
    members
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests;
