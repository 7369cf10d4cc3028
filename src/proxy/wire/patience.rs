//! How long a connection may keep the router waiting, and the bell that ends all waiting.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// A time limit that is moved with every request and rarely reached.
///
/// Moving it is one store: the timer is left where it is, and when it fires early it is set again. To be polled by one
/// task only.
#[derive(Debug)]
pub(crate) struct Patience {
    until: Instant,
    timer: Pin<Box<Sleep>>,
    /// Whether the timer will wake the task: it need not be polled until it fires.
    armed: bool,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        let until = after(limit);
        Self { until, timer: Box::pin(sleep_until(until)), armed: false }
    }

    /// Begins a new wait of up to `limit`.
    pub(crate) fn begin(&mut self, limit: Duration) {
        self.until = after(limit);
        if self.until < self.timer.deadline() {
            self.reset();
        }
    }

    fn reset(&mut self) {
        self.timer.as_mut().reset(self.until);
        self.armed = false;
    }

    /// Whether the wait has lasted too long.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
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

/// The end of a wait that begins now; a limit beyond the clock is one of a year.
pub(crate) fn after(limit: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    Instant::now() + limit.min(YEAR)
}

/// What a peer moves, and whether nothing can go on until it does.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// How many bytes went either way.
    moved: Cell<u64>,
    /// Whether a body is awaited from the peer.
    pub(crate) for_bytes: Cell<bool>,
    /// Whether the peer has to take bytes before more can be written.
    pub(crate) for_room: Cell<bool>,
}

impl Waits {
    /// Counts bytes that went either way.
    pub(crate) fn move_on(&self, bytes: usize) {
        self.moved.set(self.moved.get() + bytes as u64);
    }

    /// How many bytes have gone either way so far.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.get()
    }

    /// Forgets what was awaited by what was given up.
    pub(crate) fn forget(&self) {
        self.for_bytes.set(false);
        self.for_room.set(false);
    }

    /// Whether nothing goes on until the peer sends bytes, or takes some.
    pub(crate) fn for_peer(&self) -> bool {
        self.for_bytes.get() || self.for_room.get()
    }
}

/// Notices that a peer keeps the router waiting and moves nothing for a whole limit.
#[derive(Debug)]
pub(crate) struct Stall {
    limit: Duration,
    /// What had moved when the limit was over the last time, if the peer was awaited then.
    before: Option<u64>,
}

impl Stall {
    /// Begins to watch; `patience` is used for it.
    pub(crate) fn new(waits: &Waits, patience: &mut Patience, limit: Duration) -> Self {
        patience.begin(limit);
        waits.forget();
        Self { limit, before: None }
    }

    /// Begins to watch a peer that is awaited already, with a timer made for it.
    pub(crate) fn now(limit: Duration) -> (Self, Patience) {
        (Self { limit, before: None }, Patience::new(limit))
    }

    /// Whether the peer has stalled: said between once and twice the limit after it stopped.
    pub(crate) fn poll_stalled(
        &mut self,
        waits: &Waits,
        patience: &mut Patience,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        while patience.poll_over(cx).is_ready() {
            let now = waits.for_peer().then(|| waits.moved());
            if now.is_some() && now == self.before {
                return Poll::Ready(());
            }
            self.before = now;
            patience.begin(self.limit);
        }
        Poll::Pending
    }
}

/// Rung when the worker stops, in two steps: first what is answered is told that it is the last, then everybody who
/// still waits for a request hears it.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    last_call: Cell<bool>,
    rung: Cell<bool>,
    next: Cell<u64>,
    hearers: RefCell<HashMap<u64, Waker>>,
}

/// One task that hears a [`Bell`].
#[derive(Debug)]
pub(crate) struct Hearer {
    bell: Rc<Bell>,
    id: u64,
    known: Cell<bool>,
}

impl Bell {
    /// Says that what is answered from now on is the last on its connection.
    pub(crate) fn call_last(&self) {
        self.last_call.set(true);
    }

    /// Ends all waiting.
    pub(crate) fn ring(&self) {
        self.call_last();
        self.rung.set(true);
        for (_, waker) in self.hearers.borrow_mut().drain() {
            waker.wake();
        }
    }

    /// Whether what is answered now is the last on its connection.
    pub(crate) fn is_last_call(&self) -> bool {
        self.last_call.get()
    }

    pub(crate) fn hear(self: &Rc<Self>) -> Hearer {
        let id = self.next.get();
        self.next.set(id + 1);
        Hearer { bell: Rc::clone(self), id, known: Cell::new(false) }
    }
}

impl Hearer {
    /// Whether the bell was rung. To be polled by one task only: its waker is taken down once.
    pub(crate) fn poll_rung(&self, cx: &Context<'_>) -> Poll<()> {
        if self.bell.rung.get() {
            return Poll::Ready(());
        }
        if !self.known.replace(true) {
            self.bell.hearers.borrow_mut().insert(self.id, cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Hearer {
    fn drop(&mut self) {
        self.bell.hearers.borrow_mut().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn a_limit_can_be_moved_both_ways() {
        let began = Instant::now();
        let mut patience = Patience::new(Duration::from_secs(10));
        patience.begin(Duration::from_secs(60));
        poll_fn(|cx| patience.poll_over(cx)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(60));
        patience.begin(Duration::from_secs(5));
        poll_fn(|cx| patience.poll_over(cx)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(65));
        patience.begin(Duration::from_secs(50));
        patience.begin(Duration::from_secs(1));
        poll_fn(|cx| patience.poll_over(cx)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(66));
    }

    #[tokio::test(flavor = "local")]
    async fn everybody_hears_the_bell() {
        let bell = Rc::new(Bell::default());
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let hearer = bell.hear();
                tokio::task::spawn_local(async move { poll_fn(|cx| hearer.poll_rung(cx)).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(tasks.iter().all(|task| !task.is_finished()));
        bell.call_last();
        tokio::task::yield_now().await;
        assert!(bell.is_last_call() && tasks.iter().all(|task| !task.is_finished()));
        bell.ring();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(bell.hearers.borrow().is_empty());
    }
}
