//! The open connections of a listener by peer, and the choice of the one that makes room for another.

use super::connection_activity::{BegunWork, ConnectionActivity, LATEST};
use super::peer_address::PeerAddress;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

/// How many connections are looked at to make room for one: more than a listener has by default, so that one that is idle
/// is found. Each has ended a request since it was looked at before, so there are no more looks than requests. The next
/// newcomer goes on where this one has stopped.
const MOST_EXAMINED: usize = 16_384;

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
/// atomic whether it is idle; the table looks at that only to make room. One that it finds busy is left out of the search
/// from then on, and its worker sends it back when it is idle again, without a lock.
#[derive(Debug)]
pub(crate) struct ConnectionTable {
    began: Instant,
    peers: Mutex<Peers>,
    returning: Sender<Arc<ConnectionState>>,
    /// Notified when a connection that was told to end has ended.
    ended: Notify,
}

/// The connections by peer, and the peers by the number of their connections.
#[derive(Debug)]
struct Peers {
    next_id: u64,
    /// How many connections are open, without those that were told to end.
    open: usize,
    /// How many connections were told to end, and have not ended yet.
    leaving: usize,
    /// The connections that may be idle, each by its peer and the time since when it is. A time may be out of date, but
    /// never late: a connection that was busy meanwhile is idle since later.
    idle: BTreeMap<ConnectionKey, Arc<ConnectionState>>,
    /// The connections that were found busy, and are idle again.
    returned: Receiver<Arc<ConnectionState>>,
    sizes: HashMap<PeerAddress, PeerSize>,
    /// The peers of which a connection may be idle.
    order: BTreeSet<(PeerSize, PeerAddress)>,
}

/// The key of a connection in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ConnectionKey {
    peer: PeerAddress,
    since: u64,
    id: u64,
}

/// The number of a peer's connections, and the time since when the first of them is idle, if one may be. Room is made at the
/// greatest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct PeerSize {
    connections: usize,
    oldest: Option<Reverse<u64>>,
}

/// The state of one connection, which its worker shares with the table.
#[derive(Debug)]
struct ConnectionState {
    activity: ConnectionActivity,
    /// The time under which the table has it, if it may be idle. It changes under the table's lock only.
    known: AtomicU64,
    id: u64,
    peer: PeerAddress,
    opened: Instant,
    table: Arc<ConnectionTable>,
}

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
        let (returning, returned) = channel();
        let peers = Peers {
            next_id: 0,
            open: 0,
            leaving: 0,
            idle: BTreeMap::new(),
            returned,
            sizes: HashMap::new(),
            order: BTreeSet::new(),
        };
        Self { began: Instant::now(), peers: Mutex::new(peers), returning, ended: Notify::new() }
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
        let mut peers = self.lock_current();
        let evicted = peers.find_room(peer, limits)?;
        let id = peers.next_id;
        peers.next_id += 1;
        let state = peers.add(self, ConnectionKey { peer, since: now, id }, opened);
        Some(Admission { place: ConnectionPlace(state), evicted })
    }

    /// Ends one connection that is idle, if one is, chosen as for a newcomer that has none.
    pub(crate) fn make_room(&self) {
        self.lock_current().make_room(None, &mut { MOST_EXAMINED });
    }

    /// Returns how many connections are open.
    pub(crate) fn count(&self) -> usize {
        self.lock().open
    }

    /// Returns whether a connection was told to end and has not ended yet: its socket is still there. One on which a request
    /// came first does not count: that may last.
    pub(crate) fn is_making_room(&self) -> bool {
        self.lock().leaving > 0
    }

    /// Waits for the end of a connection that was told to end: for the first one after this was called.
    pub(crate) fn ended(&self) -> Notified<'_> {
        self.ended.notified()
    }

    /// Returns a moment in milliseconds, from 1 on.
    fn millis(&self, moment: Instant) -> u64 {
        let millis = moment.saturating_duration_since(self.began).as_millis();
        u64::try_from(millis).unwrap_or(LATEST).saturating_add(1).min(LATEST)
    }

    fn lock(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the peers, with all connections that may be idle.
    fn lock_current(&self) -> MutexGuard<'_, Peers> {
        let mut peers = self.lock();
        peers.take_returned();
        peers
    }
}

impl Peers {
    fn count(&self, peer: PeerAddress) -> usize {
        self.sizes.get(&peer).map_or(0, |size| size.connections)
    }

    /// Adds an idle connection to those of the table.
    fn add(
        &mut self,
        table: &Arc<ConnectionTable>,
        key: ConnectionKey,
        opened: Instant,
    ) -> Arc<ConnectionState> {
        let ConnectionKey { peer, since, id } = key;
        let state = Arc::new(ConnectionState {
            activity: ConnectionActivity::new(since),
            known: AtomicU64::new(since),
            id,
            peer,
            opened,
            table: Arc::clone(table),
        });
        self.open += 1;
        self.idle.insert(key, Arc::clone(&state));
        self.reorder(peer, 1);
        state
    }

    /// Removes a connection that was not told to end.
    fn remove(&mut self, state: &ConnectionState) {
        let ConnectionState { known, id, peer, .. } = state;
        self.open -= 1;
        self.idle.remove(&ConnectionKey { peer: *peer, since: known.load(Relaxed), id: *id });
        self.reorder(*peer, -1);
    }

    /// Takes back the connections that were busy and are idle again.
    fn take_returned(&mut self) {
        while let Ok(state) = self.returned.try_recv() {
            // One that is busy once more is sent another time.
            let Some(since) = state.activity.seek() else { continue };
            let (peer, id) = (state.peer, state.id);
            state.known.store(since, Relaxed);
            self.idle.insert(ConnectionKey { peer, since, id }, state);
            self.reorder(peer, 0);
        }
    }

    /// Sees to it that there is room for one more connection of a peer; returns how many were told to end for it, or `None`
    /// if there is no room.
    fn find_room(&mut self, peer: PeerAddress, limits: ConnectionLimits) -> Option<u64> {
        let mut looks = MOST_EXAMINED;
        let mut evicted = 0;
        if limits.per_peer.is_some_and(|most| self.count(peer) >= most) {
            self.evict(peer, &mut looks)?;
            evicted += 1;
        }
        // Twice, so that a limit that was lowered is reached in time.
        for _ in 0..2 {
            if self.open >= limits.total && self.make_room(Some(peer), &mut looks).is_some() {
                evicted += 1;
            }
        }
        (self.open < limits.total || evicted > 0).then_some(evicted)
    }

    /// Makes room for a connection of this peer, or of one that has none, in so many looks.
    fn make_room(&mut self, newcomer: Option<PeerAddress>, looks: &mut usize) -> Option<()> {
        let own = newcomer.map_or(0, |newcomer| self.count(newcomer));
        while let Some(&(_, peer)) = self.order.last().filter(|(size, _)| size.connections > own) {
            if self.evict(peer, looks).is_some() {
                return Some(());
            }
            // All of the peer are busy, and it has left the order; or the looks are used up.
            if *looks == 0 {
                return None;
            }
        }
        self.evict(newcomer?, looks)
    }

    /// Ends the connection of a peer that is idle for the longest, if one is. Those that are busy leave the search.
    fn evict(&mut self, peer: PeerAddress, looks: &mut usize) -> Option<()> {
        let mut evicted = None;
        while evicted.is_none()
            && let Some(key) = self.first_idle(peer)
            && let Some(left) = looks.checked_sub(1)
        {
            *looks = left;
            let Some(state) = self.idle.remove(&key) else { break };
            if state.activity.evict(key.since) {
                self.leaving += 1;
                self.open -= 1;
                evicted = Some(());
            } else if let Some(since) = state.activity.seek() {
                state.known.store(since, Relaxed);
                self.idle.insert(ConnectionKey { since, ..key }, state);
            }
        }
        self.reorder(peer, if evicted.is_some() { -1 } else { 0 });
        evicted
    }

    /// Returns the key of the connection of a peer that may be idle for the longest.
    fn first_idle(&self, peer: PeerAddress) -> Option<ConnectionKey> {
        let first = self.idle.range(ConnectionKey { peer, since: 0, id: 0 }..).next();
        first.map(|(key, _)| *key).filter(|key| key.peer == peer)
    }

    /// Puts a peer where it belongs in the order, after a change of its connections.
    fn reorder(&mut self, peer: PeerAddress, change: isize) {
        let before = self.sizes.get(&peer).copied().unwrap_or_default();
        let now = PeerSize {
            connections: before.connections.saturating_add_signed(change),
            oldest: self.first_idle(peer).map(|key| Reverse(key.since)),
        };
        if before.oldest.is_some() {
            self.order.remove(&(before, peer));
        }
        if now.oldest.is_some() {
            self.order.insert((now, peer));
        }
        if now.connections > 0 {
            self.sizes.insert(peer, now);
        } else {
            self.sizes.remove(&peer);
        }
    }
}

impl ConnectionPlace {
    /// Returns the time when the connection was accepted.
    pub(crate) fn opened(&self) -> Instant {
        self.0.opened
    }

    /// Moves a connection to another peer, as if it was accepted of that one now; it is idle from now on. Returns how many
    /// others were told to end, to make room for it; `None` if there is no room, and it has to be closed. One that was told to
    /// end itself stays where it is.
    pub(crate) fn move_to(&mut self, peer: IpAddr, limits: ConnectionLimits) -> Option<u64> {
        let table = Arc::clone(&self.0.table);
        let mut peers = table.lock_current();
        if self.0.activity.is_evicted() {
            return Some(0);
        }
        peers.remove(&self.0);
        let peer = PeerAddress::from(peer);
        let evicted = peers.find_room(peer, limits);
        let (now, id, opened) = (table.millis(Instant::now()), self.0.id, self.0.opened);
        self.0 = peers.add(&table, ConnectionKey { peer, since: now, id }, opened);
        evicted
    }

    /// Notes that the connection is idle from now on.
    pub(crate) fn begin_wait(&self, now: Instant) {
        let ConnectionState { activity, table, .. } = &*self.0;
        if activity.begin_wait(table.millis(now)) {
            // The receiver lives as long as the table.
            let _ = table.returning.send(Arc::clone(&self.0));
        }
    }

    /// Notes that the connection serves a request; false when it was told to end before, and ends after that request.
    pub(crate) fn begin_work(&self) -> bool {
        let begun = self.0.activity.begin_work();
        if begun == BegunWork::Evicted {
            // It may last, and counts as long as it does.
            let mut peers = self.0.table.lock();
            peers.leaving -= 1;
            peers.open += 1;
            peers.reorder(self.0.peer, 1);
        }
        begun == BegunWork::Kept
    }

    /// Becomes ready when the connection is to end, to make room for another. Only one task may poll it: its waker is
    /// stored once.
    pub(crate) fn poll_evicted(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.activity.poll_evicted(cx)
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        // With those that have come back: this one may be among them.
        let mut peers = self.0.table.lock_current();
        if self.0.activity.is_evicted() {
            peers.leaving -= 1;
            self.0.table.ended.notify_waiters();
        } else {
            peers.remove(&self.0);
        }
    }
}
