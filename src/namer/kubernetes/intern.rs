//! Interned texts: the names of nodes and zones, which many endpoints share, are stored once.

use lru::LruCache;
use serde::{Deserialize as _, Deserializer};
use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// How many texts are interned; with more, some are stored twice. The largest clusters have 5,000 nodes.
const MAX_TEXTS: NonZeroUsize = NonZeroUsize::new(8_192).unwrap();

thread_local! {
    /// The interned texts of a thread. All objects from the API server are read on one thread, that of control, and
    /// each snapshot on one of its own.
    static TEXTS: RefCell<LruCache<Arc<str>, ()>> = RefCell::new(LruCache::new(MAX_TEXTS));
}

/// Reads an optional text of a snapshot, and interns it.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<str>>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(intern))
}

/// Returns the one stored copy of a text.
pub(super) fn intern(text: String) -> Arc<str> {
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
    use super::{MAX_TEXTS, TEXTS, intern};
    use std::sync::Arc;

    #[test]
    fn a_text_is_held_once_and_not_for_ever() {
        let first = intern("node".to_owned());
        assert!(Arc::ptr_eq(&first, &intern("node".to_owned())));
        for node in 0..MAX_TEXTS.get() {
            intern(node.to_string());
        }
        assert_eq!((Arc::strong_count(&first), TEXTS.with_borrow(lru::LruCache::len)), (1, MAX_TEXTS.get()));
        assert_eq!(intern("node".to_owned()), first);
    }
}
