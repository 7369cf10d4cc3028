//! The limit on the bytes of a delegation as JSON.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io;

/// How many bytes of a node are not counted before it is written: its names of members, and the brackets around it.
const FRAME: usize = 512;

/// The limit of one delegation's JSON, with what was written so far.
#[derive(Debug, Default)]
pub(super) struct SizeLimit {
    limit: Cell<Option<usize>>,
    written: Cell<usize>,
    /// The positions of the entries that were said.
    said: RefCell<HashSet<usize>>,
}

impl SizeLimit {
    /// Begins to count.
    pub(super) fn begin(&self, limit: usize) -> &Self {
        self.limit.set(Some(limit));
        self.written.set(0);
        self.said.borrow_mut().clear();
        self
    }

    /// Returns whether there is a limit.
    pub(super) fn is_set(&self) -> bool {
        self.limit.get().is_some()
    }

    /// Returns whether there is no room for so many more bytes, each of which may take two.
    pub(super) fn is_reached(&self, more: usize) -> bool {
        self.limit.get().is_some_and(|limit| self.written.get() + 2 * more + FRAME > limit)
    }

    /// Notes that an entry is said; returns whether it has to be said in full, as always without a limit.
    pub(super) fn is_new(&self, entry: usize) -> bool {
        !self.is_set() || self.said.borrow_mut().insert(entry)
    }
}

/// A buffer that counts what is written to it.
pub(super) struct CountedBuffer<'a> {
    bytes: Vec<u8>,
    limit: &'a SizeLimit,
}

impl<'a> CountedBuffer<'a> {
    pub(super) const fn new(limit: &'a SizeLimit) -> Self {
        Self { bytes: Vec::new(), limit }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl io::Write for CountedBuffer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        self.limit.written.set(self.bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns a text of at most so many bytes: of a longer one, the beginning and three dots.
pub fn cut(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        text.truncate(text.floor_char_boundary(longest.saturating_sub(3)));
        text.push_str("...");
    }
    text
}
