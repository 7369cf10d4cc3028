//! The addresses that this host has a route to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Returns the addresses that this host has a route to; all of them when it has a route to none.
///
/// Most names have addresses of both families, but many hosts have routes for one: without this, they would lose every
/// second request. Platform resolvers put such addresses last instead (RFC 6724, section 6, rule 1), which does not
/// help a balancer.
pub(super) fn reachable(addresses: Vec<IpAddr>, has_route: fn(IpAddr) -> bool) -> Vec<IpAddr> {
    let both = addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6);
    if !both {
        return addresses;
    }
    let routed: Vec<IpAddr> = addresses.iter().copied().filter(|&address| has_route(address)).collect();
    if routed.is_empty() { addresses } else { routed }
}

/// Returns whether the system has a route to an address. Connecting a datagram socket looks for one, and sends nothing.
pub(super) fn has_route(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The port does not matter, but must not be 0.
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(SocketAddr::new(address, 53))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{has_route, reachable};
    use std::net::{IpAddr, Ipv4Addr};

    #[test]
    fn addresses_without_a_route_are_left_out() {
        let addresses =
            |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|t| t.parse().unwrap()).collect() };
        let both = addresses(&["10.0.0.1", "2001:db8::1", "10.0.0.2"]);
        type Case<'a> = (&'a [IpAddr], fn(IpAddr) -> bool, &'a [&'a str]);
        let cases: [Case<'_>; 4] = [
            (&both, |_| true, &["10.0.0.1", "2001:db8::1", "10.0.0.2"]),
            (&both, |address| address.is_ipv4(), &["10.0.0.1", "10.0.0.2"]),
            (&both, |_| false, &["10.0.0.1", "2001:db8::1", "10.0.0.2"]),
            (&both[..1], |_| false, &["10.0.0.1"]),
        ];
        for (given, has_route, expected) in cases {
            assert_eq!(reachable(given.to_vec(), has_route), addresses(expected));
        }
        assert!(has_route(Ipv4Addr::LOCALHOST.into()));
    }
}
