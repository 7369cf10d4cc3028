//! The folder for snapshots, for tasks that must not block.

use super::folder::Folder;
use super::format::{Snapshot, WatchIdentity};
use crate::kubernetes::watched_object::WatchedObject;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// How many snapshots are read at one time.
const READERS: usize = 4;

/// A folder for snapshots, with the locks that one process needs for it.
#[derive(Debug)]
pub(in crate::kubernetes) struct Snapshots {
    folder: Folder,
    /// Whether temporary files left behind were removed. The writer holds this lock: files are written one at a time,
    /// so that a change that all watches see does not take a thread for each.
    tidied: Arc<tokio::sync::Mutex<bool>>,
    /// The permits of readers: a start without the API server reads all files, and on a disk that hangs each reader
    /// keeps a thread.
    reading: Arc<Semaphore>,
}

/// The permit of one reader; its drop gives it back.
#[derive(Debug)]
pub(in crate::kubernetes) struct ReadPermit(
    #[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit,
);

impl Snapshots {
    pub(in crate::kubernetes) fn new(folder: Folder) -> Self {
        Self { folder, tidied: Arc::default(), reading: Arc::new(Semaphore::new(READERS)) }
    }

    /// Writes a snapshot; returns the time that took.
    pub(in crate::kubernetes) async fn write<T: WatchedObject>(
        self: &Arc<Self>,
        of: WatchIdentity,
        snapshot: Snapshot<T>,
    ) -> io::Result<Duration> {
        let mut tidied = Arc::clone(&self.tidied).lock_owned().await;
        let began = Instant::now();
        let snapshots = Arc::clone(self);
        // It holds the lock until the disk is done, even if the caller no longer waits.
        let writing = spawn_blocking(move || {
            let first = !std::mem::replace(&mut *tidied, true);
            let folder = &snapshots.folder;
            if first && let Err(error) = folder.tidy() {
                tracing::debug!("{}: cannot be tidied: {error}", folder.path().display());
            }
            folder.write(&of, &snapshot)
        });
        writing.await.map_err(io::Error::other)??;
        Ok(began.elapsed())
    }

    /// Waits for a permit to read.
    pub(in crate::kubernetes) async fn read_permit(&self) -> Option<ReadPermit> {
        // The semaphore is never closed.
        Arc::clone(&self.reading).acquire_owned().await.ok().map(ReadPermit)
    }

    /// Reads the snapshot of a watch, if there is one. The error says why it cannot be used. The permit is held until
    /// the disk is done, even if the caller no longer waits.
    pub(in crate::kubernetes) async fn read<T: WatchedObject>(
        self: &Arc<Self>,
        permit: Option<ReadPermit>,
        of: WatchIdentity,
    ) -> Result<Option<Snapshot<T>>, String> {
        let (snapshots, file) = (Arc::clone(self), self.folder.file(&of));
        let reading = spawn_blocking(move || {
            let _permit = permit;
            snapshots.folder.read(&of)
        });
        let read = reading.await.map_err(|error| error.to_string())?;
        let advice = "no action is needed: the next list replaces it";
        read.map_err(|unusable| format!("{}: {unusable}; {advice}", file.display()))
    }

    /// Returns the path of the folder.
    pub(in crate::kubernetes) fn path(&self) -> &Path {
        self.folder.path()
    }
}
