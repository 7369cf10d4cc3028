//! The kept part of a Pod.

use crate::kubernetes::WatchedObject;
use k8s_openapi::api::core::v1 as core;
use kube::core::PartialObjectMeta;
use serde::{Deserialize, Serialize};

/// The kept part of a Pod: its name.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pod(pub(super) Box<str>);

impl WatchedObject for Pod {
    type ApiObject = PartialObjectMeta<core::Pod>;

    fn from_api(pod: Self::ApiObject) -> Self {
        Self(pod.metadata.name.unwrap_or_default().into())
    }
}
