//! The embedded store, as the command line changes it: a file of sandboxes.

use super::stored::{ItemState, StoredItem};
use super::yaml::{ItemText, file_text};
use crate::sandbox::{self, Group, Item, Sandbox, SandboxRules, read_items_text};
use crate::source::node::{self, Place};
use jiff::Timestamp;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file of sandboxes. Those that change it wait for each other.
pub(super) struct ItemFile {
    path: PathBuf,
    rules: SandboxRules,
}

/// The content of the file.
struct ItemFileContent {
    text: String,
    items: Vec<(Item, Place)>,
}

/// A change of the file.
pub(super) enum Change {
    /// Adds an item, or puts it in the place of the one with its name.
    Put(Box<Item>),
    /// Removes the item with this name.
    Remove(String),
}

impl ItemFile {
    pub(super) fn new(path: &Path, rules: SandboxRules) -> Self {
        Self { path: path.to_owned(), rules }
    }

    /// Returns all items. A file that is not there has none.
    pub(super) fn items(&self) -> Result<Vec<StoredItem>, String> {
        let now = Timestamp::now();
        let items = self.read()?.items.into_iter().map(|(item, _)| {
            let (state, end) = (self.state(&item, now), self.end(&item));
            StoredItem { namespace: None, item, state, end }
        });
        Ok(items.collect())
    }

    /// Changes the file as `decide` says, which gets its items. No other run of this command changes it meanwhile.
    pub(super) fn change<T>(
        &self,
        decide: impl FnOnce(&[StoredItem]) -> Result<(Option<Change>, T), String>,
    ) -> Result<T, String> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let failed =
            |what: &str, error: &dyn std::fmt::Display| format!("{}: {what}: {error}", self.path.display());
        let lock = File::open(folder).map_err(|error| failed("its folder cannot be read", &error))?;
        lock.lock().map_err(|error| failed("its folder cannot be locked", &error))?;
        let (change, result) = decide(&self.items()?)?;
        if let Some(change) = change {
            let text = self.changed(change)?;
            self.write(folder, &text).map_err(|error| failed("cannot be written", &error))?;
        }
        Ok(result)
    }

    /// Returns the place in words.
    pub(super) fn place(&self) -> String {
        self.path.display().to_string()
    }

    /// Removes the item of this name; returns whether it was there.
    pub(super) fn delete(&self, name: &str) -> Result<bool, String> {
        self.change(|items| {
            let is_there = items.iter().any(|stored| stored.item.name() == name);
            Ok((is_there.then(|| Change::Remove(name.to_owned())), is_there))
        })
    }

    /// Returns the text of the file after a change.
    fn changed(&self, change: Change) -> Result<String, String> {
        let ItemFileContent { text, items } = self.read()?;
        let edited = ItemText::new(&text, items.iter().map(|(_, place)| *place));
        let mut wanted: Vec<_> = items.into_iter().map(|(item, _)| item).collect();
        let at = |name: &str| wanted.iter().position(|item| item.name() == name);
        let edit = match change {
            Change::Put(item) => match at(item.name()) {
                Some(at) => {
                    let edit = edited.and_then(|text| text.with(at, &item));
                    wanted.splice(at..=at, [*item]);
                    edit
                }
                None => {
                    let edit = edited.and_then(|text| text.and(&item));
                    wanted.push(*item);
                    edit
                }
            },
            Change::Remove(name) => match at(&name) {
                Some(at) => {
                    wanted.remove(at);
                    edited.and_then(|text| text.without(at))
                }
                None => return Ok(text),
            },
        };
        let name = self.path.display().to_string();
        let read =
            |text: &str| read_items_text(&name, text, &[], &self.rules).map_err(|error| error.to_string());
        let holds =
            |text: &str| read(text).map(|read| read.items.iter().map(|(item, _)| item).eq(wanted.iter()));
        // The edit counts only if the text says afterwards what it should.
        if let Some(edit) = edit.filter(|edit| holds(edit) == Ok(true)) {
            return Ok(edit);
        }
        let whole = file_text(&wanted);
        if !holds(&whole)? {
            return Err(format!("{name}: the sandbox cannot be written as YAML"));
        }
        if text.contains('#') && !text.trim_start().starts_with(['[', '{']) {
            return Err(format!(
                "{name}: the file cannot be changed without the loss of its comments: begin each sandbox with a line `- name: ...`"
            ));
        }
        Ok(whole)
    }

    /// Reads the file; one that is not there is empty.
    fn read(&self) -> Result<ItemFileContent, String> {
        if matches!(self.path.try_exists(), Ok(false)) {
            return Ok(ItemFileContent { text: String::new(), items: Vec::new() });
        }
        let text = node::read_file(&self.path).map_err(|error| error.to_string())?;
        let name = self.path.display().to_string();
        let read = read_items_text(&name, &text, &[], &self.rules).map_err(|errors| errors.to_string())?;
        Ok(ItemFileContent { text, items: read.items })
    }

    /// Puts a text in the place of the file at once, so that no reader sees a half of it.
    fn write(&self, folder: &Path, text: &str) -> std::io::Result<()> {
        // A link stays a link.
        let target = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let folder = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(folder);
        let mut new = NamedTempFile::new_in(folder)?;
        let permissions = match std::fs::metadata(&target) {
            Ok(metadata) => metadata.permissions(),
            // The router may run as another user.
            Err(_) => std::os::unix::fs::PermissionsExt::from_mode(0o644),
        };
        new.as_file().set_permissions(permissions)?;
        new.write_all(text.as_bytes())?;
        new.as_file().sync_all()?;
        new.persist(&target)?;
        Ok(())
    }

    /// Judges an item as a router does.
    pub(super) fn state(&self, item: &Item, now: Timestamp) -> ItemState {
        let refusal: Option<sandbox::SandboxRefusal> = match item {
            Item::Sandbox(written) => {
                let sandbox = Sandbox::new(written, &self.rules);
                if sandbox.is_expired(now) {
                    return ItemState::Ended;
                }
                sandbox.dtab.err()
            }
            Item::Group(written) => Group::new(written).members.err(),
        };
        refusal.map_or(ItemState::Ready, |refusal| ItemState::Refused(refusal.to_string()))
    }

    /// Returns the end of a sandbox.
    pub(super) fn end(&self, item: &Item) -> Option<Timestamp> {
        match item {
            Item::Sandbox(written) => Sandbox::new(written, &self.rules).expires,
            Item::Group(_) => None,
        }
    }
}
