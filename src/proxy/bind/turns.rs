//! The turns in which a worker parses overrides and evaluates names.

use crate::proxy::exchange::WaitQueue;
use crate::proxy::limits::PeerAddress;
use std::cell::Cell;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::Instant;

/// How long a turn is waited for at most, which is for ever: a name has a time limit of its own.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// The turns of a worker's requests at what takes a good part of a millisecond: parsing overrides and evaluating a name.
///
/// One request at a time has a turn, and everything else that is ready on the worker runs before the next one, requests
/// that came meanwhile as well. Each peer address has its turn, over all of its connections and streams.
#[derive(Debug, Default)]
pub(super) struct EvaluationTurns {
    is_taken: Cell<bool>,
    queue: WaitQueue,
}

/// The turn of one request. Its drop has the next request take one.
pub(super) struct EvaluationTurn<'a>(&'a EvaluationTurns);

impl EvaluationTurns {
    /// Waits until it is the turn of a request of this peer.
    pub(super) async fn take(&self, peer: PeerAddress) -> EvaluationTurn<'_> {
        if !(self.queue.is_empty() && self.try_take()) {
            let take = |_: &std::task::Context<'_>| self.try_take().then_some(());
            while self.queue.wait(peer, Instant::now() + LONG, LONG, take).await.is_none() {}
        }
        EvaluationTurn(self)
    }

    fn try_take(&self) -> bool {
        !self.is_taken.replace(true)
    }
}

impl EvaluationTurn<'_> {
    /// Ends the turn, after everything else that is ready.
    pub(super) async fn end(self) {
        yield_now().await;
    }
}

impl Drop for EvaluationTurn<'_> {
    fn drop(&mut self) {
        self.0.is_taken.set(false);
        self.0.queue.wake_next();
    }
}
