//! Prefixes: the left sides of dentries.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::encoding::{self, Elems};
use super::{ParseError, Path, parse};

/// One element of a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Element<'a> {
    /// `*`: any one element, never none, never several.
    Any,
    /// A label: the element with these bytes, which are not empty.
    Label(&'a [u8]),
}

/// The left side of a dentry: a path in which `*` stands for any one element.
///
/// `Display` prints labels as [`Path`] does, so a literal star is `\x2a`.
///
/// It has the encoding of a path, with a length of zero for `*` (a label is never empty). A prefix without `*`, as
/// nearly all are, is compared with a path in one go.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Prefix {
    encoded: Bytes,
    /// Whether some element is `*`.
    wild: bool,
}

/// `*` is the wildcard; a label that is a star is [`Element::Label`].
impl<'a> From<&'a [u8]> for Element<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        if bytes == b"*" { Self::Any } else { Self::Label(bytes) }
    }
}

/// `*` is the wildcard; a label that is a star is [`Element::Label`].
impl<'a> From<&'a str> for Element<'a> {
    fn from(text: &'a str) -> Self {
        text.as_bytes().into()
    }
}

impl Prefix {
    /// Returns the prefix without elements, `/`, which matches every path.
    pub const fn empty() -> Self {
        Self { encoded: Bytes::new(), wild: false }
    }

    /// Builds a prefix from its elements: [`Element`]s, or bytes and texts, of which `*` is the wildcard.
    ///
    /// # Panics
    ///
    /// When a label is empty (in Finagle the same is an exception, "requirement failed"), or 4 GiB or longer.
    pub fn from_elems<'a, I: IntoIterator<Item: Into<Element<'a>>>>(elems: I) -> Self {
        let mut encoded = Vec::new();
        let mut wild = false;
        for elem in elems {
            match elem.into() {
                Element::Any => {
                    wild = true;
                    encoding::push(&mut encoded, b"");
                }
                Element::Label(label) => {
                    assert!(!label.is_empty(), "a label of a prefix is never empty");
                    encoding::push(&mut encoded, label);
                }
            }
        }
        Self { encoded: encoded.into(), wild }
    }

    /// Returns the prefix with this encoding; `wild` says whether it has a `*`.
    pub(super) fn from_encoded(encoded: Vec<u8>, wild: bool) -> Self {
        Self { encoded: encoded.into(), wild }
    }

    /// Returns the elements, first to last.
    pub fn elems(&self) -> impl Iterator<Item = Element<'_>> + Clone {
        Elems::new(&self.encoded)
            .map(|label| if label.is_empty() { Element::Any } else { Element::Label(label) })
    }

    /// Returns the number of elements, which takes a walk over them.
    pub fn len(&self) -> usize {
        Elems::new(&self.encoded).count()
    }

    /// Returns whether the prefix has no elements.
    pub const fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// Returns whether `path` starts with this prefix.
    pub fn matches(&self, path: &Path) -> bool {
        self.matched(path).is_some()
    }

    /// Returns the rest of `path` after this prefix, or `None` when it does not match.
    ///
    /// An element that a `*` matched is dropped, as labels are.
    pub fn residual(&self, path: &Path) -> Option<Path> {
        self.matched(path).map(|bytes| path.tail(bytes))
    }

    /// Returns the number of bytes of the path's encoding that this prefix matches.
    fn matched(&self, path: &Path) -> Option<usize> {
        if !self.wild {
            return path.as_encoded().starts_with(&self.encoded).then_some(self.encoded.len());
        }
        let mut rest = path.walk();
        for label in Elems::new(&self.encoded) {
            let elem = rest.next()?;
            if !label.is_empty() && label != elem {
                return None;
            }
        }
        Some(path.as_encoded().len() - rest.rest().len())
    }

    /// Returns whether the first elements are those of `prefix`; only `*` equals `*`.
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.encoded.starts_with(&prefix.encoded)
    }

    /// Returns whether every path that `other` matches is matched by this prefix too: `other` is at or below it.
    ///
    /// A `*` here covers any one element; a `*` of `other` is covered by `*` alone.
    pub fn covers(&self, other: &Self) -> bool {
        let mut others = other.elems();
        self.elems().all(|elem| others.next().is_some_and(|other| elem == Element::Any || elem == other))
    }

    /// Returns the rest of this prefix after `prefix`, or `None` when this prefix does not start with it.
    pub fn drop_prefix(&self, prefix: &Self) -> Option<Self> {
        self.starts_with(prefix).then(|| {
            let encoded = self.encoded.slice(prefix.encoded.len()..);
            let wild = self.wild && Elems::new(&encoded).any(<[u8]>::is_empty);
            Self { encoded, wild }
        })
    }

    /// Returns this prefix's elements followed by those of `other`.
    pub fn concat(&self, other: &Self) -> Self {
        Self { encoded: [&*self.encoded, &*other.encoded].concat().into(), wild: self.wild || other.wild }
    }
}

impl From<&Path> for Prefix {
    /// Every element becomes a label, also one that is a single star.
    fn from(path: &Path) -> Self {
        Self { encoded: path.shared().clone(), wild: false }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({self})")
    }
}

impl FromStr for Prefix {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse::prefix(text)
    }
}

#[cfg(test)]
mod tests;
