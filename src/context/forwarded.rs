//! The `Forwarded` header.

use super::Peer;
use crate::message::is_token_byte;
use serde::Serialize;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// How many letters and digits a random label has.
const RANDOM_LENGTH: usize = 6;

/// The form of the `Forwarded` header that `addForwardedHeader` adds (RFC 7239).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Forwarded {
    /// The label of this listener: the key `by`.
    pub by: Labeler,
    /// The label of the caller: the key `for`, which is a keyword in Rust.
    #[serde(rename = "for")]
    pub from: Labeler,
    /// The name of the parameter that holds the host.
    #[serde(skip)]
    pub host: HostParameter,
}

/// The name of the parameter that holds the host a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HostParameter {
    /// `host=`, as RFC 7239 section 5.3 has it.
    #[default]
    Host,
    /// `authority=`, as Linkerd's `h2` routers write it, for requests over either protocol.
    Authority,
}

impl HostParameter {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Host => b"host",
            Self::Authority => b"authority",
        }
    }
}

/// The label of one end of a connection in `Forwarded`.
///
/// All but the last two name an address, and say `unknown` of the address that stands for all (`0.0.0.0`, `::`).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(tag = "kind", content = "label", rename_all = "camelCase")]
pub enum Labeler {
    /// `ip`: `192.0.2.43` or `"[2001:db8::17]"`.
    Ip,
    /// `ip:port`: `"192.0.2.43:8080"` or `"[2001:db8::17]:8080"`.
    #[serde(rename = "ip:port")]
    IpPort,
    /// `connectionRandom`: `_` and six letters or digits, the same for all requests of a connection.
    ConnectionRandom,
    /// `requestRandom`: `_` and six letters or digits, new for each request. RFC 7239 section 6.3 recommends it.
    #[default]
    RequestRandom,
    /// `router`: the label of the router, after `_`.
    Router,
    /// `static`: a configured label, after `_` unless it begins with one.
    Static(String),
}

impl Forwarded {
    /// Appends one element of `Forwarded` to `out`.
    pub(super) fn encode(&self, peer: &Peer, router: &str, host: Option<&[u8]>, out: &mut Vec<u8>) {
        // Two labels of one connection must differ, or both ends would look like one.
        out.extend_from_slice(b"by=");
        self.by.encode(peer.local, peer.seed.into(), router, out);
        out.extend_from_slice(b";for=");
        self.from.encode(peer.remote, (!peer.seed).into(), router, out);
        if let Some(host) = host.filter(|host| !host.is_empty()) {
            out.push(b';');
            out.extend_from_slice(self.host.name());
            out.push(b'=');
            push_value(host, out);
        }
        out.extend_from_slice(if peer.is_secure() { b";proto=https" } else { b";proto=http" });
    }
}

impl Labeler {
    fn encode(&self, address: SocketAddr, seed: u64, router: &str, out: &mut Vec<u8>) {
        let ip = address.ip().to_canonical();
        match self {
            Self::Router => push_label(router, out),
            Self::Static(label) => push_label(label, out),
            _ if ip.is_unspecified() => out.extend_from_slice(b"unknown"),
            Self::Ip => push_ip(ip, out),
            Self::IpPort => push_ip_port(ip, address.port(), out),
            Self::ConnectionRandom => push_random(&mut fastrand::Rng::with_seed(seed), out),
            Self::RequestRandom => push_random(&mut fastrand::Rng::new(), out),
        }
    }
}

// In the functions below, writing to memory does not fail.

/// Appends an address.
fn push_ip(ip: IpAddr, out: &mut Vec<u8>) {
    let _ = match ip {
        IpAddr::V4(ip) => write!(out, "{ip}"),
        IpAddr::V6(ip) => write!(out, "\"[{ip}]\""),
    };
}

/// Appends an address and a port.
fn push_ip_port(ip: IpAddr, port: u16, out: &mut Vec<u8>) {
    let _ = match ip {
        IpAddr::V4(ip) => write!(out, "\"{ip}:{port}\""),
        IpAddr::V6(ip) => write!(out, "\"[{ip}]:{port}\""),
    };
}

/// Appends a random label.
fn push_random(random: &mut fastrand::Rng, out: &mut Vec<u8>) {
    let _ = write!(out, "_");
    for _ in 0..RANDOM_LENGTH {
        let _ = write!(out, "{}", random.alphanumeric());
    }
}

/// Appends an obfuscated identifier (RFC 7239 section 6.3). A configured label may need quotes.
fn push_label(label: &str, out: &mut Vec<u8>) {
    let label = label.strip_prefix('_').unwrap_or(label).as_bytes();
    if label.iter().copied().all(is_token_byte) {
        out.push(b'_');
        out.extend_from_slice(label);
    } else {
        out.extend_from_slice(b"\"_");
        push_escaped(label, out);
        out.push(b'"');
    }
}

/// Appends a value, quoted when it is not a token (RFC 9110 section 5.6): a host with a port is not.
fn push_value(value: &[u8], out: &mut Vec<u8>) {
    if value.iter().copied().all(is_token_byte) {
        out.extend_from_slice(value);
    } else {
        out.push(b'"');
        push_escaped(value, out);
        out.push(b'"');
    }
}

fn push_escaped(value: &[u8], out: &mut Vec<u8>) {
    for &byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(remote: &str, local: &str) -> Peer {
        Peer::new(remote.parse().unwrap(), local.parse().unwrap())
    }

    fn encoded(forwarded: &Forwarded, peer: &Peer, host: Option<&[u8]>) -> String {
        let mut out = Vec::new();
        forwarded.encode(peer, "inbound", host, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn labels_follow_rfc_7239() {
        let v4 = ("192.0.2.43:8080", "192.0.2.1:4140");
        let v6 = ("[2001:db8::17]:8080", "[2001:db8::1]:4140");
        let mapped = ("[::ffff:192.0.2.43]:8080", "[::ffff:192.0.2.1]:4140");
        let any = ("0.0.0.0:0", "[::]:4140");
        let of = |label: &str| Labeler::Static(label.into());
        let table = [
            (Labeler::Ip, v4, "192.0.2.1", "192.0.2.43"),
            (Labeler::Ip, v6, "\"[2001:db8::1]\"", "\"[2001:db8::17]\""),
            (Labeler::Ip, mapped, "192.0.2.1", "192.0.2.43"),
            (Labeler::Ip, any, "unknown", "unknown"),
            (Labeler::IpPort, v4, "\"192.0.2.1:4140\"", "\"192.0.2.43:8080\""),
            (Labeler::IpPort, v6, "\"[2001:db8::1]:4140\"", "\"[2001:db8::17]:8080\""),
            (Labeler::IpPort, any, "unknown", "unknown"),
            (Labeler::RequestRandom, any, "unknown", "unknown"),
            (Labeler::ConnectionRandom, any, "unknown", "unknown"),
            (Labeler::Router, v4, "_inbound", "_inbound"),
            (Labeler::Router, any, "_inbound", "_inbound"),
            (of("edge"), v4, "_edge", "_edge"),
            (of("_edge"), v6, "_edge", "_edge"),
            (of("a b\"c"), v4, "\"_a b\\\"c\"", "\"_a b\\\"c\""),
        ];
        for (labeler, (remote, local), by, from) in table {
            let forwarded = Forwarded { by: labeler.clone(), from: labeler, host: HostParameter::Host };
            let text = encoded(&forwarded, &peer(remote, local), None);
            assert_eq!(text, format!("by={by};for={from};proto=http"));
        }
    }

    #[test]
    fn a_host_is_quoted_when_it_must_be() {
        let of = |host| Forwarded { by: Labeler::Router, from: Labeler::Router, host };
        let mut peer = peer("192.0.2.43:1", "192.0.2.1:2");
        peer.tls = Some(std::sync::Arc::default());
        let table: [(&[u8], &str); 4] = [
            (b"www.hello.world", ";host=www.hello.world"),
            (b"hello:8080", ";host=\"hello:8080\""),
            (b"a\";for=evil", ";host=\"a\\\";for=evil\""),
            (b"", ""),
        ];
        for (host, text) in table {
            let expected = format!("by=_inbound;for=_inbound{text};proto=https");
            assert_eq!(encoded(&of(HostParameter::Host), &peer, Some(host)), expected);
            let expected = expected.replace(";host=", ";authority=");
            assert_eq!(encoded(&of(HostParameter::Authority), &peer, Some(host)), expected);
        }
    }

    #[test]
    fn random_labels_last_for_a_connection_or_for_a_request() {
        let peer = peer("192.0.2.43:1", "192.0.2.1:2");
        let connection = Forwarded {
            by: Labeler::ConnectionRandom,
            from: Labeler::ConnectionRandom,
            ..Forwarded::default()
        };
        let text = encoded(&connection, &peer, None);
        assert_eq!(text, encoded(&connection, &peer, None));
        let request = Forwarded::default();
        assert_ne!(encoded(&request, &peer, None), encoded(&request, &peer, None));

        let labels: Vec<&str> =
            text.split(';').filter_map(|pair| pair.split_once("=_")).map(|(_, l)| l).collect();
        let [by, from] = labels.as_slice() else { panic!("two labels in {text}") };
        assert_ne!(by, from);
        for label in [by, from] {
            assert_eq!(label.len(), RANDOM_LENGTH);
            assert!(label.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{label}");
        }
    }
}
