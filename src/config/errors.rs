//! Errors and warnings about a file.

use crate::source::node::{self, Node, Place};
use std::fmt;

/// The number of errors after which a file is checked no further: 100. More of them come from one cause.
const MANY: usize = 100;

/// All errors in a configuration, sorted by place; never empty. After about 100 errors the search ends.
///
/// Display prints each with its line and a caret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Errors(Vec<node::Error>);

impl Errors {
    /// Returns the errors, the first in the file first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &node::Error> {
        self.0.iter()
    }
}

impl From<node::Error> for Errors {
    fn from(error: node::Error) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}{error}")?;
        }
        if self.0.len() < MANY { Ok(()) } else { f.write_str("\nand perhaps more: too many to go on") }
    }
}

impl std::error::Error for Errors {}

/// A finding in a configuration that does not fail the start, but that its author should know.
///
/// Display prints `file:line:column: key: message`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// The file's name.
    pub file: String,
    /// The place.
    pub place: Place,
    /// The path of keys, such as `routers[0].originator`.
    pub key: String,
    /// The kind of finding, a word that stays the same in every version.
    pub code: &'static str,
    /// The finding, in words.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.place, self.key, self.message)
    }
}

/// Collects errors and warnings while a file is read.
pub(super) struct Report {
    file: String,
    errors: Vec<node::Error>,
    warnings: Vec<Warning>,
}

impl Report {
    /// Creates a report about a file without findings.
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), errors: Vec::new(), warnings: Vec::new() }
    }

    /// Returns whether there are so many errors that the rest of the file is not checked.
    pub(super) const fn is_full(&self) -> bool {
        self.errors.len() >= MANY
    }

    /// Reads the elements of a list until there are too many errors.
    pub(super) fn each<'a, T>(
        &mut self,
        nodes: &[Node<'a>],
        mut read: impl FnMut(&Node<'a>, &mut Self) -> Option<T>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for node in nodes {
            if self.is_full() {
                break;
            }
            values.extend(read(node, self));
        }
        values
    }

    /// Adds an error.
    pub(super) fn error(&mut self, error: node::Error) {
        self.errors.push(error);
    }

    /// Adds an error, if there is one.
    pub(super) fn errors(&mut self, error: Option<node::Error>) {
        self.errors.extend(error);
    }

    /// Adds the error of a result; returns its value.
    pub(super) fn check<T>(&mut self, result: Result<T, node::Error>) -> Option<T> {
        result.map_err(|error| self.error(error)).ok()
    }

    /// Adds a warning that a key has no effect.
    pub(super) fn warn(&mut self, place: Place, key: &str, message: String) {
        self.warn_of("no-effect", (place, key), message);
    }

    /// Adds a warning of another kind.
    pub(super) fn warn_of(&mut self, code: &'static str, (place, key): (Place, &str), message: String) {
        self.warnings.push(Warning { file: self.file.clone(), place, key: key.to_owned(), code, message });
    }

    /// Returns the warnings, or the errors when there are any.
    pub(super) fn finish(mut self) -> Result<Vec<Warning>, Errors> {
        self.warnings.sort_by_key(|warning| warning.place);
        if self.errors.is_empty() {
            return Ok(self.warnings);
        }
        self.errors.sort_by_key(node::Error::place);
        // Two checks may find one mistake.
        self.errors.dedup();
        Err(Errors(self.errors))
    }
}
