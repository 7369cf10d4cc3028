//! Notes about the items of the embedded store: what is no mistake of the file, and yet not what its author may expect.

use super::Config;
use super::finding::{Finding, Severity};
use crate::sandbox::{
    self, Group, Item, Overlay, Sandbox, SandboxRules, SandboxTable, StoreObjects, StoreState,
};
use crate::source::node::Place;
use jiff::Timestamp;
use std::sync::Arc;

/// An item and its place.
struct PlacedItem {
    file: String,
    place: Place,
    item: Item,
}

impl Config {
    /// Returns a note for each item of the embedded store that has ended, and for each group with a member that is not
    /// there or with members that contradict each other. Reads the file of the store.
    pub fn sandbox_notes(&self) -> Vec<Finding> {
        let rules = self.sandbox_rules();
        let items = self.embedded_items(&rules);
        let now = Timestamp::now();
        let table = table_of(&items, &rules, now);
        let mut notes = Vec::new();
        for PlacedItem { file, place, item } in &items {
            let mut note = |message: String| {
                let message = format!("`{}` {message}", item.name());
                notes.push(Finding::new((file, *place, "sandboxes"), (Severity::Note, "sandbox"), message));
            };
            match item {
                Item::Sandbox(written) => {
                    let sandbox = Sandbox::new(written, &rules);
                    if let Some(end) = sandbox.expires.filter(|_| sandbox.is_expired(now)) {
                        note(format!("has ended at {end}: its key is unknown, and it can go"));
                    }
                }
                Item::Group(_) => {
                    let overlay = Overlay::new(&table, item.key(), now);
                    if let Some(missing) = overlay.unknown() {
                        note(format!("has members that are not there, or have ended: {missing}"));
                    }
                    if let Some(conflicts) = overlay.conflicts() {
                        note(format!(
                            "has sandboxes with different entries for the same names, of which the later one wins: {conflicts}"
                        ));
                    }
                }
            }
        }
        notes
    }

    /// Returns the items of the configuration and of the file; a file that is wrong has none.
    fn embedded_items(&self, rules: &SandboxRules) -> Vec<PlacedItem> {
        let objects = &self.sandboxes.objects;
        let own = objects.items.iter().zip(&self.places.sandboxes.items).map(|(item, place)| PlacedItem {
            file: self.file.clone(),
            place: *place,
            item: item.clone(),
        });
        let of_file = objects.file.iter().filter_map(|file| {
            let read = sandbox::read_items(file, &objects.items, rules).ok()?;
            let file = file.display().to_string();
            let placed = move |(item, place)| PlacedItem { file: file.clone(), place, item };
            Some(read.items.into_iter().map(placed))
        });
        own.chain(of_file.flatten()).collect()
    }
}

/// Returns the table of these items alone.
fn table_of(items: &[PlacedItem], rules: &SandboxRules, now: Timestamp) -> SandboxTable {
    let mut objects = StoreObjects::default();
    for PlacedItem { item, .. } in items {
        match item {
            Item::Sandbox(written) => objects.sandboxes.push(Arc::new(Sandbox::new(written, rules))),
            Item::Group(written) => objects.groups.push(Arc::new(Group::new(written))),
        }
    }
    SandboxTable::new([&StoreState::Ready(Arc::new(objects))], now)
}
