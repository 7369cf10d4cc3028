//! Reads the listeners of a router, and decides the callers that each of them trusts.

use super::errors::Report;
use super::reader::{MAX_INT, Reader};
use super::resolved::{
    Http2Config, IngressRedirect, LOOPBACK, Protocol, ProxyProtocol, Server, SessionConfig,
};
use super::signed::signed;
use crate::context::{
    Forwarded, ForwardedFrom, HostParameter, HostPattern, IdentityTrust, Labeler, Range, Requirement,
    SignedTrust, Trust,
};
use crate::source::node::{Node, Place};
use crate::tls::{IdentityPattern, ServerTlsFiles};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The most field lines that a head may be allowed to have.
pub(super) const MAX_HEADERS: u64 = 10_000;

/// The places of a server in the file.
pub(super) struct ServerPlaces {
    /// The server.
    pub(super) server: Place,
    /// Its port; the server's place when it has none of its own.
    pub(super) port: Place,
}

/// Reads `servers`.
pub(super) fn servers(
    router: &mut Reader<'_, '_>,
    protocol: Protocol,
    label: &str,
) -> Vec<(Server, ServerPlaces)> {
    let list = router.get("servers");
    let nodes = list.as_ref().map_or_else(Vec::new, |list| list.list().unwrap_or_default());
    if nodes.is_empty() && list.as_ref().is_none_or(Node::is_list) {
        let message = format!("the router `{label}` has no servers: nothing would reach it");
        router.error(list.as_ref(), message);
    }
    router
        .report()
        .each(&nodes, |node, report| node.is_mapping().then(|| server(node, (protocol, label), report)))
}

/// Reads one server of a router with this protocol and label.
fn server(
    node: &Node<'_>,
    (protocol, label): (Protocol, &str),
    report: &mut Report,
) -> (Server, ServerPlaces) {
    let mut reader = Reader::new(node, sections(protocol), report);
    let port = super::place_or(reader.get("port").as_ref(), node.place());
    let address = reader.address(SocketAddr::new(LOOPBACK, protocol.default_port()));
    let (trust, trust_reason) = decide_trust(&mut reader, address.ip(), label);
    let hosts = hosts(&mut reader, &trust);
    let connect = connect(&mut reader, &trust);
    let server = Server {
        ip: address.ip(),
        port: address.port(),
        label: reader.non_empty("label"),
        proxy_protocol: proxy_protocol(&mut reader),
        tls: super::tls::listener_tls(&mut reader),
        ingress_redirect: ingress_redirect(&mut reader),
        trust_is_set: reader.get("trust").is_some() || reader.get("clearContext").is_some(),
        trust,
        hosts,
        trust_reason,
        overrides: super::overrides::limits(&mut reader),
        inject: super::inject::rules(&mut reader),
        forwarded_from: forwarded_from(&mut reader),
        max_concurrent_requests: reader.number("maxConcurrentRequests", 1..=MAX_INT),
        max_connections: reader.number("maxConnections", 1..=MAX_INT).unwrap_or(10_000),
        max_connections_per_peer: reader.number("maxConnectionsPerPeer", 1..=MAX_INT),
        max_headers: reader.number("maxHeaders", 1..=MAX_HEADERS).unwrap_or(100),
        headers_timeout: reader.millis("headersTimeoutMs").unwrap_or(Duration::from_secs(10)),
        session: session(&mut reader),
        timeout: reader.millis("timeoutMs"),
        max_call_depth: reader.number("maxCallDepth", 0..=MAX_INT).unwrap_or(100),
        add_forwarded_header: forwarded(&mut reader, protocol),
        max_streams: reader.number("maxConcurrentStreamsPerConnection", 1..=MAX_INT),
        connect,
        max_requests_per_peer: reader.number("maxRequestsPerPeer", 1..=MAX_INT).unwrap_or(1000),
        http2: match protocol {
            Protocol::Http => Http2Config::default(),
            Protocol::H2 => reader.http2(),
        },
        timestamp_header: match protocol {
            Protocol::Http => reader.field_name("timestampHeader").map(str::to_owned),
            Protocol::H2 => None,
        },
        socket_options: reader.socket_options(),
    };
    check_identities(&mut reader, &server);
    (server, ServerPlaces { server: node.place(), port })
}

/// Reads `connect`; warns where nobody may use it.
fn connect(reader: &mut Reader<'_, '_>, trust: &Trust) -> bool {
    let connect = reader.flag("connect").unwrap_or_default();
    if connect && *trust == Trust::Nobody {
        let message = "`connect` has no effect: it is for trusted callers, and this server trusts nobody";
        if let Some(key) = reader.get("connect") {
            reader.report().warn(key.place(), key.key(), message.to_owned());
        }
    }
    connect
}

/// Refuses identities where no caller can have one: a rule that never holds would look like one that protects.
fn check_identities(reader: &mut Reader<'_, '_>, server: &Server) {
    let asks = |tls: &ServerTlsFiles| {
        tls.certificates.iter().any(|pair| pair.clients.is_some())
            || tls.ingress.as_ref().is_some_and(|ingress| ingress.clients.is_some())
    };
    if server.tls.as_ref().is_some_and(asks) {
        return;
    }
    let is_asked_for = |key: &str| match key {
        "trust" => server.trust.has_identities(),
        _ => server.inject.iter().any(|rule| rule.when.identities.is_some()),
    };
    for key in ["trust", "inject"].into_iter().filter(|key| is_asked_for(key)) {
        let node = reader.get(key);
        let message = "`identities` are those of callers' certificates, which this server does not ask for: give it \
                       `tls` with `caCertPath`";
        reader.error(node.as_ref(), message);
    }
}

/// Reads `ingressRedirect`; refuses it where every request comes over TLS.
fn ingress_redirect(reader: &mut Reader<'_, '_>) -> Option<IngressRedirect> {
    let node = reader.get("ingressRedirect")?;
    if reader.get("tls").is_some() {
        let message = "this server has `tls` itself: give it to the one for requests in clear";
        reader.error(Some(&node), message);
    }
    let mut reader = Reader::new(&node, &["ingress redirect"], reader.report());
    Some(IngressRedirect { https_port: reader.number("httpsPort", 1..=u16::MAX.into()).unwrap_or(443) })
}

/// Reads `proxyProtocol`.
fn proxy_protocol(reader: &mut Reader<'_, '_>) -> Option<ProxyProtocol> {
    let node = reader.get("proxyProtocol")?;
    let mut reader = Reader::new(&node, &["proxy protocol"], reader.report());
    reader.require("from");
    ranges(&mut reader, "no connection would be served; remove `proxyProtocol` if there is no proxy in front")
        .map(|from| ProxyProtocol { from })
}

/// Reads `serverSession`.
fn session(reader: &mut Reader<'_, '_>) -> SessionConfig {
    let Some(node) = reader.get("serverSession") else { return SessionConfig::default() };
    let mut session = Reader::new(&node, &["session"], reader.report());
    SessionConfig { idle: session.millis("idleTimeMs"), life: session.millis("lifeTimeMs") }
}

/// Returns the sections of a server of such a router.
pub(super) const fn sections(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::Http => &["server", "server http"],
        Protocol::H2 => &["server", "server h2"],
    }
}

/// Decides the callers that a listener trusts, by `trust`, `clearContext`, or else its address; returns them with the
/// reason.
fn decide_trust(reader: &mut Reader<'_, '_>, ip: IpAddr, label: &str) -> (Trust, String) {
    let trust = trust(reader, label);
    let clear = reader.flag("clearContext");
    let contradiction = match (&trust, clear) {
        (Some(Trust::Everybody), Some(true)) | (Some(Trust::Nobody), Some(false)) => {
            Some("`trust` and `clearContext` contradict each other: `clearContext: true` is `trust: nobody`")
        }
        (Some(Trust::From(_) | Trust::Identities(_) | Trust::Signed(_)), Some(_)) => {
            Some("`trust` lists the trusted callers already: remove `clearContext`")
        }
        _ => None,
    };
    if let Some(message) = contradiction {
        let key = reader.get("trust");
        reader.error(key.as_ref(), message);
        return (Trust::Nobody, "trusts nobody".to_owned());
    }
    let nobody = |why: &str| (Trust::Nobody, format!("trusts nobody: {why}"));
    let everybody = |why: &str| (Trust::Everybody, format!("trusts everybody: {why}"));
    match (trust, clear) {
        (Some(Trust::Nobody), _) => nobody("`trust: nobody` is set"),
        (Some(Trust::Everybody), _) => everybody("`trust: everybody` is set"),
        (Some(from @ Trust::From(_)), _) => {
            let reason = format!(
                "trusts {}: callers from other addresses are not trusted",
                list_ranges(from.ranges())
            );
            (from, reason)
        }
        (Some(Trust::Identities(rules)), _) => {
            let reason = explain_identities(&rules);
            (Trust::Identities(rules), reason)
        }
        (Some(Trust::Signed(signed)), _) => {
            let reason = explain_signed(&signed);
            (Trust::Signed(signed), reason)
        }
        (_, Some(true)) => nobody("`clearContext: true` is set"),
        (_, Some(false)) => everybody("`clearContext: false` is set"),
        (_, None) if ip.to_canonical().is_loopback() => {
            (Trust::Loopback, format!("trusts everybody: no `trust` is set and {ip} is loopback"))
        }
        (_, None) => nobody(&format!("no `trust` is set and {ip} is not loopback")),
    }
}

/// Says whom a listener trusts by certificates.
fn explain_identities(trust: &IdentityTrust) -> String {
    let names = list_identities(&trust.identities);
    let from = trust.from.as_ref().map(|ranges| list_ranges(ranges));
    let whom = match (from, trust.require) {
        (None, _) => format!("callers whose certificate is of {names}"),
        (Some(from), Requirement::Any) => format!("{from}, and callers whose certificate is of {names}"),
        (Some(from), Requirement::All) => format!("callers from {from} whose certificate is of {names}"),
    };
    format!("trusts {whom}: others are not trusted")
}

/// Lists the patterns of identities.
fn list_identities(patterns: &[IdentityPattern]) -> String {
    patterns.iter().map(IdentityPattern::to_string).collect::<Vec<_>>().join(", ")
}

/// Says whom a listener trusts that accepts tokens.
fn explain_signed(trust: &SignedTrust) -> String {
    let audience = trust.signed.audience.join(" or ");
    let from = trust.from.as_ref().map(|ranges| list_ranges(ranges));
    let names = trust
        .identities
        .as_ref()
        .map(|patterns| format!("callers whose certificate is of {}", list_identities(patterns)));
    let from = match (from, names) {
        (Some(from), Some(names)) => Some(format!("{from} and {names}")),
        (from, names) => from.or(names),
    };
    let token = format!("a token for {audience} that is signed by one of its keys");
    match (from, trust.require) {
        (None, _) => format!("trusts nobody, and grants the claims of {token} to whoever presents it"),
        (Some(from), Requirement::Any) => {
            format!(
                "trusts {from}, and grants the claims of {token} to whoever presents it, from any address"
            )
        }
        (Some(from), Requirement::All) => {
            format!("trusts nobody, and grants the claims of {token} to whoever presents it from {from}")
        }
    }
}

/// Lists the ranges of trusted callers.
fn list_ranges(ranges: &[Range]) -> String {
    ranges.iter().map(Range::to_string).collect::<Vec<_>>().join(", ")
}

/// Reads `trust`; `label` is the router's.
fn trust(reader: &mut Reader<'_, '_>, label: &str) -> Option<Trust> {
    let node = reader.get("trust")?;
    if node.is_mapping() {
        return conditions(&node, label, reader.report());
    }
    match reader.text("trust")? {
        "nobody" => Some(Trust::Nobody),
        "everybody" => Some(Trust::Everybody),
        _ => {
            reader.report().error(node.unexpected("`nobody`, `everybody` or `{from: [10.244.0.0/16]}`"));
            None
        }
    }
}

/// Reads a `trust` that is a mapping.
fn conditions(trust: &Node<'_>, label: &str, report: &mut Report) -> Option<Trust> {
    let mut reader = Reader::new(trust, &["trust"], report);
    let (from, signed) = (ranges(&mut reader, NO_CALLER), signed(&mut reader, label));
    let identities = super::tls::identities(&mut reader);
    let words = [("any", Requirement::Any), ("all", Requirement::All)];
    let require = reader.one_of("require", &words).unwrap_or_default();
    let is_given = |key| trust.get(key).is_some();
    let given = ["from", "identities", "signed"].into_iter().filter(|key| is_given(key)).count();
    if given == 0 {
        reader.error(None, "a key is missing: `from`, `identities`, `signed`, or several of them");
    } else if require == Requirement::All && given < 2 {
        let message = "`all` combines `from`, `identities` and `signed`, and only one of them is there: add another, or remove this";
        reader.error(reader.get("require").as_ref(), message);
    }
    match (from, identities, signed) {
        (from, identities, Some(signed)) => {
            Some(Trust::Signed(Arc::new(SignedTrust { from, identities, signed, require })))
        }
        (from, Some(identities), None) => {
            Some(Trust::Identities(Arc::new(IdentityTrust { from, identities, require })))
        }
        (Some(from), None, None) => Some(Trust::From(from)),
        (None, None, None) => None,
    }
}

/// The consequence of an empty list of callers.
const NO_CALLER: &str = "no caller would be trusted; write `trust: nobody` for that";

/// Reads `from`, which must not be empty, for this reason.
fn ranges(reader: &mut Reader<'_, '_>, reason: &str) -> Option<Arc<[Range]>> {
    let from = reader.get("from")?;
    let ranges = reader.ranges("from")?;
    if ranges.is_empty() {
        reader.error(Some(&from), format!("this list is empty: {reason}"));
    }
    Some(ranges.into())
}

/// Reads `forwardedFrom`; an empty list names no peer.
fn forwarded_from(reader: &mut Reader<'_, '_>) -> ForwardedFrom {
    let ranges = reader.ranges("forwardedFrom");
    ranges.map_or(ForwardedFrom::Trusted, |ranges| ForwardedFrom::Ranges(ranges.into()))
}

/// Reads `hosts`; warns where it has no effect.
fn hosts(reader: &mut Reader<'_, '_>, trust: &Trust) -> Vec<HostPattern> {
    let Some(list) = reader.get("hosts") else { return Vec::new() };
    let report = reader.report();
    let nodes = report.check(list.list()).unwrap_or_default();
    let hosts = report.each(&nodes, |node, report| {
        let text = report.check(node.text())?;
        let expected = "a host name without a port, such as world or *.example.test";
        report.check(HostPattern::parse(text).ok_or_else(|| node.unexpected(expected)))
    });
    if trust.is_by_loopback() {
        return hosts;
    }
    let why = "it is for a listener on loopback without `trust`; here the host of a request does not matter";
    report.warn(list.place(), list.key(), format!("`hosts` has no effect: {why}"));
    Vec::new()
}

/// Reads `addForwardedHeader`.
fn forwarded(reader: &mut Reader<'_, '_>, protocol: Protocol) -> Option<Forwarded> {
    let node = reader.get("addForwardedHeader")?;
    let mut header = Reader::new(&node, &["forwarded header"], reader.report());
    Some(Forwarded {
        by: labeler(&mut header, "by"),
        from: labeler(&mut header, "for"),
        host: match protocol {
            Protocol::Http => HostParameter::Host,
            Protocol::H2 => HostParameter::Authority,
        },
    })
}

/// Reads the label of one end of a connection.
fn labeler(header: &mut Reader<'_, '_>, end: &str) -> Labeler {
    let Some(node) = header.get(end) else { return Labeler::default() };
    let mut reader = Reader::new(&node, &["labeler", "labeler static"], header.report());
    let kind = reader.get("kind").and_then(|kind| kind.text().ok());
    match kind.unwrap_or_default() {
        "ip" => Labeler::Ip,
        "ip:port" => Labeler::IpPort,
        "connectionRandom" => Labeler::ConnectionRandom,
        "router" => Labeler::Router,
        "static" => {
            reader.require("label");
            reader.non_empty("label").map(Labeler::Static).unwrap_or_default()
        }
        _ => Labeler::RequestRandom,
    }
}
