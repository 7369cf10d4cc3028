//! Answers of DNS that somebody holds, each kept fresh by a task of its own.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep;

/// How long an answer is kept at least: as often as Finagle asked.
pub(in crate::namer) const MIN_PAUSE: Duration = Duration::from_secs(5);

/// How long records are kept at most, whatever their time to live.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(300);

/// How long it is believed at most that there are none: what appears should be found soon.
pub(super) const MAX_MISSING: Duration = Duration::from_secs(30);

/// The pause after a first failure at most; it doubles up to [`MAX_BACK_OFF`].
pub(super) const BACK_OFF: Duration = Duration::from_secs(1);

/// The longest pause after failures.
pub(super) const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::namer) struct Question {
    /// In lower case.
    pub(in crate::namer) name: Arc<str>,
    /// How long an answer is kept at least.
    pub(in crate::namer) min_pause: Duration,
    /// Whether the first records are kept for as long as anybody holds them.
    pub(in crate::namer) once: bool,
}

/// What the servers say once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::namer) enum Reply<T> {
    /// Records, and their time to live.
    Records(Vec<T>, Duration),
    /// That there are none, and for how long this holds.
    Missing(Duration),
    /// Nothing that can be relied on, for this reason.
    Failed(String),
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::namer) enum Known<T> {
    /// The first reply is still to come.
    Pending,
    /// Records, in order and each once; never none.
    Found {
        /// The records of the last good reply.
        records: Arc<[T]>,
        /// Why it could not be renewed, if it could not.
        stale: Option<Arc<str>>,
    },
    /// There is no such name, or it has no such records.
    Missing,
    /// This cannot be said, for this reason, and there is no good reply to keep.
    Failed(Arc<str>),
}

type Asking<T> = Pin<Box<dyn Future<Output = Reply<T>> + Send>>;

/// The answers that are held. Cheap to clone.
pub(super) struct Table<T>(Arc<Shared<T>>);

struct Shared<T> {
    ask: Box<dyn Fn(Arc<str>) -> Asking<T> + Send + Sync>,
    control: Handle,
    held: Mutex<HashMap<Question, watch::Sender<Known<T>>>>,
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone + Ord + Send + Sync + 'static> Table<T> {
    /// Makes an empty table that asks through `ask`, on `control`.
    pub(super) fn new(control: &Handle, ask: impl Fn(Arc<str>) -> Asking<T> + Send + Sync + 'static) -> Self {
        let held = Mutex::default();
        Self(Arc::new(Shared { ask: Box::new(ask), control: control.clone(), held }))
    }

    /// Starts or joins the entry of a question. It stays while anybody has a receiver.
    pub(super) fn follow(&self, question: Question) -> watch::Receiver<Known<T>> {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = held.get(&question) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Known::Pending);
        held.insert(question.clone(), sender.clone());
        self.0.control.spawn(keep(Arc::clone(&self.0), question, sender));
        receiver
    }
}

impl<T> Shared<T> {
    /// Removes an entry; returns false when somebody has joined it meanwhile.
    fn forget(&self, question: &Question, sender: &watch::Sender<Known<T>>) -> bool {
        // New receivers are made under the same lock.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let unheld = sender.receiver_count() == 0;
        if unheld {
            held.remove(question);
        }
        unheld
    }
}

/// Asks, waits, and asks again, until nobody holds the entry.
async fn keep<T: Clone + Ord>(shared: Arc<Shared<T>>, question: Question, sender: watch::Sender<Known<T>>) {
    let mut failures = 0;
    loop {
        let step = async {
            let reply = (shared.ask)(Arc::clone(&question.name)).await;
            let pause = pause(&question, &reply, failures);
            failures = if matches!(reply, Reply::Failed(_)) { failures + 1 } else { 0 };
            learn(&question.name, &sender, reply);
            match pause {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = step => {}
            () = sender.closed() => if shared.forget(&question, &sender) {
                return;
            },
        }
    }
}

/// How long a reply is good for; for ever if there is nothing to wait for.
fn pause<T>(question: &Question, reply: &Reply<T>, failures: u32) -> Option<Duration> {
    let least = question.min_pause;
    match reply {
        Reply::Records(records, _) if question.once && !records.is_empty() => None,
        Reply::Records(_, life) => Some((*life).clamp(least, MAX_PAUSE.max(least))),
        Reply::Missing(life) => Some((*life).clamp(least, MAX_MISSING.max(least))),
        Reply::Failed(_) => {
            let longest = BACK_OFF.saturating_mul(1 << failures.min(16)).min(MAX_BACK_OFF);
            // Between half and all of it, so that names that failed together do not ask together.
            Some(longest.mul_f64(0.5 + fastrand::f64() / 2.0))
        }
    }
}

fn learn<T: Clone + Ord>(name: &str, sender: &watch::Sender<Known<T>>, reply: Reply<T>) {
    sender.send_if_modified(|known| {
        let new = match reply {
            Reply::Records(mut records, _) if !records.is_empty() => {
                // Servers rotate their answers: in order, equal sets are equal.
                records.sort_unstable();
                records.dedup();
                Known::Found { records: records.into(), stale: None }
            }
            Reply::Records(..) | Reply::Missing(_) => Known::Missing,
            Reply::Failed(reason) => failed(known, format!("looking up {name}: {reason}").into()),
        };
        let changed = *known != new;
        *known = new;
        changed
    });
}

/// Keeps records through a failure. Missing is not kept: it would send requests elsewhere in silence.
fn failed<T: Clone>(known: &Known<T>, reason: Arc<str>) -> Known<T> {
    match known {
        // The first reason stays: whoever looks on is not woken by each further one.
        Known::Found { stale: Some(_), .. } => known.clone(),
        Known::Found { records, stale: None } => {
            tracing::warn!(%reason, "keeping the last records");
            Known::Found { records: Arc::clone(records), stale: Some(reason) }
        }
        Known::Pending | Known::Missing | Known::Failed(_) => Known::Failed(reason),
    }
}

#[cfg(test)]
mod tests;
