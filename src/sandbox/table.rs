//! The table of all sandboxes and groups, by their keys.

use super::object::{Group, MAX_MEMBERS, Members, Sandbox, SandboxRefusal};
use super::spec::SandboxId;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// All sandboxes and groups by their keys, as of one moment.
#[derive(Debug)]
pub struct SandboxTable {
    /// A number that grows with each table of this process.
    revision: u64,
    entries: HashMap<Arc<str>, TableEntry>,
    unknown: Option<Unknown>,
    /// The earliest end of a sandbox in it.
    next_expiry: Option<Timestamp>,
}

/// The object that has a key.
#[derive(Clone, Debug)]
pub enum TableEntry {
    /// A sandbox.
    Sandbox(Arc<Sandbox>),
    /// A group, with its members.
    Group(Arc<GroupMembership>),
}

/// A group with the sandboxes that it consists of.
#[derive(Debug)]
pub struct GroupMembership {
    /// The group.
    pub group: Arc<Group>,
    /// Its members, of which a later one wins.
    pub members: Vec<Arc<Sandbox>>,
    /// The names that it needs, and that no sandbox in use has.
    pub missing: Vec<String>,
}

/// The reason why a key that is not in the table may exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// A store has not given its first list yet.
    Pending,
    /// A store cannot give its list, for this reason.
    Failed(Arc<str>),
}

/// The objects of one store.
#[derive(Clone, Debug, Default)]
pub struct StoreObjects {
    /// The sandboxes; of the embedded store, in the order in which they are written.
    pub sandboxes: Vec<Arc<Sandbox>>,
    /// The groups, likewise.
    pub groups: Vec<Arc<Group>>,
}

/// The state of one store of sandboxes.
#[derive(Clone, Debug)]
pub enum StoreState {
    /// No list was complete yet.
    Pending,
    /// No list was complete yet, and waiting does not help, for this reason.
    Failed(Arc<str>),
    /// The objects as they are now, as far as the store can be asked.
    Ready(Arc<StoreObjects>),
}

impl TableEntry {
    /// Returns the key that the object has.
    pub fn key(&self) -> &str {
        match self {
            Self::Sandbox(sandbox) => &sandbox.key,
            Self::Group(found) => &found.group.key,
        }
    }

    /// Returns the identity of the object.
    pub fn id(&self) -> &SandboxId {
        match self {
            Self::Sandbox(sandbox) => &sandbox.id,
            Self::Group(found) => &found.group.id,
        }
    }

    /// Returns whether this is the older object of two. In the embedded store the one that comes first is older.
    fn is_older_than(&self, other: &Self) -> bool {
        let age = |entry: &Self| {
            let (id, created) = match entry {
                Self::Sandbox(sandbox) => (&sandbox.id, sandbox.created),
                Self::Group(found) => (&found.group.id, found.group.created),
            };
            (id.namespace.is_some(), created, id.namespace.is_some().then(|| id.clone()))
        };
        age(self) < age(other)
    }
}

impl SandboxTable {
    /// Puts the stores together, as of `now`. A sandbox that has ended is not in it.
    pub fn new<'a>(stores: impl IntoIterator<Item = &'a StoreState>, now: Timestamp) -> Self {
        static REVISIONS: AtomicU64 = AtomicU64::new(1);
        let mut table = Self {
            revision: REVISIONS.fetch_add(1, Relaxed),
            entries: HashMap::new(),
            unknown: None,
            next_expiry: None,
        };
        let mut groups = Vec::new();
        for store in stores {
            match store {
                StoreState::Pending => table.unknown = table.unknown.or(Some(Unknown::Pending)),
                StoreState::Failed(reason) => table.unknown = Some(Unknown::Failed(Arc::clone(reason))),
                StoreState::Ready(objects) => {
                    groups.extend(&objects.groups);
                    // Growing step by step would move thousands of entries several times for each change.
                    table.entries.reserve(objects.sandboxes.len());
                    for sandbox in objects.sandboxes.iter().filter(|sandbox| !sandbox.is_expired(now)) {
                        table.next_expiry = table.next_expiry.into_iter().chain(sandbox.expires).min();
                        table.insert(&sandbox.key, TableEntry::Sandbox(Arc::clone(sandbox)));
                    }
                }
            }
        }
        table.insert_groups(&groups);
        table
    }

    /// Inserts an object, unless an older one has its key.
    fn insert(&mut self, key: &Arc<str>, entry: TableEntry) {
        if self.entries.get(key).is_none_or(|holder| entry.is_older_than(holder)) {
            self.entries.insert(Arc::clone(key), entry);
        }
    }

    fn insert_groups(&mut self, groups: &[&Arc<Group>]) {
        if groups.is_empty() {
            return;
        }
        // Before any group takes the key of a sandbox, so that the order of groups makes no difference.
        let found: Vec<_> = {
            let sandboxes = SandboxNames::new(self.entries.values());
            groups.iter().map(|group| sandboxes.find_members(group)).collect()
        };
        for found in found {
            let key = Arc::clone(&found.group.key);
            self.insert(&key, TableEntry::Group(Arc::new(found)));
        }
    }

    /// Returns a number that grows with each table of this process.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the object that has a key.
    pub fn get(&self, key: &str) -> Option<&TableEntry> {
        self.entries.get(key)
    }

    /// Returns whether a sandbox is in use in this version.
    pub fn has(&self, sandbox: &Sandbox) -> bool {
        match self.entries.get(&sandbox.key) {
            Some(TableEntry::Sandbox(known)) => known.version() == sandbox.version(),
            _ => false,
        }
    }

    /// Returns all objects that have their keys, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &TableEntry> {
        self.entries.values()
    }

    /// Returns the reason why a key that is not in the table may exist, if there is one.
    pub const fn unknown(&self) -> Option<&Unknown> {
        self.unknown.as_ref()
    }

    /// Returns the earliest end of a sandbox in it.
    pub const fn next_expiry(&self) -> Option<Timestamp> {
        self.next_expiry
    }

    /// Returns why an object with this key is not in use because of another one, if that is so. A sandbox and a group may
    /// have one name: [`SandboxTable::sandbox_key_taken`] and [`SandboxTable::group_key_taken`] know the difference.
    pub fn key_taken(&self, id: &SandboxId, key: &Arc<str>) -> Option<SandboxRefusal> {
        self.key_taken_unless(key, |holder| holder.id() == id)
    }

    /// Returns why a sandbox is not in use because of another object with its key, if that is so.
    pub fn sandbox_key_taken(&self, sandbox: &Sandbox) -> Option<SandboxRefusal> {
        let is_own = |holder: &TableEntry| matches!(holder, TableEntry::Sandbox(own) if own.id == sandbox.id);
        self.key_taken_unless(&sandbox.key, is_own)
    }

    /// Returns why a group is not in use because of another object with its key, if that is so.
    pub fn group_key_taken(&self, group: &Group) -> Option<SandboxRefusal> {
        let is_own =
            |holder: &TableEntry| matches!(holder, TableEntry::Group(own) if own.group.id == group.id);
        self.key_taken_unless(&group.key, is_own)
    }

    fn key_taken_unless(
        &self,
        key: &Arc<str>,
        is_own: impl Fn(&TableEntry) -> bool,
    ) -> Option<SandboxRefusal> {
        let holder = self.entries.get(key).filter(|holder| !is_own(holder))?;
        Some(SandboxRefusal::KeyTaken { key: Arc::clone(key), holder: holder.id().clone() })
    }
}

impl Default for SandboxTable {
    /// Returns a table without sandboxes, in which every key is unknown.
    fn default() -> Self {
        Self { revision: 0, entries: HashMap::new(), unknown: None, next_expiry: None }
    }
}

/// The sandboxes that are in use, by their names.
struct SandboxNames<'a>(HashMap<&'a SandboxId, &'a Arc<Sandbox>>);

impl<'a> SandboxNames<'a> {
    fn new(entries: impl Iterator<Item = &'a TableEntry>) -> Self {
        let sandbox = |entry: &'a TableEntry| match entry {
            TableEntry::Sandbox(sandbox) => Some((&sandbox.id, sandbox)),
            TableEntry::Group(_) => None,
        };
        Self(entries.filter_map(sandbox).collect())
    }

    /// Returns a group with its members.
    fn find_members(&self, group: &Arc<Group>) -> GroupMembership {
        let (mut members, mut missing) = (Vec::new(), Vec::new());
        let named = |name: &String| {
            let id = SandboxId { namespace: group.id.namespace.clone(), name: name.as_str().into() };
            self.0.get(&id).map(|sandbox| Arc::clone(sandbox))
        };
        match &group.members {
            Err(_) => {}
            Ok(Members::Any(names)) => members.extend(names.iter().filter_map(named)),
            Ok(Members::All(names)) => {
                for name in names {
                    match named(name) {
                        Some(sandbox) => members.push(sandbox),
                        None => missing.push(name.clone()),
                    }
                }
            }
            Ok(Members::Label(label)) => {
                let own = |sandbox: &&Arc<Sandbox>| sandbox.id.namespace == group.id.namespace;
                let all = self.0.values().copied().filter(own).filter(|sandbox| label.matches(sandbox));
                members.extend(all.map(Arc::clone));
                if members.len() > MAX_MEMBERS {
                    let refusal = SandboxRefusal::TooManyMembers { count: members.len() };
                    let group = Arc::new(Group { members: Err(refusal), ..Group::clone(group) });
                    return GroupMembership { group, members: Vec::new(), missing };
                }
                members.sort_by(|one, other| one.id.cmp(&other.id));
            }
        }
        GroupMembership { group: Arc::clone(group), members, missing }
    }
}

#[cfg(test)]
mod tests;
