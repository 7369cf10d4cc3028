//! Timers: how long a peer may keep the router waiting, and how long work may take.

use super::object_pool::{ObjectPool, PoolItem};
use std::cell::Cell;
use std::future::{Future, poll_fn};
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
        Self::at(after(limit))
    }

    /// Begins a wait until this time.
    fn at(until: Instant) -> Self {
        Self { until, timer: Box::pin(sleep_until(until)), armed: false }
    }

    /// Begins a new wait of up to `limit`; returns when it began.
    pub(crate) fn begin(&mut self, limit: Duration) -> Instant {
        let now = Instant::now();
        self.begin_until(now + bounded(limit));
        now
    }

    /// Begins a new wait until this time.
    fn begin_until(&mut self, until: Instant) {
        self.until = until;
        if until < self.timer.deadline() {
            self.reset();
        }
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

/// A timer for work that is limited in time; work hardly ever takes that long.
///
/// The timers of a worker are used again: while one is not used, it stays in the runtime's wheel as it was, and a limit that
/// ends later than the last one moves nothing there.
#[derive(Debug, Default)]
pub(crate) struct WorkTimer(Option<IdleTimer>);

impl WorkTimer {
    /// Is ready when this time has come. A time that has moved since the last poll counts.
    pub(crate) fn poll_until(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| IdleTimer::at(until));
        timer.begin_until(until);
        timer.poll_elapsed(cx)
    }
}

impl PoolItem for WorkTimer {
    fn reset(&mut self) -> bool {
        if let Some(timer) = &mut self.0 {
            // The next task that waits is another one.
            timer.armed = false;
        }
        true
    }
}

/// Does `work` until it is done or the time is over, if there is a limit to it; returns nothing in the second case. The timer is
/// taken from `timers` when the work has to wait for the first time. `until` is asked each time: the work may set a limit itself.
///
/// The work stays where the calling function pinned it: by value it would be moved. This is no `async fn`: that would hold what
/// it is given twice.
pub(crate) fn before<T>(
    until: impl Fn() -> Option<Instant>,
    timers: &ObjectPool<WorkTimer>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> impl Future<Output = Option<T>> {
    let mut timer = None;
    poll_fn(move |cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        let Some(until) = until() else { return Poll::Pending };
        timer.get_or_insert_with(|| timers.take()).poll_until(until, cx).map(|()| None)
    })
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
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn work_is_given_up_when_its_time_is_over() {
        let timers = ObjectPool::<WorkTimer>::default();
        let began = Instant::now();
        // A timer is used again for longer limits, for shorter ones, and by other tasks.
        for (limit, takes) in [(5, 1), (5, 9), (60, 30), (60, 90), (3, 1), (3, 4), (20, 9), (20, 30)] {
            let (at, timers) = (Instant::now(), timers.clone());
            let tasks = tokio::task::LocalSet::new();
            let task = tasks.spawn_local(async move {
                let work = std::pin::pin!(sleep(Duration::from_secs(takes)));
                let until = after(Duration::from_secs(limit));
                before(|| Some(until), &timers, work).await
            });
            let done = tasks.run_until(task).await.unwrap();
            assert_eq!(done.is_some(), takes < limit, "{takes} s of {limit}");
            assert_eq!(at.elapsed(), Duration::from_secs(takes.min(limit)));
        }
        assert_eq!(began.elapsed(), Duration::from_secs(1 + 5 + 30 + 60 + 1 + 3 + 9 + 20));
    }

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
