//! Timers: how long a peer may keep the router waiting, and how long work may take.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// The timer of one task, for all limits on the time of what the task does. Limits are moved with every request, and are rarely
/// reached.
///
/// It is set for the earliest limit, and stays in the runtime's wheel as it is while limits move on: that costs each of them a
/// comparison. When it fires early, it is set for what is the earliest then. It is made when a limit is first waited for.
///
/// Only its task may poll it, and does so with all its limits whenever it is woken.
#[derive(Debug, Default)]
pub(crate) struct TaskTimer(RefCell<Option<Pin<Box<Sleep>>>>);

impl TaskTimer {
    /// Is ready when this time has come. A time that has moved since the last poll counts.
    #[inline]
    pub(crate) fn poll_until(&self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match &*self.0.borrow() {
            // It was polled when it was set, so that it wakes the task.
            Some(sleep) if sleep.deadline() <= until && !sleep.is_elapsed() => return Poll::Pending,
            _ => {}
        }
        self.set(until, cx)
    }

    /// Sets the timer for this time, and polls it; it may have come already.
    #[cold]
    fn set(&self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut timer = self.0.borrow_mut();
        let sleep = timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if until < sleep.deadline() {
            sleep.as_mut().reset(until);
        }
        let mut is_early = false;
        // A task that has used up its turn would not be registered, and the timer would be taken for set.
        while pin!(unconstrained(sleep.as_mut())).poll(cx).is_ready() {
            if sleep.deadline() >= until {
                return Poll::Ready(());
            }
            is_early = true;
            sleep.as_mut().reset(until);
        }
        if is_early {
            // An earlier limit may have been polled just before the timer fired.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// A time limit that is moved with every request, by one store, and the timer of the task that waits.
#[derive(Debug)]
pub(crate) struct IdleTimer {
    until: Instant,
    timer: Rc<TaskTimer>,
}

impl IdleTimer {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { until: after(limit), timer: Rc::default() }
    }

    /// Begins a new wait of up to `limit`; returns when it began.
    pub(crate) fn begin(&mut self, limit: Duration) -> Instant {
        let now = Instant::now();
        self.until = now + bounded(limit);
        now
    }

    /// Is ready when the wait has lasted too long.
    pub(crate) fn poll_elapsed(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.poll_until(self.until, cx)
    }

    /// Returns the timer of its task, for other limits.
    pub(crate) fn timer(&self) -> &Rc<TaskTimer> {
        &self.timer
    }
}

/// Does `work` until it is done or the time is over, if there is a limit to it; returns nothing in the second case. `timer` is
/// that of the task. `until` is asked each time: the work may set a limit itself.
///
/// The work stays where the calling function pinned it: by value it would be moved. This is no `async fn`: that would hold what
/// it is given twice.
pub(crate) fn before<T>(
    until: impl Fn() -> Option<Instant>,
    timer: Rc<TaskTimer>,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> impl Future<Output = Option<T>> {
    poll_fn(move |cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        let Some(until) = until() else { return Poll::Pending };
        timer.poll_until(until, cx).map(|()| None)
    })
}

/// Returns the end of a wait that begins now. A limit that the clock cannot hold becomes one year.
pub(crate) fn after(limit: Duration) -> Instant {
    Instant::now() + bounded(limit)
}

/// Returns a limit that the clock can hold, of one year at most.
pub(crate) fn bounded(limit: Duration) -> Duration {
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

/// A limit on the time in which a peer keeps the router waiting and moves no byte.
#[derive(Debug)]
pub(crate) struct StallLimit {
    until: Instant,
    /// The bytes that had moved when the limit was over the last time; [`u64::MAX`] if the peer was not awaited then.
    before: u64,
}

impl StallLimit {
    /// Begins to watch a peer, which is not awaited yet.
    pub(crate) fn new(progress: &PeerProgress, limit: Duration) -> Self {
        progress.forget();
        Self::now(limit)
    }

    /// Begins to watch a peer that is awaited already.
    pub(crate) fn now(limit: Duration) -> Self {
        Self { until: after(limit), before: u64::MAX }
    }

    /// Is ready when the peer has stalled: between once and twice the limit after it stopped.
    pub(crate) fn poll_stalled(
        &mut self,
        progress: &PeerProgress,
        (timer, limit): (&TaskTimer, Duration),
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        while timer.poll_until(self.until, cx).is_ready() {
            let awaits_peer = progress.awaits_peer();
            if awaits_peer && progress.moved() == self.before {
                return Poll::Ready(());
            }
            self.before = if awaits_peer { progress.moved() } else { u64::MAX };
            self.until = after(limit);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::LocalSet;
    use tokio::time::sleep;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_given_up_when_its_time_is_over() {
        let (timer, began) = (Rc::<TaskTimer>::default(), Instant::now());
        // The timer is used again for longer limits, and for shorter ones.
        for (limit, takes) in [(5, 1), (5, 9), (60, 30), (60, 90), (3, 1), (3, 4), (20, 9), (20, 30)] {
            let at = Instant::now();
            let until = after(seconds(limit));
            let work = pin!(sleep(seconds(takes)));
            let done = before(|| Some(until), Rc::clone(&timer), work).await;
            assert_eq!(done.is_some(), takes < limit, "{takes} s of {limit}");
            assert_eq!(at.elapsed(), seconds(takes.min(limit)));
        }
        assert_eq!(began.elapsed(), seconds(1 + 5 + 30 + 60 + 1 + 3 + 9 + 20));
    }

    #[tokio::test(start_paused = true)]
    async fn limits_share_a_timer_and_each_is_reached_in_its_time() {
        for (inner, outer, takes) in
            [(5, 60, 90), (60, 5, 90), (5, 5, 90), (60, 90, 5), (90, 60, 5), (7, 8, 9)]
        {
            let timer = Rc::<TaskTimer>::default();
            // It was set for an earlier limit, which is none any more.
            poll_fn(|cx| Poll::Ready(timer.poll_until(after(seconds(2)), cx).is_pending())).await;
            let began = Instant::now();
            let (inner_end, outer_end) = (began + seconds(inner), began + seconds(outer));
            let ended = {
                let work = pin!(sleep(seconds(takes)));
                let work = pin!(before(move || Some(inner_end), Rc::clone(&timer), work));
                before(move || Some(outer_end), Rc::clone(&timer), work).await
            };
            let ended = ended.map(|inner| inner.is_some());
            let expected = match takes < inner.min(outer) {
                true => Some(true),
                // Of two that end at once, the inner one is asked first.
                false => (inner <= outer).then_some(false),
            };
            assert_eq!(ended, expected, "{inner} s in {outer} s, {takes} s");
            assert_eq!(began.elapsed(), seconds(takes.min(inner).min(outer)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_was_polled_just_before_the_timer_fired_is_not_lost() {
        let (timer, began, mut turn) = (TaskTimer::default(), Instant::now(), 0);
        let over = poll_fn(|cx| {
            turn += 1;
            if turn == 1 {
                assert!(timer.poll_until(began + seconds(1), cx).is_pending());
            }
            // The second turn is that of the timer, which fired behind this poll.
            if turn != 2 && timer.poll_until(began + seconds(3), cx).is_ready() {
                return Poll::Ready(3);
            }
            timer.poll_until(began + seconds(60), cx).map(|()| 60)
        });
        assert_eq!(over.await, 3);
        assert_eq!(began.elapsed(), seconds(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_has_used_up_its_turn_is_woken_all_the_same() {
        let began = Instant::now();
        let tasks = LocalSet::new();
        let task = tasks.spawn_local(async move {
            let timer = TaskTimer::default();
            let mut is_used_up = false;
            poll_fn(|cx| {
                // What is ready at once takes the rest of the task's turn.
                while !is_used_up && pin!(tokio::task::coop::consume_budget()).poll(cx).is_ready() {}
                is_used_up = true;
                timer.poll_until(began + seconds(5), cx)
            })
            .await;
        });
        tasks.run_until(task).await.unwrap();
        assert_eq!(began.elapsed(), seconds(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_can_be_moved_both_ways() {
        let began = Instant::now();
        let mut timer = IdleTimer::new(seconds(10));
        timer.begin(seconds(60));
        poll_fn(|cx| timer.poll_elapsed(cx)).await;
        assert_eq!(began.elapsed(), seconds(60));
        timer.begin(seconds(5));
        poll_fn(|cx| timer.poll_elapsed(cx)).await;
        assert_eq!(began.elapsed(), seconds(65));
        timer.begin(seconds(50));
        timer.begin(seconds(1));
        poll_fn(|cx| timer.poll_elapsed(cx)).await;
        assert_eq!(began.elapsed(), seconds(66));
    }
}
