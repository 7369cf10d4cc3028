//! Reads routers.

use super::access_log::access_log;
use super::client::client;
use super::errors::Report;
use super::naming;
use super::reader::{MAX_INT, Reader};
use super::resolved::{BindingCacheConfig, Protocol, Router, RouterPlaces};
use super::schema;
use super::server;
use super::service::service;
use crate::interpret::{DEFAULT_OVERRIDE_LOOKUPS, MAX_LOOKUPS};
use crate::name::{self, Dtab, Path};
use crate::source::node::{Node, Place};
use std::time::Duration;

/// The most KiB that a head or an error body may be allowed to have: 1 GiB, so that a number of bytes cannot overflow.
const MAX_KB: u64 = 1 << 20;

/// Reads `routers`. Those of another protocol are left out: the validation has refused them.
pub(super) fn routers(root: &Node<'_>, report: &mut Report) -> (Vec<Router>, Vec<RouterPlaces>) {
    let list = Reader::new(root, &[schema::TOP], report).get("routers");
    let nodes = list.as_ref().map_or_else(Vec::new, |list| list.list().unwrap_or_default());
    if nodes.is_empty() && list.as_ref().is_none_or(Node::is_list) {
        let message = "there are no routers: at least one must stand under `routers`";
        report.error(list.as_ref().unwrap_or(root).error(message));
    }
    report.each(&nodes, router).into_iter().unzip()
}

/// Reads one router.
fn router(node: &Node<'_>, report: &mut Report) -> Option<(Router, RouterPlaces)> {
    let protocol = match node.get("protocol")?.text().ok()? {
        "http" => Protocol::Http,
        "h2" => Protocol::H2,
        _ => return None,
    };
    let mut reader = Reader::new(node, sections(protocol), report);
    let label_node = reader.get("label");
    let label = match label_node {
        Some(_) => reader.non_empty("label").unwrap_or_default(),
        None => protocol.name().to_owned(),
    };
    let dtab_node = reader.get("dtab");
    let (dtab, dentries) =
        dtab_node.as_ref().and_then(|node| dtab(node, reader.report())).unwrap_or_default();
    let servers = server::servers(&mut reader, protocol, &label);
    let (access_log, access_log_place) = access_log(&mut reader, protocol.name()).unzip();
    let places = RouterPlaces {
        key: node.key().to_owned(),
        router: node.place(),
        label: super::place_or(label_node.as_ref(), node.place()),
        dtab: super::place_or(dtab_node.as_ref(), node.place()),
        dentries,
        interpreter: super::place_or(reader.get("interpreter").as_ref(), node.place()),
        identifier: super::place_or(reader.get("identifier").as_ref(), node.place()),
        servers: servers.iter().map(|(_, places)| places.server).collect(),
        ports: servers.iter().map(|(_, places)| places.port).collect(),
        access_log: access_log_place.unwrap_or_default(),
    };
    let mut kilobytes = |key, least, usual| match protocol {
        Protocol::Http => reader.number(key, least..=MAX_KB).unwrap_or(usual),
        Protocol::H2 => usual,
    };
    let max_headers_kb = kilobytes("maxHeadersKB", 1, 8);
    let max_initial_line_kb = kilobytes("maxInitialLineKB", 1, 4);
    let max_err_response_kb = kilobytes("maxErrResponseKB", 0, 5120);
    let router = Router {
        protocol,
        label,
        dtab,
        interpreter: naming::interpreter(&mut reader),
        dst_prefix: reader.path("dstPrefix").unwrap_or_else(|| Path::from_elems(["svc"])),
        identifiers: naming::identifiers(&mut reader, protocol),
        max_override_lookups: reader
            .number("maxOverrideLookups", 1..=MAX_LOOKUPS as u64)
            .unwrap_or(DEFAULT_OVERRIDE_LOOKUPS),
        binding_timeout: reader.millis("bindingTimeoutMs").unwrap_or(Duration::from_secs(10)),
        binding_cache: binding_cache(&mut reader),
        servers: servers.into_iter().map(|(server, _)| server).collect(),
        client: client(&mut reader, protocol),
        service: service(&mut reader, protocol),
        max_response_headers: reader.number("maxResponseHeaders", 1..=server::MAX_HEADERS).unwrap_or(100),
        max_headers_kb,
        max_initial_line_kb,
        max_err_response_kb,
        access_log,
    };
    Some((router, places))
}

/// Returns the sections of a router's own keys.
pub(super) const fn sections(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::Http => &["router", "router http"],
        Protocol::H2 => &["router", "router h2"],
    }
}

/// Reads a dtab, and the place where each of its entries begins.
fn dtab(node: &Node<'_>, report: &mut Report) -> Option<(Dtab, Vec<Place>)> {
    if let Some(place) = name::folded_comment(node) {
        report.warn_of("folded-comment", (place, node.key()), name::FOLDED_COMMENT.to_owned());
    }
    let (starts, dentries): (Vec<_>, Vec<_>) = report.check(name::dtab_in_file(node))?.into_iter().unzip();
    Some((dentries.into_iter().collect(), node.inside_all(starts).collect()))
}

/// The range of `bindingCache.bytes`: less than 1 MiB holds too few names to be of use.
const MIN_CACHE: u64 = 1 << 20;
const MAX_CACHE: u64 = 1 << 40;

/// Reads `bindingCache`.
fn binding_cache(reader: &mut Reader<'_, '_>) -> BindingCacheConfig {
    let usual = BindingCacheConfig::default();
    let Some(node) = reader.get("bindingCache") else { return usual };
    let mut cache = Reader::new(&node, &["binding cache"], reader.report());
    BindingCacheConfig {
        paths: cache.number("paths", 1..=MAX_INT).unwrap_or(usual.paths),
        clients: cache.number("clients", 1..=MAX_INT).unwrap_or(usual.clients),
        idle_ttl: cache.number("idleTtlSecs", 1..=MAX_INT).map_or(usual.idle_ttl, Duration::from_secs),
        bytes: cache.bytes("bytes", MIN_CACHE..=MAX_CACHE).unwrap_or(usual.bytes),
    }
}
