//! Findings: the errors, warnings and notes about a configuration, all in one form.

use super::errors::Warning;
use super::notes::Note;
use crate::source::node::{self, Place, write_placed};
use serde::Serialize;
use std::fmt;

/// The code of a finding about something that only the pod has in which the process will run.
pub(super) const POD_ENVIRONMENT: &str = "pod-environment";

/// The weight of a finding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The start fails.
    Error,
    /// The start goes on, and something is probably a mistake.
    Warning,
    /// The author should know it.
    Note,
}

/// A finding about a configuration.
///
/// Display prints `file:line:column: key: message`, a warning with `warning:` and a note with `note:` before the key; an
/// error is followed by its line and a caret. Serialized, it has all fields but the line of the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// The file's name.
    pub file: String,
    /// The line, from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// The column, from 1, in characters; 0 when the file as a whole is meant.
    pub column: usize,
    /// The path of keys, such as `routers[0].dtab`; empty for the top.
    pub key: String,
    /// The weight.
    pub severity: Severity,
    /// The kind of finding, a word that stays the same in every version, such as `unknown-key`.
    pub code: &'static str,
    /// The finding, in words.
    pub message: String,
    /// The line with a caret under the column; empty but for errors in the text.
    #[serde(skip)]
    pub excerpt: String,
}

impl Finding {
    /// Makes a finding without an excerpt.
    pub(super) fn new(
        (file, place, key): (&str, Place, &str),
        (severity, code): (Severity, &'static str),
        message: String,
    ) -> Self {
        let Place { line, column } = place;
        let (file, key, excerpt) = (file.to_owned(), key.to_owned(), String::new());
        Self { file, line, column, key, severity, code, message, excerpt }
    }

    /// Returns whether the process cannot start here: the finding is an error, or something is missing that only the pod
    /// has in which the process will run.
    pub fn fails_start(&self) -> bool {
        self.severity == Severity::Error || self.code == POD_ENVIRONMENT
    }

    /// Returns the place.
    pub const fn place(&self) -> Place {
        Place { line: self.line, column: self.column }
    }
}

impl From<&node::Error> for Finding {
    fn from(error: &node::Error) -> Self {
        let place = (error.file.as_str(), error.place(), error.key.as_str());
        let finding = Self::new(place, (Severity::Error, error.code), error.message.clone());
        Self { excerpt: error.excerpt.to_string(), ..finding }
    }
}

impl From<&Warning> for Finding {
    fn from(warning: &Warning) -> Self {
        let Warning { file, place, key, code, message } = warning;
        Self::new((file, *place, key), (Severity::Warning, code), message.clone())
    }
}

impl From<&Note> for Finding {
    fn from(note: &Note) -> Self {
        let Note { file, place, key, message, is_surprising: _ } = note;
        Self::new((file, *place, key), (Severity::Note, "trust"), message.clone())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = match self.severity {
            Severity::Error => "",
            Severity::Warning => ": warning",
            Severity::Note => ": note",
        };
        let texts = [&*self.key, &*self.message, &*self.excerpt];
        write_placed(f, (&self.file, self.place()), label, texts)
    }
}
