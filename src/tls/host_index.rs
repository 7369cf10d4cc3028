//! The certificate of each host, found in one step however many there are.

use std::collections::HashMap;

/// The most bytes of a host name (RFC 1035 2.3.4).
const MOST_OF_NAME: usize = 253;

/// The places of certificates by host.
#[derive(Clone, Debug, Default)]
pub(super) struct HostIndex {
    names: HashMap<Box<[u8]>, usize>,
    /// By the part of a wildcard behind its asterisk.
    wildcards: HashMap<Box<[u8]>, usize>,
}

impl HostIndex {
    /// Adds a name or a wildcard, in lower case, unless it is there already; returns whether it was added.
    pub(super) fn add(&mut self, name: &str, at: usize) -> bool {
        let (names, key) = match name.strip_prefix('*') {
            Some(behind) => (&mut self.wildcards, behind),
            None => (&mut self.names, name),
        };
        let is_new = !names.contains_key(key.as_bytes());
        if is_new {
            names.insert(key.as_bytes().into(), at);
        }
        is_new
    }

    /// Finds the certificate that has a host as a name, or else one with a wildcard for it. Case does not matter.
    pub(super) fn find(&self, host: &[u8]) -> Option<usize> {
        let mut lower = [0; MOST_OF_NAME];
        let lower = lower.get_mut(..host.len())?;
        lower.copy_from_slice(host);
        lower.make_ascii_lowercase();
        let by_name = || self.names.get(&*lower);
        let by_wildcard = || {
            let dot = memchr::memchr(b'.', lower).filter(|dot| *dot > 0)?;
            self.wildcards.get(lower.get(dot..)?)
        };
        by_name().or_else(by_wildcard).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_goes_before_a_wildcard_and_the_first_before_the_second() {
        let mut index = HostIndex::default();
        for (name, at, is_new) in [
            ("*.example.test", 0, true),
            ("a.example.test", 1, true),
            ("a.example.test", 2, false),
            ("*.example.test", 3, false),
            ("world.test", 4, true),
        ] {
            assert_eq!(index.add(name, at), is_new, "{name}");
        }
        let long = format!("{}.example.test", "a".repeat(300));
        for (host, found) in [
            ("A.Example.test", Some(1)),
            ("b.example.TEST", Some(0)),
            ("a.b.example.test", None),
            ("example.test", None),
            (".example.test", None),
            ("world.test", Some(4)),
            ("", None),
            (&*long, None),
        ] {
            assert_eq!(index.find(host.as_bytes()), found, "{host}");
        }
    }
}
