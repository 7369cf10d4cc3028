//! The one task that asks namers, and keeps their answers while they are in use.

use super::{Answer, AnswerState, Namer};
use crate::name::Path;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

/// How many answers a [`NamerRegistry`] keeps: 10,000. One more replaces the answer that has been idle longest; when
/// all are in use, it is refused.
pub const MAX_REGISTRY_ANSWERS: usize = 10_000;

/// How many requests may wait for the registry. Further callers wait until they can queue theirs.
const QUEUE: usize = 1_024;

/// The one task on control that asks namers.
///
/// It gives one answer, and so one watch, to all callers that ask for the same path. It keeps each answer while it is
/// in use and for an idle time after that. Then it drops the answer, and the namer's
/// [`AnswerWriter`](super::AnswerWriter) is closed.
#[derive(Debug)]
pub struct NamerRegistry {
    idle: Duration,
    requests: mpsc::Receiver<RegistryRequest>,
    /// The answers, by the namer's number and the path after its prefix.
    entries: HashMap<(usize, Path), RegistryEntry>,
}

/// A handle through which a worker asks the [`NamerRegistry`] for answers, from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NamerHandle {
    requests: mpsc::Sender<RegistryRequest>,
}

/// A question to one namer about one path.
#[derive(Clone)]
pub struct Question {
    /// The namer's number among those of its process.
    pub number: usize,
    /// The namer.
    pub namer: Arc<dyn Namer>,
    /// The path after the namer's prefix.
    pub rest: Path,
}

/// A question in the registry's queue, with the channel for its answer.
#[derive(Debug)]
struct RegistryRequest {
    question: Question,
    reply: oneshot::Sender<Answer>,
}

/// One answer that the registry keeps.
#[derive(Debug)]
struct RegistryEntry {
    answer: Answer,
    /// The time at which the answer was first seen to be unused; None while it is in use.
    idle_since: Option<Instant>,
}

impl NamerRegistry {
    /// Makes the registry, to be [`run`](NamerRegistry::run) on control, and the handle through which it is asked.
    ///
    /// An unused answer is dropped after `idle`, or up to a quarter of that later (at most a minute).
    pub fn new(idle: Duration) -> (Self, NamerHandle) {
        let (sender, requests) = mpsc::channel(QUEUE);
        (Self { idle, requests, entries: HashMap::new() }, NamerHandle { requests: sender })
    }

    /// Answers until every [`NamerHandle`] is dropped. Answers that are in use stay alive when this ends or is dropped.
    pub async fn run(mut self) {
        let period = (self.idle / 4).clamp(Duration::from_millis(10), Duration::from_secs(60));
        let mut sweeps = tokio::time::interval(period);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = self.requests.recv() => match request {
                    Some(request) => self.serve(request),
                    None => return,
                },
                now = sweeps.tick() => self.sweep(now),
            }
        }
    }

    /// Sends the answer to a request.
    fn serve(&mut self, RegistryRequest { question, reply }: RegistryRequest) {
        // The caller may have stopped waiting meanwhile; then the answer is idle.
        let _ = reply.send(self.answer(question));
    }

    /// Returns the answer to a question: the kept one, or else a new one from the namer.
    fn answer(&mut self, Question { number, namer, rest }: Question) -> Answer {
        let key = (number, rest);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.idle_since = None;
            return entry.answer.clone();
        }
        if self.entries.len() >= MAX_REGISTRY_ANSWERS && !self.make_room() {
            return Answer::fixed(AnswerState::Refused("too many names are watched".into()));
        }
        // The namer may hold clones of its answer: only those that are handed out here count.
        let answer = namer.lookup(&key.1).with_own_count();
        self.entries.insert(key, RegistryEntry { answer: answer.clone(), idle_since: None });
        answer
    }

    /// Drops the answer that has been idle longest. Returns whether there was one.
    fn make_room(&mut self) -> bool {
        let now = Instant::now();
        self.note_idle(now);
        let idle = self.entries.iter().filter_map(|(key, entry)| Some((entry.idle_since?, key)));
        let oldest = idle.min_by_key(|(since, _)| *since).map(|(_, key)| key.clone());
        oldest.is_some_and(|key| self.entries.remove(&key).is_some())
    }

    /// Drops the answers that have been idle for the idle time.
    fn sweep(&mut self, now: Instant) {
        self.note_idle(now);
        let idle = self.idle;
        self.entries.retain(|_, entry| entry.idle_since.is_none_or(|since| now.duration_since(since) < idle));
    }

    /// Notes which answers are idle, and since when.
    fn note_idle(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.idle_since = if entry.answer.is_shared() { None } else { entry.idle_since.or(Some(now)) };
        }
    }
}

impl NamerHandle {
    /// Returns the live answer to each question, in the order of the questions; [`AnswerState::Refused`] when too many are
    /// in use already. All are asked before the first answer is awaited.
    ///
    /// None when the registry has ended.
    pub async fn ask(&self, questions: impl IntoIterator<Item = Question>) -> Option<Vec<Answer>> {
        let mut replies = Vec::new();
        for question in questions {
            let (reply, answer) = oneshot::channel();
            self.requests.send(RegistryRequest { question, reply }).await.ok()?;
            replies.push(answer);
        }
        let mut answers = Vec::with_capacity(replies.len());
        for reply in replies {
            answers.push(reply.await.ok()?);
        }
        Some(answers)
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "namer {}: {}", self.number, self.rest)
    }
}

#[cfg(test)]
mod tests;
