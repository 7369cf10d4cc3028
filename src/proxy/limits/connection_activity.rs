//! The activity of one open connection: its worker notes it in one atomic, and the table of connections reads it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst, fence};
use std::task::{Context, Poll, Waker};

/// A value of [`ConnectionActivity::state`]: it serves a request.
const BUSY: u64 = 0;
/// A value of [`ConnectionActivity::state`]: it serves a request, and is to tell the table when it is idle again.
const SOUGHT: u64 = u64::MAX - 2;
/// A value of [`ConnectionActivity::state`]: it was told to end, but a request came first, which is its last.
const LAST: u64 = u64::MAX - 1;
/// A value of [`ConnectionActivity::state`]: it has made room for another connection, and is to end.
const EVICTED: u64 = u64::MAX;

/// The latest time since when a connection can be idle.
pub(super) const LATEST: u64 = SOUGHT - 1;

/// The activity of one connection, which its worker and the table share.
#[derive(Debug)]
pub(super) struct ConnectionActivity {
    /// The time since when it is idle, from 1 to [`LATEST`]; or one of the values above.
    state: AtomicU64,
    /// The waker of its task.
    waker: OnceLock<Waker>,
}

/// The way in which a request began on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BegunWork {
    /// The connection may be kept after it.
    Kept,
    /// The connection was told to end just before: it ends after this request. The table does not count it any more.
    Evicted,
    /// The same, when another request has come since then.
    Last,
}

impl ConnectionActivity {
    /// Makes that of a connection which is idle since then.
    pub(super) fn new(since: u64) -> Self {
        Self { state: AtomicU64::new(since), waker: OnceLock::new() }
    }

    /// Notes that the connection is idle since then; returns whether the table waits to be told of it.
    pub(super) fn begin_wait(&self, since: u64) -> bool {
        match self.state.swap(since, Relaxed) {
            SOUGHT => true,
            // The table does not look at one that ends.
            ending @ (LAST | EVICTED) => {
                self.state.store(ending, Relaxed);
                false
            }
            _ => false,
        }
    }

    /// Notes that the connection serves a request.
    pub(super) fn begin_work(&self) -> BegunWork {
        match self.state.swap(BUSY, Relaxed) {
            EVICTED => {
                self.state.store(LAST, Relaxed);
                BegunWork::Evicted
            }
            LAST => {
                self.state.store(LAST, Relaxed);
                BegunWork::Last
            }
            SOUGHT => {
                self.state.store(SOUGHT, Relaxed);
                BegunWork::Kept
            }
            _ => BegunWork::Kept,
        }
    }

    /// Becomes ready when the connection is to end. Only one task may poll it: its waker is stored once.
    pub(super) fn poll_evicted(&self, cx: &Context<'_>) -> Poll<()> {
        if self.waker.get().is_none() {
            self.waker.get_or_init(|| cx.waker().clone());
            // Either the table sees the waker, or this sees what the table has written before it looked for one.
            fence(SeqCst);
        }
        if self.state.load(Relaxed) >= LAST { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Returns whether the connection was told to end, and has begun no request since.
    pub(super) fn is_evicted(&self) -> bool {
        self.state.load(Relaxed) == EVICTED
    }

    /// Tells a connection that is idle since then to end; false when it is not idle any more, or since later.
    pub(super) fn evict(&self, since: u64) -> bool {
        if self.state.compare_exchange(since, EVICTED, SeqCst, Relaxed).is_err() {
            return false;
        }
        fence(SeqCst);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
        true
    }

    /// Returns since when the connection is idle; `None` if it serves a request, and then it tells the table when it is idle
    /// again. Only for one that was neither told to end nor is sought already.
    pub(super) fn seek(&self) -> Option<u64> {
        self.state.compare_exchange(BUSY, SOUGHT, Relaxed, Relaxed).err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sought_connection_tells_once_that_it_is_idle_again() {
        let activity = ConnectionActivity::new(1);
        assert_eq!((activity.seek(), activity.begin_wait(2)), (Some(1), false));
        assert_eq!(activity.begin_work(), BegunWork::Kept);
        assert_eq!(activity.seek(), None);
        assert_eq!(activity.begin_work(), BegunWork::Kept);
        assert_eq!((activity.begin_wait(3), activity.begin_wait(4)), (true, false));
        assert_eq!(activity.seek(), Some(4));
    }

    #[test]
    fn a_connection_that_was_told_to_end_ends_after_the_request_that_came_first() {
        let activity = ConnectionActivity::new(1);
        let is_over = || activity.poll_evicted(&Context::from_waker(Waker::noop())).is_ready();
        assert!(!activity.evict(2) && !is_over());
        assert!(activity.evict(1) && is_over() && activity.is_evicted());
        assert_eq!(activity.begin_work(), BegunWork::Evicted);
        assert_eq!(activity.begin_work(), BegunWork::Last);
        assert!(!activity.begin_wait(5) && is_over() && !activity.is_evicted());
    }
}
