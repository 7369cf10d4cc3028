//! Reads identifiers, interpreters and namers.

pub(super) mod kubernetes;
mod transformers;

use super::errors::Report;
use super::reader::{MAX_INT, Reader, is_field_name};
use super::resolved::{InterpreterConfig, Protocol};
use super::schema;
use crate::name::Path;
use crate::source::node::{Error, Node, Place};
use crate::{identify, namer, store};
use std::str::FromStr;

/// The values of `header` in an identifier, in words.
const HEADER: &str = "the name of a header, or `:authority`, `:path`, `:method` or `:scheme`";

/// Reads `identifier`: one identifier, or a list of them.
pub(super) fn identifiers(router: &mut Reader<'_, '_>, protocol: Protocol) -> Vec<identify::Config> {
    let Some(node) = router.get("identifier") else {
        return vec![identify::Config::HeaderToken(default_token(protocol))];
    };
    if !node.is_list() {
        return identifier(&node, protocol, router.report()).into_iter().collect();
    }
    let nodes = node.list().unwrap_or_default();
    if nodes.is_empty() {
        router.error(Some(&node), "this list is empty: no request would get a name");
    }
    router.report().each(&nodes, |node, report| identifier(node, protocol, report))
}

/// Returns the identifier of a router without any: the host, as the protocol calls it.
fn default_token(protocol: Protocol) -> identify::HeaderToken {
    match protocol {
        Protocol::Http => identify::HeaderToken::default(),
        Protocol::H2 => identify::HeaderToken { header: ":authority".to_owned() },
    }
}

/// Reads one identifier.
fn identifier(node: &Node<'_>, protocol: Protocol, report: &mut Report) -> Option<identify::Config> {
    let mut reader = Reader::new(node, &["identifier"], report);
    let kind = reader.get("kind")?.text().ok()?;
    let config = match kind {
        "io.l5d.header.token" => {
            let token = reader.deserialize("identifier io.l5d.header.token")?;
            let is_set = node.get("header").is_some();
            identify::Config::HeaderToken(if is_set { token } else { default_token(protocol) })
        }
        "io.l5d.header.path" => {
            identify::Config::HeaderPath(reader.deserialize("identifier io.l5d.header.path")?)
        }
        "io.l5d.header" => identify::Config::Header(reader.deserialize("identifier io.l5d.header")?),
        "io.l5d.path" => identify::Config::Path(reader.deserialize("identifier io.l5d.path")?),
        "io.l5d.methodAndHost" => {
            identify::Config::MethodAndHost(reader.deserialize("identifier io.l5d.methodAndHost")?)
        }
        "io.l5d.static" => {
            let mut reader = Reader::new(node, &["identifier io.l5d.static"], reader.report());
            reader.require("path");
            identify::Config::Static(identify::StaticPath { path: reader.path("path")? })
        }
        "io.l5d.ingress" => identify::Config::Ingress(kubernetes::ingress(&mut reader)),
        _ => return None,
    };
    let error = identifier_error(&config, node);
    report.errors(error);
    Some(config)
}

/// Returns the error in the values of an identifier, if there is one.
fn identifier_error(config: &identify::Config, node: &Node<'_>) -> Option<Error> {
    let at = |key: &str| node.get(key).unwrap_or_else(|| node.clone());
    let is_header = |name: &str| is_field_name(name) || identify::is_pseudo_header(name);
    let header_error = |name: &str| (!is_header(name)).then(|| at("header").unexpected(HEADER));
    let segments_error = |count: usize| (count == 0).then(|| at("segments").unexpected("a number from 1"));
    match config {
        identify::Config::HeaderToken(identify::HeaderToken { header })
        | identify::Config::Header(identify::Header { header }) => header_error(header),
        identify::Config::HeaderPath(identify::HeaderPath { header, segments }) => {
            header_error(header).or_else(|| segments_error(segments.unwrap_or(1)))
        }
        identify::Config::Path(identify::PathSegments { segments, .. }) => segments_error(*segments),
        identify::Config::Static(_) | identify::Config::MethodAndHost(_) | identify::Config::Ingress(_) => {
            None
        }
    }
}

/// Reads `interpreter`: the default one has no store.
pub(super) fn interpreter(router: &mut Reader<'_, '_>) -> InterpreterConfig {
    let Some(node) = router.get("interpreter") else { return InterpreterConfig::default() };
    let mut reader = Reader::new(&node, &["interpreter"], router.report());
    let store = match reader.get("kind").and_then(|kind| kind.text().ok()) {
        None | Some("default") => None,
        Some("io.l5d.fs") => reader.deserialize("interpreter io.l5d.fs").map(store::Config::Fs),
        Some(kind @ ("io.l5d.k8s.configMap" | "io.l5d.k8s.dtab")) => {
            kubernetes::store(&mut reader, kind).map(store::Config::Kubernetes)
        }
        Some(_) => return InterpreterConfig::default(),
    };
    InterpreterConfig { store, transformers: transformers::transformers(&mut reader) }
}

/// Reads `namers`.
pub(super) fn namers(
    root: &Node<'_>,
    is_directory: fn(&std::path::Path) -> bool,
    report: &mut Report,
) -> (Vec<namer::Config>, Vec<Place>) {
    let list = Reader::new(root, &[schema::TOP], report).get("namers");
    let nodes = list.map_or_else(Vec::new, |list| list.list().unwrap_or_default());
    let read =
        |node: &Node<'_>, report: &mut Report| Some((namer(node, is_directory, report)?, node.place()));
    report.each(&nodes, read).into_iter().unzip()
}

/// Reads one namer.
fn namer(
    node: &Node<'_>,
    is_directory: fn(&std::path::Path) -> bool,
    report: &mut Report,
) -> Option<namer::Config> {
    let mut reader = Reader::new(node, &["namer"], report);
    let kind_name = reader.get("kind")?.text().ok()?;
    let (kind, prefix) = match kind_name {
        "io.l5d.fs" => {
            let prefix = prefix(&mut reader).or_else(|| Some(Path::from_elems([kind_name])));
            let fs: Option<namer::Fs> = reader.deserialize("namer io.l5d.fs");
            let missing = fs.as_ref().filter(|fs| !is_directory(&fs.root_dir));
            let missing = missing.and_then(|_| node.get("rootDir"));
            report.errors(missing.map(|node| node.error("there is no such directory")));
            (fs.map(namer::Kind::Fs), prefix)
        }
        "io.l5d.k8s" | "io.l5d.k8s.ns" | "io.l5d.k8s.external" => {
            let prefix = prefix(&mut reader).or_else(|| Some(Path::from_elems([kind_name])));
            let kubernetes = kubernetes::kubernetes(&mut reader, kind_name);
            (Some(namer::Kind::Kubernetes(kubernetes)), prefix)
        }
        "io.l5d.dnssrv" => {
            let prefix = prefix(&mut reader).or_else(|| Some(Path::from_elems([kind_name])));
            let srv: Option<namer::DnsSrv> = reader.deserialize("namer io.l5d.dnssrv");
            let errors = srv.as_ref().map(|srv| srv_errors(srv, node)).unwrap_or_default();
            errors.into_iter().for_each(|error| report.error(error));
            (srv.map(namer::Kind::DnsSrv), prefix)
        }
        "io.l5d.rewrite" => {
            let prefix = prefix(&mut reader);
            reader.require("prefix");
            let rewrite: Option<namer::Rewrite> = reader.deserialize("namer io.l5d.rewrite");
            let error = rewrite.as_ref().and_then(|rewrite| rewrite_error(rewrite, node));
            report.errors(error);
            (rewrite.map(namer::Kind::Rewrite), prefix)
        }
        _ => return None,
    };
    let transformers = transformers::transformers(&mut Reader::new(node, &["namer"], report));
    Some(namer::Config { prefix: prefix?, kind: kind?, transformers })
}

/// Returns the errors in the values of `io.l5d.dnssrv`.
fn srv_errors(srv: &namer::DnsSrv, node: &Node<'_>) -> Vec<Error> {
    let interval = node.get("refreshIntervalSeconds").and_then(|node| node.number(1..=MAX_INT).err());
    let host = srv.wrong_dns_host().and_then(|(at, expected)| {
        let hosts = node.get("dnsHosts")?.list().ok()?;
        Some(hosts.get(at)?.unexpected(expected))
    });
    let domain = srv.wrong_domain().and_then(|expected| Some(node.get("domain")?.unexpected(expected)));
    [interval, host, domain].into_iter().flatten().collect()
}

/// Returns the error in the pattern or the template of `io.l5d.rewrite`, if there is one.
fn rewrite_error(rewrite: &namer::Rewrite, node: &Node<'_>) -> Option<Error> {
    let matcher = namer::PathMatcher::from_str(&rewrite.pattern).map_err(|error| ("pattern", error));
    let (key, error) = matcher
        .and_then(|matcher| {
            namer::Template::compile(&rewrite.name, &matcher).map_err(|error| ("name", error))
        })
        .err()?;
    // Below the first line of a path's error stands a caret of its own.
    let sentence = error.to_string().lines().next().unwrap_or_default().to_owned();
    Some(node.get(key)?.error(sentence))
}

/// Reads `prefix`, the part of names behind `/#`.
fn prefix(reader: &mut Reader<'_, '_>) -> Option<Path> {
    let prefix = reader.path("prefix")?;
    let node = reader.get("prefix")?;
    let message = match prefix.first() {
        None => "an empty prefix: the namer could not be told from others",
        Some(b"#") => "`/#` stands before every prefix by itself: leave it out here",
        Some(_) => return Some(prefix),
    };
    reader.error(Some(&node), message);
    None
}
