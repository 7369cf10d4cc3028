//! The objects that a watch stores, and the state of a group of them.

use jiff::Timestamp;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::time::Instant;

/// The part of an object that a watch stores. The module that uses the resource implements it.
///
/// Snapshots contain it as serde writes it. A snapshot that serde can no longer read is not used.
pub trait WatchedObject: PartialEq + Serialize + DeserializeOwned + Send + Sync + Sized + 'static {
    /// The whole object, as the API server sends it.
    type ApiObject: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + DeserializeOwned
        + Clone
        + Debug
        + Send
        + 'static;

    /// Whether it is kept in memory alone: no snapshot contains it, and no message a part of it.
    const IS_SECRET: bool = false;

    /// Takes the part to store from the whole object.
    fn from_api(object: Self::ApiObject) -> Self;

    /// Returns whether it has a member that it did not have as `old`, such as a pod of a slice. An object without members
    /// never has.
    fn has_grown_since(&self, old: &Self) -> bool {
        let _ = old;
        false
    }
}

/// The state of a group of objects, as a watch knows it.
#[derive(Debug)]
pub enum GroupState<T> {
    /// No list was complete yet.
    Pending,
    /// No list was complete yet, and waiting does not help: the server refuses, for this reason.
    Failed(Arc<str>),
    /// The objects of the last complete list, with every later change.
    Ready(GroupView<T>),
}

/// The objects of a group.
#[derive(Debug)]
pub struct GroupView<T> {
    /// The objects, in the order of their names; there may be none.
    pub objects: Arc<[Arc<T>]>,
    /// The reason why an object of the group cannot be read, if it could never be read before.
    pub unreadable: Option<Arc<str>>,
    /// Whether the objects are the last good ones, because the server cannot be reached now.
    pub stale: bool,
    /// The time of the snapshot that the objects are from; none if this process has listed them itself.
    pub before: Option<Timestamp>,
    /// The time when the newest of the objects and of their members was first seen; none if all of them were known before
    /// the process began.
    pub newest: Option<Instant>,
    /// The reason why the objects are only the last good ones, and since when.
    pub lost: Option<Lost>,
}

/// The reason why the objects of a watch are only the last good ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The time since when the server cannot be asked; none if that was so before the process began.
    pub since: Option<Instant>,
    /// The reason, for people.
    pub reason: Arc<str>,
}

impl<T> GroupState<T> {
    /// Returns the time of the snapshot that the objects are from; none if this process has listed them itself.
    pub const fn before(&self) -> Option<Timestamp> {
        match self {
            Self::Ready(view) => view.before,
            Self::Pending | Self::Failed(_) => None,
        }
    }
}

impl<T> Default for GroupView<T> {
    /// Returns a group without objects, up to date.
    fn default() -> Self {
        let objects = Vec::new().into();
        Self { objects, unreadable: None, stale: false, before: None, newest: None, lost: None }
    }
}

impl<T> GroupView<T> {
    /// Returns the reason why nothing can be known of this group, which belongs to an object that was first seen at
    /// `newest`: the server could not be asked since then.
    pub fn unknown_since(&self, newest: Option<Instant>) -> Option<&Lost> {
        self.lost_before(newest).filter(|_| self.objects.is_empty())
    }

    /// Returns the reason why this group may lack what belongs to something that was first seen at `newest`: the server
    /// could not be asked since then.
    pub fn lost_before(&self, newest: Option<Instant>) -> Option<&Lost> {
        let lost = self.lost.as_ref()?;
        let is_newer = newest.is_some_and(|seen| lost.since.is_none_or(|since| seen > since));
        is_newer.then_some(lost)
    }

    /// Returns the only object of a group that has at most one, such as the group of a name.
    pub fn one(&self) -> Option<&T> {
        self.objects.first().map(AsRef::as_ref)
    }
}

impl<T> Clone for GroupState<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Pending => Self::Pending,
            Self::Failed(reason) => Self::Failed(Arc::clone(reason)),
            Self::Ready(view) => Self::Ready(view.clone()),
        }
    }
}

impl<T> Clone for GroupView<T> {
    fn clone(&self) -> Self {
        let Self { objects, unreadable, stale, before, newest, lost } = self;
        let (objects, unreadable, lost) = (Arc::clone(objects), unreadable.clone(), lost.clone());
        Self { objects, unreadable, stale: *stale, before: *before, newest: *newest, lost }
    }
}

impl<T: PartialEq> PartialEq for GroupState<T> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pending, Self::Pending) => true,
            (Self::Failed(reason), Self::Failed(other)) => reason == other,
            (Self::Ready(view), Self::Ready(other)) => view == other,
            _ => false,
        }
    }
}

impl<T: PartialEq> PartialEq for GroupView<T> {
    fn eq(&self, other: &Self) -> bool {
        let of = |view: &Self| (view.stale, view.before, view.newest);
        of(self) == of(other)
            && (&self.unreadable, &self.lost) == (&other.unreadable, &other.lost)
            && self.objects == other.objects
    }
}

/// A stored object for tests.
#[cfg(test)]
pub(super) mod sample {
    use super::WatchedObject;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde::{Deserialize, Serialize};

    /// The values in the data of a ConfigMap.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(in crate::kubernetes) struct Values(pub(in crate::kubernetes) Vec<String>);

    impl WatchedObject for Values {
        type ApiObject = ConfigMap;

        fn from_api(object: ConfigMap) -> Self {
            Self(object.data.unwrap_or_default().into_values().collect())
        }
    }
}
