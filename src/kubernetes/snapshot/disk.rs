//! The folder as those use it who may not block.

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

/// A folder for snapshots, with what one process has to know of it.
#[derive(Debug)]
pub(in crate::kubernetes) struct Snapshots {
    folder: Folder,
    /// Whether it was looked for what was left behind. Held by who writes: files are written one at a time, lest a change
    /// that all watches see takes a thread for each.
    tidied: Arc<tokio::sync::Mutex<bool>>,
    /// Lets a few read at one time: a start without the API server reads all files, and a disk that hangs keeps a thread
    /// for each reader.
    reading: Arc<Semaphore>,
}

/// A place among the readers; its drop gives it back.
#[derive(Debug)]
pub(in crate::kubernetes) struct ReadPermit(
    #[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit,
);

impl Snapshots {
    pub(in crate::kubernetes) fn new(folder: Folder) -> Self {
        Self { folder, tidied: Arc::default(), reading: Arc::new(Semaphore::new(READERS)) }
    }

    /// Writes a snapshot; returns how long that took.
    pub(in crate::kubernetes) async fn write<T: WatchedObject>(
        self: &Arc<Self>,
        of: WatchIdentity,
        snapshot: Snapshot<T>,
    ) -> io::Result<Duration> {
        let mut tidied = Arc::clone(&self.tidied).lock_owned().await;
        let began = Instant::now();
        let snapshots = Arc::clone(self);
        // It has the lock until the disk is done, even if nobody waits any more.
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

    /// Waits for a place among the readers.
    pub(in crate::kubernetes) async fn place(&self) -> Option<ReadPermit> {
        // The places are never closed.
        Arc::clone(&self.reading).acquire_owned().await.ok().map(ReadPermit)
    }

    /// Reads the snapshot of a watch, if there is one; or says what is wrong. The place is held until the disk is done, even
    /// if nobody waits any more.
    pub(in crate::kubernetes) async fn read<T: WatchedObject>(
        self: &Arc<Self>,
        place: Option<ReadPermit>,
        of: WatchIdentity,
    ) -> Result<Option<Snapshot<T>>, String> {
        let (snapshots, file) = (Arc::clone(self), self.folder.file(&of));
        let reading = spawn_blocking(move || {
            let _place = place;
            snapshots.folder.read(&of)
        });
        let read = reading.await.map_err(|error| error.to_string())?;
        let advice = "nothing is to be done: the next list replaces it";
        read.map_err(|unusable| format!("{}: {unusable}; {advice}", file.display()))
    }

    /// Where they are.
    pub(in crate::kubernetes) fn path(&self) -> &Path {
        self.folder.path()
    }
}
