//! The sandboxes as one worker sees them.

use super::overlay::Overlay;
use super::table::SandboxTable;
use jiff::Timestamp;
use lru::LruCache;
use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::watch;

/// How many lists of keys a worker remembers.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// The sandboxes as one worker sees them. It belongs to one thread.
///
/// A list of keys that is remembered costs one look at the state of the table and one look-up, and allocates nothing.
#[derive(Debug)]
pub struct WorkerSandboxes {
    live: RefCell<watch::Receiver<Arc<SandboxTable>>>,
    table: RefCell<Arc<SandboxTable>>,
    overlays: RefCell<LruCache<Box<str>, RememberedOverlay>>,
}

/// An overlay, and the last table that it was compared with.
#[derive(Debug)]
struct RememberedOverlay {
    overlay: Rc<Overlay>,
    revision: u64,
}

impl WorkerSandboxes {
    /// Makes the view of a table and its changes.
    pub fn new(mut live: watch::Receiver<Arc<SandboxTable>>) -> Self {
        let table = Arc::clone(&live.borrow_and_update());
        Self {
            live: RefCell::new(live),
            table: RefCell::new(table),
            overlays: RefCell::new(LruCache::new(REMEMBERED)),
        }
    }

    /// Returns the sandboxes that these keys select now; the keys are joined by `+`.
    pub fn overlay(&self, keys: &str) -> Rc<Overlay> {
        self.refresh();
        let table = self.table.borrow();
        let mut overlays = self.overlays.borrow_mut();
        let known = overlays.get_mut(keys);
        if let Some(RememberedOverlay { overlay, revision }) = &known
            && *revision == table.revision()
            && !(overlay.may_expire() && overlay.is_expired(Timestamp::now()))
        {
            return Rc::clone(overlay);
        }
        let (found, revision) = (Overlay::new(&table, keys, Timestamp::now()), table.revision());
        match known {
            // The sandboxes of these keys are as they were: what was bound under them stays.
            Some(known) if known.overlay.is_same(&found) => {
                known.revision = revision;
                Rc::clone(&known.overlay)
            }
            _ => {
                let overlay = Rc::new(found);
                overlays.put(keys.into(), RememberedOverlay { overlay: Rc::clone(&overlay), revision });
                overlay
            }
        }
    }

    /// Takes over the present table. It costs one atomic load when nothing has changed.
    pub fn refresh(&self) {
        let mut live = self.live.borrow_mut();
        if live.has_changed().is_ok_and(|changed| changed) {
            *self.table.borrow_mut() = Arc::clone(&live.borrow_and_update());
        }
    }

    /// Follows another table from now on, unless it is the same.
    pub fn follow(&self, live: &watch::Receiver<Arc<SandboxTable>>) {
        if !self.live.borrow().same_channel(live) {
            let mut live = live.clone();
            *self.table.borrow_mut() = Arc::clone(&live.borrow_and_update());
            *self.live.borrow_mut() = live;
        }
    }

    /// Returns the table that was last seen.
    pub fn table(&self) -> Arc<SandboxTable> {
        Arc::clone(&self.table.borrow())
    }

    /// Returns the number of the table that was last seen.
    pub fn revision(&self) -> u64 {
        self.table.borrow().revision()
    }

    /// Returns a receiver of the changes after the table that was last seen.
    pub fn changes(&self) -> watch::Receiver<Arc<SandboxTable>> {
        self.live.borrow().clone()
    }
}

impl Default for WorkerSandboxes {
    /// Returns a view without sandboxes, in which every key is unknown.
    fn default() -> Self {
        Self::new(watch::channel(Arc::default()).1)
    }
}
