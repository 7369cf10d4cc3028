//! The condition of a rule of `inject`.

use super::super::{Peer, Range, RequestTarget};
use crate::message::Head;
use crate::tls::IdentityPattern;
use aws_lc_rs::hmac;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use wildmatch::WildMatch;

/// The condition of a rule. Every part that is there must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InjectCondition {
    /// `cookie`: the request has a cookie of each of these names with a value that the pattern matches.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cookie: BTreeMap<String, Glob>,
    /// `header`: the request has a header field of each of these names with a value that the pattern matches.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub header: BTreeMap<String, Glob>,
    /// `path`: the path of the request begins with these elements, which are compared as they were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `query`: the query has a parameter of each of these names with a value that the pattern matches; both are
    /// decoded.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, Glob>,
    /// `from`: the connection comes from an address in one of these ranges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Vec<Range>>,
    /// `identities`: the certificate of the caller has one of these names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identities: Option<Arc<[IdentityPattern]>>,
    /// `percent`: the caller is among this share of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<Percent>,
}

/// A pattern of a whole text: `*` stands for any number of characters, `?` for one.
#[derive(Clone, Debug, PartialEq)]
pub struct Glob {
    text: String,
    pattern: WildMatch,
}

/// A share of callers, of which each always is or is not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Percent {
    /// `share`: in percent, from 0 to 100; a ten-thousandth of all at least counts.
    pub share: f64,
    /// `by`: the property that tells callers apart.
    pub by: PercentBy,
    /// `secret`: without it no caller can tell which ones are chosen. Rules with the same secret choose the same ones.
    pub secret: Secret,
}

/// The property of a request that tells callers apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PercentBy {
    /// The address that the connection comes from.
    Peer,
    /// The value of the cookie with this name; a request without it is not chosen.
    Cookie(String),
}

/// A secret of the configuration, as the key of a hash. It is never shown.
#[derive(Clone)]
pub struct Secret {
    text: String,
    key: hmac::Key,
}

/// The text that is shown in the place of a secret.
const HIDDEN: &str = "****************";

impl InjectCondition {
    /// Returns whether all parts hold for a request.
    pub(in crate::context) fn holds(&self, peer: &Peer, head: &Head) -> bool {
        let address = peer.remote.ip().to_canonical();
        self.from.as_ref().is_none_or(|ranges| peer.is_within(ranges))
            && self.identities.as_ref().is_none_or(|patterns| peer.is_one_of(patterns))
            && self.path.as_ref().is_none_or(|prefix| has_prefix(head.target(), prefix))
            && self.header.iter().all(|(name, glob)| values(head, name).any(|value| glob.matches(value)))
            && self.cookie.iter().all(|(name, glob)| cookies(head, name).any(|value| glob.matches(value)))
            && (self.query.is_empty() || self.has_query(head.target()))
            && self.percent.as_ref().is_none_or(|percent| percent.chooses(address, head))
    }

    /// Returns whether a caller that is not trusted can meet the condition by what it sends, wherever it is.
    pub fn can_be_met_at_will(&self) -> bool {
        let by_peer = self.percent.as_ref().is_some_and(|percent| percent.by == PercentBy::Peer);
        self.from.is_none() && self.identities.is_none() && !by_peer
    }

    /// Returns whether the query has every parameter.
    fn has_query(&self, target: &[u8]) -> bool {
        let query = RequestTarget::split(target).query.unwrap_or_default();
        self.query.iter().all(|(name, glob)| {
            form_urlencoded::parse(query).any(|(key, value)| key == *name && glob.matches(value.as_bytes()))
        })
    }
}

/// Returns whether the path of a target begins with the elements of `prefix`.
fn has_prefix(target: &[u8], prefix: &str) -> bool {
    let mut elems = RequestTarget::split(target).elems();
    RequestTarget::split(prefix.as_bytes()).elems().all(|elem| elems.next() == Some(elem))
}

/// Returns the values of the fields with a name.
fn values<'a>(head: &'a Head, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let fields = head.fields().filter(move |field| field.name.eq_ignore_ascii_case(name.as_bytes()));
    fields.map(|field| field.value)
}

/// Returns the values of the cookies with a name, without the quotes that may stand around one (RFC 6265, 4.1.1).
fn cookies<'a>(head: &'a Head, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = values(head, "cookie").flat_map(|line| line.split(|&byte| byte == b';'));
    pairs.filter_map(move |pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        Some(unquoted.unwrap_or(value))
    })
}

impl Glob {
    /// Makes a pattern.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), pattern: WildMatch::new(text) }
    }

    /// Returns whether a whole value matches; one that is not UTF-8 does not.
    fn matches(&self, value: &[u8]) -> bool {
        std::str::from_utf8(value).is_ok_and(|value| self.pattern.matches(value))
    }
}

impl Serialize for Glob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Percent {
    /// Returns whether the caller is among the share.
    fn chooses(&self, address: IpAddr, head: &Head) -> bool {
        let place = match &self.by {
            PercentBy::Peer => match address {
                IpAddr::V4(address) => self.secret.place(&address.octets()),
                IpAddr::V6(address) => self.secret.place(&address.octets()),
            },
            PercentBy::Cookie(name) => match cookies(head, name).next() {
                Some(value) => self.secret.place(value),
                None => return false,
            },
        };
        place < self.share
    }
}

impl Secret {
    /// Makes a secret of its text.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()) }
    }

    /// Returns the place of a caller among all, from 0 up to 100: evenly spread, and always the same.
    fn place(&self, caller: &[u8]) -> f64 {
        let tag = hmac::sign(&self.key, caller);
        let first = tag.as_ref().first_chunk::<4>().copied().unwrap_or_default();
        f64::from(u32::from_be_bytes(first)) / (f64::from(u32::MAX) + 1.0) * 100.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests;
