//! The objects that one watch knows, in groups, and the subscribers of each group.

use super::decoded_object::DecodedObject;
use super::watched_object::{GroupState, GroupView, Lost, WatchedObject};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// The key of a group: its namespace and its name.
pub(super) type GroupKey = (Arc<str>, Arc<str>);

/// The key of an object: its namespace and its name.
type ObjectId = (Arc<str>, Arc<str>);

/// A function that returns the group of an object. An object without a group is not stored.
pub(super) type GroupFn = Arc<dyn Fn(&ObjectMeta) -> Option<GroupKey> + Send + Sync>;

/// An object as the server sent it: an unreadable one has its metadata alone.
pub(super) type ReceivedObject<T> = DecodedObject<<T as WatchedObject>::ApiObject>;

/// The objects of one watch, by group and name, and the subscribers of the groups.
pub(super) struct ObjectStore<T> {
    objects: Objects<T>,
    subscribers: HashMap<GroupKey, watch::Sender<GroupState<T>>>,
    /// How many subscribed groups there may be before groups without receivers are looked for.
    sweep_at: usize,
    sync: SyncState,
    /// Counts the lists and events from the server.
    revision: u64,
}

/// How many groups may be subscribed before groups without receivers are first looked for.
const FIRST_SWEEP: usize = 1024;

/// The state of a watch's knowledge, by how far the answers can be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SyncState {
    /// No list was complete yet.
    Pending,
    /// No list was complete yet, and none is expected: the server refuses, for this reason.
    Refused(Arc<str>),
    /// All objects are known, as of now.
    Current,
    /// All objects are known, as of the time when the server was last reached.
    Stale(Lost),
    /// All objects are known as of this time, before the process began.
    Restored(Timestamp),
}

/// The objects of one list and what changed since.
pub(super) struct Objects<T> {
    groups: HashMap<GroupKey, GroupEntries<T>>,
    /// The group of each object.
    groups_by_id: HashMap<ObjectId, GroupKey>,
    /// How many objects cannot be read.
    unreadable: usize,
    group_of: GroupFn,
}

/// The objects of a group, in the order of their names. Most groups have one: a node of a tree would be ten times that.
type GroupEntries<T> = Vec<(ObjectId, ObjectEntry<T>)>;

/// One stored object.
struct ObjectEntry<T> {
    /// The object when it could last be read.
    good: Option<Arc<T>>,
    /// The reason why it cannot be read now.
    unreadable: Option<Arc<str>>,
    /// The time when it, or the newest of its members, was first seen; none if that was before the process began.
    seen: Option<Instant>,
}

/// One object, as a snapshot has it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ObjectRecord<T> {
    id: ObjectId,
    #[serde(rename = "place")]
    group: GroupKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    good: Option<Arc<T>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<Arc<str>>,
}

/// An object that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnreadableObject {
    /// `namespace/name`.
    pub(super) name: String,
    pub(super) reason: Arc<str>,
}

impl<T: WatchedObject> Objects<T> {
    pub(super) fn new(group_of: GroupFn) -> Self {
        Self { groups: HashMap::new(), groups_by_id: HashMap::new(), unreadable: 0, group_of }
    }

    pub(super) fn len(&self) -> usize {
        self.groups_by_id.len()
    }

    /// Takes an object that was added or changed. Returns the groups that may differ now.
    ///
    /// An object that is equal to the one before, here or in `older`, shares its memory.
    fn apply(&mut self, object: ReceivedObject<T>, older: Option<&Self>) -> [Option<GroupKey>; 2] {
        let Some(mut id) = object_id(object.meta()) else { return [None, None] };
        let mut group = (self.group_of)(object.meta());
        let (left, old) = self.remove(&id).unzip();
        let (mut old, mut seen) = match old {
            Some(ObjectEntry { good, seen, .. }) => (good, seen),
            None => (None, Some(Instant::now())),
        };
        if let Some((known, at, entry)) = older.and_then(|older| older.find_by_id(&id)) {
            group = group.map(|group| if group == *at { at.clone() } else { group });
            (id, old, seen) = (known.clone(), old.or_else(|| entry.good.clone()), entry.seen);
        }
        if let Some(group) = &group {
            let (good, unreadable) = match object.0 {
                Ok(object) => {
                    let new = T::from_api(object);
                    // Equal objects, as most of a list are, need no second look.
                    if old.as_deref().is_some_and(|old| new != *old && new.has_grown_since(old)) {
                        seen = Some(Instant::now());
                    }
                    (Some(reuse_equal(new, old)), None)
                }
                // The reason may show what the object has.
                Err(_) if T::IS_SECRET => (old, Some("it is malformed".into())),
                Err(error) => (old, Some(error.error.into())),
            };
            let entry = ObjectEntry { good, unreadable, seen };
            self.insert(id, group.clone(), entry);
        }
        [left.filter(|left| Some(left) != group.as_ref()), group]
    }

    /// Inserts an object that is not stored yet.
    fn insert(&mut self, id: ObjectId, group: GroupKey, entry: ObjectEntry<T>) {
        self.unreadable += usize::from(entry.unreadable.is_some());
        let entries = self.groups.entry(group.clone()).or_insert_with(|| Vec::with_capacity(1));
        let (Ok(at) | Err(at)) = search(entries, &id);
        entries.insert(at, (id.clone(), entry));
        self.groups_by_id.insert(id, group);
    }

    /// Removes an object. Returns the group it was in, and its entry.
    fn remove(&mut self, id: &ObjectId) -> Option<(GroupKey, ObjectEntry<T>)> {
        let group = self.groups_by_id.remove(id)?;
        let entries = self.groups.get_mut(&group)?;
        let (_, old) = entries.remove(search(entries, id).ok()?);
        if entries.is_empty() {
            self.groups.remove(&group);
        }
        self.unreadable -= usize::from(old.unreadable.is_some());
        Some((group, old))
    }

    /// Returns the stored key of an object, its group, and its entry.
    fn find_by_id(&self, id: &ObjectId) -> Option<(&ObjectId, &GroupKey, &ObjectEntry<T>)> {
        let (id, group) = self.groups_by_id.get_key_value(id)?;
        let entries = self.groups.get(group)?;
        Some((id, group, &entries[search(entries, id).ok()?].1))
    }

    /// Removes an object from a list that is not complete yet.
    pub(super) fn delete(&mut self, object: &ReceivedObject<T>) {
        if let Some(id) = object_id(object.meta()) {
            self.remove(&id);
        }
    }

    /// Takes over the last good form of objects that cannot be read in this newer list.
    fn inherit(&mut self, older: &Self) {
        for (group, entries) in &mut self.groups {
            for (id, entry) in entries.iter_mut().filter(|(_, entry)| entry.good.is_none()) {
                let before = older.groups.get(group).map_or(&[][..], Vec::as_slice);
                entry.good = search(before, id).ok().and_then(|at| before[at].1.good.clone());
            }
        }
    }

    fn view(&self, group: &GroupKey, before: Option<Timestamp>, lost: Option<Lost>) -> GroupView<T> {
        let entries = || self.groups.get(group).into_iter().flatten().map(|(_, entry)| entry);
        GroupView {
            objects: entries().filter_map(|entry| entry.good.clone()).collect(),
            unreadable: entries()
                .filter(|entry| entry.good.is_none())
                .find_map(|entry| entry.unreadable.clone()),
            stale: lost.is_some(),
            before,
            newest: entries().filter_map(|entry| entry.seen).max(),
            lost,
        }
    }

    fn records(&self) -> impl Iterator<Item = ObjectRecord<T>> {
        self.groups.iter().flat_map(|(group, entries)| {
            entries.iter().map(|(id, ObjectEntry { good, unreadable, .. })| ObjectRecord {
                id: id.clone(),
                group: group.clone(),
                good: good.clone(),
                unreadable: unreadable.clone(),
            })
        })
    }

    /// Returns the objects that cannot be read, with or without a last good form.
    fn unreadable(&self) -> impl Iterator<Item = UnreadableObject> {
        self.groups.values().flatten().filter_map(|((namespace, name), entry)| {
            let reason = entry.unreadable.clone()?;
            Some(UnreadableObject { name: format!("{namespace}/{name}"), reason })
        })
    }
}

/// Finds the index of an object in a group, or the index to insert it at.
fn search<T>(entries: &[(ObjectId, ObjectEntry<T>)], id: &ObjectId) -> Result<usize, usize> {
    entries.binary_search_by(|(known, _)| known.cmp(id))
}

/// Returns the old value if the new one is equal to it.
fn reuse_equal<T: PartialEq>(new: T, old: Option<Arc<T>>) -> Arc<T> {
    old.filter(|old| **old == new).unwrap_or_else(|| Arc::new(new))
}

/// Returns the key of an object, if it has a name.
fn object_id(meta: &ObjectMeta) -> Option<ObjectId> {
    Some((meta.namespace.as_deref().unwrap_or_default().into(), meta.name.as_deref()?.into()))
}

impl<T: WatchedObject> ObjectStore<T> {
    pub(super) fn new(group: GroupFn) -> Self {
        Self {
            objects: Objects::new(group),
            subscribers: HashMap::new(),
            sweep_at: FIRST_SWEEP,
            sync: SyncState::Pending,
            revision: 0,
        }
    }

    /// Returns an empty list, to be filled and then handed to [`ObjectStore::replace`]. It has room for as many
    /// objects as are known.
    pub(super) fn empty(&self) -> Objects<T> {
        let mut list = Objects::new(Arc::clone(&self.objects.group_of));
        list.groups.reserve(self.objects.groups.len());
        list.groups_by_id.reserve(self.objects.groups_by_id.len());
        list
    }

    /// Adds an object to a list that is not complete yet. It shares memory with an equal object that is already
    /// known: a large cluster is listed anew in little more memory than it has.
    pub(super) fn add(&self, list: &mut Objects<T>, object: ReceivedObject<T>) {
        list.apply(object, Some(&self.objects));
    }

    /// Subscribes to a group.
    pub(super) fn subscribe(&mut self, group: GroupKey) -> watch::Receiver<GroupState<T>> {
        if let Some(sender) = self.subscribers.get(&group) {
            return sender.subscribe();
        }
        // Strangers may ask for names faster than the sweep drops them.
        if self.subscribers.len() >= self.sweep_at {
            self.sweep();
            self.sweep_at = (self.subscribers.len() * 2).max(FIRST_SWEEP);
        }
        let (sender, receiver) = watch::channel(self.group_state(&group));
        self.subscribers.insert(group, sender);
        receiver
    }

    /// Replaces all objects by a complete list.
    pub(super) fn replace(&mut self, mut objects: Objects<T>) {
        objects.inherit(&self.objects);
        self.objects = objects;
        self.sync = SyncState::Current;
        self.revision += 1;
        self.publish_all();
    }

    /// Takes objects that were known at a time before this process began, until there is a complete list.
    pub(super) fn restore(&mut self, time: Timestamp, records: Vec<ObjectRecord<T>>) {
        let mut objects = self.empty();
        for ObjectRecord { id, group, good, unreadable } in records {
            objects.remove(&id);
            objects.insert(id, group, ObjectEntry { good, unreadable, seen: None });
        }
        self.objects = objects;
        self.sync = SyncState::Restored(time);
        self.publish_all();
    }

    /// Returns all objects, in no order.
    pub(super) fn records(&self) -> Vec<ObjectRecord<T>> {
        self.objects.records().collect()
    }

    /// Returns how many lists and events came from the server; 0 before the first complete list, even with restored
    /// objects.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// Stores an object that was added or changed.
    pub(super) fn apply(&mut self, object: ReceivedObject<T>) {
        self.revision += 1;
        for group in self.objects.apply(object, None).into_iter().flatten() {
            self.publish(&group);
        }
    }

    /// Removes an object that was deleted.
    pub(super) fn delete(&mut self, object: &ReceivedObject<T>) {
        self.revision += 1;
        let Some(id) = object_id(object.meta()) else { return };
        if let Some((group, _)) = self.objects.remove(&id) {
            self.publish(&group);
        }
    }

    /// Marks the objects as old, because the server cannot be reached now. With `for_good`, waiting for it does not
    /// help.
    pub(super) fn mark_lost(&mut self, reason: &Arc<str>, for_good: bool) {
        let sync = match &self.sync {
            SyncState::Current => {
                SyncState::Stale(Lost { since: Some(Instant::now()), reason: Arc::clone(reason) })
            }
            SyncState::Stale(Lost { since, .. }) if for_good => {
                SyncState::Stale(Lost { since: *since, reason: Arc::clone(reason) })
            }
            SyncState::Stale(_) | SyncState::Restored(_) => return,
            SyncState::Pending | SyncState::Refused(_) if for_good => SyncState::Refused(Arc::clone(reason)),
            // Subscribers have been told that the server refuses; that it cannot be reached now is nothing to wait for.
            SyncState::Pending => SyncState::Pending,
            SyncState::Refused(_) => return,
        };
        if self.sync != sync {
            self.sync = sync;
            self.publish_all();
        }
    }

    /// Returns the reason why the answers are old ones, if they are.
    fn lost(&self) -> Option<Lost> {
        match &self.sync {
            SyncState::Stale(lost) => Some(lost.clone()),
            SyncState::Restored(time) => {
                let reason = format!("there was no list since the snapshot of {time:.0}").into();
                Some(Lost { since: None, reason })
            }
            SyncState::Pending | SyncState::Refused(_) | SyncState::Current => None,
        }
    }

    /// Returns whether the answers are old ones.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self.sync, SyncState::Stale(_) | SyncState::Restored(_))
    }

    /// Returns the time of the snapshot that the answers are from; none if this process has listed them itself.
    pub(super) const fn snapshot_time(&self) -> Option<Timestamp> {
        match self.sync {
            SyncState::Restored(time) => Some(time),
            _ => None,
        }
    }

    /// Returns whether a list was ever complete, even if that was before the process began.
    pub(super) const fn is_complete(&self) -> bool {
        matches!(self.sync, SyncState::Current | SyncState::Stale(_) | SyncState::Restored(_))
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Returns the number of objects that cannot be read.
    pub(super) const fn unreadable_count(&self) -> usize {
        self.objects.unreadable
    }

    /// Returns the objects that cannot be read.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = UnreadableObject> {
        self.objects.unreadable()
    }

    /// Drops groups without receivers; returns whether any group is left.
    pub(super) fn sweep(&mut self) -> bool {
        self.subscribers.retain(|_, sender| sender.receiver_count() > 0);
        !self.subscribers.is_empty()
    }

    /// Returns whether any group has a receiver.
    pub(super) fn is_held(&self) -> bool {
        self.subscribers.values().any(|sender| sender.receiver_count() > 0)
    }

    fn group_state(&self, group: &GroupKey) -> GroupState<T> {
        match &self.sync {
            SyncState::Pending => GroupState::Pending,
            SyncState::Refused(reason) => GroupState::Failed(Arc::clone(reason)),
            SyncState::Current | SyncState::Stale(_) | SyncState::Restored(_) => {
                GroupState::Ready(self.objects.view(group, self.snapshot_time(), self.lost()))
            }
        }
    }

    fn publish(&self, group: &GroupKey) {
        if let Some(sender) = self.subscribers.get(group) {
            send_if_changed(sender, self.group_state(group));
        }
    }

    fn publish_all(&self) {
        for (group, sender) in &self.subscribers {
            send_if_changed(sender, self.group_state(group));
        }
    }
}

/// Sends a state if it differs from the last one: an equal one would wake all receivers for nothing.
fn send_if_changed<T: WatchedObject>(sender: &watch::Sender<GroupState<T>>, new: GroupState<T>) {
    sender.send_if_modified(|known| {
        let changed = *known != new;
        if changed {
            *known = new;
        }
        changed
    });
}

#[cfg(test)]
mod tests;
