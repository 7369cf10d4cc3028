//! The bodies that are on their way to an endpoint which has not answered yet, and the end of those that are silent.

use crate::proxy::wire::body::{Body, TransferError, carry};
use crate::proxy::wire::sink::{BodyPart, Sink, Trailers};
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

/// The bodies of one worker's requests to one endpoint, as long as the endpoint has sent no head.
///
/// A body is silent when its caller has sent nothing of it for as long as its listener allows. One that is silent may go on
/// for as long as no request needs its room.
#[derive(Debug)]
pub(crate) struct OpenUploads {
    next: Cell<u64>,
    open: RefCell<BTreeMap<u64, Rc<UploadState>>>,
    /// The demand of all workers for the room that these bodies take.
    demand: Arc<RoomDemand>,
    /// The task that meets the demand of other workers. It begins with the first body.
    meeting: OnceCell<AbortHandle>,
}

/// The demand for room at one endpoint, over all workers. A worker that has no silent body itself asks those that have one.
#[derive(Debug, Default)]
pub(crate) struct RoomDemand {
    /// Whether a body is to end that has not ended yet.
    is_open: AtomicBool,
    asked: Notify,
}

/// One body.
#[derive(Debug)]
struct UploadState {
    /// The time since when its caller is awaited; None while the endpoint is.
    awaited: Cell<Option<Instant>>,
    /// How long its caller may be awaited while others wait for the endpoint.
    silent_after: Duration,
    is_reset: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A body among those of its endpoint. Its drop takes it off them: the endpoint has answered.
#[derive(Debug)]
pub(crate) struct OpenUpload {
    uploads: Rc<OpenUploads>,
    id: u64,
    state: Rc<UploadState>,
}

/// The carrier of one body.
#[derive(Debug)]
pub(crate) struct UploadCarrier(Rc<UploadState>);

impl RoomDemand {
    /// Asks for the end of one silent body, on whichever worker.
    pub(crate) fn ask(&self) {
        self.is_open.store(true, Relaxed);
        self.asked.notify_waiters();
    }

    /// Takes back what was asked for and has not come.
    pub(crate) fn withdraw(&self) {
        self.is_open.store(false, Relaxed);
    }

    /// Takes the duty to end a body. Of several workers, one has it.
    fn take(&self) -> bool {
        self.is_open.swap(false, Relaxed)
    }
}

impl OpenUploads {
    /// Makes a worker's bodies, of which there is none yet. Some may end when there is this demand.
    pub(crate) fn new(demand: &Arc<RoomDemand>) -> Self {
        Self {
            next: Cell::default(),
            open: RefCell::default(),
            demand: Arc::clone(demand),
            meeting: OnceCell::new(),
        }
    }

    /// Begins a body, for which its caller may be awaited so long.
    pub(crate) fn begin(self: &Rc<Self>, silent_after: Duration) -> OpenUpload {
        self.meeting.get_or_init(|| self.meet_demand());
        let id = self.next.replace(self.next.get() + 1);
        let state = Rc::new(UploadState {
            awaited: Cell::new(Some(Instant::now())),
            silent_after,
            is_reset: Cell::new(false),
            waker: RefCell::default(),
        });
        self.open.borrow_mut().insert(id, Rc::clone(&state));
        OpenUpload { uploads: Rc::clone(self), id, state }
    }

    /// Spawns a task that ends a silent body when another worker asks for that.
    fn meet_demand(self: &Rc<Self>) -> AbortHandle {
        let (uploads, demand) = (Rc::downgrade(self), Arc::clone(&self.demand));
        let task = spawn_local(async move {
            loop {
                // What is asked for from here on is not missed.
                let asked = demand.asked.notified();
                match uploads.upgrade() {
                    None => return,
                    Some(uploads) => _ = uploads.reset_silent_if(|| demand.take()),
                }
                asked.await;
            }
        });
        task.abort_handle()
    }

    /// Ends the body that is silent for the longest; false when none is silent.
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
        let is_silent = |state: &UploadState| {
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

impl Drop for OpenUploads {
    fn drop(&mut self) {
        if let Some(task) = self.meeting.get() {
            task.abort();
        }
    }
}

impl OpenUpload {
    /// Returns the carrier of the body, which may outlive the wait for the head.
    pub(crate) fn carrier(&self) -> UploadCarrier {
        UploadCarrier(Rc::clone(&self.state))
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

impl Drop for OpenUpload {
    fn drop(&mut self) {
        self.uploads.open.borrow_mut().remove(&self.id);
    }
}

impl UploadState {
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
    state: &'a UploadState,
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

    fn resets(uploads: &[OpenUpload]) -> Vec<bool> {
        uploads.iter().map(|upload| upload.state.is_reset.get()).collect()
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn the_body_that_is_silent_for_the_longest_is_ended() {
        let open = Rc::new(OpenUploads::new(&Arc::default()));
        let mut uploads = Vec::new();
        for _ in 0..3 {
            uploads.push(open.begin(LIMIT));
            advance(Duration::from_secs(1)).await;
        }
        // The endpoint takes no more of the first.
        uploads[0].state.awaited.set(None);
        advance(LIMIT - Duration::from_secs(3)).await;
        open.reset_silent();
        assert_eq!(resets(&uploads), [false; 3], "none is silent for that long");
        advance(Duration::from_secs(5)).await;
        open.reset_silent();
        assert_eq!(resets(&uploads), [false, true, false]);
        open.reset_silent();
        assert_eq!(resets(&uploads), [false, true, true]);
        open.reset_silent();
        assert_eq!(resets(&uploads), [false, true, true]);
        drop(uploads);
        assert!(open.open.borrow().is_empty());
    }

    /// Lets the tasks that meet the demand run.
    async fn settle() {
        for _ in 0..4 {
            yield_now().await;
        }
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn of_several_workers_one_ends_a_body() {
        let demand = Arc::<RoomDemand>::default();
        let workers = [(); 3].map(|()| Rc::new(OpenUploads::new(&demand)));
        let uploads = [workers[0].begin(LIMIT), workers[1].begin(LIMIT)];
        let count = || resets(&uploads).into_iter().filter(|is_reset| *is_reset).count();
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
        drop(uploads);
        drop(workers);
        settle().await;
        assert_eq!(Arc::strong_count(&demand), 1, "no task is left");
    }
}
