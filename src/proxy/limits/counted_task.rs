//! A task of tests that only counts how often it is woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Wake, Waker};

/// A task that counts how often it is woken.
#[derive(Debug, Default)]
pub(crate) struct CountedTask(AtomicUsize);

impl CountedTask {
    /// Returns a waker of the task.
    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// Returns how often it was woken.
    pub(crate) fn wakes(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Wake for CountedTask {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}
