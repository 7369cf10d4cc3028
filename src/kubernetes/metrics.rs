//! What watches count.

use crate::telemetry::{Counter, Gauge, Registry};

/// What the watches of one resource count; all of them run on control, which is the one writer.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) watches: Gauge,
    pub(super) stale: Gauge,
    pub(super) unreadable: Gauge,
    pub(super) events: Counter,
    pub(super) lists: Counter,
    pub(super) failures: Counter,
    pub(super) restored: Gauge,
    pub(super) snapshot_time: Gauge,
    pub(super) snapshots: Counter,
    pub(super) snapshot_failures: Counter,
}

/// What each series means.
const MEANINGS: [(&str, &str); 10] = [
    ("kubernetes_watches", "Watches of the Kubernetes API that are kept up now"),
    (
        "kubernetes_stale_watches",
        "Watches whose API server cannot be asked now, so that old answers are served",
    ),
    ("kubernetes_unreadable_objects", "Objects that could not be read as what they should be"),
    ("kubernetes_watch_events", "Changes of objects that the API server told of"),
    ("kubernetes_lists", "Complete lists of objects: one at a watch's start, and one after each failure"),
    ("kubernetes_watch_failures", "Failures to list or watch: each begins the watch anew"),
    (
        "kubernetes_snapshot_watches",
        "Watches that serve what was known before the process began, because the API server has not listed it since",
    ),
    (
        "kubernetes_snapshot_timestamp_seconds",
        "Of when the snapshot is that was last begun to be served, in seconds since 1970; 0 if none was",
    ),
    ("kubernetes_snapshots_written", "Snapshots of watches that were written to disk"),
    (
        "kubernetes_snapshot_failures",
        "Snapshots that could not be written, or were there and could not be used",
    ),
];

impl Metrics {
    /// Makes the cells of a resource, such as `endpointslices`.
    pub fn new(registry: &Registry, resource: &str) -> Self {
        for (name, meaning) in MEANINGS {
            registry.describe(name, meaning);
        }
        let labels = [("resource", resource)];
        Self {
            watches: registry.gauge("kubernetes_watches", &labels),
            stale: registry.gauge("kubernetes_stale_watches", &labels),
            unreadable: registry.gauge("kubernetes_unreadable_objects", &labels),
            events: registry.counter("kubernetes_watch_events", &labels),
            lists: registry.counter("kubernetes_lists", &labels),
            failures: registry.counter("kubernetes_watch_failures", &labels),
            restored: registry.gauge("kubernetes_snapshot_watches", &labels),
            snapshot_time: registry.gauge("kubernetes_snapshot_timestamp_seconds", &labels),
            snapshots: registry.counter("kubernetes_snapshots_written", &labels),
            snapshot_failures: registry.counter("kubernetes_snapshot_failures", &labels),
        }
    }
}
