//! Addresses written as text: hosts that can be read without asking DNS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns the address that a host text stands for by itself, or `None` for a name.
///
/// Reads IPv4 also in the short forms of platform resolvers (`127.1` is 127.0.0.1, `8080` is 0.0.31.144), IPv6 with or
/// without brackets, and `localhost`, which is 127.0.0.1 as in Linkerd. A part with a leading zero is left to the
/// resolver: some platforms read it as octal, the JVM does not.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    if host.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = bracketed.unwrap_or(host).parse::<Ipv6Addr>() {
        return Some(address.into());
    }
    ipv4(host).map(IpAddr::from)
}

/// Reads one to four decimal parts; the last one fills the bytes that are left.
fn ipv4(host: &str) -> Option<Ipv4Addr> {
    if host.len() > "255.255.255.255".len() {
        return None;
    }
    let (front, last) = host.rsplit_once('.').map_or((None, host), |(front, last)| (Some(front), last));
    let mut address: u32 = 0;
    let mut left = 32;
    for part in front.into_iter().flat_map(|front| front.split('.')) {
        left = u32::checked_sub(left, 8).filter(|&left| left > 0)?;
        address |= decimal(part).filter(|&byte| byte < 256)? << left;
    }
    let last = decimal(last)?;
    let fits = last.checked_shr(left).unwrap_or(0) == 0;
    fits.then(|| Ipv4Addr::from(address | last))
}

/// Reads a decimal number without a leading zero.
fn decimal(part: &str) -> Option<u32> {
    let digits = part.bytes().all(|byte| byte.is_ascii_digit());
    let ambiguous = part.len() > 1 && part.starts_with('0');
    if digits && !ambiguous { part.parse().ok() } else { None }
}

/// Returns whether a text can be a host name in DNS: letters, digits, `-`, `_` and dots between them, up to 253 bytes.
pub(super) fn is_host_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    host.len() <= 253 && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::{is_host_name, literal};

    #[test]
    fn literals() {
        let cases = [
            ("127.0.0.1", Some("127.0.0.1")),
            ("127.1", Some("127.0.0.1")),
            ("127.0.257", Some("127.0.1.1")),
            ("10.1.65535", Some("10.1.255.255")),
            ("10.1.65536", None),
            ("10.16777215", Some("10.255.255.255")),
            ("10.16777216", None),
            ("8080", Some("0.0.31.144")),
            ("0", Some("0.0.0.0")),
            ("4294967295", Some("255.255.255.255")),
            ("4294967296", None),
            ("256.1", None),
            ("1.2.3.256", None),
            ("1.2.3.4.5", None),
            ("010.0.0.1", None),
            ("0x7f.1", None),
            ("1..2", None),
            ("1.", None),
            (".1", None),
            ("", None),
            ("+1", None),
            ("::1", Some("::1")),
            ("[::1]", Some("::1")),
            ("[::1", None),
            ("[127.0.0.1]", None),
            ("2001:db8::7", Some("2001:db8::7")),
            ("localhost", Some("127.0.0.1")),
            ("LocalHost", Some("127.0.0.1")),
            ("localhost.", None),
            ("example.org", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(literal(text), expected, "{text:?}");
        }
    }

    #[test]
    fn host_names() {
        let long = "a".repeat(64);
        let longer = ["a"; 128].join(".");
        let cases = [
            ("example.org", true),
            ("example.org.", true),
            ("_http._tcp.web", true),
            ("a", true),
            ("", false),
            (".", false),
            ("a..b", false),
            (".a", false),
            ("a b", false),
            ("a,b", false),
            ("a:b", false),
            ("caf\u{e9}", false),
            (&long, false),
            (&longer, false),
        ];
        for (text, expected) in cases {
            assert_eq!(is_host_name(text), expected, "{text:?}");
        }
    }
}
