//! A service: the requests for one logical name, with their settings.

use super::retry_budget::{RetryBudget, WorkerBudget};
use super::settings::ServiceSettings;
use crate::proxy::metrics::ServiceCounters;
use std::rc::Rc;
use std::sync::Arc;

/// The service of one logical name on one worker.
#[derive(Debug)]
pub(crate) struct LogicalService {
    pub(crate) settings: ServiceSettings,
    /// The budget of its retries, over all workers.
    pub(crate) budget: WorkerBudget,
    /// Its counters; `None` for names that lead nowhere: those of all names that a caller makes up would be too many.
    pub(crate) counters: Option<Rc<ServiceCounters>>,
    /// Held by each copy of a request that is under way to the mirror on this worker.
    pub(crate) mirrored: Rc<()>,
}

/// The service of names that lead nowhere: it has the usual settings, and counts nothing.
impl Default for LogicalService {
    fn default() -> Self {
        let settings = ServiceSettings::default();
        let budget = Arc::new(RetryBudget::new(settings.retry_budget));
        Self::new(settings, budget, None)
    }
}

impl LogicalService {
    pub(crate) fn new(
        settings: ServiceSettings,
        budget: Arc<RetryBudget>,
        counters: Option<Rc<ServiceCounters>>,
    ) -> Self {
        Self { settings, budget: budget.into(), counters, mirrored: Rc::default() }
    }

    /// Returns whether a response to a request with this method may lead to a retry.
    pub(crate) fn may_retry(&self, method: &[u8]) -> bool {
        self.settings.believes_retryable || self.settings.classifier.retries(method)
    }
}
