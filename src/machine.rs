//! The addresses of this machine, as the system knows them now, and the descriptors of this process.

mod descriptors;

pub use self::descriptors::{SocketUse, leaves_reserve};

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Returns whether a connection to this address stays on this machine: it is of the loopback network, of one of the
/// interfaces as they are now, or unspecified, which leads to loopback.
///
/// The system is asked. Nothing is sent.
pub fn is_local(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let has_own_source = || source(address).is_ok_and(|source| source == address);
    address.is_loopback() || address.is_unspecified() || has_own_source() || is_bindable(address)
}

/// Returns the address from which this machine would send to another one: one of its own. `None` without a way there.
pub fn source_address(address: IpAddr) -> Option<IpAddr> {
    source(address).ok()
}

/// Returns the address from which this machine would send to another one. To an address of its own it sends from that
/// same address, unless an interface has several in one network: then it sends from the first of them.
fn source(address: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // The port does not matter, but must not be 0.
    socket.connect(SocketAddr::new(address, 53))?;
    socket.local_addr().map(|source| source.ip())
}

/// Returns whether sockets may be bound to this address because this machine has it. On a machine where they may be
/// bound to any address (`ip_nonlocal_bind` of Linux) that shows nothing, and the answer is no.
fn is_bindable(address: IpAddr) -> bool {
    // Reserved for documentation: no machine has them (RFC 5737, RFC 3849).
    let foreign: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::new(203, 0, 113, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let binds = |address| UdpSocket::bind((address, 0)).is_ok();
    binds(address) && !binds(foreign)
}

#[cfg(test)]
mod tests {
    use super::{is_local, source_address};
    use std::net::IpAddr;

    #[test]
    fn the_source_of_what_is_sent_is_an_own_address() {
        assert!(source_address("127.1.2.3".parse().unwrap()).is_some_and(|own| own.is_loopback()));
        let own = source_address("203.0.113.1".parse().unwrap());
        assert!(own.is_none_or(is_local), "{own:?}");
    }

    #[test]
    fn addresses_of_this_machine_and_others() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("127.1.2.3", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("0.0.0.0", true),
            ("::", true),
            ("::ffff:0.0.0.0", true),
            // Reserved for documentation: no machine has them (RFC 5737, RFC 3849).
            ("203.0.113.1", false),
            ("203.0.113.2", false),
            ("::ffff:203.0.113.2", false),
            ("2001:db8::1", false),
            ("2001:db8::2", false),
        ] {
            assert_eq!(is_local(address.parse::<IpAddr>().unwrap()), expected, "{address}");
        }
    }
}
