use super::path_walk::{DirectoryIdentity, walk};
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How often the way to the paths is walked again because it changed while it was being watched.
const ATTEMPTS: usize = 10;

/// Makes the system's reporter of changes, which calls the listener from a thread of its own.
pub(super) type WatcherFactory = fn(Arc<ChangeSubscriber>) -> notify::Result<Box<dyn Watcher + Send>>;

/// The reporter of this platform: inotify on Linux.
pub(super) fn inotify(listener: Arc<ChangeSubscriber>) -> notify::Result<Box<dyn Watcher + Send>> {
    let handler = move |event: notify::Result<Event>| listener.hear(&event);
    Ok(Box::new(RecommendedWatcher::new(handler, notify::Config::default())?))
}

/// The end that hears what the system reports, and passes on what is of interest.
#[derive(Debug, Default)]
pub(super) struct ChangeSubscriber {
    signal: Notify,
    heard: Mutex<SubscriberState>,
}

#[derive(Debug, Default)]
struct SubscriberState {
    /// By directory, its entries that are of interest.
    interests: HashMap<PathBuf, HashSet<OsString>>,
    /// Directories that went away under their watch.
    lost: HashSet<PathBuf>,
    /// Whether reports were dropped, so that any watch may be gone.
    overflowed: bool,
}

impl ChangeSubscriber {
    /// Waits for the next report of interest; one that came while nobody waited counts.
    pub(super) async fn noticed(&self) {
        self.signal.notified().await;
    }

    /// Ends the wait although nothing was reported.
    pub(super) fn wake(&self) {
        self.signal.notify_one();
    }

    /// Takes one report.
    pub(super) fn hear(&self, report: &notify::Result<Event>) {
        if self.heard().takes(report) {
            self.wake();
        }
    }

    fn heard(&self) -> MutexGuard<'_, SubscriberState> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SubscriberState {
    /// Remembers what a report says about the watches themselves; returns whether it is of interest.
    fn takes(&mut self, report: &notify::Result<Event>) -> bool {
        let event = match report {
            Ok(event) if event.need_rescan() => {
                self.overflowed = true;
                return true;
            }
            Ok(event) => event,
            Err(_) => return true,
        };
        let gone = match event.kind {
            // Reading is reported too: whoever reads after a change would wake itself for ever.
            EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write) => return false,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => true,
            _ => false,
        };
        let mut interesting = false;
        for path in &event.paths {
            if self.interests.contains_key(path) {
                interesting = true;
                if gone {
                    self.lost.insert(path.clone());
                }
            }
            interesting |= match (path.parent(), path.file_name()) {
                (Some(directory), Some(entry)) => {
                    self.interests.get(directory).is_some_and(|entries| entries.contains(entry))
                }
                _ => false,
            };
        }
        interesting
    }
}

#[cfg(test)]
impl ChangeSubscriber {
    /// Whether a report would be passed on.
    pub(super) fn is_interested(&self, report: &notify::Result<Event>) -> bool {
        self.heard().takes(report)
    }

    /// Adds an entry of interest.
    pub(super) fn interest(&self, directory: &str, entry: &str) {
        self.heard().interests.entry(directory.into()).or_default().insert(entry.into());
    }
}

/// What is followed, and the system's watches that stand for it.
pub(super) struct DirectoryWatches {
    make: WatcherFactory,
    listener: Arc<ChangeSubscriber>,
    watcher: Option<Box<dyn Watcher + Send>>,
    /// The paths, each with how often it was followed.
    followed: HashMap<PathBuf, usize>,
    /// The watched directories.
    watched: HashMap<PathBuf, DirectoryIdentity>,
    /// Why changes are not reported, if they are not: said once, when it becomes so.
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

/// A directory to watch.
struct DirectoryInterest {
    identity: DirectoryIdentity,
    entries: HashSet<OsString>,
    /// Whether it must be watched; a directory that is only passed through may be closed to reading.
    needed: bool,
}

impl DirectoryWatches {
    pub(super) fn new(make: WatcherFactory, listener: Arc<ChangeSubscriber>) -> Self {
        Self {
            make,
            listener,
            watcher: None,
            followed: HashMap::new(),
            watched: HashMap::new(),
            failure: None,
        }
    }

    /// Follows more paths; returns whether changes are reported.
    pub(super) fn follow(&mut self, paths: Vec<PathBuf>) -> bool {
        let mut new = Vec::new();
        for path in paths {
            match self.followed.entry(path) {
                Entry::Occupied(mut times) => *times.get_mut() += 1,
                Entry::Vacant(vacant) => {
                    new.push(vacant.key().clone());
                    vacant.insert(1);
                }
            }
        }
        let armed = self.attempt(|arming| arming.widen(&new));
        self.report(armed)
    }

    /// Follows paths no longer; returns whether changes are reported.
    pub(super) fn forget(&mut self, paths: &[PathBuf]) -> bool {
        for path in paths {
            if let Some(times) = self.followed.get_mut(path) {
                *times -= 1;
                if *times == 0 {
                    self.followed.remove(path);
                }
            }
        }
        self.renew()
    }

    /// Walks all ways again and watches what they pass now; returns whether changes are reported.
    pub(super) fn renew(&mut self) -> bool {
        let armed = self.attempt(Self::replace);
        self.report(armed)
    }

    /// Repeats a step until nothing new had to be watched: what changed between the walk and the watch is seen by
    /// the walk after it.
    fn attempt(&mut self, mut step: impl FnMut(&mut Self) -> notify::Result<bool>) -> notify::Result<()> {
        for _ in 0..ATTEMPTS {
            match step(self) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // It went away between the walk and the watch.
                Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Err(notify::Error::generic("the directories change faster than they can be watched"))
    }

    /// Adds what the ways to `paths` need; returns whether all of it was watched before.
    fn widen(&mut self, paths: &[PathBuf]) -> notify::Result<bool> {
        let wanted = wanted(paths.iter());
        {
            let mut heard = self.listener.heard();
            for (directory, wanted) in &wanted {
                let entries = heard.interests.entry(directory.clone()).or_default();
                entries.extend(wanted.entries.iter().cloned());
            }
        }
        self.watch(&wanted)
    }

    /// Replaces everything by what the ways to all paths need; returns whether all of it was watched before.
    fn replace(&mut self) -> notify::Result<bool> {
        let wanted = wanted(self.followed.keys());
        let (lost, overflowed) = {
            let mut heard = self.listener.heard();
            heard.interests = wanted
                .iter()
                .map(|(directory, wanted)| (directory.clone(), wanted.entries.clone()))
                .collect();
            (std::mem::take(&mut heard.lost), std::mem::take(&mut heard.overflowed))
        };
        let gone: Vec<PathBuf> = self
            .watched
            .keys()
            .filter(|directory| overflowed || lost.contains(*directory) || !wanted.contains_key(*directory))
            .cloned()
            .collect();
        for directory in gone {
            self.unwatch(&directory);
        }
        self.watch(&wanted)
    }

    fn watch(&mut self, wanted: &HashMap<PathBuf, DirectoryInterest>) -> notify::Result<bool> {
        let mut complete = true;
        for (directory, wanted) in wanted {
            match self.watched.get(directory) {
                Some(identity) if *identity == wanted.identity => continue,
                // Another directory took its place.
                Some(_) => self.unwatch(directory),
                None => {}
            }
            match self.watcher()?.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => complete = false,
                Err(error) if !wanted.needed && is_denied(&error) => continue,
                Err(error) => return Err(error),
            }
            self.watched.insert(directory.clone(), wanted.identity);
        }
        Ok(complete)
    }

    fn unwatch(&mut self, directory: &Path) {
        self.watched.remove(directory);
        if let Some(watcher) = &mut self.watcher {
            // It fails when the system ended the watch by itself, because the directory is gone.
            let _ = watcher.unwatch(directory);
        }
    }

    fn watcher(&mut self) -> notify::Result<&mut Box<dyn Watcher + Send>> {
        match &mut self.watcher {
            Some(watcher) => Ok(watcher),
            none => Ok(none.insert((self.make)(Arc::clone(&self.listener))?)),
        }
    }

    /// Logs the change from reported to polled and back.
    fn report(&mut self, armed: notify::Result<()>) -> bool {
        match (armed, &self.failure) {
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

fn wanted<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> HashMap<PathBuf, DirectoryInterest> {
    let mut wanted = HashMap::new();
    for step in paths.flat_map(|path| walk(path)) {
        let directory = wanted.entry(step.directory).or_insert_with(|| DirectoryInterest {
            identity: step.identity,
            entries: HashSet::new(),
            needed: false,
        });
        directory.identity = step.identity;
        directory.entries.insert(step.entry);
        directory.needed |= !step.passing;
    }
    wanted
}

fn is_denied(error: &notify::Error) -> bool {
    matches!(&error.kind, notify::ErrorKind::Io(cause) if cause.kind() == std::io::ErrorKind::PermissionDenied)
}
