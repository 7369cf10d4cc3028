//! Saves the objects of a watch to its snapshot, and restores them.

use super::progress::seconds_since;
use super::resource_watch::ResourceWatch;
use super::snapshot::{Snapshot, Snapshots, WatchIdentity};
use super::watched_object::WatchedObject;
use crate::drain::{Guard, Stage};
use jiff::{SignedDuration, Timestamp};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How long to wait after a change before it is saved, so that many changes are saved as one.
const PAUSE: Duration = Duration::from_secs(5);

/// How many times the duration of a save passes at least before the next: a watch that takes long to save is saved
/// less often.
const SHARE: u32 = 100;

/// The time between two saves without any change, so that a snapshot does not look older than its objects, and is not
/// the oldest when one has to go.
const REFRESH: Duration = Duration::from_secs(600);

/// How long to wait after a failed save if nothing has changed.
const RETRY: Duration = Duration::from_secs(60);

/// How long the last save of a watch may take: a disk that hangs must not keep an unused watch alive.
const ENDING: Duration = Duration::from_secs(30);

/// How long reading a snapshot may take. The server is asked again only after that.
const READING: Duration = Duration::from_secs(5);

/// Access to the snapshot of a watch, to save and to restore it. Cheap to clone.
pub(super) struct Saver<T> {
    snapshots: Arc<Snapshots>,
    watched: Arc<ResourceWatch<T>>,
}

impl<T> Clone for Saver<T> {
    fn clone(&self) -> Self {
        Self { snapshots: Arc::clone(&self.snapshots), watched: Arc::clone(&self.watched) }
    }
}

impl<T: WatchedObject> Saver<T> {
    /// Makes a saver, if the client's configuration names a folder, and the objects may be saved.
    pub(super) fn new(watched: &Arc<ResourceWatch<T>>) -> Option<Self> {
        if T::IS_SECRET {
            return None;
        }
        let snapshots = Arc::clone(watched.client.snapshots()?);
        Some(Self { snapshots, watched: Arc::clone(watched) })
    }

    fn identity(&self, server: Arc<str>) -> WatchIdentity {
        WatchIdentity::new::<T>(server, self.watched.namespace.clone(), self.watched.selector.clone())
    }

    /// Serves the snapshot from before this process began, if no list was complete since.
    pub(super) async fn restore(&self) {
        if self.watched.lock().store.is_complete() {
            return;
        }
        let what = self.watched.description();
        let too_slow = |_| Err(format!("it is not read after {} s", READING.as_secs()));
        match timeout(READING, self.read_snapshot()).await.unwrap_or_else(too_slow) {
            Ok(Some(snapshot)) => self.serve(&what, snapshot),
            Ok(None) => {}
            Err(trouble) => {
                self.watched.metrics.snapshot_failures.increment();
                tracing::warn!("{what}: no snapshot is used: {trouble}");
            }
        }
    }

    /// Reads the snapshot, if there is one. The error says why it cannot be used.
    async fn read_snapshot(&self) -> Result<Option<Snapshot<T>>, String> {
        let permit = self.snapshots.read_permit().await;
        let server = self.watched.client.server_url().await;
        let of = self
            .identity(server.map_err(|error| format!("the address of its server is not known: {error}"))?);
        self.snapshots.read(permit, of).await
    }

    /// Serves a snapshot, if no list was complete meanwhile.
    fn serve(&self, what: &str, snapshot: Snapshot<T>) {
        let mut inner = self.watched.lock();
        if !inner.store.is_complete() {
            let Snapshot { time, records } = snapshot;
            let ago = seconds_since(time);
            tracing::warn!(
                "{what}: served from the snapshot of {time:.0}, {ago:.0} s ago, until there is a list"
            );
            inner.store.restore(time, records);
            inner.update_gauges();
            self.watched.metrics.snapshot_time.set(time.as_second());
        }
    }

    /// Copies the objects into a snapshot, with their revision, if they came from the server and have changed since
    /// the revision `saved`.
    fn capture(&self, saved: u64) -> Option<(u64, WatchIdentity, Snapshot<T>)> {
        let inner = self.watched.lock();
        let revision = Some(inner.store.revision()).filter(|&revision| revision != saved)?;
        let of = self.identity(Arc::clone(inner.server.as_ref()?));
        let age = inner.progress.lost.map_or(Duration::ZERO, |lost| lost.elapsed());
        let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
        let time = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::UNIX_EPOCH);
        Some((revision, of, Snapshot { time, records: inner.store.records() }))
    }
}

/// A task that keeps the snapshot of a watch up to date.
pub(super) struct SnapshotTask<T: WatchedObject> {
    saver: Saver<T>,
    /// The guard that delays the end of the process; none after the last save.
    guard: Option<Guard>,
    /// The revision that was saved last.
    saved: u64,
    /// How long to wait after a change.
    pause: Duration,
    /// How long to wait without a change.
    refresh_after: Duration,
    /// Whether the last write failed.
    is_failing: bool,
}

impl<T: WatchedObject> SnapshotTask<T> {
    pub(super) fn new(saver: Saver<T>) -> Self {
        let guard = saver.watched.client.last_save().guard();
        Self { saver, guard, saved: 0, pause: PAUSE, refresh_after: REFRESH, is_failing: false }
    }

    /// Saves changes, each time after a pause, and a last time when the process ends.
    pub(super) async fn run(&mut self) -> Infallible {
        while let Some(guard) = &mut self.guard {
            let changed = async {
                self.saver.watched.changed.notified().await;
                sleep(self.pause).await;
            };
            tokio::select! {
                () = guard.reached(Stage::Stopping) => {
                    self.save_if_due().await;
                    self.guard = None;
                }
                waited = timeout(self.refresh_after, changed) => {
                    if waited.is_err() {
                        self.refresh();
                    }
                    self.save_if_due().await;
                }
            }
        }
        std::future::pending().await
    }

    /// Makes the objects due to be saved though they have not changed, if they are up to date.
    fn refresh(&mut self) {
        if !self.saver.watched.lock().store.is_stale() {
            self.saved = 0;
        }
    }

    /// Saves the objects if they have changed since the last save.
    async fn save_if_due(&mut self) {
        let changed = self.guard.as_ref().and_then(|_| self.saver.capture(self.saved));
        let Some((revision, of, snapshot)) = changed else { return };
        let written = self.saver.snapshots.write(of, snapshot).await;
        self.log(&written);
        let metrics = &self.saver.watched.metrics;
        match written {
            Ok(took) => {
                metrics.snapshots.increment();
                self.saved = revision;
                (self.pause, self.refresh_after) =
                    (took.saturating_mul(SHARE).clamp(PAUSE, REFRESH), REFRESH);
            }
            Err(_) => {
                metrics.snapshot_failures.increment();
                self.refresh_after = RETRY;
            }
        }
    }

    /// Saves changes a last time, if that can be done in time.
    pub(super) async fn finish(&mut self) {
        // After a timeout the file on the disk stays the old one.
        let _ = timeout(ENDING, self.save_if_due()).await;
    }

    /// Logs when writing begins to fail, and when it works again.
    fn log(&mut self, written: &io::Result<Duration>) {
        let what = self.saver.watched.description();
        let folder = self.saver.snapshots.path().display();
        match written {
            Ok(_) if self.is_failing => tracing::info!("{what}: the snapshot is written again, in {folder}"),
            Err(error) if !self.is_failing => tracing::warn!(
                "{what}: no snapshot can be written in {folder}: {error}. Routing goes on, but a start without the API \
                 server would find no objects: make room there, or let this process write there"
            ),
            _ => {}
        }
        self.is_failing = written.is_err();
    }
}
