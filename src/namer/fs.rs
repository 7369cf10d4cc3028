//! `io.l5d.fs`: names are files under a root directory, addresses and host names are their lines.
//!
//! Elements of a path lead through directories; the first that is a file ends the name, and the rest is residual. A
//! name without a file, or whose file has no usable line, is Neg. One task reads the files that somebody holds an
//! answer for, again at each change, and follows the host names in them; only the step between Neg and a leaf changes an
//! answer's tree, addresses change within the leaf.

mod file;
mod survey;
mod task;

#[cfg(test)]
mod tests;

pub use self::file::BadLine;

use self::survey::is_file_name;
use self::task::{Lookup, Task};
use super::dns::Dns;
use crate::files::Watch;
use crate::interpret::{Answer, Namer, State};
use crate::name::{NameTree, Path};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// A namer of files under one root directory.
#[derive(Debug)]
pub struct FsNamer {
    prefix: Path,
    root: PathBuf,
    lookups: mpsc::UnboundedSender<Lookup>,
    states: States,
}

/// What is known of one name file that somebody holds an answer for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileState {
    /// How many addresses it gives.
    pub endpoints: usize,
    /// The first ten of its bad lines.
    pub bad_lines: Vec<BadLine>,
    /// How many bad lines it has in all.
    pub bad: usize,
    /// The first ten of its host names that have no address now.
    pub without_address: Vec<Arc<str>>,
    /// Why it cannot be read, if it cannot; the addresses are then those of the last time it could.
    pub unreadable: Option<String>,
}

/// The states by the elements that lead to the file.
type States = Arc<Mutex<BTreeMap<Path, FileState>>>;

impl FsNamer {
    /// Makes the namer whose bound names begin with `prefix`, such as `/#/io.l5d.fs`; its task runs on `control` until
    /// nobody holds the namer nor anything it gave. The root directory need not exist yet.
    pub(super) fn new(prefix: Path, root: PathBuf, dns: Dns, control: &Handle) -> Self {
        let (lookups, received) = mpsc::unbounded_channel();
        let states = States::default();
        let task = Task::new(prefix.clone(), root.clone(), Watch::new(control), dns, Arc::clone(&states));
        control.spawn(task.run(received));
        Self { prefix, root, lookups, states }
    }

    /// Returns what is known of the files that somebody holds an answer for, by the elements that lead to each.
    pub fn states(&self) -> BTreeMap<Path, FileState> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Namer for FsNamer {
    fn lookup(&self, path: &Path) -> Answer {
        if let Some(state) = self.immediate(path) {
            return Answer::fixed(state);
        }
        let (writer, answer) = Answer::pending();
        if let Err(refused) = self.lookups.send(Lookup { path: path.clone(), writer }) {
            refused.0.writer.publish(State::Failed("files are read no longer".into()));
        }
        answer
    }

    /// What cannot be a file is Neg for ever.
    fn immediate(&self, path: &Path) -> Option<State> {
        match path.first() {
            Some(first) if is_file_name(first) => None,
            _ => Some(State::Ready(NameTree::Neg)),
        }
    }

    fn state(&self) -> Option<serde_json::Value> {
        let files: serde_json::Map<_, _> =
            self.states().into_iter().map(|(path, state)| (path.to_string(), state.json())).collect();
        Some(serde_json::json!({ "rootDir": self.root.to_string_lossy(), "files": files }))
    }

    fn names(&self, limit: usize) -> Vec<Path> {
        survey::names(&self.root, limit).into_iter().map(|name| self.prefix.concat(&name)).collect()
    }
}

impl FileState {
    /// The state for people.
    fn json(&self) -> serde_json::Value {
        let line =
            |bad: &BadLine| serde_json::json!({ "line": bad.line, "text": bad.text, "reason": bad.reason });
        let bad_lines: Vec<_> = self.bad_lines.iter().map(line).collect();
        let mut json =
            serde_json::json!({ "endpoints": self.endpoints, "bad": self.bad, "badLines": bad_lines });
        if !self.without_address.is_empty() {
            json["withoutAddress"] = self.without_address.iter().map(|host| &**host).collect();
        }
        if let Some(reason) = &self.unreadable {
            json["unreadable"] = reason.as_str().into();
        }
        json
    }
}
