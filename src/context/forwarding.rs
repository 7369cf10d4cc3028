//! The fields by which a request says over which hops it came: kept from peers that may say so, written anew otherwise.

use super::policy::written;
use super::{Context, Peer, Range, RemovalKind, Trust};
use crate::message::{Head, KnownField};
use serde::Serialize;
use std::io::Write as _;
use std::sync::Arc;

/// The peers whose word counts about the hops before them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(untagged)]
pub enum ForwardedFrom {
    /// Those whose address or certificate `trust` names, with or without a token, so that a hop inside the mesh keeps the word of the
    /// edge.
    #[default]
    Trusted,
    /// `forwardedFrom: [...]`: those with an address in one of these ranges; none without ranges.
    Ranges(Arc<[Range]>),
}

impl ForwardedFrom {
    /// Returns whether the word of a peer counts, by the address of its connection.
    pub(super) fn includes(&self, peer: &Peer, trust: &Trust) -> bool {
        match self {
            Self::Trusted => trust.names(peer),
            Self::Ranges(ranges) => peer.is_within(ranges),
        }
    }
}

/// Removes what the caller said about the hops before it, and says what is known: its own address, and the scheme of
/// its connection.
pub(super) fn write_anew(head: &mut Head, peer: &Peer, context: &mut Context) {
    if head.contains(KnownField::Forwarded) || head.contains(KnownField::XForwarded) {
        let is_forwarding = |known| matches!(known, KnownField::Forwarded | KnownField::XForwarded);
        let gone = head.remove_where(|field| is_forwarding(field.known));
        context.removals.add_many(RemovalKind::Forwarded, gone);
    }
    let address = peer.remote.ip().to_canonical();
    // Writing to memory does not fail.
    let address = written(&mut context.scratch, |out| _ = write!(out, "{address}"));
    head.append(b"X-Forwarded-For", address);
    head.append(b"X-Forwarded-Proto", if peer.is_secure() { b"https" } else { b"http" });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Config, Labeler, Policy, UpstreamNames};
    use crate::message::HeadLimits;

    const LIMITS: HeadLimits = HeadLimits { line: 8192, fields_bytes: 65536, fields: 200 };

    /// Every spelling that says something about the hops before.
    const SAID: [&str; 12] = [
        "Forwarded: for=192.0.2.1;proto=https",
        "forwarded: for=\"[2001:db8::1]\"",
        "X-Forwarded-For: 192.0.2.1, 192.0.2.2",
        "x-forwarded-for: 192.0.2.3",
        "X_Forwarded_For: 192.0.2.4",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: admin",
        "x-forwarded-client-cert: By=spiffe://a",
        "X-Real-IP: 192.0.2.5",
        "true_client_ip: 192.0.2.6",
        "X-Client-Ip: 192.0.2.7",
        "X-Cluster-Client-Ip: 192.0.2.8",
    ];

    fn ranges(texts: &[&str]) -> Arc<[Range]> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// Returns the field lines of a request that enters and leaves, without those that name its route.
    fn carried(config: Config, peer: &Peer, lines: &[&str]) -> (Vec<String>, u32) {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let text = format!("GET / HTTP/1.1\r\n{lines}\r\n");
        let (mut head, mut context) = (Head::new(), Context::new());
        assert_eq!(head.parse_request(text.as_bytes(), &LIMITS), Ok(Some(text.len())));
        let policy = Policy::new(config);
        assert_eq!(policy.enter(peer, &mut head, &mut context).1, Ok(()));
        let names =
            UpstreamNames { service: b"/s", client: b"/c", residual: None, overrides: b"", named_by: &[] };
        let _ = policy.leave(peer, &mut head, &mut context, &names);
        let line = |name: &[u8], value: &[u8]| {
            format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        };
        let left = head.fields().filter(|field| !field.known.is_steering() && field.known != KnownField::Via);
        let left = left.map(|field| line(field.name, field.value)).collect();
        (left, context.removals().of(RemovalKind::Forwarded))
    }

    #[test]
    fn the_word_of_a_peer_counts_by_its_address() {
        let pods = || Trust::From(ranges(&["10.244.0.0/16"]));
        let edge = || ForwardedFrom::Ranges(ranges(&["10.0.0.0/24", "fd00::/8"]));
        let nobody = || ForwardedFrom::Ranges(ranges(&[]));
        for (trust, from, address, kept) in [
            (Trust::Everybody, ForwardedFrom::Trusted, "192.0.2.43", true),
            (Trust::Nobody, ForwardedFrom::Trusted, "10.244.0.1", false),
            (pods(), ForwardedFrom::Trusted, "10.244.0.1", true),
            (pods(), ForwardedFrom::Trusted, "::ffff:10.244.0.1", true),
            (pods(), ForwardedFrom::Trusted, "10.245.0.1", false),
            (pods(), edge(), "10.244.0.1", false),
            (pods(), edge(), "10.0.0.9", true),
            (Trust::Nobody, edge(), "::ffff:10.0.0.9", true),
            (Trust::Nobody, edge(), "fd00::1", true),
            (Trust::Nobody, edge(), "fe80::1", false),
            (Trust::Everybody, nobody(), "127.0.0.1", false),
        ] {
            let config = Config { trust, forwarded_from: from, ..Config::default() };
            let address: std::net::IpAddr = address.parse().unwrap();
            let peer = Peer::new((address, 8080).into(), ([192, 0, 2, 1], 4140).into());
            let written = [
                format!("X-Forwarded-For: {}", address.to_canonical()),
                "X-Forwarded-Proto: http".to_owned(),
            ];
            let expected = if kept { SAID.map(str::to_owned).to_vec() } else { written.to_vec() };
            let removed = if kept { 0 } else { SAID.len() as u32 };
            assert_eq!(carried(config.clone(), &peer, &SAID), (expected, removed), "{config:?} {address}");
            let expected = if kept { Vec::new() } else { written.to_vec() };
            assert_eq!(carried(config, &peer, &[]).0, expected, "nothing is said");
        }
    }

    #[test]
    fn the_schemes_and_the_routers_own_element_are_true() {
        let mut peer = Peer::new(([192, 0, 2, 43], 8080).into(), ([192, 0, 2, 1], 4140).into());
        peer.tls = Some(Arc::default());
        let forwarded =
            crate::context::Forwarded { by: Labeler::Ip, from: Labeler::Ip, ..Default::default() };
        let config = Config { forwarded: Some(forwarded), ..Config::default() };
        let own = "Forwarded: by=192.0.2.1;for=192.0.2.43;proto=https";
        let written = ["X-Forwarded-For: 192.0.2.43", "X-Forwarded-Proto: https", own].map(str::to_owned);
        assert_eq!(carried(config.clone(), &peer, &SAID).0, written);
        let kept = Config { trust: Trust::Everybody, ..config };
        let lines = [&SAID[..], &[own]].concat();
        assert_eq!(carried(kept, &peer, &SAID).0, lines);
    }

    /// `Connection` cannot name a field away by which the next hop would decide otherwise.
    #[test]
    fn what_is_said_and_written_outlives_a_connection() {
        let peer = Peer::new(([192, 0, 2, 43], 8080).into(), ([192, 0, 2, 1], 4140).into());
        let named =
            "Connection: x-forwarded-for, x-forwarded-proto, x_real_ip, forwarded, via, l5d-dst-service";
        let said = ["X-Forwarded-For: 192.0.2.1", "x_real_ip: 192.0.2.2", "Forwarded: for=192.0.2.3"];
        let lines = [&[named], &said[..]].concat();
        let trusting = Config { trust: Trust::Everybody, ..Config::default() };
        assert_eq!(carried(trusting, &peer, &lines).0, said);
        let written = ["X-Forwarded-For: 192.0.2.43", "X-Forwarded-Proto: http"];
        assert_eq!(carried(Config::default(), &peer, &lines).0, written);
    }
}
