//! The clients that a worker keeps: those of cached bindings, and for a while those that no binding uses any longer.

use crate::name::Path;
use crate::proxy::upstream::Client;
use lru::LruCache;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The clients of one router on one worker, by bound id.
///
/// A client that a binding uses stays. So the clients are in the order of use as the bindings are, and a request does
/// nothing for it.
#[derive(Debug)]
pub(super) struct ClientCache {
    clients: HashMap<Path, Rc<Client>>,
    /// The clients that no binding uses, from the one released first.
    idle: LruCache<Path, ()>,
    released: ReleasedClients,
}

/// How many ids of released clients are kept until they are looked at: 1,000.
const MOST_RELEASED: usize = 1_000;

/// The ids of clients that a dropped binding had used. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct ReleasedClients(Rc<RefCell<Vec<Path>>>);

impl ReleasedClients {
    /// Adds the ids of the clients of a binding that is dropped. Leaves that follow each other have the same, as a rule.
    pub(super) fn extend<'a>(&self, clients: impl Iterator<Item = &'a Rc<Client>>) {
        let mut ids = self.0.borrow_mut();
        for id in clients.map(|client| client.id()) {
            if ids.last() != Some(id) {
                ids.push(id.clone());
            }
        }
    }
}

impl Default for ClientCache {
    fn default() -> Self {
        let (idle, released) = (LruCache::unbounded(), ReleasedClients::default());
        Self { clients: HashMap::new(), idle, released }
    }
}

impl ClientCache {
    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Returns the list to which dropped bindings add the ids of their clients.
    pub(super) fn released(&self) -> ReleasedClients {
        self.released.clone()
    }

    /// Returns the client of an id for a binding.
    pub(super) fn get(&mut self, id: &Path) -> Option<Rc<Client>> {
        let client = self.clients.get(id)?;
        self.idle.pop(id);
        Some(Rc::clone(client))
    }

    /// Adds a client.
    pub(super) fn insert(&mut self, client: &Rc<Client>) {
        self.clients.insert(client.id().clone(), Rc::clone(client));
    }

    /// Adds clients of which no binding in this cache has one yet.
    pub(super) fn extend_idle<'a>(&mut self, clients: impl Iterator<Item = &'a Rc<Client>>) {
        for client in clients {
            self.insert(client);
            self.idle.put(client.id().clone(), ());
        }
    }

    /// Notes which clients no binding uses any longer, if many are to be looked at: otherwise it is done when room is made,
    /// and by each sweep.
    pub(super) fn note_many_released(&mut self) {
        if self.released.0.borrow().len() >= MOST_RELEASED {
            self.note_released();
        }
    }

    /// Returns how many ids of released clients are to be looked at.
    #[cfg(test)]
    pub(super) fn released_count(&self) -> usize {
        self.released.0.borrow().len()
    }

    /// Notes which clients no binding uses any longer.
    pub(super) fn note_released(&mut self) {
        let released = std::mem::take(&mut *self.released.0.borrow_mut());
        for id in released {
            if self.clients.get(&id).is_some_and(|client| Rc::strong_count(client) == 1) {
                self.idle.put(id, ());
            }
        }
    }

    /// Drops the client that has been without a binding for longest. Returns whether there was one.
    pub(super) fn pop_idle(&mut self) -> bool {
        self.note_released();
        let oldest = self.idle.pop_lru();
        oldest.is_some_and(|(id, ())| self.clients.remove(&id).is_some())
    }

    /// Notes which of these clients are without a binding. The last user of one may have been a request of bindings that are
    /// replaced, of which this cache does not hear.
    pub(super) fn note_unused(&mut self, clients: &[Rc<Client>]) {
        for client in clients {
            // One is the cache's own, the other is the argument.
            if Rc::strong_count(client) == 2 && !self.idle.contains(client.id()) {
                self.idle.put(client.id().clone(), ());
            }
        }
    }

    /// Returns the clients.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<Client>> {
        self.clients.values()
    }
}
