//! A namer's live answer for one path, and the writer that changes it.

use super::Leaf;
use crate::name::NameTree;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

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
}

/// The source that handed an answer out. All clones of the answer share one, and its reference count tells whether
/// there are any.
#[derive(Debug)]
enum AnswerOrigin {
    /// The namer. A sender beside the receivers keeps the channel open when the namer drops its writer: a closed
    /// channel would report a last change that was not seen yet as no change.
    Namer(#[expect(dead_code, reason = "held, never read")] watch::Sender<AnswerSnapshot>),
    /// A holder of the answer that counts the clones it hands out.
    Holder(#[expect(dead_code, reason = "held, never read")] Arc<Self>),
}

/// The writing end of an [`Answer`], which the namer keeps.
///
/// Dropping it changes nothing: the answer keeps its last state.
#[derive(Debug)]
pub struct AnswerWriter(watch::Sender<AnswerSnapshot>);

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
        (AnswerWriter(sender), Self { receiver, origin })
    }

    /// Returns whether the answer changed since this clone last looked. Costs one atomic load.
    pub fn has_changed(&self) -> bool {
        // The origin keeps the channel open, so an error cannot occur.
        self.receiver.has_changed().unwrap_or(false)
    }

    /// Returns the present state and marks it as seen by this clone. Takes a read lock for the time of a copy.
    pub fn look(&mut self) -> AnswerSnapshot {
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

    /// Returns the same answer with a count of its own: [`Answer::is_shared`] tells whether clones of the returned
    /// answer are left. For the answer it was made from, it counts as one clone.
    pub(super) fn with_own_count(&self) -> Self {
        Self { receiver: self.receiver.clone(), origin: Arc::new(AnswerOrigin::Holder(self.origin.clone())) }
    }

    /// Returns whether there are clones of this answer, including those made by
    /// [`with_own_count`](Answer::with_own_count).
    pub(super) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.origin) > 1
    }
}

impl AnswerWriter {
    /// Replaces the state. The answer then counts as fresh.
    pub fn publish(&self, state: AnswerState) {
        self.0.send_replace(AnswerSnapshot { state, since: Instant::now(), stale_since: None });
    }

    /// Marks the state as the last good one: its source cannot be asked since now, or since an earlier call that no
    /// [`publish`](Self::publish) followed.
    pub fn mark_stale(&self) {
        self.0.send_if_modified(|current| {
            let fresh = current.stale_since.is_none();
            current.stale_since.get_or_insert_with(Instant::now);
            fresh
        });
    }

    /// Waits until no clone of the answer is left: the namer can end its watch.
    pub async fn closed(&self) {
        self.0.closed().await;
    }

    /// Returns whether no clone of the answer is left.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
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
        let wait = tokio::time::timeout(std::time::Duration::from_secs(3600), answer.changed());
        assert!(wait.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn staleness_begins_once_and_ends_with_news() {
        let (writer, mut answer) = Answer::pending();
        writer.publish(AnswerState::Ready(NameTree::Neg));
        let since = answer.look().since;
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        writer.mark_stale();
        let stale_since = answer.look().stale_since;
        assert_eq!(stale_since, Some(since + std::time::Duration::from_secs(1)));
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
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
        let counted = answer.with_own_count();
        drop((answer, clone));
        assert!(!writer.is_closed());
        drop(counted);
        assert!(writer.is_closed());
    }

    #[test]
    fn a_counted_answer_is_shared_while_a_clone_of_it_lives() {
        let (_writer, answer) = Answer::pending();
        assert!(!answer.is_shared());
        let first = answer.with_own_count();
        assert!(answer.is_shared());
        assert!(!first.is_shared());
        let second = first.with_own_count();
        assert!(first.is_shared());
        assert!(!second.is_shared());
        let clone = second.clone();
        assert!(second.is_shared());
        drop(second);
        assert!(first.is_shared());
        drop(clone);
        assert!(!first.is_shared());
    }
}
