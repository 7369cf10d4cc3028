//! A scan for the parentheses and comments of a text, without parsing it.

use std::ops::Range;

use super::super::is_label_byte;

/// A parenthesis or a comment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) enum Mark {
    /// An opening parenthesis.
    Open,
    /// A closing parenthesis.
    Close,
    /// A comment, without its line feed.
    Comment(Range<usize>),
}

/// Finds parentheses and comments, each with the offset of its first byte.
///
/// A label begins only after a slash, and a `#` that touches it is part of it; the scan needs no other rule of the
/// grammar. In a text that the grammar refuses some marks may be wrong.
pub(in super::super) fn marks(text: &str) -> impl Iterator<Item = (usize, Mark)> {
    let mut bytes = text.bytes().enumerate().peekable();
    std::iter::from_fn(move || {
        while let Some((offset, byte)) = bytes.next() {
            match byte {
                b'/' => while bytes.next_if(|&(_, byte)| byte == b'\\' || is_label_byte(byte)).is_some() {},
                b'(' => return Some((offset, Mark::Open)),
                b')' => return Some((offset, Mark::Close)),
                b'#' => {
                    while bytes.next_if(|&(_, byte)| byte != b'\n').is_some() {}
                    let end = bytes.peek().map_or(text.len(), |&(end, _)| end);
                    return Some((offset, Mark::Comment(offset..end)));
                }
                _ => {}
            }
        }
        None
    })
}
