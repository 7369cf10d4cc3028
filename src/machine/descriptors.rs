//! The descriptors of this process: the last of them are kept in reserve.
//!
//! The system gives each new descriptor the lowest free number. So a number near the limit tells that few are left, and
//! nothing has to be counted.

use rustix::process::{Resource, getrlimit};
use std::os::fd::{AsRawFd, RawFd};

/// How many of the last descriptors callers may not have; a quarter of all where there are few.
const KEPT_FOR_ENDPOINTS: u64 = 64;

/// How many of these endpoints may not have either, so that the admin server can answer; an eighth of all where there are
/// few.
const KEPT_FOR_ADMIN: u64 = 16;

/// The uses of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketUse {
    /// A caller's connection.
    Caller,
    /// A connection to an endpoint.
    Endpoint,
}

/// Returns whether a new socket of this process leaves the descriptors that are kept for other uses. One that does not
/// should be closed.
pub fn leaves_reserve(socket: &impl AsRawFd, of: SocketUse) -> bool {
    getrlimit(Resource::Nofile).current.is_none_or(|limit| is_below(socket.as_raw_fd(), limit, of))
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

    #[test]
    fn the_last_descriptors_are_kept() {
        let highest = |limit, of| (0..limit as RawFd).rev().find(|one| is_below(*one, limit, of));
        assert_eq!((highest(1024, Caller), highest(1024, Endpoint)), (Some(959), Some(1007)));
        assert_eq!((highest(100, Caller), highest(100, Endpoint)), (Some(74), Some(87)));
        assert!(!is_below(0, 0, Caller));
    }
}
