//! Names in the texts of a configuration: their errors at their place in the file.

use super::parse::comments;
use super::{Dentry, ParseError, dentries};
use crate::source::node::{Error, Node, Place};

impl ParseError {
    /// Returns the error at its place in the file, as one about this value. `what` is the kind of text: `path`.
    ///
    /// It has no excerpt of its own: the line of the file is shown instead.
    pub fn in_file(&self, what: &str, node: &Node<'_>) -> Error {
        node.error_inside(self.offset, self.sentence(what))
    }

    /// Returns the error in one sentence.
    fn sentence(&self, what: &str) -> String {
        let text = self.to_string();
        format!("not a {what}: {}", text.lines().next().unwrap_or_default())
    }
}

/// Reads the text of a value as a dtab: its entries, each with the byte of the text at which it begins.
///
/// # Errors
///
/// The value is no text, or its text is no dtab. Where YAML has folded its lines into one, the file tells where they
/// ended.
pub fn dtab_in_file(node: &Node<'_>) -> Result<Vec<(usize, Dentry)>, Error> {
    let text = node.text()?;
    let entries = dentries(text).map_err(|error| dtab_error(node, text, &error))?;
    Ok(entries.map(|(span, dentry)| (span.start, dentry)).collect())
}

/// Makes the error about a dtab.
fn dtab_error(node: &Node<'_>, text: &str, error: &ParseError) -> Error {
    let mut message = error.sentence("dtab");
    let before = text.get(..error.offset).unwrap_or_default().trim_end();
    let is_folded_line = || {
        let last = before.char_indices().next_back().map_or(0, |(at, _)| at);
        !before.is_empty() && node.inside(last).line < node.inside(error.offset).line
    };
    let may_end_entry = error.expected.iter().any(|word| word == "';'") && error.found.is_some();
    if may_end_entry && !error.lacks_semicolon && is_folded_line() {
        message = format!("{message} ({})", ParseError::LACKS_SEMICOLON);
    }
    node.error_inside(error.offset, message)
}

/// Returns the place of a comment in a dtab that takes in the lines after it, because YAML has folded all lines of the
/// dtab into one.
pub fn folded_comment(node: &Node<'_>) -> Option<Place> {
    let text = node.text().ok()?;
    let found = comments(text).find(|comment| {
        let last = text.get(comment.clone()).unwrap_or_default().trim_end().len().saturating_sub(1);
        node.inside(comment.start).line < node.inside(comment.start + last).line
    });
    found.map(|comment| node.inside(comment.start))
}

/// The finding about such a comment, in words.
pub const FOLDED_COMMENT: &str = "this comment ends the dtab: YAML folds its lines into one, and the lines below are part of the \
                                  comment. Write `dtab: |`, which keeps them apart";
