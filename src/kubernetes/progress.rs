//! How a watch is doing, for people.

use super::failure::{ApiFailure, FailureKind};
use super::object_store::{ObjectStore, UnreadableObject};
use super::watched_object::WatchedObject;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Unreadable objects that are shown; more are only counted.
const SHOWN: usize = 10;

/// How often a failure that goes on is logged.
const REMIND: Duration = Duration::from_secs(60);

/// How a watch is doing.
#[derive(Debug)]
pub(super) struct WatchProgress {
    pub(super) phase: Phase,
    /// When a list was last complete.
    pub(super) listed: Option<Instant>,
    /// When anything was last heard.
    pub(super) heard: Option<Instant>,
    /// Since when the server cannot be asked.
    pub(super) lost: Option<Instant>,
    pub(super) lists: u64,
    pub(super) events: u64,
    /// Failures since the last list.
    pub(super) failures: u64,
    /// What went wrong last.
    trouble: Option<String>,
    /// When that was logged.
    logged: Option<Instant>,
}

/// What a watch is doing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Listing,
    Watching,
    Waiting,
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

    /// A list is complete; `before` says whether what was known before the process began was served until now.
    pub(super) fn listed(&mut self, what: &str, before: bool) {
        if self.logged.take().is_some() || before {
            tracing::info!("{what}: listed again, all is up to date");
        }
        let now = Instant::now();
        self.phase = Phase::Watching;
        (self.listed, self.heard, self.lost) = (Some(now), Some(now), None);
        self.lists += 1;
        self.failures = 0;
        self.trouble = None;
    }

    /// Something was heard in a watch.
    pub(super) fn heard(&mut self) {
        self.heard = Some(Instant::now());
    }

    /// Something failed. Says so once, and each minute while it goes on.
    pub(super) fn failed(&mut self, what: &str, failure: &ApiFailure, keeps: bool) {
        let now = Instant::now();
        self.phase = Phase::Waiting;
        self.lost.get_or_insert(now);
        self.failures += 1;
        let new = self.trouble.as_ref() != Some(&failure.text);
        if failure.kind == FailureKind::Expired {
            tracing::debug!("{what}: {}", failure.text);
        } else if new || self.logged.is_none_or(|logged| now.duration_since(logged) >= REMIND) {
            let meanwhile = if keeps { "; what was known last stays in use" } else { "" };
            tracing::warn!("{what}: {}{meanwhile}", failure.text);
            self.logged = Some(now);
        }
        self.trouble = Some(failure.text.clone());
    }

    /// The state, with how many objects there are, which cannot be read, and of when all is, if that was before the
    /// process began.
    pub(super) fn json<T: WatchedObject>(&self, store: &ObjectStore<T>) -> Value {
        let now = Instant::now();
        let ago = |then: Option<Instant>| then.map(|then| now.duration_since(then).as_secs_f64());
        let mut json = json!({
            "state": match self.phase {
                Phase::Connecting => "connecting",
                Phase::Listing => "listing",
                Phase::Watching => "watching",
                Phase::Waiting => "waiting",
            },
            "objects": store.len(),
            "lists": self.lists,
            "events": self.events,
            "listedSecondsAgo": ago(self.listed),
            "heardSecondsAgo": ago(self.heard),
            "staleSeconds": store.before().map(seconds_since).or_else(|| ago(self.lost)),
        });
        if let Some(time) = store.before() {
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

/// Returns how long ago a time is by the clock of the system, in seconds; 0 if it is still to come.
pub fn seconds_since(time: Timestamp) -> f64 {
    Timestamp::now().duration_since(time).as_secs_f64().max(0.0)
}
