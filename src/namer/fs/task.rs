use super::file::{Content, Located};
use super::survey::{Place, Reading, Survey, locate, survey};
use super::{FileState, States};
use crate::files::Watch;
use crate::interpret::{Bound, EndpointSet, Leaf, State, Target, Writer};
use crate::name::{NameTree, Path};
use crate::namer::dns::{Dns, HostSet, MIN_PAUSE};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

/// How often what nobody holds any more is dropped.
const SWEEP: Duration = Duration::from_secs(10);

/// Lookups that are answered in one go.
const BATCH: usize = 256;

/// A path whose answer is wanted.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) path: Path,
    pub(super) writer: Writer,
}

/// The one owner of a namer's answers and files.
pub(super) struct Task {
    prefix: Path,
    root: PathBuf,
    watch: Watch,
    names: Vec<Name>,
    files: HashMap<Path, NameFile>,
    /// The host names in the files.
    hosts: HostSet,
    states: States,
}

/// A name that somebody holds the answer for.
struct Name {
    path: Path,
    writer: Writer,
    /// Where it leads; Nowhere before the first look.
    place: Place,
    said: Said,
}

/// What was last published for a name: the same is not published again, because that would wake everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Neg,
    /// A leaf for the file of these elements.
    Leaf(Path),
    /// The same, and that it is not known to be true any more.
    Stale(Path),
    Failed(String),
}

/// A file that somebody holds a name for, or the endpoints.
struct NameFile {
    endpoints: watch::Sender<EndpointSet>,
    reading: Reading,
    /// Whether the endpoints it gave last still hold.
    good: bool,
    /// Whether there may be endpoints once host names are looked up.
    pending: bool,
    /// Why its endpoints are not known, or not those of now: it cannot be read, or a host name cannot be looked up.
    trouble: Option<Arc<str>>,
    /// The first of its host names that have no address.
    without_address: Vec<Arc<str>>,
}

impl Task {
    pub(super) fn new(prefix: Path, root: PathBuf, watch: Watch, dns: Dns, states: States) -> Self {
        let hosts = HostSet::new(dns, MIN_PAUSE);
        Self { prefix, root, watch, names: Vec::new(), files: HashMap::new(), hosts, states }
    }

    /// Runs until the namer is dropped and nobody holds anything of it.
    pub(super) async fn run(mut self, mut lookups: mpsc::UnboundedReceiver<Lookup>) {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        let mut open = true;
        while open || !self.names.is_empty() || !self.files.is_empty() {
            tokio::select! {
                received = lookups.recv_many(&mut batch, BATCH), if open => match received {
                    0 => open = false,
                    _ => self.join(&mut batch).await,
                },
                () = self.watch.changed() => {
                    self.sweep().await;
                    self.look(0).await;
                }
                () = self.hosts.changed() => self.publish(),
                _ = sweep.tick(), if !self.names.is_empty() || !self.files.is_empty() => self.sweep().await,
            }
        }
    }

    /// Takes new names. They are followed before they are looked at, so that no change falls in between.
    async fn join(&mut self, batch: &mut Vec<Lookup>) {
        let first = self.names.len();
        self.names.extend(batch.drain(..).map(|Lookup { path, writer }| Name {
            path,
            writer,
            place: Place::Nowhere,
            said: Said::Nothing,
        }));
        let new = self.names.get(first..).unwrap_or_default();
        let paths: Vec<PathBuf> = new.iter().map(|name| locate(&self.root, &name.path)).collect();
        self.watch.watch_paths(paths).await;
        self.look(first).await;
    }

    /// Drops what nobody holds. A client may hold a file's endpoints longer than anybody holds a name for it.
    async fn sweep(&mut self) {
        let mut dropped = Vec::new();
        self.names.retain(|name| {
            let held = !name.writer.is_closed();
            if !held {
                dropped.push(locate(&self.root, &name.path));
            }
            held
        });
        let named: HashSet<&Path> = self.names.iter().filter_map(Name::file).collect();
        self.files.retain(|path, file| {
            let held = named.contains(path) || file.endpoints.receiver_count() > 0;
            if !held {
                dropped.push(locate(&self.root, path));
            }
            held
        });
        if !dropped.is_empty() {
            self.watch.unwatch_paths(dropped).await;
            self.follow_hosts();
            self.show();
        }
    }

    /// Looks where the names from `first` on lead, reads the files again, and publishes what changed.
    async fn look(&mut self, first: usize) {
        let root = self.root.clone();
        let names: Vec<Path> = self.names.iter().skip(first).map(|name| name.path.clone()).collect();
        // For new names, only their own files are read: of the others, any change is announced.
        let files = if first == 0 { self.files.keys().cloned().collect() } else { Vec::new() };
        let surveyed = tokio::task::spawn_blocking(move || survey(&root, &names, files)).await;
        // An error is the end of the runtime.
        let Ok(Survey { places, files }) = surveyed else { return };
        for (name, place) in self.names.iter_mut().skip(first).zip(places) {
            name.place = place;
        }
        self.read(files).await;
        self.follow_hosts();
        self.publish();
    }

    /// Follows the host names in the files, and no others.
    fn follow_hosts(&mut self) {
        let contents = self.files.values().filter_map(|file| match &file.reading {
            Reading::Content(content) => Some(content),
            Reading::Missing | Reading::Unreadable(_) => None,
        });
        self.hosts.follow(&contents.flat_map(Content::hosts).cloned().collect());
    }

    /// Publishes what changed in the files or of the hosts.
    fn publish(&mut self) {
        for file in self.files.values_mut() {
            file.settle(&self.hosts);
        }
        for name in &mut self.names {
            let said = name.verdict(&self.files);
            name.say(said, &self.prefix, &self.files);
        }
        self.show();
    }

    /// Takes what was read. New files are followed for as long as anybody holds their endpoints.
    async fn read(&mut self, files: HashMap<Path, Reading>) {
        let mut new = Vec::new();
        for (path, reading) in files {
            let file = self.files.entry(path.clone()).or_insert_with(|| {
                new.push(locate(&self.root, &path));
                NameFile::new()
            });
            if file.reading != reading {
                report(&locate(&self.root, &path), &reading);
                file.reading = reading;
            }
        }
        if !new.is_empty() {
            self.watch.watch_paths(new).await;
        }
    }

    /// Makes the state visible.
    fn show(&self) {
        let states = self.files.iter().map(|(path, file)| (path.clone(), file.state())).collect();
        *self.states.lock().unwrap_or_else(PoisonError::into_inner) = states;
    }
}

impl NameFile {
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

    /// Makes endpoints of its lines and of what is known of the hosts in them.
    fn settle(&mut self, hosts: &HostSet) {
        let located = match &self.reading {
            Reading::Content(content) => content.locate(|name| hosts.known(name)),
            Reading::Missing => {
                self.good = false;
                Located::default()
            }
            // The last good endpoints stay.
            Reading::Unreadable(reason) => {
                Located { trouble: Some(reason.as_str().into()), ..Located::default() }
            }
        };
        let Located { endpoints, pending, trouble, without_address } = located;
        if !endpoints.is_empty() {
            self.good = true;
            self.give(endpoints);
        } else if !pending && trouble.is_none() {
            self.good = false;
        }
        (self.pending, self.trouble, self.without_address) = (pending, trouble, without_address);
    }

    fn give(&self, new: EndpointSet) {
        self.endpoints.send_if_modified(|endpoints| {
            let changed = *endpoints != new;
            *endpoints = new;
            changed
        });
    }

    fn state(&self) -> FileState {
        // Those of a file that is gone stay for requests that are on the way.
        let endpoints = if self.good { self.endpoints.borrow().len() } else { 0 };
        let (bad_lines, bad, unreadable) = match &self.reading {
            Reading::Missing => (Vec::new(), 0, None),
            Reading::Content(content) => (content.bad_lines.clone(), content.bad, None),
            Reading::Unreadable(reason) => (Vec::new(), 0, Some(reason.clone())),
        };
        FileState { endpoints, bad_lines, bad, without_address: self.without_address.clone(), unreadable }
    }
}

impl Name {
    /// The file it leads to, or stood for when that could last be said.
    fn file(&self) -> Option<&Path> {
        match (&self.place, &self.said) {
            (Place::File(file), _) => Some(file),
            (Place::Unreadable(_), Said::Leaf(file) | Said::Stale(file)) => Some(file),
            _ => None,
        }
    }

    /// What is to be said of it now.
    fn verdict(&self, files: &HashMap<Path, NameFile>) -> Said {
        let path = match &self.place {
            Place::Nowhere => return Said::Neg,
            Place::Unreadable(reason) => return self.unreadable(reason),
            Place::File(path) => path,
        };
        match files.get(path) {
            Some(NameFile { good: true, trouble: None, .. }) => Said::Leaf(path.clone()),
            Some(NameFile { good: true, trouble: Some(_), .. }) => Said::Stale(path.clone()),
            Some(NameFile { trouble: Some(reason), .. }) => Said::Failed(reason.to_string()),
            Some(NameFile { pending: true, .. }) => Said::Nothing,
            Some(_) | None => Said::Neg,
        }
    }

    /// What was a leaf stays one; Neg does not stay, because it would send requests elsewhere in silence.
    fn unreadable(&self, reason: &str) -> Said {
        match &self.said {
            Said::Leaf(path) | Said::Stale(path) => Said::Stale(path.clone()),
            Said::Nothing | Said::Neg | Said::Failed(_) => Said::Failed(reason.to_owned()),
        }
    }

    fn say(&mut self, new: Said, prefix: &Path, files: &HashMap<Path, NameFile>) {
        if self.said == new || new == Said::Nothing {
            return;
        }
        match &new {
            Said::Nothing => {}
            Said::Neg => self.writer.publish(State::Ready(NameTree::Neg)),
            Said::Failed(reason) => self.writer.publish(State::Failed(reason.as_str().into())),
            Said::Leaf(path) => self.publish_leaf(path, prefix, files),
            Said::Stale(path) => {
                if !matches!(&self.said, Said::Leaf(before) if before == path) {
                    self.publish_leaf(path, prefix, files);
                }
                self.writer.stale();
            }
        }
        self.said = new;
    }

    fn publish_leaf(&self, used: &Path, prefix: &Path, files: &HashMap<Path, NameFile>) {
        let Some(file) = files.get(used) else { return };
        self.writer.publish(State::Ready(NameTree::Leaf(Leaf::Bound(Bound {
            id: prefix.concat(used),
            residual: self.path.skip(used.len()),
            target: Target::Endpoints(file.endpoints.subscribe()),
        }))));
    }
}

/// Says what is wrong with a file, once for each time it changes.
fn report(path: &std::path::Path, reading: &Reading) {
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
