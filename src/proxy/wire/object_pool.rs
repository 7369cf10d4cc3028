//! Things a worker lends to a request and takes back: buffers, heads, scratch space.
//!
//! What is idle holds none of them, so that an idle connection costs little; what is busy allocates none of them, for
//! they were allocated for an earlier request.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// Something that can be lent again.
pub(crate) trait PoolItem: Default {
    /// Forgets the contents and says whether it is worth keeping: not when it has grown out of proportion.
    fn reset(&mut self) -> bool;
}

/// The things of one kind that a worker can lend; cheap to clone.
#[derive(Debug)]
pub(crate) struct ObjectPool<T>(Rc<RefCell<Vec<Box<T>>>>);

/// One thing, returned to its pool when dropped.
///
/// It is boxed, once for all its loans, so that moving a loan moves two words.
#[derive(Debug)]
pub(crate) struct Pooled<T: PoolItem> {
    /// None only once it was dropped.
    item: Option<Box<T>>,
    pool: ObjectPool<T>,
}

const HELD: &str = "a loan holds its item until it is dropped";

/// How many things of one kind a worker keeps for later: what more were lent at one time go back to the allocator.
const KEPT: usize = 64;

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
    pub(crate) fn take(&self) -> Pooled<T> {
        let item = self.0.borrow_mut().pop().unwrap_or_default();
        Pooled { item: Some(item), pool: self.clone() }
    }
}

impl<T: PoolItem> Drop for Pooled<T> {
    fn drop(&mut self) {
        let Some(mut item) = self.item.take() else { return };
        let mut kept = self.pool.0.borrow_mut();
        if kept.len() < KEPT && item.reset() {
            kept.push(item);
        }
    }
}

impl<T: PoolItem> Deref for Pooled<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.item.as_ref().expect(HELD)
    }
}

impl<T: PoolItem> DerefMut for Pooled<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.item.as_mut().expect(HELD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::wire::buffer::Buffer;

    #[test]
    fn what_is_returned_is_lent_again() {
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
    fn what_grew_too_large_is_not_kept() {
        let buffers = ObjectPool::<Buffer>::default();
        let mut large = buffers.take();
        large.out().resize(Buffer::MOST_KEPT + 1, 0);
        drop(large);
        assert_eq!(buffers.0.borrow().len(), 0);
    }
}
