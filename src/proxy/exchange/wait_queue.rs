//! The requests of one worker that wait until an endpoint has room for them.

use crate::proxy::limits::PeerAddress;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// A queue in which each peer address has its turn: of the requests that wait, one of each is served, however many a peer
/// has.
#[derive(Debug, Default)]
pub(crate) struct WaitQueue {
    waiting: Cell<usize>,
    peers: RefCell<PeerTurns>,
}

/// The peers that have requests in a queue.
#[derive(Debug, Default)]
struct PeerTurns {
    next_turn: u64,
    next_id: u64,
    /// The peers in the order of their turns.
    order: BTreeMap<u64, PeerAddress>,
    requests: HashMap<PeerAddress, PeerQueue>,
}

/// The requests of one peer, in the order in which they came.
#[derive(Debug)]
struct PeerQueue {
    turn: u64,
    /// The wakers of their tasks.
    wakers: BTreeMap<u64, Option<Waker>>,
}

/// The place of one request in a queue. Its drop leaves the queue.
struct QueuePlace<'a> {
    queue: &'a WaitQueue,
    peer: PeerAddress,
    id: u64,
    is_served: bool,
}

impl WaitQueue {
    /// Returns whether no request waits. If some do, another one goes behind them.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.get() == 0
    }

    /// Has the next request look for room.
    pub(crate) fn wake_next(&self) {
        if self.is_empty() {
            return;
        }
        let waker = self.peers.borrow_mut().next().and_then(|(_, waker)| waker.take());
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until it is the turn of a request of this peer and `take` finds room for it; `None` when that is not so by
    /// `until`.
    ///
    /// `take` is asked when room was announced, and `every` so often: some room is made without a word. It may have its task
    /// woken by others.
    pub(crate) async fn wait<T>(
        &self,
        peer: PeerAddress,
        until: Instant,
        every: Duration,
        mut take: impl FnMut(&Context<'_>) -> Option<T>,
    ) -> Option<T> {
        let mut place = self.enter(peer);
        let mut timer = pin!(sleep_until(until));
        poll_fn(|cx| {
            loop {
                let is_next = place.is_next();
                if is_next && let Some(taken) = take(cx) {
                    place.is_served = true;
                    return Poll::Ready(Some(taken));
                }
                let now = Instant::now();
                if now >= until {
                    return Poll::Ready(None);
                }
                place.register(cx);
                timer.as_mut().reset(if is_next { until.min(now + every) } else { until });
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    fn enter(&self, peer: PeerAddress) -> QueuePlace<'_> {
        let PeerTurns { next_turn, next_id, order, requests } = &mut *self.peers.borrow_mut();
        let id = *next_id;
        *next_id += 1;
        let queue = requests.entry(peer).or_insert_with(|| {
            let turn = *next_turn;
            *next_turn += 1;
            order.insert(turn, peer);
            PeerQueue { turn, wakers: BTreeMap::new() }
        });
        queue.wakers.insert(id, None);
        self.waiting.set(self.waiting.get() + 1);
        QueuePlace { queue: self, peer, id, is_served: false }
    }
}

impl PeerTurns {
    /// Returns the request whose turn it is, with the waker of its task.
    fn next(&mut self) -> Option<(u64, &mut Option<Waker>)> {
        let (_, peer) = self.order.first_key_value()?;
        let first = self.requests.get_mut(peer)?.wakers.first_entry()?;
        Some((*first.key(), first.into_mut()))
    }

    /// Takes a request out of the queue. After one that was served, the other peers have their turns.
    fn remove(&mut self, peer: PeerAddress, id: u64, is_served: bool) {
        let Some(queue) = self.requests.get_mut(&peer) else { return };
        queue.wakers.remove(&id);
        if queue.wakers.is_empty() {
            self.order.remove(&queue.turn);
            self.requests.remove(&peer);
        } else if is_served {
            self.order.remove(&queue.turn);
            queue.turn = self.next_turn;
            self.next_turn += 1;
            self.order.insert(queue.turn, peer);
        }
    }
}

impl QueuePlace<'_> {
    fn is_next(&self) -> bool {
        self.queue.peers.borrow_mut().next().is_some_and(|(id, _)| id == self.id)
    }

    fn register(&self, cx: &Context<'_>) {
        let mut peers = self.queue.peers.borrow_mut();
        let queue = peers.requests.get_mut(&self.peer);
        if let Some(waker) = queue.and_then(|queue| queue.wakers.get_mut(&self.id)) {
            *waker = Some(cx.waker().clone());
        }
    }
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.queue.peers.borrow_mut().remove(self.peer, self.id, self.is_served);
        self.queue.waiting.set(self.queue.waiting.get() - 1);
        self.queue.wake_next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::rc::Rc;
    use tokio::task::{JoinHandle, spawn_local, yield_now};

    const EVERY: Duration = Duration::from_millis(50);

    /// An endpoint with room for some requests, which writes down the peers that took it.
    #[derive(Default)]
    struct Rooms {
        queue: WaitQueue,
        left: Cell<usize>,
        taken: RefCell<Vec<u8>>,
    }

    impl Rooms {
        /// Begins to wait as a peer, for a second.
        fn wait(self: &Rc<Self>, peer: u8) -> JoinHandle<bool> {
            let (rooms, until) = (Rc::clone(self), Instant::now() + Duration::from_secs(1));
            let address = IpAddr::from([10, 0, 0, peer]).into();
            spawn_local(async move {
                let take = |_: &Context<'_>| {
                    let left = rooms.left.get().checked_sub(1)?;
                    rooms.left.set(left);
                    rooms.taken.borrow_mut().push(peer);
                    Some(())
                };
                rooms.queue.wait(address, until, EVERY, take).await.is_some()
            })
        }

        async fn open(&self, rooms: usize) {
            self.left.set(rooms);
            self.queue.wake_next();
            // As many turns as there may be requests.
            for _ in 0..20 {
                yield_now().await;
            }
        }
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn each_peer_has_its_turn() {
        let rooms = Rc::new(Rooms::default());
        let waiting = [1, 1, 1, 1, 2, 3, 3].map(|peer| rooms.wait(peer));
        rooms.open(0).await;
        assert!(!rooms.queue.is_empty());
        rooms.open(3).await;
        assert_eq!(*rooms.taken.borrow(), [1, 2, 3]);
        rooms.open(9).await;
        assert_eq!(*rooms.taken.borrow(), [1, 2, 3, 1, 3, 1, 1]);
        for served in waiting {
            assert!(served.await.unwrap());
        }
        assert!(rooms.queue.is_empty());
        let peers = rooms.queue.peers.borrow();
        assert!(peers.order.is_empty() && peers.requests.is_empty());
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_request_that_is_given_up_passes_its_turn_on() {
        let rooms = Rc::new(Rooms::default());
        let waiting = [1, 1, 2].map(|peer| rooms.wait(peer));
        rooms.open(0).await;
        waiting[0].abort();
        rooms.open(1).await;
        assert_eq!(*rooms.taken.borrow(), [1], "the peer's other request");
        let began = Instant::now();
        let [_, second, third] = waiting;
        assert!(second.await.unwrap());
        assert!(!third.await.unwrap(), "it has waited for as long as it may");
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        assert!(rooms.queue.is_empty());
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn room_that_nobody_announces_is_found() {
        let rooms = Rc::new(Rooms::default());
        let waiting = rooms.wait(1);
        rooms.open(0).await;
        rooms.left.set(1);
        let began = Instant::now();
        assert!(waiting.await.unwrap());
        assert!(began.elapsed() <= EVERY);
    }
}
