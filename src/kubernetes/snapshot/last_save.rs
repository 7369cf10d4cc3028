//! The last save of all watches, for which the end of the process waits.

use crate::drain::{self, Drain, Guard};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// A handle by which the end of the process waits until all due snapshots are saved. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::kubernetes) struct LastSave(Arc<Mutex<Option<(Drain, Guard)>>>);

impl Default for LastSave {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(drain::channel()))))
    }
}

impl LastSave {
    /// Returns a guard to hold while there may be something to save; none after the end of the process has begun.
    pub(in crate::kubernetes) fn guard(&self) -> Option<Guard> {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.as_ref().map(|(_, guard)| guard.clone())
    }

    /// Has all due snapshots saved, and none after that. Returns whether that was done within `limit`.
    pub(in crate::kubernetes) async fn run(&self, limit: Duration) -> bool {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((drain, guard)) = ends else { return true };
        drop(guard);
        // A disk that hangs must not hold up the end.
        timeout(limit, drain.drain(Duration::ZERO, limit)).await.unwrap_or(false)
    }
}
