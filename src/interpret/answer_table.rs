//! The answers that one worker holds, and the loop that evaluates, asks and waits.

use super::answer::{AnswerKey, LeasedAnswer};
use super::{
    Answer, AnswerState, Answers, Delegation, DelegationOutcome, Explore, NameQuery, NamerHandle, Namers,
    Question,
};
use crate::name::{Dtab, NameTree, Path};
use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::task::Poll;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How many answers an [`AnswerTable`] holds: 10,000. An evaluation that needs one more sees it as
/// [`AnswerState::Refused`], unless results are dropped before that rest on others.
pub const MAX_TABLE_ANSWERS: usize = 10_000;

/// The namers' answers that one worker holds, over which it evaluates [`delegate()`](super::delegate()).
///
/// Belongs to one thread and takes no lock. One evaluation goes like this:
///
/// 1. [`begin`](AnswerTable::begin), then [`delegate()`](super::delegate()) or [`NameQuery::delegate`]. Further evaluations
///    for the same request begin by [`begin_since`](AnswerTable::begin_since);
/// 2. [`take_used_answers`](AnswerTable::take_used_answers) gives the answers that the evaluation rests on. They are
///    kept together with the result: when one of them [`has_changed`](Answer::has_changed), the result is out of date;
/// 3. [`missing`](AnswerTable::missing) lists the questions without an answer. They are asked of control together, and each
///    answer is handed in by [`insert`](AnswerTable::insert); then the name is evaluated again. That is worth doing also when
///    the outcome is not pending: a union is bound as soon as one of its branches is.
///
/// The table holds an answer as long as a result rests on it: a result that is dropped takes the answers with it that no
/// other result has. [`has_room`](AnswerTable::has_room) tells whether results should be dropped first. A result that
/// failed for want of room does not change by itself: it has to be evaluated again.
/// [`replace_namers`](AnswerTable::replace_namers) takes over the namers of a new configuration.
#[derive(Debug)]
pub struct AnswerTable {
    handle: NamerHandle,
    namers: Namers,
    answers: HashMap<AnswerKey, AnswerTableEntry>,
    /// The channel by which answers come back when no result rests on them any longer.
    returned: (mpsc::UnboundedSender<AnswerKey>, mpsc::UnboundedReceiver<AnswerKey>),
    /// The number of evaluations so far.
    evaluation: u64,
    /// The first evaluation for the request of this one: what was used since then is wanted by it already.
    first: u64,
    /// The answers that this evaluation used, each once.
    used: Vec<Answer>,
    /// The questions of this evaluation that have no answer here.
    missing: BTreeSet<AnswerKey>,
    /// The answers that came since the last evaluation. No result rests on them yet.
    inserted: Vec<Answer>,
    /// The questions whose answers found no room since the last evaluation.
    refused: BTreeSet<AnswerKey>,
}

/// One answer of an [`AnswerTable`], as its last evaluation saw it.
#[derive(Debug)]
struct AnswerTableEntry {
    leased: LeasedAnswer,
    /// The state that was last looked at.
    state: AnswerState,
    /// The last evaluation that used it.
    evaluation: u64,
}

impl AnswerTable {
    /// Makes an empty table over these namers, which are asked through `handle`.
    pub fn new(handle: NamerHandle, namers: Namers) -> Self {
        Self {
            handle,
            namers,
            answers: HashMap::new(),
            returned: mpsc::unbounded_channel(),
            evaluation: 0,
            first: 0,
            used: Vec::new(),
            missing: BTreeSet::new(),
            inserted: Vec::new(),
            refused: BTreeSet::new(),
        }
    }

    /// Replaces the namers. The answers of namers that stay are kept, all others are dropped.
    pub fn replace_namers(&mut self, namers: &Namers) {
        self.namers = namers.clone();
        self.answers.retain(|(number, _), _| namers.get(*number).is_some());
    }

    /// Returns the handle through which missing answers are asked for.
    pub const fn handle(&self) -> &NamerHandle {
        &self.handle
    }

    /// Begins an evaluation: forgets the used and the missing answers of the one before.
    ///
    /// Within one evaluation an answer does not change, however often it is used.
    pub fn begin(&mut self) {
        self.begin_since(self.next_evaluation());
    }

    /// Returns the number of the evaluation that begins next.
    pub const fn next_evaluation(&self) -> u64 {
        self.evaluation + 1
    }

    /// Begins an evaluation for a request whose first one had this number. To look again at an answer that was used
    /// since then is no demand for it: a request that waits is one request, however often an answer changes meanwhile.
    pub fn begin_since(&mut self, first: u64) {
        self.evaluation += 1;
        self.first = first;
        self.used.clear();
        self.missing.clear();
    }

    /// Takes the answers that this evaluation used, each once, in the order of their use. The states that it used count
    /// as seen by them.
    pub fn take_used_answers(&mut self) -> Vec<Answer> {
        self.inserted.clear();
        self.refused.clear();
        std::mem::take(&mut self.used)
    }

    /// Returns the questions of this evaluation whose answers are not in the table.
    pub fn missing(&self) -> Vec<Question> {
        let question = |(number, rest): &(usize, Path)| {
            let namer = self.namers.get(*number)?.clone();
            Some(Question { number: *number, namer, rest: rest.clone() })
        };
        self.missing.iter().filter_map(question).collect()
    }

    /// Inserts an answer that [`NamerHandle::ask`] gave, for the next evaluation. Without room for it, that evaluation sees
    /// the name as failed.
    pub fn insert(&mut self, question: Question, answer: &Answer) {
        let key = (question.number, question.rest);
        self.missing.remove(&key);
        if !self.answers.contains_key(&key) && !self.has_room(1) {
            self.refused.insert(key);
            return;
        }
        let mut answer = answer.clone();
        let state = answer.look().state;
        let mut leased = LeasedAnswer::new(answer);
        self.inserted.push(leased.lease(&key, &self.returned.0));
        self.answers.insert(key, AnswerTableEntry { leased, state, evaluation: 0 });
    }

    /// Returns whether there is room for so many more answers, after it has dropped those on which no result rests.
    ///
    /// Never called between an evaluation and the next one that needs its answers, unless they are held meanwhile.
    pub fn has_room(&mut self, count: usize) -> bool {
        while let Ok(key) = self.returned.1.try_recv() {
            if self.answers.get(&key).is_some_and(|entry| !entry.leased.is_in_use()) {
                self.answers.remove(&key);
            }
        }
        self.answers.len().saturating_add(count) <= MAX_TABLE_ANSWERS
    }

    /// Ends the last evaluation, and drops the answers on which no result rests: those of which no clone from
    /// [`take_used_answers`](AnswerTable::take_used_answers) is left.
    pub fn prune(&mut self) {
        drop(self.take_used_answers());
        self.has_room(0);
    }

    /// Returns the number of answers in the table.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Returns whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Returns the time since when the answer for a path is only the last good one; `None` when it is up to date, or not
    /// in the table.
    pub fn stale_since(&self, path: &Path) -> Option<Instant> {
        for (number, _, rest) in self.namers.matching(path) {
            let Some(entry) = self.answers.get(&(number, rest)) else { continue };
            let current = entry.leased.answer.peek();
            // After Neg the next namer decides.
            if current.stale_since.is_some() || !matches!(current.state, AnswerState::Ready(NameTree::Neg)) {
                return current.stale_since;
            }
        }
        None
    }

    /// Asks control for all missing answers at once.
    async fn ask_missing(&mut self) {
        let questions = self.missing();
        let gone =
            || vec![Answer::fixed(AnswerState::Failed("the namers have stopped".into())); questions.len()];
        let answers = self.handle.ask(questions.clone()).await.unwrap_or_else(gone);
        for (question, answer) in questions.into_iter().zip(&answers) {
            self.insert(question, answer);
        }
    }

    /// Returns the answer of the namer with a number. One that is not in the table is pending, and noted as missing.
    fn state(&mut self, number: usize, rest: Path) -> AnswerState {
        let key = (number, rest);
        let Some(entry) = self.answers.get_mut(&key) else {
            if self.refused.contains(&key) {
                return AnswerState::Refused("too many names are held".into());
            }
            self.missing.insert(key);
            return AnswerState::Pending;
        };
        if entry.evaluation != self.evaluation {
            let answer = &mut entry.leased.answer;
            if entry.evaluation < self.first {
                answer.note_demand();
            }
            entry.evaluation = self.evaluation;
            if answer.is_outdated() {
                entry.state = answer.follow().state;
            }
            self.used.push(entry.leased.lease(&key, &self.returned.0));
        }
        entry.state.clone()
    }
}

impl Answers for AnswerTable {
    fn answer(&mut self, path: &Path) -> AnswerState {
        let namers = self.namers.clone();
        for (number, namer, rest) in namers.matching(path) {
            let immediate = namer.immediate(&rest);
            let state = immediate.unwrap_or_else(|| self.state(number, rest));
            if !matches!(state, AnswerState::Ready(NameTree::Neg)) {
                return state;
            }
        }
        AnswerState::Ready(NameTree::Neg)
    }
}

/// Waits until one of the answers changes. Returns at once when one changed since it was last looked at, and never when
/// no writer is left to change any.
pub async fn any_changed(answers: &mut [Answer]) {
    let mut changes: Vec<_> = answers.iter_mut().map(|answer| Box::pin(answer.changed())).collect();
    poll_fn(|context| {
        let changed = changes.iter_mut().any(|change| change.as_mut().poll(context).is_ready());
        if changed { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Evaluates, asks for missing answers and waits, until the outcome is not [`DelegationOutcome::Pending`]; with [`Explore::All`],
/// until no step is pending.
///
/// Waits for ever for a namer that never answers. Callers put a time limit around it; after that, `delegate` over the
/// same `answers` gives the delegation as far as it is known.
pub async fn settle(dtab: &Dtab, path: &Path, explore: Explore, answers: &mut AnswerTable) -> Delegation {
    let none = Dtab::empty();
    let query = NameQuery { base: dtab, overrides: &none, path, max_added_lookups: 0 };
    settle_query(&query, explore, answers).await
}

/// Does the same as [`settle`] for a name as a request asks for it.
pub async fn settle_query(query: &NameQuery<'_>, explore: Explore, answers: &mut AnswerTable) -> Delegation {
    let first = answers.next_evaluation();
    loop {
        answers.begin_since(first);
        let delegation = query.delegate(answers, explore);
        if !answers.missing.is_empty() {
            answers.ask_missing().await;
            continue;
        }
        let pending = match explore {
            Explore::Deciding => delegation.outcome == DelegationOutcome::Pending,
            Explore::All => delegation.step.is_pending(),
        };
        if !pending {
            return delegation;
        }
        any_changed(&mut answers.take_used_answers()).await;
    }
}

#[cfg(test)]
mod tests;
