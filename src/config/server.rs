//! Reads the listeners of a router, and decides whom each trusts.

use super::errors::Report;
use super::reader::{MAX_INT, Reader};
use super::resolved::{Http2, LOOPBACK, Protocol, Server, Session};
use super::router::non_empty;
use crate::context::{Forwarded, HostParameter, Labeler, Trust};
use crate::source::node::{Node, Place};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The most field lines that a head may be allowed to have.
const MAX_HEADERS: u64 = 10_000;

/// How many requests a caller may have under way on one HTTP/2 connection when nothing is said. It is Linkerd's number:
/// with a lower one a caller of many long calls would stand still without an error.
const MAX_STREAMS: u32 = 1000;

/// Where a server stands in the file.
pub(super) struct ServerPlaces {
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
    router.report().each(&nodes, |node, report| node.is_mapping().then(|| server(node, protocol, report)))
}

fn server(node: &Node<'_>, protocol: Protocol, report: &mut Report) -> (Server, ServerPlaces) {
    let mut reader = Reader::new(node, sections(protocol), report);
    let port = super::place_or(reader.get("port").as_ref(), node.place());
    let address = reader.address(SocketAddr::new(LOOPBACK, protocol.usual_port()));
    let (trust, trust_reason) = trust(&mut reader, address.ip());
    let server = Server {
        ip: address.ip(),
        port: address.port(),
        label: non_empty(&mut reader, "label"),
        trust_is_said: reader.get("trust").is_some() || reader.get("clearContext").is_some(),
        trust,
        trust_reason,
        max_concurrent_requests: reader.number("maxConcurrentRequests", 1..=MAX_INT),
        max_connections: reader.number("maxConnections", 1..=MAX_INT).unwrap_or(10_000),
        max_headers: reader.number("maxHeaders", 1..=MAX_HEADERS).unwrap_or(100),
        headers_timeout: reader.millis("headersTimeoutMs").unwrap_or(Duration::from_secs(10)),
        session: session(&mut reader),
        timeout: reader.millis("timeoutMs"),
        max_call_depth: reader.number("maxCallDepth", 0..=MAX_INT).unwrap_or(1000),
        add_forwarded_header: forwarded(&mut reader, protocol),
        max_streams: match protocol {
            Protocol::Http => MAX_STREAMS,
            Protocol::H2 => {
                reader.number("maxConcurrentStreamsPerConnection", 1..=MAX_INT).unwrap_or(MAX_STREAMS)
            }
        },
        http2: match protocol {
            Protocol::Http => Http2::default(),
            Protocol::H2 => reader.http2(),
        },
        timestamp_header: match protocol {
            Protocol::Http => reader.field_name("timestampHeader").map(str::to_owned),
            Protocol::H2 => None,
        },
        socket_options: reader.socket_options(),
    };
    (server, ServerPlaces { server: node.place(), port })
}

/// Reads `serverSession`.
fn session(reader: &mut Reader<'_, '_>) -> Session {
    let Some(node) = reader.get("serverSession") else { return Session::default() };
    let mut session = Reader::new(&node, &["session"], reader.report());
    Session { idle: session.millis("idleTimeMs"), life: session.millis("lifeTimeMs") }
}

const fn sections(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::Http => &["server", "server http"],
        Protocol::H2 => &["server", "server h2"],
    }
}

/// Decides whom a listener trusts: `trust` says it, or `clearContext`, or else its address.
fn trust(reader: &mut Reader<'_, '_>, ip: IpAddr) -> (Trust, String) {
    let said = word(reader);
    let clear = reader.flag("clearContext");
    match (said, clear) {
        (Some(Trust::Everybody), Some(true)) | (Some(Trust::Nobody), Some(false)) => {
            let message =
                "`trust` and `clearContext` contradict each other: `clearContext: true` is `trust: nobody`";
            let trust = reader.get("trust");
            reader.error(trust.as_ref(), message);
            (Trust::Nobody, "trusts nobody".to_owned())
        }
        (Some(Trust::Nobody), _) => (Trust::Nobody, "trusts nobody: `trust: nobody` is said".to_owned()),
        (Some(Trust::Everybody), _) => {
            (Trust::Everybody, "trusts everybody: `trust: everybody` is said".to_owned())
        }
        (None, Some(true)) => (Trust::Nobody, "trusts nobody: `clearContext: true` is said".to_owned()),
        (None, Some(false)) => {
            (Trust::Everybody, "trusts everybody: `clearContext: false` is said".to_owned())
        }
        (None, None) if ip.to_canonical().is_loopback() => {
            (Trust::Everybody, format!("trusts everybody: nothing is said and {ip} is loopback"))
        }
        (None, None) => (Trust::Nobody, format!("trusts nobody: nothing is said and {ip} is not loopback")),
    }
}

/// Reads `trust`.
fn word(reader: &mut Reader<'_, '_>) -> Option<Trust> {
    let node = reader.get("trust")?;
    match reader.text("trust")? {
        "nobody" => Some(Trust::Nobody),
        "everybody" => Some(Trust::Everybody),
        _ => {
            reader.report().error(node.unexpected("`nobody` or `everybody`"));
            None
        }
    }
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

/// Reads how one end of a connection is named.
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
            if reader.get("label").is_none() {
                reader.missing("label");
            }
            non_empty(&mut reader, "label").map(Labeler::Static).unwrap_or_default()
        }
        _ => Labeler::RequestRandom,
    }
}
