//! The pods that have a label, by its value.

use super::cluster::Cluster;
use crate::kubernetes::{Kept, Metrics, Watches};
use k8s_openapi::api::core::v1 as core;
use kube::core::PartialObjectMeta;
use std::sync::Arc;
use tokio::runtime::Handle;

/// What is kept of a Pod: its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pod(pub(super) Box<str>);

impl Kept for Pod {
    type Object = PartialObjectMeta<core::Pod>;

    fn keep(pod: Self::Object) -> Self {
        Self(pod.metadata.name.unwrap_or_default().into())
    }
}

/// Makes the watches of the pods that have a label; the server leaves out all others.
pub(super) fn watches(cluster: &Cluster, key: &str, metrics: Metrics, control: &Handle) -> Watches<Pod> {
    let label: Arc<str> = key.into();
    let value = move |meta: &kube::api::ObjectMeta| {
        let value = meta.labels.as_ref()?.get(&*label)?;
        // Names are in lower case.
        Some(value.to_ascii_lowercase())
    };
    Watches::new(cluster.client.clone(), cluster.scope, Some(key.to_owned()), value, metrics, control)
}
