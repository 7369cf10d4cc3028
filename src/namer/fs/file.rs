//! The format of a name file: one address or host name per line.

use crate::interpret::{Endpoint, EndpointSet, Hint};
use crate::namer::address::{is_host_name, literal};
use crate::namer::dns::DnsState;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// How many bad lines are kept with their text; more are only counted. The same holds for host names without an
/// address.
const MAX_BAD_LINES: usize = 10;

/// How many characters of a bad line are kept.
const MAX_LINE_TEXT: usize = 100;

/// How many host names one file may have: each is watched separately.
const MAX_HOSTS: usize = 1000;

/// A line of a name file that is not an address, or repeats one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The number of the line, from 1.
    pub line: usize,
    /// The beginning of the line: up to 100 characters.
    pub text: String,
    /// The mistake, for people.
    pub reason: &'static str,
}

/// The content of a name file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Content {
    pub(super) lines: Vec<NameLine>,
    /// The first bad lines.
    pub(super) bad_lines: Vec<BadLine>,
    /// How many bad lines there are in all.
    pub(super) bad: usize,
}

/// One good line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NameLine {
    pub(super) host: LineHost,
    port: u16,
    weight: f64,
    hint: Option<Hint>,
}

/// The host of a line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum LineHost {
    Address(IpAddr),
    /// A host name, in lower case.
    Name(Arc<str>),
}

/// The endpoints of a file at one time.
#[derive(Debug, Default)]
pub(super) struct FileEndpoints {
    pub(super) endpoints: EndpointSet,
    /// Whether DNS has not answered yet for some host name.
    pub(super) pending: bool,
    /// The reason why the addresses of some host name are not known, or out of date.
    pub(super) trouble: Option<Arc<str>>,
    /// The first host names without an address.
    pub(super) without_address: Vec<Arc<str>>,
}

impl Content {
    /// Returns the host names in the file.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.lines.iter().filter_map(|line| match &line.host {
            LineHost::Name(name) => Some(name),
            LineHost::Address(_) => None,
        })
    }

    /// Returns why the file is not a name file, if it has bad lines and no good one: that is no file without endpoints.
    pub(super) fn garbage(&self) -> Option<String> {
        let BadLine { line, text, reason } = self.bad_lines.first().filter(|_| self.lines.is_empty())?;
        Some(format!("no line of its file is an endpoint; line {line}, `{}`: {reason}", text.escape_debug()))
    }

    /// Returns the endpoints of the lines, with the addresses of hosts in the place of their names, each with the port
    /// and the weight of its line. Of equal addresses the first counts.
    pub(super) fn endpoints(&self, known: impl Fn(&str) -> DnsState<IpAddr>) -> FileEndpoints {
        let mut located = FileEndpoints::default();
        let mut endpoints = Vec::new();
        let mut seen = HashSet::new();
        for line in &self.lines {
            let addresses: Arc<[IpAddr]> = match &line.host {
                LineHost::Address(address) => Arc::new([*address]),
                LineHost::Name(name) => located.take(name, known(name)),
            };
            for &address in addresses.iter() {
                let address = SocketAddr::new(address, line.port);
                if seen.insert(address) {
                    let NameLine { weight, hint, .. } = *line;
                    endpoints.push(Endpoint { weight, hint, ..Endpoint::at(address) });
                }
            }
        }
        located.endpoints = EndpointSet::new(endpoints);
        located
    }
}

impl FileEndpoints {
    /// Returns the addresses of a host name, and notes when they are not known.
    fn take(&mut self, name: &Arc<str>, known: DnsState<IpAddr>) -> Arc<[IpAddr]> {
        match known {
            DnsState::Found { records, stale } => {
                self.trouble = self.trouble.take().or(stale);
                return records;
            }
            DnsState::Pending => self.pending = true,
            DnsState::Missing => {}
            DnsState::Failed(reason) => self.trouble = self.trouble.take().or(Some(reason)),
        }
        if self.without_address.len() < MAX_BAD_LINES && !self.without_address.contains(name) {
            self.without_address.push(Arc::clone(name));
        }
        Arc::new([])
    }
}

/// Reads the lines of a file.
///
/// A line is `host port` or `host port * weight`, either with `h2c` or `http` behind it for the protocol of the
/// endpoint. White space separates the fields. Comments begin with `#`; empty lines are allowed. A bad line is
/// reported, and the others serve; of lines with one host and port the first counts.
///
/// The word for the protocol is not Linkerd's: there a file's endpoints spoke the protocol of their router.
pub(super) fn parse(bytes: &[u8]) -> Content {
    let mut known = HashSet::new();
    let mut hosts = HashSet::new();
    let mut content = Content::default();
    for (index, text) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let text = String::from_utf8_lossy(text);
        let text = text.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let line = line(text).and_then(|line| {
            if let LineHost::Name(name) = &line.host {
                hosts.insert(Arc::clone(name));
            }
            let new = known.insert((line.host.clone(), line.port));
            match (new, hosts.len() <= MAX_HOSTS || matches!(line.host, LineHost::Address(_))) {
                (true, true) => Ok(line),
                (false, _) => Err("the address stands in a line above"),
                (_, false) => Err("the file has more than 1000 host names"),
            }
        });
        match line {
            Ok(line) => content.lines.push(line),
            Err(reason) => {
                content.bad += 1;
                if content.bad_lines.len() < MAX_BAD_LINES {
                    let text = text.chars().take(MAX_LINE_TEXT).collect();
                    content.bad_lines.push(BadLine { line: index + 1, text, reason });
                }
            }
        }
    }
    content
}

/// Reads one line without its comment.
fn line(text: &str) -> Result<NameLine, &'static str> {
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
        Some(address) => LineHost::Address(address),
        None if is_host_name(host) && !is_wrong_address(host) => {
            LineHost::Name(host.to_ascii_lowercase().into())
        }
        None => return Err("the host is neither an address nor a host name"),
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|&port| digits && port > 0);
    let port = port.ok_or("the port is not one of 1 to 65535")?;
    let weight = weight.parse().ok().filter(|weight: &f64| weight.is_finite() && *weight >= 0.0);
    let weight = weight.ok_or("the weight is not a number from 0")?;
    // `-0` is a way to write 0.
    Ok(NameLine { host, port, weight: weight.abs(), hint })
}

/// Returns whether a text looks like an IPv4 address and is none, such as `10.0.0.256`: no top-level domain is a
/// number.
fn is_wrong_address(host: &str) -> bool {
    host.trim_end_matches('.')
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::{Content, MAX_BAD_LINES, MAX_HOSTS, MAX_LINE_TEXT, parse};
    use crate::interpret::Hint;
    use crate::namer::dns::DnsState;

    /// The endpoints when no host name is known.
    fn endpoints(content: &Content) -> Vec<(String, f64)> {
        let located = content.endpoints(|_| DnsState::Pending);
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
        let located = content.endpoints(|_| DnsState::Pending);
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
    fn the_kept_bad_lines_are_bounded() {
        let content = parse(("x".repeat(1000) + "\n").repeat(1000).as_bytes());
        assert_eq!((content.bad, content.bad_lines.len()), (1000, MAX_BAD_LINES));
        assert_eq!(content.bad_lines[0].text.chars().count(), MAX_LINE_TEXT);
    }

    #[test]
    fn host_names() {
        let content =
            parse(b"Web 80\n10.0.0.1 80\nweb 81 * 3\nWEB 80\napi.example.org. 80\ngone 1\nfails 2\n");
        assert_eq!((content.bad, content.bad_lines[0].line), (1, 4), "the same host and port again");
        let names: Vec<&str> = content.hosts().map(AsRef::as_ref).collect();
        assert_eq!(names, ["web", "web", "api.example.org.", "gone", "fails"]);
        let located = content.endpoints(|name| match name {
            "web" => {
                let records = ["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
                DnsState::Found { records: records.into(), stale: None }
            }
            "gone" => DnsState::Missing,
            "fails" => DnsState::Failed("no answer".into()),
            _ => DnsState::Pending,
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
