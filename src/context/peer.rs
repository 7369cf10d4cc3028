//! The peer of a connection.

use super::Range;
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
    /// Whether nothing is known of the caller: a proxy in front of it did not say who it is. Nobody trusts it.
    pub is_unknown: bool,
    /// The seed of the labels of [`Labeler::ConnectionRandom`](super::Labeler): drawn once, then fixed.
    pub(super) seed: u32,
}

impl Peer {
    /// Describes an unencrypted connection that was just accepted.
    pub fn new(remote: SocketAddr, local: SocketAddr) -> Self {
        Self { remote, local, tls: None, is_unknown: false, seed: fastrand::u32(..) }
    }

    /// Returns whether the connection is encrypted: `Forwarded` then has `proto=https`, and `proto=http` otherwise.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Returns the identity in its certificate, which was verified, if it has one.
    pub fn identity(&self) -> Option<&Identity> {
        self.tls.as_ref()?.identity.as_ref()
    }

    /// Returns whether its address is known, and in one of the ranges.
    ///
    /// One that a socket for both address families shows as `::ffff:10.0.0.1` counts as 10.0.0.1.
    pub(super) fn is_within(&self, ranges: &[Range]) -> bool {
        let address = self.remote.ip().to_canonical();
        !self.is_unknown && ranges.iter().any(|range| range.contains(address))
    }

    /// Returns whether its certificate has a name of one of the patterns.
    pub(super) fn is_one_of(&self, patterns: &[IdentityPattern]) -> bool {
        self.identity().is_some_and(|identity| patterns.iter().any(|pattern| pattern.includes(identity)))
    }
}
