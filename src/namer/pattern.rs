//! Patterns that take a path apart, and templates that make another path of the parts.

use crate::name::{ParseError, Path, PathBuf};
use std::str::FromStr;

/// A pattern of path elements, compiled once: literal text, `*` for any one element, `{name}` for any text within one.
///
/// It matches paths that start with it. An element of the pattern matches a whole element of the path; several
/// captures in one element are greedy from left to right, as a regular expression `(.*)` would be, and may be empty.
/// Where two captures have one name, the later one counts. `\xNN` in literal text is one byte, as in paths. As in
/// Linkerd, slashes at either end may be left out or repeated, and `/` alone matches every path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathMatcher {
    elements: Vec<PatternElement>,
    /// The names of the captures, in order.
    names: Vec<String>,
}

/// One element of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PatternElement {
    Any,
    /// Literal text, then captures, each followed by literal text that may be empty.
    Text {
        before: Vec<u8>,
        after_captures: Vec<Vec<u8>>,
    },
}

/// The values of the captures of a [`PathMatcher`] in one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captures<'a> {
    values: Vec<&'a [u8]>,
}

/// A path in which `{name}` stands for a capture of a [`PathMatcher`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    elements: Vec<Vec<TemplatePart>>,
}

/// A part of one element of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    Literal(Vec<u8>),
    /// The position among the captures.
    Capture(usize),
}

/// A reason why a text is not a pattern or not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing between two slashes.
    #[error("`{0}` has an empty element")]
    EmptyElement(String),
    /// A brace without its partner, braces in braces, or nothing in them.
    #[error("`{0}` has a brace that does not enclose a name")]
    Brace(String),
    /// A `*` beside other text, which would match itself only.
    #[error("`{0}`: `*` stands for a whole element and cannot be a part of one")]
    Star(String),
    /// A backslash that does not begin `\xNN`.
    #[error(r"`{0}`: a backslash must be followed by `x` and two hexadecimal digits")]
    Escape(String),
    /// A template with a name that the pattern does not capture.
    #[error("`{{{0}}}` is not captured by the pattern")]
    Unknown(String),
    /// A blank within a template, and so also a comment.
    #[error("`{0}`: blanks and comments cannot stand here")]
    Blank(String),
    /// A template that is not a path.
    #[error("not a path: {0}")]
    Path(Box<ParseError>),
}

impl PathMatcher {
    /// Returns the number of elements that the pattern takes from a path.
    pub const fn len(&self) -> usize {
        self.elements.len()
    }

    /// Returns whether the pattern takes no element, and so matches every path.
    pub const fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Matches the first elements of a path, in time proportional to its length; `None` when they do not match or are
    /// too few.
    pub fn captures<'a>(&self, path: &'a Path) -> Option<Captures<'a>> {
        let mut values = Vec::with_capacity(self.names.len());
        let mut elems = path.elems();
        for element in &self.elements {
            let elem = elems.next()?;
            if let PatternElement::Text { before, after_captures } = element {
                match_text(before, after_captures, elem, &mut values)?;
            }
        }
        Some(Captures { values })
    }

    /// Returns the position of the capture that a name means.
    fn capture(&self, name: &str) -> Option<usize> {
        self.names.iter().rposition(|known| known == name)
    }
}

/// Matches one element. Greedy captures, each as long as the ones before it leave it, are the same as literals placed
/// as far right as possible, from the last to the first. So one pass from the right is enough, without backtracking.
fn match_text<'a>(
    before: &[u8],
    after_captures: &[Vec<u8>],
    elem: &'a [u8],
    values: &mut Vec<&'a [u8]>,
) -> Option<()> {
    let mut rest = elem.strip_prefix(before)?;
    let Some((last, between)) = after_captures.split_last() else {
        return rest.is_empty().then_some(());
    };
    rest = rest.strip_suffix(last.as_slice())?;
    let first = values.len();
    for literal in between.iter().rev() {
        let at = memchr::memmem::rfind(rest, literal)?;
        let (left, right) = rest.split_at(at);
        values.push(right.strip_prefix(literal.as_slice())?);
        rest = left;
    }
    values.push(rest);
    if let Some(found) = values.get_mut(first..) {
        found.reverse();
    }
    Some(())
}

impl FromStr for PathMatcher {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let mut names = Vec::new();
        let mut elements = Vec::new();
        for text in split(text)? {
            if text == "*" {
                elements.push(PatternElement::Any);
                continue;
            }
            let mut before = Vec::new();
            let mut after_captures: Vec<Vec<u8>> = Vec::new();
            for token in tokens(text)? {
                match token {
                    PatternToken::Literal(literal) if literal.contains('*') => {
                        return Err(PatternError::Star(text.to_owned()));
                    }
                    PatternToken::Literal(literal) => {
                        after_captures.last_mut().unwrap_or(&mut before).extend(unescape(literal)?);
                    }
                    PatternToken::Name(name) => {
                        names.push(name.to_owned());
                        after_captures.push(Vec::new());
                    }
                }
            }
            elements.push(PatternElement::Text { before, after_captures });
        }
        Ok(Self { elements, names })
    }
}

impl Template {
    /// Compiles a template for the captures of `matcher`.
    ///
    /// # Errors
    ///
    /// The template has a name that is not captured, or would not be a path with letters in the place of its names.
    pub fn compile(text: &str, matcher: &PathMatcher) -> Result<Self, PatternError> {
        let text = text.trim();
        if text.contains(char::is_whitespace) {
            return Err(PatternError::Blank(text.to_owned()));
        }
        let mut example = String::new();
        for token in tokens(text)? {
            match token {
                PatternToken::Literal(literal) => example.push_str(literal),
                PatternToken::Name(_) => example.push('x'),
            }
        }
        example.parse::<Path>().map_err(|error| PatternError::Path(Box::new(error)))?;
        let compile = |text| -> Result<Vec<TemplatePart>, PatternError> {
            let part = |token| match token {
                PatternToken::Literal(literal) => Ok(TemplatePart::Literal(unescape(literal)?)),
                PatternToken::Name(name) => matcher
                    .capture(name)
                    .map(TemplatePart::Capture)
                    .ok_or_else(|| PatternError::Unknown(name.to_owned())),
            };
            tokens(text)?.into_iter().map(part).collect()
        };
        let elements = split(text)?.into_iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { elements })
    }

    /// Makes the path. A captured value stays within its element, whatever bytes it has. `None` when an element would
    /// be empty.
    pub fn fill(&self, captures: &Captures<'_>) -> Option<Path> {
        let mut path = PathBuf::default();
        let mut elem = Vec::new();
        for parts in &self.elements {
            elem.clear();
            for part in parts {
                elem.extend_from_slice(match part {
                    TemplatePart::Literal(literal) => literal,
                    TemplatePart::Capture(at) => captures.values.get(*at)?,
                });
            }
            if elem.is_empty() {
                return None;
            }
            path.push(&elem);
        }
        Some(path.to_path())
    }
}

/// A part of the text of an element.
enum PatternToken<'a> {
    Literal(&'a str),
    Name(&'a str),
}

/// Splits a text into its elements; a slash cannot be escaped, nor stand in braces.
fn split(text: &str) -> Result<Vec<&str>, PatternError> {
    let inner = text.trim_matches('/');
    if inner.is_empty() {
        return Ok(Vec::new());
    }
    let elements: Vec<&str> = inner.split('/').collect();
    if elements.iter().any(|element| element.is_empty()) {
        return Err(PatternError::EmptyElement(text.to_owned()));
    }
    Ok(elements)
}

/// Splits the text of an element into literals and names.
fn tokens(text: &str) -> Result<Vec<PatternToken<'_>>, PatternError> {
    let wrong = || PatternError::Brace(text.to_owned());
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or_else(wrong)?;
        if literal.contains('}') || name.is_empty() || name.contains(['{', '/']) {
            return Err(wrong());
        }
        if !literal.is_empty() {
            tokens.push(PatternToken::Literal(literal));
        }
        tokens.push(PatternToken::Name(name));
        rest = after;
    }
    if rest.contains('}') {
        return Err(wrong());
    }
    if !rest.is_empty() {
        tokens.push(PatternToken::Literal(rest));
    }
    Ok(tokens)
}

/// Replaces each `\xNN` by its byte.
fn unescape(literal: &str) -> Result<Vec<u8>, PatternError> {
    let mut bytes = Vec::with_capacity(literal.len());
    let mut parts = literal.split('\\');
    bytes.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        let digits = part.strip_prefix('x').and_then(|part| part.get(..2));
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or_else(|| PatternError::Escape(literal.to_owned()))?);
        bytes.extend(part.bytes().skip("xNN".len()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
