//! Reads the keys of one mapping that work.

use super::errors::Report;
use super::fates;
use super::resolved::{Http2, SocketOptions};
use crate::name::{ParseError, Path};
use crate::source::node::Node;
use serde::de::DeserializeOwned;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr as _;
use std::time::Duration;

/// The greatest number of milliseconds or seconds that Linkerd 1 accepted: 2^31 - 1.
pub(super) const MAX_INT: u64 = i32::MAX as u64;

/// A mapping of some sections of the table, whose keys are read one by one.
///
/// What is wrong with a value goes to the report and reads as absent: the start fails anyway, with all that is wrong.
/// A nested mapping or list that is something else reads as absent too, for the judge has reported it.
pub(super) struct Reader<'a, 'r> {
    node: Node<'a>,
    sections: &'static [&'static str],
    report: &'r mut Report,
}

impl<'a, 'r> Reader<'a, 'r> {
    pub(super) fn new(node: &Node<'a>, sections: &'static [&'static str], report: &'r mut Report) -> Self {
        Self { node: node.clone(), sections, report }
    }

    /// Returns the mapping itself.
    pub(super) const fn node(&self) -> &Node<'a> {
        &self.node
    }

    /// Returns the report, for what this does not find wrong by itself.
    pub(super) const fn report(&mut self) -> &mut Report {
        self.report
    }

    /// Reports an error at a value, or at the whole mapping when the value is absent.
    pub(super) fn error(&mut self, value: Option<&Node<'_>>, message: impl Into<String>) {
        let error = value.map_or(&self.node, |value| value).error(message);
        self.report.error(error);
    }

    /// Reports that a key is absent.
    pub(super) fn missing(&mut self, key: &str) {
        self.error(None, format!("the key `{key}` is missing"));
    }

    /// Returns the value of a key that says something.
    pub(super) fn get(&self, key: &str) -> Option<Node<'a>> {
        debug_assert!(
            fates::working(self.sections).contains(&key),
            "{key} of {:?} is read, and no row says that it works",
            self.sections
        );
        self.node.get(key)
    }

    pub(super) fn text(&mut self, key: &str) -> Option<&'a str> {
        let value = self.get(key)?;
        self.report.check(value.text())
    }

    /// Reads a text that must say something.
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
        let path =
            Path::from_str(text).map_err(|error| node.error_inside(error.offset, sentence("path", &error)));
        self.report.check(path)
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.get(key)?;
        self.report.check(value.flag())
    }

    /// Reads a number. `N` holds all of the range.
    pub(super) fn number<N: TryFrom<u64>>(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<N> {
        let value = self.get(key)?;
        let number = self.report.check(value.number(range))?;
        N::try_from(number).ok()
    }

    /// Reads one of some words, each with what it stands for.
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
    /// When one of them is wrong the port is 0, so that nothing is said to be in conflict with a guess.
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

    /// Reads a text that is the name of a header field (RFC 9110, 5.1).
    pub(super) fn field_name(&mut self, key: &str) -> Option<&'a str> {
        let value = self.get(key)?;
        let text = self.report.check(value.text())?;
        self.report.check(if is_field_name(text) { Ok(text) } else { Err(value.unexpected(FIELD_NAME)) })
    }

    /// Reads what one side of an HTTP/2 connection announces. The bounds are those of RFC 9113 6.5.2.
    pub(super) fn http2(&mut self) -> Http2 {
        Http2 {
            stream_window: self.number("initialStreamWindowBytes", 1..=MAX_INT),
            header_table: self.number("headerTableBytes", 0..=MAX_INT),
            max_frame: self.number("maxFrameBytes", 1 << 14..=(1 << 24) - 1),
            max_header_list: self.number("maxHeaderListBytes", 1..=MAX_INT),
        }
    }

    /// Reads `socketOptions`.
    pub(super) fn socket_options(&mut self) -> SocketOptions {
        let usual = SocketOptions::default();
        let Some(node) = self.get("socketOptions") else { return usual };
        let mut options = Reader::new(&node, &["socket options"], self.report);
        SocketOptions {
            no_delay: options.flag("noDelay").unwrap_or(usual.no_delay),
            reuse_port: options.flag("reusePort").unwrap_or(usual.reuse_port),
            keep_alive: options.flag("keepAlive"),
            backlog: options.number("backlog", 1..=MAX_INT),
            read_timeout: options.millis("readTimeoutMs"),
            write_timeout: options.millis("writeTimeoutMs"),
        }
    }

    /// Reads the keys of a kind as the type of the module that it belongs to.
    pub(super) fn rest<T: DeserializeOwned>(&mut self, section: &'static str) -> Option<T> {
        self.report.check(self.node.deserialize(&fates::working(&[section])))
    }
}

/// What [`is_field_name`] wants, in words.
const FIELD_NAME: &str = "the name of a header";

/// Returns what a name's parser says, without the excerpt: the file's own line is shown instead.
pub(super) fn sentence(what: &str, error: &ParseError) -> String {
    let text = error.to_string();
    format!("not a {what}: {}", text.lines().next().unwrap_or_default())
}

/// Whether a text is a token (RFC 9110, 5.6.2).
pub(super) fn is_field_name(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}
