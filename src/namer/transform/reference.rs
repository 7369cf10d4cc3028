//! The endpoints of another name, which a transformer needs to change those of its own names.

use crate::interpret::{Answer, AnswerState, Bound, EndpointSet, Leaf, Namer, Target};
use crate::name::{NameTree, Path};
use crate::namer::publisher::NameState;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

/// A name of another namer. It is looked up when it is first needed, and held from then on for all tasks.
pub(super) struct ReferenceName {
    namer: Arc<dyn Namer>,
    path: Path,
    answer: OnceLock<Answer>,
}

/// The endpoints of a reference name, for one task.
pub(super) struct ReferenceEndpoints {
    answer: Answer,
    endpoints: Option<watch::Receiver<EndpointSet>>,
}

impl ReferenceName {
    /// Makes the reference from a namer and the path after its prefix.
    pub(super) fn new(namer: Arc<dyn Namer>, path: Path) -> Self {
        Self { namer, path, answer: OnceLock::new() }
    }

    /// Returns the endpoints, for one more task.
    pub(super) fn join(&self) -> ReferenceEndpoints {
        let answer = self.answer.get_or_init(|| self.namer.lookup(&self.path)).clone();
        ReferenceEndpoints { answer, endpoints: None }
    }
}

impl ReferenceEndpoints {
    /// Returns the present endpoints, and whether they are only the last good ones; or the state to publish without
    /// them.
    pub(super) fn look(&mut self) -> Result<(EndpointSet, bool), NameState> {
        let current = self.answer.look();
        self.endpoints = match current.state {
            AnswerState::Pending => return Err(NameState::Pending),
            AnswerState::Failed(reason) | AnswerState::Refused(reason) => {
                return Err(NameState::Failed(reason));
            }
            AnswerState::Ready(NameTree::Leaf(Leaf::Bound(Bound {
                target: Target::Endpoints(endpoints),
                ..
            }))) => Some(endpoints),
            AnswerState::Ready(_) => None,
        };
        let set = self.endpoints.as_mut().map(|endpoints| endpoints.borrow_and_update().clone());
        Ok((set.unwrap_or_default(), current.stale_since.is_some()))
    }

    /// Waits until the endpoints change.
    pub(super) async fn changed(&mut self) {
        let endpoints = async {
            match &mut self.endpoints {
                Some(endpoints) => endpoints_changed(endpoints).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.answer.changed() => {}
            () = endpoints => {}
        }
    }
}

/// Waits until endpoints change: for ever when no sender is left to change them.
pub(super) async fn endpoints_changed(endpoints: &mut watch::Receiver<EndpointSet>) {
    if endpoints.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
