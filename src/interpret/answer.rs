//! A namer's live answer for one path, and the writer that changes it.

use super::Leaf;
use crate::name::{NameTree, Path};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// How often at most the source of a name is told that requests ask for it, while its state is not known or old.
pub const DEMAND_PACE: Duration = Duration::from_secs(1);

/// The content of an [`Answer`] at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerState {
    /// Nothing is known yet.
    Pending,
    /// The tree that the path stands for. After `Neg`, the next namer whose prefix matches is asked.
    Ready(NameTree<Leaf>),
    /// The namer cannot answer; the text tells people why.
    Failed(Arc<str>),
    /// There is no room for the answer: a bound on how many are held was reached, which the text names. The delegation
    /// that needs it fails as a whole.
    Refused(Arc<str>),
}

/// An [`AnswerState`] with its age.
#[derive(Clone, Debug)]
pub struct AnswerSnapshot {
    /// The state.
    pub state: AnswerState,
    /// The time since which the answer has this state.
    pub since: Instant,
    /// The time since which the source cannot be asked; the state is then the last good one. None while it can.
    pub stale_since: Option<Instant>,
}

/// A namer's live answer for one path.
///
/// Cheap to clone. Every clone sees every change and remembers for itself which state it saw last. A new clone has seen
/// the same states as the answer it was cloned from.
#[derive(Clone, Debug)]
pub struct Answer {
    receiver: watch::Receiver<AnswerSnapshot>,
    origin: Arc<AnswerOrigin>,
    demand: Arc<AnswerDemand>,
}

/// The demand for an answer: whether a request looked at it since its namer last asked.
#[derive(Debug, Default)]
struct AnswerDemand {
    exists: AtomicBool,
    began: Notify,
}

impl AnswerDemand {
    /// Notes that a request looks at the answer. Costs one atomic load while the namer does not ask.
    fn note(&self) {
        if !self.exists.load(Relaxed) && !self.exists.swap(true, Relaxed) {
            self.began.notify_one();
        }
    }
}

/// The source that handed an answer out. All clones of the answer share one.
#[derive(Debug)]
enum AnswerOrigin {
    /// The namer. A sender beside the receivers keeps the channel open when the namer drops its writer: a closed
    /// channel would report a last change that was not seen yet as no change.
    Namer(#[expect(dead_code, reason = "held, never read")] watch::Sender<AnswerSnapshot>),
    /// A table of answers, which is told when the last clone is dropped.
    Table {
        key: AnswerKey,
        returned: mpsc::UnboundedSender<AnswerKey>,
        #[expect(dead_code, reason = "held, never read")]
        origin: Arc<Self>,
    },
}

impl Drop for AnswerOrigin {
    fn drop(&mut self) {
        if let Self::Table { key, returned, .. } = self {
            // Without a receiver, the table is gone.
            let _ = returned.send((key.0, std::mem::take(&mut key.1)));
        }
    }
}

/// The key of an answer in a table: the namer's number, and the path after the namer's prefix.
pub(super) type AnswerKey = (usize, Path);

/// An answer in a table that gives out clones of it, and knows whether any of them is in use.
///
/// When the last of them is dropped, on whatever thread, the table receives the key. So it finds the answers that are
/// not in use without looking at the others.
#[derive(Debug)]
pub(super) struct LeasedAnswer {
    /// The answer, as the table sees it.
    pub(super) answer: Answer,
    /// The origin of the clones in use.
    lease: Weak<AnswerOrigin>,
}

impl LeasedAnswer {
    /// Makes an answer of which no clone is in use.
    pub(super) fn new(answer: Answer) -> Self {
        Self { answer, lease: Weak::new() }
    }

    /// Returns a clone for use. When it and all of its clones are dropped, `key` is sent to `returned`.
    pub(super) fn lease(&mut self, key: &AnswerKey, returned: &mpsc::UnboundedSender<AnswerKey>) -> Answer {
        let origin = self.lease.upgrade().unwrap_or_else(|| {
            let (key, returned, origin) = (key.clone(), returned.clone(), Arc::clone(&self.answer.origin));
            Arc::new(AnswerOrigin::Table { key, returned, origin })
        });
        self.lease = Arc::downgrade(&origin);
        let Answer { receiver, demand, .. } = &self.answer;
        Answer { receiver: receiver.clone(), origin, demand: Arc::clone(demand) }
    }

    /// Returns whether a clone is in use.
    pub(super) fn is_in_use(&self) -> bool {
        self.lease.strong_count() > 0
    }
}

/// The writing end of an [`Answer`], which the namer keeps.
///
/// Dropping it changes nothing: the answer keeps its last state.
#[derive(Debug)]
pub struct AnswerWriter {
    sender: watch::Sender<AnswerSnapshot>,
    demand: Arc<AnswerDemand>,
}

impl Answer {
    /// Returns an answer that is [`AnswerState::Pending`], and the writer that changes it.
    pub fn pending() -> (AnswerWriter, Self) {
        Self::of(AnswerState::Pending)
    }

    /// Returns an answer that never changes.
    pub fn fixed(state: AnswerState) -> Self {
        Self::of(state).1
    }

    /// Returns an answer with this state, and the writer that changes it.
    fn of(state: AnswerState) -> (AnswerWriter, Self) {
        let current = AnswerSnapshot { state, since: Instant::now(), stale_since: None };
        let (sender, receiver) = watch::channel(current);
        let origin = Arc::new(AnswerOrigin::Namer(sender.clone()));
        let demand = Arc::<AnswerDemand>::default();
        (AnswerWriter { sender, demand: Arc::clone(&demand) }, Self { receiver, origin, demand })
    }

    /// Returns whether the answer changed since this clone last looked. Costs two atomic loads.
    ///
    /// The namer sees it as [demand](AnswerWriter::demanded) for the answer.
    pub fn has_changed(&self) -> bool {
        self.note_demand();
        self.is_outdated()
    }

    /// Tells the namer that a request asks for the answer.
    pub fn note_demand(&self) {
        self.demand.note();
    }

    /// Returns whether the answer changed since this clone last looked, for one who follows it: that is no demand.
    pub(super) fn is_outdated(&self) -> bool {
        // The origin keeps the channel open, so an error cannot occur.
        self.receiver.has_changed().unwrap_or(false)
    }

    /// Returns the present state and marks it as seen by this clone. Takes a read lock for the time of a copy.
    ///
    /// The namer sees it as [demand](AnswerWriter::demanded) for the answer.
    pub fn look(&mut self) -> AnswerSnapshot {
        self.note_demand();
        self.follow()
    }

    /// Returns the present state and marks it as seen by this clone, for one who follows the answer: that is no demand.
    pub fn follow(&mut self) -> AnswerSnapshot {
        self.receiver.borrow_and_update().clone()
    }

    /// Returns the present state, and leaves open whether this clone has seen it.
    pub(super) fn peek(&self) -> AnswerSnapshot {
        self.receiver.borrow().clone()
    }

    /// Waits until the answer changes. Returns at once when it changed since this clone last looked, and never when no
    /// writer is left to change it.
    ///
    /// The change then counts as seen. Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns whether the present state leads nowhere: `Neg`, a failure or a refusal.
    pub(super) fn is_negative(&self) -> bool {
        match &self.receiver.borrow().state {
            AnswerState::Ready(tree) => matches!(tree, NameTree::Neg),
            AnswerState::Failed(_) | AnswerState::Refused(_) => true,
            AnswerState::Pending => false,
        }
    }
}

impl AnswerWriter {
    /// Replaces the state. The answer then counts as fresh.
    pub fn publish(&self, state: AnswerState) {
        self.sender.send_replace(AnswerSnapshot { state, since: Instant::now(), stale_since: None });
    }

    /// Marks the state as the last good one: its source cannot be asked since now, or since an earlier call that no
    /// [`publish`](Self::publish) followed.
    pub fn mark_stale(&self) {
        self.sender.send_if_modified(|current| {
            let fresh = current.stale_since.is_none();
            current.stale_since.get_or_insert_with(Instant::now);
            fresh
        });
    }

    /// Waits until no clone of the answer is left: the namer can end its watch.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Returns whether no clone of the answer is left.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until a request looks at the answer, or returns at once when one did since this was last called. Dropping
    /// the future loses nothing.
    pub async fn demanded(&self) {
        while !self.demand.exists.swap(false, Relaxed) {
            self.demand.began.notified().await;
        }
    }

    /// Does the same, but not before a time: a name that is asked for all the time must not wake its task each time.
    pub async fn demanded_after(&self, quiet_until: Instant) {
        sleep_until(quiet_until).await;
        self.demanded().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_remembers_what_the_original_saw() {
        let (writer, mut answer) = Answer::pending();
        assert!(!answer.has_changed());
        writer.publish(AnswerState::Ready(NameTree::Neg));
        let unseen = answer.clone();
        assert_eq!(answer.look().state, AnswerState::Ready(NameTree::Neg));
        assert!(!answer.has_changed());
        assert!(!answer.clone().has_changed());
        assert!(unseen.has_changed());
    }

    #[tokio::test]
    async fn a_last_change_is_seen_after_the_writer_is_gone() {
        let (writer, mut answer) = Answer::pending();
        writer.publish(AnswerState::Ready(NameTree::Empty));
        drop(writer);
        assert!(answer.has_changed());
        answer.changed().await;
        assert_eq!(answer.look().state, AnswerState::Ready(NameTree::Empty));
        assert!(!answer.has_changed());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_waited_for_when_the_writer_is_gone() {
        let mut answer = Answer::fixed(AnswerState::Pending);
        let wait = tokio::time::timeout(Duration::from_secs(3600), answer.changed());
        assert!(wait.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn staleness_begins_once_and_ends_with_news() {
        let (writer, mut answer) = Answer::pending();
        writer.publish(AnswerState::Ready(NameTree::Neg));
        let since = answer.look().since;
        tokio::time::advance(Duration::from_secs(1)).await;
        writer.mark_stale();
        let stale_since = answer.look().stale_since;
        assert_eq!(stale_since, Some(since + Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(1)).await;
        writer.mark_stale();
        assert!(!answer.has_changed());
        assert_eq!(answer.look().stale_since, stale_since);
        assert_eq!(answer.look().since, since);
        writer.publish(AnswerState::Ready(NameTree::Neg));
        assert_eq!(answer.look().stale_since, None);
    }

    #[test]
    fn the_writer_is_closed_when_the_last_clone_is_gone() {
        let (writer, answer) = Answer::pending();
        let clone = answer.clone();
        let (returned, _table) = mpsc::unbounded_channel();
        let lease = LeasedAnswer::new(answer).lease(&(0, Path::empty()), &returned);
        drop(clone);
        assert!(!writer.is_closed());
        drop(lease);
        assert!(writer.is_closed());
    }

    #[test]
    fn a_table_is_told_when_the_last_clone_that_it_gave_out_is_dropped() {
        let key = (3, Path::from_elems(["web"]));
        let (returned, mut table) = mpsc::unbounded_channel();
        let mut answer = LeasedAnswer::new(Answer::pending().1);
        assert!(!answer.is_in_use());
        let first = answer.lease(&key, &returned);
        let second = answer.lease(&key, &returned);
        let clone = second.clone();
        drop((first, second));
        assert!(answer.is_in_use() && table.try_recv().is_err());
        drop(clone);
        assert!(!answer.is_in_use());
        assert_eq!(table.try_recv().unwrap(), key);
        let again = answer.lease(&key, &returned);
        assert!(answer.is_in_use() && table.try_recv().is_err());
        drop((answer, table));
        drop(again);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_look_at_an_answer_are_its_demand() {
        let (writer, mut answer) = Answer::pending();
        let demanded = async || tokio::time::timeout(Duration::from_secs(1), writer.demanded()).await.is_ok();
        assert!(!demanded().await, "nobody has looked");
        answer.has_changed();
        answer.has_changed();
        assert!(demanded().await);
        assert!(!demanded().await, "nobody has looked since");
        let (returned, _table) = mpsc::unbounded_channel();
        LeasedAnswer::new(answer.clone()).lease(&(0, Path::empty()), &returned).look();
        assert!(demanded().await, "clones count");
        let _ = answer.peek();
        assert!(!demanded().await, "what explains does not");
        let _ = answer.follow();
        assert!(!demanded().await, "what follows it does not");
        let looking = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            answer.look();
        };
        let (seen, ()) = tokio::join!(demanded(), looking);
        assert!(seen, "it is waited for");
    }
}
