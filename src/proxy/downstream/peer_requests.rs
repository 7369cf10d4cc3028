//! Counts the requests that each peer address has under way on one worker.

use crate::proxy::limits::PeerAddress;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::{Rc, Weak};

/// The counts of the peers that have connections to one listener on one worker.
pub(super) type PeerCounts = Rc<RefCell<HashMap<PeerAddress, Weak<PeerRequests>>>>;

/// The requests under way of one peer address, which all of its connections share.
#[derive(Debug)]
pub(super) struct PeerRequests {
    peer: PeerAddress,
    under_way: Cell<usize>,
    counts: PeerCounts,
}

/// One request under way. Its drop ends the count.
#[derive(Debug)]
pub(super) struct CountedRequest(Rc<PeerRequests>);

impl PeerRequests {
    /// Returns the count of an address, for one more connection of it.
    pub(super) fn of(address: IpAddr, counts: &PeerCounts) -> Rc<Self> {
        let peer = PeerAddress::from(address);
        if let Some(known) = counts.borrow().get(&peer).and_then(Weak::upgrade) {
            return known;
        }
        let new = Rc::new(Self { peer, under_way: Cell::new(0), counts: Rc::clone(counts) });
        counts.borrow_mut().insert(peer, Rc::downgrade(&new));
        new
    }

    /// Returns whether as many requests are under way.
    pub(super) fn has_reached(&self, limit: usize) -> bool {
        self.under_way.get() >= limit
    }

    /// Counts a request.
    pub(super) fn begin(self: &Rc<Self>) -> CountedRequest {
        self.under_way.set(self.under_way.get() + 1);
        CountedRequest(Rc::clone(self))
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
