//! The metrics of watches.

use crate::telemetry::{Gauge, Registry, SharedCounter};

/// The metrics of all watches of one resource. All of them run on the control thread, which is the only writer.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) watches: Gauge,
    pub(super) stale: Gauge,
    pub(super) unreadable: Gauge,
    pub(super) events: SharedCounter,
    pub(super) lists: SharedCounter,
    pub(super) failures: SharedCounter,
    pub(super) restored: Gauge,
    pub(super) snapshot_time: Gauge,
    pub(super) snapshots: SharedCounter,
    pub(super) snapshot_failures: SharedCounter,
}

/// The name and the help text of each series.
const MEANINGS: [(&str, &str); 10] = [
    ("kubernetes_watches", "Watches of the Kubernetes API that run now"),
    (
        "kubernetes_stale_watches",
        "Watches that serve old answers because their API server cannot be reached now",
    ),
    ("kubernetes_unreadable_objects", "Objects that cannot be read now"),
    ("kubernetes_watch_events", "Changes of objects that the API server sent"),
    ("kubernetes_lists", "Complete lists of objects: one at a watch's start, and one after each failure"),
    ("kubernetes_watch_failures", "Failures to list or watch: each begins the watch anew"),
    (
        "kubernetes_snapshot_watches",
        "Watches that serve a snapshot from before the process began, because there was no list since",
    ),
    (
        "kubernetes_snapshot_timestamp_seconds",
        "The time of the last snapshot that began to be served, in seconds since 1970; 0 if there was none",
    ),
    ("kubernetes_snapshots_written", "Snapshots of watches that were written to disk"),
    (
        "kubernetes_snapshot_failures",
        "Snapshots that could not be written, or that exist and could not be used",
    ),
];

impl Metrics {
    /// Registers the metrics of a resource, such as `endpointslices`.
    pub fn new(registry: &Registry, resource: &str) -> Self {
        for (name, meaning) in MEANINGS {
            registry.describe(name, meaning);
        }
        let labels = [("resource", resource)];
        Self {
            watches: registry.gauge("kubernetes_watches", &labels),
            stale: registry.gauge("kubernetes_stale_watches", &labels),
            unreadable: registry.gauge("kubernetes_unreadable_objects", &labels),
            events: registry.shared_counter("kubernetes_watch_events", &labels),
            lists: registry.shared_counter("kubernetes_lists", &labels),
            failures: registry.shared_counter("kubernetes_watch_failures", &labels),
            restored: registry.gauge("kubernetes_snapshot_watches", &labels),
            snapshot_time: registry.gauge("kubernetes_snapshot_timestamp_seconds", &labels),
            snapshots: registry.shared_counter("kubernetes_snapshots_written", &labels),
            snapshot_failures: registry.shared_counter("kubernetes_snapshot_failures", &labels),
        }
    }
}
