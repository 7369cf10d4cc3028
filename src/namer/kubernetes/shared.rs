//! Texts that many endpoints have: the names of nodes and zones, each held once.

use lru::LruCache;
use serde::{Deserialize as _, Deserializer};
use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Texts that are known; who has more has some of them twice. The largest clusters have 5,000 nodes.
const KNOWN: NonZeroUsize = NonZeroUsize::new(8_192).unwrap();

thread_local! {
    /// All objects from the API server are read on one thread, that of control, and each snapshot on one of its own.
    static TEXTS: RefCell<LruCache<Arc<str>, ()>> = RefCell::new(LruCache::new(KNOWN));
}

/// Reads a text that may be absent, as everybody has it: from a snapshot.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<str>>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(shared))
}

/// Returns a text as everybody has it.
pub(super) fn shared(text: String) -> Arc<str> {
    TEXTS.with_borrow_mut(|texts| {
        if let Some((known, ())) = texts.get_key_value(text.as_str()) {
            return Arc::clone(known);
        }
        let text = Arc::<str>::from(text);
        texts.put(Arc::clone(&text), ());
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{KNOWN, TEXTS, shared};
    use std::sync::Arc;

    #[test]
    fn a_text_is_held_once_and_not_for_ever() {
        let first = shared("node".to_owned());
        assert!(Arc::ptr_eq(&first, &shared("node".to_owned())));
        for node in 0..KNOWN.get() {
            shared(node.to_string());
        }
        assert_eq!((Arc::strong_count(&first), TEXTS.with_borrow(lru::LruCache::len)), (1, KNOWN.get()));
        assert_eq!(shared("node".to_owned()), first);
    }
}
