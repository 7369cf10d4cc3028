//! The metrics, in Linkerd's tree and as OpenMetrics text.

mod openmetrics;

pub(super) use self::openmetrics::openmetrics;

use super::query::Query;
use super::response::{PageResponse, json, json_of_length};
use crate::telemetry::{Distribution, GroupSeries, Registry, SumTable, Total};
use hyper::StatusCode;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// One metric of Linkerd's tree.
#[derive(Debug)]
struct Metric<'a> {
    scope: Rc<MetricScope>,
    /// Its own name, which may have several levels.
    name: Rc<str>,
    total: Cow<'a, Total>,
}

/// The levels above the metrics of a thing.
#[derive(Debug)]
struct MetricScope {
    /// The levels. A label is one level, whatever it holds.
    levels: Vec<String>,
    /// The levels, a `/` behind each.
    prefix: String,
}

/// The names that a thing's metrics have there, in their order, each with the place of its series.
type OwnNames = Rc<[(Rc<str>, usize)]>;

impl MetricScope {
    fn new(levels: Vec<String>) -> Rc<Self> {
        let prefix = levels.iter().flat_map(|level| [level, "/"]).collect();
        Rc::new(Self { levels, prefix })
    }
}

impl Metric<'_> {
    /// Returns the levels of its whole name. A name that is empty has none.
    fn levels(&self) -> impl Iterator<Item = &str> {
        self.scope.levels.iter().map(String::as_str).chain(self.own_levels())
    }

    fn own_levels(&self) -> impl Iterator<Item = &str> {
        self.name.split('/').filter(|_| !self.name.is_empty())
    }

    /// Compares the whole names.
    fn compare(&self, other: &Self) -> Ordering {
        if Rc::ptr_eq(&self.scope, &other.scope) {
            return self.name.cmp(&other.name);
        }
        let [one, other] = [self, other].map(|metric| (metric.scope.prefix.as_bytes(), metric.name.bytes()));
        let both = one.0.len().min(other.0.len());
        let ((begin, rest), (other_begin, other_rest)) = (one.0.split_at(both), other.0.split_at(both));
        // As a rule that decides; what is behind it is compared byte by byte, which is slow.
        begin
            .cmp(other_begin)
            .then_with(|| rest.iter().copied().chain(one.1).cmp(other_rest.iter().copied().chain(other.1)))
    }
}

/// Answers `/admin/metrics.json`: flat, or as a tree with `tree=1`; with `q=rt/outgoing`, only the metrics below that.
pub(super) fn metrics_json(registry: &Registry, query: Query<'_>) -> PageResponse {
    let tables = registry.sums();
    let mut metrics = linkerd_metrics(&tables);
    if let Some(q) = query.get("q") {
        metrics = subtree(metrics, &q);
        if metrics.is_empty() {
            let error = serde_json::json!({ "error": format!("No such subtree: {q}") });
            return json(StatusCode::NOT_FOUND, &error, false);
        }
    }
    let is_pretty = query.flag("pretty");
    if query.flag("tree") {
        json(StatusCode::OK, &tree_json(&metrics), is_pretty)
    } else {
        let flat = FlatMetrics(&metrics);
        json_of_length(StatusCode::OK, &flat, is_pretty, flat.expected_length())
    }
}

/// Returns every metric under the name it has in Linkerd, in the order of these, each name once.
fn linkerd_metrics(tables: &[SumTable]) -> Vec<Metric<'_>> {
    let mut things = Vec::new();
    for SumTable { columns, rows } in tables {
        // All rows of a table have the same names, unless they tell a class or a kind of their own.
        let mut known = HashMap::<_, OwnNames>::new();
        for row in rows {
            let told = ["class", "kind"].map(|name| label(&row.labels, name));
            let names = known.entry(told).or_insert_with(|| own_names(columns, told));
            things.push((MetricScope::new(scope_levels(&row.labels)), Rc::clone(names), row));
        }
    }
    things.sort_by(|(one, ..), (next, ..)| one.prefix.cmp(&next.prefix));
    let mut metrics = Vec::with_capacity(things.iter().map(|(_, names, _)| names.len()).sum());
    for (scope, names, row) in &things {
        metrics.extend(names.iter().filter_map(|(name, at)| {
            let total = Cow::Borrowed(row.totals.get(*at)?);
            Some(Metric { scope: Rc::clone(scope), name: Rc::clone(name), total })
        }));
    }
    // They are in order, but for scopes that are inside of others: this takes little time.
    metrics.sort_by(Metric::compare);
    metrics.dedup_by(|next, known| {
        let is_same = next.compare(known).is_eq();
        if is_same {
            known.total = Cow::Owned(match (&*known.total, &*next.total) {
                (Total::Counter(sum), Total::Counter(more)) => Total::Counter(sum + more),
                (Total::Gauge(sum), Total::Gauge(more)) => Total::Gauge(sum + more),
                (_, last) => last.clone(),
            });
        }
        is_same
    });
    metrics
}

/// Returns the levels above the names of a thing's series: `rt/<router>/server/<ip>/<port>`.
fn scope_levels(labels: &[(&str, String)]) -> Vec<String> {
    let mut levels = Vec::new();
    for (part, name) in [("rt", "router"), ("server", "server"), ("service", "service"), ("client", "client")]
    {
        let Some(label) = label(labels, name) else { continue };
        levels.push(part.to_owned());
        // A name is one level without its first slash. An address and a port are two levels; a router's label is one,
        // whatever it holds.
        match part {
            "server" => levels.extend(label.split('/').map(str::to_owned)),
            "rt" => levels.push(label.to_owned()),
            _ => levels.push(label.strip_prefix('/').unwrap_or(label).to_owned()),
        }
    }
    levels
}

/// Returns the value of a label.
fn label<'a>(labels: &'a [(&str, String)], name: &str) -> Option<&'a str> {
    labels.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
}

/// Returns the names that series have there in Linkerd, in the order of the names. The labels `class` and `kind` are those
/// that a thing has of its own.
fn own_names(columns: &[GroupSeries], [class, kind]: [Option<&str>; 2]) -> OwnNames {
    let of = |(at, series): (usize, &GroupSeries)| {
        linkerd_names(series.name, class, series.kind.or(kind)).map(move |name| (Rc::from(name), at))
    };
    let mut names: Vec<_> = columns.iter().enumerate().flat_map(of).collect();
    names.sort();
    names.into()
}

/// Returns the names that a series has there in Linkerd: its own, and that of the sum it is a part of.
fn linkerd_names(
    name: &'static str,
    class: Option<&str>,
    kind: Option<&str>,
) -> impl Iterator<Item = Cow<'static, str>> + use<> {
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
        "responses" => format!("status/{}", class.unwrap_or_default().to_uppercase()).into(),
        own => match traffic_name(own) {
            Some("failures") => part(kind.unwrap_or_default()),
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
fn subtree<'a>(metrics: Vec<Metric<'a>>, q: &str) -> Vec<Metric<'a>> {
    let wanted: Vec<&str> = q.split('/').filter(|part| !part.is_empty()).collect();
    // A label may hold slashes itself, so the joined names are compared.
    let rest = |metric: Metric<'a>| {
        let levels: Vec<&str> = metric.levels().collect();
        let begin = |taken: usize| levels.iter().take(taken).flat_map(|level| level.split('/'));
        let taken = (0..=levels.len()).find(|taken| begin(*taken).eq(wanted.iter().copied()))?;
        let above = metric.scope.levels.len();
        let scope = MetricScope::new(metric.scope.levels.iter().skip(taken).cloned().collect());
        let name = metric.own_levels().skip(taken.saturating_sub(above)).collect::<Vec<_>>().join("/");
        Some(Metric { scope, name: name.into(), total: metric.total })
    };
    metrics.into_iter().filter_map(rest).collect()
}

/// One object, the parts of names joined with `/`.
struct FlatMetrics<'a>(&'a [Metric<'a>]);

impl FlatMetrics<'_> {
    /// Returns about how long it is as text, not less as a rule.
    fn expected_length(&self) -> usize {
        let length = |metric: &Metric<'_>| {
            let members = if matches!(*metric.total, Total::Durations(_)) { 9 } else { 1 };
            // Quotes, a colon and a comma, the name of a member, and a number.
            members * (metric.scope.prefix.len() + metric.name.len() + 24)
        };
        self.0.iter().map(length).sum()
    }
}

impl Serialize for FlatMetrics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        let mut key = String::new();
        for Metric { scope, name, total } in self.0 {
            key.clear();
            key.extend([&*scope.prefix, name]);
            match &**total {
                Total::Counter(count) => object.serialize_entry(&*key, count)?,
                Total::Gauge(count) => object.serialize_entry(&*key, count)?,
                Total::Durations(all) => {
                    let length = key.len();
                    for (member, value) in duration_members(all) {
                        key.truncate(length);
                        key.extend([".", member]);
                        object.serialize_entry(&*key, &value)?;
                    }
                }
            }
        }
        object.end()
    }
}

/// Returns objects in objects, with members `counter`, `gauge` or `stat.*` where a name ends.
fn tree_json(metrics: &[Metric<'_>]) -> Value {
    let mut root = Map::new();
    for metrics in metrics.chunk_by(|one, next| Rc::ptr_eq(&one.scope, &next.scope)) {
        let Some(Metric { scope, .. }) = metrics.first() else { continue };
        let Some(thing) = below(&mut root, scope.levels.iter().map(String::as_str)) else { continue };
        for metric in metrics {
            let Some(node) = below(thing, metric.own_levels()) else { continue };
            match &*metric.total {
                Total::Counter(count) => drop(node.insert("counter".to_owned(), (*count).into())),
                Total::Gauge(count) => drop(node.insert("gauge".to_owned(), (*count).into())),
                Total::Durations(all) => {
                    let members = duration_members(all).into_iter();
                    node.extend(members.map(|(member, value)| (format!("stat.{member}"), value)));
                }
            }
        }
    }
    root.into()
}

/// Returns the object below these levels, which is made if it is not there.
fn below<'a, 'b>(
    node: &'a mut Map<String, Value>,
    levels: impl Iterator<Item = &'b str>,
) -> Option<&'a mut Map<String, Value>> {
    let mut node = node;
    for level in levels {
        // No metric has a member of this name: the object is one of these.
        node = node.entry(level).or_insert_with(|| Map::new().into()).as_object_mut()?;
    }
    Some(node)
}

/// Returns the members of durations, in milliseconds, since the start, in the order of their names.
fn duration_members(all: &Distribution) -> Vec<(&'static str, Value)> {
    let count = all.count();
    if count == 0 {
        return vec![("count", 0.into())];
    }
    let sum = millis(all.sum);
    // A count of requests is far smaller than what a double counts exactly.
    let mut members = vec![("avg", (sum / count as f64).into()), ("count", count.into())];
    let shares =
        [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p9990", 0.999), ("p9999", 0.9999)];
    members.extend(shares.map(|(member, share)| (member, millis(all.quantile(share)).into())));
    members.push(("sum", sum.into()));
    members
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests;
