//! The open connections of a listener by peer, and the choice of the one that makes room for another.

use super::peer_address::PeerAddress;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::time::Instant;

/// How many connections are looked at to make room for one. Those that serve a request are looked at in turn, so that the
/// next newcomer goes on where this one has stopped.
const MOST_EXAMINED: usize = 64;

/// The bounds on the connections of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    /// How many connections there may be: `maxConnections`.
    pub(crate) total: usize,
    /// How many of them one peer address may have: `maxConnectionsPerPeer`.
    pub(crate) per_peer: Option<usize>,
}

/// The open connections of one listener, over all workers.
///
/// Its lock is taken when a connection begins and when it ends. While a connection is open, its worker notes in one
/// atomic whether it is idle; the table looks at that only to make room.
#[derive(Debug)]
pub(crate) struct ConnectionTable {
    began: Instant,
    peers: Mutex<Peers>,
}

/// The connections by peer, and the peers by the number of their connections.
#[derive(Debug, Default)]
struct Peers {
    next_id: u64,
    /// Each connection by its peer and the time since when it is idle. A time may be out of date, but never late: a
    /// connection that was busy meanwhile is idle since later.
    open: BTreeMap<ConnectionKey, Arc<ConnectionState>>,
    sizes: HashMap<PeerAddress, PeerSize>,
    order: BTreeSet<(PeerSize, PeerAddress)>,
    /// How many connections were told to end, and have not ended yet.
    leaving: usize,
}

/// The key of a connection in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ConnectionKey {
    peer: PeerAddress,
    since: u64,
    id: u64,
}

/// The number of a peer's connections, and the time since when the first of them is idle. Room is made at the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PeerSize {
    connections: usize,
    oldest: Reverse<u64>,
}

/// The state of one connection, which its worker shares with the table.
#[derive(Debug)]
struct ConnectionState {
    /// The time since when it is idle, in milliseconds from 1 on; or one of the values below.
    idle: AtomicU64,
    /// The time under which the table has it. It changes under the table's lock only.
    known: AtomicU64,
    id: u64,
    peer: PeerAddress,
    opened: Instant,
    /// The waker of its task.
    waker: OnceLock<Waker>,
    table: Arc<ConnectionTable>,
}

/// A value of [`ConnectionState::idle`]: it serves a request.
const BUSY: u64 = 0;
/// A value of [`ConnectionState::idle`]: it has made room for another connection, and is to end.
const EVICTED: u64 = u64::MAX;

/// The place of one open connection in the table of its listener. Its drop gives the place back.
#[derive(Debug)]
pub(crate) struct ConnectionPlace(Arc<ConnectionState>);

/// The admission of a connection.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) place: ConnectionPlace,
    /// How many other connections were told to end, to make room for it.
    pub(crate) evicted: u64,
}

impl Default for ConnectionTable {
    fn default() -> Self {
        Self { began: Instant::now(), peers: Mutex::default() }
    }
}

impl ConnectionTable {
    /// Admits a connection that is idle from now on. If there are as many as the limits allow, room is made by ending one
    /// that is idle; `None` if none is.
    ///
    /// The idle one is that of the peer which has the most connections, and of them the one that is idle for the longest.
    /// If none of them is idle, peers with fewer follow, as long as they have more than the peer of the newcomer, and at
    /// last that peer.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr, limits: ConnectionLimits) -> Option<Admission> {
        let (peer, opened) = (PeerAddress::from(peer), Instant::now());
        let now = self.millis(opened);
        let mut peers = self.lock();
        let mut examination = Examination { now, left: MOST_EXAMINED };
        let mut evicted = 0;
        if limits.per_peer.is_some_and(|most| peers.count(peer) >= most) {
            peers.evict(peer, &mut examination)?;
            evicted += 1;
        }
        // Twice, so that a limit that was lowered is reached in time.
        for _ in 0..2 {
            if peers.open.len() >= limits.total && peers.make_room(Some(peer), &mut examination).is_some() {
                evicted += 1;
            }
        }
        if peers.open.len() >= limits.total && evicted == 0 {
            return None;
        }
        let id = peers.next_id;
        peers.next_id += 1;
        let state = Arc::new(ConnectionState {
            idle: AtomicU64::new(now),
            known: AtomicU64::new(now),
            id,
            peer,
            opened,
            waker: OnceLock::new(),
            table: Arc::clone(self),
        });
        peers.open.insert(ConnectionKey { peer, since: now, id }, Arc::clone(&state));
        peers.reorder(peer, 1);
        Some(Admission { place: ConnectionPlace(state), evicted })
    }

    /// Ends one connection that is idle, if one is, chosen as for a newcomer that has none.
    pub(crate) fn make_room(&self) {
        let mut examination = Examination { now: self.millis(Instant::now()), left: MOST_EXAMINED };
        self.lock().make_room(None, &mut examination);
    }

    /// Returns how many connections are open.
    pub(crate) fn count(&self) -> usize {
        self.lock().open.len()
    }

    /// Returns whether a connection was told to end and has not ended yet: its socket is still there.
    pub(crate) fn is_making_room(&self) -> bool {
        self.lock().leaving > 0
    }

    /// Returns a moment in milliseconds, from 1 on.
    fn millis(&self, moment: Instant) -> u64 {
        let millis = moment.saturating_duration_since(self.began).as_millis();
        u64::try_from(millis).unwrap_or(EVICTED).saturating_add(1).min(EVICTED - 1)
    }

    fn lock(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The search for a connection that can make room.
struct Examination {
    now: u64,
    /// How many more connections and peers it may look at.
    left: usize,
}

impl Peers {
    fn count(&self, peer: PeerAddress) -> usize {
        self.sizes.get(&peer).map_or(0, |size| size.connections)
    }

    /// Makes room for a connection of this peer, or of one that has none.
    fn make_room(&mut self, newcomer: Option<PeerAddress>, examination: &mut Examination) -> Option<()> {
        let own = newcomer.map_or(0, |newcomer| self.count(newcomer));
        let mut next = self.order.last().copied();
        while let Some((size, peer)) = next.filter(|(size, _)| size.connections > own) {
            if self.evict(peer, examination).is_some() {
                return Some(());
            }
            examination.left = examination.left.checked_sub(1)?;
            next = self.order.range(..(size, peer)).next_back().copied();
        }
        self.evict(newcomer?, examination)
    }

    /// Ends the connection of a peer that is idle for the longest, if one is.
    fn evict(&mut self, peer: PeerAddress, examination: &mut Examination) -> Option<()> {
        let evicted = loop {
            let first = ConnectionKey { peer, since: 0, id: 0 };
            let Some((&key, state)) = self.open.range(first..).next().filter(|(key, _)| key.peer == peer)
            else {
                break None;
            };
            let idle = state.idle.load(Relaxed);
            if idle == key.since {
                // Its worker may have taken a request meanwhile.
                if state.evict(idle) {
                    self.open.remove(&key);
                    self.leaving += 1;
                    break Some(());
                }
            } else if key.since >= examination.now {
                // All were looked at.
                break None;
            }
            let Some(left) = examination.left.checked_sub(1) else { break None };
            examination.left = left;
            self.renew(key, examination.now);
        };
        self.reorder(peer, if evicted.is_some() { -1 } else { 0 });
        evicted
    }

    /// Notes since when a connection is idle by now; a busy one can be idle from now on only.
    fn renew(&mut self, key: ConnectionKey, now: u64) {
        let Some(state) = self.open.remove(&key) else { return };
        let since = match state.idle.load(Relaxed) {
            BUSY | EVICTED => now,
            since => since,
        };
        state.known.store(since, Relaxed);
        self.open.insert(ConnectionKey { since, ..key }, state);
    }

    /// Puts a peer where it belongs in the order, after a change of its connections.
    fn reorder(&mut self, peer: PeerAddress, change: isize) {
        let before = self.sizes.get(&peer).copied();
        if let Some(size) = before {
            self.order.remove(&(size, peer));
        }
        let connections = before.map_or(0, |size| size.connections).saturating_add_signed(change);
        let oldest = self.open.range(ConnectionKey { peer, since: 0, id: 0 }..).next();
        match oldest.filter(|(key, _)| key.peer == peer) {
            Some((key, _)) => {
                let size = PeerSize { connections, oldest: Reverse(key.since) };
                self.sizes.insert(peer, size);
                self.order.insert((size, peer));
            }
            None => _ = self.sizes.remove(&peer),
        }
    }
}

impl ConnectionState {
    /// Tells a connection that is idle since then to end; false when it is not idle any more.
    fn evict(&self, since: u64) -> bool {
        if self.idle.compare_exchange(since, EVICTED, SeqCst, Relaxed).is_err() {
            return false;
        }
        fence(SeqCst);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
        true
    }
}

impl ConnectionPlace {
    /// Returns the time when the connection was accepted.
    pub(crate) fn opened(&self) -> Instant {
        self.0.opened
    }

    /// Notes that the connection is idle from now on.
    pub(crate) fn begin_wait(&self, now: Instant) {
        // The table writes to a place that is idle only.
        if self.0.idle.load(Relaxed) != EVICTED {
            self.0.idle.store(self.0.table.millis(now), Relaxed);
        }
    }

    /// Notes that the connection serves a request; false when it was told to end before.
    pub(crate) fn begin_work(&self) -> bool {
        let is_evicted = self.0.idle.swap(BUSY, Relaxed) == EVICTED;
        if is_evicted {
            self.0.idle.store(EVICTED, Relaxed);
        }
        !is_evicted
    }

    /// Becomes ready when the connection is to end, to make room for another. Only one task may poll it: its waker is
    /// stored once.
    pub(crate) fn poll_evicted(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.waker.get().is_none() {
            self.0.waker.get_or_init(|| cx.waker().clone());
            // Either the table sees the waker, or this sees what the table has written before it looked for one.
            fence(SeqCst);
        }
        if self.0.idle.load(Relaxed) == EVICTED { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let ConnectionState { known, id, peer, table, .. } = &*self.0;
        let mut peers = table.lock();
        let key = ConnectionKey { peer: *peer, since: known.load(Relaxed), id: *id };
        if peers.open.remove(&key).is_some() {
            peers.reorder(*peer, -1);
        } else {
            peers.leaving -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::limits::CountedTask;
    use std::time::Duration;
    use tokio::time::advance;

    const fn limits(total: usize) -> ConnectionLimits {
        ConnectionLimits { total, per_peer: None }
    }

    /// A table with its limits, in which connections are opened a millisecond apart.
    struct Opening {
        table: Arc<ConnectionTable>,
        limits: ConnectionLimits,
    }

    impl Opening {
        fn new(limits: ConnectionLimits) -> Self {
            Self { table: Arc::default(), limits }
        }

        async fn open(&self, peer: u8) -> Option<ConnectionPlace> {
            advance(Duration::from_millis(1)).await;
            let admission = self.table.admit(IpAddr::from([10, 0, 0, peer]), self.limits);
            admission.map(|admission| admission.place)
        }

        async fn open_all<const N: usize>(&self, peers: [u8; N]) -> [ConnectionPlace; N] {
            let mut places = Vec::new();
            for peer in peers {
                places.push(self.open(peer).await.expect("there is room for it"));
            }
            places.try_into().expect("each has its place")
        }
    }

    fn evicted(places: &[ConnectionPlace]) -> Vec<bool> {
        let cx = Context::from_waker(Waker::noop());
        places.iter().map(|place| place.poll_evicted(&cx).is_ready()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_made_at_the_peer_with_the_most_where_it_is_idle_for_the_longest() {
        let opening = Opening::new(limits(4));
        let places = opening.open_all([1, 2, 2, 2]).await;
        // The first of peer 2 has served a request since it was opened.
        assert!(places[1].begin_work());
        advance(Duration::from_millis(1)).await;
        places[1].begin_wait(Instant::now());
        let _fifth = opening.open(3).await.expect("there is room");
        assert_eq!(evicted(&places), [false, false, true, false]);
        let _sixth = opening.open(3).await.expect("there is room");
        assert_eq!(evicted(&places), [false, false, true, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_being_made_until_the_connection_has_ended() {
        let opening = Opening::new(limits(1));
        let [first] = opening.open_all([1]).await;
        assert!(!opening.table.is_making_room());
        let second = opening.open(2).await.expect("there is room");
        assert!(opening.table.is_making_room());
        drop(first);
        assert!(!opening.table.is_making_room());
        drop(second);
        assert!(!opening.table.is_making_room());
    }

    #[tokio::test(start_paused = true)]
    async fn what_serves_a_request_stays() {
        let opening = Opening::new(limits(3));
        let places = opening.open_all([1, 1, 2]).await;
        for place in &places[..2] {
            assert!(place.begin_work());
        }
        // The peer with the most has none that is idle, and the next peer has more than the newcomer's.
        let third = opening.open(3).await.expect("there is room");
        assert_eq!(evicted(&places), [false, false, true]);
        assert!(third.begin_work());
        for peer in [1, 2, 3] {
            assert!(opening.open(peer).await.is_none(), "none is idle");
        }
        assert_eq!(evicted(&places), [false, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_with_many_takes_nothing_from_one_with_few() {
        let opening = Opening::new(limits(3));
        let places = opening.open_all([1, 2, 2]).await;
        for place in &places[1..] {
            assert!(place.begin_work());
        }
        assert!(opening.open(2).await.is_none(), "none of its own is idle");
        places[2].begin_wait(Instant::now());
        assert!(opening.open(2).await.is_some());
        assert_eq!(evicted(&places), [false, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_may_have_so_many() {
        let opening = Opening::new(ConnectionLimits { total: 10, per_peer: Some(2) });
        let places = opening.open_all([1, 1, 2]).await;
        let third = opening.open(1).await.expect("there is room");
        assert_eq!(evicted(&places), [true, false, false]);
        assert!(places[1].begin_work() && third.begin_work());
        assert!(opening.open(1).await.is_none(), "none of its own is idle");
        assert!(opening.open(2).await.is_some());
        assert_eq!(evicted(&places), [true, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_given_back_and_a_lowered_limit_is_reached() {
        let mut opening = Opening::new(limits(4));
        let [first, second, ..] = opening.open_all([1, 1, 1, 1]).await;
        drop((first, second));
        assert_eq!(opening.table.lock().open.len(), 0, "the others of the pattern were dropped as well");
        let places = opening.open_all([1, 2, 3, 4]).await;
        opening.limits = limits(2);
        let newcomers = [opening.open(5).await, opening.open(6).await];
        assert_eq!(evicted(&places), [true, true, true, true]);
        assert_eq!(opening.table.lock().open.len(), 2);
        drop((places, newcomers));
        let peers = opening.table.lock();
        assert!(peers.open.is_empty() && peers.sizes.is_empty() && peers.order.is_empty(), "{peers:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_woken_to_end_and_stays_evicted() {
        let opening = Opening::new(limits(1));
        let [place] = opening.open_all([1]).await;
        let task = Arc::new(CountedTask::default());
        assert!(place.poll_evicted(&Context::from_waker(&task.waker())).is_pending());
        let _second = opening.open(2).await.expect("there is room");
        assert_eq!(task.wakes(), 1);
        // A request that came at the same time is the last.
        assert!(!place.begin_work());
        place.begin_wait(Instant::now());
        assert_eq!(evicted(&[place]), [true]);
    }

    /// With 10,000 connections that all serve requests, a newcomer costs a bounded search; and what becomes idle among
    /// them is found by the newcomers that follow.
    #[tokio::test(start_paused = true)]
    async fn a_search_is_bounded_and_goes_on_where_it_stopped() {
        const CONNECTIONS: usize = 10_000;
        let opening = Opening::new(limits(CONNECTIONS));
        let mut places = Vec::new();
        for at in 0..CONNECTIONS {
            let peer = IpAddr::from([10, 0, 1, u8::from(at % 2 == 0)]);
            places.push(opening.table.admit(peer, opening.limits).expect("there is room").place);
            assert!(places[at].begin_work());
        }
        advance(Duration::from_millis(1)).await;
        let last = places.last().expect("there are many");
        last.begin_wait(Instant::now());
        let mut refused = 0;
        while opening.open(1).await.is_none() {
            refused += 1;
            let now = opening.table.millis(Instant::now());
            let renewed = opening.table.lock().open.keys().filter(|key| key.since == now).count();
            assert!(renewed <= MOST_EXAMINED, "{renewed} were looked at");
        }
        assert!(refused <= CONNECTIONS.div_ceil(MOST_EXAMINED), "{refused} were refused");
        assert_eq!(evicted(std::slice::from_ref(last)), [true]);
    }
}
