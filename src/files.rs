//! Watches of paths for change, through the directories that hold them, debounced.
//!
//! The file itself is never watched: after a rename over it, a swap of the `..data` link of a ConfigMap mount, or the
//! removal and return of a directory, the watch would be on a file that is no longer there. Instead, every directory in
//! which a lookup of the path finds one of its elements is watched, links followed, and the whole path is walked again
//! after each change. Where an element is missing, the directory that lacks it is the last one watched, so that the
//! appearance of the element is a change like any other.
//!
//! This module never reads a file. The owner of a watch reads its files again and compares, however a change is reported.

mod inotify;
mod path_walk;

#[cfg(test)]
mod tests;

use self::inotify::{ChangeSubscriber, SharedWatches, WriteProgress};
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

/// How long a change may wait for quiet: a change of a file that is written all the time is announced all the same. A change of
/// one file is announced without any wait when there was no announcement for so long.
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
    announced: watch::Receiver<Announcement>,
    /// The number of the announcement that the owner has seen last.
    seen: u64,
}

/// A change of the paths of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// This entry has changed, and no other: its path has no links but itself, and so is not always one of those that are
    /// watched.
    One(PathBuf),
    /// Any of the paths may have changed.
    Any,
}

/// The latest announcement, with the number of those before it.
#[derive(Debug)]
struct Announcement {
    number: u64,
    change: PathChange,
}

/// When the change of one file alone is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Announcing {
    /// After a time of quiet: the files of a watch have their meaning together, as a certificate and its key.
    AfterQuiet,
    /// At once, if there was no announcement for a while.
    AtOnce,
}

impl Watch {
    /// Makes a watch without paths. Its task runs on `control`, and its calls to the file system on the blocking
    /// threads of that runtime: a network file system can be slow.
    pub fn new(control: &Handle) -> Self {
        Self::with(inotify::new_watcher, Announcing::AfterQuiet, control)
    }

    /// Makes a watch of files of which each has its meaning by itself, such as those of names: the change of one alone, once
    /// its writer has closed or renamed it, waits for nothing else when none was announced in the 200 ms before.
    pub fn of_single_files(control: &Handle) -> Self {
        Self::with(inotify::new_watcher, Announcing::AtOnce, control)
    }

    /// Makes a watch with a source of reports.
    fn with(new_watcher: inotify::WatcherFactory, announcing: Announcing, control: &Handle) -> Self {
        let subscriber = Arc::new(ChangeSubscriber::default());
        let watches = Arc::new(SharedWatches::new(new_watcher, Arc::clone(&subscriber)));
        let (announce, announced) = watch::channel(Announcement { number: 0, change: PathChange::Any });
        control.spawn(announce_changes(Arc::clone(&subscriber), Arc::clone(&watches), announcing, announce));
        Self { subscriber, watches, announced, seen: 0 }
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
    /// writer has closed or renamed the file), or 200 ms have gone by since the first change. A watch
    /// [of single files](Watch::of_single_files) does not wait for the 5 ms as a rule.
    ///
    /// It may return without a change: after the system dropped reports, and every two seconds while the system cannot
    /// report at all (its limit of watches is reached, say), which is logged once. A call may be cancelled without
    /// losing a change.
    pub async fn changed(&mut self) -> PathChange {
        if self.announced.changed().await.is_err() {
            // The runtime of the task is gone, and with it every task that could act on a change.
            std::future::pending::<()>().await;
        }
        self.take_change().unwrap_or(PathChange::Any)
    }

    /// Returns the change for which [`changed`](Watch::changed) would not wait, if there is one, and counts as that call.
    pub fn take_change(&mut self) -> Option<PathChange> {
        let announcement = self.announced.borrow_and_update();
        let new = announcement.number - std::mem::replace(&mut self.seen, announcement.number);
        match new {
            0 => None,
            1 => Some(announcement.change.clone()),
            // Of those before the last one nothing is known.
            _ => Some(PathChange::Any),
        }
    }
}

/// Runs the task of a watch: waits for a report and for quiet after it, announces, and walks the paths again. With
/// thousands of paths that takes a while, for which a change need not wait; where it finds directories and entries that were
/// not watched, it announces again, for what changed in them before.
async fn announce_changes(
    subscriber: Arc<ChangeSubscriber>,
    watches: Arc<SharedWatches>,
    announcing: Announcing,
    announce: watch::Sender<Announcement>,
) {
    let announce_one = |change| {
        announce.send_modify(|last| *last = Announcement { number: last.number + 1, change });
    };
    let mut reported = true;
    // The time from which a single change is announced at once.
    let mut at_once_from = (announcing == Announcing::AtOnce).then(Instant::now);
    loop {
        tokio::select! {
            () = next_change(&subscriber, reported, at_once_from) => {}
            () = announce.closed() => return,
        }
        let changed = subscriber.take_changed();
        announce_one(changed.to_change());
        at_once_from = at_once_from.map(|_| Instant::now() + MAX_DELAY);
        let renewal = blocking(&watches, move |watches| watches.renew_after(&changed)).await;
        if renewal.is_some_and(|renewal| renewal.has_more) {
            announce_one(PathChange::Any);
        }
        reported = renewal.is_some_and(|renewal| renewal.is_reported);
    }
}

/// Waits for a report and for quiet after it; from `at_once_from` on, not for quiet once the one file that changed is whole.
/// Without reports, waits until the next poll.
async fn next_change(subscriber: &ChangeSubscriber, reported: bool, at_once_from: Option<Instant>) {
    let mut progress = if reported {
        subscriber.next_report().await
    } else {
        // Without reports, the end of the timeout counts as a change as well.
        timeout(POLL, subscriber.next_report()).await.unwrap_or(WriteProgress::Underway)
    };
    let first = Instant::now();
    let at_once = at_once_from.is_some_and(|from| first >= from);
    let latest = first + MAX_DELAY;
    while Instant::now() < latest {
        let quiet = match progress {
            WriteProgress::DoneAlone if at_once => return,
            WriteProgress::Done | WriteProgress::DoneAlone => QUIET_WHEN_DONE,
            WriteProgress::Underway => QUIET,
        };
        match timeout_at(latest.min(Instant::now() + quiet), subscriber.next_report()).await {
            Ok(next) => progress = next,
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
