//! The task of a file namer: it owns the answers and the files, and keeps both up to date.

use super::file::{Content, FileEndpoints};
use super::scan::{DirectoryScan, FileLocation, Reading, file_path, scan};
use super::{FileState, States};
use crate::files::Watch;
use crate::interpret::{AnswerState, AnswerWriter, Bound, EndpointSet, Leaf, Target};
use crate::name::{NameTree, Path};
use crate::namer::dns::{Dns, HostSet, MIN_PAUSE};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// How often names and files that are no longer in use are dropped.
const SWEEP: Duration = Duration::from_secs(10);

/// How many names there are at least when they are swept before their time.
const MANY: usize = 2_000;

/// How many lookups are answered together.
const BATCH: usize = 256;

/// A path to look up, with the writer of its answer.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) path: Path,
    pub(super) writer: AnswerWriter,
}

/// The one task that owns a namer's answers and files.
pub(super) struct FsTask {
    prefix: Path,
    root: PathBuf,
    watch: Watch,
    names: Vec<FsName>,
    files: HashMap<Path, NameFile>,
    /// The host names in the files.
    hosts: HostSet,
    states: States,
    /// How many names were in use after the last sweep.
    swept: usize,
    /// The paths of names and files that were dropped, and are still watched.
    dropped: Vec<PathBuf>,
    /// The work that ends such watches.
    unwatching: Option<JoinHandle<()>>,
}

/// A name with an answer in use.
struct FsName {
    path: Path,
    writer: AnswerWriter,
    /// The file that it leads to; Nowhere before the first scan.
    location: FileLocation,
    published: FsNameState,
}

/// The state of a name, as published. The same state is not published again, because that would wake every holder of
/// the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum FsNameState {
    Nothing,
    Neg,
    /// A leaf for the file with these elements.
    Leaf(Path),
    /// The same, as the last good answer.
    Stale(Path),
    Failed(String),
}

/// A file behind a name in use, or with endpoints in use.
struct NameFile {
    endpoints: watch::Sender<EndpointSet>,
    reading: Reading,
    /// Whether its last endpoints still hold.
    good: bool,
    /// Whether there may be endpoints once host names are looked up.
    pending: bool,
    /// The reason why its endpoints are not known, or out of date: it cannot be read, or a host name cannot be looked
    /// up.
    trouble: Option<Arc<str>>,
    /// The first of its host names that have no address.
    without_address: Vec<Arc<str>>,
}

impl FsTask {
    /// Makes the task, without any names.
    pub(super) fn new(prefix: Path, root: PathBuf, watch: Watch, dns: Dns, states: States) -> Self {
        let hosts = HostSet::new(dns, MIN_PAUSE);
        Self {
            prefix,
            root,
            watch,
            names: Vec::new(),
            files: HashMap::new(),
            hosts,
            states,
            swept: 0,
            dropped: Vec::new(),
            unwatching: None,
        }
    }

    /// Runs until the namer is dropped and none of its answers and endpoints is in use.
    pub(super) async fn run(mut self, mut lookups: mpsc::UnboundedReceiver<Lookup>) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        let mut open = true;
        while open || !self.names.is_empty() || !self.files.is_empty() {
            tokio::select! {
                received = lookups.recv_many(&mut batch, BATCH), if open => match received {
                    0 => open = false,
                    _ => {
                        self.join(&mut batch).await;
                        // Names that come and go take no more room than those that are in use.
                        if self.names.len() > 2 * self.swept + MANY {
                            self.sweep();
                        }
                    }
                },
                () = self.watch.changed() => {
                    self.read_known().await;
                    self.sweep();
                    self.look_again().await;
                }
                () = self.hosts.changed() => self.publish(),
                _ = sweep.tick(), if self.has_to_sweep() => self.sweep(),
            }
        }
    }

    /// Takes new names. They are watched before they are scanned, so that no change falls in between.
    async fn join(&mut self, batch: &mut Vec<Lookup>) {
        let first = self.names.len();
        self.names.extend(batch.drain(..).map(|Lookup { path, writer }| FsName {
            path,
            writer,
            location: FileLocation::Nowhere,
            published: FsNameState::Nothing,
        }));
        let new = self.names.get(first..).unwrap_or_default();
        let paths: Vec<PathBuf> = new.iter().map(|name| file_path(&self.root, &name.path)).collect();
        self.watch.watch_paths(paths).await;
        // Only their own files are read: changes of the others are announced by the watch.
        let has_changed = self.scan(first, Vec::new()).await;
        if has_changed {
            self.update_hosts();
            self.publish();
        } else {
            self.publish_names(first);
        }
    }

    /// Returns whether there may be anything to drop.
    fn has_to_sweep(&self) -> bool {
        !(self.names.is_empty() && self.files.is_empty() && self.dropped.is_empty())
    }

    /// Drops names and files that are no longer in use. A client may use a file's endpoints longer than its names are
    /// used.
    fn sweep(&mut self) {
        let before = self.dropped.len();
        let (root, dropped) = (&self.root, &mut self.dropped);
        self.names.retain(|name| {
            let is_used = !name.writer.is_closed();
            if !is_used {
                dropped.push(file_path(root, &name.path));
            }
            is_used
        });
        let named: HashSet<&Path> = self.names.iter().filter_map(FsName::file).collect();
        self.files.retain(|path, file| {
            let is_used = named.contains(path) || file.endpoints.receiver_count() > 0;
            if !is_used {
                dropped.push(file_path(root, path));
            }
            is_used
        });
        self.swept = self.names.len();
        if self.dropped.len() > before {
            self.update_hosts();
            self.publish_states();
        }
        // Not awaited: a change of a name waits for no walk of those that are left. One at a time, however slow the files are.
        if !self.dropped.is_empty() && self.unwatching.as_ref().is_none_or(JoinHandle::is_finished) {
            self.unwatching = Some(tokio::spawn(self.watch.unwatch_paths(std::mem::take(&mut self.dropped))));
        }
    }

    /// Reads the files that are known, if there are many names for each, and publishes what changed in their lines: names
    /// that strangers ask for must not delay it, neither their sweep nor their scan. A file that is gone, and a name that leads elsewhere now, are found by the
    /// scan of all names.
    async fn read_known(&mut self) {
        if self.names.len() < MANY.saturating_add(4 * self.files.len()) {
            return;
        }
        let (root, files) = (self.root.clone(), self.files.keys().cloned().collect());
        let Ok(mut scanned) = tokio::task::spawn_blocking(move || scan(&root, &[], files)).await else {
            return;
        };
        scanned.files.retain(|_, reading| *reading != Reading::Missing);
        if self.read(scanned.files).await {
            self.update_hosts();
            self.publish();
        }
    }

    /// Scans all names, reads all files again, and publishes what changed.
    async fn look_again(&mut self) {
        let files = self.files.keys().cloned().collect();
        self.scan(0, files).await;
        self.update_hosts();
        self.publish();
    }

    /// Scans the names from `first` on, and reads their files and `files`. Returns whether a file is new or has changed.
    async fn scan(&mut self, first: usize, files: Vec<Path>) -> bool {
        let root = self.root.clone();
        let names: Vec<Path> = self.names.iter().skip(first).map(|name| name.path.clone()).collect();
        let scanned = tokio::task::spawn_blocking(move || scan(&root, &names, files)).await;
        // An error is the end of the runtime.
        let Ok(DirectoryScan { locations, files }) = scanned else { return false };
        for (name, location) in self.names.iter_mut().skip(first).zip(locations) {
            name.location = location;
        }
        self.read(files).await
    }

    /// Watches the host names in the files, and no others.
    fn update_hosts(&mut self) {
        let contents = self.files.values().filter_map(|file| match &file.reading {
            Reading::Content(content) => Some(content),
            Reading::Missing | Reading::Unreadable(_) => None,
        });
        self.hosts.set_names(&contents.flat_map(Content::hosts).cloned().collect());
    }

    /// Publishes what changed in the files or in DNS.
    fn publish(&mut self) {
        for file in self.files.values_mut() {
            file.update_endpoints(&self.hosts);
        }
        self.publish_names(0);
        self.publish_states();
    }

    /// Publishes the names from `first` on, as far as they have changed.
    fn publish_names(&mut self, first: usize) {
        for name in self.names.iter_mut().skip(first) {
            let state = name.next_state(&self.files);
            name.publish_state(state, &self.prefix, &self.files);
        }
    }

    /// Takes the files that were read. New files are watched while their endpoints are in use. Returns whether a file is
    /// new or has changed.
    async fn read(&mut self, files: HashMap<Path, Reading>) -> bool {
        let (mut new, mut has_changed) = (Vec::new(), false);
        for (path, reading) in files {
            let file = self.files.entry(path.clone()).or_insert_with(|| {
                new.push(file_path(&self.root, &path));
                NameFile::new()
            });
            if file.reading != reading {
                has_changed = true;
                log_errors(&file_path(&self.root, &path), &reading);
                file.reading = reading;
            }
        }
        has_changed |= !new.is_empty();
        if !new.is_empty() {
            self.watch.watch_paths(new).await;
        }
        has_changed
    }

    /// Publishes the states of the files for the admin pages.
    fn publish_states(&self) {
        let states = self.files.iter().map(|(path, file)| (path.clone(), file.state())).collect();
        *self.states.lock().unwrap_or_else(PoisonError::into_inner) = states;
    }
}

impl NameFile {
    /// Makes a file that has not been read yet.
    fn new() -> Self {
        Self {
            endpoints: watch::Sender::default(),
            reading: Reading::Missing,
            good: false,
            pending: false,
            trouble: None,
            without_address: Vec::new(),
        }
    }

    /// Updates the endpoints from the lines and from the addresses of the hosts in them.
    fn update_endpoints(&mut self, hosts: &HostSet) {
        let found = match &self.reading {
            Reading::Content(content) => match content.garbage() {
                Some(reason) => FileEndpoints { trouble: Some(reason.into()), ..FileEndpoints::default() },
                None => content.endpoints(|name| hosts.known(name)),
            },
            Reading::Missing => {
                self.good = false;
                FileEndpoints::default()
            }
            // The last good endpoints stay.
            Reading::Unreadable(reason) => {
                FileEndpoints { trouble: Some(reason.as_str().into()), ..FileEndpoints::default() }
            }
        };
        let FileEndpoints { endpoints, pending, trouble, without_address } = found;
        if !endpoints.is_empty() {
            self.good = true;
            self.set_endpoints(endpoints);
        } else if !pending && trouble.is_none() {
            self.good = false;
        }
        (self.pending, self.trouble, self.without_address) = (pending, trouble, without_address);
    }

    /// Replaces the endpoints, if they differ.
    fn set_endpoints(&self, new: EndpointSet) {
        self.endpoints.send_if_modified(|endpoints| {
            let changed = *endpoints != new;
            *endpoints = new;
            changed
        });
    }

    /// Returns the state of the file.
    fn state(&self) -> FileState {
        // Endpoints of a file that is gone stay for requests that are on the way.
        let endpoints = if self.good { self.endpoints.borrow().len() } else { 0 };
        let (bad_lines, bad, unreadable) = match &self.reading {
            Reading::Missing => (Vec::new(), 0, None),
            Reading::Content(content) => (content.bad_lines.clone(), content.bad, None),
            Reading::Unreadable(reason) => (Vec::new(), 0, Some(reason.clone())),
        };
        FileState { endpoints, bad_lines, bad, without_address: self.without_address.clone(), unreadable }
    }
}

impl FsName {
    /// Returns the file that it leads to or, while that is not known, the last one.
    fn file(&self) -> Option<&Path> {
        match (&self.location, &self.published) {
            (FileLocation::File(file), _) => Some(file),
            (FileLocation::Unreadable(_), FsNameState::Leaf(file) | FsNameState::Stale(file)) => Some(file),
            _ => None,
        }
    }

    /// Returns the state to publish now.
    fn next_state(&self, files: &HashMap<Path, NameFile>) -> FsNameState {
        let path = match &self.location {
            FileLocation::Nowhere => return FsNameState::Neg,
            FileLocation::Unreadable(reason) => return self.unreadable(reason),
            FileLocation::File(path) => path,
        };
        match files.get(path) {
            Some(NameFile { good: true, trouble: None, .. }) => FsNameState::Leaf(path.clone()),
            Some(NameFile { good: true, trouble: Some(_), .. }) => FsNameState::Stale(path.clone()),
            Some(NameFile { trouble: Some(reason), .. }) => FsNameState::Failed(reason.to_string()),
            Some(NameFile { pending: true, .. }) => FsNameState::Nothing,
            Some(_) | None => FsNameState::Neg,
        }
    }

    /// Returns the state of a name that cannot be read. A leaf stays a leaf. Neg does not stay: it would send requests
    /// elsewhere in silence.
    fn unreadable(&self, reason: &str) -> FsNameState {
        match &self.published {
            FsNameState::Leaf(path) | FsNameState::Stale(path) => FsNameState::Stale(path.clone()),
            FsNameState::Nothing | FsNameState::Neg | FsNameState::Failed(_) => {
                FsNameState::Failed(reason.to_owned())
            }
        }
    }

    /// Publishes a state, if it differs from the last one.
    fn publish_state(&mut self, new: FsNameState, prefix: &Path, files: &HashMap<Path, NameFile>) {
        if self.published == new || new == FsNameState::Nothing {
            return;
        }
        match &new {
            FsNameState::Nothing => {}
            FsNameState::Neg => self.writer.publish(AnswerState::Ready(NameTree::Neg)),
            FsNameState::Failed(reason) => self.writer.publish(AnswerState::Failed(reason.as_str().into())),
            FsNameState::Leaf(path) => self.publish_leaf(path, prefix, files),
            FsNameState::Stale(path) => {
                if !matches!(&self.published, FsNameState::Leaf(before) if before == path) {
                    self.publish_leaf(path, prefix, files);
                }
                self.writer.mark_stale();
            }
        }
        self.published = new;
    }

    /// Publishes a leaf with the live endpoints of a file.
    fn publish_leaf(&self, used: &Path, prefix: &Path, files: &HashMap<Path, NameFile>) {
        let Some(file) = files.get(used) else { return };
        self.writer.publish(AnswerState::Ready(NameTree::Leaf(Leaf::Bound(Bound {
            id: prefix.concat(used),
            residual: self.path.skip(used.len()),
            target: Target::Endpoints(file.endpoints.subscribe()),
        }))));
    }
}

/// Logs what is wrong with a file; called once for each change.
fn log_errors(path: &std::path::Path, reading: &Reading) {
    match reading {
        Reading::Missing => {}
        Reading::Unreadable(reason) => tracing::warn!(%reason, "a name file cannot be read"),
        Reading::Content(Content { bad_lines, bad, .. }) => {
            let path = path.display();
            for bad in bad_lines {
                tracing::warn!("{path}:{}: {}: `{}`", bad.line, bad.reason, bad.text.escape_debug());
            }
            let more = bad.saturating_sub(bad_lines.len());
            if more > 0 {
                tracing::warn!("{path}: {more} more bad lines");
            }
        }
    }
}
