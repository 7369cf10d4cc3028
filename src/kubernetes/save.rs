//! From what a watch knows to its snapshot, and back.

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

/// How long after a change it is saved, so that many changes are saved as one.
const PAUSE: Duration = Duration::from_secs(5);

/// A watch that takes long to save is saved less often: this many times as long passes in between at least.
const SHARE: u32 = 100;

/// How often a watch is saved without any change, so that its snapshot does not look older than what is in it, and is not
/// the oldest when one has to go.
const REFRESH: Duration = Duration::from_secs(600);

/// When it is tried again after it could not be saved, and nothing has changed.
const RETRY: Duration = Duration::from_secs(60);

/// How long a watch that ends may take to be saved: a disk that hangs must not keep what nobody needs any more.
const ENDING: Duration = Duration::from_secs(30);

/// How long a snapshot may take to be read. The server is asked again only then.
const READING: Duration = Duration::from_secs(5);

/// Saves what a watch knows, and restores it. Cheap to clone.
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
    /// Makes it, if the client's configuration names a folder.
    pub(super) fn new(watched: &Arc<ResourceWatch<T>>) -> Option<Self> {
        let snapshots = Arc::clone(watched.client.snapshots()?);
        Some(Self { snapshots, watched: Arc::clone(watched) })
    }

    fn identity(&self, server: Arc<str>) -> WatchIdentity {
        WatchIdentity::new::<T>(server, self.watched.namespace.clone(), self.watched.selector.clone())
    }

    /// Serves what was known before this process began, if nothing newer is known.
    pub(super) async fn restore(&self) {
        if self.watched.lock().store.is_complete() {
            return;
        }
        let what = self.watched.description();
        let too_slow = |_| Err(format!("it is not read after {} s", READING.as_secs()));
        match timeout(READING, self.read()).await.unwrap_or_else(too_slow) {
            Ok(Some(snapshot)) => self.serve(&what, snapshot),
            Ok(None) => {}
            Err(trouble) => {
                self.watched.metrics.snapshot_failures.increment();
                tracing::warn!("{what}: no snapshot is used: {trouble}");
            }
        }
    }

    /// Reads the snapshot, if there is one; or says what is wrong.
    async fn read(&self) -> Result<Option<Snapshot<T>>, String> {
        let place = self.snapshots.place().await;
        let server = self.watched.client.server().await;
        let of = self.identity(server.map_err(|error| format!("of which server is not known: {error}"))?);
        self.snapshots.read(place, of).await
    }

    /// Serves a snapshot, if nothing newer is known.
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

    /// Takes down what is known, with its revision, if it came from the server and has changed since this one.
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

/// Keeps the snapshot of a watch up to date.
pub(super) struct SnapshotTask<T: WatchedObject> {
    saver: Saver<T>,
    /// None when the end has come, and nothing is saved any more.
    guard: Option<Guard>,
    /// The revision that was saved last.
    saved: u64,
    /// How long to wait after a change.
    pause: Duration,
    /// How long to wait without one.
    refresh_after: Duration,
    /// Whether it could not be written the last time.
    is_failing: bool,
}

impl<T: WatchedObject> SnapshotTask<T> {
    pub(super) fn new(saver: Saver<T>) -> Self {
        let guard = saver.watched.client.last_save().guard();
        Self { saver, guard, saved: 0, pause: PAUSE, refresh_after: REFRESH, is_failing: false }
    }

    /// Saves what has changed, each time after a pause, and a last time when the process ends.
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

    /// Lets what is up to date be saved though it has not changed.
    fn refresh(&mut self) {
        if !self.saver.watched.lock().store.is_stale() {
            self.saved = 0;
        }
    }

    /// Saves what is known if it has changed since.
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

    /// Saves a last time what has changed, if that can be done.
    pub(super) async fn finish(&mut self) {
        // What is late is as old on the disk as it was.
        let _ = timeout(ENDING, self.save_if_due()).await;
    }

    /// Says when writing begins to fail, and when it works again.
    fn log(&mut self, written: &io::Result<Duration>) {
        let what = self.saver.watched.description();
        let folder = self.saver.snapshots.path().display();
        match written {
            Ok(_) if self.is_failing => tracing::info!("{what}: the snapshot is written again, in {folder}"),
            Err(error) if !self.is_failing => tracing::warn!(
                "{what}: no snapshot can be written in {folder}: {error}. Routing goes on, but a start without the API \
                 server would not know what is known now: make room there, or let this process write there"
            ),
            _ => {}
        }
        self.is_failing = written.is_err();
    }
}
