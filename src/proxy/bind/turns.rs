//! The turns in which a worker parses overrides and evaluates names.

use crate::proxy::exchange::WaitQueue;
use crate::proxy::limits::PeerAddress;
use std::cell::Cell;
use std::task::Context;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::Instant;

/// How long turns may follow each other before everything else that is ready on the worker runs.
const SLICE: Duration = Duration::from_micros(250);

/// How long a turn is waited for at once. Every turn ends, and so each request has one long before.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// The turns of a worker's requests at what can take a good part of a millisecond: parsing overrides and evaluating a name.
///
/// One request at a time has a turn, and when turns have taken 250 us, everything else that is ready on the worker runs
/// before the next one, requests that came meanwhile as well. Each peer address has its turn, over all of its connections
/// and streams.
#[derive(Debug)]
pub(super) struct EvaluationTurns {
    /// The beginning of the turn that a request has.
    taken: Cell<Option<Instant>>,
    /// How long turns have taken since all others ran.
    spent: Cell<Duration>,
    slice: Duration,
    queue: WaitQueue,
}

/// The turn of one request. Its drop has the next request take one.
pub(crate) struct EvaluationTurn<'a>(&'a EvaluationTurns);

impl Default for EvaluationTurns {
    fn default() -> Self {
        Self::with_slice(SLICE)
    }
}

impl EvaluationTurns {
    /// Makes turns after so long of which all others run.
    pub(super) fn with_slice(slice: Duration) -> Self {
        Self { taken: Cell::default(), spent: Cell::default(), slice, queue: WaitQueue::default() }
    }

    /// Waits until it is the turn of a request of this peer.
    pub(super) async fn take(&self, peer: PeerAddress) -> EvaluationTurn<'_> {
        if !(self.queue.is_empty() && self.try_take()) {
            let take = |_: &Context<'_>| self.try_take().then_some(());
            while self.queue.wait(peer, Instant::now() + LONG, LONG, take).await.is_none() {}
        }
        EvaluationTurn(self)
    }

    fn try_take(&self) -> bool {
        let is_free = self.taken.get().is_none();
        if is_free {
            self.taken.set(Some(Instant::now()));
        }
        is_free
    }
}

impl EvaluationTurn<'_> {
    /// Ends the turn; if turns have taken long enough, after everything else that is ready.
    pub(super) async fn end(self) {
        let Self(turns) = &self;
        turns
            .spent
            .set(turns.spent.get() + turns.taken.get().map_or(Duration::ZERO, |began| began.elapsed()));
        if turns.spent.get() >= turns.slice {
            yield_now().await;
            turns.spent.set(Duration::ZERO);
        }
    }
}

impl Drop for EvaluationTurn<'_> {
    fn drop(&mut self) {
        self.0.taken.set(None);
        self.0.queue.wake_next();
    }
}
