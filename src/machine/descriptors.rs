//! The descriptors of this process: the last of them are kept in reserve.
//!
//! The system gives each new descriptor the lowest free number. So a number near the limit tells that few are left, and
//! nothing has to be counted.

use rustix::process::{Resource, getrlimit};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// How many of the last descriptors callers may not have; a quarter of all where there are few.
const KEPT_FOR_ENDPOINTS: u64 = 64;

/// How many of these endpoints may not have either, so that the admin server can answer; an eighth of all where there are
/// few.
const KEPT_FOR_ADMIN: u64 = 16;

/// How many sockets are compared with a limit that was read, before it is read again: the process raises it at its start, and
/// whoever runs it may change it at any time. Fewer than the descriptors that are kept, so that a lower limit is known
/// before those are gone.
const COMPARED: u32 = 16;

/// The uses of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketUse {
    /// A caller's connection.
    Caller,
    /// A connection to an endpoint.
    Endpoint,
}

/// The number of descriptors that the process may have, as it was read last.
struct DescriptorLimit {
    known: AtomicU64,
    /// How many sockets were compared with it.
    compared: AtomicU32,
}

static LIMIT: DescriptorLimit = DescriptorLimit::new();

/// Returns whether a new socket of this process leaves the descriptors that are kept for other uses. One that does not
/// should be closed.
pub fn leaves_reserve(socket: &impl AsRawFd, of: SocketUse) -> bool {
    let read = || getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    LIMIT.leaves_reserve(socket.as_raw_fd(), of, read)
}

impl DescriptorLimit {
    const fn new() -> Self {
        Self { known: AtomicU64::new(0), compared: AtomicU32::new(0) }
    }

    /// Compares a descriptor with the limit, which is read now and then: a system call for each connection would be too much.
    fn leaves_reserve(&self, descriptor: RawFd, of: SocketUse, read: impl Fn() -> u64) -> bool {
        let is_due = self.compared.fetch_add(1, Relaxed).is_multiple_of(COMPARED);
        if !is_due && is_below(descriptor, self.known.load(Relaxed), of) {
            return true;
        }
        // One that seems to be reached may have been raised.
        let limit = read();
        self.known.store(limit, Relaxed);
        is_below(descriptor, limit, of)
    }
}

/// Returns whether a descriptor is below those that are kept.
fn is_below(descriptor: RawFd, limit: u64, of: SocketUse) -> bool {
    let kept = match of {
        SocketUse::Caller => KEPT_FOR_ENDPOINTS.min(limit / 4),
        SocketUse::Endpoint => KEPT_FOR_ADMIN.min(limit / 8),
    };
    u64::try_from(descriptor).is_ok_and(|descriptor| descriptor < limit - kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use SocketUse::{Caller, Endpoint};
    use std::cell::Cell;

    #[test]
    fn the_last_descriptors_are_kept() {
        let highest = |limit, of| (0..limit as RawFd).rev().find(|one| is_below(*one, limit, of));
        assert_eq!((highest(1024, Caller), highest(1024, Endpoint)), (Some(959), Some(1007)));
        assert_eq!((highest(100, Caller), highest(100, Endpoint)), (Some(74), Some(87)));
        assert!(!is_below(0, 0, Caller));
    }

    #[test]
    fn a_limit_is_read_again_when_it_seems_to_be_reached_and_now_and_then() {
        let limit = DescriptorLimit::new();
        let reads = Cell::new(0);
        let leaves = |descriptor, now| {
            let read = || {
                reads.set(reads.get() + 1);
                now
            };
            limit.leaves_reserve(descriptor, Caller, read)
        };
        assert!((0..COMPARED).all(|_| leaves(100, 1024)));
        assert_eq!(reads.get(), 1, "once for all of them");
        assert!(!(0..COMPARED).all(|_| leaves(100, 128)), "a lower one is known soon");
        assert!(!leaves(100, 128));
        assert!(leaves(100, 256), "a higher one is known at once");
    }
}
