//! The names that somebody holds, for people.

use crate::name::Path;
use crate::namer::published::Published;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The names that somebody holds, with what is said of each. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldNames(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    names: BTreeMap<u64, Shown>,
}

#[derive(Debug)]
struct Shown {
    path: Path,
    said: String,
    endpoints: usize,
    since: Instant,
    stale_since: Option<Instant>,
}

/// One of them; its drop takes it out.
#[derive(Debug)]
pub(super) struct HeldName {
    names: HeldNames,
    at: u64,
}

impl HeldNames {
    /// Adds a name of which nothing is said yet.
    pub(super) fn join(&self, path: Path) -> HeldName {
        let mut table = self.lock();
        let at = table.next;
        table.next += 1;
        let said = "pending".to_owned();
        table.names.insert(at, Shown { path, said, endpoints: 0, since: Instant::now(), stale_since: None });
        HeldName { names: self.clone(), at }
    }

    /// What is said of each, how many endpoints it has, since when, and since when it is only the last good answer.
    pub(super) fn json(&self) -> Value {
        let now = Instant::now();
        let table = self.lock();
        let name = |shown: &Shown| {
            let ago = |then: Instant| now.duration_since(then).as_secs_f64();
            let state = json!({
                "state": shown.said,
                "endpoints": shown.endpoints,
                "sinceSeconds": ago(shown.since),
                "staleSeconds": shown.stale_since.map(ago),
            });
            (shown.path.to_string(), state)
        };
        Value::Object(table.names.values().map(name).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldName {
    /// Takes over what is said now.
    pub(super) fn show(&self, published: &Published) {
        let (said, endpoints) = published.shown();
        let mut table = self.names.lock();
        let Some(shown) = table.names.get_mut(&self.at) else { return };
        let now = Instant::now();
        if (&shown.said, shown.endpoints) != (&said, endpoints) {
            (shown.said, shown.endpoints, shown.since) = (said, endpoints, now);
        }
        shown.stale_since = published.is_stale().then(|| shown.stale_since.unwrap_or(now));
    }
}

impl Drop for HeldName {
    fn drop(&mut self) {
        self.names.lock().names.remove(&self.at);
    }
}
