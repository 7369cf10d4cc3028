//! Pools of a worker's objects: buffers, heads, scratch space. A request takes them, and gives them back.
//!
//! An idle connection holds none of them, so that it costs little. A busy one allocates none, because they were allocated
//! for an earlier request.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// An object that can be used again.
pub(crate) trait PoolItem: Default {
    /// Clears the object, and returns whether the pool keeps it: not when it has grown too large.
    fn reset(&mut self) -> bool;
}

/// The unused objects of one type on one worker. A clone is the same pool.
#[derive(Debug)]
pub(crate) struct ObjectPool<T>(Rc<RefCell<Vec<Box<T>>>>);

/// An object that was taken from a pool; its drop gives it back.
///
/// The object stays in one box all its life, so that a move of this value moves two words.
#[derive(Debug)]
pub(crate) struct Pooled<T: PoolItem> {
    /// `None` only while it is dropped.
    item: Option<Box<T>>,
    pool: ObjectPool<T>,
}

const TAKEN: &str = "it holds its object until it is dropped";

/// How many unused objects a pool keeps: those beyond go back to the allocator.
const MOST_UNUSED: usize = 64;

impl<T> Clone for ObjectPool<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Default for ObjectPool<T> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<T: PoolItem> ObjectPool<T> {
    /// Takes an unused object, or makes one.
    pub(crate) fn take(&self) -> Pooled<T> {
        let item = self.0.borrow_mut().pop().unwrap_or_default();
        Pooled { item: Some(item), pool: self.clone() }
    }
}

impl<T: PoolItem> Drop for Pooled<T> {
    fn drop(&mut self) {
        let Some(mut item) = self.item.take() else { return };
        let mut kept = self.pool.0.borrow_mut();
        if kept.len() < MOST_UNUSED && item.reset() {
            kept.push(item);
        }
    }
}

impl<T: PoolItem> Deref for Pooled<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.item.as_ref().expect(TAKEN)
    }
}

impl<T: PoolItem> DerefMut for Pooled<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.item.as_mut().expect(TAKEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::wire::buffer::Buffer;

    #[test]
    fn a_returned_object_is_used_again() {
        let buffers = ObjectPool::<Buffer>::default();
        let mut first = buffers.take();
        first.room().extend_from_slice(b"abc");
        first.consume(1);
        assert_eq!(first.data(), b"bc");
        let place = first.out().as_ptr();
        drop(first);
        let mut again = buffers.take();
        assert!(again.is_empty(), "it came back empty");
        assert_eq!(again.out().as_ptr(), place, "and it is the same memory");
        let second = buffers.take();
        drop(second);
        drop(again);
        assert_eq!(buffers.0.borrow().len(), 1, "a buffer nothing was read into has no memory worth keeping");
    }

    #[test]
    fn a_buffer_that_grew_too_large_is_not_kept() {
        let buffers = ObjectPool::<Buffer>::default();
        let mut large = buffers.take();
        large.out().resize(Buffer::MOST_KEPT + 1, 0);
        drop(large);
        assert_eq!(buffers.0.borrow().len(), 0);
    }
}
