//! Reads the keys of one mapping.

use super::errors::Report;
use super::resolved::{Http2Config, SocketConfig};
use super::schema;
use crate::context::{Range, RangeError};
use crate::message::is_token_byte;
use crate::name::Path;
use crate::source::node::Node;
use serde::de::DeserializeOwned;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr as _;
use std::time::Duration;

/// The greatest number of milliseconds or seconds that Linkerd 1 accepted: 2^31 - 1.
pub(super) const MAX_INT: u64 = i32::MAX as u64;

/// A mapping of some sections of the schema, whose keys are read one by one.
///
/// A wrong value is reported and reads as absent: the start fails anyway, with all errors. A value that should be a
/// mapping or a list and is not reads as absent, too; the validation has reported it.
pub(super) struct Reader<'a, 'r> {
    node: Node<'a>,
    sections: &'static [&'static str],
    report: &'r mut Report,
}

impl<'a, 'r> Reader<'a, 'r> {
    /// Creates the reader of a mapping.
    pub(super) fn new(node: &Node<'a>, sections: &'static [&'static str], report: &'r mut Report) -> Self {
        Self { node: node.clone(), sections, report }
    }

    /// Returns the mapping itself.
    pub(super) const fn node(&self) -> &Node<'a> {
        &self.node
    }

    /// Returns the report, for errors that the caller finds.
    pub(super) const fn report(&mut self) -> &mut Report {
        self.report
    }

    /// Reports an error at a value, or at the whole mapping when the value is absent.
    pub(super) fn error(&mut self, value: Option<&Node<'_>>, message: impl Into<String>) {
        let error = value.map_or(&self.node, |value| value).error(message);
        self.report.error(error);
    }

    /// Returns the value of a key, unless it is null.
    pub(super) fn get(&self, key: &str) -> Option<Node<'a>> {
        debug_assert!(
            schema::working_keys(self.sections).contains(&key),
            "{key} of {:?} is read, and no row of the schema works",
            self.sections
        );
        self.node.get(key)
    }

    /// Returns the value of a key that must be there, and reports it if it is not.
    pub(super) fn require(&mut self, key: &str) -> Option<Node<'a>> {
        let value = self.get(key);
        if value.is_none() {
            self.error(None, format!("the key `{key}` is missing"));
        }
        value
    }

    /// Reads a text.
    pub(super) fn text(&mut self, key: &str) -> Option<&'a str> {
        let value = self.get(key)?;
        self.report.check(value.text())
    }

    /// Reads a text that has more than white space.
    pub(super) fn non_empty(&mut self, key: &str) -> Option<String> {
        let text = self.text(key)?;
        if text.trim().is_empty() {
            let error = self.get(key)?.unexpected("a text");
            self.report.error(error);
            return None;
        }
        Some(text.to_owned())
    }

    /// Reads a path.
    pub(super) fn path(&mut self, key: &str) -> Option<Path> {
        let node = self.get(key)?;
        let text = self.text(key)?;
        self.report.check(Path::from_str(text).map_err(|error| error.in_file("path", &node)))
    }

    /// Reads `true` or `false`.
    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.get(key)?;
        self.report.check(value.flag())
    }

    /// Reads a number. `N` must hold all numbers of the range.
    pub(super) fn number<N: TryFrom<u64>>(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<N> {
        let value = self.get(key)?;
        let number = self.report.check(value.number(range))?;
        N::try_from(number).ok()
    }

    /// Reads a number that may have decimals.
    pub(super) fn decimal(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.get(key)?;
        let number = value.text().ok().and_then(|text| text.parse().ok()).filter(|read| range.contains(read));
        let expected = || format!("a number from {} to {}, such as 0.5", range.start(), range.end());
        self.report.check(number.ok_or_else(|| value.unexpected(&expected())))
    }

    /// Reads a number of bytes: a number, or one with the unit `KiB`, `MiB` or `GiB`, such as `64MiB`.
    pub(super) fn bytes(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<usize> {
        const UNITS: [(&str, u32); 3] = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
        let value = self.get(key)?;
        let unit = value.text().ok().and_then(|text| {
            let (number, shift) =
                UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))?;
            number.trim_end().parse::<u64>().ok()?.checked_mul(1 << shift)
        });
        let read = match unit {
            Some(bytes) if range.contains(&bytes) => Ok(bytes),
            _ => value.number(range.clone()).map_err(|_| {
                let expected = format!(
                    "a number of bytes from {} to {}, also with a unit: `64MiB`",
                    range.start(),
                    range.end()
                );
                value.unexpected(&expected)
            }),
        };
        usize::try_from(self.report.check(read)?).ok()
    }

    /// Reads one of some words, each with its meaning.
    pub(super) fn one_of<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let value = self.get(key)?;
        let text = self.report.check(value.text())?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        let expected = || words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
        self.report.check(found.ok_or_else(|| value.unexpected(&expected())))
    }

    /// Reads a number of milliseconds, from 1.
    pub(super) fn millis(&mut self, key: &str) -> Option<Duration> {
        self.number(key, 1..=MAX_INT).map(Duration::from_millis)
    }

    /// Reads `ip` and `port`; a port of 0 takes a free one.
    ///
    /// When one of them is wrong the port is 0, so that no conflict with a guessed port is reported.
    pub(super) fn address(&mut self, usual: SocketAddr) -> SocketAddr {
        let wrong = |given: bool, read: bool| given && !read;
        let (ip, port) = (self.ip(), self.number("port", 0..=u64::from(u16::MAX)));
        let guessed = wrong(self.get("ip").is_some(), ip.is_some())
            || wrong(self.get("port").is_some(), port.is_some());
        let port = if guessed { 0 } else { port.unwrap_or(usual.port()) };
        SocketAddr::new(ip.unwrap_or(usual.ip()), port)
    }

    /// Reads `ip`: an address, or `localhost`.
    fn ip(&mut self) -> Option<IpAddr> {
        let value = self.get("ip")?;
        let text = self.report.check(value.text())?;
        if text == "localhost" {
            return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let expected = "an IP address such as 127.0.0.1, 0.0.0.0 or ::1";
        self.report.check(text.parse().map_err(|_| value.unexpected(expected)))
    }

    /// Reads a list of ranges of addresses.
    pub(super) fn ranges(&mut self, key: &str) -> Option<Vec<Range>> {
        let list = self.get(key)?;
        let nodes = self.report.check(list.list())?;
        Some(self.report.each(&nodes, |node, report| {
            let text = report.check(node.text())?;
            let range = text.parse::<Range>().map_err(|error| match error {
                RangeError::NotARange => {
                    node.unexpected("a range of addresses such as 10.244.0.0/16 or fd00::/8, or an address")
                }
                RangeError::Inside(..) => node.error(error.to_string()),
            });
            report.check(range)
        }))
    }

    /// Reads a text that is the name of a header field (RFC 9110, 5.1).
    pub(super) fn field_name(&mut self, key: &str) -> Option<&'a str> {
        let value = self.get(key)?;
        let text = self.report.check(value.text())?;
        self.report.check(if is_field_name(text) { Ok(text) } else { Err(value.unexpected(FIELD_NAME)) })
    }

    /// Reads what one side of an HTTP/2 connection announces. The bounds are those of RFC 9113 6.5.2.
    pub(super) fn http2(&mut self) -> Http2Config {
        Http2Config {
            stream_window: self.number("initialStreamWindowBytes", 1..=MAX_INT),
            header_table: self.number("headerTableBytes", 0..=MAX_INT),
            max_frame: self.number("maxFrameBytes", 1 << 14..=(1 << 24) - 1),
            max_header_list: self.number("maxHeaderListBytes", 1..=MAX_INT),
        }
    }

    /// Reads `socketOptions`.
    pub(super) fn socket_options(&mut self) -> SocketConfig {
        let usual = SocketConfig::default();
        let Some(node) = self.get("socketOptions") else { return usual };
        let mut options = Reader::new(&node, &["socket options"], self.report);
        SocketConfig {
            no_delay: options.flag("noDelay").unwrap_or(usual.no_delay),
            reuse_port: options.flag("reusePort").unwrap_or(usual.reuse_port),
            keep_alive: options.flag("keepAlive"),
            backlog: options.number("backlog", 1..=MAX_INT),
            read_timeout: options.millis("readTimeoutMs"),
            write_timeout: options.millis("writeTimeoutMs"),
        }
    }

    /// Deserializes the keys of a kind as the type that its module has for them.
    pub(super) fn deserialize<T: DeserializeOwned>(&mut self, section: &'static str) -> Option<T> {
        self.report.check(self.node.deserialize(&schema::working_keys(&[section])))
    }
}

/// The texts that [`is_field_name`] accepts, in words.
pub(super) const FIELD_NAME: &str = "the name of a header";

/// Returns whether a text is a token (RFC 9110, 5.6.2).
pub(super) fn is_field_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}
