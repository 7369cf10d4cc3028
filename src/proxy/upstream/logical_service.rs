//! A service: the requests for one logical name, with their settings.

use super::retry_budget::RetryBudget;
use super::settings::ServiceSettings;
use crate::proxy::metrics::ServiceCounters;
use std::rc::Rc;
use std::sync::Arc;

/// The service of one logical name on one worker.
#[derive(Debug)]
pub(crate) struct LogicalService {
    pub(crate) settings: ServiceSettings,
    /// The budget of its retries, over all workers.
    pub(crate) budget: Arc<RetryBudget>,
    /// Its counters; `None` while its name leads nowhere: those of all names that a caller makes up would be too many.
    pub(crate) counters: Option<Rc<ServiceCounters>>,
    /// Held by each copy of a request that is under way to the mirror on this worker.
    pub(crate) mirrored: Rc<()>,
}

impl LogicalService {
    /// Returns whether a response to a request with this method may lead to a retry.
    pub(crate) fn may_retry(&self, method: &[u8]) -> bool {
        self.settings.believes_retryable || self.settings.classifier.retries(method)
    }
}
