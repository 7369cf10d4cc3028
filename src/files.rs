//! Watches of paths for change, through the directories that hold them, debounced.
//!
//! The file itself is never watched: after a rename over it, a swap of the `..data` link of a ConfigMap mount, or the
//! removal and return of a directory, the watch would be on a file that is no longer there. Instead, every directory in
//! which a lookup of the path finds one of its elements is watched, links followed, and the whole path is walked again
//! after each change. Where an element is missing, the directory that lacks it is the last one watched, so that the
//! appearance of the element is a change like any other.
//!
//! This module never reads a file and does not report which path changed. The owner of a watch reads its files again
//! and compares.

mod inotify;
mod path_walk;

#[cfg(test)]
mod tests;

use self::inotify::{ChangeSubscriber, SharedWatches};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// How long it must be quiet before a change is announced: several steps of a writer are one change.
const QUIET: Duration = Duration::from_millis(20);

/// The same, when the writer has closed the file or has put it into its place: it may have other files to write.
const QUIET_WHEN_DONE: Duration = Duration::from_millis(5);

/// How long a change may wait for quiet: a change of a file that is written all the time is announced all the same.
const MAX_DELAY: Duration = Duration::from_millis(200);

/// How often a change is assumed while the system cannot report changes.
const POLL: Duration = Duration::from_secs(2);

/// A watch of any number of paths, which need not exist; it ends when it is dropped.
///
/// Its owner calls [`Watch::changed`] in a loop, and reads its files again each time.
#[derive(Debug)]
pub struct Watch {
    subscriber: Arc<ChangeSubscriber>,
    watches: Arc<SharedWatches>,
    announced: watch::Receiver<()>,
}

impl Watch {
    /// Makes a watch without paths. Its task runs on `control`, and its calls to the file system on the blocking
    /// threads of that runtime: a network file system can be slow.
    pub fn new(control: &Handle) -> Self {
        Self::with(inotify::new_watcher, control)
    }

    /// Makes a watch with a source of reports.
    fn with(new_watcher: inotify::WatcherFactory, control: &Handle) -> Self {
        let subscriber = Arc::new(ChangeSubscriber::default());
        let watches = Arc::new(SharedWatches::new(new_watcher, Arc::clone(&subscriber)));
        let (announce, announced) = watch::channel(());
        control.spawn(announce_changes(Arc::clone(&subscriber), Arc::clone(&watches), announce));
        Self { subscriber, watches, announced }
    }

    /// Adds paths; when this returns, no later change of them goes unnoticed.
    ///
    /// A relative path is relative to the working directory at the time of the call. A path that is added twice must be
    /// removed twice. Must be called on a tokio runtime.
    pub async fn watch_paths(&self, paths: impl IntoIterator<Item = PathBuf>) {
        let paths: Vec<PathBuf> = paths.into_iter().map(absolute).collect();
        if !blocking(&self.watches, move |watches| watches.add_paths(paths)).await.unwrap_or(false) {
            // The task wakes up, and begins to poll.
            self.subscriber.wake();
        }
    }

    /// Removes paths, each once; the work is done when the value that is returned is awaited, on a tokio runtime, which may be
    /// in a task of its own.
    pub fn unwatch_paths(&self, paths: Vec<PathBuf>) -> impl Future<Output = ()> + use<> {
        let paths: Vec<PathBuf> = paths.into_iter().map(absolute).collect();
        let (watches, subscriber) = (Arc::clone(&self.watches), Arc::clone(&self.subscriber));
        async move {
            let renewal = blocking(&watches, move |watches| watches.remove_paths(&paths)).await;
            // What came in is announced, and where changes are not reported, the task begins to poll.
            if renewal.flatten().is_some_and(|renewal| renewal.has_more || !renewal.is_reported) {
                subscriber.wake();
            }
        }
    }

    /// Waits until a path has changed since the last call, and no more changes have come for 20 ms (for 5 ms once the
    /// writer has closed or renamed the file), or 200 ms have gone by since the first change.
    ///
    /// It may return without a change: after the system dropped reports, and every two seconds while the system cannot
    /// report at all (its limit of watches is reached, say), which is logged once. A call may be cancelled without
    /// losing a change.
    pub async fn changed(&mut self) {
        if self.announced.changed().await.is_err() {
            // The runtime of the task is gone, and with it every task that could act on a change.
            std::future::pending::<()>().await;
        }
    }
}

/// Runs the task of a watch: waits for a report and for quiet after it, announces, and walks the paths again. With
/// thousands of paths that takes a while, for which a change need not wait; where it finds directories and entries that were
/// not watched, it announces again, for what changed in them before.
async fn announce_changes(
    subscriber: Arc<ChangeSubscriber>,
    watches: Arc<SharedWatches>,
    announce: watch::Sender<()>,
) {
    let mut reported = true;
    loop {
        tokio::select! {
            () = next_change(&subscriber, reported) => {}
            () = announce.closed() => return,
        }
        announce.send_replace(());
        let renewal = blocking(&watches, SharedWatches::renew).await;
        if renewal.is_some_and(|renewal| renewal.has_more) {
            announce.send_replace(());
        }
        reported = renewal.is_some_and(|renewal| renewal.is_reported);
    }
}

/// Waits for a report and for quiet after it; without reports, until the next poll.
async fn next_change(subscriber: &ChangeSubscriber, reported: bool) {
    let mut is_done = if reported {
        subscriber.next_report().await
    } else {
        // Without reports, the end of the timeout counts as a change as well.
        timeout(POLL, subscriber.next_report()).await.unwrap_or(false)
    };
    let latest = Instant::now() + MAX_DELAY;
    while Instant::now() < latest {
        let quiet = Instant::now() + if is_done { QUIET_WHEN_DONE } else { QUIET };
        match timeout_at(latest.min(quiet), subscriber.next_report()).await {
            Ok(done) => is_done = done,
            Err(_) => return,
        }
    }
}

/// Works on the watches on a blocking thread. Returns nothing after a panic on that thread, or at the end of the runtime: then no
/// report can be relied on.
async fn blocking<T: Send + 'static>(
    watches: &Arc<SharedWatches>,
    work: impl FnOnce(&SharedWatches) -> T + Send + 'static,
) -> Option<T> {
    let watches = Arc::clone(watches);
    tokio::task::spawn_blocking(move || work(&watches)).await.ok()
}

/// Returns a path relative to the root.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}
