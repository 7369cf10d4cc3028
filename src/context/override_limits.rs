//! The limits on what a caller may override, whether a listener trusts it or not.

use super::Range;
use crate::name::{Element, ParseError, Path, Prefix};
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// The limits that a listener sets to the overrides of its callers. They hold for trusted callers, and for the claims of
/// tokens. Cheap to clone.
///
/// They are a part of every key under which a decision about an override is cached ([`OverrideLimits::write_key`]), so that a
/// listener never uses what was decided under the limits of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverrideLimits(Arc<KeyedRules>);

/// The rules of [`OverrideLimits`], serialized under the keys that they are read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverrideRules {
    /// `prefixes`: an entry's prefix must be at or below one of these, if the key is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<Vec<Prefix>>,
    /// `destinations`: a leaf to which an entry leads must have a bound id that one of these matches, if the key is
    /// there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destinations: Option<Vec<Destination>>,
    /// `addresses`.
    pub addresses: AddressRules,
    /// `maxEntries`: how many entries the overrides of a request may have together; 100 by default.
    pub max_entries: usize,
    /// `maxBytes`: how many bytes the override values of a request may have together; 8192 by default.
    pub max_bytes: usize,
}

/// The rules about the addresses of endpoints to which an override leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddressRules {
    /// `deny`: no connection is used to an address in one of these ranges; by default 169.254.0.0/16, fe80::/10 and
    /// fd00:ec2::254.
    pub deny: Vec<Range>,
}

/// Rules with their key.
#[derive(Debug, PartialEq, Eq)]
struct KeyedRules {
    rules: OverrideRules,
    key: Box<[u8]>,
}

/// A pattern of bound ids: a path in which `*` stands for any one element, and a last `**` for any number of elements,
/// none among them.
///
/// ```
/// use signpost::context::Destination;
///
/// let hello: Destination = "/#/io.l5d.k8s/hello/**".parse()?;
/// assert!(hello.matches(&"/#/io.l5d.k8s/hello/http/world".parse()?));
/// assert!(!hello.matches(&"/#/io.l5d.k8s/other/http/world".parse()?));
/// # Ok::<(), signpost::name::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    prefix: Prefix,
    is_open: bool,
}

/// The ranges of addresses that are denied by default: link-local addresses, and the addresses from which clouds serve
/// the credentials of a machine (169.254.169.254 and fd00:ec2::254).
const DENIED: [&str; 3] = ["169.254.0.0/16", "fe80::/10", "fd00:ec2::254"];

impl Default for OverrideRules {
    fn default() -> Self {
        Self {
            prefixes: None,
            destinations: None,
            addresses: AddressRules::default(),
            max_entries: 100,
            max_bytes: 8192,
        }
    }
}

impl Default for AddressRules {
    fn default() -> Self {
        Self { deny: DENIED.iter().filter_map(|range| range.parse().ok()).collect() }
    }
}

impl Default for OverrideLimits {
    /// Returns the limits with the default rules.
    fn default() -> Self {
        Self::new(OverrideRules::default())
    }
}

impl OverrideLimits {
    /// Makes limits of their rules.
    pub fn new(rules: OverrideRules) -> Self {
        // The default rules are those of nearly every listener: their key costs nothing.
        let is_default = rules == OverrideRules::default();
        let key = if is_default { Vec::new() } else { serde_json::to_vec(&rules).unwrap_or_default() };
        Self(Arc::new(KeyedRules { rules, key: key.into() }))
    }

    /// Returns the rules.
    pub fn rules(&self) -> &OverrideRules {
        &self.0.rules
    }

    /// Appends a key, after which another part of a key may follow: equal keys mean equal limits.
    pub fn write_key(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.0.key.len().to_ne_bytes());
        key.extend_from_slice(&self.0.key);
    }

    /// Returns the allowed prefixes in words, for an error.
    pub fn allowed_prefixes(&self) -> String {
        list(self.rules().prefixes.iter().flatten())
    }

    /// Returns the allowed destinations in words, for an error.
    pub fn allowed_destinations(&self) -> String {
        list(self.rules().destinations.iter().flatten())
    }

    /// Returns whether an entry may have this prefix: it must be at or below an allowed one.
    ///
    /// A `*` of an allowed prefix stands for any one element. A `*` of the entry is below a `*` alone, for it would
    /// match labels that are not allowed.
    pub fn allows_prefix(&self, prefix: &Prefix) -> bool {
        let allowed = self.rules().prefixes.as_ref();
        allowed.is_none_or(|allowed| allowed.iter().any(|above| above.covers(prefix)))
    }

    /// Returns whether an entry may lead to the leaf with this bound id. Transformers of the id, which the router's own
    /// configuration adds, make no difference.
    pub fn allows_destination(&self, id: &Path) -> bool {
        self.rules().destinations.as_ref().is_none_or(|allowed| Destination::any_matches(allowed, id))
    }

    /// Returns whether no connection may be used to this address for a leaf to which an entry leads.
    ///
    /// An address is denied as well when another one is reached by it: that of loopback by an unspecified one, and an IPv4
    /// address by the IPv6 one that holds it.
    pub fn denies(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_denied = |address| self.rules().addresses.deny.iter().any(|range| range.contains(address));
        is_denied(address) || reached_by(address).is_some_and(is_denied)
    }
}

/// How many values of a list in the configuration an error shows.
const MOST_LISTED: usize = 10;

/// Prints the values of a list, or as many of them as an error shows.
fn list(values: impl Iterator<Item: fmt::Display>) -> String {
    let mut values = values.map(|value| value.to_string());
    let mut shown: Vec<String> = values.by_ref().take(MOST_LISTED).collect();
    match values.count() {
        0 if shown.is_empty() => return "nothing".to_owned(),
        0 => {}
        more => shown.push(format!("{more} more")),
    }
    shown.join(", ")
}

/// Returns the other address that is reached by an address: `connect` to an unspecified one leads to loopback, and a
/// gateway may take the IPv4 address out of an IPv6 one (NAT64, RFC 6052 2.1; 6to4, RFC 3056 2).
fn reached_by(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) if address.is_unspecified() => Some(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(address) if address.is_unspecified() => Some(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => match address.octets() {
            [0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] | [0x20, 0x02, a, b, c, d, ..] => {
                Some(Ipv4Addr::new(a, b, c, d).into())
            }
            _ => None,
        },
    }
}

/// Returns a bound id without the transformers before it: `/#/io.l5d.k8s/a` of `/%/io.l5d.port/80/#/io.l5d.k8s/a`.
fn without_transformers(id: &Path) -> Path {
    let is_transformed = id.first() == Some(b"%");
    let start = id.elems().position(|elem| matches!(elem, b"#" | b"$"));
    match start.filter(|_| is_transformed) {
        Some(start) => id.skip(start),
        None => id.clone(),
    }
}

impl Destination {
    /// Returns the pattern of the ids at or below one.
    pub fn below(id: &Path) -> Self {
        Self { prefix: Prefix::from_elems(id.elems().map(Element::Label)), is_open: true }
    }

    /// Returns whether one of these patterns matches a bound id. Transformers of the id make no difference.
    pub fn any_matches(patterns: &[Self], id: &Path) -> bool {
        let id = without_transformers(id);
        patterns.iter().any(|pattern| pattern.matches(&id))
    }

    /// Returns whether the pattern matches a bound id.
    pub fn matches(&self, id: &Path) -> bool {
        self.prefix.residual(id).is_some_and(|rest| self.is_open || rest.is_empty())
    }
}

impl FromStr for Destination {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let closed = text.trim_end().strip_suffix("/**");
        let prefix = match closed {
            // `/**` alone matches every id.
            Some("") => Prefix::default(),
            Some(prefix) => prefix.parse()?,
            None => text.parse()?,
        };
        Ok(Self { prefix, is_open: closed.is_some() })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.prefix.is_empty(), self.is_open) {
            (true, true) => f.write_str("/**"),
            (false, true) => write!(f, "{}/**", self.prefix),
            (_, false) => self.prefix.fmt(f),
        }
    }
}

impl Serialize for OverrideLimits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.rules().serialize(serializer)
    }
}

impl Serialize for Destination {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(prefixes: &[&str], destinations: &[&str]) -> OverrideLimits {
        OverrideLimits::new(OverrideRules {
            prefixes: Some(prefixes.iter().map(|text| text.parse().unwrap()).collect()),
            destinations: Some(destinations.iter().map(|text| text.parse().unwrap()).collect()),
            ..OverrideRules::default()
        })
    }

    #[test]
    fn prefixes_are_allowed_at_or_below_one_of_the_list() {
        let limits = limits(&["/host", "/srv/*/dev", "/team/a"], &[]);
        for (prefix, allowed) in [
            ("/host", true),
            ("/host/world", true),
            ("/host/*", true),
            ("/hosts", false),
            ("/", false),
            ("/*", false),
            ("/*/world", false),
            ("/srv", false),
            ("/srv/a/dev", true),
            ("/srv/*/dev/b", true),
            ("/srv/a/prod", false),
            ("/team/*", false),
            ("/team/a/b", true),
            (r"/host/\x2a", true),
            (r"/team/\x2a", false),
        ] {
            assert_eq!(limits.allows_prefix(&prefix.parse().unwrap()), allowed, "{prefix}");
        }
        assert!(!self::limits(&[], &[]).allows_prefix(&"/a".parse().unwrap()), "an empty list allows none");
        assert!(OverrideLimits::default().allows_prefix(&Prefix::empty()));
    }

    #[test]
    fn destinations_are_patterns_over_ids_without_transformers() {
        let limits = limits(&[], &["/#/io.l5d.k8s/hello/**", "/#/io.l5d.fs/*", "/$/inet/127.1/*"]);
        for (id, allowed) in [
            ("/#/io.l5d.k8s/hello/http/world", true),
            ("/#/io.l5d.k8s/hello", true),
            ("/#/io.l5d.k8s/hell", false),
            ("/#/io.l5d.k8s/other/http/world", false),
            ("/#/io.l5d.fs/web", true),
            ("/#/io.l5d.fs/web/more", false),
            ("/#/io.l5d.fs", false),
            ("/$/inet/127.1/80", true),
            ("/$/inet/127.2/80", false),
            ("/%/io.l5d.port/80/#/io.l5d.k8s/hello/http/world", true),
            ("/%/io.l5d.port/80/%/io.l5d.localhost/#/io.l5d.fs/web", true),
            ("/%/io.l5d.port/80/#/io.l5d.k8s/other/http/world", false),
            // Only what stands before the first of these is a transformer.
            ("/x/#/io.l5d.fs/web", false),
            ("/#/x/#/io.l5d.fs/web", false),
            ("/%/io.l5d.port/80", false),
            ("/", false),
        ] {
            assert_eq!(limits.allows_destination(&id.parse().unwrap()), allowed, "{id}");
        }
        assert!(OverrideLimits::default().allows_destination(&Path::empty()));
    }

    #[test]
    fn patterns_are_printed_as_they_are_read() {
        for text in ["/**", "/a/**", "/a/*/b", "/a/*", "/", "/#/io.l5d.k8s/*/http/**"] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        for text in ["", "**", "a/**", "/a//**", "/a => /b"] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
        let all: Destination = "/**".parse().unwrap();
        assert!(all.matches(&Path::empty()) && all.matches(&"/a/b".parse().unwrap()));
    }

    #[test]
    fn link_local_addresses_are_denied_by_default() {
        let limits = OverrideLimits::default();
        for (address, denied) in [
            ("169.254.169.254", true),
            ("169.254.0.1", true),
            ("::ffff:169.254.169.254", true),
            ("fe80::1", true),
            ("fd00:ec2::254", true),
            ("64:ff9b::a9fe:a9fe", true),
            ("2002:a9fe:a9fe::1", true),
            ("64:ff9b::a00:1", false),
            ("fd00:ec2::253", false),
            ("127.0.0.1", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(limits.denies(address.parse().unwrap()), denied, "{address}");
        }
        assert_eq!(OverrideRules::default().addresses.deny.len(), DENIED.len());
    }

    #[test]
    fn loopback_is_reached_by_unspecified_addresses_too() {
        let deny = ["127.0.0.0/8", "::1"].map(|range| range.parse().unwrap()).into();
        let rules = OverrideRules { addresses: AddressRules { deny }, ..OverrideRules::default() };
        let limits = OverrideLimits::new(rules);
        for address in ["127.0.0.1", "0.0.0.0", "::", "::1", "::ffff:0.0.0.0", "64:ff9b::7f00:1"] {
            assert!(limits.denies(address.parse().unwrap()), "{address}");
        }
        assert!(!limits.denies("10.0.0.1".parse().unwrap()));
    }

    fn key(limits: &OverrideLimits) -> Vec<u8> {
        let mut key = Vec::new();
        limits.write_key(&mut key);
        key
    }

    #[test]
    fn keys_tell_limits_apart() {
        let other = OverrideRules { max_entries: 99, ..OverrideRules::default() };
        let none_denied =
            OverrideRules { addresses: AddressRules { deny: Vec::new() }, ..OverrideRules::default() };
        let all = [
            OverrideLimits::default(),
            OverrideLimits::new(other),
            OverrideLimits::new(none_denied),
            limits(&["/a"], &[]),
            limits(&[], &["/a"]),
            limits(&["/a", "/b"], &[]),
            limits(&[], &["/a/**"]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| key(other) != key(one)), "{one:?}");
            assert_eq!(key(&OverrideLimits::new(one.rules().clone())), key(one));
        }
        assert_eq!(OverrideLimits::default().0.key.len(), 0);
    }
}
