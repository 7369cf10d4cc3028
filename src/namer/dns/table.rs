//! The DNS answers in use, each kept fresh by a task of its own.

use super::resolver::AskReason;
use futures_util::FutureExt as _;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// How long an answer is kept at least: as often as Finagle asked.
pub(in crate::namer) const MIN_PAUSE: Duration = Duration::from_secs(5);

/// How long records are kept at most, whatever their time to live.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(300);

/// How long a reply without records holds at most: new records should be found soon.
pub(super) const MAX_MISSING: Duration = Duration::from_secs(30);

/// The longest pause after a first failure; it doubles up to [`MAX_BACK_OFF`].
pub(super) const BACK_OFF: Duration = Duration::from_secs(1);

/// The longest pause after any number of failures.
pub(super) const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// The longest pause after which a name without records is asked for again although no request asks for it: names that
/// strangers made up must not cost others their turns. At least half of it passes.
pub(super) const MAX_UNASKED: Duration = Duration::from_secs(60);

/// A question to DNS about one name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::namer) struct DnsQuestion {
    /// The name, in lower case.
    pub(in crate::namer) name: Arc<str>,
    /// How long an answer is kept at least.
    pub(in crate::namer) min_pause: Duration,
    /// Whether the first records are kept for as long as they are in use.
    pub(in crate::namer) once: bool,
}

/// The reply of the servers to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::namer) enum DnsReply<T> {
    /// Records, and their time to live.
    Records(Vec<T>, Duration),
    /// There are no records; this holds for so long.
    Missing(Duration),
    /// The question could not be answered, for this reason.
    Failed(String),
}

/// The present state of a name in DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::namer) enum DnsState<T> {
    /// There was no reply yet.
    Pending,
    /// There are records: in order, each once, and never none.
    Found {
        /// The records of the last good reply.
        records: Arc<[T]>,
        /// The reason why they could not be renewed, if they could not.
        stale: Option<Arc<str>>,
    },
    /// There is no such name, or it has no such records.
    Missing,
    /// The state is not known, for this reason, and there is no good reply to keep.
    Failed(Arc<str>),
}

/// A function that asks for a name, for a reason.
type AskFn<T> = dyn Fn(Arc<str>, AskReason) -> DnsReplyFuture<T> + Send + Sync;

/// A future reply.
type DnsReplyFuture<T> = Pin<Box<dyn Future<Output = DnsReply<T>> + Send>>;

/// The answers in use, by their questions. Cheap to clone.
pub(super) struct DnsTable<T>(Arc<DnsTableInner<T>>);

/// The content of a table, which its clones and tasks share.
struct DnsTableInner<T> {
    ask: Box<AskFn<T>>,
    control: Handle,
    entries: Mutex<HashMap<DnsQuestion, DnsEntry<T>>>,
}

/// An entry of a table.
#[derive(Clone)]
struct DnsEntry<T> {
    sender: watch::Sender<DnsState<T>>,
    demand: DnsDemand,
}

/// The demand of requests for a name, which its namer passes on to the entry. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::namer) struct DnsDemand(Arc<DemandState>);

#[derive(Debug, Default)]
struct DemandState {
    /// Whether the name is wanted whatever requests ask for.
    is_configured: AtomicBool,
    began: Notify,
}

impl DnsDemand {
    /// Tells that requests ask for the name: while it has no records, it is asked for again sooner.
    pub(in crate::namer) fn pass_on(&self) {
        self.0.began.notify_one();
    }

    /// Has the name be wanted whatever requests ask for.
    fn set_configured(&self) {
        self.0.is_configured.store(true, Relaxed);
        self.pass_on();
    }

    fn is_configured(&self) -> bool {
        self.0.is_configured.load(Relaxed)
    }

    /// Waits until requests ask for the name, or returns at once when some did since this was last called.
    async fn began(&self) {
        self.0.began.notified().await;
    }

    /// Forgets the requests until now: a reply is there for them.
    fn clear(&self) {
        let _ = self.began().now_or_never();
    }

    /// Waits for the next question after a reply without records: for so long where it is wanted, and longer where it is
    /// not. Returns whether it is.
    async fn wait_for_question(&self, pause: Duration) -> bool {
        let soonest = Instant::now() + pause;
        if self.is_configured() {
            sleep_until(soonest).await;
            return true;
        }
        let wanted = async {
            self.began().await;
            sleep_until(soonest).await;
        };
        // Between half and all of it, so that names that were asked for together are not asked for together again.
        let unasked = MAX_UNASKED.mul_f64(0.5 + fastrand::f64() / 2.0).max(pause);
        tokio::select! {
            () = wanted => true,
            () = sleep(unasked) => false,
        }
    }
}

impl<T> Clone for DnsTable<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone + Ord + Send + Sync + 'static> DnsTable<T> {
    /// Makes an empty table that asks through `ask`, in tasks on `control`.
    pub(super) fn new(
        control: &Handle,
        ask: impl Fn(Arc<str>, AskReason) -> DnsReplyFuture<T> + Send + Sync + 'static,
    ) -> Self {
        let entries = Mutex::default();
        Self(Arc::new(DnsTableInner { ask: Box::new(ask), control: control.clone(), entries }))
    }

    /// Starts or joins the entry of a question about a name that the configuration or an object names. It stays while
    /// there is a receiver.
    pub(super) fn watch(&self, question: DnsQuestion) -> watch::Receiver<DnsState<T>> {
        let (receiver, demand) = self.watch_wanted(question);
        demand.set_configured();
        receiver
    }

    /// Does the same as [`DnsTable::watch`] for a name that a request names. Whether requests still ask for it is told
    /// through the [`DnsDemand`].
    pub(super) fn watch_wanted(&self, question: DnsQuestion) -> (watch::Receiver<DnsState<T>>, DnsDemand) {
        let mut entries = self.0.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(DnsEntry { sender, demand }) = entries.get(&question) {
            demand.pass_on();
            return (sender.subscribe(), demand.clone());
        }
        let (sender, receiver) = watch::channel(DnsState::Pending);
        let entry = DnsEntry { sender, demand: DnsDemand::default() };
        let demand = entry.demand.clone();
        entries.insert(question.clone(), entry.clone());
        self.0.control.spawn(refresh(Arc::clone(&self.0), question, entry));
        (receiver, demand)
    }
}

impl<T> DnsTableInner<T> {
    /// Removes an entry. Returns false when it has got a receiver meanwhile, and so stays.
    fn forget(&self, question: &DnsQuestion, sender: &watch::Sender<DnsState<T>>) -> bool {
        // New receivers are made under the same lock.
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = sender.receiver_count() == 0;
        if unused {
            entries.remove(question);
        }
        unused
    }

    /// Asks the question of an entry.
    async fn ask_for(&self, question: &DnsQuestion, entry: &DnsEntry<T>, is_wanted: bool) -> DnsReply<T> {
        let ask = |reason| (self.ask)(Arc::clone(&question.name), reason);
        if matches!(&*entry.sender.borrow(), DnsState::Found { .. }) {
            return ask(AskReason::Refresh).await;
        }
        if is_wanted {
            return ask(AskReason::First).await;
        }
        tokio::select! {
            reply = ask(AskReason::Unasked) => reply,
            // It may be in a long queue.
            () = entry.demand.began() => ask(AskReason::First).await,
        }
    }
}

/// Keeps an entry fresh: asks, waits, and asks again, until the entry has no receiver.
async fn refresh<T: Clone + Ord>(table: Arc<DnsTableInner<T>>, question: DnsQuestion, entry: DnsEntry<T>) {
    let DnsEntry { sender, demand } = &entry;
    let mut failures = 0;
    let mut is_wanted = true;
    loop {
        let step = async {
            let reply = table.ask_for(&question, &entry, is_wanted).await;
            let pause = pause(&question, &reply, failures);
            failures = if matches!(reply, DnsReply::Failed(_)) { failures + 1 } else { 0 };
            demand.clear();
            update(&question.name, sender, reply);
            let has_records = matches!(&*sender.borrow(), DnsState::Found { .. });
            match pause {
                Some(pause) if has_records => sleep(pause).await,
                Some(pause) => is_wanted = demand.wait_for_question(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = step => {}
            () = sender.closed() => if table.forget(&question, sender) {
                return;
            },
        }
    }
}

/// Returns the pause before the next question; none when the reply holds for ever.
fn pause<T>(question: &DnsQuestion, reply: &DnsReply<T>, failures: u32) -> Option<Duration> {
    let least = question.min_pause;
    match reply {
        DnsReply::Records(records, _) if question.once && !records.is_empty() => None,
        DnsReply::Records(_, life) => Some((*life).clamp(least, MAX_PAUSE.max(least))),
        DnsReply::Missing(life) => Some((*life).clamp(least, MAX_MISSING.max(least))),
        DnsReply::Failed(_) => {
            let longest = BACK_OFF.saturating_mul(1 << failures.min(16)).min(MAX_BACK_OFF);
            // Between half and all of it, so that names that failed together are not asked for together.
            Some(longest.mul_f64(0.5 + fastrand::f64() / 2.0))
        }
    }
}

/// Updates the state of a name by a reply.
fn update<T: Clone + Ord>(name: &str, sender: &watch::Sender<DnsState<T>>, reply: DnsReply<T>) {
    sender.send_if_modified(|known| {
        let new = match reply {
            DnsReply::Records(mut records, _) if !records.is_empty() => {
                // Servers rotate their answers: in order, equal sets compare as equal.
                records.sort_unstable();
                records.dedup();
                DnsState::Found { records: records.into(), stale: None }
            }
            DnsReply::Records(..) | DnsReply::Missing(_) => DnsState::Missing,
            DnsReply::Failed(reason) => after_failure(known, format!("looking up {name}: {reason}").into()),
        };
        let changed = *known != new;
        *known = new;
        changed
    });
}

/// Returns the state after a failure. Records are kept. Missing is not kept: it would send requests elsewhere in
/// silence.
fn after_failure<T: Clone>(known: &DnsState<T>, reason: Arc<str>) -> DnsState<T> {
    match known {
        // The first reason stays, so that receivers are not woken by each further one.
        DnsState::Found { stale: Some(_), .. } => known.clone(),
        DnsState::Found { records, stale: None } => {
            tracing::warn!(%reason, "keeping the last records");
            DnsState::Found { records: Arc::clone(records), stale: Some(reason) }
        }
        DnsState::Pending | DnsState::Missing | DnsState::Failed(_) => DnsState::Failed(reason),
    }
}

#[cfg(test)]
mod tests;
