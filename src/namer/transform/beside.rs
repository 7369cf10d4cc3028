//! The endpoints of another name, for a transformer that needs them beside those it changes.

use crate::interpret::{Answer, Bound, EndpointSet, Leaf, Namer, State, Target};
use crate::name::{NameTree, Path};
use crate::namer::published::Verdict;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

/// Another name of a namer. It is asked for when it is first needed, and held from then on, for all who join.
pub(super) struct Beside {
    namer: Arc<dyn Namer>,
    path: Path,
    answer: OnceLock<Answer>,
}

/// The endpoints of that name, for one of those who need them.
pub(super) struct Joined {
    answer: Answer,
    endpoints: Option<watch::Receiver<EndpointSet>>,
}

impl Beside {
    /// Takes the path behind the namer's prefix.
    pub(super) fn new(namer: Arc<dyn Namer>, path: Path) -> Self {
        Self { namer, path, answer: OnceLock::new() }
    }

    pub(super) fn join(&self) -> Joined {
        let answer = self.answer.get_or_init(|| self.namer.lookup(&self.path)).clone();
        Joined { answer, endpoints: None }
    }
}

impl Joined {
    /// What is known now, and whether it is only what was known last; or what is to be said without knowing it.
    pub(super) fn look(&mut self) -> Result<(EndpointSet, bool), Verdict> {
        let current = self.answer.look();
        self.endpoints = match current.state {
            State::Pending => return Err(Verdict::Pending),
            State::Failed(reason) => return Err(Verdict::Failed(reason)),
            State::Ready(NameTree::Leaf(Leaf::Bound(Bound {
                target: Target::Endpoints(endpoints), ..
            }))) => Some(endpoints),
            State::Ready(_) => None,
        };
        let set = self.endpoints.as_mut().map(|endpoints| endpoints.borrow_and_update().clone());
        Ok((set.unwrap_or_default(), current.stale_since.is_some()))
    }

    /// Waits until there is something else to be seen.
    pub(super) async fn changed(&mut self) {
        let endpoints = async {
            match &mut self.endpoints {
                Some(endpoints) => changes(endpoints).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.answer.changed() => {}
            () = endpoints => {}
        }
    }
}

/// Waits until endpoints change: for ever when nobody will change them.
pub(super) async fn changes(endpoints: &mut watch::Receiver<EndpointSet>) {
    if endpoints.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
