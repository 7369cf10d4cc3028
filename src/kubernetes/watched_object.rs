//! What is kept of a resource, and what is known of a group of its objects.

use jiff::Timestamp;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;

/// What is kept of each object of a resource: the resource's owner says.
///
/// As serde writes it, so it is in snapshots; one that cannot be read any more is not used.
pub trait WatchedObject: PartialEq + Serialize + DeserializeOwned + Send + Sync + Sized + 'static {
    /// The object as the API server gives it.
    type ApiObject: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + DeserializeOwned
        + Clone
        + Debug
        + Send
        + 'static;

    /// Takes what is to be kept.
    fn from_api(object: Self::ApiObject) -> Self;
}

/// What is known of a group of objects.
#[derive(Debug)]
pub enum GroupState<T> {
    /// No list was complete yet.
    Pending,
    /// No list was complete yet, and there is no use in waiting for one: the server refuses, for this reason.
    Failed(Arc<str>),
    /// The objects of the last complete list, and every change that was heard of since.
    Ready(GroupView<T>),
}

/// The objects of a group.
#[derive(Debug)]
pub struct GroupView<T> {
    /// In the order of their names; there may be none.
    pub objects: Arc<[Arc<T>]>,
    /// Why an object of the group could not be read that was never read before.
    pub unreadable: Option<Arc<str>>,
    /// Whether the server cannot be asked now, so that these are the last good ones.
    pub stale: bool,
    /// Of when they are, if that was before the process began.
    pub before: Option<Timestamp>,
}

impl<T> GroupState<T> {
    /// Returns of when the objects are, if that was before the process began.
    pub const fn before(&self) -> Option<Timestamp> {
        match self {
            Self::Ready(view) => view.before,
            Self::Pending | Self::Failed(_) => None,
        }
    }
}

impl<T> GroupView<T> {
    /// Returns the only object of a group that has one at most, such as a name's.
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
        let Self { objects, unreadable, stale, before } = self;
        Self { objects: Arc::clone(objects), unreadable: unreadable.clone(), stale: *stale, before: *before }
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
        (self.stale, self.before, &self.unreadable) == (other.stale, other.before, &other.unreadable)
            && self.objects == other.objects
    }
}

/// What tests keep.
#[cfg(test)]
pub(super) mod sample {
    use super::WatchedObject;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde::{Deserialize, Serialize};

    /// Of a ConfigMap, the values of its data.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(in crate::kubernetes) struct Values(pub(in crate::kubernetes) Vec<String>);

    impl WatchedObject for Values {
        type ApiObject = ConfigMap;

        fn from_api(object: ConfigMap) -> Self {
            Self(object.data.unwrap_or_default().into_values().collect())
        }
    }
}
