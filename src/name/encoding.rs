//! The encoding of paths and prefixes: each element as a four-byte big-endian length and its bytes, one after the
//! other.
//!
//! No element's encoding is the beginning of another's, so "starts with" on elements is "starts with" on bytes.

/// The elements of an encoded path, first to last.
#[derive(Clone)]
pub(super) struct Elems<'a> {
    rest: &'a [u8],
}

impl<'a> Elems<'a> {
    pub(super) const fn new(encoded: &'a [u8]) -> Self {
        Self { rest: encoded }
    }

    /// Returns the encoding of the elements not yet taken.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Elems<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.rest.split_first_chunk::<4>()?;
        let (elem, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        self.rest = rest;
        Some(elem)
    }
}

/// Appends one element.
///
/// # Panics
///
/// When the element is 4 GiB or longer. No input comes near: heads and files are bounded far below.
pub(super) fn push(encoded: &mut Vec<u8>, elem: &[u8]) {
    let len = u32::try_from(elem.len()).expect("an element is shorter than 4 GiB");
    encoded.extend_from_slice(&len.to_be_bytes());
    encoded.extend_from_slice(elem);
}

/// Returns the number of bytes that the first `n` elements take (all bytes, when there are fewer).
pub(super) fn offset(encoded: &[u8], n: usize) -> usize {
    let mut elems = Elems::new(encoded);
    elems.by_ref().take(n).for_each(drop);
    encoded.len() - elems.rest().len()
}
