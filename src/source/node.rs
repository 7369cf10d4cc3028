//! A configuration text as nodes that know their places.
//!
//! A [`Document`] is one YAML or JSON text. JSON is read as YAML, which contains it but for one character written as
//! two escapes (`\ud83d\ude00`). Its [`Node`]s know their file,
//! line, column and key path (`routers[0].servers[1].port`), and the errors of their getters name the value that was
//! expected and the one that was found. The meaning of keys is not known here.
//!
//! Absent on purpose: anchors, aliases, tags, several documents in one text. A configuration is read as it is written,
//! from top to bottom, and Linkerd 1's never had them.

mod error;
mod file;
mod load;
mod locate;
mod suggestion;

pub use self::error::{Error, Place, write_placed};
pub use self::file::{read_file, read_text};
pub use self::suggestion::unknown;

use self::error::shown;
use crate::source;
use marked_yaml::types::MarkedMappingNode;
use serde::de::DeserializeOwned;
use std::ops::RangeInclusive;

/// The most bytes that a text may have: 16 MiB.
pub const MAX_BYTES: usize = 16 << 20;

/// The last column in which a line may begin: 200. Together with the parser's own bound on brackets (255) this bounds
/// how deep a text can nest, and with it the stack that reading it needs.
pub const MAX_INDENT: usize = 200;

/// One configuration text.
#[derive(Debug)]
pub struct Document {
    file: String,
    text: String,
    /// Whether all characters are ASCII; then a column is found without counting characters.
    ascii: bool,
    /// The byte offset of each line's beginning.
    lines: Vec<usize>,
    root: marked_yaml::Node,
}

impl Document {
    /// Reads a text. `file` is its name in errors.
    ///
    /// # Errors
    /// The text is not YAML or JSON, is not a mapping, has a key twice, an anchor, a tag or a second document, or
    /// reaches [`MAX_BYTES`] or [`MAX_INDENT`].
    pub fn read(file: &str, text: &str) -> Result<Self, Error> {
        load::read(file, text, load::Top::Mapping)
    }

    /// Reads a text that may also be a list at its top.
    ///
    /// # Errors
    /// Those of [`Document::read`], but for a list.
    pub fn read_list(file: &str, text: &str) -> Result<Self, Error> {
        load::read(file, text, load::Top::List)
    }

    /// Returns the mapping at the top, or the list.
    pub fn root(&self) -> Node<'_> {
        // The parser marks an empty text at its end.
        let empty = self.root.as_mapping().is_some_and(|mapping| mapping.is_empty());
        let place = if empty { Place { line: 1, column: 1 } } else { self.place_of(&self.root) };
        Node { document: self, raw: &self.root, key: String::new(), place }
    }

    /// Returns the file's name.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Returns an error at a place in this text.
    pub fn error(&self, place: Place, key: &str, message: impl Into<String>) -> Error {
        let line = self.line(place.line);
        let mut excerpt = source::caret(line, byte_of(line, place.column));
        excerpt.line = place.line;
        Error {
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            key: key.to_owned(),
            code: "invalid-value",
            message: message.into(),
            excerpt: excerpt.to_string().into(),
        }
    }

    /// Returns a line (from 1) without its end; an empty text when there is no such line.
    fn line(&self, number: usize) -> &str {
        let Some(&start) = number.checked_sub(1).and_then(|at| self.lines.get(at)) else { return "" };
        let end = self.lines.get(number).copied().unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or("").trim_end_matches(['\r', '\n'])
    }

    /// Returns the place of a byte.
    fn place_at(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        Place { line, column: self.text.get(start..offset).unwrap_or_default().chars().count() + 1 }
    }

    /// Returns the text from a place on.
    fn from(&self, place: Place) -> &str {
        let Some(&start) = place.line.checked_sub(1).and_then(|at| self.lines.get(at)) else { return "" };
        let rest = self.text.get(start..).unwrap_or("");
        let skipped = if self.ascii { place.column.saturating_sub(1) } else { byte_of(rest, place.column) };
        rest.get(skipped..).unwrap_or("")
    }

    /// Returns the place where a node begins. The parser marks a block mapping at its first colon, so the place of its
    /// first key is taken.
    fn place_of(&self, raw: &marked_yaml::Node) -> Place {
        let own = Place::of(raw.span());
        let first = raw.as_mapping().and_then(|mapping| mapping.keys().next());
        first.map_or(own, |key| Place::of(key.span()).min(own))
    }

    /// Returns whether a scalar is null: an absent value, `~` or `null`, not in quotes.
    fn is_null(&self, raw: &marked_yaml::Node) -> bool {
        let Some(scalar) = raw.as_scalar() else { return false };
        let quoted = || self.from(Place::of(scalar.span())).starts_with(['"', '\'']);
        match scalar.as_str() {
            // The mark of an absent value is that of the next token, which may well be a quoted key.
            "" => !matches!(self.from(Place::of(scalar.span())).get(..2), Some("\"\"" | "''")),
            "~" | "null" | "Null" | "NULL" => !quoted(),
            _ => false,
        }
    }
}

/// Returns the byte at which a column (from 1, in characters) of a text begins.
fn byte_of(text: &str, column: usize) -> usize {
    text.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum()
}

/// One value of a document, with its place and its key path.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    document: &'a Document,
    raw: &'a marked_yaml::Node,
    key: String,
    place: Place,
}

impl<'a> Node<'a> {
    /// Returns the place where the value begins; for null, the place of its key.
    pub const fn place(&self) -> Place {
        self.place
    }

    /// Returns the path of keys from the top, such as `routers[0].servers[1].port`; empty for the top itself.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the text that this value belongs to.
    pub const fn document(&self) -> &'a Document {
        self.document
    }

    /// Returns whether the value is absent, `~` or `null`.
    pub fn is_null(&self) -> bool {
        self.document.is_null(self.raw)
    }

    /// Returns whether the value is a list.
    pub const fn is_list(&self) -> bool {
        matches!(self.raw, marked_yaml::Node::Sequence(_))
    }

    /// Returns whether the value is a mapping.
    pub const fn is_mapping(&self) -> bool {
        matches!(self.raw, marked_yaml::Node::Mapping(_))
    }

    /// Returns the entries of a mapping, in their order.
    ///
    /// # Errors
    /// The value is something else.
    pub fn mapping(&self) -> Result<Vec<Entry<'a>>, Error> {
        let mapping = self.raw.as_mapping().ok_or_else(|| self.unexpected("a mapping (`key: value`)"))?;
        Ok(mapping
            .iter()
            .map(|(name, value)| self.entry(name.as_str(), Place::of(name.span()), value))
            .collect())
    }

    /// Makes the entry of a key and its value.
    fn entry(&self, name: &'a str, name_place: Place, raw: &'a marked_yaml::Node) -> Entry<'a> {
        let place = if self.document.is_null(raw) { name_place } else { self.document.place_of(raw) };
        let key = error::join(&self.key, name);
        Entry { name, place: name_place, value: Node { document: self.document, raw, key, place } }
    }

    /// Returns the value under a key of a mapping; none when there is no such key, when its value is null, or when this
    /// is not a mapping.
    pub fn get(&self, name: &str) -> Option<Self> {
        let (key, raw) = self.raw.as_mapping()?.iter().find(|(key, _)| key.as_str() == name)?;
        let value = self.entry(key.as_str(), Place::of(key.span()), raw).value;
        (!value.is_null()).then_some(value)
    }

    /// Returns the elements of a list.
    ///
    /// # Errors
    /// The value is something else.
    pub fn list(&self) -> Result<Vec<Self>, Error> {
        let list = self.raw.as_sequence().ok_or_else(|| self.unexpected("a list (`- value`)"))?;
        let element = |(at, raw)| Self {
            document: self.document,
            raw,
            key: format!("{}[{at}]", self.key),
            place: self.document.place_of(raw),
        };
        Ok(list.iter().enumerate().map(element).collect())
    }

    /// Returns a text: any scalar but null.
    ///
    /// # Errors
    /// The value is something else.
    pub fn text(&self) -> Result<&'a str, Error> {
        match self.raw.as_scalar() {
            Some(scalar) if !self.is_null() => Ok(scalar.as_str()),
            _ => Err(self.unexpected("a text")),
        }
    }

    /// Returns `true` or `false`. Quotes around it do not matter: Linkerd 1's parser took them off too.
    ///
    /// # Errors
    /// The value is something else.
    pub fn flag(&self) -> Result<bool, Error> {
        match self.raw.as_scalar().map(|scalar| scalar.as_str()) {
            Some("true" | "True" | "TRUE") => Ok(true),
            Some("false" | "False" | "FALSE") => Ok(false),
            _ => Err(self.unexpected("`true` or `false`")),
        }
    }

    /// Returns a whole number in a range. Quotes around it do not matter, as in [`Node::flag`].
    ///
    /// # Errors
    /// The value is something else, or out of the range.
    pub fn number(&self, range: RangeInclusive<u64>) -> Result<u64, Error> {
        let expected = || format!("a number from {} to {}", range.start(), range.end());
        let digits = self.raw.as_scalar().map(|scalar| scalar.as_str()).unwrap_or_default();
        match digits.parse::<u64>() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(self.unexpected(&expected())),
        }
    }

    /// Deserializes some keys of a mapping; those whose value is null are left out.
    ///
    /// # Errors
    /// A key is missing, or a value is not what `T` takes; the place is that of the value.
    pub fn deserialize<T: DeserializeOwned>(&self, keys: &[&str]) -> Result<T, Error> {
        let mapping = self.raw.as_mapping().ok_or_else(|| self.unexpected("a mapping (`key: value`)"))?;
        let kept = mapping
            .iter()
            .filter(|(key, value)| keys.contains(&key.as_str()) && !self.document.is_null(value));
        let kept: MarkedMappingNode = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        marked_yaml::from_node(&marked_yaml::Node::from(kept)).map_err(|error| self.translate(error))
    }

    /// Puts serde's error into the words of this module.
    fn translate(&self, error: marked_yaml::FromNodeError) -> Error {
        use marked_yaml::spanned_serde::Error as Serde;
        let path = error.path().filter(|path| *path != ".").unwrap_or_default().to_owned();
        let value = path.split('.').next().and_then(|name| self.get(name));
        let at = value.as_ref().unwrap_or(self);
        match error.into_inner() {
            Serde::NotBoolean(_) => at.unexpected("`true` or `false`"),
            Serde::IntegerParseFailure(..) => at.unexpected("a whole number, not negative"),
            Serde::FloatParseFailure(..) => at.unexpected("a number"),
            Serde::UnknownFieldError(name, known, _) => {
                self.error(unknown("key", &name, known)).coded("unknown-key")
            }
            Serde::Other(message, _) => {
                let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
                match (missing, message.split_once(", expected ")) {
                    (Some(name), _) => {
                        self.error(format!("the key `{name}` is missing")).coded("missing-key")
                    }
                    (None, Some((_, expected))) => at.unexpected(plain_words(expected)),
                    // The errors of some types have several lines, with a caret of their own.
                    (None, None) => at.error(message.lines().next().unwrap_or_default()),
                }
            }
        }
    }

    /// Returns an error at this value.
    pub fn error(&self, message: impl Into<String>) -> Error {
        self.document.error(self.place, &self.key, message)
    }

    /// Returns an error inside the text of this value: `offset` counts bytes of [`Node::text`].
    ///
    /// The place is exact in every style that YAML has for a text: plain, in quotes with escapes, block, folded.
    pub fn error_inside(&self, offset: usize, message: impl Into<String>) -> Error {
        self.document.error(self.inside(offset), &self.key, message)
    }

    /// Returns the place of the byte `offset` of [`Node::text`] in the file; the value's own when it cannot be told.
    pub fn inside(&self, offset: usize) -> Place {
        self.inside_all([offset]).next().unwrap_or(self.place)
    }

    /// Returns the places of several offsets, which must not decrease, in one walk over the text.
    pub fn inside_all<I: IntoIterator<Item = usize>>(&self, offsets: I) -> impl Iterator<Item = Place> {
        let value = self.raw.as_scalar().map(|scalar| scalar.as_str()).unwrap_or_default();
        let mut cursor = locate::SourceCursor::new(self.document.from(self.place), value, self.place);
        offsets.into_iter().map(move |offset| cursor.advance_to(offset))
    }

    /// Returns the error that a text holds a variable such as `${PORT}`, if it does.
    pub fn variable(&self) -> Option<Error> {
        let text = self.raw.as_scalar()?.as_str();
        is_variable(text).then(|| self.error(VARIABLES).coded("variable"))
    }

    /// Returns the error that another value was expected.
    pub fn unexpected(&self, expected: &str) -> Error {
        if let Some(error) = self.variable() {
            return error;
        }
        self.error(format!("expected {expected}, found {}", self.found()))
    }

    /// Describes the value, for an error.
    fn found(&self) -> String {
        match self.raw {
            _ if self.is_null() => "no value".to_owned(),
            marked_yaml::Node::Scalar(scalar) => format!("`{}`", shown(scalar.as_str())),
            marked_yaml::Node::Sequence(_) => "a list".to_owned(),
            marked_yaml::Node::Mapping(_) => "a mapping".to_owned(),
        }
    }
}

/// The error of a text with a variable.
const VARIABLES: &str = "variables such as `${PORT}` stay as they are, for a file is read as it is written: put the \
                         values in before, as in `envsubst < linkerd.yaml | signpost run -`";

/// Returns whether a text holds a variable in braces. `${` begins no path and no address.
fn is_variable(text: &str) -> bool {
    let names = text.split("${").skip(1);
    names.filter_map(|rest| rest.split_once('}')).any(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte))
    })
}

/// One entry of a mapping.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The key.
    pub name: &'a str,
    /// The place where the key begins.
    pub place: Place,
    /// The value under it.
    pub value: Node<'a>,
}

impl Entry<'_> {
    /// Returns the error that the key is unknown, with the keys that are known.
    pub fn unknown<S: AsRef<str>>(&self, known: &[S]) -> Error {
        self.error(unknown("key", self.name, known)).coded("unknown-key")
    }

    /// Returns an error at the key.
    pub fn error(&self, message: impl Into<String>) -> Error {
        self.value.document.error(self.place, &self.value.key, message)
    }
}

/// Returns the words of this module for what serde expects.
fn plain_words(expected: &str) -> &str {
    match expected {
        "a string" => "a text",
        "a sequence" => "a list (`- value`)",
        "a boolean" => "`true` or `false`",
        "path string" => "the path of a file",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative",
        other => other,
    }
}

#[cfg(test)]
mod tests;
