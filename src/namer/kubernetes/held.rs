//! The names that somebody holds, for people.

use crate::kubernetes::seconds_since;
use crate::name::Path;
use crate::namer::published::Published;
use jiff::Timestamp;
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
    /// Of when it is, if that was before the process began.
    before: Option<Timestamp>,
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
        let (since, stale_since, before) = (Instant::now(), None, None);
        table.names.insert(at, Shown { path, said, endpoints: 0, since, stale_since, before });
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
                "staleSeconds": shown.before.map(seconds_since).or_else(|| shown.stale_since.map(ago)),
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
    pub(super) fn show(&self, published: &Published, before: Option<Timestamp>) {
        let (said, endpoints) = published.shown();
        let mut table = self.names.lock();
        let Some(shown) = table.names.get_mut(&self.at) else { return };
        let now = Instant::now();
        if (&shown.said, shown.endpoints) != (&said, endpoints) {
            (shown.said, shown.endpoints, shown.since) = (said, endpoints, now);
        }
        shown.before = before.filter(|_| published.is_stale());
        shown.stale_since = published.is_stale().then(|| shown.stale_since.unwrap_or(now));
    }
}

impl Drop for HeldName {
    fn drop(&mut self) {
        self.names.lock().names.remove(&self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::HeldNames;
    use crate::interpret::Answer;
    use crate::name::Path;
    use crate::namer::published::{Published, Verdict};
    use jiff::{SignedDuration, Timestamp};

    #[test]
    fn a_name_is_as_old_as_what_it_rests_on() {
        let (writer, _answer) = Answer::pending();
        let mut published = Published::new(Path::empty(), Path::empty(), writer);
        let names = HeldNames::default();
        let name = names.join("/a".parse().unwrap());
        let age = || names.json()["/a"]["staleSeconds"].as_f64();
        let hour_ago = Timestamp::now() - SignedDuration::from_hours(1);
        published.say(Verdict::Neg { stale: true });
        name.show(&published, Some(hour_ago));
        assert!(age().is_some_and(|age| (3600.0..3700.0).contains(&age)), "{:?}", age());
        name.show(&published, None);
        assert!(age().is_some_and(|age| age < 100.0), "it was known in this process: {:?}", age());
        published.say(Verdict::Neg { stale: false });
        name.show(&published, None);
        assert_eq!(age(), None);
    }
}
