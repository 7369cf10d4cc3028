//! The addresses of this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Returns whether an address is this machine's: of the loopback network, or of one of its interfaces as they are now.
///
/// The system is asked: it would send to an address of its own from that same address. Nothing is sent.
pub(super) fn is_local(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = || {
        let socket = UdpSocket::bind((any, 0))?;
        // The port does not matter, but must not be 0.
        socket.connect(SocketAddr::new(address, 53))?;
        socket.local_addr()
    };
    address.is_loopback() || source().is_ok_and(|source| source.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::is_local;
    use std::net::IpAddr;

    #[test]
    fn addresses_of_this_machine_and_others() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("127.1.2.3", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            // WatchedObject for documentation: no machine has them (RFC 5737, RFC 3849).
            ("192.0.2.1", false),
            ("2001:db8::1", false),
            ("0.0.0.0", false),
        ] {
            assert_eq!(is_local(address.parse::<IpAddr>().unwrap()), expected, "{address}");
        }
    }
}
