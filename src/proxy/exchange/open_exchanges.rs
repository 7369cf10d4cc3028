//! The exchanges with an endpoint that end when they are silent while others wait: those whose endpoint has not answered and
//! whose body is still to come, and tunnels.

use crate::proxy::wire::body::{Body, TransferError, carry};
use crate::proxy::wire::sink::{BodyPart, Sink, Trailers};
use crate::proxy::wire::timer::bounded;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

/// The exchanges of one worker with one endpoint that may end when they are silent.
///
/// A body is silent when its caller has sent nothing of it for as long as its listener allows, and a tunnel when neither side
/// has. One that is silent may go on for as long as no request needs its room.
#[derive(Debug)]
pub(crate) struct OpenExchanges {
    next: Cell<u64>,
    open: RefCell<BTreeMap<u64, Rc<ExchangeState>>>,
    /// The demand of all workers for the room that these exchanges take.
    demand: Arc<RoomDemand>,
    /// The task that meets the demand of other workers. It begins with the first exchange.
    meeting: OnceCell<AbortHandle>,
}

/// The demand for room at one endpoint, over all workers. A worker that has no silent exchange itself asks those that have
/// one.
#[derive(Debug, Default)]
pub(crate) struct RoomDemand {
    /// Whether an exchange is to end, and none has yet.
    is_open: AtomicBool,
    asked: Notify,
}

/// One exchange.
#[derive(Debug)]
struct ExchangeState {
    /// The time since when its caller, or either side of a tunnel, is awaited; None while the endpoint is.
    awaited: Cell<Option<Instant>>,
    /// How long that may last while others wait for the endpoint.
    silent_after: Duration,
    is_reset: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// An exchange among those of its endpoint that may end. Its drop takes it off them.
#[derive(Debug)]
pub(crate) struct OpenExchange {
    exchanges: Rc<OpenExchanges>,
    id: u64,
    state: Rc<ExchangeState>,
}

/// The carrier of one body.
#[derive(Debug)]
pub(crate) struct UploadCarrier(Rc<ExchangeState>);

impl RoomDemand {
    /// Asks for the end of one silent exchange, on whichever worker.
    pub(crate) fn ask(&self) {
        self.is_open.store(true, Relaxed);
        self.asked.notify_waiters();
    }

    /// Takes back what was asked for and has not come.
    pub(crate) fn withdraw(&self) {
        self.is_open.store(false, Relaxed);
    }

    /// Takes the duty to end an exchange. Of several workers, one has it.
    fn take(&self) -> bool {
        self.is_open.swap(false, Relaxed)
    }
}

impl OpenExchanges {
    /// Makes a worker's exchanges, of which there is none yet. Some may end when there is this demand.
    pub(crate) fn new(demand: &Arc<RoomDemand>) -> Self {
        Self {
            next: Cell::default(),
            open: RefCell::default(),
            demand: Arc::clone(demand),
            meeting: OnceCell::new(),
        }
    }

    /// Begins an exchange, which may be silent for so long.
    pub(crate) fn begin(self: &Rc<Self>, silent_after: Duration) -> OpenExchange {
        self.meeting.get_or_init(|| self.meet_demand());
        let id = self.next.replace(self.next.get() + 1);
        let state = Rc::new(ExchangeState {
            awaited: Cell::new(Some(Instant::now())),
            silent_after,
            is_reset: Cell::new(false),
            waker: RefCell::default(),
        });
        self.open.borrow_mut().insert(id, Rc::clone(&state));
        OpenExchange { exchanges: Rc::clone(self), id, state }
    }

    /// Spawns a task that ends a silent exchange when another worker asks for that.
    fn meet_demand(self: &Rc<Self>) -> AbortHandle {
        let (exchanges, demand) = (Rc::downgrade(self), Arc::clone(&self.demand));
        let task = spawn_local(async move {
            loop {
                // What is asked for from here on is not missed.
                let asked = demand.asked.notified();
                match exchanges.upgrade() {
                    None => return,
                    Some(exchanges) => _ = exchanges.reset_silent_if(|| demand.take()),
                }
                asked.await;
            }
        });
        task.abort_handle()
    }

    /// Ends the exchange that is silent for the longest; false when none is silent.
    pub(crate) fn reset_silent(&self) -> bool {
        self.reset_silent_if(|| true)
    }

    /// Does so if one is silent, and then only if `may_reset` says so.
    fn reset_silent_if(&self, may_reset: impl FnOnce() -> bool) -> bool {
        let mut open = self.open.borrow_mut();
        if open.is_empty() {
            return false;
        }
        let now = Instant::now();
        let is_silent = |state: &ExchangeState| {
            state.awaited.get().filter(|since| now.duration_since(*since) >= state.silent_after)
        };
        let silent = open.iter().filter_map(|(id, state)| is_silent(state).map(|since| (since, *id))).min();
        let Some((_, id)) = silent.filter(|_| may_reset()) else { return false };
        let Some(state) = open.remove(&id) else { return false };
        state.is_reset.set(true);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        true
    }
}

impl Drop for OpenExchanges {
    fn drop(&mut self) {
        if let Some(task) = self.meeting.get() {
            task.abort();
        }
    }
}

impl OpenExchange {
    /// Returns the carrier of the body, which may outlive the wait for the head.
    pub(crate) fn carrier(&self) -> UploadCarrier {
        UploadCarrier(Rc::clone(&self.state))
    }

    /// Notes that bytes have moved; returns the time from which on it is silent unless more do.
    pub(crate) fn note_moved(&self) -> Instant {
        let now = Instant::now();
        self.state.awaited.set(Some(now));
        now + bounded(self.state.silent_after)
    }

    /// Becomes ready when it is to end, because it is silent and others wait.
    pub(crate) fn poll_reset(&self, cx: &Context<'_>) -> Poll<()> {
        self.state.poll_reset(cx)
    }
}

impl UploadCarrier {
    /// Carries the body to its endpoint.
    ///
    /// # Errors
    ///
    /// As of [`carry`]; [`io::ErrorKind::TimedOut`] when it was ended because it is silent.
    pub(crate) async fn carry(&self, body: &mut Body, to: &mut impl Sink) -> Result<(), TransferError> {
        let state = &*self.0;
        let mut to = UploadSink { state, to };
        let mut carrying = pin!(carry(body, &mut to));
        poll_fn(|cx| {
            if state.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(TransferError::Source(io::ErrorKind::TimedOut.into())));
            }
            carrying.as_mut().poll(cx)
        })
        .await
    }
}

impl Drop for OpenExchange {
    fn drop(&mut self) {
        self.exchanges.open.borrow_mut().remove(&self.id);
    }
}

impl ExchangeState {
    fn poll_reset(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_reset.get() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// A sink that notes since when a caller is awaited.
struct UploadSink<'a, S> {
    state: &'a ExchangeState,
    to: &'a mut S,
}

impl<S: Sink> Sink for UploadSink<'_, S> {
    async fn piece(&mut self, part: &BodyPart, last: bool) -> io::Result<()> {
        self.state.awaited.set(None);
        let taken = self.to.piece(part, last).await;
        self.state.awaited.set(Some(Instant::now()));
        taken
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.to.flush().await
    }

    async fn finish(&mut self, trailers: Trailers<'_>) -> io::Result<()> {
        self.state.awaited.set(None);
        self.to.finish(trailers).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::yield_now;
    use tokio::time::advance;

    const LIMIT: Duration = Duration::from_secs(60);

    fn resets(exchanges: &[OpenExchange]) -> Vec<bool> {
        exchanges.iter().map(|exchange| exchange.state.is_reset.get()).collect()
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn the_exchange_that_is_silent_for_the_longest_is_ended() {
        let open = Rc::new(OpenExchanges::new(&Arc::default()));
        let mut exchanges = Vec::new();
        for _ in 0..3 {
            exchanges.push(open.begin(LIMIT));
            advance(Duration::from_secs(1)).await;
        }
        // The endpoint takes no more of the first.
        exchanges[0].state.awaited.set(None);
        advance(LIMIT - Duration::from_secs(3)).await;
        open.reset_silent();
        assert_eq!(resets(&exchanges), [false; 3], "none is silent for that long");
        advance(Duration::from_secs(5)).await;
        open.reset_silent();
        assert_eq!(resets(&exchanges), [false, true, false]);
        open.reset_silent();
        assert_eq!(resets(&exchanges), [false, true, true]);
        open.reset_silent();
        assert_eq!(resets(&exchanges), [false, true, true]);
        drop(exchanges);
        assert!(open.open.borrow().is_empty());
    }

    /// Lets the tasks that meet the demand run.
    async fn settle() {
        for _ in 0..4 {
            yield_now().await;
        }
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn of_several_workers_one_ends_an_exchange() {
        let demand = Arc::<RoomDemand>::default();
        let workers = [(); 3].map(|()| Rc::new(OpenExchanges::new(&demand)));
        let exchanges = [workers[0].begin(LIMIT), workers[1].begin(LIMIT)];
        let count = || resets(&exchanges).into_iter().filter(|is_reset| *is_reset).count();
        settle().await;
        demand.ask();
        settle().await;
        assert_eq!(count(), 0, "none is silent yet");
        demand.withdraw();
        advance(LIMIT).await;
        settle().await;
        assert_eq!(count(), 0, "none is asked for any longer");
        for ended in [1, 2, 2] {
            demand.ask();
            settle().await;
            assert_eq!(count(), ended);
        }
        drop(exchanges);
        drop(workers);
        settle().await;
        assert_eq!(Arc::strong_count(&demand), 1, "no task is left");
    }
}
