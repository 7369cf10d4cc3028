//! The kept part of a Pod.

use crate::kubernetes::Kept;
use k8s_openapi::api::core::v1 as core;
use kube::core::PartialObjectMeta;
use serde::{Deserialize, Serialize};

/// The kept part of a Pod: its name.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pod(pub(super) Box<str>);

impl Kept for Pod {
    type Object = PartialObjectMeta<core::Pod>;

    fn keep(pod: Self::Object) -> Self {
        Self(pod.metadata.name.unwrap_or_default().into())
    }
}
