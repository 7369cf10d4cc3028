//! The one task that asks namers, and keeps their answers while they are in use.

use super::answer::{AnswerKey, LeasedAnswer};
use super::{Answer, Namer};
use crate::name::Path;
use lru::LruCache;
use std::collections::HashMap;
use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior};

/// About how many bytes the answers may take that a [`NamerRegistry`] keeps and that are not in use, besides those that lead
/// nowhere: 4 MiB. With short names they are some 3,900. One more replaces those that have been idle longest. How many are in
/// use is bounded where they are used: by [`MAX_TABLE_ANSWERS`](super::MAX_TABLE_ANSWERS) of each table.
pub const MAX_IDLE_BYTES: usize = 4 << 20;

/// The same for those that lead nowhere: 1 MiB, some 1,000. A namer does little for each when something changes.
pub const MAX_IDLE_NEGATIVE_BYTES: usize = 1 << 20;

/// The bytes of an answer that is not in use, besides its path: its entry here, its channels, and the namer's own state.
/// Measured with `io.l5d.fs` (dhat): about 1,000.
const ANSWER_BYTES: usize = 1_000;

/// How many answers are dropped at once after their idle time; then other tasks have a turn, and requests.
const SWEPT_AT_ONCE: usize = 64;

/// How many requests may wait for the registry. Further callers wait until they can queue theirs.
const QUEUE: usize = 1_024;

/// The one task on control that asks namers.
///
/// It gives one answer, and so one watch, to all callers that ask for the same path. It keeps each answer while it is
/// in use and for an idle time after that. Then it drops the answer, and the namer's
/// [`AnswerWriter`](super::AnswerWriter) is closed.
///
/// Each question, and each answer that is no longer in use, costs the same however many answers there are.
#[derive(Debug)]
pub struct NamerRegistry {
    idle_time: Duration,
    requests: mpsc::Receiver<RegistryRequest>,
    answers: HashMap<AnswerKey, LeasedAnswer>,
    /// The answers that are not in use.
    idle: IdleAnswers,
    /// The channel by which answers come back when they are no longer in use.
    returned: (mpsc::UnboundedSender<AnswerKey>, mpsc::UnboundedReceiver<AnswerKey>),
}

/// The answers that are not in use, in two queues.
#[derive(Debug)]
struct IdleAnswers {
    /// Those that led nowhere when they came back.
    negative: IdleQueue,
    others: IdleQueue,
}

/// Answers that are not in use, each with the time since when, from the oldest to the newest.
#[derive(Debug)]
struct IdleQueue {
    answers: LruCache<AnswerKey, Instant>,
    /// About how many bytes they take.
    bytes: usize,
    /// How many they may take.
    most: usize,
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

impl NamerRegistry {
    /// Makes the registry, to be [`run`](NamerRegistry::run) on control, and the handle through which it is asked.
    ///
    /// An unused answer is dropped after `idle_time`, or up to a quarter of that later (at most a minute).
    pub fn new(idle_time: Duration) -> (Self, NamerHandle) {
        let (sender, requests) = mpsc::channel(QUEUE);
        let idle = IdleAnswers {
            negative: IdleQueue::new(MAX_IDLE_NEGATIVE_BYTES),
            others: IdleQueue::new(MAX_IDLE_BYTES),
        };
        let (answers, returned) = (HashMap::new(), mpsc::unbounded_channel());
        (Self { idle_time, requests, answers, idle, returned }, NamerHandle { requests: sender })
    }

    /// Answers until every [`NamerHandle`] is dropped. Answers that are in use stay alive when this ends or is dropped.
    pub async fn run(mut self) {
        let period = (self.idle_time / 4).clamp(Duration::from_millis(10), Duration::from_secs(60));
        let mut sweeps = tokio::time::interval(period);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_any_due = false;
        loop {
            tokio::select! {
                request = self.requests.recv() => match request {
                    Some(request) => self.serve(request),
                    None => return,
                },
                Some(key) = self.returned.1.recv() => self.take_back(key),
                _ = sweeps.tick() => is_any_due = true,
                // Of what is ready, any may be next: neither requests nor the sweep hold each other up.
                () = ready(()), if is_any_due => {
                    is_any_due = self.sweep();
                    yield_now().await;
                }
            }
        }
    }

    /// Sends the answer to a request.
    fn serve(&mut self, RegistryRequest { question, reply }: RegistryRequest) {
        // The caller may have stopped waiting meanwhile; then the answer comes back.
        let _ = reply.send(self.answer(question));
    }

    /// Returns the answer to a question: the kept one, or else a new one from the namer.
    fn answer(&mut self, Question { number, namer, rest }: Question) -> Answer {
        let (key, returned) = ((number, rest), &self.returned.0);
        if let Some(answer) = self.answers.get_mut(&key) {
            self.idle.remove(&key);
            return answer.lease(&key, returned);
        }
        let mut new = LeasedAnswer::new(namer.lookup(&key.1));
        let lease = new.lease(&key, returned);
        self.answers.insert(key, new);
        lease
    }

    /// Takes an answer back that is no longer in use, unless it has been given out again meanwhile. When there are too
    /// many such answers, one is dropped.
    fn take_back(&mut self, key: AnswerKey) {
        let Some(answer) = self.answers.get(&key).filter(|answer| !answer.is_in_use()) else { return };
        self.idle.insert(key, answer.answer.is_negative());
        while let Some(key) = self.idle.pop_surplus() {
            self.answers.remove(&key);
        }
    }

    /// Drops some of the answers that have been idle for the idle time. Returns whether there may be more.
    fn sweep(&mut self) -> bool {
        let (now, idle_time) = (Instant::now(), self.idle_time);
        let is_due = |since: Instant| now.saturating_duration_since(since) >= idle_time;
        for _ in 0..SWEPT_AT_ONCE {
            let Some(key) = self.idle.pop_due(is_due) else { return false };
            self.answers.remove(&key);
        }
        true
    }
}

impl IdleAnswers {
    /// Adds an answer, idle since now.
    fn insert(&mut self, key: AnswerKey, is_negative: bool) {
        let queue = if is_negative { &mut self.negative } else { &mut self.others };
        queue.insert(key);
    }

    /// Removes an answer that is in use again.
    fn remove(&mut self, key: &AnswerKey) {
        if !self.others.remove(key) {
            self.negative.remove(key);
        }
    }

    /// Removes the answer that has been idle longest of a kind of which there are too many, and returns its key.
    fn pop_surplus(&mut self) -> Option<AnswerKey> {
        let mut queues = [&mut self.negative, &mut self.others].into_iter();
        queues.find(|queue| queue.bytes > queue.most)?.pop()
    }

    /// Removes one of the answers whose time is due, and returns its key.
    fn pop_due(&mut self, is_due: impl Fn(Instant) -> bool) -> Option<AnswerKey> {
        let mut queues = [&mut self.negative, &mut self.others].into_iter();
        queues.find(|queue| queue.answers.peek_lru().is_some_and(|(_, since)| is_due(*since)))?.pop()
    }
}

impl IdleQueue {
    fn new(most: usize) -> Self {
        Self { answers: LruCache::unbounded(), bytes: 0, most }
    }

    fn insert(&mut self, key: AnswerKey) {
        self.bytes += Self::bytes_of(&key);
        if let Some((old, _)) = self.answers.push(key, Instant::now()) {
            self.bytes -= Self::bytes_of(&old);
        }
    }

    /// Removes an answer. Returns whether there was one.
    fn remove(&mut self, key: &AnswerKey) -> bool {
        let is_removed = self.answers.pop(key).is_some();
        if is_removed {
            self.bytes -= Self::bytes_of(key);
        }
        is_removed
    }

    /// Removes the answer that has been idle longest, and returns its key.
    fn pop(&mut self) -> Option<AnswerKey> {
        let (key, _) = self.answers.pop_lru()?;
        self.bytes -= Self::bytes_of(&key);
        Some(key)
    }

    /// Returns about how many bytes an answer takes. Its path stands here, in the namer, and in the paths that are watched.
    fn bytes_of((_, rest): &AnswerKey) -> usize {
        ANSWER_BYTES + 3 * rest.as_encoded().len()
    }
}

impl NamerHandle {
    /// Returns the live answer to each question, in the order of the questions. All are asked before the first answer is
    /// awaited.
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
