//! The metrics, in Linkerd's tree and as OpenMetrics text.

mod openmetrics;

pub(super) use self::openmetrics::openmetrics;

use super::query::Query;
use super::response::{PageResponse, json};
use crate::telemetry::{Distribution, Family, Registry, Sample, Total};
use hyper::StatusCode;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The metrics by their names in Linkerd, the levels joined with `/`.
type MetricTable = BTreeMap<String, Metric>;

/// One metric of Linkerd's tree.
#[derive(Clone)]
struct Metric {
    /// The levels above its own name. A label is one level, whatever it holds.
    scope: Rc<[String]>,
    /// Its own name, which may have several levels.
    name: Cow<'static, str>,
    total: Total,
}

impl Metric {
    /// Returns the levels of its whole name. A name that is empty has none.
    fn levels(&self) -> impl Iterator<Item = &str> {
        let own = (!self.name.is_empty()).then(|| self.name.split('/'));
        self.scope.iter().map(String::as_str).chain(own.into_iter().flatten())
    }
}

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
fn linkerd_metrics(registry: &Registry) -> MetricTable {
    let mut metrics = MetricTable::new();
    let mut scopes = ScopeTable::new();
    let families = registry.families();
    for Family { name, samples, .. } in &families {
        for sample in samples {
            let (scope, joined) = scopes.entry(Arc::as_ptr(&sample.labels).addr()).or_insert_with(|| {
                let scope = scope(sample);
                let joined = scope.join("/");
                (scope.into(), joined)
            });
            for name in linkerd_names(name, sample) {
                let full = if joined.is_empty() { name.to_string() } else { format!("{joined}/{name}") };
                match metrics.entry(full) {
                    Entry::Vacant(new) => {
                        let (scope, total) = (Rc::clone(scope), sample.total.clone());
                        new.insert(Metric { scope, name, total });
                    }
                    Entry::Occupied(mut known) => match (&mut known.get_mut().total, &sample.total) {
                        (Total::Counter(sum), Total::Counter(more)) => *sum += more,
                        (Total::Gauge(sum), Total::Gauge(more)) => *sum += more,
                        (total, last) => *total = last.clone(),
                    },
                }
            }
        }
    }
    metrics
}

/// The scopes of the labels of series, and each as one text, by the address of the labels: those of one thing share them.
type ScopeTable = HashMap<usize, (Rc<[String]>, String)>;

/// Returns the levels above the name of a series: `rt/<router>/server/<ip>/<port>`.
fn scope(sample: &Sample) -> Vec<String> {
    let label = |name| label(sample, name);
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

/// Returns the value of a label.
fn label<'a>(sample: &'a Sample, name: &str) -> Option<&'a str> {
    sample.labels().find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Returns the names that a series has there in Linkerd: its own, and that of the sum it is a part of.
fn linkerd_names(name: &'static str, sample: &Sample) -> impl Iterator<Item = Cow<'static, str>> {
    let mut sum = None;
    let mut part = |part: &str| {
        sum = Some("failures".into());
        format!("failures/{part}").into()
    };
    let own = match name {
        "connections" => "connects".into(),
        "open_connections" => "connections".into(),
        "caller_faults" => part("caller"),
        "router_faults" => part("router"),
        "upstream_faults" => part("upstream"),
        "failed_responses" => part("response"),
        "abandoned" | "stalled" => part(name),
        "request_duration" => "request_latency_ms".into(),
        "responses" => {
            let class = label(sample, "class").unwrap_or_default().to_uppercase();
            format!("status/{class}").into()
        }
        own => match traffic_name(own) {
            Some("failures") => part(label(sample, "kind").unwrap_or_default()),
            Some(name) => name.into(),
            None => own.into(),
        },
    };
    [sum, Some(own)].into_iter().flatten()
}

/// Returns the name that a series of a service or client has there in Linkerd.
fn traffic_name(own: &'static str) -> Option<&'static str> {
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
fn subtree(metrics: &MetricTable, q: &str) -> MetricTable {
    let wanted: Vec<&str> = q.split('/').filter(|part| !part.is_empty()).collect();
    // A label may hold slashes itself, so the joined names are compared.
    let rest = |metric: &Metric| {
        let levels: Vec<&str> = metric.levels().collect();
        let begin = |taken: usize| levels.iter().take(taken).flat_map(|level| level.split('/'));
        let taken = (0..=levels.len()).find(|taken| begin(*taken).eq(wanted.iter().copied()))?;
        let scope: Rc<[String]> = levels.iter().skip(taken).map(|level| (*level).to_owned()).collect();
        let joined = scope.join("/");
        Some((joined, Metric { scope, name: Cow::Borrowed(""), total: metric.total.clone() }))
    };
    metrics.values().filter_map(rest).collect()
}

/// Returns one object, the parts of names joined with `/`.
fn flat_json(metrics: &MetricTable) -> Value {
    let mut flat = Map::new();
    for (name, metric) in metrics {
        match &metric.total {
            Total::Counter(count) => drop(flat.insert(name.clone(), (*count).into())),
            Total::Gauge(count) => drop(flat.insert(name.clone(), (*count).into())),
            Total::Durations(all) => {
                let members = duration_members(all).into_iter();
                flat.extend(members.map(|(member, value)| (format!("{name}.{member}"), value)));
            }
        }
    }
    flat.into()
}

/// Returns objects in objects, with members `counter`, `gauge` or `stat.*` where a name ends.
fn tree_json(metrics: &MetricTable) -> Value {
    let mut root = Map::new();
    for metric in metrics.values() {
        let members = match &metric.total {
            Total::Counter(count) => vec![("counter".to_owned(), (*count).into())],
            Total::Gauge(count) => vec![("gauge".to_owned(), (*count).into())],
            Total::Durations(all) => duration_members(all)
                .into_iter()
                .map(|(member, value)| (format!("stat.{member}"), value))
                .collect(),
        };
        add_members(&mut root, metric.levels(), members);
    }
    root.into()
}

/// Adds members to the object under these names.
fn add_members<'a>(
    node: &mut Map<String, Value>,
    mut levels: impl Iterator<Item = &'a str>,
    members: Vec<(String, Value)>,
) {
    let mut node = node;
    for level in &mut levels {
        let below = node.entry(level).or_insert_with(|| Map::new().into());
        // No metric has a member of this name: the object is one of these.
        let Value::Object(below) = below else { return };
        node = below;
    }
    node.extend(members);
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
