//! The format of a name file: one address in each line.

use crate::interpret::{Endpoint, EndpointSet};
use crate::namer::address::literal;
use std::collections::HashSet;
use std::net::SocketAddr;

/// Bad lines that are kept with their text; more are only counted.
const KEPT: usize = 10;

/// Characters of a bad line that are kept.
const SHOWN: usize = 100;

/// A line of a name file that is not an address, or repeats one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, from 1.
    pub line: usize,
    /// Its beginning: up to 100 characters.
    pub text: String,
    /// What is wrong with it, for people.
    pub reason: &'static str,
}

/// What a name file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Content {
    pub(super) endpoints: EndpointSet,
    /// The first bad lines.
    pub(super) bad_lines: Vec<BadLine>,
    /// How many bad lines there are in all.
    pub(super) bad: usize,
}

/// Reads `host port` and `host port * weight`, fields apart by white space, comments from `#`, empty lines. A bad line
/// is reported and the others serve; of lines with one address the first counts.
pub(super) fn parse(bytes: &[u8]) -> Content {
    let mut endpoints = Vec::new();
    let mut known = HashSet::new();
    let mut content = Content::default();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = String::from_utf8_lossy(line);
        let said = line.split('#').next().unwrap_or_default().trim();
        if said.is_empty() {
            continue;
        }
        let endpoint = endpoint(said).and_then(|endpoint| {
            let new = known.insert(endpoint.address);
            if new { Ok(endpoint) } else { Err("the address stands in a line above") }
        });
        match endpoint {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(reason) => {
                content.bad += 1;
                if content.bad_lines.len() < KEPT {
                    let text = said.chars().take(SHOWN).collect();
                    content.bad_lines.push(BadLine { line: index + 1, text, reason });
                }
            }
        }
    }
    content.endpoints = EndpointSet::new(endpoints);
    content
}

fn endpoint(line: &str) -> Result<Endpoint, &'static str> {
    let mut fields = line.split_whitespace();
    let fields = [fields.next(), fields.next(), fields.next(), fields.next(), fields.next()];
    let (host, port, weight) = match fields {
        [Some(host), Some(port), None, ..] => (host, port, "1"),
        [Some(host), Some(port), Some("*"), Some(weight), None] => (host, port, weight),
        _ => return Err("not `host port` or `host port * weight`"),
    };
    let address = literal(host).ok_or("the host is not an address, and host names are not looked up here")?;
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|&port| digits && port > 0);
    let port = port.ok_or("the port is not one of 1 to 65535")?;
    let weight = weight.parse().ok().filter(|weight: &f64| weight.is_finite() && *weight >= 0.0);
    let weight = weight.ok_or("the weight is not a number from 0")?;
    // `-0` is a way to write 0.
    Ok(Endpoint { weight: weight.abs(), ..Endpoint::at(SocketAddr::new(address, port)) })
}

#[cfg(test)]
mod tests {
    use super::{KEPT, SHOWN, parse};

    #[test]
    fn lines() {
        let cases: &[(&str, &[(&str, f64)])] = &[
            ("", &[]),
            ("\n\n  \n# nothing\n", &[]),
            ("127.0.0.1 80", &[("127.0.0.1:80", 1.0)]),
            ("127.0.0.1 80\n", &[("127.0.0.1:80", 1.0)]),
            ("  127.0.0.1\t80  # a comment\r\n", &[("127.0.0.1:80", 1.0)]),
            ("127.0.0.1 80#comment", &[("127.0.0.1:80", 1.0)]),
            ("127.0.0.1 80 * 0.5", &[("127.0.0.1:80", 0.5)]),
            ("127.0.0.1 80 * 0", &[("127.0.0.1:80", 0.0)]),
            ("127.0.0.1 80 * 3", &[("127.0.0.1:80", 3.0)]),
            ("127.1 80", &[("127.0.0.1:80", 1.0)]),
            ("localhost 80", &[("127.0.0.1:80", 1.0)]),
            ("::1 80\n[::2] 81", &[("[::1]:80", 1.0), ("[::2]:81", 1.0)]),
            ("10.0.0.2 1\n10.0.0.1 65535", &[("10.0.0.2:1", 1.0), ("10.0.0.1:65535", 1.0)]),
        ];
        for (text, expected) in cases {
            let content = parse(text.as_bytes());
            let endpoints: Vec<_> =
                content.endpoints.iter().map(|e| (e.address.to_string(), e.weight)).collect();
            let expected: Vec<_> = expected.iter().map(|(a, w)| ((*a).to_owned(), *w)).collect();
            assert_eq!(endpoints, expected, "{text:?}");
            assert_eq!((content.bad, content.bad_lines), (0, vec![]), "{text:?}");
        }
    }

    #[test]
    fn bad_lines_are_reported_and_the_others_serve() {
        let bad = [
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1 0",
            "127.0.0.1 65536",
            "127.0.0.1 +80",
            "127.0.0.1 http",
            "127.0.0.1 80 0.5",
            "127.0.0.1 80 * ",
            "127.0.0.1 80 * -1",
            "127.0.0.1 80 * inf",
            "127.0.0.1 80 * NaN",
            "127.0.0.1 80 * 1 more",
            "example.org 80",
            "1.2.3.4 80 * 2",
            "\u{0}",
        ];
        for line in bad {
            let content = parse(format!("1.2.3.4 80\n\n{line} # here\n5.6.7.8 80").as_bytes());
            assert_eq!(content.endpoints.len(), 2, "{line:?}");
            assert_eq!(content.bad, 1, "{line:?}");
            assert_eq!(content.bad_lines[0].line, 3, "{line:?}");
            assert_eq!(content.bad_lines[0].text, line.trim(), "{line:?}");
        }
        let content = parse(b"\xff\xfe 80\n1.2.3.4 80");
        assert_eq!((content.endpoints.len(), content.bad), (1, 1), "bytes that are not text");
    }

    #[test]
    fn what_is_kept_of_bad_lines_is_bounded() {
        let content = parse(("x".repeat(1000) + "\n").repeat(1000).as_bytes());
        assert_eq!((content.bad, content.bad_lines.len()), (1000, KEPT));
        assert_eq!(content.bad_lines[0].text.chars().count(), SHOWN);
    }
}
