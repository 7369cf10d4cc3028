//! The reference as a JSON Schema, by which editors complete and check a file.
//!
//! It knows less than the start: names, dtabs and what keys say of each other are not checked.

use super::values::ValueShape;
use super::{KeyEntry, Mapping, Reference};
use crate::config::schema::{self, Contents, Section, Support};
use serde_json::{Map, Value, json};

/// Returns the JSON Schema (2020-12) of the configuration file.
pub fn json_schema() -> Value {
    let reference = Reference::get();
    let mut definitions = Map::new();
    for mapping in reference.mappings.iter().filter(|mapping| !mapping.keys.is_empty()) {
        let (section, protocol) = (mapping.section, mapping.protocol);
        if section.kind_key.is_some() {
            let name = definition(section.name, outer_protocol(section, protocol), "");
            definitions
                .entry(name)
                .or_insert_with(|| kinds(reference, section, outer_protocol(section, protocol)));
        }
        let name = definition(section.name, outer_protocol(section, protocol), mapping.kind);
        definitions.insert(name, keys(mapping));
    }
    add_kinds_without_keys(reference, &mut definitions);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The configuration of Signpost",
        "$ref": reference_to(&definition(schema::TOP, "", "")),
        "$defs": definitions,
    })
}

/// Adds the sections none of whose kinds has keys. They stand outside of routers.
fn add_kinds_without_keys(reference: &Reference, definitions: &mut Map<String, Value>) {
    for (name, _) in &reference.kinds {
        let has_some =
            reference.kinds.iter().any(|(other, kind)| other == name && has_keys(reference, name, kind.name));
        if let Some(section) = schema::find_section(name).filter(|_| !has_some) {
            definitions.insert(definition(name, "", ""), kinds(reference, section, ""));
        }
    }
}

/// Returns the protocol of the router around a mapping: none of a router itself, whose kind it is.
fn outer_protocol(section: &Section, protocol: &'static str) -> &'static str {
    if section.kind_key.is_some_and(|key| key.name == "protocol") { "" } else { protocol }
}

/// Returns the name of a definition: `h2-load-balancer.p2c`.
fn definition(section: &str, protocol: &str, kind: &str) -> String {
    let dash = if protocol.is_empty() { "" } else { "-" };
    let dot = if kind.is_empty() { "" } else { "." };
    format!("{protocol}{dash}{}{dot}{}", section.replace(' ', "-"), kind.replace(':', "-"))
}

/// Returns the reference to a definition.
fn reference_to(definition: &str) -> String {
    format!("#/$defs/{definition}")
}

/// Returns the definition of a section with kinds, each of which has its own keys.
fn kinds(reference: &Reference, section: &Section, protocol: &str) -> Value {
    let Some(key) = section.kind_key else { return json!({}) };
    let mut words = Vec::new();
    let mut cases = Vec::new();
    for (_, kind) in reference.kinds.iter().filter(|(name, _)| *name == section.name) {
        if !matches!(kind.support, Support::Works | Support::Inside | Support::NoEffect(_)) {
            continue;
        }
        words.push(json!({ "const": kind.name, "description": description(kind) }));
        let then = match has_keys(reference, section.name, kind.name) {
            true => json!({ "$ref": reference_to(&definition(section.name, protocol, kind.name)) }),
            false if kind.support == Support::Works => {
                json!({ "properties": { key.name: {} }, "additionalProperties": false })
            }
            false => json!({}),
        };
        let mut case = json!({ "if": { "properties": { key.name: { "const": kind.name } } }, "then": then });
        // A mapping without a kind is of the default kind alone.
        if key.default != Some(kind.name) {
            case["if"]["required"] = json!([key.name]);
        }
        cases.push(case);
    }
    let mut definition = json!({
        "type": "object",
        "properties": { key.name: { "oneOf": words } },
        "allOf": cases,
    });
    match key.default {
        Some(kind) => definition["properties"][key.name]["default"] = json!(kind),
        None => definition["required"] = json!([key.name]),
    }
    definition
}

/// Returns whether a kind has a definition of its own.
fn has_keys(reference: &Reference, section: &str, kind: &str) -> bool {
    let is_it = |mapping: &Mapping| {
        mapping.section.name == section && mapping.kind == kind && !mapping.keys.is_empty()
    };
    reference.mappings.iter().any(is_it)
}

/// Returns the definition of the keys of one kind of mapping.
fn keys(mapping: &Mapping) -> Value {
    let mut properties = Map::new();
    if let Some(key) = mapping.section.kind_key {
        properties.insert(key.name.to_owned(), json!({}));
    }
    for entry in &mapping.keys {
        properties.insert(entry.name.to_owned(), property(entry, mapping.protocol));
    }
    let required: Vec<_> =
        mapping.keys.iter().filter(|entry| entry.is_required).map(|entry| entry.name).collect();
    let mut keys = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        keys["required"] = json!(required);
    }
    keys
}

/// Returns the schema of a key's value.
fn property(entry: &KeyEntry, protocol: &str) -> Value {
    let section = |name: &str| {
        let protocol = if name == "router" { "" } else { protocol };
        json!({ "$ref": reference_to(&definition(name, protocol, "")) })
    };
    let mut property = match (entry.support, entry.contents) {
        (Support::Works | Support::Inside, contents) => match contents {
            Contents::Value => entry.values.as_ref().map_or(json!({}), values),
            Contents::One(name) => json!({ "allOf": [section(name)] }),
            Contents::List(name) => json!({ "type": "array", "items": section(name) }),
            Contents::OneOrList(name) => {
                json!({ "anyOf": [section(name), { "type": "array", "items": section(name) }] })
            }
            Contents::ValueOrOne(name) => {
                json!({ "if": { "type": "object" }, "then": section(name) })
            }
        },
        (Support::NoEffect(_), _) => json!({ "deprecated": true }),
        // No value is right.
        _ => json!({ "not": {}, "deprecated": true }),
    };
    property["description"] = json!(description(entry));
    if let Some(default) = &entry.default {
        // -1, where a reader of a number takes it as well, for "all".
        let least = property.get("minimum").and_then(Value::as_f64);
        if default.as_f64().zip(least).is_some_and(|(default, least)| default < least) {
            property["minimum"] = default.clone();
        }
        property["default"] = default.clone();
    }
    property
}

/// Returns the meaning and the support of a row, in words.
fn description(entry: &KeyEntry) -> String {
    match entry.support {
        Support::Works | Support::Inside => format!("{}.", entry.meaning),
        Support::NoEffect(reason) => format!("No effect: {reason}."),
        Support::Refused(instead) => format!("Refused: {instead}."),
        Support::Foreign(instead) => format!("Unknown in a router of this protocol: {instead}."),
        Support::NotYet(feature) => format!("Not built yet; it waits for: {feature}."),
    }
}

/// Returns the schema of values that have no rows of their own.
fn values(shape: &ValueShape) -> Value {
    match shape {
        ValueShape::Scalar(words) => scalar(words),
        ValueShape::List(words) => json!({ "type": "array", "items": scalar(words) }),
        ValueShape::Mapping(words) => json!({ "type": "object", "additionalProperties": scalar(words) }),
    }
}

/// Returns the schema of a value that is told in a reader's words.
fn scalar(words: &str) -> Value {
    let (plain, is_decimal) = match words.split_once(", such as ") {
        Some((plain, _)) => (plain, true),
        None => (words, false),
    };
    if let Some((least, most)) =
        plain.strip_prefix("a number from ").and_then(|range| range.split_once(" to "))
    {
        let number = |text: &str| serde_json::from_str::<Value>(text).ok();
        let kind = if is_decimal { "number" } else { "integer" };
        return json!({ "type": kind, "minimum": number(least), "maximum": number(most) });
    }
    if words == "`true` or `false`" {
        return json!({ "type": "boolean" });
    }
    if words.starts_with("a whole number") || words.starts_with("a number from 1") {
        return json!({ "type": "integer", "minimum": 0 });
    }
    if words.starts_with("a mapping") {
        return json!({ "type": "object" });
    }
    if words.is_empty() || words.contains('{') {
        return json!({});
    }
    match choices(words) {
        Some(choices) => json!({ "enum": choices }),
        // A number or a flag is a text as well, as it is written.
        None => json!({ "type": ["string", "number", "boolean"] }),
    }
}

/// Returns the words of a choice: "`a`, `b` or `c`".
fn choices(words: &str) -> Option<Vec<&str>> {
    let words = words.split(" or ").flat_map(|part| part.split(", "));
    words.map(|word| word.strip_prefix('`')?.strip_suffix('`').filter(|word| !word.contains('`'))).collect()
}
