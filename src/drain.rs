//! The drain of a process: announce it, stop accepting, wait for the guards, then force.
//!
//! A task that must finish before the process may end holds a [`Guard`]; its drop is the signal that the task is done.
//! The kind of task is not known here. A part of the process that may end before the rest has a drain within that of the
//! process.
//!
//! | stage | new connections | connections that wait for a request | requests under way |
//! |---|---|---|---|
//! | [`Open`](Stage::Open), [`Leaving`](Stage::Leaving) | are accepted | wait on | go on |
//! | [`LastCall`](Stage::LastCall) | are refused | may begin one more | go on |
//! | [`Stopping`](Stage::Stopping) | are refused | end | go on |
//! | [`Forced`](Stage::Forced) | are refused | end | end |

use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// The stage of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// No drain.
    Open,
    /// A drain is announced: all goes on, but peers should send nothing here any more.
    Leaving,
    /// No new connection is accepted; an open one may begin one more request, and is told that it is the last.
    LastCall,
    /// No new request is begun; those under way are finished.
    Stopping,
    /// Requests that are not finished are cut off.
    Forced,
}

/// A message that cannot exist: only the closing of its channel has a meaning.
enum Never {}

/// The owner of a drain: it starts the drain and waits for the guards.
#[derive(Debug)]
pub struct Drain {
    stage: watch::Sender<Stage>,
    alive: mpsc::Receiver<Never>,
}

/// A guard, held by a task that must finish before the drain is over.
#[derive(Clone, Debug)]
pub struct Guard {
    own: Membership,
    /// The membership in the drain around it, if there is one.
    outer: Option<Membership>,
    /// The last stage that [`Guard::next`] returned.
    seen: Stage,
}

/// The part of a guard that belongs to one drain.
#[derive(Clone, Debug)]
struct Membership {
    stage: watch::Receiver<Stage>,
    _alive: mpsc::Sender<Never>,
}

/// A view of a drain's stage that does not delay the drain. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stages(watch::Receiver<Stage>);

/// Makes a drain and its first guard.
pub fn channel() -> (Drain, Guard) {
    make(None)
}

fn make(outer: Option<Membership>) -> (Drain, Guard) {
    let (stage_sender, stage) = watch::channel(Stage::Open);
    let (alive_sender, alive) = mpsc::channel(1);
    let own = Membership { stage, _alive: alive_sender };
    (Drain { stage: stage_sender, alive }, Guard { own, outer, seen: Stage::Open })
}

impl Stages {
    /// Returns the stage of the drain.
    pub fn stage(&self) -> Stage {
        *self.0.borrow()
    }
}

impl Drain {
    /// Returns a view of the stages.
    pub fn stages(&self) -> Stages {
        Stages(self.stage.subscribe())
    }

    /// Announces a drain: [`Stage::Leaving`], unless it has begun.
    pub fn leave(&self) {
        self.stage.send_if_modified(|stage| {
            let early = *stage < Stage::Leaving;
            *stage = (*stage).max(Stage::Leaving);
            early
        });
    }

    /// Tells the holders of guards to stop and waits up to `grace` for the guards to be dropped; then forces them and
    /// waits for that. When `last_call` is not zero, that much of the grace is [`Stage::LastCall`].
    ///
    /// Returns whether all of them finished in time.
    pub async fn drain(mut self, last_call: Duration, grace: Duration) -> bool {
        let last_call = last_call.min(grace);
        let stages = [(Stage::LastCall, last_call), (Stage::Stopping, grace.saturating_sub(last_call))];
        for (stage, time) in stages {
            if stage == Stage::LastCall && time.is_zero() {
                continue;
            }
            self.stage.send_replace(stage);
            if tokio::time::timeout(time, self.guards_gone()).await.is_ok() {
                return true;
            }
        }
        self.stage.send_replace(Stage::Forced);
        self.guards_gone().await;
        false
    }

    /// Waits until all guards are dropped.
    async fn guards_gone(&mut self) {
        match self.alive.recv().await {
            None => {}
            Some(never) => match never {},
        }
    }
}

impl Guard {
    /// Makes a drain within this guard's, and its first guard. Such a guard delays both drains, and its stage is the later
    /// one of both. There are two levels, no more: the drain around is that of a guard from [`channel`].
    pub fn inner(&self) -> (Drain, Self) {
        debug_assert!(self.outer.is_none(), "there are two levels");
        make(Some(self.own.clone()))
    }

    /// Returns the stage of the drain.
    pub fn stage(&self) -> Stage {
        let outer = self.outer.as_ref().map_or(Stage::Open, |outer| *outer.stage.borrow());
        (*self.own.stage.borrow()).max(outer)
    }

    /// Waits until the drain has reached `stage`; a drain that is dropped counts as forced.
    pub async fn reached(&mut self, stage: Stage) {
        let own = self.own.stage.wait_for(|now| *now >= stage);
        // An error means that the drain is dropped, which ends the wait as well.
        match &mut self.outer {
            None => drop(own.await),
            Some(outer) => tokio::select! {
                _ = own => {}
                _ = outer.stage.wait_for(|now| *now >= stage) => {}
            },
        }
    }

    /// Waits until the stage differs from the last one seen, and returns it; a drain that is dropped counts as forced.
    /// No stage follows [`Stage::Forced`].
    pub async fn next(&mut self) -> Stage {
        loop {
            let own = self.own.stage.changed();
            let changed = match &mut self.outer {
                None => own.await,
                Some(outer) => tokio::select! {
                    changed = own => changed,
                    changed = outer.stage.changed() => changed,
                },
            };
            if changed.is_err() {
                return Stage::Forced;
            }
            let now = self.stage();
            if now != std::mem::replace(&mut self.seen, now) {
                return now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ends_when_the_last_guard_is_dropped() {
        let (drain, guard) = channel();
        let mut second = guard.clone();
        assert_eq!(guard.stage(), Stage::Open);
        let waiting = tokio::spawn(drain.drain(Duration::ZERO, Duration::from_secs(10)));
        second.reached(Stage::Stopping).await;
        drop(guard);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "one guard is still held");
        drop(second);
        assert!(waiting.await.unwrap(), "all guards went in time");
    }

    #[tokio::test(start_paused = true)]
    async fn forces_guards_that_outlast_the_grace() {
        let (drain, mut guard) = channel();
        let waiting = tokio::spawn(drain.drain(Duration::ZERO, Duration::from_secs(10)));
        let began = tokio::time::Instant::now();
        guard.reached(Stage::Forced).await;
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        drop(guard);
        assert!(!waiting.await.unwrap(), "the guard was forced");
    }

    #[tokio::test(start_paused = true)]
    async fn goes_through_its_stages() {
        let (drain, mut guard) = channel();
        let stages = drain.stages();
        let began = tokio::time::Instant::now();
        drain.leave();
        drain.leave();
        assert_eq!((guard.next().await, stages.stage()), (Stage::Leaving, Stage::Leaving));
        let waiting = tokio::spawn(drain.drain(Duration::from_secs(1), Duration::from_secs(10)));
        for (stage, after) in [(Stage::LastCall, 0), (Stage::Stopping, 1), (Stage::Forced, 10)] {
            assert_eq!((guard.next().await, began.elapsed().as_secs()), (stage, after));
        }
        drop(guard);
        assert!(!waiting.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_last_call_is_part_of_the_grace_and_ends_with_the_guards() {
        let (drain, mut guard) = channel();
        let waiting = tokio::spawn(drain.drain(Duration::from_secs(9), Duration::from_secs(2)));
        let began = tokio::time::Instant::now();
        guard.reached(Stage::Stopping).await;
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        drop(guard);
        waiting.await.unwrap();
        let (drain, guard) = channel();
        drop(guard);
        assert!(drain.drain(Duration::from_secs(9), Duration::from_secs(20)).await);
        assert_eq!(began.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_inner_drain_ends_by_itself_or_with_the_one_around_it() {
        let (outer, guard) = channel();
        let (inner, mut within) = guard.inner();
        let (_other, mut other) = guard.inner();
        let ended = tokio::spawn(inner.drain(Duration::ZERO, Duration::from_secs(10)));
        assert_eq!((within.next().await, other.stage()), (Stage::Stopping, Stage::Open));
        drop(guard);
        let all = tokio::spawn(outer.drain(Duration::from_secs(1), Duration::from_secs(2)));
        assert_eq!(other.next().await, Stage::LastCall);
        assert_eq!(within.stage(), Stage::Stopping, "the later stage counts");
        other.reached(Stage::Stopping).await;
        drop(other);
        // The one around is forced first.
        let began = tokio::time::Instant::now();
        assert_eq!((within.next().await, began.elapsed().as_secs()), (Stage::Forced, 1));
        assert!(!ended.is_finished() && !all.is_finished(), "it delays both");
        drop(within);
        assert!(ended.await.unwrap(), "its own grace was not over");
        assert!(!all.await.unwrap());
    }

    #[tokio::test]
    async fn a_drain_that_is_dropped_is_forced() {
        let (drain, mut guard) = channel();
        drop(drain);
        assert_eq!(guard.next().await, Stage::Forced);
    }
}
