//! A name with an answer in use, and its answer.

use super::name_file::NameFile;
use super::scan::FileLocation;
use crate::interpret::{AnswerState, AnswerWriter, Bound, Leaf, Target};
use crate::name::{NameTree, Path};
use std::collections::HashMap;

/// A name with an answer in use.
pub(super) struct FsName {
    pub(super) path: Path,
    pub(super) writer: AnswerWriter,
    /// The file that it leads to; Nowhere before the first scan.
    pub(super) location: FileLocation,
    /// The number of the scan that found its location.
    pub(super) scan: u64,
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

impl FsName {
    /// Makes a name that was not looked for yet.
    pub(super) const fn new(path: Path, writer: AnswerWriter) -> Self {
        let (location, published) = (FileLocation::Nowhere, FsNameState::Nothing);
        Self { path, writer, location, scan: 0, published }
    }

    /// Returns the file that it leads to or, while that is not known, the last one.
    pub(super) fn file(&self) -> Option<&Path> {
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

    /// Publishes its state, if it differs from the last one.
    pub(super) fn publish(&mut self, prefix: &Path, files: &HashMap<Path, NameFile>) {
        let new = self.next_state(files);
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
