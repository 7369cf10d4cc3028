//! The sockets of this process to which no request is carried.

use crate::machine::is_local;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

/// The sockets of this process that its clients never dial, whatever name leads there: that of the admin server. Cheap
/// to clone.
///
/// The admin server takes a request from this machine for its administrator's. So a caller that may steer requests could
/// stop the router, and read its configuration, by a name such as `/$/inet/127.0.0.1/9990`. The listeners of the routers
/// may be dialled: a request may pass one router after the other.
///
/// It is asked for each new connection, with the address that is dialled, so that neither a host name nor a transformer
/// leads around it. The sockets may change meanwhile.
#[derive(Clone, Debug, Default)]
pub struct DialGuard(Arc<RwLock<Vec<SocketAddr>>>);

impl DialGuard {
    /// Makes a guard of bound sockets.
    pub fn new(sockets: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self(Arc::new(RwLock::new(sockets.into_iter().collect())))
    }

    /// Adds a bound socket.
    pub fn add(&self, socket: SocketAddr) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(socket);
    }

    /// Removes a socket that is closed. One that was added twice is still there.
    pub fn remove(&self, socket: SocketAddr) {
        let mut sockets = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = sockets.iter().position(|known| *known == socket) {
            sockets.swap_remove(at);
        }
    }

    /// Returns whether a connection to this address would reach one of the sockets.
    pub(crate) fn forbids(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        // The system is asked last: for nearly every address, the comparison of the ports decides.
        let sockets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        sockets
            .iter()
            .any(|socket| socket.port() == address.port() && reaches(ip, socket.ip().to_canonical()))
    }
}

/// Returns whether a connection to `address` reaches a socket that is bound to `socket`, if the ports are the same.
///
/// An unspecified address leads to this machine, so it counts as each address of it.
fn reaches(address: IpAddr, socket: IpAddr) -> bool {
    address == socket || address.is_unspecified() || (socket.is_unspecified() && is_local(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_the_process_are_forbidden_in_every_spelling() {
        // The address and port of the socket, those that are forbidden then, and those that are not.
        let cases: [(&str, &[&str], &[&str]); 4] = [
            (
                "127.0.0.1:9990",
                &[
                    "127.0.0.1:9990",
                    "[::ffff:127.0.0.1]:9990",
                    "0.0.0.0:9990",
                    "[::]:9990",
                    "[::ffff:0.0.0.0]:9990",
                ],
                &["127.0.0.1:9991", "127.0.0.2:9990", "[::1]:9990", "203.0.113.1:9990", "0.0.0.0:80"],
            ),
            (
                "0.0.0.0:9990",
                &["127.0.0.1:9990", "127.0.0.2:9990", "0.0.0.0:9990", "[::]:9990", "[::ffff:127.0.0.1]:9990"],
                &["127.0.0.1:9991", "203.0.113.1:9990", "[2001:db8::1]:9990"],
            ),
            (
                "[::]:9990",
                &["127.0.0.1:9990", "[::1]:9990", "0.0.0.0:9990", "[::]:9990"],
                &["[::1]:9991", "203.0.113.1:9990", "[2001:db8::1]:9990"],
            ),
            (
                "203.0.113.1:9990",
                &["203.0.113.1:9990", "0.0.0.0:9990"],
                &["127.0.0.1:9990", "203.0.113.2:9990"],
            ),
        ];
        for (socket, forbidden, allowed) in cases {
            let guard = DialGuard::new([socket.parse().unwrap()]);
            for address in forbidden {
                assert!(guard.forbids(address.parse().unwrap()), "{socket}: {address}");
            }
            for address in allowed {
                assert!(!guard.forbids(address.parse().unwrap()), "{socket}: {address}");
            }
            assert!(!DialGuard::default().forbids(socket.parse().unwrap()));
        }
    }

    #[test]
    fn a_socket_is_forbidden_until_it_was_removed_as_often_as_it_was_added() {
        let guard = DialGuard::default();
        let known = guard.clone();
        let socket = "127.0.0.1:9990".parse().unwrap();
        guard.add(socket);
        guard.add(socket);
        guard.remove(socket);
        assert!(known.forbids(socket));
        guard.remove(socket);
        guard.remove(socket);
        assert!(!known.forbids(socket));
    }
}
