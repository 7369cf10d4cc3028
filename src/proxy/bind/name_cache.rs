//! The bindings that a worker keeps, in two classes: names that lead nowhere go before all others.

use super::aged_cache::AgedCache;
use super::binding::Binding;
use std::rc::Rc;
use tokio::time::Instant;

/// The cached bindings of names under the entries of requests.
///
/// A caller can ask for any number of names that lead nowhere. They take no room that a name that is in use has.
#[derive(Debug, Default)]
pub(super) struct NameCache {
    routable: AgedCache<Rc<Binding>>,
    /// Those that lead nowhere, or could not be evaluated.
    unroutable: AgedCache<Rc<Binding>>,
}

impl NameCache {
    pub(super) fn len(&self) -> usize {
        self.routable.len() + self.unroutable.len()
    }

    /// Returns about how many bytes the bindings take.
    pub(super) const fn bytes(&self) -> usize {
        self.routable.bytes() + self.unroutable.bytes()
    }

    /// Returns a binding, which is then the one used last, at `now`.
    pub(super) fn get(&mut self, key: &[u8], now: Instant) -> Option<&Rc<Binding>> {
        // Looked up once when it is routable, as most are.
        match self.routable.get(key, now) {
            Some(binding) => Some(binding),
            None => self.unroutable.get(key, now),
        }
    }

    /// Adds a binding, used at `now`.
    pub(super) fn put(&mut self, key: &[u8], binding: Rc<Binding>, now: Instant) {
        let (own, other) = if binding.is_routable() {
            (&mut self.routable, &mut self.unroutable)
        } else {
            (&mut self.unroutable, &mut self.routable)
        };
        other.remove(key);
        let bytes = binding.bytes();
        own.put(key, binding, bytes, now);
    }

    /// Removes a binding that leads nowhere: the one used least recently. Returns whether there was one.
    pub(super) fn pop_unroutable(&mut self) -> bool {
        self.unroutable.pop()
    }

    /// Removes the binding that goes first. Returns whether there was one.
    pub(super) fn pop(&mut self) -> bool {
        self.unroutable.pop() || self.routable.pop()
    }

    /// Returns when the binding that goes first, of those that lead somewhere, was used.
    pub(super) fn oldest_routable(&self) -> Option<Instant> {
        self.routable.oldest()
    }

    /// Removes one of the bindings that were used last before a time. Returns whether there was one.
    pub(super) fn pop_older(&mut self, before: Instant) -> bool {
        let caches = [&mut self.unroutable, &mut self.routable];
        let older = caches.into_iter().find(|cache| cache.oldest().is_some_and(|used| used <= before));
        older.is_some_and(AgedCache::pop)
    }

    /// Removes the bindings that meet a condition. It looks at all of them.
    pub(super) fn remove_where(&mut self, is_removed: impl Fn(&Binding) -> bool) {
        self.routable.remove_where(|binding| is_removed(binding));
        self.unroutable.remove_where(|binding| is_removed(binding));
    }

    /// Removes all bindings.
    pub(super) fn clear(&mut self) {
        self.routable.clear();
        self.unroutable.clear();
    }

    /// Returns a binding, and leaves the order as it is.
    #[cfg(test)]
    pub(super) fn peek(&self, key: &[u8]) -> Option<&Rc<Binding>> {
        self.routable.peek(key).or_else(|| self.unroutable.peek(key))
    }

    /// Returns all bindings.
    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = &Rc<Binding>> {
        self.routable.values().chain(self.unroutable.values())
    }

    /// Returns the bindings that have clients.
    pub(super) fn routable(&self) -> impl Iterator<Item = &Rc<Binding>> {
        self.routable.values()
    }
}
