//! Say so, stop accepting, wait for the guards, then force.
//!
//! Whoever must finish before the process may end holds a [`Guard`]; its drop is the signal that it is done. What is
//! being drained is not known here.
//!
//! | stage | what comes now | what waits for more | what was begun |
//! |---|---|---|---|
//! | [`Open`](Stage::Open), [`Leaving`](Stage::Leaving) | is taken | waits on | goes on |
//! | [`LastCall`](Stage::LastCall) | is refused | may begin once more | goes on |
//! | [`Stopping`](Stage::Stopping) | is refused | ends | goes on |
//! | [`Forced`](Stage::Forced) | is refused | ends | ends |

use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How far a drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Business as usual.
    Open,
    /// All goes on, but nobody should send anything here any more.
    Leaving,
    /// Nobody new is let in; who is in may begin once more, and is told that it is for the last time.
    LastCall,
    /// Nothing new is begun; what was begun is finished.
    Stopping,
    /// What is not finished is cut off.
    Forced,
}

/// A message that cannot be made: on its channel only the closing means anything.
enum Never {}

/// Starts the drain and waits for the guards.
#[derive(Debug)]
pub struct Drain {
    stage: watch::Sender<Stage>,
    alive: mpsc::Receiver<Never>,
}

/// Held by whatever must finish before the drain is over.
#[derive(Clone, Debug)]
pub struct Guard {
    stage: watch::Receiver<Stage>,
    _alive: mpsc::Sender<Never>,
}

/// Sees how far a drain has come, and holds nothing up. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stages(watch::Receiver<Stage>);

/// Makes a drain and its first guard.
pub fn channel() -> (Drain, Guard) {
    let (stage_sender, stage) = watch::channel(Stage::Open);
    let (alive_sender, alive) = mpsc::channel(1);
    (Drain { stage: stage_sender, alive }, Guard { stage, _alive: alive_sender })
}

impl Stages {
    /// The stage the drain is in.
    pub fn stage(&self) -> Stage {
        *self.0.borrow()
    }
}

impl Drain {
    /// Returns a view of the stages, for those who only want to know.
    pub fn stages(&self) -> Stages {
        Stages(self.stage.subscribe())
    }

    /// Says that a drain is to come: [`Stage::Leaving`], unless it has begun.
    pub fn leave(&self) {
        self.stage.send_if_modified(|stage| {
            let early = *stage < Stage::Leaving;
            *stage = (*stage).max(Stage::Leaving);
            early
        });
    }

    /// Tells every guard to stop, waits up to `grace` for them to be dropped, then tells them to give up and waits
    /// for that. When `last_call` is not zero, so much of the grace is [`Stage::LastCall`].
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

    async fn guards_gone(&mut self) {
        match self.alive.recv().await {
            None => {}
            Some(never) => match never {},
        }
    }
}

impl Guard {
    /// The stage the drain is in.
    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Waits until the drain has reached `stage`; a drain that is dropped counts as forced.
    pub async fn reached(&mut self, stage: Stage) {
        // An error says that the other end is gone, which ends the wait as well.
        let _ = self.stage.wait_for(|now| *now >= stage).await;
    }

    /// Waits until the stage is another one than it was the last time, and returns it; a drain that is dropped counts
    /// as forced. After [`Stage::Forced`] there is nothing more to wait for.
    pub async fn next(&mut self) -> Stage {
        match self.stage.changed().await {
            Ok(()) => *self.stage.borrow_and_update(),
            Err(_) => Stage::Forced,
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
    async fn forces_what_outstays_the_grace() {
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

    #[tokio::test]
    async fn a_drain_that_is_dropped_is_forced() {
        let (drain, mut guard) = channel();
        drop(drain);
        assert_eq!(guard.next().await, Stage::Forced);
    }
}
