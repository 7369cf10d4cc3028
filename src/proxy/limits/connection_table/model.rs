//! The table of connections against a naive one, which looks at all of them.

use super::*;
use proptest::prelude::*;
use std::task::Waker;
use std::time::Duration;

/// How many connections there may be.
const TOTAL: usize = 12;

/// How many of them one peer may have.
const PER_PEER: usize = 7;

/// A change of a table. A connection is chosen by its number, from the first one of the table on.
#[derive(Clone, Copy, Debug)]
enum TableOperation {
    Open(u8),
    Work(usize),
    Wait(usize),
    Close(usize),
}

fn operation() -> impl Strategy<Value = TableOperation> {
    prop_oneof![
        4 => (0..4u8).prop_map(TableOperation::Open),
        4 => (0..TOTAL).prop_map(TableOperation::Work),
        2 => (0..TOTAL).prop_map(TableOperation::Wait),
        1 => (0..TOTAL).prop_map(TableOperation::Close),
    ]
}

/// A connection of the naive table.
struct NaiveConnection {
    place: ConnectionPlace,
    peer: u8,
    /// The time since when it is idle, if it is.
    idle: Option<u64>,
}

#[derive(Default)]
struct TableModel {
    table: Arc<ConnectionTable>,
    open: Vec<NaiveConnection>,
    now: u64,
}

impl TableModel {
    fn count(&self, peer: u8) -> usize {
        self.open.iter().filter(|connection| connection.peer == peer).count()
    }

    /// Returns which connections may make room for one of the peer: of peers with equally many, any.
    fn candidates(&self, newcomer: u8) -> Vec<usize> {
        let own = self.count(newcomer);
        let is_full = own >= PER_PEER;
        let may_lose = |peer| peer == newcomer || (!is_full && self.count(peer) > own);
        let longest_idle = |peer: u8| {
            let of_peer = self.open.iter().enumerate().filter(move |(_, of)| of.peer == peer);
            of_peer.filter_map(|(at, of)| of.idle.map(|since| (since, at))).min()
        };
        let first_of: Vec<(usize, usize)> = (0..4u8)
            .filter(|peer| may_lose(*peer))
            .filter_map(|peer| longest_idle(peer).map(|(_, at)| (self.count(peer), at)))
            .collect();
        let most = first_of.iter().map(|(count, _)| *count).max();
        first_of.into_iter().filter(|(count, _)| Some(*count) == most).map(|(_, at)| at).collect()
    }

    fn open(&mut self, peer: u8) {
        let limits = ConnectionLimits { total: TOTAL, per_peer: Some(PER_PEER) };
        let is_full = self.open.len() >= TOTAL || self.count(peer) >= PER_PEER;
        let candidates = if is_full { self.candidates(peer) } else { Vec::new() };
        let admission = self.table.admit(IpAddr::from([10, 0, 0, peer]), limits);
        assert_eq!(admission.is_some(), !is_full || !candidates.is_empty(), "refused while one is idle");
        let is_evicted = |connection: &NaiveConnection| {
            connection.place.poll_evicted(&Context::from_waker(Waker::noop())).is_ready()
        };
        let evicted: Vec<usize> = (0..self.open.len()).filter(|at| is_evicted(&self.open[*at])).collect();
        assert_eq!(evicted.len(), usize::from(!candidates.is_empty()));
        for at in evicted {
            assert!(candidates.contains(&at), "{at} was ended, and not one of {candidates:?}");
            self.open.remove(at);
        }
        if let Some(Admission { place, .. }) = admission {
            self.open.push(NaiveConnection { place, peer, idle: Some(self.now) });
        }
    }

    fn perform(&mut self, operation: TableOperation) {
        self.now += 1;
        match operation {
            TableOperation::Open(peer) => self.open(peer),
            TableOperation::Work(at) => {
                if let Some(connection) = self.open.get_mut(at) {
                    assert!(connection.place.begin_work());
                    connection.idle = None;
                }
            }
            TableOperation::Wait(at) => {
                if let Some(connection) = self.open.get_mut(at) {
                    connection.place.begin_wait(Instant::now());
                    connection.idle = Some(self.now);
                }
            }
            TableOperation::Close(at) => {
                if at < self.open.len() {
                    self.open.remove(at);
                }
            }
        }
        assert_eq!(self.table.count(), self.open.len());
        assert!(!self.table.is_making_room());
    }
}

proptest! {
    #[test]
    fn room_is_made_as_by_a_table_that_looks_at_all(operations in proptest::collection::vec(operation(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut model = TableModel::default();
            for operation in operations {
                tokio::time::advance(Duration::from_millis(1)).await;
                model.perform(operation);
            }
            let TableModel { table, open, .. } = model;
            drop(open);
            let peers = table.lock();
            assert!(peers.idle.is_empty() && peers.sizes.is_empty() && peers.order.is_empty());
            assert_eq!((peers.open, peers.leaving), (0, 0));
        });
    }
}
