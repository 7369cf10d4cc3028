//! The signal by which a worker ends its connections.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The signal that a worker stops, in two steps: first every response announces that it is the last on its connection,
/// then every task that still waits for a request ends.
#[derive(Debug, Default)]
pub(crate) struct ShutdownSignal {
    announced: Cell<bool>,
    sent: Cell<bool>,
    next: Cell<u64>,
    /// By number, which rises: no hash has to be made of it, for each connection twice.
    receivers: RefCell<BTreeMap<u64, Waker>>,
}

/// The receiver of a [`ShutdownSignal`] for one task.
#[derive(Debug)]
pub(crate) struct ShutdownReceiver {
    shutdown: Rc<ShutdownSignal>,
    id: u64,
    known: Cell<bool>,
}

impl ShutdownSignal {
    /// Makes every response from now on the last on its connection.
    pub(crate) fn announce(&self) {
        self.announced.set(true);
    }

    /// Wakes all receivers, and ends their wait.
    pub(crate) fn send(&self) {
        self.announce();
        self.sent.set(true);
        for waker in self.receivers.take().into_values() {
            waker.wake();
        }
    }

    /// Returns whether a response that is written now is the last on its connection.
    pub(crate) fn is_announced(&self) -> bool {
        self.announced.get()
    }

    /// Makes a receiver for one task.
    pub(crate) fn subscribe(self: &Rc<Self>) -> ShutdownReceiver {
        let id = self.next.get();
        self.next.set(id + 1);
        ShutdownReceiver { shutdown: Rc::clone(self), id, known: Cell::new(false) }
    }
}

impl ShutdownReceiver {
    /// Is ready once the signal was sent. Only one task may poll it: its waker is stored once.
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
