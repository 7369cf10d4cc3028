//! The callers that a listener trusts to steer requests.

use super::Peer;
use super::token::SignedOverrides;
use crate::tls::IdentityPattern;
use ipnet::{IpNet, Ipv4Net};
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

/// The set of callers that a listener trusts to steer requests. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Trust {
    /// `trust: nobody`, `clearContext: true`, or neither key and a listener that is not on loopback.
    Nobody,
    /// `trust: everybody`, or `clearContext: false`.
    Everybody,
    /// Neither key, and a listener on loopback: everybody. The overrides of a request hold only when its host shows that
    /// it is not of a page that a browser took from elsewhere: [`Policy::doubtful_host`](super::Policy::doubtful_host).
    Loopback,
    /// `trust: {from: [...]}`: callers with an address in one of these ranges; never empty in a configuration.
    From(Arc<[Range]>),
    /// `trust: {identities: [...]}`: callers with a certificate of one of these names, with or without `from`.
    #[serde(untagged)]
    Identities(Arc<IdentityTrust>),
    /// `trust: {signed: {...}}`: callers with a token, with or without `from` and `identities`.
    #[serde(untagged)]
    Signed(Arc<SignedTrust>),
}

/// The trust of a listener that trusts certificates.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentityTrust {
    /// `from`: ranges of addresses; never empty in a configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Arc<[Range]>>,
    /// `identities`: patterns of names; never empty in a configuration.
    pub identities: Arc<[IdentityPattern]>,
    /// `require`: `any` by default.
    pub require: Requirement,
}

impl IdentityTrust {
    fn includes(&self, caller: &Peer) -> bool {
        let is_within = self.from.as_ref().map(|ranges| caller.is_within(ranges));
        let is_named = caller.is_one_of(&self.identities);
        match self.require {
            Requirement::Any => is_named || is_within == Some(true),
            Requirement::All => is_named && is_within != Some(false),
        }
    }
}

/// The trust of a listener that accepts tokens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedTrust {
    /// `from`: ranges of addresses; never empty in a configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Arc<[Range]>>,
    /// `identities`: patterns of names; never empty in a configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identities: Option<Arc<[IdentityPattern]>>,
    /// `signed`: the tokens that are accepted.
    pub signed: SignedOverrides,
    /// `require`: `any` by default.
    pub require: Requirement,
}

impl SignedTrust {
    /// Returns whether a caller may use a token.
    pub(super) fn accepts_token_from(&self, caller: &Peer) -> bool {
        match self.require {
            Requirement::All => {
                self.from.as_ref().is_none_or(|ranges| caller.is_within(ranges))
                    && self.identities.as_ref().is_none_or(|patterns| caller.is_one_of(patterns))
            }
            Requirement::Any => true,
        }
    }

    /// Returns whether the address or the certificate of a caller is among those that are named.
    fn names(&self, caller: &Peer) -> bool {
        self.from.as_ref().is_some_and(|ranges| caller.is_within(ranges))
            || self.identities.as_ref().is_some_and(|patterns| caller.is_one_of(patterns))
    }
}

/// The rule by which addresses and tokens combine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Requirement {
    /// An address in `from` is trusted, and so is a certificate in `identities`, and a token is accepted from everybody.
    #[default]
    Any,
    /// A caller needs all of them: without `signed`, both the address and the certificate; with it, nobody is trusted, and a
    /// token is accepted from those alone.
    All,
}

impl Trust {
    /// Returns whether it is that of a listener on loopback that is told nothing else.
    pub fn is_by_loopback(&self) -> bool {
        *self == Self::Loopback
    }

    /// Returns whether a caller is trusted by its address or its certificate, whatever its requests present.
    ///
    /// A caller that a socket for both address families shows as `::ffff:10.0.0.1` counts as 10.0.0.1.
    pub fn includes(&self, caller: &Peer) -> bool {
        if caller.is_unknown {
            return false;
        }
        match self {
            Self::Nobody => false,
            Self::Everybody | Self::Loopback => true,
            Self::From(ranges) => caller.is_within(ranges),
            Self::Identities(trust) => trust.includes(caller),
            Self::Signed(trust) => trust.require == Requirement::Any && trust.names(caller),
        }
    }

    /// Returns whether it names the address or the certificate of a caller, be it trusted by that or only with a token.
    pub(super) fn names(&self, caller: &Peer) -> bool {
        match self {
            Self::Signed(trust) => trust.names(caller),
            other => other.includes(caller),
        }
    }

    /// Returns whether it asks for the names in callers' certificates.
    pub fn has_identities(&self) -> bool {
        match self {
            Self::Identities(_) => true,
            Self::Signed(trust) => trust.identities.is_some(),
            Self::Nobody | Self::Everybody | Self::Loopback | Self::From(_) => false,
        }
    }

    /// Returns whether no caller is trusted, whatever its address: a token grants its claims and nothing else.
    pub fn excludes_everybody(&self) -> bool {
        match self {
            Self::Nobody => true,
            Self::Everybody | Self::Loopback | Self::From(_) | Self::Identities(_) => false,
            Self::Signed(trust) => {
                (trust.from.is_none() && trust.identities.is_none()) || trust.require == Requirement::All
            }
        }
    }

    /// Returns the ranges of addresses that it names.
    pub fn ranges(&self) -> &[Range] {
        match self {
            Self::From(ranges) => ranges,
            Self::Identities(trust) => trust.from.as_deref().unwrap_or_default(),
            Self::Signed(trust) => trust.from.as_deref().unwrap_or_default(),
            Self::Nobody | Self::Everybody | Self::Loopback => &[],
        }
    }

    /// Returns the rules of a listener that accepts tokens.
    pub fn signed(&self) -> Option<&Arc<SignedTrust>> {
        match self {
            Self::Signed(trust) => Some(trust),
            Self::Nobody | Self::Everybody | Self::Loopback | Self::From(_) | Self::Identities(_) => None,
        }
    }
}

/// A range of addresses of one family, such as `10.244.0.0/16` or `fd00::/8` (RFC 4632, 3.1; RFC 4291, 2.3).
///
/// Displayed with its length, also when it is a single address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range(IpNet);

impl Range {
    /// Returns whether an address is in the range. Addresses of the other family are not, whatever the length: `::/0`
    /// has no IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Returns the addresses that gateways and bridges usually have in the range: the first of each /24, of IPv6 the first
    /// of each /64; of a smaller range its first. There are at most 256.
    pub fn usual_gateways(&self) -> impl Iterator<Item = IpAddr> {
        let length = self.0.prefix_len().max(if self.0.addr().is_ipv4() { 24 } else { 64 });
        let subnets = self.0.subnets(length).into_iter().flatten().take(256);
        subnets.filter_map(|subnet| {
            let mut hosts = subnet.hosts();
            let first = hosts.next()?;
            // In IPv6 the address of the subnet itself counts as one of its hosts.
            if first.is_ipv4() { Some(first) } else { hosts.next().or(Some(first)) }
        })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Range {
    type Err = RangeError;

    /// Reads a range, or a single address. A range of IPv4 addresses written as IPv6 (`::ffff:10.0.0.0/104`) becomes
    /// the range of the IPv4 addresses.
    fn from_str(text: &str) -> Result<Self, RangeError> {
        let single = |_| text.parse::<IpAddr>().map(IpNet::from);
        let net = text.parse::<IpNet>().or_else(single).map_err(|_| RangeError::NotARange)?;
        if net.trunc() != net {
            return Err(RangeError::Inside(Self(net.trunc()), net.addr()));
        }
        Ok(Self(unmapped(net)))
    }
}

/// Returns the range of IPv4 addresses for an IPv6 range that has only mapped ones; any other range unchanged.
fn unmapped(net: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    let IpNet::V6(v6) = net else { return net };
    let address = v6.addr().to_ipv4_mapped();
    let v4 = address.zip(v6.prefix_len().checked_sub(MAPPED));
    v4.and_then(|(address, length)| Ipv4Net::new(address, length).ok()).map_or(net, IpNet::V4)
}

/// The reason why a text is not a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RangeError {
    /// It is neither a range nor an address.
    #[error("not a range of addresses")]
    NotARange,
    /// It is an address inside a range, with the range's length.
    #[error("the range is `{0}`: write that, or `{1}` for this address alone")]
    Inside(Range, IpAddr),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Identity, SecurePeer};

    fn range(text: &str) -> Range {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn ranges_contain_their_addresses() {
        for (text, printed, inside, outside) in [
            ("10.244.0.0/16", "10.244.0.0/16", "10.244.255.255", "10.245.0.0"),
            ("127.0.0.2", "127.0.0.2/32", "127.0.0.2", "127.0.0.3"),
            ("0.0.0.0/0", "0.0.0.0/0", "255.255.255.255", "::1"),
            ("fd00::/8", "fd00::/8", "fdff::1", "fe00::"),
            ("::1", "::1/128", "::1", "::2"),
            ("::/0", "::/0", "ffff::", "127.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8", "10.1.2.3", "11.0.0.0"),
            ("::ffff:10.0.0.1", "10.0.0.1/32", "10.0.0.1", "10.0.0.2"),
            ("::ffff:0:0/96", "0.0.0.0/0", "1.2.3.4", "::2"),
        ] {
            let range = range(text);
            assert_eq!(range.to_string(), printed);
            assert_eq!(printed.parse(), Ok(range));
            assert!(range.contains(inside.parse().unwrap()), "{text} has {inside}");
            assert!(!range.contains(outside.parse().unwrap()), "{text} has not {outside}");
        }
    }

    #[test]
    fn gateways_are_the_first_of_their_subnet() {
        for (text, first, second, count) in [
            ("10.244.0.0/16", "10.244.0.1", Some("10.244.1.1"), 256),
            ("10.0.0.0/8", "10.0.0.1", Some("10.0.1.1"), 256),
            ("10.244.7.0/24", "10.244.7.1", None, 1),
            ("10.244.7.64/26", "10.244.7.65", None, 1),
            ("10.244.7.9", "10.244.7.9", None, 1),
            ("fd00::/63", "fd00::1", Some("fd00:0:0:1::1"), 2),
            ("::1", "::1", None, 1),
        ] {
            let gateways: Vec<_> = range(text).usual_gateways().collect();
            assert_eq!(gateways.first(), first.parse().ok().as_ref(), "{text}");
            assert_eq!(gateways.get(1).copied(), second.map(|second| second.parse().unwrap()), "{text}");
            assert_eq!(gateways.len(), count, "{text}");
        }
    }

    #[test]
    fn other_texts_are_not_ranges() {
        for text in
            ["", "pods", "10.0.0/8", "10.0.0.0/33", "10.0.0.0/", " 10.0.0.0/8", "::1%lo", "10.0.0.0-10.0.0.9"]
        {
            assert_eq!(text.parse::<Range>(), Err(RangeError::NotARange), "{text}");
        }
        let inside = "10.244.1.2/16".parse::<Range>().unwrap_err();
        assert_eq!(
            inside.to_string(),
            "the range is `10.244.0.0/16`: write that, or `10.244.1.2` for this address alone"
        );
    }

    #[test]
    fn callers_are_trusted_by_their_address() {
        let pods = Trust::From([range("10.244.0.0/16"), range("fd00::/8")].into());
        for (caller, trusted) in [
            ("10.244.3.4:1", true),
            ("10.245.3.4:1", false),
            ("[::ffff:10.244.3.4]:1", true),
            ("[::ffff:10.245.3.4]:1", false),
            ("[fd00::1]:1", true),
            ("[fe80::1]:1", false),
        ] {
            let peer = peer(caller, None);
            assert_eq!(pods.includes(&peer), trusted, "{caller}");
            assert!(Trust::Everybody.includes(&peer) && !Trust::Nobody.includes(&peer));
        }
        assert!(!Trust::From([].into()).includes(&peer("127.0.0.1:1", None)));
    }

    /// Returns a caller at an address, with a certificate of this URI.
    fn peer(address: &str, uri: Option<&str>) -> Peer {
        let mut peer = Peer::new(address.parse().unwrap(), "192.0.2.9:4140".parse().unwrap());
        let identity = uri.map(|uri| Identity::named(&[], &[uri]));
        peer.tls = Some(Arc::new(SecurePeer::with_identity(identity)));
        peer
    }

    #[test]
    fn addresses_certificates_and_tokens_combine() {
        let pods: Option<Arc<[Range]>> = Some([range("10.0.0.0/8")].into());
        let edge: Arc<[IdentityPattern]> = [IdentityPattern::parse("spiffe://mesh/edge").unwrap()].into();
        let (any, all) = (Requirement::Any, Requirement::All);
        let [inside, outside] = ["10.1.2.3:1", "192.0.2.1:1"];
        let callers = [
            peer(inside, None),
            peer(outside, None),
            peer(inside, Some("spiffe://mesh/edge")),
            peer(outside, Some("spiffe://mesh/edge")),
            peer(outside, Some("spiffe://mesh/other")),
        ];
        for (from, require, trusted) in [
            (None, any, [false, false, true, true, false]),
            (None, all, [false, false, true, true, false]),
            (pods.clone(), any, [true, false, true, true, false]),
            (pods, all, [false, false, true, false, false]),
        ] {
            let identities = Arc::clone(&edge);
            let trust =
                Trust::Identities(Arc::new(IdentityTrust { from: from.clone(), identities, require }));
            assert_eq!(callers.each_ref().map(|caller| trust.includes(caller)), trusted, "{trust:?}");
            let signed = SignedOverrides {
                files: Default::default(),
                audience: Vec::new(),
                max_lifetime: 1,
                revoked: Vec::new(),
            };
            let rules = Arc::new(SignedTrust { from, identities: Some(Arc::clone(&edge)), signed, require });
            let may_use = callers.each_ref().map(|caller| rules.accepts_token_from(caller));
            assert_eq!(may_use, if require == all { trusted } else { [true; 5] }, "{rules:?}");
            let trust = Trust::Signed(rules);
            let expected = if require == all { [false; 5] } else { trusted };
            assert_eq!(callers.each_ref().map(|caller| trust.includes(caller)), expected, "{trust:?}");
        }
    }

    #[test]
    fn addresses_and_tokens_combine() {
        let pods = Some([range("10.0.0.0/8")].into());
        let (any, all) = (Requirement::Any, Requirement::All);
        // Whether the pod, then the stranger, is trusted, and whether it may use a token.
        for (from, require, trusted, token) in [
            (None, any, [false, false], [true, true]),
            (pods.clone(), any, [true, false], [true, true]),
            (pods, all, [false, false], [true, false]),
        ] {
            let signed = SignedOverrides {
                files: Default::default(),
                audience: Vec::new(),
                max_lifetime: 1,
                revoked: Vec::new(),
            };
            let rules = Arc::new(SignedTrust { from, identities: None, signed, require });
            let trust = Trust::Signed(Arc::clone(&rules));
            let callers = ["10.1.2.3:1", "192.0.2.1:1"].map(|caller| peer(caller, None));
            assert_eq!(callers.each_ref().map(|caller| trust.includes(caller)), trusted, "{trust:?}");
            assert_eq!(callers.each_ref().map(|caller| rules.accepts_token_from(caller)), token, "{trust:?}");
        }
    }
}
