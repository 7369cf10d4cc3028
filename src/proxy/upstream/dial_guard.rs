//! The sockets of this process to which no request is carried.

use crate::machine::is_local;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The sockets of this process that its clients never dial, whatever name leads there: that of the admin server. Cheap
/// to clone.
///
/// The admin server takes a request from this machine for its administrator's. So a caller that may steer requests could
/// stop the router, and read its configuration, by a name such as `/$/inet/127.0.0.1/9990`. The listeners of the routers
/// may be dialled: a request may pass one router after the other.
///
/// It is asked for each new connection, with the address that is dialled, so that neither a host name nor a transformer
/// leads around it.
#[derive(Clone, Debug, Default)]
pub struct DialGuard(Arc<[SocketAddr]>);

impl DialGuard {
    /// Makes a guard of bound sockets.
    pub fn new(sockets: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self(sockets.into_iter().collect())
    }

    /// Returns whether a connection to this address would reach one of the sockets.
    pub(crate) fn forbids(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        // The system is asked last: for nearly every address, the comparison of the ports decides.
        self.0.iter().any(|socket| socket.port() == address.port() && reaches(ip, socket.ip().to_canonical()))
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
}
