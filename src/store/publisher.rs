//! What is known of a store: the store publishes it, and its readers see it.

use crate::name::Dtab;
use crate::telemetry::Gauge;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::time::Instant;

/// What is stored, as far as that is known.
#[derive(Clone, Debug, PartialEq)]
pub enum StoredDtab {
    /// Nothing is known yet.
    Pending,
    /// Nothing was known yet, and what is there now is no dtab or cannot be asked for. The text is for people.
    Failed(Arc<str>),
    /// The last good dtab.
    Dtab(Dtab),
}

/// How a store is doing, for people.
#[derive(Debug)]
pub(super) struct StoreProgress {
    /// Since when what is in use is.
    pub(super) since: Instant,
    pub(super) rejected: Option<Rejection>,
}

/// Something that is no dtab, while the last good one is in use.
#[derive(Debug)]
pub(super) struct Rejection {
    pub(super) reason: String,
    /// Line and column, from 1.
    pub(super) place: Option<(usize, usize)>,
    pub(super) since: Instant,
}

/// The end of a store that says what is in it.
#[derive(Debug)]
pub(super) struct Publisher {
    what: String,
    stored: watch::Sender<StoredDtab>,
    pub(super) progress: Arc<Mutex<StoreProgress>>,
    count: Gauge,
}

impl Publisher {
    pub(super) fn new(what: String, count: Gauge) -> (Self, watch::Receiver<StoredDtab>) {
        let (sender, stored) = watch::channel(StoredDtab::Pending);
        let progress = Arc::new(Mutex::new(StoreProgress { since: Instant::now(), rejected: None }));
        (Self { what, stored: sender, progress, count }, stored)
    }

    /// Takes a good dtab.
    pub(super) fn accept(&mut self, dtab: Dtab) {
        self.reject_no_more();
        let was_known = matches!(&*self.stored.borrow(), StoredDtab::Dtab(_));
        if self.publish(StoredDtab::Dtab(dtab)) && was_known {
            tracing::info!("{}: the stored dtab has changed", self.what);
        }
    }

    /// Takes that what is stored now is no dtab: the last good one stays. A reason is logged once.
    pub(super) fn reject(&mut self, reason: &str, place: Option<(usize, usize)>) {
        let was_known = matches!(&*self.stored.borrow(), StoredDtab::Dtab(_));
        let mut progress = lock(&self.progress);
        let before = progress.rejected.as_ref();
        if before.is_none_or(|before| before.reason != reason) {
            if was_known {
                tracing::warn!("the last good dtab stays in use: {reason}");
            } else {
                tracing::warn!("no name is resolved until there is a good dtab: {reason}");
            }
            if before.is_none() {
                self.count.add(1);
            }
            let since = Instant::now();
            progress.rejected = Some(Rejection { reason: reason.to_owned(), place, since });
        }
        drop(progress);
        if !was_known {
            self.publish(StoredDtab::Failed(reason.into()));
        }
    }

    /// Takes that nothing can be said; what was known last stays.
    pub(super) fn fail(&mut self, reason: Arc<str>) {
        if !matches!(&*self.stored.borrow(), StoredDtab::Dtab(_)) {
            self.publish(StoredDtab::Failed(reason));
        }
    }

    /// Waits until nobody is interested any more.
    pub(super) async fn closed(&self) {
        self.stored.closed().await;
    }

    /// Returns whether it differs.
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

    fn reject_no_more(&self) {
        if lock(&self.progress).rejected.take().is_some() {
            self.count.add(-1);
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.reject_no_more();
    }
}

pub(super) fn lock(progress: &Mutex<StoreProgress>) -> MutexGuard<'_, StoreProgress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
