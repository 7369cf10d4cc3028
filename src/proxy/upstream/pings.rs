//! PING on connections over HTTP/2 that were idle: whether their endpoint is still there.
//!
//! An endpoint that is lost closes no connection. The next request on an idle one would wait until TCP gives up, 30 s or more.
//! So a ping goes with it, and none without a request: servers end the connections of clients that ping for nothing (grpc-go
//! allows two pings between answers, and none within two hours without a call).

use h2::{Ping, PingPong};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::timeout;

/// How long a connection is idle, as the sweeps see it, until its next request brings a ping.
pub(crate) const DOUBTED_AFTER: Duration = Duration::from_secs(5);

/// How long an endpoint may take to answer a ping.
const PONG_WITHIN: Duration = Duration::from_secs(3);

/// How many pings are sent until the endpoint answers a request.
const MOST_UNPAID: u8 = 2;

/// The pings of one connection, one at a time.
pub(crate) struct EndpointPings {
    /// Taken while an answer is awaited.
    pings: RefCell<Option<PingPong>>,
    state: Cell<PingState>,
    /// How many pings were sent since the head of a response came.
    unpaid: Cell<u8>,
    /// How many heads of responses have come on the connection, interim ones too.
    answers: Cell<u64>,
    /// Whether a ping was answered: the settings of the endpoint, which come first, are known by then.
    is_greeted: Cell<bool>,
    /// Whether the connection takes no more exchanges.
    ended: Rc<Cell<bool>>,
    /// The tasks that wait for the answer.
    waiting: RefCell<Vec<Waker>>,
}

/// The progress of the last ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PingState {
    /// None is under way.
    Quiet,
    /// The answer is awaited.
    Awaited,
    /// No answer came in time, or the connection ended.
    Lost,
}

/// An endpoint that has not answered a ping in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LostEndpoint;

impl EndpointPings {
    /// Makes the pings of a connection that is open; `ended` is set when the endpoint is lost.
    pub(crate) fn new(pings: Option<PingPong>, ended: &Rc<Cell<bool>>) -> Rc<Self> {
        Rc::new(Self {
            pings: RefCell::new(pings),
            state: Cell::new(PingState::Quiet),
            unpaid: Cell::new(0),
            answers: Cell::new(0),
            is_greeted: Cell::new(false),
            ended: Rc::clone(ended),
            waiting: RefCell::default(),
        })
    }

    /// Counts the head of a response.
    pub(crate) fn note_answer(&self) {
        self.answers.set(self.answers.get() + 1);
        self.unpaid.set(0);
    }

    /// Returns how many heads of responses have come on the connection.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.get()
    }

    /// Returns whether the endpoint is not in doubt.
    pub(crate) fn is_quiet(&self) -> bool {
        self.state.get() == PingState::Quiet
    }

    /// Returns whether the answer to a ping is awaited.
    pub(crate) fn is_awaited(&self) -> bool {
        self.state.get() == PingState::Awaited
    }

    /// Pings an endpoint whose connection was idle, unless it has answered no request since the last pings.
    pub(crate) fn check(self: &Rc<Self>) {
        if self.unpaid.get() < MOST_UNPAID {
            self.send();
        }
    }

    /// Waits until the settings of the endpoint are known.
    ///
    /// # Errors
    ///
    /// The endpoint does not answer.
    pub(crate) async fn greeting(self: &Rc<Self>) -> Result<(), LostEndpoint> {
        if self.is_greeted.get() || self.answers.get() > 0 {
            return Ok(());
        }
        self.send();
        self.answer().await
    }

    /// Waits for the answer to a ping, if one is under way.
    ///
    /// # Errors
    ///
    /// It does not come in time.
    pub(crate) async fn answer(&self) -> Result<(), LostEndpoint> {
        poll_fn(|cx| match self.state.get() {
            PingState::Quiet => Poll::Ready(Ok(())),
            PingState::Lost => Poll::Ready(Err(LostEndpoint)),
            PingState::Awaited => self.register(cx),
        })
        .await
    }

    /// Is ready when the endpoint has not answered a ping in time. One that answers is not lost.
    pub(crate) fn poll_lost(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.state.get() {
            PingState::Lost => Poll::Ready(()),
            PingState::Quiet => Poll::Pending,
            PingState::Awaited => self.register(cx),
        }
    }

    /// Has the task woken when the answer has come, or is late.
    fn register<T>(&self, cx: &Context<'_>) -> Poll<T> {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Sends a ping, unless one is under way, and has its answer awaited.
    fn send(self: &Rc<Self>) {
        let Some(mut pings) = self.pings.borrow_mut().take() else { return };
        if pings.send_ping(Ping::opaque()).is_err() {
            // The connection is over.
            return self.end(PingState::Lost);
        }
        self.unpaid.set(self.unpaid.get().saturating_add(1));
        self.state.set(PingState::Awaited);
        let this = Rc::clone(self);
        tokio::task::spawn_local(async move { this.watch(pings).await });
    }

    /// Waits for the answer of the endpoint. While responses come, it is there, however late the answer is.
    async fn watch(&self, mut pings: PingPong) {
        loop {
            let before = self.answers.get();
            match timeout(PONG_WITHIN, poll_fn(|cx| pings.poll_pong(cx))).await {
                Ok(Ok(_)) => {
                    self.is_greeted.set(true);
                    *self.pings.borrow_mut() = Some(pings);
                    return self.end(PingState::Quiet);
                }
                Err(_) if self.answers.get() > before => {}
                Ok(Err(_)) | Err(_) => return self.end(PingState::Lost),
            }
        }
    }

    fn end(&self, state: PingState) {
        if state == PingState::Lost {
            self.ended.set(true);
        }
        self.state.set(state);
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}
