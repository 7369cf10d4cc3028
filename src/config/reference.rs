//! The reference of the configuration's keys: for editors as a JSON Schema, for readers as tables.
//!
//! Nothing in it is written twice. Keys and support are the rows of the schema. The values that a key takes are told by
//! its reader: it is given a wrong one, and its error says what it expects. Defaults are those of a configuration without
//! the key; where that leaves them to the proxy, `meanings` states them. Meanings are sentences of their own, one for each
//! row that works; a test says when one is missing.

mod json_schema;
mod markdown;
mod meanings;
mod values;

pub use self::json_schema::json_schema;
pub use self::markdown::markdown;

use self::values::ValueShape;
use super::schema::{self, Contents, RowPlace, Section, Support};
use serde_json::Value;
use std::sync::LazyLock;

/// A key, or a kind, with all that is known of it.
#[derive(Clone, PartialEq, Debug)]
struct KeyEntry {
    name: &'static str,
    /// The section whose row it is, which may be included by others.
    owner: &'static str,
    support: Support,
    contents: Contents,
    /// The values that it takes beside a mapping with rows of its own; none where it takes only that, or does not work.
    values: Option<ValueShape>,
    default: Option<Value>,
    is_required: bool,
    /// A sentence without its full stop; empty for a row that does not work.
    meaning: &'static str,
}

/// The keys of one kind of mapping, in routers of one protocol.
struct Mapping {
    section: &'static Section,
    /// Its kind; empty where there are no kinds.
    kind: &'static str,
    /// The protocol of the router around it; empty outside of routers.
    protocol: &'static str,
    keys: Vec<KeyEntry>,
}

/// Every mapping that a file may have, in the order of the schema.
struct Reference {
    mappings: Vec<Mapping>,
    /// The kinds of each section that has some.
    kinds: Vec<(&'static str, KeyEntry)>,
    /// The key paths under which each section stands.
    paths: Vec<(&'static str, String)>,
}

impl Reference {
    /// Returns the reference, for which the readers are asked once.
    fn get() -> &'static Self {
        static REFERENCE: LazyLock<Reference> = LazyLock::new(Reference::new);
        &REFERENCE
    }

    /// Asks the schema and the readers.
    fn new() -> Self {
        let walk = schema::walk();
        let mut reference = Self { mappings: Vec::new(), kinds: Vec::new(), paths: walk.paths };
        for place in &walk.places {
            let Some(section) = schema::find_section(place.section) else { continue };
            let entry = KeyEntry::new(place);
            if place.is_kind {
                if !reference
                    .kinds
                    .iter()
                    .any(|(name, kind)| *name == section.name && kind.name == entry.name)
                {
                    reference.kinds.push((section.name, entry));
                }
                continue;
            }
            let (kind, protocol) = (place.kind, place.protocol);
            let is_it = |mapping: &&mut Mapping| {
                (mapping.section.name, mapping.kind, mapping.protocol) == (section.name, kind, protocol)
            };
            match reference.mappings.iter_mut().find(is_it) {
                Some(mapping) => mapping.keys.push(entry),
                None => reference.mappings.push(Mapping { section, kind, protocol, keys: vec![entry] }),
            }
        }
        reference.add_empty_kinds();
        reference
    }

    /// Adds the mappings of kinds that have no keys but the kind.
    fn add_empty_kinds(&mut self) {
        for (name, kind) in &self.kinds {
            let is_there = |mapping: &Mapping| mapping.section.name == *name && mapping.kind == kind.name;
            let works = kind.support == Support::Works && !self.mappings.iter().any(is_there);
            if let Some(section) = schema::find_section(name).filter(|_| works) {
                let mapping = Mapping { section, kind: kind.name, protocol: "", keys: Vec::new() };
                self.mappings.push(mapping);
            }
        }
    }
}

impl KeyEntry {
    /// Asks the readers about a row.
    fn new(place: &RowPlace) -> Self {
        let row = place.row;
        let owner = owner(place);
        let works = matches!(row.support, Support::Works | Support::Inside);
        let is_asked =
            works && !place.is_kind && matches!(row.contents, Contents::Value | Contents::ValueOrOne(_));
        Self {
            name: row.name,
            owner,
            support: row.support,
            contents: row.contents,
            values: is_asked.then(|| values::values(place)),
            default: if works && !place.is_kind { default(place, owner) } else { None },
            is_required: works && !place.is_kind && values::is_required(place),
            meaning: if works { meanings::meaning(owner, row.name).unwrap_or_default() } else { "" },
        }
    }
}

/// Returns the default of a row.
fn default(place: &RowPlace, owner: &str) -> Option<Value> {
    let stated = || meanings::stated_default(owner, place.row.name);
    values::default(place).or_else(|| serde_json::from_str(stated()?).ok())
}

/// Returns the section whose row stands at a place.
fn owner(place: &RowPlace) -> &'static str {
    fn find(name: &str, key: &str) -> Option<&'static str> {
        let section = schema::find_section(name)?;
        let own = section.keys.iter().any(|row| row.name == key).then_some(section.name);
        own.or_else(|| section.includes.iter().find_map(|name| find(name, key)))
    }
    let name = place.section;
    let (kind, protocol) = (place.kind, place.protocol);
    let names = match place.is_kind {
        true => vec![format!("{name} kind")],
        false => vec![
            name.to_owned(),
            format!("{name} {kind}"),
            format!("{name} {kind} {protocol}"),
            format!("{name} {protocol}"),
        ],
    };
    names.iter().find_map(|name| find(name, place.row.name)).unwrap_or(name)
}

#[cfg(test)]
mod tests;
