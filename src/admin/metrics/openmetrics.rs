//! The metrics as OpenMetrics text, which Prometheus reads.

use crate::admin::response::{PageResponse, respond, text};
use crate::telemetry::{Durations, Family, Registry, Total};
use hyper::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text as format};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry as Exported, Unit};
use std::fmt;

/// The prefix of every name.
const PREFIX: &str = "signpost";

const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers `/admin/metrics/prometheus`.
pub(in crate::admin) fn openmetrics(registry: &Registry) -> PageResponse {
    let mut exported = Exported::with_prefix(PREFIX);
    exported.register_collector(Box::new(RegistryCollector(registry.clone())));
    let mut body = String::new();
    match format::encode(&mut body, &exported) {
        Ok(()) => respond(StatusCode::OK, MEDIA_TYPE, body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// A collector that sums the cells of all workers whenever Prometheus asks.
#[derive(Debug)]
struct RegistryCollector(Registry);

impl Collector for RegistryCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut labels = Vec::new();
        for Family { name, meaning, samples } in &self.0.families() {
            let (unit, kind) = match samples.first().map(|sample| &sample.total) {
                Some(Total::Gauge(_)) => (None, MetricType::Gauge),
                Some(Total::Durations(_)) => (Some(Unit::Seconds), MetricType::Histogram),
                _ => (None, MetricType::Counter),
            };
            let mut family = encoder.encode_descriptor(name, meaning, unit.as_ref(), kind)?;
            for sample in samples {
                labels.clear();
                labels.extend(sample.labels());
                let mut metric = family.encode_family(&labels)?;
                match &sample.total {
                    Total::Counter(count) => {
                        metric.encode_counter(count, None::<&Exemplar<NoLabelSet, f64>>)?;
                    }
                    Total::Gauge(count) => metric.encode_gauge(count)?,
                    Total::Durations(all) => {
                        let bounds =
                            Durations::BOUNDS.iter().map(|bound| bound.as_secs_f64()).chain([f64::INFINITY]);
                        let buckets: Vec<_> = bounds.zip(all.counts).collect();
                        let sum = all.sum.as_secs_f64();
                        metric.encode_histogram::<NoLabelSet>(sum, all.count(), &buckets, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}
