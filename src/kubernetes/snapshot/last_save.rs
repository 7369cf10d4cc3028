//! The end of the process, which what is due to be saved is waited for.

use crate::drain::{self, Drain, Guard};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// Lets whoever ends the process wait until all that is due is saved. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::kubernetes) struct LastSave(Arc<Mutex<Option<(Drain, Guard)>>>);

impl Default for LastSave {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(drain::channel()))))
    }
}

impl LastSave {
    /// To be held while there may be something to save. None after the end has begun.
    pub(in crate::kubernetes) fn guard(&self) -> Option<Guard> {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.as_ref().map(|(_, guard)| guard.clone())
    }

    /// Has everything saved that is due, and nothing more from then on. Returns whether that was done in time.
    pub(in crate::kubernetes) async fn now(&self, limit: Duration) -> bool {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((drain, guard)) = ends else { return true };
        drop(guard);
        // A disk that hangs must not hold up the end.
        timeout(limit, drain.drain(Duration::ZERO, limit)).await.unwrap_or(false)
    }
}
