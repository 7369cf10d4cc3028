//! The progress of a watch, for people: its JSON and its log lines.

use super::failure::{ApiFailure, FailureKind};
use super::object_store::{ObjectStore, UnreadableObject};
use super::watched_object::WatchedObject;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// How many unreadable objects are shown; more are only counted.
const SHOWN: usize = 10;

/// The time between two log lines about a failure that goes on.
const REMIND: Duration = Duration::from_secs(60);

/// The progress of a watch.
#[derive(Debug)]
pub(super) struct WatchProgress {
    pub(super) phase: Phase,
    /// The time of the last complete list.
    pub(super) listed: Option<Instant>,
    /// The time of the last message from the server.
    pub(super) heard: Option<Instant>,
    /// The time since when the server cannot be reached.
    pub(super) lost: Option<Instant>,
    pub(super) lists: u64,
    pub(super) events: u64,
    /// How many failures there were since the last list.
    pub(super) failures: u64,
    /// The last failure.
    trouble: Option<String>,
    /// The time when a failure was last logged.
    logged: Option<Instant>,
}

/// The phases of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Listing,
    Watching,
    Waiting,
    /// It has given way to others.
    Displaced,
}

impl WatchProgress {
    pub(super) const fn new() -> Self {
        Self {
            phase: Phase::Connecting,
            listed: None,
            heard: None,
            lost: None,
            lists: 0,
            events: 0,
            failures: 0,
            trouble: None,
            logged: None,
        }
    }

    /// Records a complete list; `before` tells whether a snapshot from before the process began was served until now.
    pub(super) fn listed(&mut self, what: &str, before: bool) {
        if self.logged.take().is_some() || before {
            tracing::info!("{what}: listed again, all objects are up to date");
        }
        let now = Instant::now();
        self.phase = Phase::Watching;
        (self.listed, self.heard, self.lost) = (Some(now), Some(now), None);
        self.lists += 1;
        self.failures = 0;
        self.trouble = None;
    }

    /// Records that the watch has given way to others.
    pub(super) fn displaced(&mut self) {
        self.phase = Phase::Displaced;
        self.lost.get_or_insert_with(Instant::now);
    }

    /// Records a message from the server.
    pub(super) fn heard(&mut self) {
        self.heard = Some(Instant::now());
    }

    /// Records a failure. Logs it once, and each minute while it goes on.
    pub(super) fn failed(&mut self, what: &str, failure: &ApiFailure, keeps_objects: bool) {
        let now = Instant::now();
        self.phase = Phase::Waiting;
        self.lost.get_or_insert(now);
        self.failures += 1;
        let new = self.trouble.as_ref() != Some(&failure.text);
        if failure.kind == FailureKind::Expired {
            tracing::debug!("{what}: {}", failure.text);
        } else if new || self.logged.is_none_or(|logged| now.duration_since(logged) >= REMIND) {
            let meanwhile = if keeps_objects { "; the last known objects stay in use" } else { "" };
            tracing::warn!("{what}: {}{meanwhile}", failure.text);
            self.logged = Some(now);
        }
        self.trouble = Some(failure.text.clone());
    }

    /// Returns the progress as JSON, with the number of objects, those that cannot be read, and the time of the
    /// snapshot if one is served.
    pub(super) fn json<T: WatchedObject>(&self, store: &ObjectStore<T>) -> Value {
        let now = Instant::now();
        let ago = |then: Option<Instant>| then.map(|then| now.duration_since(then).as_secs_f64());
        let mut json = json!({
            "state": match self.phase {
                Phase::Connecting => "connecting",
                Phase::Listing => "listing",
                Phase::Watching => "watching",
                Phase::Waiting => "waiting",
                Phase::Displaced => "displaced",
            },
            "objects": store.len(),
            "lists": self.lists,
            "events": self.events,
            "listedSecondsAgo": ago(self.listed),
            "heardSecondsAgo": ago(self.heard),
            "staleSeconds": store.snapshot_time().map(seconds_since).or_else(|| ago(self.lost)),
        });
        if let Some(time) = store.snapshot_time() {
            json["snapshot"] = format!("{time:.0}").into();
        }
        if let Some(trouble) = &self.trouble {
            json["failures"] = self.failures.into();
            json["trouble"] = trouble.as_str().into();
        }
        let unreadable = store.unreadable_count();
        if unreadable > 0 {
            let shown = |object: UnreadableObject| json!({ "name": object.name, "reason": &*object.reason });
            json["unreadable"] = store.unreadable().take(unreadable.min(SHOWN)).map(shown).collect();
            json["unreadableCount"] = unreadable.into();
        }
        json
    }
}

/// Returns the seconds since a time, by the clock of the system; 0 for a time to come.
pub fn seconds_since(time: Timestamp) -> f64 {
    Timestamp::now().duration_since(time).as_secs_f64().max(0.0)
}
