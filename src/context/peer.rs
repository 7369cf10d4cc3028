//! The peer of a connection.

use crate::tls::{Identity, IdentityPattern, SecurePeer};
use std::net::SocketAddr;
use std::sync::Arc;

/// The other end of an accepted connection, and the local address that it reached.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The caller's address.
    pub remote: SocketAddr,
    /// The address at which the connection was accepted.
    pub local: SocketAddr,
    /// The facts about it that a handshake of TLS has shown, if there was one.
    pub tls: Option<Arc<SecurePeer>>,
    /// The seed of the labels of [`Labeler::ConnectionRandom`](super::Labeler): drawn once, then fixed.
    pub(super) seed: u64,
}

impl Peer {
    /// Describes an unencrypted connection that was just accepted.
    pub fn new(remote: SocketAddr, local: SocketAddr) -> Self {
        Self { remote, local, tls: None, seed: fastrand::u64(..) }
    }

    /// Returns whether the connection is encrypted: `Forwarded` then has `proto=https`, and `proto=http` otherwise.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Returns the identity in its certificate, which was verified, if it has one.
    pub fn identity(&self) -> Option<&Identity> {
        self.tls.as_ref()?.identity.as_ref()
    }

    /// Returns whether its certificate has a name of one of the patterns.
    pub(super) fn is_one_of(&self, patterns: &[IdentityPattern]) -> bool {
        self.identity().is_some_and(|identity| patterns.iter().any(|pattern| pattern.includes(identity)))
    }
}
