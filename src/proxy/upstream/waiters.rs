//! The requests that wait for an endpoint, over all workers: their count, and the tasks that are woken when room is made.

use crate::proxy::error::Error;
use crate::proxy::exchange::RoomDemand;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// The requests that wait for a connection or a stream of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    count: AtomicUsize,
    /// The tasks of those whose turn it is, one of each worker at most, in the order in which they found no room.
    ///
    /// It is locked only while requests wait.
    next: Mutex<Vec<Waker>>,
    /// Their demand for the room of exchanges that are silent.
    demand: Arc<RoomDemand>,
}

/// A request that waits. Its drop ends the wait.
#[derive(Debug)]
pub(crate) struct Waiter<'a>(&'a Waiters);

/// The turn of a request among those of all workers. Its drop passes the turn on, unless the request was served.
#[derive(Debug)]
pub(crate) struct WaiterTurn<'a> {
    waiters: &'a Waiters,
    /// The waker that is registered, if one is.
    waker: RefCell<Option<Waker>>,
}

impl Waiters {
    /// Makes the turn of a request that waits; it is to be woken once it has registered its task.
    pub(crate) fn turn(&self) -> WaiterTurn<'_> {
        WaiterTurn { waiters: self, waker: RefCell::default() }
    }

    /// Wakes a request that waits for a connection, on whichever worker, now that there is room for one. While none waits, it
    /// is one load.
    pub(crate) fn wake_next(&self) {
        // Sequentially consistent, as the count of connections is: either this sees the waiter, or the waiter the room.
        if self.count.load(SeqCst) > 0 {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        let waker = {
            let mut next = self.next();
            if next.is_empty() { None } else { Some(next.remove(0)) }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Locks the tasks. No change of them takes two steps.
    fn next(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the demand for the room of exchanges that are silent.
    pub(crate) fn demand(&self) -> &Arc<RoomDemand> {
        &self.demand
    }

    /// Returns how many wait.
    pub(crate) fn count(&self) -> usize {
        self.count.load(SeqCst)
    }

    /// Begins to wait for an endpoint.
    ///
    /// # Errors
    ///
    /// As many as `most` wait already.
    pub(crate) fn begin(&self, address: SocketAddr, most: usize) -> Result<Waiter<'_>, Error> {
        let waiter = Waiter(self);
        if self.count.fetch_add(1, SeqCst) >= most {
            return Err(Error::EndpointQueueFull { address, limit: most });
        }
        Ok(waiter)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, SeqCst) == 1 {
            self.0.demand.withdraw();
        }
    }
}

impl WaiterTurn<'_> {
    /// Has a task woken when room is made, unless it is registered already.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut registered = self.waker.borrow_mut();
        let mut next = self.waiters.next();
        if let Some(old) = registered.take_if(|old| !old.will_wake(waker)) {
            next.retain(|one| !one.will_wake(&old));
        }
        if !next.iter().any(|one| one.will_wake(waker)) {
            next.push(waker.clone());
        }
        registered.get_or_insert_with(|| waker.clone());
    }

    /// Ends the turn of a request that was served.
    pub(crate) fn serve(&self) {
        self.leave();
    }

    /// Takes the task off; returns whether it was woken before, and so has the turn.
    fn leave(&self) -> bool {
        let Some(waker) = self.waker.take() else { return false };
        let mut next = self.waiters.next();
        let before = next.len();
        next.retain(|one| !one.will_wake(&waker));
        next.len() == before
    }
}

impl Drop for WaiterTurn<'_> {
    fn drop(&mut self) {
        if self.leave() {
            self.waiters.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::limits::CountedTask;

    #[test]
    fn room_wakes_one_task_after_the_other() {
        let waiters = Waiters::default();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let tasks: [Arc<CountedTask>; 3] = Default::default();
        let woken = || tasks.each_ref().map(|task| task.wakes());
        let turns = [waiters.turn(), waiters.turn(), waiters.turn()];
        for (turn, task) in turns.iter().zip(&tasks) {
            turn.register(&task.waker());
            turn.register(&task.waker());
        }
        waiters.wake_next();
        assert_eq!(woken(), [0, 0, 0], "none is counted as waiting");
        let _waiting = waiters.begin(address, 1).expect("there is room");
        waiters.wake_next();
        assert_eq!(woken(), [1, 0, 0]);
        let [first, second, third] = turns;
        drop(first);
        assert_eq!(woken(), [1, 1, 0], "given up after it was woken: the turn is passed on");
        second.serve();
        drop(second);
        assert_eq!(woken(), [1, 1, 0], "served");
        drop(third);
        waiters.wake_next();
        assert_eq!(woken(), [1, 1, 0], "given up before");
        assert!(waiters.next().is_empty());
    }

    #[test]
    fn one_beyond_the_limit_is_refused_and_not_counted() {
        let (waiters, address) = (Waiters::default(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let first = waiters.begin(address, 1).expect("there is room");
        assert!(matches!(waiters.begin(address, 1), Err(Error::EndpointQueueFull { limit: 1, .. })));
        assert_eq!(waiters.count(), 1);
        drop(first);
        assert!(waiters.begin(address, 1).is_ok());
        assert_eq!(waiters.count(), 0);
    }
}
