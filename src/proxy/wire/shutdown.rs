//! The signal by which a worker ends its connections.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Rung when the worker stops, in two steps: first what is answered is told that it is the last, then everybody who
/// still progress for a request hears it.
#[derive(Debug, Default)]
pub(crate) struct ShutdownSignal {
    last_call: Cell<bool>,
    sent: Cell<bool>,
    next: Cell<u64>,
    receivers: RefCell<HashMap<u64, Waker>>,
}

/// One task that hears a [`ShutdownSignal`].
#[derive(Debug)]
pub(crate) struct ShutdownReceiver {
    shutdown: Rc<ShutdownSignal>,
    id: u64,
    known: Cell<bool>,
}

impl ShutdownSignal {
    /// Says that what is answered from now on is the last on its connection.
    pub(crate) fn announce(&self) {
        self.last_call.set(true);
    }

    /// Ends all waiting.
    pub(crate) fn send(&self) {
        self.announce();
        self.sent.set(true);
        for (_, waker) in self.receivers.borrow_mut().drain() {
            waker.wake();
        }
    }

    /// Whether what is answered now is the last on its connection.
    pub(crate) fn is_announced(&self) -> bool {
        self.last_call.get()
    }

    pub(crate) fn subscribe(self: &Rc<Self>) -> ShutdownReceiver {
        let id = self.next.get();
        self.next.set(id + 1);
        ShutdownReceiver { shutdown: Rc::clone(self), id, known: Cell::new(false) }
    }
}

impl ShutdownReceiver {
    /// Whether the shutdown was rung. To be polled by one task only: its waker is taken down once.
    pub(crate) fn poll_received(&self, cx: &Context<'_>) -> Poll<()> {
        if self.shutdown.sent.get() {
            return Poll::Ready(());
        }
        if !self.known.replace(true) {
            self.shutdown.receivers.borrow_mut().insert(self.id, cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for ShutdownReceiver {
    fn drop(&mut self) {
        self.shutdown.receivers.borrow_mut().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(flavor = "local")]
    async fn every_task_receives_the_signal() {
        let shutdown = Rc::new(ShutdownSignal::default());
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let shutdown = shutdown.subscribe();
                tokio::task::spawn_local(async move { poll_fn(|cx| shutdown.poll_received(cx)).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(tasks.iter().all(|task| !task.is_finished()));
        shutdown.announce();
        tokio::task::yield_now().await;
        assert!(shutdown.is_announced() && tasks.iter().all(|task| !task.is_finished()));
        shutdown.send();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(shutdown.receivers.borrow().is_empty());
    }
}
