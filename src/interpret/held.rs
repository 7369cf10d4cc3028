//! The answers that one worker holds, and the loop that evaluates, asks and waits.

use super::{Answer, Answers, Asker, Delegation, Explore, Namers, Outcome, Question, State, delegate};
use crate::name::{Dtab, NameTree, Path};
use std::collections::{BTreeSet, HashMap};
use std::future::poll_fn;
use std::task::Poll;

/// How many answers a [`Held`] holds: 10,000. A name that would need one more is [`State::Failed`] until
/// [`Held::prune`] made room.
pub const MAX_HELD: usize = 10_000;

/// The namers' answers that one worker holds: what [`delegate()`] is evaluated over.
///
/// Belongs to one thread and takes no lock. One evaluation goes like this:
///
/// 1. [`begin`](Held::begin), then [`delegate()`];
/// 2. [`looked`](Held::looked) gives the answers that the evaluation rests on. Whoever keeps the result keeps them:
///    when one of them [`has_changed`](Answer::has_changed), the result is out of date;
/// 3. [`wanted`](Held::wanted) says what it did not have. Each is asked of control and handed in by
///    [`fill`](Held::fill); then it is evaluated again. That is worth doing also when the outcome is not pending: a
///    union is bound as soon as one of its branches is.
///
/// From time to time, [`prune`](Held::prune) drops the answers that no result rests on. A result that is failed because
/// there was no room, here or on control, does not change by itself: whoever keeps failed results evaluates them again
/// after that. [`follow`](Held::follow) takes over namers that have replaced others.
#[derive(Debug)]
pub struct Held {
    asker: Asker,
    namers: Namers,
    /// By the namer's number, and the path after its prefix.
    answers: HashMap<(usize, Path), Watched>,
    /// Counts the evaluations.
    evaluation: u64,
    looked: Vec<Answer>,
    wanted: BTreeSet<(usize, Path)>,
}

#[derive(Debug)]
struct Watched {
    /// Counts for itself, so that the clones given to results can be told from this one.
    answer: Answer,
    /// What it was when it was last looked at.
    state: State,
    /// The evaluation that looked last.
    evaluation: u64,
}

impl Held {
    /// Makes an empty table over these namers, which are asked by `asker`.
    pub fn new(asker: Asker, namers: Namers) -> Self {
        let looked = Vec::new();
        Self { asker, namers, answers: HashMap::new(), evaluation: 0, looked, wanted: BTreeSet::new() }
    }

    /// Takes over namers that have replaced others: the answers of those that stay are kept, others are dropped.
    pub fn follow(&mut self, namers: &Namers) {
        self.namers = namers.clone();
        self.answers.retain(|(number, _), _| namers.get(*number).is_some());
    }

    /// Returns the handle that asks for what is wanted.
    pub const fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Begins an evaluation: forgets what the one before looked at and wanted.
    ///
    /// Within one evaluation an answer does not change, however often it is looked at.
    pub fn begin(&mut self) {
        self.evaluation += 1;
        self.looked.clear();
        self.wanted.clear();
    }

    /// Takes the answers that this evaluation looked at, each once, in the order it did. They have seen what it saw.
    pub fn looked(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.looked)
    }

    /// Returns what this evaluation needed and nobody here holds.
    pub fn wanted(&self) -> Vec<Question> {
        let question = |(number, rest): &(usize, Path)| {
            let namer = self.namers.get(*number)?.clone();
            Some(Question { number: *number, namer, rest: rest.clone() })
        };
        self.wanted.iter().filter_map(question).collect()
    }

    /// Holds an answer that [`Asker::ask`] gave. Without room for it nothing happens: the next evaluation then sees
    /// that name as failed.
    pub fn fill(&mut self, question: Question, answer: &Answer) {
        let key = (question.number, question.rest);
        self.wanted.remove(&key);
        if self.answers.len() < MAX_HELD || self.answers.contains_key(&key) {
            let mut answer = answer.counted();
            let state = answer.look().state;
            self.answers.insert(key, Watched { answer, state, evaluation: 0 });
        }
    }

    /// Drops the answers that no result rests on: those of which nobody keeps a clone from [`looked`](Held::looked).
    ///
    /// A refusal ("too many names are watched") is dropped as well, so that it is asked for again.
    pub fn prune(&mut self) {
        self.looked.clear();
        self.answers.retain(|_, watched| watched.answer.is_shared());
    }

    /// Returns how many answers are held.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Returns whether no answer is held.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Asks control for everything that is wanted, one after the other.
    async fn ask_wanted(&mut self) {
        for question in self.wanted() {
            let answer = self.asker.ask(question.clone()).await;
            let gone = || Answer::fixed(State::Failed("the namers have stopped".into()));
            self.fill(question, &answer.unwrap_or_else(gone));
        }
    }

    /// What the namer with a number says: from the table, or else it is wanted.
    fn state(&mut self, number: usize, rest: Path) -> State {
        let full = self.answers.len() >= MAX_HELD;
        let key = (number, rest);
        let Some(watched) = self.answers.get_mut(&key) else {
            if full {
                return State::Failed("too many names are held".into());
            }
            self.wanted.insert(key);
            return State::Pending;
        };
        if watched.evaluation != self.evaluation {
            watched.evaluation = self.evaluation;
            if watched.answer.has_changed() {
                watched.state = watched.answer.look().state;
            }
            self.looked.push(watched.answer.clone());
        }
        watched.state.clone()
    }
}

impl Answers for Held {
    fn answer(&mut self, path: &Path) -> State {
        let namers = self.namers.clone();
        for (number, namer, rest) in namers.of(path) {
            let immediate = namer.immediate(&rest);
            let state = immediate.unwrap_or_else(|| self.state(number, rest));
            if !matches!(state, State::Ready(NameTree::Neg)) {
                return state;
            }
        }
        State::Ready(NameTree::Neg)
    }
}

/// Waits until one of the answers changes: at once when one did since it was last looked at, for ever when none will.
pub async fn any_changed(answers: &mut [Answer]) {
    let mut changes: Vec<_> = answers.iter_mut().map(|answer| Box::pin(answer.changed())).collect();
    poll_fn(|context| {
        let changed = changes.iter_mut().any(|change| change.as_mut().poll(context).is_ready());
        if changed { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Evaluates, asks for what is missing and waits, until the outcome is not [`Outcome::Pending`]; with
/// [`Explore::All`], until nothing that it shows is pending.
///
/// Waits for ever for a namer that never answers. Callers put a time limit around it; what is known at its end,
/// `delegate` over the same `held` tells.
pub async fn settle(dtab: &Dtab, path: &Path, explore: Explore, held: &mut Held) -> Delegation {
    loop {
        held.begin();
        let delegation = delegate(dtab, path, held, explore);
        if !held.wanted.is_empty() {
            held.ask_wanted().await;
            continue;
        }
        let pending = match explore {
            Explore::Deciding => delegation.outcome == Outcome::Pending,
            Explore::All => delegation.step.is_pending(),
        };
        if !pending {
            return delegation;
        }
        any_changed(&mut held.looked()).await;
    }
}

#[cfg(test)]
mod tests;
