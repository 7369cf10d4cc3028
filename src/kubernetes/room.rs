//! The room for the watches of one resource: those that run, those that wait for room, and which gives way to which.

use super::resource_watch::ResourceWatch;
use super::scope::MAX_WATCHES;
use super::watched_object::WatchedObject;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long ago a namespace with objects must have been wanted to give way: what is in use stays.
const IN_USE: Duration = Duration::from_secs(120);

/// How many entries without a task there may be before those without receivers are first looked for.
const FIRST_SWEEP: usize = 1024;

/// The time between two log lines about want of room.
const REMIND: Duration = Duration::from_secs(60);

/// The namespace of a watch; none for the watch of all namespaces.
pub(super) type WatchScope = Option<Arc<str>>;

/// The watches of one resource, by namespace.
pub(super) struct WatchRoom<T> {
    watches: HashMap<WatchScope, Arc<ResourceWatch<T>>>,
    /// Those of them that run. However many wait, only these are looked at for one that gives way.
    running: HashMap<WatchScope, Arc<ResourceWatch<T>>>,
    /// How many of them may wait for room before those without receivers are looked for.
    sweep_at: usize,
    /// The time of the last log line about want of room, and how many had to wait since.
    logged: Option<(Instant, u64)>,
}

/// The claim of a watch to its place: the smallest gives way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    class: ClaimClass,
    last_wanted: Instant,
}

/// The classes of claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ClaimClass {
    /// No worker holds one of its names.
    Unheld,
    /// It has no object, and was wanted so many times lately: such a namespace need not exist.
    Empty(u8),
    /// It has objects.
    Filled,
    /// The configuration names it.
    Configured,
}

impl Claim {
    fn of<T: WatchedObject>(watched: &ResourceWatch<T>) -> Self {
        let inner = watched.lock();
        let class = if watched.is_configured() {
            ClaimClass::Configured
        } else if !inner.store.is_held() {
            ClaimClass::Unheld
        } else if inner.store.len() == 0 {
            ClaimClass::Empty(inner.wants.recent())
        } else {
            ClaimClass::Filled
        };
        Self { class, last_wanted: inner.wants.last }
    }

    /// Returns whether it gives way to a watch that is wanted now.
    fn gives_way(&self) -> bool {
        match self.class {
            ClaimClass::Unheld | ClaimClass::Empty(_) => true,
            ClaimClass::Filled => self.last_wanted.elapsed() >= IN_USE,
            ClaimClass::Configured => false,
        }
    }
}

impl<T> Default for WatchRoom<T> {
    fn default() -> Self {
        let (watches, running) = (HashMap::new(), HashMap::new());
        Self { watches, running, sweep_at: FIRST_SWEEP, logged: None }
    }
}

impl<T: WatchedObject> WatchRoom<T> {
    pub(super) fn get(&self, scope: &WatchScope) -> Option<&Arc<ResourceWatch<T>>> {
        self.watches.get(scope)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<ResourceWatch<T>>> {
        self.watches.values()
    }

    /// Adds a watch, which does not run yet.
    pub(super) fn insert(&mut self, scope: WatchScope, watched: Arc<ResourceWatch<T>>) {
        if self.watches.len() - self.running.len() >= self.sweep_at {
            self.watches.retain(|_, watched| {
                let inner = watched.lock();
                inner.run.is_some() || inner.store.is_held()
            });
            self.sweep_at = ((self.watches.len() - self.running.len()) * 2).max(FIRST_SWEEP);
        }
        self.watches.insert(scope, watched);
    }

    /// Makes room for a watch that does not run yet and is wanted now: while all places are taken, the watch with the
    /// weakest claim gives way. Returns whether there is room.
    pub(super) fn make_room(&mut self, wanted: &ResourceWatch<T>) -> bool {
        if self.running.len() < MAX_WATCHES {
            return true;
        }
        let weakest = self.running.values().map(|watched| (Claim::of(watched), watched));
        let weakest = weakest.min_by_key(|(claim, _)| *claim).filter(|(claim, _)| claim.gives_way());
        let Some(given_up) = weakest.map(|(_, watched)| Arc::clone(watched)) else {
            self.log(&wanted.description(), "waits until one of them is not wanted any more");
            wanted.displace();
            return false;
        };
        given_up.displace();
        self.running.remove(&given_up.namespace);
        let text = format!(
            "takes the place of {}, which was wanted less{}",
            given_up.description(),
            if given_up.lock().store.len() == 0 { " and has none" } else { "" },
        );
        self.log(&wanted.description(), &text);
        true
    }

    /// Adds a watch to those that run.
    pub(super) fn start(&mut self, watched: &Arc<ResourceWatch<T>>) {
        self.running.insert(watched.namespace.clone(), Arc::clone(watched));
    }

    /// Removes a watch whose task is about to end; returns false if it has a receiver again, or no longer runs.
    pub(super) fn forget(&mut self, scope: &WatchScope, watched: &ResourceWatch<T>) -> bool {
        let mut inner = watched.lock();
        let is_over = inner.run.is_some() && !inner.store.sweep();
        if is_over {
            inner.run = None;
            inner.update_gauges();
            self.watches.remove(scope);
            self.running.remove(scope);
        }
        is_over
    }

    /// Returns the watch that waits for room and is wanted most, if there is room.
    pub(super) fn next_waiting(&self) -> Option<Arc<ResourceWatch<T>>> {
        if self.running.len() >= MAX_WATCHES {
            return None;
        }
        let waiting = self.watches.values().filter_map(|watched| {
            let inner = watched.lock();
            let waits = inner.run.is_none() && inner.store.is_held();
            waits.then_some(((inner.wants.recent(), inner.wants.last), watched))
        });
        waiting.max_by_key(|(wants, _)| *wants).map(|(_, watched)| Arc::clone(watched))
    }

    /// Logs that there is no room, at most once a minute.
    fn log(&mut self, what: &str, becomes: &str) {
        let now = Instant::now();
        let (last, count) = self.logged.map_or((None, 1), |(at, count)| (Some(at), count + 1));
        if last.is_some_and(|at| now.duration_since(at) < REMIND) {
            self.logged = last.map(|at| (at, count));
            return;
        }
        tracing::warn!(
            "{what}: {becomes}: {MAX_WATCHES} namespaces are watched already ({count} so since this was last said). \
             `watch: cluster` has no such limit"
        );
        self.logged = Some((now, 0));
    }
}

impl<T: WatchedObject> ResourceWatch<T> {
    /// Ends the task that runs it, if one does, and tells its receivers the reason.
    fn displace(&self) {
        let reason = format!(
            "{}: more than {MAX_WATCHES} namespaces are wanted, and others are wanted more or have objects: \
             use `watch: cluster`",
            self.description()
        );
        let mut inner = self.lock();
        inner.run = None;
        inner.store.mark_lost(&reason.into(), true);
        inner.progress.displaced();
        inner.update_gauges();
    }
}
