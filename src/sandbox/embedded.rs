//! Reads the items of the embedded store from a configuration text: every error has its place.

use super::item::Item;
use super::object::{MAX_MEMBERS, SandboxRefusal, expiry};
use super::rules::SandboxRules;
use super::spec::{GroupSpec, LabelPattern, SandboxId, SandboxSpec, Written};
use crate::context::is_sandbox_key;
use crate::name::{FOLDED_COMMENT, dtab_in_file, folded_comment};
use crate::source::node::{Error, Node, Place};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};

/// The most items that the embedded store may have: 10,000.
pub const MAX_ITEMS: usize = 10_000;

/// The number of errors after which a list is read no further: 100. More of them come from one cause.
const MANY: usize = 100;

/// The keys of a sandbox.
const SANDBOX_KEYS: &[&str] =
    &["name", "key", "dtab", "labels", "owner", "ttl", "expiresAt", "createdAt", "values"];

/// The keys of a group.
const GROUP_KEYS: &[&str] = &["name", "key", "all", "any", "label"];

/// The three ways to choose the members of a group.
const MEMBERS: [&str; 3] = ["all", "any", "label"];

/// A key or a name, in words.
const KEY: &str =
    "lower-case letters, digits, `-` and `.`, 63 at most, with a letter or a digit at both ends";

/// The items that were read from a text, and the findings about it.
#[derive(Debug, Default)]
pub struct ReadItems {
    /// The items, in their order, each with its place.
    pub items: Vec<(Item, Place)>,
    /// The errors. The items that they are about are left out.
    pub errors: Vec<Error>,
    /// The findings that fail nothing, each with its place and its key: comments that take in entries.
    pub warnings: Vec<(Place, String, &'static str)>,
    /// The names and the keys that are taken, each with the words that say where: `at f.yaml:3:9`.
    taken: HashMap<(Unique, String), String>,
}

/// The texts of an item that no other item may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unique {
    Name,
    Key,
}

impl ReadItems {
    /// Makes the beginning of a list that has other names and other keys than these items of the configuration.
    pub(super) fn beside(items: &[Item]) -> Self {
        let taken = items.iter().flat_map(|item| {
            [(Unique::Name, item.name()), (Unique::Key, item.key())]
                .map(|(kind, text)| (kind, text.to_owned()))
        });
        let taken = taken.map(|text| (text, "in the configuration (`sandboxes.items`)".to_owned())).collect();
        Self { taken, ..Self::default() }
    }

    /// Reads a list of items. Their names and keys must differ from those that were read before.
    pub fn read(&mut self, list: &Node<'_>, rules: &SandboxRules) {
        let nodes = match list.list() {
            Ok(nodes) => nodes,
            Err(error) => return self.errors.push(error),
        };
        if self.items.len() + nodes.len() > MAX_ITEMS {
            let message = format!(
                "there are {} sandboxes: {MAX_ITEMS} are the most. Remove those that have ended",
                self.items.len() + nodes.len()
            );
            return self.errors.push(list.error(message));
        }
        for node in &nodes {
            if self.errors.len() >= MANY {
                return;
            }
            let mut reader = ItemReader { node, rules, read: self };
            if let Some(item) = reader.item() {
                self.items.push((item, node.place()));
            }
        }
    }
}

/// The reader of one item.
struct ItemReader<'a, 'r> {
    node: &'r Node<'a>,
    rules: &'r SandboxRules,
    read: &'r mut ReadItems,
}

impl<'a> ItemReader<'a, '_> {
    /// Reads the item, unless something in it is wrong.
    fn item(&mut self) -> Option<Item> {
        let errors = self.read.errors.len();
        let entries = self.check(self.node.mapping())?;
        let chosen: Vec<_> = MEMBERS.into_iter().filter(|key| self.node.get(key).is_some()).collect();
        let is_group = !chosen.is_empty() && self.node.get("dtab").is_none();
        let known = if is_group { GROUP_KEYS } else { SANDBOX_KEYS };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.name)) {
            self.read.errors.push(entry.unknown(known));
        }
        let name = self.name();
        let key = self.unique("key", Unique::Key);
        if key.is_none() && self.node.get("key").is_none() {
            // Its name is its key.
            let node = self.node.get("name");
            if let (Some(name), Some(node)) = (&name, node) {
                self.take(&node, Unique::Key, name);
            }
        }
        let id = SandboxId { namespace: None, name: name?.into() };
        let item = if is_group { self.group(id, key, &chosen) } else { self.sandbox(id, key) };
        item.filter(|_| errors == self.read.errors.len())
    }

    /// Reads the name.
    fn name(&mut self) -> Option<String> {
        if self.node.get("name").is_none() {
            self.error("the key `name` is missing: every sandbox and every group has one");
        }
        self.unique("name", Unique::Name)
    }

    /// Reads a name or a key, which no other item may have.
    fn unique(&mut self, key: &str, kind: Unique) -> Option<String> {
        let node = self.node.get(key)?;
        let text = self.check(node.text())?;
        if !is_sandbox_key(text) {
            self.read.errors.push(node.unexpected(KEY));
            return None;
        }
        self.take(&node, kind, text).then(|| text.to_owned())
    }

    /// Takes a name or a key for the item; returns whether it was free.
    fn take(&mut self, node: &Node<'_>, kind: Unique, text: &str) -> bool {
        let place = format!("at {}:{}", node.document().file(), node.place());
        match self.read.taken.get(&(kind, text.to_owned())) {
            None => {
                self.read.taken.insert((kind, text.to_owned()), place);
                true
            }
            Some(first) => {
                let message = match kind {
                    Unique::Name => format!("the name `{text}` is taken {first}: give this one another"),
                    Unique::Key => {
                        format!("the key `{text}` is taken {first}: give this one another `key`")
                    }
                };
                self.read.errors.push(node.error(message));
                false
            }
        }
    }

    /// Reads a sandbox.
    fn sandbox(&mut self, id: SandboxId, key: Option<String>) -> Option<Item> {
        let dtab = self.dtab();
        let owner = self.text("owner");
        let (ttl, expires_at) = (self.text("ttl"), self.time("expiresAt"));
        let created = self.time("createdAt");
        let (labels, values) = (self.pairs("labels"), self.pairs("values"));
        let spec = SandboxSpec { key, dtab: dtab?, owner, ttl, expires_at, values };
        let written = Written { id, labels, created, expires: None, spec };
        self.check_end(&written)?;
        Some(Item::Sandbox(written))
    }

    /// Reads `dtab`.
    fn dtab(&mut self) -> Option<String> {
        let Some(node) = self.node.get("dtab") else {
            self.error(
                "the key `dtab` is missing: write the entries of the sandbox, or, for a group, one of `all`, `any` and `label`",
            );
            return None;
        };
        if let Some(place) = folded_comment(&node) {
            self.read.warnings.push((place, node.key().to_owned(), FOLDED_COMMENT));
        }
        let entries = self.check(dtab_in_file(&node))?;
        if let Some((start, dentry)) =
            entries.iter().find(|(_, dentry)| !self.rules.allows_prefix(&dentry.prefix))
        {
            let message = format!(
                "the entry {dentry:#} is not allowed: sandboxes may have entries at or below {} (`sandboxes.overrides.prefixes`)",
                self.rules.allowed_prefixes()
            );
            self.read.errors.push(node.error_inside(*start, message));
            return None;
        }
        self.check(node.text()).map(str::to_owned)
    }

    /// Checks the end of a sandbox.
    fn check_end(&mut self, written: &Written<SandboxSpec>) -> Option<()> {
        let (ttl, expires_at) = (self.node.get("ttl"), self.node.get("expiresAt"));
        let spec = &written.spec;
        let error = match (&ttl, &expires_at) {
            (Some(ttl), Some(_)) => Some(ttl.error("`expiresAt` says the end already: write one of the two")),
            (Some(ttl), None) if spec.ttl.is_some() && written.created.is_none() => Some(ttl.error(
                "`ttl` counts from `createdAt`, which is missing: write it (`createdAt: 2026-01-31T09:00:00Z`), or let \
                 `signpost sandbox create --file` write both, or write `expiresAt` in place of them",
            )),
            _ => {
                let at = ttl.as_ref().or(expires_at.as_ref()).unwrap_or(self.node);
                expiry(written, self.rules).err().map(|refusal| at.error(refusal.to_string()))
            }
        };
        match error {
            Some(error) => {
                self.read.errors.push(error);
                None
            }
            None => Some(()),
        }
    }

    /// Reads a group.
    fn group(&mut self, id: SandboxId, key: Option<String>, chosen: &[&str]) -> Option<Item> {
        if let [first, second, ..] = chosen {
            self.error(&format!("`{first}` and `{second}` both choose the members: write one of the two"));
        }
        let spec =
            GroupSpec { key, all: self.members("all"), any: self.members("any"), label: self.pattern() };
        let labels = BTreeMap::new();
        Some(Item::Group(Written { id, labels, created: None, expires: None, spec }))
    }

    /// Reads a list of names of sandboxes.
    fn members(&mut self, key: &str) -> Option<Vec<String>> {
        let node = self.node.get(key)?;
        let nodes = self.check(node.list())?;
        if nodes.is_empty() {
            self.read.errors.push(node.error("this list is empty: name the sandboxes of the group"));
        }
        if nodes.len() > MAX_MEMBERS {
            let refusal = SandboxRefusal::TooManyMembers { count: nodes.len() };
            self.read.errors.push(node.error(refusal.to_string()));
        }
        let mut names = Vec::new();
        for node in &nodes {
            let text = self.check(node.text())?;
            if is_sandbox_key(text) {
                names.push(text.to_owned());
            } else {
                self.read.errors.push(node.unexpected("the name of a sandbox"));
            }
        }
        Some(names)
    }

    /// Reads `label`.
    fn pattern(&mut self) -> Option<LabelPattern> {
        let node = self.node.get("label")?;
        let entries = self.check(node.mapping())?;
        for entry in entries.iter().filter(|entry| !["key", "value"].contains(&entry.name)) {
            self.read.errors.push(entry.unknown(&["key", "value"]));
        }
        let [key, value] = ["key", "value"].map(|name| match node.get(name) {
            Some(node) => self.check(node.text()).map(str::to_owned),
            None => {
                self.read.errors.push(node.error(format!(
                    "the key `{name}` is missing: write `label: {{key: branch, value: feature-*}}`"
                )));
                None
            }
        });
        Some(LabelPattern { key: key?, value: value? })
    }

    /// Reads a text.
    fn text(&mut self, key: &str) -> Option<String> {
        let node = self.node.get(key)?;
        self.check(node.text()).map(str::to_owned)
    }

    /// Reads a time.
    fn time(&mut self, key: &str) -> Option<Timestamp> {
        let node = self.node.get(key)?;
        let text = self.check(node.text())?;
        let read = text.parse().map_err(|_| node.unexpected("a time such as 2026-01-31T09:00:00Z"));
        self.check(read)
    }

    /// Reads a mapping of texts.
    fn pairs(&mut self, key: &str) -> BTreeMap<String, String> {
        let Some(node) = self.node.get(key) else { return BTreeMap::new() };
        let entries = self.check(node.mapping()).unwrap_or_default();
        let pairs = entries.iter().filter_map(|entry| {
            self.check(entry.value.text()).map(|value| (entry.name.to_owned(), value.to_owned()))
        });
        pairs.collect()
    }

    /// Adds an error about the item as a whole.
    fn error(&mut self, message: &str) {
        self.read.errors.push(self.node.error(message));
    }

    /// Adds the error of a result; returns its value.
    fn check<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.read.errors.push(error)).ok()
    }
}

#[cfg(test)]
mod tests;
