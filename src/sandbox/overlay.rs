//! The sandboxes that the keys of one request select.

use super::object::Sandbox;
use super::table::{SandboxTable, TableEntry, Unknown};
use crate::interpret::{Delegation, steered_leaves};
use crate::name::{Dentry, Dtab};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::iter;
use std::sync::Arc;

/// The separator of keys.
pub const SEPARATOR: char = '+';

/// How many bytes of a list that a caller is told may be given.
const MOST_TOLD: usize = 1024;

/// How many pairs of entries are compared for conflicts.
const MOST_COMPARED: usize = 20_000;

/// The treatment of requests whose key no sandbox has: `sandboxes.unknownKey`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownKey {
    /// They go to the baseline, and a trusted caller is told.
    #[default]
    Baseline,
    /// They are refused: 404.
    Refuse,
}

/// The sandboxes that the keys of one request select, and their entries.
///
/// The entries of a later key follow those of an earlier one, so that they win.
#[derive(Debug, Default)]
pub struct Overlay {
    /// The sandboxes in use, each once.
    sandboxes: Vec<Arc<Sandbox>>,
    /// The entries of all of them, in their order.
    dtab: Dtab,
    /// The keys of the request that are known, joined by `+`.
    keys: String,
    /// The keys, and the missing members of groups, that no sandbox has.
    unknown: Vec<String>,
    /// The same, as the caller is told.
    unknown_text: Option<Box<str>>,
    /// The prefixes for which several sandboxes have entries that differ, each with their keys, as the caller is told.
    conflict_text: Option<Box<str>>,
    /// The reason why a sandbox cannot be used.
    refused: Option<String>,
    /// The reason why an unknown key may exist.
    unsettled: Option<Unknown>,
    /// The earliest end of one of the sandboxes.
    expires: Option<Timestamp>,
}

impl Overlay {
    /// Finds the sandboxes of these keys, which are joined by `+`, as of `now`.
    pub fn new(table: &SandboxTable, keys: &str, now: Timestamp) -> Self {
        let mut overlay = Self::default();
        for key in keys.split(SEPARATOR).filter(|key| !key.is_empty()) {
            match table.get(key) {
                Some(entry) if overlay.select(entry, now) => overlay.note_key(key),
                _ => overlay.unknown.push(key.to_owned()),
            }
        }
        if !overlay.unknown.is_empty() {
            overlay.unsettled = table.unknown().cloned();
        }
        overlay.dtab = overlay.used().fold(Dtab::empty(), |all, (_, dtab)| all.concat(dtab));
        overlay.unknown_text = tell(&overlay.unknown, "+");
        overlay.conflict_text = tell(&overlay.find_conflicts(), ", ");
        overlay
    }

    /// Adds the sandboxes of an object; returns whether it is in force.
    fn select(&mut self, entry: &TableEntry, now: Timestamp) -> bool {
        match entry {
            TableEntry::Sandbox(sandbox) => self.add(sandbox, now),
            TableEntry::Group(found) => {
                if let Err(refusal) = &found.group.members {
                    self.refuse(&format!("group {}", found.group.id), refusal);
                }
                self.unknown.extend(found.missing.iter().cloned());
                for sandbox in &found.members {
                    if !self.add(sandbox, now) {
                        self.unknown.push(sandbox.id.name.to_string());
                    }
                }
                true
            }
        }
    }

    /// Adds a sandbox; returns whether it is still there.
    fn add(&mut self, sandbox: &Arc<Sandbox>, now: Timestamp) -> bool {
        if sandbox.is_expired(now) {
            return false;
        }
        if self.sandboxes.iter().any(|known| known.version() == sandbox.version()) {
            return true;
        }
        if let Err(refusal) = &sandbox.dtab {
            self.refuse(&format!("sandbox {}", sandbox.id), refusal);
        }
        self.expires = self.expires.into_iter().chain(sandbox.expires).min();
        self.sandboxes.push(Arc::clone(sandbox));
        true
    }

    fn refuse(&mut self, what: &str, refusal: &super::SandboxRefusal) {
        self.refused.get_or_insert_with(|| format!("The {what} is not accepted: {refusal}"));
    }

    fn note_key(&mut self, key: &str) {
        if !self.keys.is_empty() {
            self.keys.push(SEPARATOR);
        }
        self.keys.push_str(key);
    }

    /// Returns the sandboxes whose entries can be read, each with its entries.
    fn used(&self) -> impl Iterator<Item = (&Arc<Sandbox>, &Dtab)> {
        self.sandboxes.iter().filter_map(|sandbox| Some((sandbox, sandbox.dtab.as_ref().ok()?)))
    }

    /// Returns the prefixes for which several sandboxes have entries that differ. A prefix below another one is the same
    /// name in this: both entries match what is below it.
    ///
    /// It stops after 20,000 pairs of entries: a group may have many sandboxes of many entries.
    pub fn find_conflicts(&self) -> Vec<String> {
        let mut conflicts: Vec<String> = Vec::new();
        let used: Vec<_> = self.used().collect();
        let mut left = MOST_COMPARED;
        for (at, (later, dtab)) in used.iter().enumerate() {
            for (earlier, before) in used.iter().take(at) {
                left = match left.checked_sub(before.len() * dtab.len()) {
                    Some(left) => left,
                    None => return conflicts,
                };
                for conflict in
                    before.iter().flat_map(|one| dtab.iter().filter_map(move |other| meet(one, other)))
                {
                    let text = format!("{conflict} {}{SEPARATOR}{}", earlier.key, later.key);
                    if !conflicts.contains(&text) {
                        conflicts.push(text);
                    }
                }
            }
        }
        conflicts
    }

    /// Returns whether no sandbox is in force and nothing is to be told.
    pub fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.unknown.is_empty()
    }

    /// Returns the sandboxes in use, each once, in the order of their entries.
    pub fn sandboxes(&self) -> &[Arc<Sandbox>] {
        &self.sandboxes
    }

    /// Returns the entries of all of them, in their order.
    pub const fn dtab(&self) -> &Dtab {
        &self.dtab
    }

    /// Returns the sandbox that the entry at a position of [`Overlay::dtab`] is from.
    pub fn sandbox_at(&self, position: usize) -> Option<&Arc<Sandbox>> {
        let mut end = 0;
        let mut used = self.used();
        used.find_map(|(sandbox, dtab)| {
            end += dtab.len();
            (position < end).then_some(sandbox)
        })
    }

    /// Returns the keys of the request that are known, joined by `+`.
    pub fn keys(&self) -> &str {
        &self.keys
    }

    /// Returns the keys that no sandbox has, and the missing members of groups, joined by `+`; none when there are none.
    pub fn unknown(&self) -> Option<&str> {
        self.unknown_text.as_deref()
    }

    /// Returns the prefixes for which several sandboxes have entries that differ, each with the keys of two; of them the
    /// last wins. None when there are none.
    pub fn conflicts(&self) -> Option<&str> {
        self.conflict_text.as_deref()
    }

    /// Returns the reason why a sandbox in it cannot be used.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Returns the reason why an unknown key may exist.
    pub const fn unsettled(&self) -> Option<&Unknown> {
        self.unsettled.as_ref()
    }

    /// Returns the origins of the entries of a dtab in words, in which those of the sandboxes follow so many others; the entries
    /// after them have none.
    pub fn origins(&self, before: usize) -> Vec<Option<String>> {
        let of_sandbox = |at| self.sandbox_at(at).map(|sandbox| format!("sandbox {}", sandbox.id));
        iter::repeat_n(None, before).chain((0..self.dtab.len()).map(of_sandbox)).collect()
    }

    /// Checks that each sandbox allows every leaf of a delegation to which its entries lead, which follow `base` others in the
    /// delegation's dtab.
    ///
    /// # Errors
    ///
    /// The first leaf that is not allowed, in words.
    pub fn check_destinations(&self, delegation: &Delegation, base: usize) -> Result<(), String> {
        for sandbox in &self.sandboxes {
            let is_its = |position: usize| {
                let of = position.checked_sub(base).and_then(|position| self.sandbox_at(position));
                of.is_some_and(|other| other.version() == sandbox.version())
            };
            let steered = steered_leaves(delegation, is_its);
            let Some((id, _)) = steered.into_keys().find(|(id, _)| !sandbox.allows_destination(id)) else {
                continue;
            };
            let allowed = sandbox.allowed_destinations();
            return Err(format!(
                "The sandbox {} is refused: it leads to {id}, and its entries may lead to {} only \
                 (`sandboxes.overrides.destinations`).",
                sandbox.id,
                if allowed.is_empty() { "no namer of this router" } else { &allowed },
            ));
        }
        Ok(())
    }

    /// Returns whether one of the sandboxes has ended at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|at| now >= at)
    }

    /// Returns whether one of the sandboxes ends at some time.
    pub const fn may_expire(&self) -> bool {
        self.expires.is_some()
    }

    /// Returns whether a table gives the same for these keys.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let versions =
            |overlay: &Self| overlay.sandboxes.iter().map(|sandbox| sandbox.version()).collect::<Vec<_>>();
        (&self.keys, &self.unknown, &self.unsettled, &self.refused)
            == (&other.keys, &other.unknown, &other.unsettled, &other.refused)
            && versions(self) == versions(other)
    }

    /// Appends a key: equal keys mean equal entries of equal sandboxes, in equal versions.
    pub fn write_key(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.sandboxes.len().to_ne_bytes());
        for sandbox in &self.sandboxes {
            key.extend_from_slice(&sandbox.version().to_ne_bytes());
        }
    }
}

/// Returns the narrower prefix of two entries that match the same names and lead elsewhere.
fn meet(one: &Dentry, other: &Dentry) -> Option<String> {
    if one.dst == other.dst && one.prefix == other.prefix {
        None
    } else if one.prefix.covers(&other.prefix) {
        Some(other.prefix.to_string())
    } else if other.prefix.covers(&one.prefix) {
        Some(one.prefix.to_string())
    } else {
        None
    }
}

/// Joins texts, as many of them as a caller is told; none when there are none.
fn tell(texts: &[String], separator: &str) -> Option<Box<str>> {
    if texts.is_empty() {
        return None;
    }
    let mut told = String::new();
    for text in texts {
        if told.len() + text.len() > MOST_TOLD {
            let _ = write!(told, "{separator}...");
            break;
        }
        if !told.is_empty() {
            told.push_str(separator);
        }
        told.push_str(text);
    }
    Some(told.into())
}

#[cfg(test)]
mod tests;
