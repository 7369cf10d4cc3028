//! The host names for which a certificate is used.

use super::certificate::CertificateFacts;
use serde::{Serialize, Serializer};

/// The most bytes of a host name, and of one label of it (RFC 1035 2.3.4).
const MOST_OF_NAME: usize = 253;
const MOST_OF_LABEL: usize = 63;

/// A list of host names, `*.example.test` for all names that have one label more. Case does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNames(Vec<Box<str>>);

impl HostNames {
    /// Reads a name; `None` when it is none.
    pub fn parse_one(text: &str) -> Option<Box<str>> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_label =
            |label: &str| (1..=MOST_OF_LABEL).contains(&label.len()) && label.bytes().all(is_allowed);
        let is_name = name.len() <= MOST_OF_NAME && name.split('.').all(is_label);
        is_name.then(|| text.to_ascii_lowercase().into())
    }

    /// Makes a list of names that were read.
    pub fn new(names: Vec<Box<str>>) -> Self {
        Self(names)
    }

    /// Returns the names that a certificate is for: its alternative names, or else its common name.
    pub(super) fn of(facts: &CertificateFacts) -> Self {
        let dns = facts.alternative_names().dns;
        let names = if dns.is_empty() { facts.common_name().into_iter().collect() } else { dns };
        Self(names.iter().filter_map(|name| Self::parse_one(name)).collect())
    }

    /// Returns the names, in lower case.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the host has a name of its own in the list.
    pub(super) fn has(&self, host: &[u8]) -> bool {
        self.0.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(host))
    }

    /// Returns whether a wildcard of the list stands for the host.
    pub(super) fn has_wildcard_for(&self, host: &[u8]) -> bool {
        let Some(dot) = memchr::memchr(b'.', host).filter(|dot| *dot > 0) else { return false };
        let Some(parent) = host.get(dot..) else { return false };
        let parents = self.0.iter().filter_map(|name| name.strip_prefix('*'));
        parents.into_iter().any(|name| name.as_bytes().eq_ignore_ascii_case(parent))
    }

    /// Returns whether the list is for the host, or for all hosts of this wildcard.
    pub fn covers(&self, host: &[u8]) -> bool {
        self.has(host) || self.has_wildcard_for(host)
    }
}

impl Serialize for HostNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let names: Vec<_> =
            ["World.test", "*.example.test"].map(|name| HostNames::parse_one(name).unwrap()).into();
        let names = HostNames::new(names);
        for (host, is_covered) in [
            ("world.test", true),
            ("WORLD.test", true),
            ("a.world.test", false),
            ("a.example.test", true),
            ("A.Example.TEST", true),
            ("a.b.example.test", false),
            ("example.test", false),
            (".example.test", false),
            ("", false),
        ] {
            assert_eq!(names.covers(host.as_bytes()), is_covered, "{host}");
        }
        for wrong in ["", "*", "a..b", "a b", "*.", "a.*", "https://a", "a:1"] {
            assert_eq!(HostNames::parse_one(wrong), None, "{wrong}");
        }
    }
}
