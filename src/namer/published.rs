//! The answer for one name that a task of its own follows: from DNS, or from Kubernetes.

use crate::interpret::{Bound, Endpoint, EndpointSet, Leaf, State, Target, Writer};
use crate::name::{NameTree, Path};
use std::sync::Arc;
use tokio::sync::watch;

/// What is to be said of a name now.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing new.
    Pending,
    /// Where it is, and whether this is only the last good answer.
    Endpoints {
        /// Not empty.
        set: EndpointSet,
        stale: bool,
    },
    /// It is not there, or was not when this could last be said.
    Neg { stale: bool },
    /// It cannot be said; endpoints said before stay, as the last good answer.
    Failed(Arc<str>),
}

/// An answer with the endpoints behind its leaf.
#[derive(Debug)]
pub(super) struct Published {
    id: Path,
    residual: Path,
    writer: Writer,
    endpoints: watch::Sender<EndpointSet>,
    said: Said,
}

/// What was last published: the same is not published again, because that would wake everybody.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Leaf { stale: bool },
    Neg { stale: bool },
    Failed(Arc<str>),
}

impl Published {
    pub(super) fn new(id: Path, residual: Path, writer: Writer) -> Self {
        Self { id, residual, writer, endpoints: watch::Sender::default(), said: Said::Nothing }
    }

    /// Publishes what has changed.
    pub(super) fn say(&mut self, verdict: Verdict) {
        let new = match verdict {
            Verdict::Pending => return,
            Verdict::Endpoints { set, stale } => {
                // First the endpoints, so that nobody finds a leaf without any.
                self.give(set);
                Said::Leaf { stale }
            }
            Verdict::Failed(_) if matches!(self.said, Said::Leaf { .. }) => Said::Leaf { stale: true },
            Verdict::Failed(reason) => Said::Failed(reason),
            Verdict::Neg { stale } => Said::Neg { stale },
        };
        if self.said == new {
            return;
        }
        match &new {
            Said::Nothing => {}
            Said::Leaf { stale } => {
                if !(*stale && self.said == Said::Leaf { stale: false }) {
                    self.writer.publish(self.leaf());
                }
                if *stale {
                    self.writer.stale();
                }
            }
            Said::Neg { stale } => {
                if !(*stale && self.said == Said::Neg { stale: false }) {
                    // The endpoints stay: whoever drew the leaf just now, or has not heard of this yet, is on the way.
                    self.writer.publish(State::Ready(NameTree::Neg));
                }
                if *stale {
                    self.writer.stale();
                }
            }
            Said::Failed(reason) => self.writer.publish(State::Failed(Arc::clone(reason))),
        }
        self.said = new;
    }

    /// Returns what is said now, for people, and how many endpoints there are.
    pub(super) fn shown(&self) -> (String, usize) {
        match &self.said {
            Said::Nothing => ("pending".to_owned(), 0),
            Said::Leaf { .. } => ("bound".to_owned(), Endpoint::preferred(&self.endpoints.borrow()).count()),
            Said::Neg { .. } => ("neg".to_owned(), 0),
            Said::Failed(reason) => (format!("failed: {reason}"), 0),
        }
    }

    /// Returns whether what is said is only the last good answer.
    pub(super) const fn is_stale(&self) -> bool {
        matches!(self.said, Said::Leaf { stale: true } | Said::Neg { stale: true })
    }

    /// Waits until nobody holds the answer. A client may hold the endpoints longer, and they stay live.
    pub(super) async fn released(&self) {
        self.writer.closed().await;
        // The leaf that was said last, which nobody sees any more, holds the endpoints as well.
        self.writer.publish(State::Pending);
        self.endpoints.closed().await;
    }

    fn leaf(&self) -> State {
        let target = Target::Endpoints(self.endpoints.subscribe());
        let bound = Bound { id: self.id.clone(), residual: self.residual.clone(), target };
        State::Ready(NameTree::Leaf(Leaf::Bound(bound)))
    }

    fn give(&self, new: EndpointSet) {
        self.endpoints.send_if_modified(|endpoints| {
            let changed = *endpoints != new;
            // Moved, all that is as it was would leave holes in the heap when everything is listed anew.
            if changed {
                *endpoints = new;
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Published, Verdict};
    use crate::interpret::{Answer, Bound, Endpoint, EndpointSet, Leaf, State, Target};
    use crate::name::{NameTree, Path};
    use std::time::Duration;
    use tokio::time::timeout;

    fn endpoints(stale: bool) -> Verdict {
        Verdict::Endpoints { set: EndpointSet::new(vec![Endpoint::at("10.0.0.1:1".parse().unwrap())]), stale }
    }

    fn bound(answer: &mut Answer) -> Bound {
        match answer.look().state {
            State::Ready(NameTree::Leaf(Leaf::Bound(bound))) => bound,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_released_when_nobody_holds_the_answer_nor_the_endpoints() {
        const LONG: Duration = Duration::from_secs(3600);
        let (writer, mut answer) = Answer::pending();
        let mut published = Published::new(Path::empty(), Path::empty(), writer);
        published.say(endpoints(false));
        let Target::Endpoints(held) = bound(&mut answer).target else { panic!("endpoints") };
        drop(answer);
        assert!(timeout(LONG, published.released()).await.is_err());
        published.say(Verdict::Neg { stale: false });
        assert!(!held.borrow().is_empty(), "who does not know it yet has somewhere to go");
        let set = EndpointSet::new(vec![Endpoint::at("10.0.0.2:1".parse().unwrap())]);
        published.say(Verdict::Endpoints { set: set.clone(), stale: false });
        assert_eq!(*held.borrow(), set, "they stay live");
        drop(held);
        assert!(timeout(LONG, published.released()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_stale_stays_what_it_was() {
        let (writer, mut answer) = Answer::pending();
        let mut published = Published::new(Path::empty(), Path::empty(), writer);
        for (fresh, stale) in [
            (endpoints(false), endpoints(true)),
            (Verdict::Neg { stale: false }, Verdict::Neg { stale: true }),
        ] {
            published.say(fresh);
            let before = answer.look();
            tokio::time::advance(Duration::from_secs(1)).await;
            published.say(stale);
            let after = answer.look();
            assert_eq!((after.state, after.since), (before.state, before.since));
            assert!(before.stale_since.is_none() && after.stale_since.is_some() && published.is_stale());
        }
        published.say(Verdict::Neg { stale: false });
        assert!(answer.look().stale_since.is_none());
        published.say(Verdict::Failed("why".into()));
        assert_eq!(answer.look().state, State::Failed("why".into()));
        assert_eq!(published.shown(), ("failed: why".into(), 0));
    }
}
