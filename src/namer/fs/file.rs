//! The format of a name file: one address, or host name, in each line.

use crate::interpret::{Endpoint, EndpointSet, Hint};
use crate::namer::address::{is_host_name, literal};
use crate::namer::dns::Known;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Bad lines that are kept with their text; more are only counted. So it is with host names without an address.
const KEPT: usize = 10;

/// Characters of a bad line that are kept.
const SHOWN: usize = 100;

/// Host names in one file: each is followed by itself.
const MAX_HOSTS: usize = 1000;

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
    pub(super) lines: Vec<Line>,
    /// The first bad lines.
    pub(super) bad_lines: Vec<BadLine>,
    /// How many bad lines there are in all.
    pub(super) bad: usize,
}

/// One good line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) host: Host,
    port: u16,
    weight: f64,
    hint: Option<Hint>,
}

/// What stands before the port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Host {
    Address(IpAddr),
    /// In lower case.
    Name(Arc<str>),
}

/// What the lines of a file come to at one time.
#[derive(Debug, Default)]
pub(super) struct Located {
    pub(super) endpoints: EndpointSet,
    /// Whether some host name has never been answered.
    pub(super) pending: bool,
    /// Why the addresses of some host name are not known, or not those of now.
    pub(super) trouble: Option<Arc<str>>,
    /// The first host names without an address.
    pub(super) without_address: Vec<Arc<str>>,
}

impl Content {
    /// The host names in it.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.lines.iter().filter_map(|line| match &line.host {
            Host::Name(name) => Some(name),
            Host::Address(_) => None,
        })
    }

    /// Puts the addresses of hosts in the place of their names, each with the port and the weight of the line. Of equal
    /// addresses the first counts.
    pub(super) fn locate(&self, known: impl Fn(&str) -> Known<IpAddr>) -> Located {
        let mut located = Located::default();
        let mut endpoints = Vec::new();
        let mut seen = HashSet::new();
        for line in &self.lines {
            let addresses: Arc<[IpAddr]> = match &line.host {
                Host::Address(address) => Arc::new([*address]),
                Host::Name(name) => located.take(name, known(name)),
            };
            for &address in addresses.iter() {
                let address = SocketAddr::new(address, line.port);
                if seen.insert(address) {
                    let Line { weight, hint, .. } = *line;
                    endpoints.push(Endpoint { weight, hint, ..Endpoint::at(address) });
                }
            }
        }
        located.endpoints = EndpointSet::new(endpoints);
        located
    }
}

impl Located {
    fn take(&mut self, name: &Arc<str>, known: Known<IpAddr>) -> Arc<[IpAddr]> {
        match known {
            Known::Found { records, stale } => {
                self.trouble = self.trouble.take().or(stale);
                return records;
            }
            Known::Pending => self.pending = true,
            Known::Missing => {}
            Known::Failed(reason) => self.trouble = self.trouble.take().or(Some(reason)),
        }
        if self.without_address.len() < KEPT && !self.without_address.contains(name) {
            self.without_address.push(Arc::clone(name));
        }
        Arc::new([])
    }
}

/// Reads `host port` and `host port * weight`, either with `h2c` or `http` behind it for what is spoken there, fields
/// apart by white space, comments from `#`, empty lines. A bad line is reported and the others serve; of lines with one
/// host and port the first counts.
///
/// The word for the protocol is not Linkerd's: there a file's endpoints spoke what their router did.
pub(super) fn parse(bytes: &[u8]) -> Content {
    let mut known = HashSet::new();
    let mut hosts = HashSet::new();
    let mut content = Content::default();
    for (index, text) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let text = String::from_utf8_lossy(text);
        let said = text.split('#').next().unwrap_or_default().trim();
        if said.is_empty() {
            continue;
        }
        let line = line(said).and_then(|line| {
            if let Host::Name(name) = &line.host {
                hosts.insert(Arc::clone(name));
            }
            let new = known.insert((line.host.clone(), line.port));
            match (new, hosts.len() <= MAX_HOSTS || matches!(line.host, Host::Address(_))) {
                (true, true) => Ok(line),
                (false, _) => Err("the address stands in a line above"),
                (_, false) => Err("the file has more than 1000 host names"),
            }
        });
        match line {
            Ok(line) => content.lines.push(line),
            Err(reason) => {
                content.bad += 1;
                if content.bad_lines.len() < KEPT {
                    let text = said.chars().take(SHOWN).collect();
                    content.bad_lines.push(BadLine { line: index + 1, text, reason });
                }
            }
        }
    }
    content
}

fn line(text: &str) -> Result<Line, &'static str> {
    let mut fields: Vec<&str> = text.split_whitespace().take(6).collect();
    let hint = match fields.last() {
        Some(&"h2c") => Some(Hint::H2c),
        Some(&"http") => Some(Hint::H1),
        _ => None,
    };
    // A port and a host come before it.
    let hint = hint.filter(|_| fields.len() > 2);
    if hint.is_some() {
        fields.pop();
    }
    let (host, port, weight) = match fields[..] {
        [host, port] => (host, port, "1"),
        [host, port, "*", weight] => (host, port, weight),
        _ => {
            return Err("not `host port` or `host port * weight`, with or without `h2c` or `http` behind it");
        }
    };
    let host = match literal(host) {
        Some(address) => Host::Address(address),
        None if is_host_name(host) && !is_wrong_address(host) => Host::Name(host.to_ascii_lowercase().into()),
        None => return Err("the host is neither an address nor a host name"),
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|&port| digits && port > 0);
    let port = port.ok_or("the port is not one of 1 to 65535")?;
    let weight = weight.parse().ok().filter(|weight: &f64| weight.is_finite() && *weight >= 0.0);
    let weight = weight.ok_or("the weight is not a number from 0")?;
    // `-0` is a way to write 0.
    Ok(Line { host, port, weight: weight.abs(), hint })
}

/// Whether a text looks like an IPv4 address and is none, such as `10.0.0.256`: no top-level domain is a number.
fn is_wrong_address(host: &str) -> bool {
    host.trim_end_matches('.')
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::{Content, KEPT, MAX_HOSTS, SHOWN, parse};
    use crate::interpret::Hint;
    use crate::namer::dns::Known;

    /// The endpoints when no host name is known.
    fn endpoints(content: &Content) -> Vec<(String, f64)> {
        let located = content.locate(|_| Known::Pending);
        located.endpoints.iter().map(|e| (e.address.to_string(), e.weight)).collect()
    }

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
            let expected: Vec<_> = expected.iter().map(|(a, w)| ((*a).to_owned(), *w)).collect();
            assert_eq!(endpoints(&content), expected, "{text:?}");
            assert_eq!((content.bad, content.bad_lines), (0, vec![]), "{text:?}");
        }
    }

    #[test]
    fn protocols() {
        let content =
            parse(b"10.0.0.1 80 h2c\n10.0.0.2 80 * 2 http # old\n10.0.0.3 80 * 3\n10.0.0.1 80 http\n");
        let located = content.locate(|_| Known::Pending);
        let endpoints: Vec<_> = located.endpoints.iter().map(|e| (e.weight, e.hint)).collect();
        assert_eq!(endpoints, [(1.0, Some(Hint::H2c)), (2.0, Some(Hint::H1)), (3.0, None)]);
        assert_eq!(content.bad_lines[0].line, 4, "the first counts");
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
            "127.0.0.1 80 h2",
            "127.0.0.1 80 H2C",
            "127.0.0.1 80 h2c h2c",
            "127.0.0.1 80 h2c * 1",
            "127.0.0.1 80 * 1 h2c more",
            "127.0.0.1 80 * h2c",
            "127.0.0.1 h2c",
            "10.0.0.256 80",
            "a..b 80",
            "a_b:c 80",
            "1.2.3.4 80 * 2",
            "\u{0}",
        ];
        for line in bad {
            let content = parse(format!("1.2.3.4 80\n\n{line} # here\n5.6.7.8 80").as_bytes());
            assert_eq!(content.lines.len(), 2, "{line:?}");
            assert_eq!(content.bad, 1, "{line:?}");
            assert_eq!(content.bad_lines[0].line, 3, "{line:?}");
            assert_eq!(content.bad_lines[0].text, line.trim(), "{line:?}");
        }
        let content = parse(b"\xff\xfe 80\n1.2.3.4 80");
        assert_eq!((content.lines.len(), content.bad), (1, 1), "bytes that are not text");
    }

    #[test]
    fn what_is_kept_of_bad_lines_is_bounded() {
        let content = parse(("x".repeat(1000) + "\n").repeat(1000).as_bytes());
        assert_eq!((content.bad, content.bad_lines.len()), (1000, KEPT));
        assert_eq!(content.bad_lines[0].text.chars().count(), SHOWN);
    }

    #[test]
    fn host_names() {
        let content =
            parse(b"Web 80\n10.0.0.1 80\nweb 81 * 3\nWEB 80\napi.example.org. 80\ngone 1\nfails 2\n");
        assert_eq!((content.bad, content.bad_lines[0].line), (1, 4), "the same host and port again");
        let names: Vec<&str> = content.hosts().map(AsRef::as_ref).collect();
        assert_eq!(names, ["web", "web", "api.example.org.", "gone", "fails"]);
        let located = content.locate(|name| match name {
            "web" => {
                let records = ["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
                Known::Found { records: records.into(), stale: None }
            }
            "gone" => Known::Missing,
            "fails" => Known::Failed("no answer".into()),
            _ => Known::Pending,
        });
        let endpoints: Vec<_> = located.endpoints.iter().map(|e| (e.address.to_string(), e.weight)).collect();
        let expected = [("10.0.0.1:80", 1.0), ("[::1]:80", 1.0), ("10.0.0.1:81", 3.0), ("[::1]:81", 3.0)];
        assert_eq!(endpoints, expected.map(|(address, weight)| (address.to_owned(), weight)));
        assert_eq!((located.pending, located.trouble.as_deref()), (true, Some("no answer")));
        let without: Vec<&str> = located.without_address.iter().map(AsRef::as_ref).collect();
        assert_eq!(without, ["api.example.org.", "gone", "fails"]);
    }

    #[test]
    fn host_names_in_one_file_are_bounded() {
        let text: String = (0..MAX_HOSTS + 2).map(|n| format!("h{n} 80\n")).collect();
        let content = parse((text + "10.0.0.1 80\n").as_bytes());
        assert_eq!((content.lines.len(), content.bad), (MAX_HOSTS + 1, 2), "addresses are not host names");
    }
}
