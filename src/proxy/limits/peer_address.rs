//! The address by which a peer is counted.

use std::net::IpAddr;

/// The address of a peer, as bounds count it: an IPv4 address, or the /64 of an IPv6 address, which is given to one
/// customer of a network as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PeerAddress {
    network: u64,
    /// The address within ::/64, in which IPv4 addresses are mapped; 0 elsewhere.
    mapped: u64,
}

impl From<IpAddr> for PeerAddress {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self { network: 0, mapped: address.to_ipv6_mapped().to_bits() as u64 },
            IpAddr::V6(address) => Self { network: (address.to_bits() >> 64) as u64, mapped: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_counts_with_its_64() {
        let counted = |address: &str| PeerAddress::from(address.parse::<IpAddr>().unwrap());
        assert_eq!(counted("2001:db8::1"), counted("2001:db8::ffff:0:0:1"));
        assert_ne!(counted("2001:db8::1"), counted("2001:db8:0:1::1"));
        assert_eq!(counted("10.0.0.1"), counted("::ffff:10.0.0.1"));
        assert_ne!(counted("10.0.0.1"), counted("10.0.0.2"));
        assert_ne!(counted("0.0.0.0"), counted("::1"));
    }
}
