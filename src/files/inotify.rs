//! The system's watches of directories, and the reports of changes in them.

use super::PathChange;
use super::path_walk::{DirectoryIdentity, EntryCache, leads_nowhere, walk};
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How often the paths are walked again because directories changed while the watches were set.
const ATTEMPTS: usize = 10;

/// A function that makes the system's watcher, which calls the subscriber from a thread of its own.
pub(super) type WatcherFactory = fn(Arc<ChangeSubscriber>) -> notify::Result<Box<dyn Watcher + Send>>;

/// Makes the watcher of this platform: inotify on Linux.
pub(super) fn new_watcher(subscriber: Arc<ChangeSubscriber>) -> notify::Result<Box<dyn Watcher + Send>> {
    let handler = move |event: notify::Result<Event>| subscriber.receive(&event);
    Ok(Box::new(RecommendedWatcher::new(handler, notify::Config::default())?))
}

/// The subscriber to the system's reports: it passes on those of interest.
#[derive(Debug, Default)]
pub(super) struct ChangeSubscriber {
    signal: Notify,
    state: Mutex<SubscriberState>,
}

/// The interests of a subscriber, and its findings about the watches themselves.
#[derive(Debug, Default)]
struct SubscriberState {
    /// The entries of interest in each directory.
    interests: HashMap<PathBuf, HashSet<OsString>>,
    /// The directories that were removed or moved while they were watched.
    lost: HashSet<PathBuf>,
    /// Whether reports were dropped, so that any watch may be gone.
    overflowed: bool,
    /// Whether the last report of interest was of a file that was closed by its writer, or of a rename.
    is_done: bool,
    /// The entries that changed since the last announcement.
    changed: ChangedEntries,
}

/// The entries that changed since the last announcement.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum ChangedEntries {
    #[default]
    None,
    One(PathBuf),
    /// Any of them.
    Several,
}

/// The progress of the writer of a change, by the last report of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteProgress {
    /// More of the change is to come.
    Underway,
    /// The writer has closed the file or put it into its place, and may have others to write.
    Done,
    /// The same, and nothing but this file has changed since the last announcement.
    DoneAlone,
}

impl ChangeSubscriber {
    /// Waits for the next report of interest; one that came since the last wait counts. Returns how far the writer has
    /// come, by the last report.
    pub(super) async fn next_report(&self) -> WriteProgress {
        self.signal.notified().await;
        self.progress()
    }

    /// Returns how far the writer has come, by the last report of interest.
    pub(super) fn progress(&self) -> WriteProgress {
        let state = self.state();
        match (state.is_done, &state.changed) {
            (false, _) => WriteProgress::Underway,
            (true, ChangedEntries::One(_)) => WriteProgress::DoneAlone,
            (true, ChangedEntries::None | ChangedEntries::Several) => WriteProgress::Done,
        }
    }

    /// Takes the entries that changed so far, which are announced then.
    pub(super) fn take_changed(&self) -> ChangedEntries {
        std::mem::take(&mut self.state().changed)
    }

    /// Ends the wait without a report.
    pub(super) fn wake(&self) {
        self.signal.notify_one();
    }

    /// Receives one report.
    pub(super) fn receive(&self, report: &notify::Result<Event>) {
        if self.state().receive(report) {
            self.wake();
        }
    }

    /// Locks the state.
    fn state(&self) -> MutexGuard<'_, SubscriberState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SubscriberState {
    /// Notes the watches that a report shows to be gone; returns whether the report is of interest.
    fn receive(&mut self, report: &notify::Result<Event>) -> bool {
        let event = match report {
            Ok(event) if event.need_rescan() => {
                self.overflowed = true;
                self.note_several();
                return true;
            }
            Ok(event) => event,
            Err(_) => {
                self.note_several();
                return true;
            }
        };
        let gone = match event.kind {
            // Reading is reported too: a reader that reads after each change would wake itself for ever.
            EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write) => return false,
            // Both of its paths were reported just before.
            EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return false,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => true,
            _ => false,
        };
        let (mut interesting, mut is_done) = (false, false);
        for path in &event.paths {
            let is_directory = self.interests.contains_key(path);
            if is_directory && gone {
                self.lost.insert(path.clone());
            }
            let is_entry = match (path.parent(), path.file_name()) {
                (Some(directory), Some(entry)) => {
                    self.interests.get(directory).is_some_and(|entries| entries.contains(entry))
                }
                _ => false,
            };
            if is_directory {
                self.changed = ChangedEntries::Several;
            } else if is_entry {
                self.changed.add(path);
            }
            interesting |= is_directory || is_entry;
            is_done = is_entry && ends_a_write(event.kind);
        }
        if interesting {
            self.is_done = is_done;
        }
        interesting
    }

    /// Notes that any entry may have changed.
    fn note_several(&mut self) {
        (self.is_done, self.changed) = (false, ChangedEntries::Several);
    }
}

impl ChangedEntries {
    /// Returns them as the owner of the watch is told.
    pub(super) fn to_change(&self) -> PathChange {
        match self {
            Self::One(path) => PathChange::One(path.clone()),
            // Nothing was reported where the system cannot report.
            Self::None | Self::Several => PathChange::Any,
        }
    }

    /// Returns whether the paths pass the directories that they passed before: only an entry changed that leads nowhere, as
    /// it is missing or a file. It blocks.
    fn lead_nowhere(&self) -> bool {
        match self {
            Self::One(path) => leads_nowhere(path),
            Self::None | Self::Several => false,
        }
    }

    /// Adds an entry that has changed.
    fn add(&mut self, path: &Path) {
        match self {
            Self::None => *self = Self::One(path.to_owned()),
            Self::One(only) if only == path => {}
            Self::One(_) | Self::Several => *self = Self::Several,
        }
    }
}

/// Returns whether a report says that a file has all of its content: its writer has closed it, or put it into its place. A
/// removal and a rename to elsewhere do not: what replaces the file is still to come.
const fn ends_a_write(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To))
    )
}

#[cfg(test)]
impl ChangeSubscriber {
    /// Returns whether a report would be passed on.
    pub(super) fn is_interested(&self, report: &notify::Result<Event>) -> bool {
        self.state().receive(report)
    }

    /// Adds an entry of interest.
    pub(super) fn interest(&self, directory: &str, entry: &str) {
        self.state().interests.entry(directory.into()).or_default().insert(entry.into());
    }
}

/// The paths that are followed, and the system's watches of the directories on them.
struct DirectoryWatches {
    new_watcher: WatcherFactory,
    subscriber: Arc<ChangeSubscriber>,
    watcher: Option<Box<dyn Watcher + Send>>,
    /// The paths, each with the number of times it was added.
    paths: HashMap<PathBuf, usize>,
    /// The paths that came while all others are walked again.
    newcomers: Option<Vec<PathBuf>>,
    /// How many paths were removed since all were walked.
    removed: usize,
    /// The watched directories.
    watched: HashMap<PathBuf, DirectoryIdentity>,
    /// The reason why changes are not reported, if they are not; it is logged when it changes.
    failure: Option<String>,
}

impl std::fmt::Debug for DirectoryWatches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DirectoryWatches")
            .field("watched", &self.watched)
            .field("failure", &self.failure)
            .finish()
    }
}

/// The watches of directories, as the tasks share them. Its calls block.
#[derive(Debug)]
pub(super) struct SharedWatches {
    watches: Mutex<DirectoryWatches>,
    /// Held while all paths are walked again.
    renewal: Mutex<()>,
}

impl SharedWatches {
    pub(super) fn new(new_watcher: WatcherFactory, subscriber: Arc<ChangeSubscriber>) -> Self {
        Self {
            watches: Mutex::new(DirectoryWatches::new(new_watcher, subscriber)),
            renewal: Mutex::default(),
        }
    }

    /// Adds paths; returns whether changes are reported.
    pub(super) fn add_paths(&self, paths: Vec<PathBuf>) -> bool {
        self.lock().add_paths(paths)
    }

    /// Removes paths; returns what was found, if all others had to be walked again for that.
    pub(super) fn remove_paths(&self, paths: &[PathBuf]) -> Option<Renewal> {
        let is_renewed = self.lock().remove_paths(paths);
        is_renewed.then(|| self.renew())
    }

    /// Does what changed entries call for: walks all paths again if they may pass other directories now. A file that was a
    /// directory or a link before needs none, and watches that are too many go with the next walk.
    pub(super) fn renew_after(&self, changed: &ChangedEntries) -> Renewal {
        let is_reported = self.lock().failure.is_none();
        if is_reported && changed.lead_nowhere() {
            return Renewal { is_reported, has_more: false };
        }
        self.renew()
    }

    /// Walks all paths again and watches the directories that they pass now. Paths may be added and removed meanwhile.
    pub(super) fn renew(&self) -> Renewal {
        let _alone = self.renewal.lock().unwrap_or_else(PoisonError::into_inner);
        let mut has_more = false;
        let reported = attempt(|| {
            let paths = self.lock().begin_walk();
            let walked = walk_all(paths.iter(), Directories::new());
            self.lock().replace(walked, &mut has_more)
        });
        Renewal { is_reported: self.lock().report(reported), has_more }
    }

    fn lock(&self) -> MutexGuard<'_, DirectoryWatches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outcome of walking all paths again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renewal {
    /// Whether changes are reported.
    pub(super) is_reported: bool,
    /// Whether a directory or an entry is watched that was not before: its changes until then were not reported.
    pub(super) has_more: bool,
}

/// The directories to watch, by their paths.
type Directories = HashMap<PathBuf, DirectoryInterest>;

/// The interest in a directory to watch.
struct DirectoryInterest {
    identity: DirectoryIdentity,
    entries: HashSet<OsString>,
    /// Whether it must be watched; a directory that the path only passes may be closed to reading.
    needed: bool,
}

impl DirectoryWatches {
    fn new(new_watcher: WatcherFactory, subscriber: Arc<ChangeSubscriber>) -> Self {
        Self {
            new_watcher,
            subscriber,
            watcher: None,
            paths: HashMap::new(),
            newcomers: None,
            removed: 0,
            watched: HashMap::new(),
            failure: None,
        }
    }

    /// Adds paths; returns whether changes are reported.
    fn add_paths(&mut self, paths: Vec<PathBuf>) -> bool {
        let mut new = Vec::new();
        for path in paths {
            match self.paths.entry(path) {
                Entry::Occupied(mut times) => *times.get_mut() += 1,
                Entry::Vacant(vacant) => {
                    new.push(vacant.key().clone());
                    vacant.insert(1);
                }
            }
        }
        let reported = attempt(|| self.widen(&new));
        if let Some(newcomers) = &mut self.newcomers {
            newcomers.extend(new);
        }
        self.report(reported)
    }

    /// Removes paths; returns whether all paths are to be walked again, so that watches that are no longer needed end.
    ///
    /// That is so when as many paths have been removed as are left: a path that goes costs the same however many there are.
    fn remove_paths(&mut self, paths: &[PathBuf]) -> bool {
        for path in paths {
            if let Some(times) = self.paths.get_mut(path) {
                *times -= 1;
                if *times == 0 {
                    self.paths.remove(path);
                    self.removed += 1;
                }
            }
        }
        self.removed >= self.paths.len()
    }

    /// Adds the watches that `paths` need; returns whether all were set before.
    fn widen(&mut self, paths: &[PathBuf]) -> notify::Result<bool> {
        let directories = walk_all(paths.iter(), Directories::new());
        {
            let mut state = self.subscriber.state();
            for (directory, interest) in &directories {
                let entries = state.interests.entry(directory.clone()).or_default();
                entries.extend(interest.entries.iter().cloned());
            }
        }
        self.watch(&directories)
    }

    /// Returns the paths, which are about to be walked again.
    fn begin_walk(&mut self) -> Vec<PathBuf> {
        self.removed = 0;
        self.newcomers = Some(Vec::new());
        self.paths.keys().cloned().collect()
    }

    /// Replaces the watches by those that the paths need that were walked, and those that came meanwhile; returns whether all
    /// were set before. Notes whether a directory or an entry came in.
    fn replace(&mut self, walked: Directories, has_more: &mut bool) -> notify::Result<bool> {
        let newcomers = self.newcomers.take().unwrap_or_default();
        let directories = walk_all(newcomers.iter(), walked);
        let (lost, overflowed) = {
            let mut state = self.subscriber.state();
            *has_more |= directories.iter().any(|(directory, interest)| {
                state.interests.get(directory).is_none_or(|known| !interest.entries.is_subset(known))
            });
            state.interests = directories
                .iter()
                .map(|(directory, interest)| (directory.clone(), interest.entries.clone()))
                .collect();
            (std::mem::take(&mut state.lost), std::mem::take(&mut state.overflowed))
        };
        let gone: Vec<PathBuf> = self
            .watched
            .keys()
            .filter(|directory| {
                overflowed || lost.contains(*directory) || !directories.contains_key(*directory)
            })
            .cloned()
            .collect();
        for directory in gone {
            self.unwatch(&directory);
        }
        let complete = self.watch(&directories)?;
        *has_more |= !complete;
        Ok(complete)
    }

    /// Watches directories; returns whether all were watched before.
    fn watch(&mut self, directories: &Directories) -> notify::Result<bool> {
        let mut complete = true;
        for (directory, interest) in directories {
            match self.watched.get(directory) {
                Some(identity) if *identity == interest.identity => continue,
                // Another directory is at its path now.
                Some(_) => self.unwatch(directory),
                None => {}
            }
            match self.watcher()?.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => complete = false,
                Err(error) if !interest.needed && is_denied(&error) => continue,
                Err(error) => return Err(error),
            }
            self.watched.insert(directory.clone(), interest.identity);
        }
        Ok(complete)
    }

    /// Ends the watch of a directory.
    fn unwatch(&mut self, directory: &Path) {
        self.watched.remove(directory);
        if let Some(watcher) = &mut self.watcher {
            // This fails when the system has ended the watch, because the directory is gone.
            let _ = watcher.unwatch(directory);
        }
    }

    /// Returns the system's watcher, made when it is first needed.
    fn watcher(&mut self) -> notify::Result<&mut Box<dyn Watcher + Send>> {
        match &mut self.watcher {
            Some(watcher) => Ok(watcher),
            none => Ok(none.insert((self.new_watcher)(Arc::clone(&self.subscriber))?)),
        }
    }

    /// Logs a change from reports to polling and back; returns whether changes are reported.
    fn report(&mut self, reported: notify::Result<()>) -> bool {
        match (reported, &self.failure) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => {
                tracing::info!("changes of files are reported again");
                self.failure = None;
            }
            (Err(error), failure) => {
                let reason = error.to_string();
                if failure.as_ref() != Some(&reason) {
                    tracing::warn!(%reason, "changes of files are not reported: reading them every two seconds");
                    self.failure = Some(reason);
                }
            }
        }
        self.failure.is_none()
    }
}

/// Repeats a step until it sets no new watch: the next walk sees the changes between a walk and its watches.
fn attempt(mut step: impl FnMut() -> notify::Result<bool>) -> notify::Result<()> {
    for _ in 0..ATTEMPTS {
        match step() {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            // The directory was removed between the walk and the watch.
            Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Err(notify::Error::generic("the directories change faster than they can be watched"))
}

/// Walks paths; returns the directories to watch for them, and for those of the paths that were walked before.
fn walk_all<'a>(paths: impl Iterator<Item = &'a PathBuf>, mut directories: Directories) -> Directories {
    let mut cache = EntryCache::default();
    for step in paths.flat_map(|path| walk(path, &mut cache)) {
        let directory = directories.entry(step.directory).or_insert_with(|| DirectoryInterest {
            identity: step.identity,
            entries: HashSet::new(),
            needed: false,
        });
        directory.identity = step.identity;
        directory.entries.insert(step.entry);
        directory.needed |= !step.passing;
    }
    directories
}

/// Returns whether an error is a lack of permission.
fn is_denied(error: &notify::Error) -> bool {
    matches!(&error.kind, notify::ErrorKind::Io(cause) if cause.kind() == std::io::ErrorKind::PermissionDenied)
}
