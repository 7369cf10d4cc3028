//! Things a worker lends to a request and takes back: buffers, heads, scratch space.
//!
//! What is idle holds none of them, so that an idle connection costs little; what is busy allocates none of them, for
//! they were allocated for an earlier request.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// Something that can be lent again.
pub(crate) trait Reuse: Default {
    /// Forgets the contents and says whether it is worth keeping: not when it has grown out of proportion.
    fn reset(&mut self) -> bool;
}

/// The things of one kind that a worker can lend; cheap to clone.
#[derive(Debug)]
pub(crate) struct Lender<T>(Rc<RefCell<Vec<Box<T>>>>);

/// One thing, returned to its lender when dropped.
///
/// It is boxed, once for all its loans, so that moving a loan moves two words.
#[derive(Debug)]
pub(crate) struct Loan<T: Reuse> {
    /// None only once it was dropped.
    item: Option<Box<T>>,
    lender: Lender<T>,
}

const HELD: &str = "a loan holds its item until it is dropped";

/// How many things of one kind a worker keeps for later: what more were lent at one time go back to the allocator.
const KEPT: usize = 64;

impl<T> Clone for Lender<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Default for Lender<T> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<T: Reuse> Lender<T> {
    pub(crate) fn lend(&self) -> Loan<T> {
        let item = self.0.borrow_mut().pop().unwrap_or_default();
        Loan { item: Some(item), lender: self.clone() }
    }
}

impl<T: Reuse> Drop for Loan<T> {
    fn drop(&mut self) {
        let Some(mut item) = self.item.take() else { return };
        let mut kept = self.lender.0.borrow_mut();
        if kept.len() < KEPT && item.reset() {
            kept.push(item);
        }
    }
}

impl<T: Reuse> Deref for Loan<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.item.as_ref().expect(HELD)
    }
}

impl<T: Reuse> DerefMut for Loan<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.item.as_mut().expect(HELD)
    }
}

/// Bytes that came in and have not been used yet.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// What one read may bring: a head with a small body, or a good piece of a large one.
    ///
    /// A little less than 64 KiB, which is what the kernel sends in one go: the few bytes of a piece that were beyond it
    /// would make a packet of their own, which costs as much as a large one.
    const ROOM: usize = 60 * 1024;
    /// A buffer that grew beyond this, for a large head, is not kept.
    const MOST_KEPT: usize = 128 * 1024;

    pub(crate) fn data(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Forgets the first `n` bytes.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.bytes.len());
        if self.is_empty() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// The vector behind the buffer with room at its end for one more read.
    pub(crate) fn room(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() - self.bytes.len() < Self::ROOM / 4 {
            self.bytes.drain(..self.start);
            self.start = 0;
            self.bytes.reserve(Self::ROOM);
        }
        &mut self.bytes
    }

    /// The bytes, to write into.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Reuse for Buffer {
    fn reset(&mut self) -> bool {
        self.bytes.clear();
        self.start = 0;
        (1..=Self::MOST_KEPT).contains(&self.bytes.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_returned_is_lent_again() {
        let buffers = Lender::<Buffer>::default();
        let mut first = buffers.lend();
        first.room().extend_from_slice(b"abc");
        first.consume(1);
        assert_eq!(first.data(), b"bc");
        let place = first.out().as_ptr();
        drop(first);
        let mut again = buffers.lend();
        assert!(again.is_empty(), "it came back empty");
        assert_eq!(again.out().as_ptr(), place, "and it is the same memory");
        let second = buffers.lend();
        drop(second);
        drop(again);
        assert_eq!(buffers.0.borrow().len(), 1, "a buffer nothing was read into has no memory worth keeping");
    }

    #[test]
    fn what_grew_too_large_is_not_kept() {
        let buffers = Lender::<Buffer>::default();
        let mut large = buffers.lend();
        large.out().resize(Buffer::MOST_KEPT + 1, 0);
        drop(large);
        assert_eq!(buffers.0.borrow().len(), 0);
    }

    #[test]
    fn room_is_made_by_forgetting_what_was_used() {
        let mut buffer = Buffer::default();
        buffer.room().extend_from_slice(&[7; Buffer::ROOM]);
        buffer.consume(Buffer::ROOM - 2);
        let room = buffer.room();
        assert!(room.capacity() - room.len() >= Buffer::ROOM / 4);
        assert_eq!(buffer.data(), [7, 7]);
    }
}
