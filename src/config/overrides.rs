//! Reads the limits that a listener sets to overrides.

use super::errors::Report;
use super::reader::{MAX_INT, Reader};
use crate::context::{AddressRules, OverrideLimits, OverrideRules};
use crate::name::ParseError;
use std::str::FromStr;

/// The most bytes that the overrides of a request may be allowed to have: more than fit in a head by default.
const MAX_BYTES: u64 = 1 << 20;

/// Reads `overrides` of a server.
pub(super) fn limits(server: &mut Reader<'_, '_>) -> OverrideLimits {
    let Some(node) = server.get("overrides") else { return OverrideLimits::default() };
    let mut reader = Reader::new(&node, &["overrides"], server.report());
    let usual = OverrideRules::default();
    OverrideLimits::new(OverrideRules {
        prefixes: names(&mut reader, "prefixes", "prefix"),
        destinations: names(&mut reader, "destinations", "pattern of bound ids"),
        addresses: addresses(&mut reader),
        max_entries: reader.number("maxEntries", 0..=MAX_INT).unwrap_or(usual.max_entries),
        max_bytes: reader.number("maxBytes", 0..=MAX_BYTES).unwrap_or(usual.max_bytes),
    })
}

/// Reads `addresses`.
fn addresses(overrides: &mut Reader<'_, '_>) -> AddressRules {
    let usual = AddressRules::default();
    let Some(node) = overrides.get("addresses") else { return usual };
    let mut reader = Reader::new(&node, &["override addresses"], overrides.report());
    AddressRules { deny: reader.ranges("deny").unwrap_or(usual.deny) }
}

/// Reads a list of texts that the parser of names reads.
pub(super) fn names<T: FromStr<Err = ParseError>>(
    reader: &mut Reader<'_, '_>,
    key: &str,
    what: &'static str,
) -> Option<Vec<T>> {
    let list = reader.get(key)?;
    let nodes = reader.report().check(list.list())?;
    Some(reader.report().each(&nodes, |node, report: &mut Report| {
        let text = report.check(node.text())?;
        report.check(text.parse().map_err(|error: ParseError| error.in_file(what, node)))
    }))
}
