//! What one watch knows, and who wants to know it.

use super::decoded_object::DecodedObject;
use super::watched_object::{GroupState, GroupView, WatchedObject};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Where a group is: its namespace and its name.
pub(super) type GroupKey = (Arc<str>, Arc<str>);

/// Which object it is: its namespace and its name.
type ObjectId = (Arc<str>, Arc<str>);

/// Says where an object is looked for; one that is nowhere is not kept.
pub(super) type GroupFn = Arc<dyn Fn(&ObjectMeta) -> Option<GroupKey> + Send + Sync>;

/// An object as it came: one that could not be read has its metadata alone.
pub(super) type ReceivedObject<T> = DecodedObject<<T as WatchedObject>::ApiObject>;

/// The objects of one watch, by group and name.
pub(super) struct ObjectStore<T> {
    objects: Objects<T>,
    wanted: HashMap<GroupKey, watch::Sender<GroupState<T>>>,
    /// How many may be wanted before those that nobody wants any more are looked for.
    room: usize,
    knows: SyncState,
    /// Counts what the server told.
    revision: u64,
}

/// Groups that are wanted at one time before it is first looked whether they still are.
const ROOM: usize = 1024;

/// How far the answers can be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SyncState {
    /// No list was complete yet.
    Pending,
    /// Nor will one be, for this reason.
    Refused(Arc<str>),
    /// Everything, until now.
    Current,
    /// Everything, until the server could not be asked any more.
    Stale,
    /// Everything, at this time, before the process began.
    Restored(Timestamp),
}

/// The objects of one list and what changed since.
pub(super) struct Objects<T> {
    groups: HashMap<GroupKey, GroupEntries<T>>,
    /// In which group an object is.
    places: HashMap<ObjectId, GroupKey>,
    /// How many cannot be read.
    unreadable: usize,
    group: GroupFn,
}

/// The objects of a group, in the order of their names. Most groups have one: a node of a tree would be ten times that.
type GroupEntries<T> = Vec<(ObjectId, ObjectEntry<T>)>;

/// One object.
struct ObjectEntry<T> {
    /// What it was when it could last be read.
    good: Option<Arc<T>>,
    /// Why it cannot be read now.
    unreadable: Option<Arc<str>>,
}

/// One object, as a snapshot has it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ObjectRecord<T> {
    id: ObjectId,
    place: GroupKey,
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
    pub(super) fn new(group: GroupFn) -> Self {
        Self { groups: HashMap::new(), places: HashMap::new(), unreadable: 0, group }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Takes an object that was added or changed. Returns the groups that may differ now.
    ///
    /// What is as it was before, here or in `older`, is not held twice.
    fn apply(&mut self, came: ReceivedObject<T>, older: Option<&Self>) -> [Option<GroupKey>; 2] {
        let Some(mut id) = id(came.meta()) else { return [None, None] };
        let mut place = (self.group)(came.meta());
        let (left, old) = self.remove(&id).unzip();
        let mut old = old.and_then(|old| old.good);
        if let Some((known, at, good)) = older.and_then(|older| older.known(&id)) {
            place = place.map(|place| if place == *at { at.clone() } else { place });
            (id, old) = (known.clone(), old.or(good));
        }
        if let Some(place) = &place {
            let entry = match came.0 {
                Ok(object) => ObjectEntry { good: Some(once(T::from_api(object), old)), unreadable: None },
                Err(error) => ObjectEntry { good: old, unreadable: Some(error.error.into()) },
            };
            self.insert(id, place.clone(), entry);
        }
        [left.filter(|left| Some(left) != place.as_ref()), place]
    }

    /// Takes an object that is not there.
    fn insert(&mut self, id: ObjectId, place: GroupKey, entry: ObjectEntry<T>) {
        self.unreadable += usize::from(entry.unreadable.is_some());
        let entries = self.groups.entry(place.clone()).or_insert_with(|| Vec::with_capacity(1));
        let (Ok(at) | Err(at)) = find(entries, &id);
        entries.insert(at, (id.clone(), entry));
        self.places.insert(id, place);
    }

    /// Forgets an object. Returns the group it was in, and what it was.
    fn remove(&mut self, id: &ObjectId) -> Option<(GroupKey, ObjectEntry<T>)> {
        let place = self.places.remove(id)?;
        let entries = self.groups.get_mut(&place)?;
        let (_, old) = entries.remove(find(entries, id).ok()?);
        if entries.is_empty() {
            self.groups.remove(&place);
        }
        self.unreadable -= usize::from(old.unreadable.is_some());
        Some((place, old))
    }

    /// Which object it is, its group, and what it was when it could last be read.
    fn known(&self, id: &ObjectId) -> Option<(&ObjectId, &GroupKey, Option<Arc<T>>)> {
        let (id, place) = self.places.get_key_value(id)?;
        let entries = self.groups.get(place)?;
        Some((id, place, entries[find(entries, id).ok()?].1.good.clone()))
    }

    /// Removes an object from a list that is not complete yet.
    pub(super) fn delete(&mut self, came: &ReceivedObject<T>) {
        if let Some(id) = id(came.meta()) {
            self.remove(&id);
        }
    }

    /// Takes over the last good form of what cannot be read in this newer list.
    fn inherit(&mut self, older: &Self) {
        for (place, entries) in &mut self.groups {
            for (id, entry) in entries.iter_mut().filter(|(_, entry)| entry.good.is_none()) {
                let before = older.groups.get(place).map_or(&[][..], Vec::as_slice);
                entry.good = find(before, id).ok().and_then(|at| before[at].1.good.clone());
            }
        }
    }

    fn view(&self, place: &GroupKey, stale: bool, before: Option<Timestamp>) -> GroupView<T> {
        let entries = || self.groups.get(place).into_iter().flatten().map(|(_, entry)| entry);
        GroupView {
            objects: entries().filter_map(|entry| entry.good.clone()).collect(),
            unreadable: entries()
                .filter(|entry| entry.good.is_none())
                .find_map(|entry| entry.unreadable.clone()),
            stale,
            before,
        }
    }

    fn records(&self) -> impl Iterator<Item = ObjectRecord<T>> {
        self.groups.iter().flat_map(|(place, entries)| {
            entries.iter().map(|(id, ObjectEntry { good, unreadable })| ObjectRecord {
                id: id.clone(),
                place: place.clone(),
                good: good.clone(),
                unreadable: unreadable.clone(),
            })
        })
    }

    /// The objects that cannot be read, with or without a last good form.
    fn unreadable(&self) -> impl Iterator<Item = UnreadableObject> {
        self.groups.values().flatten().filter_map(|((namespace, name), entry)| {
            let reason = entry.unreadable.clone()?;
            Some(UnreadableObject { name: format!("{namespace}/{name}"), reason })
        })
    }
}

/// Finds an object in a group, or where it would be.
fn find<T>(entries: &[(ObjectId, ObjectEntry<T>)], id: &ObjectId) -> Result<usize, usize> {
    entries.binary_search_by(|(known, _)| known.cmp(id))
}

/// Returns the old one if the new one is as it was.
fn once<T: PartialEq>(new: T, old: Option<Arc<T>>) -> Arc<T> {
    old.filter(|old| **old == new).unwrap_or_else(|| Arc::new(new))
}

/// Returns which object it is. One without a name is none.
fn id(meta: &ObjectMeta) -> Option<ObjectId> {
    Some((meta.namespace.as_deref().unwrap_or_default().into(), meta.name.as_deref()?.into()))
}

impl<T: WatchedObject> ObjectStore<T> {
    pub(super) fn new(group: GroupFn) -> Self {
        Self {
            objects: Objects::new(group),
            wanted: HashMap::new(),
            room: ROOM,
            knows: SyncState::Pending,
            revision: 0,
        }
    }

    /// An empty list, to be filled and then handed to [`ObjectStore::replace`]; with room for what is known.
    pub(super) fn empty(&self) -> Objects<T> {
        let mut list = Objects::new(Arc::clone(&self.objects.group));
        list.groups.reserve(self.objects.groups.len());
        list.places.reserve(self.objects.places.len());
        list
    }

    /// Adds an object to a list that is not complete yet. What is as it was is shared with what is known: a large
    /// cluster is listed anew in little more memory than it has.
    pub(super) fn add(&self, list: &mut Objects<T>, came: ReceivedObject<T>) {
        list.apply(came, Some(&self.objects));
    }

    /// Starts or joins those who want to know of a group.
    pub(super) fn subscribe(&mut self, place: GroupKey) -> watch::Receiver<GroupState<T>> {
        if let Some(sender) = self.wanted.get(&place) {
            return sender.subscribe();
        }
        // Strangers may ask for names faster than those are forgotten.
        if self.wanted.len() >= self.room {
            self.sweep();
            self.room = (self.wanted.len() * 2).max(ROOM);
        }
        let (sender, receiver) = watch::channel(self.known(&place));
        self.wanted.insert(place, sender);
        receiver
    }

    /// Takes a complete list in the place of all that was known.
    pub(super) fn replace(&mut self, mut objects: Objects<T>) {
        objects.inherit(&self.objects);
        self.objects = objects;
        self.knows = SyncState::Current;
        self.revision += 1;
        self.publish_all();
    }

    /// Takes what was known at a time before this process began, until there is a complete list.
    pub(super) fn restore(&mut self, time: Timestamp, records: Vec<ObjectRecord<T>>) {
        let mut objects = self.empty();
        for ObjectRecord { id, place, good, unreadable } in records {
            objects.remove(&id);
            objects.insert(id, place, ObjectEntry { good, unreadable });
        }
        self.objects = objects;
        self.knows = SyncState::Restored(time);
        self.publish_all();
    }

    /// All objects, in no order.
    pub(super) fn records(&self) -> Vec<ObjectRecord<T>> {
        self.objects.records().collect()
    }

    /// Counts what the server told; 0 before the first complete list, whatever was restored.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes an object that was added or changed.
    pub(super) fn apply(&mut self, came: ReceivedObject<T>) {
        self.revision += 1;
        for place in self.objects.apply(came, None).into_iter().flatten() {
            self.publish(&place);
        }
    }

    /// Takes that an object was deleted.
    pub(super) fn delete(&mut self, came: &ReceivedObject<T>) {
        self.revision += 1;
        let Some(id) = id(came.meta()) else { return };
        if let Some((place, _)) = self.objects.remove(&id) {
            self.publish(&place);
        }
    }

    /// Says that the server cannot be asked now. `for_good` says that waiting does not help.
    pub(super) fn lost(&mut self, reason: &Arc<str>, for_good: bool) {
        let knows = match self.knows {
            SyncState::Current | SyncState::Stale => SyncState::Stale,
            SyncState::Restored(_) => return,
            SyncState::Pending | SyncState::Refused(_) if for_good => SyncState::Refused(Arc::clone(reason)),
            // Whoever asked while the server refused has been told; that it is away now is no news to wait for.
            SyncState::Pending => SyncState::Pending,
            SyncState::Refused(_) => return,
        };
        if self.knows != knows {
            self.knows = knows;
            self.publish_all();
        }
    }

    /// Whether the answers are old ones.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self.knows, SyncState::Stale | SyncState::Restored(_))
    }

    /// Of when the answers are, if that was before the process began.
    pub(super) const fn before(&self) -> Option<Timestamp> {
        match self.knows {
            SyncState::Restored(time) => Some(time),
            _ => None,
        }
    }

    /// Whether a list was ever complete, be it before the process began.
    pub(super) const fn is_complete(&self) -> bool {
        matches!(self.knows, SyncState::Current | SyncState::Stale | SyncState::Restored(_))
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// How many objects cannot be read.
    pub(super) const fn unreadable_count(&self) -> usize {
        self.objects.unreadable
    }

    /// The objects that cannot be read.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = UnreadableObject> {
        self.objects.unreadable()
    }

    /// Drops what nobody wants any more; returns whether anything is wanted.
    pub(super) fn sweep(&mut self) -> bool {
        self.wanted.retain(|_, sender| sender.receiver_count() > 0);
        !self.wanted.is_empty()
    }

    fn known(&self, place: &GroupKey) -> GroupState<T> {
        match &self.knows {
            SyncState::Pending => GroupState::Pending,
            SyncState::Refused(reason) => GroupState::Failed(Arc::clone(reason)),
            SyncState::Current | SyncState::Stale | SyncState::Restored(_) => {
                GroupState::Ready(self.objects.view(place, self.is_stale(), self.before()))
            }
        }
    }

    fn publish(&self, place: &GroupKey) {
        if let Some(sender) = self.wanted.get(place) {
            give(sender, self.known(place));
        }
    }

    fn publish_all(&self) {
        for (place, sender) in &self.wanted {
            give(sender, self.known(place));
        }
    }
}

/// Publishes what differs: the same would wake everybody for nothing.
fn give<T: WatchedObject>(sender: &watch::Sender<GroupState<T>>, new: GroupState<T>) {
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
