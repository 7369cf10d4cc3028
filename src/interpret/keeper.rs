//! The one task that asks namers, and keeps what they answer while somebody needs it.

use super::{Answer, Namer, State};
use crate::name::Path;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

/// How many answers a [`Keeper`] keeps: 10,000. When one more is asked for, the one that has been idle longest goes;
/// when all are in use, the new one is refused.
pub const MAX_KEPT: usize = 10_000;

/// How many requests wait for the keeper before those who ask have to wait themselves.
const QUEUE: usize = 1_024;

/// The one task on control that asks namers.
///
/// It joins those who ask for the same path to one watch, holds each answer while somebody does, and for an idle time
/// after. Then it lets go, and the namer's [`Writer`](super::Writer) sees that it is closed.
#[derive(Debug)]
pub struct Keeper {
    idle: Duration,
    requests: mpsc::Receiver<Request>,
    /// By the namer's number, and the path after its prefix.
    kept: HashMap<(usize, Path), Kept>,
}

/// A handle with which a worker asks the [`Keeper`] for an answer, from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Asker {
    requests: mpsc::Sender<Request>,
}

/// What is asked: of which namer, and the path after its prefix.
#[derive(Clone)]
pub struct Question {
    /// The namer's number among those of its process.
    pub number: usize,
    /// The namer.
    pub namer: Arc<dyn Namer>,
    /// The path after its prefix.
    pub rest: Path,
}

#[derive(Debug)]
struct Request {
    question: Question,
    reply: oneshot::Sender<Answer>,
}

#[derive(Debug)]
struct Kept {
    answer: Answer,
    /// When nobody was first seen to hold it, if nobody was ever since.
    idle_since: Option<Instant>,
}

impl Keeper {
    /// Makes the task, to be [`run`](Keeper::run) on control, and the handle to ask it.
    ///
    /// An answer that nobody holds is dropped after `idle`, or up to a quarter of that later (at most a minute).
    pub fn new(idle: Duration) -> (Self, Asker) {
        let (sender, requests) = mpsc::channel(QUEUE);
        (Self { idle, requests, kept: HashMap::new() }, Asker { requests: sender })
    }

    /// Answers until every [`Asker`] is gone. What is held elsewhere stays alive when this ends or is dropped.
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

    fn serve(&mut self, Request { question, reply }: Request) {
        // Whoever asked may have gone away meanwhile; then the answer is idle.
        let _ = reply.send(self.answer(question));
    }

    /// Returns the answer that is kept, or asks the namer.
    fn answer(&mut self, Question { number, namer, rest }: Question) -> Answer {
        let key = (number, rest);
        if let Some(kept) = self.kept.get_mut(&key) {
            kept.idle_since = None;
            return kept.answer.clone();
        }
        if self.kept.len() >= MAX_KEPT && !self.make_room() {
            return Answer::fixed(State::Failed("too many names are watched".into()));
        }
        // The namer may hold clones of its answer: count those that are handed out here alone.
        let answer = namer.lookup(&key.1).counted();
        self.kept.insert(key, Kept { answer: answer.clone(), idle_since: None });
        answer
    }

    /// Drops the answer that has been idle longest, if one is idle.
    fn make_room(&mut self) -> bool {
        let now = Instant::now();
        self.note_idle(now);
        let idle = self.kept.iter().filter_map(|(key, kept)| Some((kept.idle_since?, key)));
        let oldest = idle.min_by_key(|(since, _)| *since).map(|(_, key)| key.clone());
        oldest.is_some_and(|key| self.kept.remove(&key).is_some())
    }

    /// Drops the answers that have been idle for the idle time.
    fn sweep(&mut self, now: Instant) {
        self.note_idle(now);
        let idle = self.idle;
        self.kept.retain(|_, kept| kept.idle_since.is_none_or(|since| now.duration_since(since) < idle));
    }

    fn note_idle(&mut self, now: Instant) {
        for kept in self.kept.values_mut() {
            kept.idle_since = if kept.answer.is_shared() { None } else { kept.idle_since.or(Some(now)) };
        }
    }
}

impl Asker {
    /// Returns the live answer to a question: [`State::Failed`] when too many are in use already.
    ///
    /// None when the keeper is gone.
    pub async fn ask(&self, question: Question) -> Option<Answer> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request { question, reply }).await.ok()?;
        answer.await.ok()
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "namer {}: {}", self.number, self.rest)
    }
}

#[cfg(test)]
mod tests;
