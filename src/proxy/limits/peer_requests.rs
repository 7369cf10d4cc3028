//! Counts the requests that each peer address has under way on one worker.

use super::PeerAddress;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::{Rc, Weak};

/// The counts of the peers that have connections to one listener on one worker.
pub(crate) type PeerCounts = Rc<RefCell<HashMap<PeerAddress, Weak<PeerRequests>>>>;

/// How many requests an address may have under way for each place that is free where it asks for one more: 8. So one address
/// alone leaves a ninth of all places free, and of many addresses each has a like part of them (Choudhury and Hahne,
/// "Dynamic queue length thresholds for shared-memory packet switches", 1998).
const REQUESTS_PER_FREE_PLACE: usize = 8;

/// The requests under way of one peer address, which all of its connections share.
#[derive(Debug)]
pub(crate) struct PeerRequests {
    peer: PeerAddress,
    under_way: Cell<usize>,
    counts: PeerCounts,
}

/// One request under way. Its drop ends the count.
#[derive(Debug)]
pub(crate) struct CountedRequest(Rc<PeerRequests>);

impl PeerRequests {
    /// Returns the count of an address, for one more connection of it.
    pub(crate) fn of(address: IpAddr, counts: &PeerCounts) -> Rc<Self> {
        let peer = PeerAddress::from(address);
        if let Some(known) = counts.borrow().get(&peer).and_then(Weak::upgrade) {
            return known;
        }
        let new = Rc::new(Self { peer, under_way: Cell::new(0), counts: Rc::clone(counts) });
        counts.borrow_mut().insert(peer, Rc::downgrade(&new));
        new
    }

    /// Returns the address.
    pub(crate) fn address(&self) -> PeerAddress {
        self.peer
    }

    /// Returns whether the address has more requests under way than it may have where so many places are free, and so could
    /// take the last ones from all others. Without a free place, all wait.
    pub(crate) fn is_beyond_share(&self, free: impl FnOnce() -> usize) -> bool {
        let under_way = self.under_way.get();
        under_way > REQUESTS_PER_FREE_PLACE && {
            let free = free();
            free > 0 && under_way > free.saturating_mul(REQUESTS_PER_FREE_PLACE)
        }
    }

    /// Returns whether as many requests are under way.
    pub(crate) fn has_reached(&self, limit: usize) -> bool {
        self.under_way.get() >= limit
    }

    /// Counts a request.
    pub(crate) fn begin(self: &Rc<Self>) -> CountedRequest {
        self.under_way.set(self.under_way.get() + 1);
        CountedRequest(Rc::clone(self))
    }
}

impl CountedRequest {
    /// Returns the requests of its address.
    pub(crate) fn peer(&self) -> &Rc<PeerRequests> {
        &self.0
    }
}

impl Drop for PeerRequests {
    fn drop(&mut self) {
        self.counts.borrow_mut().remove(&self.peer);
    }
}

impl Drop for CountedRequest {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_places_are_for_addresses_with_few_requests() {
        let counts = PeerCounts::default();
        let [many, few] = ["10.0.0.1", "10.0.0.2"].map(|at| PeerRequests::of(at.parse().unwrap(), &counts));
        let table =
            [(8, 1, false), (9, 1, true), (9, 2, false), (9, 0, false), (16, 2, false), (17, 2, true)];
        let mut requests = Vec::new();
        for (under_way, free, expected) in table {
            requests.resize_with(under_way, || many.begin());
            assert_eq!(many.is_beyond_share(|| free), expected, "{under_way} under way, {free} free");
        }
        let _few = few.begin();
        assert!(!few.is_beyond_share(|| unreachable!("it has few")));
    }

    #[test]
    fn the_connections_of_an_address_share_a_count_that_goes_with_them() {
        let counts = PeerCounts::default();
        let of = |address: &str| PeerRequests::of(address.parse().unwrap(), &counts);
        let (first, second, other) = (of("2001:db8::1"), of("2001:db8::2"), of("10.0.0.1"));
        let request = first.begin();
        let another = second.begin();
        assert!(first.has_reached(2) && !first.has_reached(3) && !other.has_reached(1));
        drop(request);
        assert!(!second.has_reached(2));
        drop((first, second, other));
        assert_eq!(counts.borrow().len(), 1, "a request outlives its connection");
        drop(another);
        assert!(counts.borrow().is_empty());
    }
}
