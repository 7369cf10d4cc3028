//! Validates a file: compares its keys and kinds with the schema.

use super::errors::Report;
use super::schema::{self, Contents, KindKey, SchemaRow, Section, Support};
use crate::source::node::{Entry, Node, Place, unknown};

/// Checks every key and kind of a file. One that is unknown, refused or not built is an error; one that has no effect
/// is a warning.
///
/// A key or kind that does not work is reported once, and its contents are not checked. A value is checked only where
/// the schema wants a mapping or a list of mappings.
pub(super) fn validate(root: &Node<'_>, report: &mut Report) {
    Validator { report, protocol: "" }.check_mapping(root, schema::TOP);
}

/// One walk over a file.
struct Validator<'r> {
    report: &'r mut Report,
    /// The protocol of the router that the walk is in; empty outside of routers.
    protocol: &'static str,
}

impl Validator<'_> {
    /// Checks a mapping of a section.
    fn check_mapping(&mut self, node: &Node<'_>, name: &'static str) {
        if self.report.is_full() {
            return;
        }
        let Some(entries) = self.report.check(node.mapping()) else { return };
        let Some(section) = schema::find_section(name) else { return };
        let mut names = vec![name.to_owned()];
        if let Some(kind_key) = section.kind_key {
            let Some(kind) = self.check_kind(node, section, kind_key) else { return };
            names.push(format!("{name} {kind}"));
            // The kind of a router is its protocol.
            if kind != self.protocol {
                names.push(format!("{name} {kind} {}", self.protocol));
            }
        }
        names.push(format!("{name} {}", self.protocol));
        names.dedup();
        let rows = schema::rows(&names);
        let kind_key = section.kind_key.map(|key| key.name);
        for entry in entries.iter().filter(|entry| Some(entry.name) != kind_key) {
            if self.report.is_full() {
                return;
            }
            match rows.iter().find(|row| row.name == entry.name) {
                Some(row) => self.check_entry(entry, row),
                None => {
                    let known: Vec<_> = kind_key.into_iter().chain(offered_names(&rows)).collect();
                    self.report.error(entry.unknown(&known));
                }
            }
        }
    }

    /// Checks the kind of a mapping. Returns none if its keys are not to be checked.
    fn check_kind(&mut self, node: &Node<'_>, section: &Section, key: KindKey) -> Option<&'static str> {
        let kinds = schema::rows(&[format!("{} kind", section.name)]);
        let names: Vec<&str> = offered_names(&kinds).collect();
        let Some(value) = node.get(key.name) else {
            if key.default.is_none() {
                let message =
                    format!("the key `{}` is missing; it is one of: {}", key.name, names.join(", "));
                self.report.error(node.error(message).coded("missing-key"));
            }
            return key.default;
        };
        let text = self.report.check(value.text())?;
        let Some(kind) = kinds.iter().find(|kind| kind.name == text) else {
            self.report.error(value.error(unknown(key.name, text, &names)).coded("unknown-kind"));
            return None;
        };
        if key.name == "protocol" {
            self.protocol = kind.name;
        }
        let has_contents = || schema::find_section(&format!("{} {}", section.name, kind.name)).is_some();
        let is_checked = self.check_support(&value, value.place(), kind);
        // All that waits for a feature is named at once.
        let waits = matches!(kind.support, Support::NotYet(_)) && has_contents();
        (is_checked || waits).then_some(kind.name)
    }

    /// Checks a key and its contents.
    fn check_entry(&mut self, entry: &Entry<'_>, row: &SchemaRow) {
        if entry.value.is_null() {
            let message = "this key has no value, as if it were absent".to_owned();
            self.report.warn_of("no-value", (entry.place, entry.value.key()), message);
            return;
        }
        if self.check_support(&entry.value, entry.place, row) {
            let protocol = self.protocol;
            self.check_contents(&entry.value, row);
            self.protocol = protocol;
        }
    }

    /// Checks the mapping, or the list of mappings, under a key.
    fn check_contents(&mut self, value: &Node<'_>, row: &SchemaRow) {
        let (section, is_list) = match row.contents {
            Contents::Value => return self.check_variables(value),
            Contents::One(section) => (section, false),
            Contents::List(section) => (section, true),
            Contents::OneOrList(section) => (section, value.is_list()),
            Contents::ValueOrOne(section) if value.is_mapping() => (section, false),
            Contents::ValueOrOne(_) => return,
        };
        if !is_list {
            return self.check_mapping(value, section);
        }
        let protocol = self.protocol;
        for element in self.report.check(value.list()).unwrap_or_default() {
            self.check_mapping(&element, section);
            self.protocol = protocol;
        }
    }

    /// Reports a variable in a text: nothing puts in its value.
    fn check_variables(&mut self, value: &Node<'_>) {
        for node in value.list().unwrap_or_else(|_| vec![value.clone()]) {
            self.report.errors(node.variable());
        }
    }

    /// Reports a key or a kind that does not work, at `place`. Returns whether its contents are to be checked.
    fn check_support(&mut self, value: &Node<'_>, place: Place, row: &SchemaRow) -> bool {
        let name = row.name;
        let (code, message) = match row.support {
            Support::Works | Support::Inside => return true,
            Support::NoEffect(reason) => {
                let message = format!("`{name}` has no effect: {reason}");
                self.report.warn(place, value.key(), message);
                return false;
            }
            Support::Refused(instead) => ("not-supported", format!("`{name}` is not supported: {instead}")),
            Support::Foreign(instead) => (
                "unknown-key",
                format!("unknown key in a router of `protocol: {}`: {instead}", self.protocol),
            ),
            Support::NotYet(feature) => {
                ("not-available", format!("`{name}` is not available yet (feature: {feature})"))
            }
        };
        self.report.error(value.document().error(place, value.key(), message).coded(code));
        false
    }
}

/// Returns the names of the rows that an error offers: those that will never do anything here are left out.
fn offered_names(rows: &[&'static SchemaRow]) -> impl Iterator<Item = &'static str> {
    let is_offered = |row: &&&SchemaRow| !matches!(row.support, Support::Refused(_) | Support::Foreign(_));
    rows.iter().filter(is_offered).map(|row| row.name)
}
