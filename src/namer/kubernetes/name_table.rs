//! The names in use, for people.

use crate::kubernetes::seconds_since;
use crate::name::Path;
use crate::namer::publisher::AnswerPublisher;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The names in use, with the state of each. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct NameTable(Arc<Mutex<NameTableInner>>);

/// The content of a table.
#[derive(Debug, Default)]
struct NameTableInner {
    next: u64,
    names: BTreeMap<u64, NameReport>,
}

/// The state of one name, for people.
#[derive(Debug)]
struct NameReport {
    path: Path,
    state: String,
    endpoints: usize,
    since: Instant,
    stale_since: Option<Instant>,
    /// The time of the snapshot that the state rests on, if the process has not seen the cluster since.
    before: Option<Timestamp>,
}

/// An entry of a table, which is removed when this is dropped.
#[derive(Debug)]
pub(super) struct NameEntry {
    names: NameTable,
    at: u64,
}

impl NameTable {
    /// Adds a name without a state yet.
    pub(super) fn join(&self, path: Path) -> NameEntry {
        let mut table = self.lock();
        let at = table.next;
        table.next += 1;
        let state = "pending".to_owned();
        let (since, stale_since, before) = (Instant::now(), None, None);
        table.names.insert(at, NameReport { path, state, endpoints: 0, since, stale_since, before });
        NameEntry { names: self.clone(), at }
    }

    /// Returns the state of each name as JSON: the number of its endpoints, its age, and the time for which it has been
    /// only the last good one.
    pub(super) fn json(&self) -> Value {
        let now = Instant::now();
        let table = self.lock();
        let name = |report: &NameReport| {
            let ago = |then: Instant| now.duration_since(then).as_secs_f64();
            let state = json!({
                "state": report.state,
                "endpoints": report.endpoints,
                "sinceSeconds": ago(report.since),
                "staleSeconds": report.before.map(seconds_since).or_else(|| report.stale_since.map(ago)),
            });
            (report.path.to_string(), state)
        };
        Value::Object(table.names.values().map(name).collect())
    }

    /// Locks the content.
    fn lock(&self) -> MutexGuard<'_, NameTableInner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NameEntry {
    /// Updates the state. It rests on a snapshot of the time `before`, if the process has not seen the cluster since.
    pub(super) fn update(&self, publisher: &AnswerPublisher, before: Option<Timestamp>) {
        let (state, endpoints) = publisher.describe();
        let mut table = self.names.lock();
        let Some(report) = table.names.get_mut(&self.at) else { return };
        let now = Instant::now();
        if (&report.state, report.endpoints) != (&state, endpoints) {
            (report.state, report.endpoints, report.since) = (state, endpoints, now);
        }
        report.before = before.filter(|_| publisher.is_stale());
        report.stale_since = publisher.is_stale().then(|| report.stale_since.unwrap_or(now));
    }
}

impl Drop for NameEntry {
    fn drop(&mut self) {
        self.names.lock().names.remove(&self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::NameTable;
    use crate::interpret::Answer;
    use crate::name::Path;
    use crate::namer::publisher::{AnswerPublisher, NameState};
    use jiff::{SignedDuration, Timestamp};

    #[test]
    fn a_name_is_as_old_as_what_it_rests_on() {
        let (writer, _answer) = Answer::pending();
        let mut publisher = AnswerPublisher::new(Path::empty(), Path::empty(), writer);
        let names = NameTable::default();
        let name = names.join("/a".parse().unwrap());
        let age = || names.json()["/a"]["staleSeconds"].as_f64();
        let hour_ago = Timestamp::now() - SignedDuration::from_hours(1);
        publisher.publish(NameState::Neg { stale: true });
        name.update(&publisher, Some(hour_ago));
        assert!(age().is_some_and(|age| (3600.0..3700.0).contains(&age)), "{:?}", age());
        name.update(&publisher, None);
        assert!(age().is_some_and(|age| age < 100.0), "it was known in this process: {:?}", age());
        publisher.publish(NameState::Neg { stale: false });
        name.update(&publisher, None);
        assert_eq!(age(), None);
    }
}
