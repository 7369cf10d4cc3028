use super::openmetrics::{decimal, exposition};
use super::{FlatMetrics, Metric, linkerd_metrics, subtree, tree_json};
use crate::telemetry::{
    Durations, GroupKind, GroupSeries, GroupSource, Registry, SourceKind, SumTable, Total,
};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry as Exported, Unit};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Weak};
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
    let shown = flat(&linkerd_metrics(&registry().sums()));
    for (name, value) in expected.as_object().unwrap() {
        let (value, found) = (value.as_f64().unwrap(), shown[name].as_f64());
        assert!(found.is_some_and(|found| (found - value).abs() < 0.001), "{name}: {found:?}");
    }
    assert_eq!(shown.as_object().unwrap().len(), expected.as_object().unwrap().len());
}

#[test]
fn a_subtree_has_its_own_names() {
    let sums = registry().sums();
    let below = |q: &str| subtree(linkerd_metrics(&sums), q);
    for q in ["rt/a/b/server/127.0.0.1/4140/failures", "/rt/a/b/server/127.0.0.1/4140/failures/"] {
        assert_eq!(flat(&below(q)), json!({ "": 3, "caller": 1, "response": 2 }));
        assert_eq!(
            tree_json(&below(q)),
            json!({ "counter": 3, "caller": { "counter": 1 }, "response": { "counter": 2 } })
        );
    }
    let all = linkerd_metrics(&sums);
    assert_eq!(below("").len(), all.len());
    assert!(below("rt/a/b/server/127.0.0.1/4140/requests/more").is_empty());
    assert!(below("rt/a").is_empty(), "a label is one level");
    let tree = tree_json(&all);
    assert_eq!(tree["rt"]["a/b"]["server"]["127.0.0.1"]["4140"]["connections"], json!({ "gauge": 2 }));
    assert_eq!(
        tree["rt"]["a/b"]["server"]["127.0.0.1"]["4140"]["request_latency_ms"]["stat.count"],
        json!(1)
    );
    let server = below("rt/a/b/server");
    assert_eq!(flat(&server)["127.0.0.1/4140/failures/caller"], 1);
    assert_eq!(tree_json(&server)["127.0.0.1"]["4140"]["failures"]["caller"], json!({ "counter": 1 }));
}

fn flat(metrics: &[Metric<'_>]) -> Value {
    serde_json::to_value(FlatMetrics(metrics)).unwrap()
}

#[test]
fn names_are_in_order_and_none_comes_twice() {
    let registry = Registry::default();
    // `a` is a scope in which there are others, and `-` comes before `/`.
    for service in ["/svc/a", "/svc/a/b", "/svc/a-b", "/svc/c"] {
        for name in ["service_requests", "service_retries", "success"] {
            registry.counter(name, &[("router", "r"), ("service", service)]).increment();
        }
    }
    // Two series with one name there are summed.
    registry.counter("requests", &[("router", "r/service/svc/c")]).increment();
    registry.counter("requests", &[("router", "r"), ("zone", "b")]).add(2);
    registry.counter("requests", &[("router", "r")]).add(3);
    let sums = registry.sums();
    let shown = serde_json::to_string(&FlatMetrics(&linkerd_metrics(&sums))).unwrap();
    let services = ["a-b", "a/b", "a", "c"].map(|service| {
        let own = if service == "c" { 2 } else { 1 };
        let name = |name| format!("\"rt/r/service/svc/{service}/{name}\"");
        [(name("requests"), own), (name("retries/total"), 1), (name("success"), 1)]
    });
    let mut expected = services.concat();
    expected.push(("\"rt/r/requests\"".to_owned(), 5));
    expected.sort();
    let members: Vec<_> = expected.iter().map(|(name, count)| format!("{name}:{count}")).collect();
    assert_eq!(shown, format!("{{{}}}", members.join(",")));
}

#[test]
fn openmetrics_text() {
    let text = exposition(&registry().sums());
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

/// A kind of group with a series of everything.
static KIND: GroupKind = GroupKind {
    counters: &[
        GroupSeries { name: "things", kind: None, meaning: "Things" },
        GroupSeries { name: "ends", kind: Some("good"), meaning: "Ends" },
        GroupSeries { name: "ends", kind: Some("bad"), meaning: "Ends" },
    ],
    durations: GroupSeries { name: "lives", kind: None, meaning: "Lives" },
    sources: &[
        (GroupSeries { name: "size", kind: None, meaning: "Size" }, SourceKind::Gauge),
        (GroupSeries { name: "growth", kind: None, meaning: "Growth" }, SourceKind::Counter),
    ],
};

struct Size;

impl GroupSource for Size {
    fn read(&self, at: usize) -> u64 {
        7 + at as u64
    }
}

#[test]
fn openmetrics_text_is_that_of_prometheus_client() {
    let registry = registry();
    registry.counter("plain", &[]).add(5);
    registry.gauge("depth", &[("name", "a\"b\\c\nd\u{e9}\u{1F980}"), ("empty", "")]).add(-3);
    registry.durations("idle", &[]);
    let size: Arc<dyn GroupSource> = Arc::new(Size);
    let groups =
        ["b", "a", "\"", "gone"].map(|client| registry.group(&KIND, &[("router", "r"), ("client", client)]));
    groups.iter().take(3).for_each(|group| group.set_source(Arc::downgrade(&size)));
    groups[1].set_source(Weak::<Size>::new());
    for (at, micros) in [1, 99, 1_000, 2_500, 600_000, 20_000_000].into_iter().enumerate() {
        groups[at % 3].increment(at % 3);
        groups[at % 3].record(Duration::from_micros(micros));
    }
    let mut exported = Exported::with_prefix("signpost");
    exported.register_collector(Box::new(LibraryCollector(registry.clone())));
    let mut expected = String::new();
    text::encode(&mut expected, &exported).unwrap();
    let text = exposition(&registry.sums());
    for (line, expected) in text.lines().zip(expected.lines()) {
        assert_eq!(line, expected);
    }
    assert_eq!(text.len(), expected.len());
    assert!(text.contains("signpost_ends_total{router=\"r\",client=\"\\\"\",kind=\"bad\"} 2\n"), "{text}");
    assert!(text.contains("signpost_size{router=\"r\",client=\"b\"} 7\n"), "{text}");
    assert!(!text.contains("signpost_size{router=\"r\",client=\"a\"}"), "its source is gone");
}

/// The same through the library.
#[derive(Debug)]
struct LibraryCollector(Registry);

impl Collector for LibraryCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let tables = self.0.sums();
        let names: BTreeSet<_> =
            tables.iter().flat_map(|table| &table.columns).map(|series| series.name).collect();
        for name in names {
            let samples: Vec<_> = tables.iter().flat_map(|table| samples(table, name)).collect();
            let Some((series, _, total)) = samples.first() else { continue };
            let (unit, kind) = match total {
                Total::Counter(_) => (None, MetricType::Counter),
                Total::Gauge(_) => (None, MetricType::Gauge),
                Total::Durations(_) => (Some(Unit::Seconds), MetricType::Histogram),
            };
            let mut family = encoder.encode_descriptor(name, series.meaning, unit.as_ref(), kind)?;
            for (_, labels, total) in &samples {
                let mut metric = family.encode_family(labels)?;
                match total {
                    Total::Counter(count) => {
                        metric.encode_counter(count, None::<&Exemplar<NoLabelSet, f64>>)?;
                    }
                    Total::Gauge(count) => metric.encode_gauge(count)?,
                    Total::Durations(all) => {
                        let bounds =
                            Durations::BOUNDS.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
                        let buckets: Vec<_> = bounds.zip(all.counts).collect();
                        metric.encode_histogram::<NoLabelSet>(
                            all.sum.as_secs_f64(),
                            all.count(),
                            &buckets,
                            None,
                        )?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The samples of a name in a table, each kind for itself, with all of their labels.
fn samples<'a>(
    table: &'a SumTable,
    name: &'static str,
) -> impl Iterator<Item = (&'a GroupSeries, Vec<(&'a str, &'a str)>, &'a Total)> {
    let columns = table.columns.iter().enumerate().filter(move |(_, series)| series.name == name);
    columns.flat_map(|(at, series)| {
        table.rows.iter().filter_map(move |row| {
            let labels = row.labels.iter().map(|(key, value)| (*key, value.as_str()));
            let kind = series.kind.map(|kind| ("kind", kind));
            Some((series, labels.chain(kind).collect(), row.totals.get(at)?))
        })
    })
}

#[test]
fn numbers_have_a_point() {
    for (number, shown) in
        [(0.0, "0.0"), (1e-6, "0.000001"), (0.005754, "0.005754"), (3.0, "3.0"), (1e15, "1000000000000000.0")]
    {
        assert_eq!(decimal(number), shown);
    }
}
