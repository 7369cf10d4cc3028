//! The task of a file namer: it owns the answers and the files, and keeps both up to date.

use super::States;
use super::file::Content;
use super::fs_name::FsName;
use super::name_file::NameFile;
use super::scan::{DirectoryScan, Reading, file_path, scan, scan_below};
use crate::files::{PathChange, Watch};
use crate::interpret::AnswerWriter;
use crate::name::Path;
use crate::namer::dns::{Dns, HostSet, MIN_PAUSE};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// How often names and files that are no longer in use are dropped.
const SWEEP: Duration = Duration::from_secs(10);

/// How many names there are at least when a scan of all of them runs beside other work.
const MANY: usize = 2_000;

/// How many names that are not in use are kept until the next sweep, beside a quarter of those that are: each takes about a
/// thousand bytes.
const MOST_UNUSED: usize = 500;

/// How many lookups are answered together.
const BATCH: usize = 256;

/// How many times as long as a scan of many names takes there is none.
const PAUSE_AFTER_SCAN: u32 = 4;

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
    /// The number of scans that have begun: of two, the later one is right.
    scans: u64,
    /// The scan of all names that runs beside other work.
    scanning: Option<LongScan>,
    /// Whether all names are to be scanned once more.
    has_to_scan: bool,
    /// When that may begin.
    next_scan: Instant,
}

/// A scan of the first names, which may take long.
struct LongScan {
    number: u64,
    began: Instant,
    work: JoinHandle<DirectoryScan>,
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
            scans: 0,
            scanning: None,
            has_to_scan: false,
            next_scan: Instant::now(),
        }
    }

    /// Runs until the namer is dropped and none of its answers and endpoints is in use.
    pub(super) async fn run(mut self, mut lookups: mpsc::UnboundedReceiver<Lookup>) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        let mut open = true;
        while open || !self.names.is_empty() || !self.files.is_empty() {
            // Names that come without a pause do not delay what they lead to.
            if let Some(change) = self.watch.take_change() {
                self.follow(change).await;
            }
            tokio::select! {
                received = lookups.recv_many(&mut batch, BATCH), if open => match received {
                    0 => open = false,
                    _ => {
                        self.join(&mut batch).await;
                        // Names that come and go take no more room than those that are in use.
                        if self.names.len() > self.swept + self.swept / 4 + MOST_UNUSED {
                            self.sweep();
                        }
                    }
                },
                change = self.watch.changed() => self.follow(change).await,
                () = self.hosts.changed() => self.publish(),
                scanned = long_scan(&mut self.scanning) => self.end_scan(scanned).await,
                () = sleep_until(self.next_scan), if self.has_to_scan && self.scanning.is_none() => self.begin_scan(),
                _ = sweep.tick(), if self.has_to_sweep() => self.sweep(),
            }
        }
    }

    /// Takes new names. They are watched before they are scanned, so that no change falls in between.
    async fn join(&mut self, batch: &mut Vec<Lookup>) {
        let first = self.names.len();
        self.names.extend(batch.drain(..).map(|Lookup { path, writer }| FsName::new(path, writer)));
        let new = self.names.get(first..).unwrap_or_default();
        let paths: Vec<PathBuf> = new.iter().map(|name| file_path(&self.root, &name.path)).collect();
        self.watch.watch_paths(paths).await;
        // Only their own files are read: changes of the others are announced by the watch.
        let (root, names, number) = (self.root.clone(), self.paths(first), self.number_scan());
        let scanned = spawn_blocking(move || scan(&root, &names, Vec::new())).await;
        // An error is the end of the runtime.
        let Ok(scanned) = scanned else { return };
        if self.take(number, first.., scanned).await {
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
        if self.scanning.is_some() {
            // It knows the names by their positions.
            return;
        }
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

    /// Follows an announced change: all names are scanned, and the files that are known are read again. Names that
    /// strangers ask for must not delay it, neither their sweep nor their scan: beside many of them the files are read first, and
    /// only the names are looked for whose way passes the entry that changed.
    async fn follow(&mut self, change: PathChange) {
        if self.names.len() < MANY.saturating_add(4 * self.files.len()) {
            self.begin_scan();
            let scanned = long_scan(&mut self.scanning).await;
            self.end_scan(scanned).await;
            return;
        }
        let (root, number) = (self.root.clone(), self.number_scan());
        let files = self.files.keys().cloned().collect();
        let (names, entry) = match change {
            PathChange::One(entry) => (self.paths(0), entry),
            PathChange::Any => (Vec::new(), PathBuf::new()),
        };
        let scanned = spawn_blocking(move || scan_below(&root, &entry, &names, files)).await;
        let Ok((positions, mut scanned)) = scanned else { return };
        // Names that still lead to a file that is gone are found by the scan of all.
        scanned.files.retain(|_, reading| *reading != Reading::Missing);
        let is_found = !positions.is_empty();
        if self.take(number, positions, scanned).await || is_found {
            self.update_hosts();
            self.publish();
        }
        self.has_to_scan = true;
    }

    /// Begins a scan of all names, which reads all files again.
    fn begin_scan(&mut self) {
        // What one before it finds is of no use.
        (self.scanning, self.has_to_scan) = (None, false);
        self.sweep();
        let (root, names, number) = (self.root.clone(), self.paths(0), self.number_scan());
        let files = self.files.keys().cloned().collect();
        let work = spawn_blocking(move || scan(&root, &names, files));
        self.scanning = Some(LongScan { number, began: Instant::now(), work });
    }

    /// Ends a scan of all names, and publishes what changed.
    async fn end_scan(&mut self, (number, took, scanned): (u64, Duration, Option<DirectoryScan>)) {
        // There is none at the end of the runtime.
        let Some(scanned) = scanned else { return };
        self.take(number, 0.., scanned).await;
        self.update_hosts();
        self.publish();
        self.next_scan = Instant::now() + took * PAUSE_AFTER_SCAN;
    }

    /// Returns the number of a scan that begins.
    fn number_scan(&mut self) -> u64 {
        self.scans += 1;
        self.scans
    }

    /// Returns the names from `first` on.
    fn paths(&self, first: usize) -> Vec<Path> {
        self.names.iter().skip(first).map(|name| name.path.clone()).collect()
    }

    /// Takes what a scan found of the names at these positions, as far as no later scan did. Returns whether a file is new or
    /// has changed.
    async fn take(
        &mut self,
        number: u64,
        positions: impl IntoIterator<Item = usize>,
        scanned: DirectoryScan,
    ) -> bool {
        for (position, location) in positions.into_iter().zip(scanned.locations) {
            if let Some(name) = self.names.get_mut(position).filter(|name| name.scan < number) {
                (name.location, name.scan) = (location, number);
            }
        }
        self.read(number, scanned.files).await
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
            name.publish(&self.prefix, &self.files);
        }
    }

    /// Takes the files that a scan read. New files are watched while their endpoints are in use. Returns whether a file is
    /// new or has changed.
    async fn read(&mut self, number: u64, files: HashMap<Path, Reading>) -> bool {
        let (mut new, mut has_changed) = (Vec::new(), false);
        for (path, reading) in files {
            let file = self.files.entry(path.clone()).or_insert_with(|| {
                new.push(file_path(&self.root, &path));
                NameFile::new()
            });
            if file.scan > number {
                continue;
            }
            file.scan = number;
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

/// Waits for the end of a scan, if there is one. Returns its number, its time, and what it found.
async fn long_scan(scanning: &mut Option<LongScan>) -> (u64, Duration, Option<DirectoryScan>) {
    let Some(LongScan { number, began, work }) = scanning else { return std::future::pending().await };
    let (number, scanned) = (*number, work.await.ok());
    let took = began.elapsed();
    *scanning = None;
    (number, took, scanned)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::{Answer, Endpoint, EndpointSet};
    use crate::namer::dns::tests::Scripted;
    use crate::namer::fs::scan::FileLocation;
    use std::path;
    use tokio::runtime::Handle;

    #[tokio::test]
    async fn of_two_scans_the_later_one_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let (root, dns) = (folder.path().to_owned(), Scripted::default().dns());
        let watch = Watch::of_single_files(&Handle::current());
        let mut task = FsTask::new(Path::empty(), root.clone(), watch, dns, States::default());
        let name: Path = "/web".parse().unwrap();
        let (writer, answer) = Answer::pending();
        task.join(&mut vec![Lookup { path: name.clone(), writer }]).await;
        let look = |root: &path::Path| scan(root, std::slice::from_ref(&name), Vec::new());
        let (before, early) = (look(&root), task.number_scan());
        std::fs::write(root.join("web"), "10.0.0.1 80").unwrap();
        let (after, late) = (look(&root), task.number_scan());
        std::fs::write(root.join("web"), "10.0.0.2 80").unwrap();
        let (last, latest) = (look(&root), task.number_scan());
        assert!(task.take(latest, [0], last).await);
        assert!(!task.take(late, [0], after).await && !task.take(early, [0], before).await);
        assert_eq!(task.names[0].location, FileLocation::File(name.clone()));
        task.publish();
        let expected = EndpointSet::new(vec![Endpoint::at("10.0.0.2:80".parse().unwrap())]);
        assert_eq!(*task.files[&name].endpoints.borrow(), expected);
        drop(answer);
    }
}
