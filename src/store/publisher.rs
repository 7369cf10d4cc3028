//! The publisher of a store: the store gives it each dtab or error, and readers of the store see them.

use crate::name::Dtab;
use crate::telemetry::Gauge;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::time::Instant;

/// The stored dtab, as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub enum StoredDtab {
    /// Nothing is known yet.
    Pending,
    /// No dtab was known yet, and the store holds no valid one now or cannot be read. The text is for people.
    Failed(Arc<str>),
    /// The last good dtab.
    Dtab(Dtab),
}

/// The progress of a store, for people.
#[derive(Debug)]
pub(super) struct StoreProgress {
    /// The time of the last change of the stored dtab.
    pub(super) since: Instant,
    /// The error of the stored text, if it is no dtab now.
    pub(super) rejected: Option<Rejection>,
}

/// A stored text that is no dtab, while the last good one is in use.
#[derive(Debug)]
pub(super) struct Rejection {
    pub(super) reason: String,
    /// Line and column, from 1.
    pub(super) place: Option<(usize, usize)>,
    pub(super) since: Instant,
}

/// The end of a store that publishes its dtab to the readers.
#[derive(Debug)]
pub(super) struct Publisher {
    /// The place of the dtab, in words.
    place: String,
    stored: watch::Sender<StoredDtab>,
    pub(super) progress: Arc<Mutex<StoreProgress>>,
    /// Counts the stores with a rejected text.
    rejected_stores: Gauge,
    /// Whether a good dtab is stored, or was before the text that is rejected now. An absent one is none, so that a text
    /// is judged alike by a process that saw the absence and by one that did not.
    has_good: bool,
}

impl Publisher {
    pub(super) fn new(place: String, rejected_stores: Gauge) -> (Self, watch::Receiver<StoredDtab>) {
        let (sender, stored) = watch::channel(StoredDtab::Pending);
        let progress = Arc::new(Mutex::new(StoreProgress { since: Instant::now(), rejected: None }));
        (Self { place, stored: sender, progress, rejected_stores, has_good: false }, stored)
    }

    /// Publishes a good dtab.
    pub(super) fn accept(&mut self, dtab: Dtab) {
        self.publish_dtab(dtab);
        self.has_good = true;
    }

    /// Publishes that no dtab is stored: an empty one.
    pub(super) fn accept_absence(&mut self) {
        self.publish_dtab(Dtab::empty());
        self.has_good = false;
    }

    fn publish_dtab(&self, dtab: Dtab) {
        self.clear_rejection();
        let was_known = matches!(&*self.stored.borrow(), StoredDtab::Dtab(_));
        if self.publish(StoredDtab::Dtab(dtab)) && was_known {
            tracing::info!("{}: the stored dtab has changed", self.place);
        }
    }

    /// Records that the stored text is no dtab: the last good dtab stays. A reason is logged once. `place` is its
    /// line and column.
    pub(super) fn reject(&mut self, reason: &str, place: Option<(usize, usize)>) {
        let was_known = self.has_good;
        let mut progress = lock(&self.progress);
        let before = progress.rejected.as_ref();
        if before.is_none_or(|before| before.reason != reason) {
            if was_known {
                tracing::warn!("the last good dtab stays in use: {reason}");
            } else {
                tracing::warn!("no name is resolved until there is a good dtab: {reason}");
            }
            if before.is_none() {
                self.rejected_stores.add(1);
            }
            let since = Instant::now();
            progress.rejected = Some(Rejection { reason: reason.to_owned(), place, since });
        }
        drop(progress);
        if !was_known {
            self.publish(StoredDtab::Failed(reason.into()));
        }
    }

    /// Records that the store cannot be read; the last known dtab stays.
    pub(super) fn fail(&mut self, reason: Arc<str>) {
        if !matches!(&*self.stored.borrow(), StoredDtab::Dtab(_)) {
            self.publish(StoredDtab::Failed(reason));
        }
    }

    /// Waits until the store has no reader any more.
    pub(super) async fn closed(&self) {
        self.stored.closed().await;
    }

    /// Publishes a state if it differs from the last one, and returns whether it does.
    fn publish(&self, new: StoredDtab) -> bool {
        let publish = |stored: &mut StoredDtab| {
            let differs = *stored != new;
            if differs {
                lock(&self.progress).since = Instant::now();
                *stored = new;
            }
            differs
        };
        self.stored.send_if_modified(publish)
    }

    /// Records that the stored text is not rejected any more.
    fn clear_rejection(&self) {
        if lock(&self.progress).rejected.take().is_some() {
            self.rejected_stores.add(-1);
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.clear_rejection();
    }
}

/// Locks the progress of a store.
pub(super) fn lock(progress: &Mutex<StoreProgress>) -> MutexGuard<'_, StoreProgress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
