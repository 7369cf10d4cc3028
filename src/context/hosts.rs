//! The hosts by which a browser's request shows that its page was not taken from elsewhere.
//!
//! A page of `evil.example` whose name is bound anew to 127.0.0.1 ("DNS rebinding") may send any header to a listener on
//! loopback. It cannot choose its `Host`: that is the name of the page.

use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The most bytes of a host name, and of one label of it (RFC 1035 2.3.4).
const MOST_OF_NAME: usize = 253;
const MOST_OF_LABEL: usize = 63;

/// A pattern for host names: a name, or `*.example.test` for all names below one. Case does not matter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPattern {
    /// The name, in lower case, without `*.` and without a dot at its end.
    name: Box<str>,
    /// Whether the pattern is for the names below it, by one or more labels, and not for itself.
    is_wildcard: bool,
}

impl HostPattern {
    /// Reads a pattern; `None` when the text is neither a host name nor `*.` and one. A port is no part of it.
    pub fn parse(text: &str) -> Option<Self> {
        let (is_wildcard, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_label =
            |label: &str| (1..=MOST_OF_LABEL).contains(&label.len()) && label.bytes().all(is_allowed);
        let is_name = name.len() <= MOST_OF_NAME && name.split('.').all(is_label);
        is_name.then(|| Self { name: name.to_ascii_lowercase().into(), is_wildcard })
    }

    /// Returns whether the pattern is for a host, given without its port.
    pub fn includes(&self, host: &[u8]) -> bool {
        let name = self.name.as_bytes();
        if self.is_wildcard { is_below(host, name) } else { host.eq_ignore_ascii_case(name) }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_wildcard { "*." } else { "" })?;
        f.write_str(&self.name)
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Returns the name or address in a `Host`, without its port and a dot at its end; an IPv6 address keeps its brackets.
pub fn host_without_port(host: &[u8]) -> &[u8] {
    let (name, _) = split_port(host);
    name.strip_suffix(b".").unwrap_or(name)
}

/// Returns a `Host` without the dot at the end of its name, also before a port: the name with it is the same (RFC 3986
/// 3.2.2). A name that is nothing but a dot keeps it. Only a dot before a port costs a copy.
pub fn host_without_dot(host: &[u8]) -> Cow<'_, [u8]> {
    match split_port(host) {
        ([name @ .., b'.'], b"") if !name.is_empty() => name.into(),
        ([name @ .., b'.'], port) if !name.is_empty() => [name, port].concat().into(),
        _ => host.into(),
    }
}

/// Splits a `Host` into its name or address, and its port with the colon, if it has one.
fn split_port(host: &[u8]) -> (&[u8], &[u8]) {
    let end = match host {
        [b'[', ..] => memchr::memchr(b']', host).map(|at| at + 1),
        _ => memchr::memchr(b':', host),
    };
    end.and_then(|end| host.split_at_checked(end)).unwrap_or((host, b""))
}

/// Returns whether a host without its port is an address, `localhost` or a name below that. No page that was taken from
/// elsewhere has such a name: browsers do not ask a name server for them (RFC 6761 6.3).
pub(super) fn is_address_or_localhost(host: &[u8]) -> bool {
    address(host).is_some() || host.eq_ignore_ascii_case(b"localhost") || is_below(host, b"localhost")
}

/// Returns whether a host is below a name, by one or more labels.
fn is_below(host: &[u8], name: &[u8]) -> bool {
    let parts = host.len().checked_sub(name.len()).and_then(|at| host.split_at_checked(at));
    parts.is_some_and(|(labels, end)| matches!(labels, [_, .., b'.']) && end.eq_ignore_ascii_case(name))
}

/// Returns the address that a host is.
fn address(host: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(host).ok()?;
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(text) => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_include_their_hosts() {
        for (pattern, printed, inside, outside) in [
            ("world", "world", "WORLD", "a.world"),
            ("World.", "world", "world", "worlds"),
            ("a.example.test", "a.example.test", "a.Example.test", "b.a.example.test"),
            ("*.example.test", "*.example.test", "a.example.test", "example.test"),
            ("*.EXAMPLE.test.", "*.example.test", "a.b.example.TEST", ".example.test"),
            ("*.test", "*.test", "example.test", "evil.test.example"),
            ("*.test", "*.test", "a.test", "atest"),
        ] {
            let pattern = HostPattern::parse(pattern).expect("it is a pattern");
            assert_eq!(pattern.to_string(), printed);
            assert_eq!(HostPattern::parse(printed).as_ref(), Some(&pattern));
            assert!(pattern.includes(inside.as_bytes()), "{printed} includes {inside}");
            assert!(!pattern.includes(outside.as_bytes()), "{printed} does not include {outside}");
        }
    }

    #[test]
    fn other_texts_are_not_patterns() {
        let (long_label, long_name) = ("a".repeat(64), ["a"; 128].join("."));
        for text in [
            "",
            ".",
            "*",
            "*.",
            "a..b",
            ".a",
            "a.*",
            "*a.b",
            "a:80",
            "[::1]",
            "a b",
            "ä",
            &long_label,
            &long_name,
        ] {
            assert_eq!(HostPattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_dot_at_the_end_of_a_name_is_dropped() {
        for (host, expected) in [
            ("a.b.", "a.b"),
            ("a.b.:80", "a.b:80"),
            ("a.b.:", "a.b:"),
            ("a.b", "a.b"),
            ("a.b:80", "a.b:80"),
            ("a..", "a."),
            ("10.0.0.7.:80", "10.0.0.7:80"),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]:80"),
            ("::1", "::1"),
            (".", "."),
            (".:80", ".:80"),
            ("", ""),
        ] {
            assert_eq!(host_without_dot(host.as_bytes()).escape_ascii().to_string(), expected, "{host}");
        }
    }

    #[test]
    fn addresses_and_localhost_are_known() {
        for (host, is_known) in [
            ("127.0.0.1", true),
            ("127.0.0.1:4140", true),
            ("10.0.0.7.", true),
            ("[::1]:4140", true),
            ("[::1]", true),
            ("localhost", true),
            ("LOCALHOST:4140", true),
            ("localhost.:4140", true),
            ("a.b.localhost", true),
            (".localhost", false),
            ("evil-localhost", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("127.1", false),
            ("2130706433", false),
            ("[::1", false),
            ("::1", false),
            ("evil.example:4140", false),
            ("", false),
        ] {
            assert_eq!(is_address_or_localhost(host_without_port(host.as_bytes())), is_known, "{host}");
        }
    }
}
