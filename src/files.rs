//! Watches paths for change through the directories that hold them, debounced.
//!
//! What is watched is never the file itself: a file that is replaced by rename, a ConfigMap mount whose
//! `..data` link is swapped, a directory that is removed and made again would each leave a watch on something
//! that is no longer there. Instead, every directory in which a lookup of the path finds one of its elements is
//! watched, links followed, and the whole way is walked again after each change. Where an element is missing,
//! the directory that lacks it is the last one watched, so that its appearance is a change like any other.
//!
//! What is absent: this module never reads a file and does not say what changed. Whoever is told reads again
//! what it holds and compares.

mod inotify;
mod path_walk;

#[cfg(test)]
mod tests;

use self::inotify::{ChangeSubscriber, DirectoryWatches};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// How long nothing must happen before a change is announced: a writer's several steps are one change.
const QUIET: Duration = Duration::from_millis(20);

/// How long a change may wait for quiet: a file that is written all the time is announced all the same.
const PATIENCE: Duration = Duration::from_millis(200);

/// How often a change is assumed while the system cannot report changes.
const POLL: Duration = Duration::from_secs(2);

/// A watch of any number of paths, which need not exist; it ends when it is dropped.
///
/// Whoever holds it calls [`Watch::changed`] in a loop and reads again what it holds each time.
#[derive(Debug)]
pub struct Watch {
    listener: Arc<ChangeSubscriber>,
    arming: Arc<Mutex<DirectoryWatches>>,
    announced: watch::Receiver<()>,
}

impl Watch {
    /// Makes a watch of nothing yet. Its task runs on `control`, what touches the file system on the blocking
    /// threads of that runtime: a network file system can take its time.
    pub fn new(control: &Handle) -> Self {
        Self::with(inotify::inotify, control)
    }

    fn with(make: inotify::WatcherFactory, control: &Handle) -> Self {
        let listener = Arc::new(ChangeSubscriber::default());
        let arming = Arc::new(Mutex::new(DirectoryWatches::new(make, Arc::clone(&listener))));
        let (announce, announced) = watch::channel(());
        control.spawn(announce_changes(Arc::clone(&listener), Arc::clone(&arming), announce));
        Self { listener, arming, announced }
    }

    /// Adds paths; when this returns, no later change of them goes unnoticed.
    ///
    /// A relative path is relative to the working directory of now. A path that is followed twice must be
    /// forgotten twice. Must be called on a tokio runtime.
    pub async fn follow(&self, paths: impl IntoIterator<Item = PathBuf>) {
        let paths: Vec<PathBuf> = paths.into_iter().map(absolute).collect();
        self.arm(move |arming| arming.follow(paths)).await;
    }

    /// Takes paths out again, each once. Must be called on a tokio runtime.
    pub async fn forget(&self, paths: impl IntoIterator<Item = PathBuf>) {
        let paths: Vec<PathBuf> = paths.into_iter().map(absolute).collect();
        self.arm(move |arming| arming.forget(&paths)).await;
    }

    async fn arm(&self, change: impl FnOnce(&mut DirectoryWatches) -> bool + Send + 'static) {
        if !arm(&self.arming, change).await {
            // The task shall know, and begin to poll.
            self.listener.wake();
        }
    }

    /// Waits until something changed about any of the paths since the last call, and it has been quiet for 20 ms,
    /// or 200 ms have gone by since the first change.
    ///
    /// It may return when nothing changed: after the system lost track of its reports, and every two seconds
    /// while it cannot report at all (its limit of watches is reached, say), which is logged once. A call may be
    /// cancelled without losing a change.
    pub async fn changed(&mut self) {
        if self.announced.changed().await.is_err() {
            // The runtime of the task is gone, and so is everybody who could act on a change.
            std::future::pending::<()>().await;
        }
    }
}

/// The task of a watch: waits for a report, for quiet after it, walks the ways again, and announces.
async fn announce_changes(
    listener: Arc<ChangeSubscriber>,
    arming: Arc<Mutex<DirectoryWatches>>,
    announce: watch::Sender<()>,
) {
    let mut armed = true;
    loop {
        tokio::select! {
            () = next_change(&listener, armed) => {}
            () = announce.closed() => return,
        }
        armed = arm(&arming, DirectoryWatches::renew).await;
        announce.send_replace(());
    }
}

async fn next_change(listener: &ChangeSubscriber, armed: bool) {
    if armed {
        listener.noticed().await;
    } else {
        // Elapsed or not: while the system is silent, time itself is the sign of a change.
        let _ = timeout(POLL, listener.noticed()).await;
    }
    let latest = Instant::now() + PATIENCE;
    while Instant::now() < latest {
        let quiet = latest.min(Instant::now() + QUIET);
        if timeout_at(quiet, listener.noticed()).await.is_err() {
            return;
        }
    }
}

/// Changes what is armed; returns whether the system reports changes.
async fn arm(
    arming: &Arc<Mutex<DirectoryWatches>>,
    change: impl FnOnce(&mut DirectoryWatches) -> bool + Send + 'static,
) -> bool {
    let arming = Arc::clone(arming);
    let work = move || change(&mut arming.lock().unwrap_or_else(PoisonError::into_inner));
    // A join error is a panic in there or the end of the runtime: nothing is known to be armed then.
    tokio::task::spawn_blocking(work).await.unwrap_or(false)
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}
