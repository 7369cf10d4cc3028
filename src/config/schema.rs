//! The schema of the configuration file: one row for each key that exists, with the support it has.
//!
//! It has every key that Linkerd 1 knew for `http` and `h2`, and our own. [`super::validation`] walks a file along it,
//! and the readers read a key only if its row works (a test compares the two). A key without a row is unknown, and the
//! start fails.
//!
//! A section is one kind of mapping. The keys of a mapping are the union of its section, of the section of its kind
//! (`namer io.l5d.fs`), of the section of its router's protocol (`server http`), of the section of both (`client
//! io.l5d.global h2`), and of the sections that these include. The kinds themselves are rows of a section of their own (`namer kind`).
//!
//! Absent: keys below a key or kind that does not work. Such a key is reported once, as a whole.

mod client;
mod naming;
mod process;
mod router;
mod walk;

pub(crate) use self::walk::{RowPlace, walk};

/// The support that a key or a kind has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Support {
    /// It does what it did in Linkerd 1, or what our documentation promises.
    Works,
    /// It is a mapping or a list whose keys have rows of their own, none of which works so far.
    Inside,
    /// It is accepted and changes nothing, for this reason: the start and `check` warn.
    NoEffect(&'static str),
    /// It fails the start. The text gives the reason and an alternative.
    Refused(&'static str),
    /// It fails the start as an unknown key: it belongs to the other protocol. The text names its counterpart here.
    Foreign(&'static str),
    /// It fails the start until this feature is built.
    NotYet(&'static str),
}

/// The shape of the value under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Contents {
    /// A scalar, or something that validation does not descend into.
    Value,
    /// A mapping of this section.
    One(&'static str),
    /// A list of mappings of this section.
    List(&'static str),
    /// A mapping of this section, or a list of such.
    OneOrList(&'static str),
    /// A mapping of this section, or something that validation does not descend into.
    ValueOrOne(&'static str),
}

impl Contents {
    /// Returns the section of the mapping, or of the mappings, that stand under the key.
    pub(crate) const fn section(self) -> Option<&'static str> {
        match self {
            Self::Value => None,
            Self::One(name) | Self::List(name) | Self::OneOrList(name) | Self::ValueOrOne(name) => Some(name),
        }
    }
}

/// One row of the schema: a key, or a kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SchemaRow {
    /// The name, as it is written in the file.
    pub(crate) name: &'static str,
    /// The support it has.
    pub(crate) support: Support,
    /// The shape of its value.
    pub(crate) contents: Contents,
}

/// The key that names the kind of a mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KindKey {
    /// `kind` or `protocol`.
    pub(crate) name: &'static str,
    /// The kind of a mapping without this key; without a default the key is required.
    pub(crate) default: Option<&'static str>,
}

/// The rows of one kind of mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    /// The name of the mapping, in a word or two.
    pub(crate) name: &'static str,
    /// The key that names its kind, if there are several.
    pub(crate) kind_key: Option<KindKey>,
    /// Other sections whose keys stand here too.
    pub(crate) includes: &'static [&'static str],
    /// Its own keys.
    pub(crate) keys: &'static [SchemaRow],
}

/// Makes the row of a key with a scalar, or with a value that validation does not descend into.
const fn key(name: &'static str, support: Support) -> SchemaRow {
    SchemaRow { name, support, contents: Contents::Value }
}

/// Makes the row of a key with a mapping.
const fn one(name: &'static str, support: Support, section: &'static str) -> SchemaRow {
    SchemaRow { name, support, contents: Contents::One(section) }
}

/// Makes the row of a key with a mapping, or with a value that validation does not descend into.
const fn value_or_one(name: &'static str, support: Support, section: &'static str) -> SchemaRow {
    SchemaRow { name, support, contents: Contents::ValueOrOne(section) }
}

/// Makes the row of a key with a list of mappings.
const fn list(name: &'static str, support: Support, section: &'static str) -> SchemaRow {
    SchemaRow { name, support, contents: Contents::List(section) }
}

/// Makes a section whose mappings have one kind.
const fn section(name: &'static str, keys: &'static [SchemaRow]) -> Section {
    Section { name, kind_key: None, includes: &[], keys }
}

/// Makes a section whose mappings must have a `kind`.
const fn kinds(name: &'static str, keys: &'static [SchemaRow]) -> Section {
    Section { name, kind_key: Some(KindKey { name: "kind", default: None }), includes: &[], keys }
}

impl Section {
    /// Gives the mappings that have no `kind` this one.
    const fn defaults_to(mut self, kind: &'static str) -> Self {
        self.kind_key = Some(KindKey { name: "kind", default: Some(kind) });
        self
    }

    /// Takes the kind of the mappings from this key.
    const fn kinds_by(mut self, name: &'static str) -> Self {
        self.kind_key = Some(KindKey { name, default: None });
        self
    }

    /// Adds the keys of other sections.
    const fn with(mut self, includes: &'static [&'static str]) -> Self {
        self.includes = includes;
        self
    }
}

/// The section of the whole file.
pub(crate) const TOP: &str = "file";

/// Returns all sections.
pub(crate) fn sections() -> impl Iterator<Item = &'static Section> {
    [process::SECTIONS, router::SECTIONS, client::SECTIONS, naming::SECTIONS].into_iter().flatten()
}

/// Returns the section of a name.
pub(crate) fn find_section(name: &str) -> Option<&'static Section> {
    sections().find(|section| section.name == name)
}

/// Returns every row that may stand in a mapping of these sections, those of included sections among them.
pub(crate) fn rows<S: AsRef<str>>(names: &[S]) -> Vec<&'static SchemaRow> {
    let mut rows = Vec::new();
    for section in names.iter().filter_map(|name| find_section(name.as_ref())) {
        rows.extend(section.keys);
        rows.extend(self::rows(section.includes));
    }
    rows
}

/// Returns the keys that work in a mapping of these sections, with those that name its kind.
pub(crate) fn working_keys(names: &[&str]) -> Vec<&'static str> {
    let sections = names.iter().filter_map(|name| find_section(name));
    let kind_keys = sections.filter_map(|section| section.kind_key).map(|key| key.name);
    let rows = rows(names).into_iter().filter(|row| row.support == Support::Works).map(|row| row.name);
    kind_keys.chain(rows).collect()
}

/// The advice for a key of the other protocol that has no counterpart.
const NOTHING: &str = "nothing takes its place; remove it";

// The features that are still to be built, as the errors about their keys name them.
const CONSUL: &str = "Consul";
const IDENTIFIER_PORT: &str = "the identifier port";
const TRACES: &str = "traces";

#[cfg(test)]
mod tests;
