//! Reads `sandboxes`: the names by which requests carry a key, the stores of sandboxes, and their limits.

use super::errors::Report;
use super::naming::kubernetes::{client, is_label};
use super::overrides;
use super::reader::{FIELD_NAME, Reader, is_field_name};
use super::resolved::{Config, Router, SandboxPlaces, SandboxesConfig};
use super::schema;
use crate::context::Tenancy;
use crate::message::KnownField;
use crate::namer;
use crate::sandbox::{
    self, MAX_NAMESPACES, NamespaceRoot, ReadItems, SandboxLimits, SandboxRules, UnknownKey, parse_ttl,
};
use crate::source::node::{Error, Node};
use std::time::Duration;

/// The section of `sandboxes`.
const SECTIONS: &[&str] = &["sandboxes"];

impl Config {
    /// Returns the limits on sandboxes, under these namers.
    pub fn sandbox_rules(&self) -> SandboxRules {
        self.sandboxes.objects.rules(self.namespace_roots())
    }

    /// Returns the places of namespaces of Kubernetes among the bound ids of the namers.
    pub fn namespace_roots(&self) -> Vec<NamespaceRoot> {
        let roots = self.namers.iter().filter_map(namer::Config::namespaces);
        roots.map(|(prefix, namespace)| NamespaceRoot { prefix, namespace }).collect()
    }
}

/// Reads `sandboxes`: a mapping, or a list of items alone.
pub(super) fn sandboxes(
    root: &Node<'_>,
    routers: &[Router],
    report: &mut Report,
) -> (SandboxesConfig, SandboxPlaces) {
    let mut config = SandboxesConfig::default();
    let mut places = SandboxPlaces::default();
    let Some(node) = Reader::new(root, &[schema::TOP], report).get("sandboxes") else {
        return (config, places);
    };
    places.whole = node.place();
    if node.is_list() {
        items(&node, &mut config.objects, &mut places, report);
        return (config, places);
    }
    if !node.is_mapping() {
        report.error(node.unexpected("a mapping (`key: value`), or a list of sandboxes"));
        return (config, places);
    }
    let mut reader = Reader::new(&node, SECTIONS, report);
    config.tenancy = tenancy(&mut reader);
    let objects = &mut config.objects;
    objects.namespaces = namespaces(&mut reader);
    objects.client = client(&mut reader, "host", "port");
    objects.router = router(&mut reader, routers);
    objects.overrides = limits(&mut reader);
    objects.max_ttl = max_ttl(&mut reader).unwrap_or(objects.max_ttl);
    let words = [("baseline", UnknownKey::Baseline), ("refuse", UnknownKey::Refuse)];
    objects.unknown_key = reader.one_of("unknownKey", &words).unwrap_or_default();
    objects.file = reader.non_empty("file").map(Into::into);
    places.file = super::place_or(reader.get("file").as_ref(), places.whole);
    places.namespaces = super::place_or(reader.get("namespaces").as_ref(), places.whole);
    if let Some(list) = reader.get("items") {
        items(&list, objects, &mut places, reader.report());
    }
    (config, places)
}

/// Reads the names by which requests carry a key.
fn tenancy(reader: &mut Reader<'_, '_>) -> Tenancy {
    let mut tenancy = Tenancy::default();
    if let Some(node) = reader.get("keys") {
        tenancy.keys = names(&node, tenancy_key, reader.report());
        if node.list().is_ok_and(|list| list.is_empty()) {
            reader.error(
                Some(&node),
                "this list is empty: leave it out for the usual keys, or name one of your own",
            );
        }
    }
    if let Some(node) = reader.get("headers") {
        tenancy.headers = names(&node, header, reader.report());
    }
    tenancy.query_parameter = reader.get("queryParameter").and_then(|node| {
        let name = query_parameter(&node);
        reader.report().check(name)
    });
    tenancy
}

/// Reads items, under the limits that were read before.
fn items(list: &Node<'_>, config: &mut sandbox::Config, places: &mut SandboxPlaces, report: &mut Report) {
    let mut read = ReadItems::default();
    read.read(list, &config.rules(Vec::new()));
    let (items, item_places) = read.items.into_iter().unzip();
    (config.items, places.items) = (items, item_places);
    read.errors.into_iter().for_each(|error| report.error(error));
    for (place, key, message) in read.warnings {
        report.warn_of("folded-comment", (place, &key), message.to_owned());
    }
}

/// Reads `namespaces`.
fn namespaces(reader: &mut Reader<'_, '_>) -> Vec<String> {
    let Some(list) = reader.get("namespaces") else { return Vec::new() };
    let nodes = reader.report().check(list.list()).unwrap_or_default();
    if nodes.len() > MAX_NAMESPACES {
        let message = format!("this list has {} namespaces: {MAX_NAMESPACES} are the most", nodes.len());
        reader.error(Some(&list), message);
        return Vec::new();
    }
    let mut names: Vec<String> = Vec::new();
    for node in &nodes {
        let Some(text) = reader.report().check(node.text()) else { continue };
        if !is_label(text) {
            reader
                .report()
                .error(node.unexpected("the name of a namespace: lower-case letters, digits and `-`"));
        } else if names.iter().any(|other| other == text) {
            reader.error(Some(node), format!("`{text}` stands in this list already"));
        } else {
            names.push(text.to_owned());
        }
    }
    names
}

/// Reads `router`: the label of a router of the file.
fn router(reader: &mut Reader<'_, '_>, routers: &[Router]) -> Option<String> {
    let label = reader.text("router")?;
    // Without a router that could be read, another error says so.
    if !routers.is_empty() && !routers.iter().any(|router| router.label == label) {
        let node = reader.get("router")?;
        let labels: Vec<_> = routers.iter().map(|router| format!("`{}`", router.label)).collect();
        reader
            .report()
            .error(node.unexpected(&format!("the label of a router of this file ({})", labels.join(", "))));
        return None;
    }
    Some(label.to_owned())
}

/// Reads `overrides`.
fn limits(reader: &mut Reader<'_, '_>) -> SandboxLimits {
    let Some(node) = reader.get("overrides") else { return SandboxLimits::default() };
    let mut reader = Reader::new(&node, &["sandbox overrides"], reader.report());
    SandboxLimits {
        prefixes: overrides::names(&mut reader, "prefixes", "prefix"),
        destinations: overrides::names(&mut reader, "destinations", "pattern of bound ids"),
    }
}

/// Reads `maxTtl`.
fn max_ttl(reader: &mut Reader<'_, '_>) -> Option<Duration> {
    let node = reader.get("maxTtl")?;
    let text = reader.text("maxTtl")?;
    let read = parse_ttl(text).map_err(|_| node.unexpected("a time in words, such as `90m`, `24h` or `7d`"));
    reader.report().check(read)
}

/// Reads a list of names, each by `read`.
fn names(list: &Node<'_>, read: fn(&Node<'_>) -> Result<String, Error>, report: &mut Report) -> Vec<String> {
    const MOST: usize = Tenancy::MAX_NAMES;
    let nodes = report.check(list.list()).unwrap_or_default();
    if nodes.len() > MOST {
        report.error(list.error(format!("this list has {} names: {MOST} are the most", nodes.len())));
        return Vec::new();
    }
    let mut names: Vec<String> = Vec::new();
    for node in &nodes {
        let Some(name) = report.check(read(node)) else { continue };
        if names.iter().any(|other| other.eq_ignore_ascii_case(&name)) {
            report
                .error(node.error(format!("`{name}` stands in this list already; case makes no difference")));
        } else {
            names.push(name);
        }
    }
    names
}

/// Reads the key of a member of baggage. `%` and `+` are left out because readers differ on what they mean.
fn tenancy_key(node: &Node<'_>) -> Result<String, Error> {
    let text = node.text()?;
    if !is_field_name(text) || text.contains(['%', '+']) {
        return Err(node.unexpected("the key of a member of baggage: letters, digits, `-`, `_` and `.`"));
    }
    if text.eq_ignore_ascii_case("dtab") {
        return Err(node.error("the member `dtab` holds a dtab, and no tenant: leave it out"));
    }
    Ok(text.to_owned())
}

/// Reads the name of a field that the router does not read or write otherwise.
fn header(node: &Node<'_>) -> Result<String, Error> {
    let text = node.text()?;
    if !is_field_name(text) {
        return Err(node.unexpected(FIELD_NAME));
    }
    if KnownField::of(text.as_bytes()) != KnownField::Other {
        return Err(node.error(format!("the router has a use of its own for `{text}`: name another header")));
    }
    Ok(text.to_owned())
}

/// Reads the name of a query parameter, of characters that need no percent-encoding (RFC 3986, 2.3).
fn query_parameter(node: &Node<'_>) -> Result<String, Error> {
    let text = node.text()?;
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_unreserved) {
        return Err(node.unexpected("the name of a query parameter: letters, digits and `-._~`"));
    }
    Ok(text.to_owned())
}
