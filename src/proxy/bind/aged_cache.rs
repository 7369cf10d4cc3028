//! A cache whose entries have an age and a size: those used least recently go first.

use lru::LruCache;
use tokio::time::Instant;

/// A cache by keys of bytes, in the order of the last use of its entries. It has no bounds of its own: its owner drops
/// entries until the bounds of all caches together hold.
#[derive(Debug)]
pub(super) struct AgedCache<V> {
    entries: LruCache<Box<[u8]>, AgedEntry<V>>,
    /// The bytes of all entries with their keys.
    bytes: usize,
}

#[derive(Debug)]
struct AgedEntry<V> {
    value: V,
    last_used: Instant,
    bytes: usize,
}

/// The bytes that an entry takes besides its value: a node of the list, a slot of the map, and two allocations.
const ENTRY_BYTES: usize = 160;

impl<V> Default for AgedCache<V> {
    fn default() -> Self {
        Self { entries: LruCache::unbounded(), bytes: 0 }
    }
}

impl<V> AgedCache<V> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns about how many bytes its entries take.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns an entry, which is then the one used last, at `now`.
    pub(super) fn get(&mut self, key: &[u8], now: Instant) -> Option<&V> {
        let entry = self.entries.get_mut(key)?;
        entry.last_used = now;
        Some(&entry.value)
    }

    /// Returns an entry, and leaves the order as it is.
    #[cfg(test)]
    pub(super) fn peek(&self, key: &[u8]) -> Option<&V> {
        self.entries.peek(key).map(|entry| &entry.value)
    }

    /// Adds an entry, used at `now`, whose value takes about `bytes`.
    pub(super) fn put(&mut self, key: &[u8], value: V, bytes: usize, now: Instant) {
        let bytes = bytes + key.len() + ENTRY_BYTES;
        self.bytes += bytes;
        if let Some(old) = self.entries.put(key.into(), AgedEntry { value, last_used: now, bytes }) {
            self.bytes -= old.bytes;
        }
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, key: &[u8]) {
        if let Some(old) = self.entries.pop(key) {
            self.bytes -= old.bytes;
        }
    }

    /// Returns when the entry that goes first was used.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.entries.peek_lru().map(|(_, entry)| entry.last_used)
    }

    /// Removes the entry that was used least recently. Returns whether there was one.
    pub(super) fn pop(&mut self) -> bool {
        let Some((_, old)) = self.entries.pop_lru() else { return false };
        self.bytes -= old.bytes;
        true
    }

    /// Removes the entries that meet a condition. It looks at all of them.
    pub(super) fn remove_where(&mut self, is_removed: impl Fn(&V) -> bool) {
        let met = self.entries.iter().filter(|(_, entry)| is_removed(&entry.value));
        let removed: Vec<_> = met.map(|(key, _)| key.clone()).collect();
        for key in removed {
            self.remove(&key);
        }
    }

    /// Removes all entries.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// Returns the values, from the one used last to the one used least recently.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, entry)| &entry.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn the_entry_used_least_recently_goes_first_and_takes_its_bytes_along() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut cache = AgedCache::default();
        for (n, key) in [b"a", b"b", b"c"].into_iter().enumerate() {
            cache.put(key, n, 100, start);
        }
        let each = 100 + 1 + ENTRY_BYTES;
        assert_eq!((cache.len(), cache.bytes()), (3, 3 * each));
        assert_eq!(cache.get(b"a", start + second), Some(&0));
        cache.put(b"b", 7, 50, start + second * 2);
        assert_eq!(cache.bytes(), 3 * each - 50, "what is replaced does not count");
        assert_eq!(cache.oldest(), Some(start));
        assert!(cache.pop());
        assert_eq!(cache.values().copied().collect::<Vec<_>>(), [7, 0], "c is gone");
        assert_eq!(cache.oldest(), Some(start + second));
        cache.remove_where(|value| *value == 7);
        assert!(cache.pop() && !cache.pop());
        assert_eq!((cache.bytes(), cache.oldest()), (0, None));
    }
}
