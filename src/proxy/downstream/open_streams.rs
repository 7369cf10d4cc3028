//! Counts the open streams of a caller's HTTP/2 connection, and the streams that the caller reset too soon.

use super::tunnel::TunnelPlace;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// How many premature streams, less the answered ones, end a connection.
const MOST_PREMATURE: u32 = 500;

/// The counts of one connection's streams.
#[derive(Debug, Default)]
pub(super) struct OpenStreams {
    open: Cell<usize>,
    /// How many of them are tunnels that are silent.
    silent: Cell<usize>,
    /// How many streams were reset as soon as they began, less those that were answered.
    premature: Cell<u32>,
    /// The waker of the session's task: woken when no stream is left that is not silent, or one is there again, or too many were
    /// premature.
    waker: RefCell<Option<Waker>>,
}

/// One open stream. Its drop counts the stream as ended: as reset, unless [`OpenStream::end`] says otherwise.
pub(super) struct OpenStream {
    streams: Rc<OpenStreams>,
    ended: StreamEnd,
    is_silent: Cell<bool>,
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

    /// Returns whether all streams that are open are tunnels that are silent.
    pub(super) fn are_silent(&self) -> bool {
        let open = self.open.get();
        open > 0 && open == self.silent.get()
    }

    /// Returns whether too many streams were premature. If so, the count starts again from zero.
    pub(super) fn take_flood(&self) -> bool {
        let is_flood = self.premature.get() >= MOST_PREMATURE;
        if is_flood {
            self.premature.set(0);
        }
        is_flood
    }

    /// Registers the session's task to be woken when no stream is left that is not silent, or one is there again, or too many
    /// were premature.
    pub(super) fn register(&self, cx: &Context<'_>) {
        let mut registered = self.waker.borrow_mut();
        if !registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *registered = Some(cx.waker().clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl OpenStream {
    pub(super) fn new(streams: &Rc<OpenStreams>) -> Self {
        streams.open.set(streams.open.get() + 1);
        Self { streams: Rc::clone(streams), ended: StreamEnd::Reset, is_silent: Cell::default() }
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
        let OpenStreams { open, silent, premature, .. } = &*self.streams;
        open.set(open.get() - 1);
        silent.set(silent.get() - usize::from(self.is_silent.get()));
        match self.ended {
            StreamEnd::Answered => premature.set(premature.get().saturating_sub(1)),
            StreamEnd::Premature => premature.set(premature.get() + 1),
            StreamEnd::Reset => {}
        }
        if open.get() == silent.get() || premature.get() >= MOST_PREMATURE {
            self.streams.wake();
        }
    }
}

impl TunnelPlace for OpenStream {
    fn note_silence(&self, is_silent: bool) {
        if self.is_silent.replace(is_silent) == is_silent {
            return;
        }
        let OpenStreams { open, silent, .. } = &*self.streams;
        let were_silent = open.get() == silent.get();
        silent.set(if is_silent { silent.get() + 1 } else { silent.get() - 1 });
        if were_silent || open.get() == silent.get() {
            self.streams.wake();
        }
    }

    /// Its session makes room, and ends its streams with the connection.
    fn poll_evicted(&self, _: &Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_silent_when_all_are_tunnels_in_silence() {
        let streams = Rc::<OpenStreams>::default();
        assert!(!streams.are_silent(), "there is none");
        let [first, second] = [OpenStream::new(&streams), OpenStream::new(&streams)];
        first.note_silence(true);
        first.note_silence(true);
        assert!(!streams.are_silent());
        second.note_silence(true);
        assert!(streams.are_silent());
        first.note_silence(false);
        assert!(!streams.are_silent());
        drop(first);
        assert!(streams.are_silent(), "what is left is silent");
        drop(second);
        assert!(streams.is_empty() && !streams.are_silent());
        assert_eq!(streams.silent.get(), 0);
    }
}
