//! The metrics of the controller.

use crate::telemetry::{Gauge, Registry, SharedCounter};

/// The metrics of the controller, which the control thread writes.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    pub(super) leading: Gauge,
    pub(super) not_accepted: Gauge,
    pub(super) not_ready: Gauge,
    pub(super) written: SharedCounter,
    pub(super) failures: SharedCounter,
    pub(super) deleted: SharedCounter,
    pub(super) asked: SharedCounter,
}

/// The name and the help text of each series.
const MEANINGS: [(&str, &str); 7] = [
    ("controller_leading", "1 while this process leads: it alone writes"),
    ("controller_not_accepted", "Sandboxes and groups that requests cannot select"),
    ("controller_not_ready", "Sandboxes that are accepted, of which a destination has no endpoints"),
    ("controller_statuses_written", "Statuses of sandboxes and groups that were written"),
    ("controller_write_failures", "Writes that the API server refused or did not answer"),
    ("controller_sandboxes_deleted", "Sandboxes that were deleted at their end"),
    ("controller_destinations_asked", "Times a destination was asked for its endpoints"),
];

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        for (name, meaning) in MEANINGS {
            registry.describe(name, meaning);
        }
        Self {
            leading: registry.gauge("controller_leading", &[]),
            not_accepted: registry.gauge("controller_not_accepted", &[]),
            not_ready: registry.gauge("controller_not_ready", &[]),
            written: registry.shared_counter("controller_statuses_written", &[]),
            failures: registry.shared_counter("controller_write_failures", &[]),
            deleted: registry.shared_counter("controller_sandboxes_deleted", &[]),
            asked: registry.shared_counter("controller_destinations_asked", &[]),
        }
    }
}
