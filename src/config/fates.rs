//! The table of keys: what becomes of each key that Linkerd 1 knew for `http` and `h2`.
//!
//! It is the schema of the file as well: [`super::judge`] walks a file along it, and the parser reads a key only if its
//! row says that it works (a test compares the two). A key without a row does not exist, and the start fails.
//!
//! A section is one kind of mapping. What a mapping may hold is the union of its section, of the section of its kind
//! (`namer io.l5d.fs`), of the section of its router's protocol (`server http`), and of what these include. The kinds
//! themselves are rows of a section of their own (`namer kind`).
//!
//! Absent: the keys under a key or kind that does not work. It is reported once, as a whole, and so are they.

mod client;
mod naming;
mod process;
mod router;

/// What becomes of a key, or of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It does what it did in Linkerd 1, or what our documentation says.
    Works,
    /// It is a mapping whose keys have their own fates, none of which works by now.
    Inside,
    /// It is accepted and changes nothing, for this reason: the start and `check` warn.
    NoEffect(&'static str),
    /// It fails the start. Why, and what to do instead.
    Refused(&'static str),
    /// It fails the start, as an unknown key, for it belongs to the other protocol. What does its work in this one.
    Foreign(&'static str),
    /// It fails the start until this feature is built.
    NotYet(&'static str),
}

/// What stands under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holds {
    /// A scalar, or something that is not looked into.
    Value,
    /// A mapping of this section.
    One(&'static str),
    /// A list of mappings of this section.
    List(&'static str),
    /// A mapping of this section, or a list of such.
    OneOrList(&'static str),
    /// A scalar, or a mapping of this section.
    ValueOrOne(&'static str),
}

/// One row: a key, or a kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// As it is written in the file.
    pub(crate) name: &'static str,
    /// What becomes of it.
    pub(crate) fate: Fate,
    /// What stands under it.
    pub(crate) holds: Holds,
}

/// The key that says which sort of thing a mapping is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sort {
    /// `kind` or `protocol`.
    pub(crate) key: &'static str,
    /// What holds when the key is absent; without, it must not be.
    pub(crate) default: Option<&'static str>,
}

/// The rows of one kind of mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    /// What the mapping is, in a word or two.
    pub(crate) name: &'static str,
    /// The key that says of which sort it is, if there are several.
    pub(crate) sort: Option<Sort>,
    /// Other sections whose keys stand here too.
    pub(crate) includes: &'static [&'static str],
    /// Its own keys.
    pub(crate) keys: &'static [Key],
}

/// A key with a scalar, or with something that is not looked into.
const fn key(name: &'static str, fate: Fate) -> Key {
    Key { name, fate, holds: Holds::Value }
}

/// A key with a mapping.
const fn one(name: &'static str, fate: Fate, section: &'static str) -> Key {
    Key { name, fate, holds: Holds::One(section) }
}

/// A key with a list of mappings.
const fn list(name: &'static str, fate: Fate, section: &'static str) -> Key {
    Key { name, fate, holds: Holds::List(section) }
}

/// A section of which there is one sort.
const fn section(name: &'static str, keys: &'static [Key]) -> Section {
    Section { name, sort: None, includes: &[], keys }
}

/// A section whose `kind` must be given.
const fn sorted(name: &'static str, keys: &'static [Key]) -> Section {
    Section { name, sort: Some(Sort { key: "kind", default: None }), includes: &[], keys }
}

impl Section {
    /// With a kind that holds when none is given.
    const fn defaults_to(mut self, kind: &'static str) -> Self {
        self.sort = Some(Sort { key: "kind", default: Some(kind) });
        self
    }

    /// With another key than `kind`.
    const fn sorted_by(mut self, key: &'static str) -> Self {
        self.sort = Some(Sort { key, default: None });
        self
    }

    /// With the keys of other sections.
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
pub(crate) fn find(name: &str) -> Option<&'static Section> {
    sections().find(|section| section.name == name)
}

/// Returns every row that may stand in a mapping of these sections, those of included sections among them.
pub(crate) fn rows<S: AsRef<str>>(names: &[S]) -> Vec<&'static Key> {
    let mut rows = Vec::new();
    for section in names.iter().filter_map(|name| find(name.as_ref())) {
        rows.extend(section.keys);
        rows.extend(self::rows(section.includes));
    }
    rows
}

/// Returns the keys that work in a mapping of these sections, with those that say of which sort it is.
pub(crate) fn working(names: &[&str]) -> Vec<&'static str> {
    let sections = names.iter().filter_map(|name| find(name));
    let sorts = sections.filter_map(|section| section.sort).map(|sort| sort.key);
    let rows = rows(names).into_iter().filter(|row| row.fate == Fate::Works).map(|row| row.name);
    sorts.chain(rows).collect()
}

/// Of a key of the other protocol.
const NOTHING: &str = "nothing takes its place; remove it";

// The features that are still to be built, in the words of those who wait for them.
const ADMIN_RULES: &str = "rules for who may see what on the admin server";
const BALANCERS: &str = "the choice of a load balancer";
const ACCRUAL: &str = "failure accrual";
const CLASSIFIERS: &str = "response classifiers";
const CONNECTIONS: &str = "limits on the number and the life of connections";
const CONSUL: &str = "Consul";
const IDENTIFIER_PORT: &str = "the identifier port";
const PER_CLIENT: &str = "settings per client";
const PER_SERVICE: &str = "settings per service";
const RECENT: &str = "the page of recent requests";
const RETRIES: &str = "the settings of retries";
const TIMEOUTS: &str = "timeouts per attempt and per service";
const TLS: &str = "TLS";
const TRACES: &str = "traces";

#[cfg(test)]
mod tests;
