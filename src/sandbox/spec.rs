//! Sandboxes and groups as people write them, in a file or as objects of Kubernetes.

use jiff::{SpanRelativeTo, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The lifetime of a sandbox in a cluster that says nothing about it: 24 h.
pub const DEFAULT_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The identity of a sandbox or group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxId {
    /// The namespace in Kubernetes; none in the embedded store.
    pub namespace: Option<Arc<str>>,
    /// The name, unique in its namespace among sandboxes, and among groups.
    pub name: Arc<str>,
}

/// An object as it was written, with what its store knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<S> {
    /// Its identity.
    pub id: SandboxId,
    /// Its labels, by which a group may choose it.
    pub labels: BTreeMap<String, String>,
    /// The time when it was made; none in the embedded store unless it is written there. Of two objects with one key, the
    /// older one has it.
    pub created: Option<Timestamp>,
    /// The time of its end, as the controller has written it into the status.
    pub expires: Option<Timestamp>,
    /// The part that its owner writes.
    pub spec: S,
}

/// The part of a sandbox that its owner writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SandboxSpec {
    /// The key by which requests select it; by default its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its entries, in the notation of dtabs, comments and all.
    pub dtab: String,
    /// The person or pipeline that answers for it, for readers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its lifetime from its creation, such as `24h` or `7d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// The time of its end (RFC 3339), in place of `ttl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Pairs of any meaning, for the services and consumers of the sandbox.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
}

/// The part of a group that its owner writes: exactly one of `all`, `any` and `label`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GroupSpec {
    /// The key by which requests select it; by default its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The names of sandboxes, all of which must be there; a later one wins over an earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<Vec<String>>,
    /// The names of sandboxes, of which those count that are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub any: Option<Vec<String>>,
    /// Every sandbox with a matching label counts, in the order of their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<LabelPattern>,
}

/// A pattern for one label.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct LabelPattern {
    /// The name of the label.
    pub key: String,
    /// Its value, in which `*` stands for any characters.
    pub value: String,
}

/// Reads a duration: numbers with units, such as `90m`, `24h`, `7d` or `1d 12h`. A day has 24 hours.
///
/// # Errors
///
/// The text is no duration, or it is not longer than zero.
pub fn parse_ttl(text: &str) -> Result<Duration, String> {
    let unexpected = || format!("`{text}` is no lifetime: write one such as `90m`, `24h` or `7d`");
    let span: jiff::Span = text.trim().parse().map_err(|_| unexpected())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| unexpected())?;
    let duration = Duration::try_from(duration).map_err(|_| unexpected())?;
    if duration.is_zero() { Err(unexpected()) } else { Ok(duration) }
}

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read() {
        for (text, seconds) in [
            ("90m", 5400),
            ("24h", 86_400),
            ("7d", 604_800),
            ("1d 12h", 129_600),
            ("1h30m", 5400),
            ("45s", 45),
        ] {
            assert_eq!(parse_ttl(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "24", "0s", "-1h", "1 fortnight", "1month", "99999999999999999999h"] {
            let error = parse_ttl(text).unwrap_err();
            assert!(error.contains("no lifetime"), "{text}: {error}");
        }
    }
}
