//! The streams of a caller's connection over HTTP/2 that are open.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

/// How many streams that were reset as soon as they began, less those that were answered, end a connection.
const MOST_PREMATURE: u32 = 500;

/// The streams of a connection.
#[derive(Debug, Default)]
pub(super) struct OpenStreams {
    open: Cell<usize>,
    /// Those that were reset as soon as they began, less those that were answered.
    premature: Cell<u32>,
    /// Who is told when none is left, or too many were premature.
    session: RefCell<Option<Waker>>,
}

/// One stream that is open; its drop says that it is over.
pub(super) struct OpenStream {
    streams: Rc<OpenStreams>,
    pub(super) ended: StreamEnd,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamEnd {
    Answered,
    /// Its caller reset it as soon as it had begun it.
    Premature,
    Reset,
}

impl OpenStreams {
    /// Returns whether none is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.get() == 0
    }

    /// Returns whether too many streams were premature, and begins to count anew then.
    pub(super) fn take_flood(&self) -> bool {
        let is_flood = self.premature.get() >= MOST_PREMATURE;
        if is_flood {
            self.premature.set(0);
        }
        is_flood
    }

    /// Sees to it that the session's task is woken when it has to do something.
    pub(super) fn tell(&self, cx: &Context<'_>) {
        let mut session = self.session.borrow_mut();
        if !session.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *session = Some(cx.waker().clone());
        }
    }
}

impl OpenStream {
    pub(super) fn new(streams: &Rc<OpenStreams>) -> Self {
        streams.open.set(streams.open.get() + 1);
        Self { streams: Rc::clone(streams), ended: StreamEnd::Reset }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a stream was given up: this is a defect of the router");
        }
        let OpenStreams { open, premature, session } = &*self.streams;
        open.set(open.get() - 1);
        match self.ended {
            StreamEnd::Answered => premature.set(premature.get().saturating_sub(1)),
            StreamEnd::Premature => premature.set(premature.get() + 1),
            StreamEnd::Reset => {}
        }
        if (open.get() == 0 || premature.get() >= MOST_PREMATURE)
            && let Some(session) = session.take()
        {
            session.wake();
        }
    }
}
