//! The publisher of the answer for one name, which a task of its own keeps up to date from DNS or from Kubernetes.

use crate::interpret::{AnswerState, AnswerWriter, Bound, Endpoint, EndpointSet, Leaf, Target};
use crate::name::{NameTree, Path};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// The state of a name, for its answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NameState {
    /// Nothing is known yet: the answer stays as it is.
    Pending,
    /// The name has endpoints.
    Endpoints {
        /// The endpoints; never empty.
        set: EndpointSet,
        /// Whether this is only the last good answer.
        stale: bool,
    },
    /// There is no such name or, when `stale`, there was none when its source could last be asked.
    Neg { stale: bool },
    /// The state is not known, for this reason. Endpoints that were published before stay, as the last good answer.
    Failed(Arc<str>),
}

/// The writer of an answer, with the endpoints behind its leaf.
#[derive(Debug)]
pub(super) struct AnswerPublisher {
    id: Path,
    residual: Path,
    writer: AnswerWriter,
    endpoints: watch::Sender<EndpointSet>,
    published: PublishedState,
}

/// The state that was last published. The same state is not published again, because that would wake every holder of
/// the answer.
#[derive(Debug, PartialEq, Eq)]
enum PublishedState {
    Nothing,
    Leaf { stale: bool },
    Neg { stale: bool },
    Failed(Arc<str>),
}

impl AnswerPublisher {
    /// Makes the publisher of a bound name, of which nothing is published yet.
    pub(super) fn new(id: Path, residual: Path, writer: AnswerWriter) -> Self {
        Self { id, residual, writer, endpoints: watch::Sender::default(), published: PublishedState::Nothing }
    }

    /// Publishes a state, as far as it differs from the last one.
    pub(super) fn publish(&mut self, state: NameState) {
        let new = match state {
            NameState::Pending => return,
            NameState::Endpoints { set, stale } => {
                // First the endpoints, so that no worker finds a leaf without any.
                self.set_endpoints(set);
                PublishedState::Leaf { stale }
            }
            NameState::Failed(_) if matches!(self.published, PublishedState::Leaf { .. }) => {
                PublishedState::Leaf { stale: true }
            }
            NameState::Failed(reason) => PublishedState::Failed(reason),
            NameState::Neg { stale } => PublishedState::Neg { stale },
        };
        if self.published == new {
            return;
        }
        match &new {
            PublishedState::Nothing => {}
            PublishedState::Leaf { stale } => {
                if !(*stale && self.published == PublishedState::Leaf { stale: false }) {
                    self.writer.publish(self.leaf());
                }
                if *stale {
                    self.writer.mark_stale();
                }
            }
            PublishedState::Neg { stale } => {
                if !(*stale && self.published == PublishedState::Neg { stale: false }) {
                    // The endpoints stay for requests that have drawn the leaf already, and for workers that have not
                    // seen this change yet.
                    self.writer.publish(AnswerState::Ready(NameTree::Neg));
                }
                if *stale {
                    self.writer.mark_stale();
                }
            }
            PublishedState::Failed(reason) => self.writer.publish(AnswerState::Failed(Arc::clone(reason))),
        }
        self.published = new;
    }

    /// Forgets what was published, because the name stands for something else now: it is pending, and nothing of before
    /// is kept as the last good answer.
    pub(super) fn forget(&mut self) {
        if self.published != PublishedState::Nothing {
            self.writer.publish(AnswerState::Pending);
            self.published = PublishedState::Nothing;
        }
    }

    /// Returns the published state as a text for people, and the number of endpoints.
    pub(super) fn describe(&self) -> (String, usize) {
        match &self.published {
            PublishedState::Nothing => ("pending".to_owned(), 0),
            PublishedState::Leaf { .. } => {
                ("bound".to_owned(), Endpoint::preferred(&self.endpoints.borrow()).count())
            }
            PublishedState::Neg { .. } => ("neg".to_owned(), 0),
            PublishedState::Failed(reason) => (format!("failed: {reason}"), 0),
        }
    }

    /// Waits until a request looks at the answer, but not before a time, as [`AnswerWriter::demanded_after`] does.
    pub(super) async fn demanded_after(&self, quiet_until: Instant) {
        self.writer.demanded_after(quiet_until).await;
    }

    /// Returns whether the state is known, and up to date.
    pub(super) const fn is_settled(&self) -> bool {
        matches!(self.published, PublishedState::Leaf { stale: false } | PublishedState::Neg { stale: false })
    }

    /// Returns whether the published state is only the last good one.
    pub(super) const fn is_stale(&self) -> bool {
        matches!(self.published, PublishedState::Leaf { stale: true } | PublishedState::Neg { stale: true })
    }

    /// Waits until neither the answer nor the endpoints are in use. A client may use the endpoints longer than the
    /// answer, and they stay live.
    pub(super) async fn released(&self) {
        self.writer.closed().await;
        // The leaf that was published last is no longer in use, but holds the endpoints as well.
        self.writer.publish(AnswerState::Pending);
        self.endpoints.closed().await;
    }

    /// Returns the leaf with the live endpoints.
    fn leaf(&self) -> AnswerState {
        let target = Target::Endpoints(self.endpoints.subscribe());
        let bound = Bound { id: self.id.clone(), residual: self.residual.clone(), target };
        AnswerState::Ready(NameTree::Leaf(Leaf::Bound(bound)))
    }

    /// Replaces the endpoints, if they differ.
    fn set_endpoints(&self, new: EndpointSet) {
        self.endpoints.send_if_modified(|endpoints| {
            let changed = *endpoints != new;
            // Equal sets are not replaced: after a new list, that would move every set and leave holes in the heap.
            if changed {
                *endpoints = new;
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{AnswerPublisher, NameState};
    use crate::interpret::{Answer, AnswerState, Bound, Endpoint, EndpointSet, Leaf, Target};
    use crate::name::{NameTree, Path};
    use std::time::Duration;
    use tokio::time::timeout;

    fn endpoints(stale: bool) -> NameState {
        NameState::Endpoints {
            set: EndpointSet::new(vec![Endpoint::at("10.0.0.1:1".parse().unwrap())]),
            stale,
        }
    }

    fn bound(answer: &mut Answer) -> Bound {
        match answer.look().state {
            AnswerState::Ready(NameTree::Leaf(Leaf::Bound(bound))) => bound,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_released_when_neither_the_answer_nor_the_endpoints_are_in_use() {
        const LONG: Duration = Duration::from_secs(3600);
        let (writer, mut answer) = Answer::pending();
        let mut publisher = AnswerPublisher::new(Path::empty(), Path::empty(), writer);
        publisher.publish(endpoints(false));
        let Target::Endpoints(receiver) = bound(&mut answer).target else { panic!("endpoints") };
        drop(answer);
        assert!(timeout(LONG, publisher.released()).await.is_err());
        publisher.publish(NameState::Neg { stale: false });
        assert!(!receiver.borrow().is_empty(), "a worker that has not seen it yet still has endpoints");
        let set = EndpointSet::new(vec![Endpoint::at("10.0.0.2:1".parse().unwrap())]);
        publisher.publish(NameState::Endpoints { set: set.clone(), stale: false });
        assert_eq!(*receiver.borrow(), set, "they stay live");
        drop(receiver);
        assert!(timeout(LONG, publisher.released()).await.is_ok());
    }

    #[test]
    fn a_name_that_stands_for_something_else_keeps_nothing() {
        let (writer, mut answer) = Answer::pending();
        let mut publisher = AnswerPublisher::new(Path::empty(), Path::empty(), writer);
        publisher.publish(endpoints(false));
        publisher.publish(NameState::Failed("why".into()));
        assert!(matches!(answer.look().state, AnswerState::Ready(_)), "the last good answer");
        publisher.forget();
        assert_eq!(answer.look().state, AnswerState::Pending);
        publisher.publish(NameState::Failed("why".into()));
        assert_eq!(answer.look().state, AnswerState::Failed("why".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_stale_stays_what_it_was() {
        let (writer, mut answer) = Answer::pending();
        let mut publisher = AnswerPublisher::new(Path::empty(), Path::empty(), writer);
        for (fresh, stale) in [
            (endpoints(false), endpoints(true)),
            (NameState::Neg { stale: false }, NameState::Neg { stale: true }),
        ] {
            publisher.publish(fresh);
            let before = answer.look();
            tokio::time::advance(Duration::from_secs(1)).await;
            publisher.publish(stale);
            let after = answer.look();
            assert_eq!((after.state, after.since), (before.state, before.since));
            assert!(before.stale_since.is_none() && after.stale_since.is_some() && publisher.is_stale());
        }
        publisher.publish(NameState::Neg { stale: false });
        assert!(answer.look().stale_since.is_none());
        publisher.publish(NameState::Failed("why".into()));
        assert_eq!(answer.look().state, AnswerState::Failed("why".into()));
        assert_eq!(publisher.describe(), ("failed: why".into(), 0));
    }
}
