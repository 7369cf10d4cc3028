//! The forms of a request target, and the host it goes to (RFC 9112 3.2, RFC 3986 3.2.2).

use super::{Head, HeadError};
use crate::message::KnownField;

const NO_FORM: HeadError = HeadError::Malformed("the request target has none of the forms HTTP knows");

impl Head {
    /// Brings a request's target into the form in which an origin server gets it (RFC 9112 3.2).
    ///
    /// An absolute form, `http://host:port/path?query` (or `https`), becomes its path and query, and its
    /// authority replaces every `Host`; an empty path becomes `/`, or `*` for OPTIONS without a query. A path
    /// that merely contains `://` is a path. Call it after
    /// [`request_framing`](crate::message::request_framing), which checks the `Host` that came.
    ///
    /// # Errors
    ///
    /// A target in a form that its method does not allow: a fragment in it, an authority with user information or
    /// with an invalid host, `*` for anything but OPTIONS, and for CONNECT anything but `host:port`.
    pub fn normalise_target(&mut self) -> Result<(), HeadError> {
        let target = self.target();
        if target.contains(&b'#') {
            return Err(HeadError::Malformed("the request target has a fragment"));
        }
        match (self.method(), target) {
            (b"CONNECT", authority) if has_port(authority) && is_host(authority) => Ok(()),
            (b"CONNECT", _) => Err(HeadError::Malformed("the target of CONNECT is not a host and a port")),
            (_, [b'/', ..]) | (b"OPTIONS", b"*") => Ok(()),
            (_, b"*") => Err(HeadError::Malformed("only OPTIONS may have the target `*`")),
            (method, target) => {
                let (authority, path) = split_absolute(target).ok_or(NO_FORM)?;
                if authority.contains(&b'@') {
                    return Err(HeadError::Malformed("the request target has user information"));
                }
                if authority.is_empty() || authority.starts_with(b":") || !is_host(authority) {
                    return Err(HeadError::Malformed("the request target has no valid host"));
                }
                let path = match path {
                    [] if method == b"OPTIONS" => b"*".to_vec(),
                    [] => b"/".to_vec(),
                    [b'?', ..] => [b"/", path].concat(),
                    _ => path.to_vec(),
                };
                let authority = authority.to_vec();
                self.set(b"Host", &authority);
                self.set_target(&path);
                Ok(())
            }
        }
    }

    /// Checks the target of a CONNECT, and makes it the `Host`, in place of any that came (RFC 9112 3.2.3).
    ///
    /// # Errors
    ///
    /// A target that is not `host:port`.
    pub fn take_authority(&mut self) -> Result<(), HeadError> {
        self.normalise_target()?;
        let authority = self.target().to_vec();
        self.set(b"Host", &authority);
        self.lower_host();
        Ok(())
    }

    /// Lower-cases the letters of `Host` in place: host names do not differ by case, names of paths do.
    pub fn lower_host(&mut self) {
        if !self.contains(KnownField::Host) {
            return;
        }
        for line in self.lines.iter().filter(|line| line.known == KnownField::Host) {
            self.bytes[line.value.start as usize..line.value.end as usize].make_ascii_lowercase();
        }
    }
}

/// Checks that `value` is a valid `Host`: a host and perhaps a port (RFC 9110 7.2).
///
/// The host is a registered name, an IPv4 address or an IPv6 address in brackets, and may be empty: a client
/// sends that when its URI has no authority. A port is at most 65535 and may be empty too.
///
/// # Errors
///
/// Anything else.
pub fn validate_host(value: &[u8]) -> Result<(), HeadError> {
    if is_host(value) { Ok(()) } else { Err(HeadError::Malformed("the host is not valid")) }
}

/// Returns whether a value is a host with an optional port.
fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', literal @ ..] => {
            let Some(end) = memchr::memchr(b']', literal) else { return false };
            let (host, rest) = (&literal[..end], &literal[end + 1..]);
            if !is_ip_literal(host) {
                return false;
            }
            match rest {
                [] => return true,
                [b':', port @ ..] => return is_port(port),
                _ => return false,
            }
        }
        _ => match memchr::memchr(b':', value) {
            Some(colon) => (&value[..colon], &value[colon + 1..]),
            None => (value, b"".as_slice()),
        },
    };
    is_port(port) && is_registered_name(host)
}

/// Splits an absolute form, behind its scheme, into the authority and the rest.
fn split_absolute(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let scheme_end = memchr::memchr(b':', target)?;
    let (scheme, rest) = target.split_at(scheme_end);
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return None;
    }
    let rest = rest.strip_prefix(b"://")?;
    let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// Returns whether an authority has a host and the digits of a port.
fn has_port(authority: &[u8]) -> bool {
    let port = authority.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let host = &authority[..authority.len() - port];
    port > 0 && host.len() > 1 && host.ends_with(b":")
}

/// Returns whether a port is empty or a number up to 65535, in five digits at most.
fn is_port(port: &[u8]) -> bool {
    let digits = port.iter().map(|byte| byte.is_ascii_digit().then(|| u32::from(byte - b'0')));
    // Five digits at most, so the sum fits.
    port.len() <= 5
        && digits
            .into_iter()
            .try_fold(0, |number, digit| digit.map(|digit| number * 10 + digit))
            .is_some_and(|number| number <= u32::from(u16::MAX))
}

/// Returns whether a host is a registered name, in which `%` begins two hexadecimal digits.
fn is_registered_name(mut host: &[u8]) -> bool {
    while let Some((&byte, rest)) = host.split_first() {
        host = match (byte, rest) {
            _ if IN_NAME[usize::from(byte)] => rest,
            (b'%', [high, low, rest @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            _ => return false,
        };
    }
    true
}

/// The bytes of a registered name: unreserved ones and sub-delimiters (RFC 3986 3.2.2).
const IN_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 0x7f {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b';' | b'=');
        byte += 1;
    }
    table
};

/// Returns whether the text between brackets is an IPv6 address; the form for later versions (`v1.x`) is not in use.
fn is_ip_literal(literal: &[u8]) -> bool {
    std::str::from_utf8(literal).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HeadLimits;

    fn request(method: &str, target: &str, fields: &str) -> Head {
        let limits = HeadLimits { line: 1000, fields_bytes: 1000, fields: 10 };
        let text = format!("{method} {target} HTTP/1.1\r\n{fields}\r\n");
        let mut head = Head::new();
        assert_eq!(head.parse_request(text.as_bytes(), &limits), Ok(Some(text.len())), "{text:?}");
        head
    }

    #[test]
    fn targets_are_normalised() {
        let table = [
            ("GET", "/", "/", "old"),
            ("GET", "/a?b=c", "/a?b=c", "old"),
            // Linkerd took this for an absolute form.
            ("GET", "/a?b=http://c/d", "/a?b=http://c/d", "old"),
            ("GET", "/http://c/d", "/http://c/d", "old"),
            ("GET", "//c/d", "//c/d", "old"),
            ("OPTIONS", "*", "*", "old"),
            ("OPTIONS", "/a", "/a", "old"),
            ("GET", "http://new/a?b", "/a?b", "new"),
            ("GET", "http://new", "/", "new"),
            ("GET", "http://new/", "/", "new"),
            ("GET", "http://new?b", "/?b", "new"),
            ("GET", "HTTPS://New:8080/a", "/a", "New:8080"),
            ("GET", "http://[::1]:80/a", "/a", "[::1]:80"),
            ("GET", "http://new//a", "//a", "new"),
            ("GET", "http://new/a@b", "/a@b", "new"),
            ("OPTIONS", "http://new", "*", "new"),
            ("OPTIONS", "http://new/", "/", "new"),
            ("OPTIONS", "http://new?b", "/?b", "new"),
            ("CONNECT", "new:443", "new:443", "old"),
            ("CONNECT", "[::1]:443", "[::1]:443", "old"),
        ];
        for (method, target, expected, host) in table {
            let mut head = request(method, target, "Host: old\r\nA: b\r\n");
            assert_eq!(head.normalise_target(), Ok(()), "{method} {target}");
            assert_eq!(head.target(), expected.as_bytes(), "{method} {target}");
            assert_eq!(
                head.get_all(KnownField::Host).collect::<Vec<_>>(),
                [host.as_bytes()],
                "{method} {target}"
            );
            assert_eq!(head.find(b"a"), Some(b"b".as_slice()));
        }
    }

    #[test]
    fn the_authority_of_connect_replaces_the_host() {
        let mut head = request("CONNECT", "New:443", "Host: old\r\n");
        assert_eq!(head.take_authority(), Ok(()));
        assert_eq!(head.get(KnownField::Host), Some(b"new:443".as_slice()));
        assert!(request("CONNECT", "new", "Host: new:443\r\n").take_authority().is_err());
    }

    #[test]
    fn the_authority_replaces_every_host() {
        let mut head = request("GET", "http://new/a", "Host: one\r\nhost: two\r\n");
        assert_eq!(head.normalise_target(), Ok(()));
        let mut out = Vec::new();
        head.write(&mut out);
        assert_eq!(out, b"GET /a HTTP/1.1\r\nHost: new\r\n\r\n");
    }

    #[test]
    fn other_targets_are_refused() {
        let table = [
            ("GET", "*"),
            ("GET", "a"),
            ("GET", "a/b"),
            ("GET", "?a"),
            ("GET", "a://b/c"),
            ("GET", "ftp://b/c"),
            ("GET", "http:/b"),
            ("GET", "http:b"),
            ("GET", "http://"),
            ("GET", "http:///b"),
            ("GET", "http://?b"),
            ("GET", "http://:80/b"),
            ("GET", "http://user@host/"),
            ("GET", "http://user:word@host/"),
            ("GET", "http://a:b/"),
            ("GET", "http://a:99999/"),
            ("GET", "http://a\\b/"),
            ("GET", "http://[::1/"),
            ("GET", "/a#b"),
            ("GET", "http://a#b"),
            ("GET", "host:443"),
            ("OPTIONS", "**"),
            ("CONNECT", "/"),
            ("CONNECT", "*"),
            ("CONNECT", "host"),
            ("CONNECT", "host:"),
            ("CONNECT", ":443"),
            ("CONNECT", "host:x"),
            ("CONNECT", "host:99999"),
            ("CONNECT", "user@host:443"),
            ("CONNECT", "http://host:443/"),
            ("CONNECT", "::1:443"),
        ];
        for (method, target) in table {
            let mut head = request(method, target, "Host: old\r\n");
            let refused = head.normalise_target();
            assert!(matches!(refused, Err(HeadError::Malformed(_))), "{method} {target}: {refused:?}");
        }
    }

    #[test]
    fn hosts() {
        let valid = [
            "",
            "a",
            "a.b",
            "a.b.",
            "A-b_c~d",
            "a:80",
            "a:",
            "a:65535",
            "10.0.0.1:8080",
            "[::1]",
            "[::1]:80",
            "[::1]:",
            "[::ffff:1.2.3.4]",
            "%41",
            "a%2fb",
            "a!$&'()*+,;=b",
            ":80",
        ];
        for host in valid {
            assert_eq!(validate_host(host.as_bytes()), Ok(()), "{host:?}");
        }
        let invalid: [&[u8]; 23] = [
            b"a b",
            b"a\tb",
            b"a/b",
            b"a\\b",
            b"a@b",
            b"a?b",
            b"a#b",
            b"a%",
            b"a%4",
            b"a%4g",
            b"a:b",
            b"a:80:80",
            b"a:-1",
            b"a:65536",
            b"a:000080",
            b"::1",
            b"[::1",
            b"[]",
            b"[a]",
            b"[::1]80",
            b"[::1]a:80",
            b"a[b]",
            b"\xc3\xa4",
        ];
        for host in invalid {
            assert!(validate_host(host).is_err(), "{}", host.escape_ascii());
        }
    }

    #[test]
    fn hosts_are_lower_cased_in_place() {
        let mut head = request("GET", "/A", "Accept: B\r\nHost: WWW.Example.ORG:8080\r\nC: D\r\n");
        head.lower_host();
        let mut out = Vec::new();
        head.write(&mut out);
        assert_eq!(out, b"GET /A HTTP/1.1\r\nAccept: B\r\nHost: www.example.org:8080\r\nC: D\r\n\r\n");
        let mut head = request("GET", "/A", "Accept: B\r\n");
        head.lower_host();
        assert_eq!(head.find(b"accept"), Some(b"B".as_slice()));
    }
}
