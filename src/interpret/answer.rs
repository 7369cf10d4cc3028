//! A namer's live answer for one path, and the end that changes it.

use super::Leaf;
use crate::name::NameTree;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// What a namer says of one path at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is known yet.
    Pending,
    /// The tree the path stands for; `Neg` lets the next namer whose prefix matches answer.
    Ready(NameTree<Leaf>),
    /// The namer cannot say; the text is for people.
    Failed(Arc<str>),
}

/// A state with its age.
#[derive(Clone, Debug)]
pub struct Current {
    /// What the namer says.
    pub state: State,
    /// When it became this.
    pub since: Instant,
    /// Since when the source could not be asked, when it cannot be asked now: the state is then the last good one.
    pub stale_since: Option<Instant>,
}

/// A namer's live answer for one path.
///
/// Cheap to clone. Every clone sees every change, and remembers for itself which state it saw last: a new clone has
/// seen what the one it was made from has seen.
#[derive(Clone, Debug)]
pub struct Answer {
    receiver: watch::Receiver<Current>,
    lease: Arc<Lease>,
}

/// What all clones of an answer have in common: who handed it out.
#[derive(Debug)]
enum Lease {
    /// The namer did. A sender beside the receivers keeps the channel open when the namer lets go of its writer;
    /// a closed one would report a last change that nobody saw yet as no change.
    Namer(#[expect(dead_code, reason = "held, never read")] watch::Sender<Current>),
    /// Somebody who holds the answer and wants to know whether anybody else does.
    Holder(#[expect(dead_code, reason = "held, never read")] Arc<Self>),
}

/// The namer's end of an [`Answer`].
///
/// Dropping it changes nothing: the answer stays what it was last.
#[derive(Debug)]
pub struct Writer(watch::Sender<Current>);

impl Answer {
    /// Returns an answer that is [`State::Pending`], and the end that changes it.
    pub fn pending() -> (Writer, Self) {
        Self::of(State::Pending)
    }

    /// Returns an answer that never changes.
    pub fn fixed(state: State) -> Self {
        Self::of(state).1
    }

    fn of(state: State) -> (Writer, Self) {
        let current = Current { state, since: Instant::now(), stale_since: None };
        let (sender, receiver) = watch::channel(current);
        let lease = Arc::new(Lease::Namer(sender.clone()));
        (Writer(sender), Self { receiver, lease })
    }

    /// Returns whether it changed since this clone last looked. Costs one atomic load.
    pub fn has_changed(&self) -> bool {
        // The lease keeps the channel open, so there is no error to tell from "no".
        self.receiver.has_changed().unwrap_or(false)
    }

    /// Returns the current state and marks it as seen by this clone. Takes a read lock for the time of a copy.
    pub fn look(&mut self) -> Current {
        self.receiver.borrow_and_update().clone()
    }

    /// Waits until it changes: at once when it did since this clone last looked, for ever when nobody will change it.
    ///
    /// The change counts as seen then. Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns the same answer with a count of its own, so that whoever hands out clones of what is returned can tell
    /// by [`Answer::is_shared`] whether any is left. For the answer it was made from it counts as one clone.
    pub(super) fn counted(&self) -> Self {
        Self { receiver: self.receiver.clone(), lease: Arc::new(Lease::Holder(self.lease.clone())) }
    }

    /// Returns whether there are clones of this answer, those of a [`counted`](Answer::counted) one included.
    pub(super) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.lease) > 1
    }
}

impl Writer {
    /// Replaces the state. The answer counts as fresh then.
    pub fn publish(&self, state: State) {
        self.0.send_replace(Current { state, since: Instant::now(), stale_since: None });
    }

    /// Marks the state as the last good one: since now, or since this was first said, its source cannot be asked.
    pub fn stale(&self) {
        self.0.send_if_modified(|current| {
            let fresh = current.stale_since.is_none();
            current.stale_since.get_or_insert_with(Instant::now);
            fresh
        });
    }

    /// Waits until nobody holds the answer any more: its watch can end.
    pub async fn closed(&self) {
        self.0.closed().await;
    }

    /// Returns whether nobody holds the answer any more.
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
        writer.publish(State::Ready(NameTree::Neg));
        let unseen = answer.clone();
        assert_eq!(answer.look().state, State::Ready(NameTree::Neg));
        assert!(!answer.has_changed());
        assert!(!answer.clone().has_changed());
        assert!(unseen.has_changed());
    }

    #[tokio::test]
    async fn a_last_change_is_seen_after_the_writer_is_gone() {
        let (writer, mut answer) = Answer::pending();
        writer.publish(State::Ready(NameTree::Empty));
        drop(writer);
        assert!(answer.has_changed());
        answer.changed().await;
        assert_eq!(answer.look().state, State::Ready(NameTree::Empty));
        assert!(!answer.has_changed());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_waited_for_when_the_writer_is_gone() {
        let mut answer = Answer::fixed(State::Pending);
        let wait = tokio::time::timeout(std::time::Duration::from_secs(3600), answer.changed());
        assert!(wait.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn staleness_begins_once_and_ends_with_news() {
        let (writer, mut answer) = Answer::pending();
        writer.publish(State::Ready(NameTree::Neg));
        let since = answer.look().since;
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        writer.stale();
        let stale_since = answer.look().stale_since;
        assert_eq!(stale_since, Some(since + std::time::Duration::from_secs(1)));
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        writer.stale();
        assert!(!answer.has_changed());
        assert_eq!(answer.look().stale_since, stale_since);
        assert_eq!(answer.look().since, since);
        writer.publish(State::Ready(NameTree::Neg));
        assert_eq!(answer.look().stale_since, None);
    }

    #[test]
    fn the_writer_is_closed_when_the_last_clone_is_gone() {
        let (writer, answer) = Answer::pending();
        let clone = answer.clone();
        let counted = answer.counted();
        drop((answer, clone));
        assert!(!writer.is_closed());
        drop(counted);
        assert!(writer.is_closed());
    }

    #[test]
    fn a_counted_answer_is_shared_while_a_clone_of_it_lives() {
        let (_writer, answer) = Answer::pending();
        assert!(!answer.is_shared());
        let kept = answer.counted();
        assert!(answer.is_shared());
        assert!(!kept.is_shared());
        let held = kept.counted();
        assert!(kept.is_shared());
        assert!(!held.is_shared());
        let looked = held.clone();
        assert!(held.is_shared());
        drop(held);
        assert!(kept.is_shared());
        drop(looked);
        assert!(!kept.is_shared());
    }
}
