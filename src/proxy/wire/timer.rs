//! Timers of a connection: how long a peer may keep the router waiting.

use std::cell::Cell;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// A time limit that is moved with every request and rarely reached.
///
/// To move it is one store: the timer is left where it is, and when it fires early it is set again. Only one task may
/// poll it.
#[derive(Debug)]
pub(crate) struct IdleTimer {
    until: Instant,
    timer: Pin<Box<Sleep>>,
    /// Whether the timer will wake the task: it need not be polled until it fires.
    armed: bool,
}

impl IdleTimer {
    pub(crate) fn new(limit: Duration) -> Self {
        let until = after(limit);
        Self { until, timer: Box::pin(sleep_until(until)), armed: false }
    }

    /// Begins a new wait of up to `limit`; returns when it began.
    pub(crate) fn begin(&mut self, limit: Duration) -> Instant {
        let now = Instant::now();
        self.until = now + bounded(limit);
        if self.until < self.timer.deadline() {
            self.reset();
        }
        now
    }

    fn reset(&mut self) {
        self.timer.as_mut().reset(self.until);
        self.armed = false;
    }

    /// Is ready when the wait has lasted too long.
    pub(crate) fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.armed && !self.timer.is_elapsed() {
            return Poll::Pending;
        }
        loop {
            self.armed = true;
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() >= self.until {
                return Poll::Ready(());
            }
            self.reset();
        }
    }
}

/// Returns the end of a wait that begins now. A limit that the clock cannot hold becomes one year.
pub(crate) fn after(limit: Duration) -> Instant {
    Instant::now() + bounded(limit)
}

fn bounded(limit: Duration) -> Duration {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    limit.min(YEAR)
}

/// The progress of a peer: the bytes it moves, and whether nothing can go on until it moves some.
#[derive(Debug, Default)]
pub(crate) struct PeerProgress {
    /// How many bytes went either way.
    moved: Cell<u64>,
    /// Whether a body is awaited from the peer.
    pub(crate) for_bytes: Cell<bool>,
    /// Whether the peer has to take bytes before more can be written.
    pub(crate) for_room: Cell<bool>,
}

impl PeerProgress {
    /// Counts bytes that went either way.
    pub(crate) fn add(&self, bytes: usize) {
        self.moved.set(self.moved.get() + bytes as u64);
    }

    /// Returns the number of bytes that went either way.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.get()
    }

    /// Forgets that the peer was awaited, by work that was given up.
    pub(crate) fn forget(&self) {
        self.for_bytes.set(false);
        self.for_room.set(false);
    }

    /// Returns whether nothing goes on until the peer sends bytes, or takes some.
    pub(crate) fn awaits_peer(&self) -> bool {
        self.for_bytes.get() || self.for_room.get()
    }
}

/// A timer for a peer that keeps the router waiting and moves no byte for a whole limit.
#[derive(Debug)]
pub(crate) struct StallTimer {
    limit: Duration,
    /// The bytes that had moved when the limit was over the last time, if the peer was awaited then.
    before: Option<u64>,
}

impl StallTimer {
    /// Begins to watch; `timer` is used for it.
    pub(crate) fn new(progress: &PeerProgress, timer: &mut IdleTimer, limit: Duration) -> Self {
        timer.begin(limit);
        progress.forget();
        Self { limit, before: None }
    }

    /// Begins to watch a peer that is awaited already, with a timer made for it.
    pub(crate) fn now(limit: Duration) -> (Self, IdleTimer) {
        (Self { limit, before: None }, IdleTimer::new(limit))
    }

    /// Is ready when the peer has stalled: between once and twice the limit after it stopped.
    pub(crate) fn poll_stalled(
        &mut self,
        progress: &PeerProgress,
        timer: &mut IdleTimer,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        while timer.poll_elapsed(cx).is_ready() {
            let now = progress.awaits_peer().then(|| progress.moved());
            if now.is_some() && now == self.before {
                return Poll::Ready(());
            }
            self.before = now;
            timer.begin(self.limit);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn a_limit_can_be_moved_both_ways() {
        let began = Instant::now();
        let mut timer = IdleTimer::new(Duration::from_secs(10));
        timer.begin(Duration::from_secs(60));
        poll_fn(|cx| timer.poll_elapsed(cx)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(60));
        timer.begin(Duration::from_secs(5));
        poll_fn(|cx| timer.poll_elapsed(cx)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(65));
        timer.begin(Duration::from_secs(50));
        timer.begin(Duration::from_secs(1));
        poll_fn(|cx| timer.poll_elapsed(cx)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(66));
    }
}
