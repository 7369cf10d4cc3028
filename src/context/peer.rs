//! The peer of a connection.

use std::net::SocketAddr;

/// The other end of an accepted connection, and the local address that it reached.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The caller's address.
    pub remote: SocketAddr,
    /// The address at which the connection was accepted.
    pub local: SocketAddr,
    /// Whether the connection is encrypted: `Forwarded` then has `proto=https`, and `proto=http` otherwise.
    pub secure: bool,
    /// The seed of the labels of [`Labeler::ConnectionRandom`](super::Labeler): drawn once, then fixed.
    pub(super) seed: u64,
}

impl Peer {
    /// Describes an unencrypted connection that was just accepted.
    pub fn new(remote: SocketAddr, local: SocketAddr) -> Self {
        Self { remote, local, secure: false, seed: fastrand::u64(..) }
    }
}
