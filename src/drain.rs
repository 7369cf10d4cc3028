//! Stop accepting, wait for the guards, then force.
//!
//! Whoever must finish before the process may end holds a [`Guard`]; its drop is the signal that it is done. What is
//! being drained is not known here.

use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How far a drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Business as usual.
    Open,
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

    /// Tells every guard to stop, waits up to `grace` for them to be dropped, then tells them to give up and waits
    /// for that.
    ///
    /// Returns whether all of them finished in time.
    pub async fn drain(mut self, grace: Duration) -> bool {
        self.stage.send_replace(Stage::Stopping);
        let in_time = tokio::time::timeout(grace, self.guards_gone()).await.is_ok();
        if !in_time {
            self.stage.send_replace(Stage::Forced);
            self.guards_gone().await;
        }
        in_time
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ends_when_the_last_guard_is_dropped() {
        let (drain, guard) = channel();
        let mut second = guard.clone();
        assert_eq!(guard.stage(), Stage::Open);
        let waiting = tokio::spawn(drain.drain(Duration::from_secs(10)));
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
        let waiting = tokio::spawn(drain.drain(Duration::from_secs(10)));
        let began = tokio::time::Instant::now();
        guard.reached(Stage::Forced).await;
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        drop(guard);
        assert!(!waiting.await.unwrap(), "the guard was forced");
    }
}
