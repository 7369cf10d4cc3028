//! Walks a file along the table of fates.

use super::errors::Report;
use super::fates::{self, Fate, Holds, Key, Section, Sort};
use crate::source::node::{Entry, Node, Place, unknown};

/// Judges every key and kind of a file: what is unknown, refused or not built fails, what has no effect warns.
///
/// A key or kind that does not work is reported once, and what stands under it is not looked at. Other values are looked
/// at only where they are to be a mapping or a list of such.
pub(super) fn judge(root: &Node<'_>, report: &mut Report) {
    Judge { report, protocol: "" }.mapping(root, fates::TOP);
}

/// Where the walk is.
struct Judge<'r> {
    report: &'r mut Report,
    /// The protocol of the router that the walk is in; empty outside.
    protocol: &'static str,
}

impl Judge<'_> {
    /// Judges a mapping of a section.
    fn mapping(&mut self, node: &Node<'_>, name: &'static str) {
        if self.report.is_full() {
            return;
        }
        let Some(entries) = self.report.check(node.mapping()) else { return };
        let Some(section) = fates::find(name) else { return };
        let mut names = vec![name.to_owned()];
        if let Some(sort) = section.sort {
            let Some(kind) = self.kind(node, section, sort) else { return };
            names.push(format!("{name} {kind}"));
        }
        names.push(format!("{name} {}", self.protocol));
        // A router's own protocol is its sort already.
        names.dedup();
        let rows = fates::rows(&names);
        let sort = section.sort.map(|sort| sort.key);
        for entry in entries.iter().filter(|entry| Some(entry.name) != sort) {
            if self.report.is_full() {
                return;
            }
            match rows.iter().find(|row| row.name == entry.name) {
                Some(row) => self.entry(entry, row),
                None => {
                    let known: Vec<_> = sort.into_iter().chain(offered(&rows)).collect();
                    self.report.error(entry.unknown(&known));
                }
            }
        }
    }

    /// Judges which sort of thing a mapping is; nothing when there is no more to say about it.
    fn kind(&mut self, node: &Node<'_>, section: &Section, sort: Sort) -> Option<&'static str> {
        let kinds = fates::rows(&[format!("{} kind", section.name)]);
        let names: Vec<&str> = offered(&kinds).collect();
        let Some(value) = node.get(sort.key) else {
            if sort.default.is_none() {
                let message =
                    format!("the key `{}` is missing; it is one of: {}", sort.key, names.join(", "));
                self.report.error(node.error(message));
            }
            return sort.default;
        };
        let text = self.report.check(value.text())?;
        let Some(kind) = kinds.iter().find(|kind| kind.name == text) else {
            self.report.error(value.error(unknown(sort.key, text, &names)));
            return None;
        };
        if sort.key == "protocol" {
            self.protocol = kind.name;
        }
        self.works(&value, value.place(), text, kind.fate).then_some(kind.name)
    }

    /// Judges a key and what stands under it.
    fn entry(&mut self, entry: &Entry<'_>, row: &Key) {
        if entry.value.is_null() {
            let message = "nothing stands here, which is as if the key were absent".to_owned();
            self.report.warn(entry.place, entry.value.key(), message);
            return;
        }
        if self.works(&entry.value, entry.place, entry.name, row.fate) {
            let protocol = self.protocol;
            self.inside(&entry.value, row);
            self.protocol = protocol;
        }
    }

    /// Judges what stands under a key.
    fn inside(&mut self, value: &Node<'_>, row: &Key) {
        let (section, is_list) = match row.holds {
            Holds::Value => return,
            Holds::One(section) => (section, false),
            Holds::List(section) => (section, true),
            Holds::OneOrList(section) => (section, value.is_list()),
            Holds::ValueOrOne(section) if value.is_mapping() => (section, false),
            Holds::ValueOrOne(_) => return,
        };
        if !is_list {
            return self.mapping(value, section);
        }
        let protocol = self.protocol;
        for element in self.report.check(value.list()).unwrap_or_default() {
            self.mapping(&element, section);
            self.protocol = protocol;
        }
    }

    /// Returns whether a key or a kind works, or some of what stands under it; reports the fate of one that does not.
    fn works(&mut self, value: &Node<'_>, place: Place, name: &str, fate: Fate) -> bool {
        let message = match fate {
            Fate::Works | Fate::Inside => return true,
            Fate::NoEffect(reason) => {
                let message = format!("`{name}` has no effect: {reason}");
                self.report.warn(place, value.key(), message);
                return false;
            }
            Fate::Refused(instead) => format!("`{name}` is not supported: {instead}"),
            Fate::Foreign(instead) => {
                format!("unknown key in a router of `protocol: {}`: {instead}", self.protocol)
            }
            Fate::NotYet(feature) => {
                format!("`{name}` is not available yet (feature: {feature})")
            }
        };
        self.report.error(value.document().error(place, value.key(), message));
        false
    }
}

/// The names of the rows that an error may offer: what never does anything here is not one of them.
fn offered(rows: &[&'static Key]) -> impl Iterator<Item = &'static str> {
    let is_offered = |row: &&&Key| !matches!(row.fate, Fate::Refused(_) | Fate::Foreign(_));
    rows.iter().filter(is_offered).map(|row| row.name)
}
