//! A DNS server, as written in the configuration.

use crate::namer::address::{is_host_name, literal};
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// A description, for error texts, of the text that [`DnsServer`] is read from.
pub(in crate::namer) const EXPECTED_SERVER: &str = "an address or a host name of a DNS server, with or without a port, such as 10.0.0.10 or ns.example.org:5353";

/// The port of DNS.
const DNS_PORT: u16 = 53;

/// A DNS server: an address or a name, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::namer) struct DnsServer {
    pub(super) host: DnsServerHost,
    pub(super) port: u16,
}

/// The host of a DNS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DnsServerHost {
    Address(IpAddr),
    Name(Arc<str>),
}

impl FromStr for DnsServer {
    type Err = ();

    /// Reads `host` and `host:port`; an IPv6 address with a port stands in brackets.
    fn from_str(text: &str) -> Result<Self, ()> {
        let whole = text.parse::<Ipv6Addr>().is_ok();
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !whole && !text.ends_with(']') => {
                let digits = port.bytes().all(|byte| byte.is_ascii_digit());
                (host, port.parse().ok().filter(|&port| digits && port > 0).ok_or(())?)
            }
            _ => (text, DNS_PORT),
        };
        let host = match literal(host) {
            Some(address) => DnsServerHost::Address(address),
            None if is_host_name(host) => DnsServerHost::Name(host.to_ascii_lowercase().into()),
            None => return Err(()),
        };
        Ok(Self { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::{DnsServer, DnsServerHost};

    #[test]
    fn servers() {
        let cases = [
            ("10.0.0.10", Some("10.0.0.10 53")),
            ("10.0.0.10:5353", Some("10.0.0.10 5353")),
            ("::1", Some("::1 53")),
            ("[::1]", Some("::1 53")),
            ("[::1]:54", Some("::1 54")),
            ("localhost:54", Some("127.0.0.1 54")),
            ("NS0.example.org", Some("ns0.example.org 53")),
            ("ns0.example.org.:54", Some("ns0.example.org. 54")),
            ("", None),
            (":53", None),
            ("ns0:", None),
            ("ns0:0", None),
            ("ns0:+1", None),
            ("ns0:65536", None),
            ("ns 0", None),
            ("https://ns0", None),
        ];
        for (text, expected) in cases {
            let server = text.parse().ok().map(|DnsServer { host, port }| match host {
                DnsServerHost::Address(address) => format!("{address} {port}"),
                DnsServerHost::Name(name) => format!("{name} {port}"),
            });
            assert_eq!(server.as_deref(), expected, "{text:?}");
        }
    }
}
