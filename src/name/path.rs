//! Paths: sequences of byte strings.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::encoding::{self, Elems};
use super::{ParseError, parse};

/// A sequence of non-empty byte strings; the empty sequence is written `/`.
///
/// Elements are bytes, not text: any byte may occur, also `/`, NUL and bytes that are not UTF-8. They are compared
/// byte by byte, with case.
///
/// All elements are held in one shared buffer, each as a four-byte big-endian length and its bytes. So cloning copies
/// no text, dropping leading elements is a slice, equality and hashing are those of the bytes, and "starts with" is a
/// byte-prefix test. `Ord` compares element by element, and a path before the longer ones that start with it.
///
/// `Display` prints an element raw when all its bytes may stand in a label (`0-9 A-Z a-z _ : . # $ % -`), and
/// otherwise every byte of it as `\xNN`. That form reads back as the same path.
///
/// ```
/// use signpost::name::Path;
///
/// let path: Path = r"/svc/caf\xc3\xa9".parse()?;
/// assert_eq!(path.elems().collect::<Vec<_>>(), [&b"svc"[..], "café".as_bytes()]);
/// assert_eq!(path.to_string(), r"/svc/\x63\x61\x66\xc3\xa9");
/// # Ok::<(), signpost::name::ParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Path {
    encoded: Bytes,
}

impl Path {
    /// Returns the path without elements, `/`.
    pub const fn empty() -> Self {
        Self { encoded: Bytes::new() }
    }

    /// Builds a path from its elements.
    ///
    /// # Panics
    ///
    /// When an element is empty (in Finagle the same is an exception, "requirement failed"), or 4 GiB or longer.
    /// [`PathBuf::push`] leaves empty elements out instead.
    pub fn from_elems<I: IntoIterator<Item: AsRef<[u8]>>>(elems: I) -> Self {
        let mut encoded = Vec::new();
        for elem in elems {
            let elem = elem.as_ref();
            assert!(!elem.is_empty(), "an element of a path is never empty");
            encoding::push(&mut encoded, elem);
        }
        Self::from_encoded(encoded)
    }

    /// Returns the path with this encoding, in which no element is empty.
    pub(super) fn from_encoded(encoded: impl Into<Bytes>) -> Self {
        Self { encoded: encoded.into() }
    }

    /// Returns the elements, first to last.
    pub fn elems(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.walk()
    }

    /// Returns an iterator over the elements that also knows the rest of the encoding.
    pub(super) fn walk(&self) -> Elems<'_> {
        Elems::new(&self.encoded)
    }

    /// Returns the first element.
    pub fn first(&self) -> Option<&[u8]> {
        self.walk().next()
    }

    /// Returns the number of elements, which takes a walk over them.
    pub fn len(&self) -> usize {
        self.walk().count()
    }

    /// Returns whether the path has no elements.
    pub const fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// Returns whether the first elements are those of `prefix`.
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.encoded.starts_with(&prefix.encoded)
    }

    /// Returns the rest of the path after `prefix`, or `None` when the path does not start with it.
    pub fn drop_prefix(&self, prefix: &Self) -> Option<Self> {
        self.starts_with(prefix).then(|| self.tail(prefix.encoded.len()))
    }

    /// Returns the first `n` elements (all, when there are fewer).
    pub fn take(&self, n: usize) -> Self {
        Self { encoded: self.encoded.slice(..encoding::offset(&self.encoded, n)) }
    }

    /// Returns all but the first `n` elements.
    pub fn skip(&self, n: usize) -> Self {
        self.tail(encoding::offset(&self.encoded, n))
    }

    /// Returns the rest of the path after the first `bytes` bytes of the encoding; these must be whole elements of it.
    pub(super) fn tail(&self, bytes: usize) -> Self {
        Self { encoded: self.encoded.slice(bytes..) }
    }

    /// Returns this path's elements followed by those of `other`.
    pub fn concat(&self, other: &Self) -> Self {
        if other.is_empty() {
            self.clone()
        } else if self.is_empty() {
            other.clone()
        } else {
            Self::from_encoded([&*self.encoded, &*other.encoded].concat())
        }
    }

    /// Returns the bytes that stand for this path in caches: equal exactly when the paths are.
    pub fn as_encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Returns the encoding, to be shared.
    pub(super) const fn shared(&self) -> &Bytes {
        &self.encoded
    }
}

impl Ord for Path {
    fn cmp(&self, other: &Self) -> Ordering {
        self.walk().cmp(other.walk())
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({self})")
    }
}

impl FromStr for Path {
    type Err = ParseError;

    /// Reads a path as it is written in a file: white space and comments around it are skipped, an empty element
    /// (`/a//b`, `/a/`) is an error.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse::path(text)
    }
}

/// A path under construction in a buffer that is used again: identifiers write names into it without allocating.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PathBuf {
    encoded: Vec<u8>,
}

impl PathBuf {
    /// Returns an empty buffer.
    pub const fn new() -> Self {
        Self { encoded: Vec::new() }
    }

    /// Removes all elements and keeps the memory.
    pub fn clear(&mut self) {
        self.encoded.clear();
    }

    /// Appends one element; an empty one is left out.
    ///
    /// # Panics
    ///
    /// When the element is 4 GiB or longer.
    pub fn push(&mut self, elem: &[u8]) {
        if !elem.is_empty() {
            encoding::push(&mut self.encoded, elem);
        }
    }

    /// Appends the elements of a path.
    pub fn extend(&mut self, path: &Path) {
        self.encoded.extend_from_slice(&path.encoded);
    }

    /// Returns the elements, first to last.
    pub fn elems(&self) -> impl Iterator<Item = &[u8]> + Clone {
        Elems::new(&self.encoded)
    }

    /// Returns whether there are no elements.
    pub const fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// Returns the bytes that stand for this path in caches: equal to [`Path::as_encoded`] exactly when the paths are
    /// equal.
    pub fn as_encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Returns a path with a copy of the elements.
    pub fn to_path(&self) -> Path {
        Path::from_encoded(Bytes::copy_from_slice(&self.encoded))
    }
}

impl fmt::Debug for PathBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathBuf({})", self.to_path())
    }
}

#[cfg(test)]
mod tests;
