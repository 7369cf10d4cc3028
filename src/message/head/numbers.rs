//! Fields whose values are numbers.

use super::{FieldLine, Head, Span};
use crate::message::KnownField;

/// The most bytes that [`Head::append_numbers`] adds to those of the name.
const NUMBERS: usize = ": 18446744073709551615 18446744073709551615\r\n".len();

impl Head {
    /// Adds a known field whose value is two numbers with a blank between them.
    ///
    /// A head of a gigabyte has no room for it, and adds nothing.
    pub fn append_numbers(&mut self, known: KnownField, [first, second]: [u64; 2]) {
        let name = known.name().as_bytes();
        if name.is_empty() || self.lacks_room(name.len() + NUMBERS) {
            return;
        }
        let mut digits = itoa::Buffer::new();
        let start = self.bytes.len();
        self.bytes.reserve(name.len() + NUMBERS);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        let value_start = self.bytes.len();
        // Digits need no check.
        self.bytes.extend_from_slice(digits.format(first).as_bytes());
        self.bytes.push(b' ');
        self.bytes.extend_from_slice(digits.format(second).as_bytes());
        let value = Span::new(value_start, self.bytes.len());
        self.bytes.extend_from_slice(b"\r\n");
        let (name_end, end) = (value_start - ": ".len(), self.bytes.len());
        self.push_line(FieldLine {
            start: start as u32,
            name_end: name_end as u32,
            value,
            end: end as u32,
            known,
            never_indexed: false,
        });
    }

    /// Makes the head have exactly one `Content-Length`, in plain digits.
    ///
    /// A peer may repeat an equal length, list it twice or pad it with zeros; the forwarded head must leave the
    /// next hop nothing to choose (RFC 9112 6.3). Does nothing when the head is so already.
    pub fn set_content_length(&mut self, length: u64) {
        let mut room = itoa::Buffer::new();
        let digits = room.format(length).as_bytes();
        let mut values = self.get_all(KnownField::ContentLength);
        if values.next() == Some(digits) && values.next().is_none() {
            return;
        }
        drop(values);
        self.remove(KnownField::ContentLength);
        self.append_known(KnownField::ContentLength, digits);
    }
}
