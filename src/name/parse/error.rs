//! The error of a text that cannot be read: the tokens expected, and the place.

use std::fmt;

use pest::error::{Error, ErrorVariant, InputLocation};

use super::grammar::Rule;
use crate::source::{self, Excerpt};

/// The reason why a text is not a path, prefix, name tree, dentry or dtab, with the place.
///
/// `Display` prints one sentence, then the line and a caret:
///
/// ```text
/// expected a label character, '/' or end of input, found '^'
/// 1 | /foo^bar
///   |     ^
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// The place where reading stopped, in bytes from the start of the text.
    pub offset: usize,
    /// The line of that place, from 1.
    pub line: usize,
    /// The column of that place in its line, in characters, from 1.
    pub column: usize,
    /// The tokens that could have stood there, in words: `'=>'`, `a label character`, `end of input`. Never empty.
    pub expected: Vec<String>,
    /// The character that stands there; `None` is the end of the text.
    pub found: Option<char>,
    /// Whether a semicolon is probably missing at the end of a line before: one could have stood at the place, which is the
    /// beginning of another line's text.
    pub lacks_semicolon: bool,
    /// The line with a caret.
    pub excerpt: Excerpt,
}

impl ParseError {
    /// The guess that a semicolon is missing, in words.
    pub const LACKS_SEMICOLON: &str = "is a `;` missing at the end of the line before?";

    pub(super) fn new(text: &str, offset: usize, expected: Vec<String>) -> Self {
        let excerpt = source::caret(text, offset);
        let found = text.get(offset..).and_then(|rest| rest.chars().next());
        let lacks_semicolon = expected.iter().any(|word| word == "';'") && begins_line(text, offset);
        Self { offset, line: excerpt.line, column: excerpt.column, expected, found, lacks_semicolon, excerpt }
    }

    pub(super) fn from_pest(text: &str, error: Error<Rule>) -> Self {
        let (InputLocation::Pos(offset) | InputLocation::Span((offset, _))) = error.location;
        let ErrorVariant::ParsingError { positives: rules, .. } = error.variant else {
            // pest itself refuses to recurse when the thread has little stack left.
            return Self::new(text, offset, vec!["fewer open parentheses".to_owned()]);
        };
        let mut expected: Vec<&str> = Vec::new();
        for (word, of) in WORDS {
            if of.iter().any(|rule| rules.contains(rule)) && !expected.contains(word) {
                expected.push(word);
            }
        }
        Self::new(text, offset, expected.into_iter().map(str::to_owned).collect())
    }
}

/// Returns whether only blanks stand before an offset in its line, which is not the first, and something behind it.
fn begins_line(text: &str, offset: usize) -> bool {
    let (before, after) = (text.get(..offset).unwrap_or_default(), text.get(offset..).unwrap_or_default());
    let line = before.rsplit_once('\n').map(|(_, line)| line);
    !after.is_empty() && line.is_some_and(|line| line.trim().is_empty())
}

/// The rules of the grammar in words, in the order in which a message names them. When the children of a rule fail at
/// its very start, pest names the rule, so a rule stands beside each of the words that it can begin with.
const WORDS: &[(&str, &[Rule])] = {
    use Rule::{
        EOI, and, any, arrow, branch, close, dentry, digits, empty, escape, escape_x, fail, group, hex, neg,
        or, path, prefix, prefix_segment, segment, semicolon, times, tree, union, weight,
    };
    &[
        ("a label character", &[escape]),
        ("a hexadecimal digit", &[hex]),
        ("'x'", &[escape_x]),
        ("a digit", &[digits]),
        ("'/'", &[segment, prefix_segment, path, prefix, dentry, branch, union, tree]),
        ("'*'", &[any, times]),
        ("a weight", &[weight, branch, union, tree]),
        ("'('", &[group, branch, union, tree]),
        ("'~'", &[neg, branch, union, tree]),
        ("'!'", &[fail, branch, union, tree]),
        ("'$'", &[empty, branch, union, tree]),
        ("'&'", &[and]),
        ("'|'", &[or]),
        ("')'", &[close]),
        ("'=>'", &[arrow]),
        ("';'", &[semicolon]),
        ("end of input", &[EOI]),
    ]
};

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected ")?;
        let last = self.expected.len().saturating_sub(1);
        for (i, word) in self.expected.iter().enumerate() {
            match i {
                0 => {}
                i if i == last => f.write_str(" or ")?,
                _ => f.write_str(", ")?,
            }
            f.write_str(word)?;
        }
        match self.found {
            Some('\'') => f.write_str(", found \"'\"")?,
            // Debug shows a control character by its escape.
            Some(found) => write!(f, ", found {found:?}")?,
            None => f.write_str(", found end of input")?,
        }
        if self.lacks_semicolon {
            write!(f, " ({})", Self::LACKS_SEMICOLON)?;
        }
        write!(f, "\n{}", self.excerpt)
    }
}

impl std::error::Error for ParseError {}
