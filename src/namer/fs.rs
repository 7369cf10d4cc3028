//! `io.l5d.fs`: names are files under a root directory, addresses and host names are their lines.
//!
//! Elements of a path lead through directories; the first that is a file ends the name, and the rest is residual. A
//! name without a file, or with a file without a usable line, is Neg. One task reads the files behind the answers in
//! use, again at each change, and watches the host names in them. Only the step between Neg and a leaf changes an
//! answer's tree; addresses change within the leaf.

mod file;
mod fs_name;
mod name_file;
mod scan;
mod task;

#[cfg(test)]
mod tests;

pub use self::file::BadLine;

use self::scan::is_file_name;
use self::task::{FsTask, Lookup};
use super::dns::Dns;
use crate::files::Watch;
use crate::interpret::{Answer, AnswerState, Namer};
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

/// The state of one name file behind an answer in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileState {
    /// How many addresses the file gives.
    pub endpoints: usize,
    /// The first ten of its bad lines.
    pub bad_lines: Vec<BadLine>,
    /// How many bad lines it has in all.
    pub bad: usize,
    /// The first ten of its host names that have no address now.
    pub without_address: Vec<Arc<str>>,
    /// The reason why it cannot be read, if it cannot; the addresses are then those that were read last.
    pub unreadable: Option<String>,
}

/// The states of the files, by the elements that lead to each.
type States = Arc<Mutex<BTreeMap<Path, FileState>>>;

impl FsNamer {
    /// Makes the namer, with bound names that begin with `prefix`, such as `/#/io.l5d.fs`. Its task runs on `control`
    /// until neither the namer nor any of its answers and endpoints is in use. The root directory need not exist yet.
    pub(super) fn new(prefix: Path, root: PathBuf, dns: Dns, control: &Handle) -> Self {
        let (lookups, received) = mpsc::unbounded_channel();
        let states = States::default();
        let task = FsTask::new(
            prefix.clone(),
            root.clone(),
            Watch::of_single_files(control),
            dns,
            Arc::clone(&states),
        );
        control.spawn(task.run(received));
        Self { prefix, root, lookups, states }
    }

    /// Returns the states of the files behind the answers in use, by the elements that lead to each.
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
            refused.0.writer.publish(AnswerState::Failed("the task that reads name files has ended".into()));
        }
        answer
    }

    /// Returns Neg for a path that cannot lead to a file.
    fn immediate(&self, path: &Path) -> Option<AnswerState> {
        match path.first() {
            Some(first) if is_file_name(first) => None,
            _ => Some(AnswerState::Ready(NameTree::Neg)),
        }
    }

    fn state(&self) -> Option<serde_json::Value> {
        let files: serde_json::Map<_, _> =
            self.states().into_iter().map(|(path, state)| (path.to_string(), state.json())).collect();
        Some(serde_json::json!({ "rootDir": self.root.to_string_lossy(), "files": files }))
    }

    fn names(&self, limit: usize) -> Vec<Path> {
        scan::names(&self.root, limit).into_iter().map(|name| self.prefix.concat(&name)).collect()
    }
}

impl FileState {
    /// Returns the state as JSON, for people.
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
