//! A sandbox and a group, each judged by itself.

use super::rules::SandboxRules;
use super::spec::{DEFAULT_TTL, GroupSpec, LabelPattern, SandboxId, SandboxSpec, Written, parse_ttl};
use crate::context::{Destination, is_sandbox_key};
use crate::name::{Dtab, Path};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use wildmatch::WildMatch;

/// A sandbox as routers use it.
#[derive(Debug)]
pub struct Sandbox {
    /// Its identity.
    pub id: SandboxId,
    /// The key by which requests select it.
    pub key: Arc<str>,
    /// The time when it was made, if that is known.
    pub created: Option<Timestamp>,
    /// The time from which on it counts no more; none if it does not end.
    pub expires: Option<Timestamp>,
    /// The person or pipeline that answers for it.
    pub owner: Option<Box<str>>,
    /// Its labels, in the order of their names: a list of a few takes a fraction of the memory of a map.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// Pairs of any meaning, likewise.
    pub values: Box<[(Box<str>, Box<str>)]>,
    /// Its entries, or the reason why they cannot be used.
    pub dtab: Result<Dtab, SandboxRefusal>,
    /// The bound ids to which its entries may lead; all, if there is no list.
    destinations: Option<Arc<[Destination]>>,
    /// A number that no other sandbox in this process has, nor any other version of this one.
    version: u64,
}

/// How many sandboxes a group may have.
pub const MAX_MEMBERS: usize = 64;

/// A group of sandboxes, which has a key of its own.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its identity.
    pub id: SandboxId,
    /// The key by which requests select it.
    pub key: Arc<str>,
    /// The time when it was made, if that is known.
    pub created: Option<Timestamp>,
    /// Its members, or the reason why they are not known.
    pub members: Result<Members, SandboxRefusal>,
}

/// The members of a group, all of them in its own namespace.
#[derive(Clone, Debug)]
pub enum Members {
    /// These sandboxes, in this order, all of which must be there.
    All(Vec<String>),
    /// Those of these sandboxes that are there, in this order.
    Any(Vec<String>),
    /// The sandboxes with a matching label, in the order of their names.
    Label(LabelMatch),
}

/// A pattern for one label, compiled.
#[derive(Clone, Debug)]
pub struct LabelMatch {
    key: String,
    value: WildMatch,
}

/// The reason why a sandbox or group is not accepted; its text is for the owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SandboxRefusal {
    /// The entries are not a dtab. The text has the place and a caret.
    #[error("line {line}, column {column} of its dtab: {text}")]
    Dtab {
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// The error, of several lines.
        text: String,
    },
    /// An entry has a prefix that the configuration does not allow.
    #[error(
        "the entry {dentry} is not allowed: sandboxes may have entries at or below {allowed} (`sandboxes.overrides.prefixes`)"
    )]
    Prefix {
        /// The entry, printed.
        dentry: String,
        /// The prefixes that are allowed, printed.
        allowed: String,
    },
    /// The key is malformed.
    #[error(
        "`{key}` is no key: it has lower-case letters, digits, `-` and `.`, 63 at most, with a letter or a digit at both ends"
    )]
    Key {
        /// The key as it was written.
        key: String,
    },
    /// Another object has the key, and is older.
    #[error("its key {key} belongs to {holder}, which is older: choose another `key`")]
    KeyTaken {
        /// The key.
        key: Arc<str>,
        /// The object that has it.
        holder: SandboxId,
    },
    /// `ttl` is malformed.
    #[error("{0}")]
    Ttl(String),
    /// It would live longer than the configuration allows.
    #[error("it would live for {asked}, and {allowed} is the most (`sandboxes.maxTtl`)")]
    TtlTooLong {
        /// The lifetime that it asks for.
        asked: String,
        /// The longest lifetime.
        allowed: String,
    },
    /// A group has too many members: each of its requests would be bound under the entries of all of them.
    #[error("it has {count} sandboxes, and {MAX_MEMBERS} are the most: choose fewer")]
    TooManyMembers {
        /// How many it has.
        count: usize,
    },
    /// A group has none of its three keys, or several.
    #[error("write one of `all`, `any` and `label`")]
    Members,
}

impl SandboxRefusal {
    /// Returns the reason in one word, as conditions of Kubernetes have it.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Dtab { .. } => "InvalidDtab",
            Self::Prefix { .. } => "PrefixNotAllowed",
            Self::Key { .. } => "InvalidKey",
            Self::KeyTaken { .. } => "KeyTaken",
            Self::Ttl(_) => "InvalidTtl",
            Self::TtlTooLong { .. } => "TtlTooLong",
            Self::TooManyMembers { .. } => "TooManyMembers",
            Self::Members => "InvalidMembers",
        }
    }
}

impl Sandbox {
    /// Judges a sandbox by itself, under the rules of the configuration. Only a table knows whether its key is free.
    pub fn new(written: &Written<SandboxSpec>, rules: &SandboxRules) -> Self {
        static VERSIONS: AtomicU64 = AtomicU64::new(0);
        let Written { id, labels, created, spec, .. } = written;
        let key: Arc<str> = spec.key.as_deref().map_or_else(|| Arc::clone(&id.name), Into::into);
        let (expires, dtab) = match expiry(written, rules) {
            Ok(expires) => (expires, read_dtab(&key, &spec.dtab, rules)),
            Err(refusal) => (None, Err(refusal)),
        };
        Self {
            id: id.clone(),
            key,
            created: *created,
            expires,
            owner: spec.owner.as_deref().map(Into::into),
            labels: pairs(labels),
            values: pairs(&spec.values),
            dtab,
            destinations: rules.destinations(id.namespace.as_deref()),
            version: VERSIONS.fetch_add(1, Relaxed),
        }
    }

    /// Returns a number that no other sandbox in this process has, nor any other version of this one.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Returns whether an entry of it may lead to the leaf with this bound id.
    pub fn allows_destination(&self, id: &Path) -> bool {
        self.destinations.as_ref().is_none_or(|allowed| Destination::any_matches(allowed, id))
    }

    /// Returns the destinations that are allowed in words, for an error.
    pub fn allowed_destinations(&self) -> String {
        let printed = self.destinations.iter().flat_map(|allowed| allowed.iter()).map(ToString::to_string);
        printed.collect::<Vec<_>>().join(", ")
    }

    /// Returns whether another version of it says the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let Self { id, key, created, expires, owner, labels, values, dtab, destinations, version: _ } = self;
        (id, key, created, expires, owner)
            == (&other.id, &other.key, &other.created, &other.expires, &other.owner)
            && (labels, values, dtab) == (&other.labels, &other.values, &other.dtab)
            && destinations == &other.destinations
    }

    /// Returns whether it has ended at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|at| now >= at)
    }
}

impl Group {
    /// Judges a group by itself.
    pub fn new(written: &Written<GroupSpec>) -> Self {
        let Written { id, created, spec, .. } = written;
        let key: Arc<str> = spec.key.as_deref().map_or_else(|| Arc::clone(&id.name), Into::into);
        let members = check_key(&key).and_then(|()| Members::new(spec));
        Self { id: id.clone(), key, created: *created, members }
    }
}

impl Members {
    fn new(spec: &GroupSpec) -> Result<Self, SandboxRefusal> {
        let names = spec.all.as_ref().or(spec.any.as_ref());
        if let Some(count) = names.map(Vec::len).filter(|count| *count > MAX_MEMBERS) {
            return Err(SandboxRefusal::TooManyMembers { count });
        }
        match (&spec.all, &spec.any, &spec.label) {
            (Some(all), None, None) => Ok(Self::All(all.clone())),
            (None, Some(any), None) => Ok(Self::Any(any.clone())),
            (None, None, Some(label)) => Ok(Self::Label(LabelMatch::new(label))),
            _ => Err(SandboxRefusal::Members),
        }
    }
}

impl LabelMatch {
    fn new(pattern: &LabelPattern) -> Self {
        Self { key: pattern.key.clone(), value: WildMatch::new(&pattern.value) }
    }

    /// Returns whether a sandbox has a matching label.
    pub fn matches(&self, sandbox: &Sandbox) -> bool {
        sandbox.labels.iter().any(|(key, value)| **key == *self.key && self.value.matches(value))
    }
}

/// Returns the pairs of a map, in its order.
fn pairs(map: &BTreeMap<String, String>) -> Box<[(Box<str>, Box<str>)]> {
    map.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect()
}

fn check_key(key: &str) -> Result<(), SandboxRefusal> {
    if is_sandbox_key(key) { Ok(()) } else { Err(SandboxRefusal::Key { key: key.to_owned() }) }
}

/// Reads the entries.
fn read_dtab(key: &str, text: &str, rules: &SandboxRules) -> Result<Dtab, SandboxRefusal> {
    check_key(key)?;
    let dtab: Dtab = text.parse().map_err(|error: crate::name::ParseError| SandboxRefusal::Dtab {
        line: error.line,
        column: error.column,
        text: error.to_string(),
    })?;
    if let Some(dentry) = dtab.iter().find(|dentry| !rules.allows_prefix(&dentry.prefix)) {
        return Err(SandboxRefusal::Prefix {
            dentry: format!("{dentry:#}"),
            allowed: rules.allowed_prefixes(),
        });
    }
    Ok(dtab)
}

/// Returns the end of a sandbox: the one that is written, or else its creation and its lifetime.
pub(super) fn expiry(
    written: &Written<SandboxSpec>,
    rules: &SandboxRules,
) -> Result<Option<Timestamp>, SandboxRefusal> {
    let Written { id, created, expires, spec, .. } = written;
    let ttl = spec.ttl.as_deref().map(parse_ttl).transpose().map_err(SandboxRefusal::Ttl)?;
    // A file is a part of the configuration: its items stay for as long as it says so.
    let ttl = ttl.or_else(|| id.namespace.is_some().then_some(DEFAULT_TTL));
    let end = spec.expires_at.or(*expires);
    let (asked, end) = match (created, ttl, end) {
        (Some(created), _, Some(end)) => (end.duration_since(*created), end),
        (Some(created), Some(ttl), None) => {
            let ttl = SignedDuration::try_from(ttl).unwrap_or(SignedDuration::MAX);
            (ttl, created.saturating_add(ttl).unwrap_or(Timestamp::MAX))
        }
        (None, _, Some(end)) => return Ok(Some(end)),
        (Some(_), None, None) | (None, _, None) => return Ok(None),
    };
    let allowed = SignedDuration::try_from(rules.max_ttl).unwrap_or(SignedDuration::MAX);
    if asked > allowed {
        let (asked, allowed) = (format!("{asked:#}"), format!("{allowed:#}"));
        return Err(SandboxRefusal::TtlTooLong { asked, allowed });
    }
    Ok(Some(end))
}
