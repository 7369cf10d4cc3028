//! The evaluation of a name: again and again, until all the answers that count are there.

use super::turns::EvaluationTurn;
use super::{Bindings, RequestDtab};
use crate::interpret::{Answer, Delegation, Explore, NameQuery, any_changed};
use crate::name::{Path, PathBuf};
use crate::proxy::error::Error;
use crate::proxy::limits::{PeerAddress, PeerRequests};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

/// How many names of callers without trust a worker waits for at once, for each router: 1,000. A name that is cached, or
/// needs no other answers than those that the worker has, does not count.
const MAX_PENDING: usize = 1_000;

/// The evaluation of a name, with the answers that it used.
pub(super) struct NameEvaluation<'a> {
    pub(super) delegation: Delegation,
    pub(super) answers: Vec<Answer>,
    /// The turn in which it was made. Until it ends, no other name is evaluated on this worker.
    pub(super) turn: EvaluationTurn<'a>,
}

/// The caller for which a name is evaluated: its turn is that of its address, and a caller without trust has its share of what
/// callers without trust may use together.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NameCaller<'a> {
    /// The router itself.
    Own,
    Trusted(&'a PeerRequests),
    Stranger(&'a PeerRequests),
}

impl<'a> NameCaller<'a> {
    /// Makes the caller of a request.
    pub(crate) const fn new(peer: &'a PeerRequests, is_trusted: bool) -> Self {
        if is_trusted { Self::Trusted(peer) } else { Self::Stranger(peer) }
    }

    /// Returns the address by which it has its turn.
    pub(super) fn address(self) -> PeerAddress {
        match self {
            Self::Own => IpAddr::V4(Ipv4Addr::UNSPECIFIED).into(),
            Self::Trusted(peer) | Self::Stranger(peer) => peer.address(),
        }
    }
}

/// The count of the names of callers without trust that a worker waits for.
#[derive(Debug, Default)]
pub(super) struct PendingNames(Rc<Cell<usize>>);

/// One name that is waited for. Its drop ends the count.
struct PendingName(Rc<Cell<usize>>);

impl PendingNames {
    /// Counts a name, if its caller is without trust. The last places are for addresses with few requests under way.
    fn begin(&self, caller: NameCaller<'_>) -> Result<Option<PendingName>, Error> {
        let NameCaller::Stranger(peer) = caller else { return Ok(None) };
        let free = MAX_PENDING.saturating_sub(self.0.get());
        if free == 0 || peer.is_beyond_share(|| free) {
            return Err(Error::PendingNames { limit: MAX_PENDING });
        }
        self.0.set(self.0.get() + 1);
        Ok(Some(PendingName(Rc::clone(&self.0))))
    }
}

impl Drop for PendingName {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Bindings {
    /// Evaluates a name for a reader, and caches nothing.
    pub(crate) async fn explain(&self, name: &PathBuf, dtab: &RequestDtab) -> Result<Delegation, Error> {
        let caller = NameCaller::Own;
        let turn = self.turns.take(caller.address()).await;
        let evaluation = self.settle_in_time(dtab, &name.to_path(), (caller, turn)).await?;
        evaluation.turn.end().await;
        Ok(evaluation.delegation)
    }

    /// Evaluates a name within the binding timeout, in a turn of its caller that has begun.
    pub(super) async fn settle_in_time<'a>(
        &'a self,
        dtab: &RequestDtab,
        path: &Path,
        caller: (NameCaller<'_>, EvaluationTurn<'a>),
    ) -> Result<NameEvaluation<'a>, Error> {
        let timeout = self.timeout.get();
        tokio::time::timeout(timeout, self.settle(dtab, path, caller))
            .await
            .map_err(|_| Error::BindingTimeout { timeout, name: path.to_string() })?
    }

    /// Evaluates a name, again and again until no answer is missing and none that counts is pending, under the present
    /// naming each time, and each time in a turn of its caller.
    async fn settle<'a>(
        &'a self,
        dtab: &RequestDtab,
        path: &Path,
        (caller, mut turn): (NameCaller<'_>, EvaluationTurn<'a>),
    ) -> Result<NameEvaluation<'a>, Error> {
        let mut pending = None;
        let first = self.state.borrow().answers.next_evaluation();
        loop {
            let (delegation, mut used, missing, mut naming): (_, Vec<Answer>, _, _) = {
                let state = &mut *self.state.borrow_mut();
                state.apply_naming();
                let (base, answers) = (dtab.base(&state.base), &mut state.answers);
                let max_added_lookups = self.max_override_lookups.get();
                let query = NameQuery { base: &base, overrides: dtab.own(), path, max_added_lookups };
                answers.begin_since(first);
                let delegation = query.delegate(answers, Explore::Deciding);
                (delegation, answers.take_used_answers(), answers.missing(), state.naming.clone())
            };
            if missing.is_empty() && !delegation.is_unsettled() {
                return Ok(NameEvaluation { delegation, answers: used, turn });
            }
            turn.end().await;
            if pending.is_none() {
                pending = self.pending.begin(caller)?;
            }
            if missing.is_empty() {
                // The namer that does not answer may be replaced meanwhile: the change must end the wait too.
                tokio::select! {
                    () = any_changed(&mut used) => {}
                    Ok(()) = naming.changed() => {}
                }
                turn = self.turns.take(caller.address()).await;
            } else {
                let answers = self.namer_handle.ask(missing.clone()).await;
                let answers = answers.ok_or_else(|| Error::Naming("the router is stopping".to_owned()))?;
                // They are kept for the next evaluation, which is this name's: until that ends, no result rests on them.
                turn = self.turns.take(caller.address()).await;
                let state = &mut *self.state.borrow_mut();
                state.make_room(missing.len());
                let answered = missing.into_iter().zip(&answers);
                answered.for_each(|(question, answer)| state.answers.insert(question, answer));
            }
        }
    }
}
