//! Counts the open streams of a caller's HTTP/2 connection, and the streams that the caller reset too soon.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

/// How many premature streams, less the answered ones, end a connection.
const MOST_PREMATURE: u32 = 500;

/// The counts of one connection's streams.
#[derive(Debug, Default)]
pub(super) struct OpenStreams {
    open: Cell<usize>,
    /// How many streams were reset as soon as they began, less those that were answered.
    premature: Cell<u32>,
    /// The waker of the session's task: woken when no stream is left, or too many were premature.
    waker: RefCell<Option<Waker>>,
}

/// One open stream. Its drop counts the stream as ended: as reset, unless [`OpenStream::end`] says otherwise.
pub(super) struct OpenStream {
    streams: Rc<OpenStreams>,
    ended: StreamEnd,
}

/// The way in which a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamEnd {
    Answered,
    /// The caller reset the stream as soon as it had begun it.
    Premature,
    Reset,
}

impl OpenStreams {
    /// Returns whether no stream is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.get() == 0
    }

    /// Returns whether too many streams were premature. If so, the count starts again from zero.
    pub(super) fn take_flood(&self) -> bool {
        let is_flood = self.premature.get() >= MOST_PREMATURE;
        if is_flood {
            self.premature.set(0);
        }
        is_flood
    }

    /// Registers the session's task to be woken when no stream is left, or too many were premature.
    pub(super) fn register(&self, cx: &Context<'_>) {
        let mut registered = self.waker.borrow_mut();
        if !registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *registered = Some(cx.waker().clone());
        }
    }
}

impl OpenStream {
    pub(super) fn new(streams: &Rc<OpenStreams>) -> Self {
        streams.open.set(streams.open.get() + 1);
        Self { streams: Rc::clone(streams), ended: StreamEnd::Reset }
    }

    /// Counts the stream as ended in this way.
    pub(super) fn end(mut self, ended: StreamEnd) {
        self.ended = ended;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the task of a stream panicked: this is a bug in the router");
        }
        let OpenStreams { open, premature, waker } = &*self.streams;
        open.set(open.get() - 1);
        match self.ended {
            StreamEnd::Answered => premature.set(premature.get().saturating_sub(1)),
            StreamEnd::Premature => premature.set(premature.get() + 1),
            StreamEnd::Reset => {}
        }
        if (open.get() == 0 || premature.get() >= MOST_PREMATURE)
            && let Some(waker) = waker.take()
        {
            waker.wake();
        }
    }
}
