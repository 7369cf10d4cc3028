use std::fmt;

/// A place in a text: a line and a column, both from 1, the column in characters.
///
/// 0 and 0 stand for the text as a whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
}

impl Place {
    /// Returns the place where a span of the parser begins.
    pub(super) fn of(span: &marked_yaml::Span) -> Self {
        span.start().map(|mark| Self { line: mark.line(), column: mark.column() }).unwrap_or_default()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// An error in a configuration, with its place.
///
/// Display prints `file:line:column: key: message`, then the line with a caret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// The file's name.
    pub file: String,
    /// The line, from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// The column, from 1, in characters; 0 when the file as a whole is meant.
    pub column: usize,
    /// The path of keys, such as `routers[0].dtab`; empty for the top and where the text is not even YAML.
    pub key: String,
    /// The kind of mistake, a word that stays the same in every version: `invalid-value` unless it is told.
    pub code: &'static str,
    /// The mistake, in one sentence or two.
    pub message: String,
    /// The line with a caret under the column; empty when the file as a whole is meant.
    pub excerpt: Box<str>,
}

impl Error {
    /// Returns an error about a file as a whole: it cannot be read, or is too large.
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        let Place { line, column } = Place::default();
        let (key, excerpt) = (String::new(), Box::default());
        let code = "invalid-file";
        Self { file: file.to_owned(), line, column, key, code, message: message.into(), excerpt }
    }

    /// Gives it another code.
    #[must_use]
    pub fn coded(self, code: &'static str) -> Self {
        Self { code, ..self }
    }

    /// Returns the place.
    pub const fn place(&self) -> Place {
        Place { line: self.line, column: self.column }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, texts) = (self.place(), [&*self.key, &*self.message, &*self.excerpt]);
        write_placed(f, (&self.file, place), "", texts)
    }
}

/// Writes a message about a place in a file, in the form that all such messages have: `file:line:column: key: message`,
/// then the line with a caret. The label, such as `: warning`, goes before the key.
pub fn write_placed(
    f: &mut fmt::Formatter<'_>,
    (file, place): (&str, Place),
    label: &str,
    [key, message, excerpt]: [&str; 3],
) -> fmt::Result {
    f.write_str(file)?;
    if place.line > 0 {
        write!(f, ":{place}")?;
    }
    f.write_str(label)?;
    if !key.is_empty() {
        write!(f, ": {key}")?;
    }
    write!(f, ": {message}")?;
    if !excerpt.is_empty() {
        write!(f, "\n{excerpt}")?;
    }
    Ok(())
}

impl std::error::Error for Error {}

/// Appends a key to a path of keys; a key that is not one word is put in quotes.
pub(super) fn join(path: &str, name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    let name = if plain { shown(name) } else { format!("{:?}", shown(name)) };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

/// Cuts a text of the file to a length that fits in an error.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(MOST).collect();
    if cut.len() < text.trim_end().len() { format!("{cut}...") } else { cut }
}
