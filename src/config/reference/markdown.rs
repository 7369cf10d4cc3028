//! The reference as tables for readers.

use super::values::ValueShape;
use super::{KeyEntry, Mapping, Reference};
use crate::config::schema::{self, Contents, Support};
use serde_json::Value;
use std::fmt::Write as _;

const HEAD: &str = "# Keys of the configuration

<!-- Written by `signpost schema --markdown > docs/reference/keys.md`: do not edit it. -->

Every key that exists, with its default, its meaning and its support. `signpost schema` prints the same as a JSON Schema, for editors.

* A key *works*; it has *no effect*, and the start and `check` warn; it is *refused*, and the start fails and says what to do instead; or it is *not
  yet* built, and the start fails and names the feature.
* Keys that Linkerd 1 had in the other protocol alone are left out: they are an error that names what takes their place.
* Keys that end in `Ms` are in milliseconds. Where no default stands, nothing is set, or there is no limit.

";

/// The end of "a number from 1 to 2147483647": the greatest number that Linkerd 1 took says nothing.
const NO_LIMIT: &str = " to 2147483647";

/// One row of a table: a key in the protocols that have it alike.
struct TableRow {
    entry: KeyEntry,
    /// The default in each kind or protocol.
    defaults: Vec<(&'static str, Option<Value>)>,
    /// The protocols that have it, where others have not.
    only: Vec<&'static str>,
}

impl TableRow {
    /// Returns whether two rows say the same, but for defaults.
    fn is_same(&self, other: &Self) -> bool {
        is_same_entry(&self.entry, &other.entry) && self.only == other.only
    }
}

/// Returns whether two entries say the same, but for defaults.
fn is_same_entry(one: &KeyEntry, other: &KeyEntry) -> bool {
    let without = |entry: &KeyEntry| KeyEntry { default: None, ..entry.clone() };
    without(one) == without(other)
}

/// Returns the tables of all keys, section by section.
pub fn markdown() -> String {
    let reference = Reference::get();
    let mut text = HEAD.to_owned();
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in &reference.paths {
        if !names.contains(name) {
            names.push(name);
        }
    }
    for name in names {
        section(&mut text, reference, name);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Writes a section: where it stands, its kinds, the keys that all kinds have, and those of each kind.
fn section(text: &mut String, reference: &Reference, name: &'static str) {
    _ = writeln!(text, "## {name}\n");
    let places: Vec<_> = reference.paths.iter().filter(|(section, _)| *section == name).collect();
    let places: Vec<_> = places.iter().map(|(_, path)| format!("`{path}`")).collect();
    match name == schema::TOP {
        true => text.push_str("The whole file.\n\n"),
        false => _ = writeln!(text, "Stands at {}.\n", places.join(", ")),
    }
    kinds(text, reference, name);
    let mut by_kind: Vec<(&'static str, Vec<TableRow>)> = Vec::new();
    for mapping in reference.mappings.iter().filter(|mapping| mapping.section.name == name) {
        if !by_kind.iter().any(|(kind, _)| *kind == mapping.kind) {
            by_kind.push((mapping.kind, rows(reference, mapping)));
        }
    }
    let common = if by_kind.len() > 1 { take_common(&mut by_kind) } else { Vec::new() };
    if !common.is_empty() {
        table(text, &common);
    }
    for (kind, rows) in by_kind.iter().filter(|(_, rows)| !rows.is_empty()) {
        if !kind.is_empty() {
            _ = writeln!(text, "### {name} `{kind}`\n");
        }
        table(text, rows);
    }
    if let Some(other) = included_kind(reference, name) {
        _ = writeln!(text, "And the keys of [{other}](#{}).\n", anchor(other));
    }
}

/// Writes the kinds of a section.
fn kinds(text: &mut String, reference: &Reference, name: &str) {
    let Some(key) = schema::find_section(name).and_then(|section| section.kind_key) else { return };
    _ = writeln!(text, "| `{}` | meaning | support |\n|---|---|---|", key.name);
    for (_, kind) in reference.kinds.iter().filter(|(section, _)| *section == name) {
        let usual = if key.default == Some(kind.name) { " (default)" } else { "" };
        _ = writeln!(text, "| `{}`{usual} | {} | {} |", kind.name, cell(kind.meaning), support(kind.support));
    }
    text.push('\n');
}

/// Returns the rows of one kind of mapping, over all protocols.
fn rows(reference: &Reference, of: &Mapping) -> Vec<TableRow> {
    let alike = |mapping: &&Mapping| mapping.section.name == of.section.name && mapping.kind == of.kind;
    let mappings: Vec<&Mapping> = reference.mappings.iter().filter(alike).collect();
    let protocols: Vec<_> = mappings.iter().map(|mapping| mapping.protocol).collect();
    let mut rows: Vec<TableRow> = Vec::new();
    for mapping in &mappings {
        for entry in mapping.keys.iter().filter(|entry| is_listed(reference, of, entry)) {
            let default = (mapping.protocol, entry.default.clone());
            match rows.iter_mut().find(|row| is_same_entry(&row.entry, entry)) {
                Some(row) => {
                    row.defaults.push(default);
                    row.only.push(mapping.protocol);
                }
                None => {
                    rows.push(TableRow {
                        entry: entry.clone(),
                        defaults: vec![default],
                        only: vec![mapping.protocol],
                    });
                }
            }
        }
    }
    rows.iter_mut().filter(|row| row.only == protocols).for_each(|row| row.only.clear());
    rows
}

/// Returns whether a key has a row: one that is another section's is named as a whole.
fn is_listed(reference: &Reference, mapping: &Mapping, entry: &KeyEntry) -> bool {
    let other = included_kind(reference, mapping.section.name);
    let is_others = other.is_some_and(|other| {
        let keys = reference.mappings.iter().filter(|mapping| mapping.section.name == other);
        keys.flat_map(|mapping| &mapping.keys).any(|key| key.name == entry.name)
    });
    !is_others && !matches!(entry.support, Support::Foreign(_))
}

/// Returns the section of which a section includes a kind, such as `client` of `client of a prefix`.
fn included_kind(reference: &Reference, name: &str) -> Option<&'static str> {
    let includes = schema::find_section(name)?.includes;
    let is_included = |(section, kind): &&(&'static str, KeyEntry)| {
        includes.contains(&format!("{section} {}", kind.name).as_str())
    };
    reference.kinds.iter().find(is_included).map(|(section, _)| *section)
}

/// Takes out the rows that all kinds have alike.
fn take_common(by_kind: &mut [(&'static str, Vec<TableRow>)]) -> Vec<TableRow> {
    let Some(((_, first), others)) = by_kind.split_first() else { return Vec::new() };
    let is_common =
        |row: &TableRow| others.iter().all(|(_, rows)| rows.iter().any(|other| other.is_same(row)));
    let names: Vec<_> = first.iter().filter(|row| is_common(row)).map(|row| row.entry.name).collect();
    let mut common: Vec<TableRow> = Vec::new();
    for (kind, rows) in by_kind {
        for mut row in rows.extract_if(.., |row| names.contains(&row.entry.name)) {
            row.defaults.iter_mut().for_each(|(label, _)| *label = kind);
            match common.iter_mut().find(|known| known.entry.name == row.entry.name) {
                Some(known) => known.defaults.append(&mut row.defaults),
                None => common.push(row),
            }
        }
    }
    common
}

/// Writes a table of keys.
fn table(text: &mut String, rows: &[TableRow]) {
    text.push_str("| key | value | default | meaning | support |\n|---|---|---|---|---|\n");
    for row in rows {
        let only = match row.only.is_empty() {
            true => String::new(),
            false => format!("`{}` alone: ", row.only.join("`, `")),
        };
        let entry = &row.entry;
        let meaning = format!("{only}{}", cell(entry.meaning));
        let meaning = meaning.trim_end_matches(": ");
        _ = writeln!(
            text,
            "| `{}` | {} | {} | {meaning} | {} |",
            entry.name,
            value(entry),
            default(row),
            support(entry.support)
        );
    }
    text.push('\n');
}

/// Returns the values that a key takes, in words.
fn value(entry: &KeyEntry) -> String {
    if !matches!(entry.support, Support::Works | Support::Inside) {
        return String::new();
    }
    let link = |name: &str| format!("[{name}](#{})", anchor(name));
    let shown = |words: &str| cell(&words.replace(NO_LIMIT, ""));
    let of = |words: &str| if words.is_empty() { String::new() } else { format!(", each {}", shown(words)) };
    let values = match &entry.values {
        None => String::new(),
        Some(ValueShape::Scalar(words)) => shown(words),
        Some(ValueShape::List(words)) => format!("a list{}", of(words)),
        Some(ValueShape::Mapping(words)) => format!("a mapping{}", of(words)),
    };
    match entry.contents {
        Contents::Value => values,
        Contents::One(name) => link(name),
        Contents::List(name) => format!("a list, each {}", link(name)),
        Contents::OneOrList(name) => format!("{}, or a list of such", link(name)),
        Contents::ValueOrOne(name) => format!("{values}: {}", link(name)),
    }
}

/// Returns the default of a key, in each kind or protocol where they differ.
fn default(row: &TableRow) -> String {
    let shown =
        |value: &Option<Value>| value.as_ref().map(|value| format!("`{}`", plain(value))).unwrap_or_default();
    if row.entry.is_required {
        return "required".to_owned();
    }
    let Some(((_, first), others)) = row.defaults.split_first() else { return String::new() };
    if others.iter().all(|(_, other)| other == first) {
        return cell(&shown(first));
    }
    let set = row.defaults.iter().filter(|(_, value)| value.is_some());
    let each: Vec<_> = set.map(|(label, value)| format!("{} with `{label}`", shown(value))).collect();
    cell(&each.join(", "))
}

/// Returns a value as a file would have it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(plain).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// Returns the support of a row, in words.
fn support(support: Support) -> String {
    match support {
        Support::Works => "works".to_owned(),
        Support::Inside => "its keys".to_owned(),
        Support::NoEffect(reason) => format!("no effect: {}", cell(reason)),
        Support::Refused(instead) | Support::Foreign(instead) => format!("refused: {}", cell(instead)),
        Support::NotYet(feature) => format!("not yet: {}", cell(feature)),
    }
}

/// Returns a text as the cell of a table has it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Returns the anchor of a heading.
fn anchor(heading: &str) -> String {
    heading.to_lowercase().replace(' ', "-")
}
