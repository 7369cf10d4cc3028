//! The parts of both resources that a router keeps: enough to judge them, and nothing that the controller writes but the
//! end, so that a written status changes nothing.

use super::resource::{GroupResource, SandboxResource};
use crate::kubernetes::WatchedObject;
use crate::sandbox::{GroupSpec, ObjectId, SandboxSpec, Written};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A `Sandbox`, as a router keeps it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedSandbox(WatchedParts<SandboxSpec>);

/// A `SandboxGroup`, as a router keeps it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedGroup(WatchedParts<GroupSpec>);

/// The parts that both have.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct WatchedParts<S> {
    namespace: Arc<str>,
    name: Arc<str>,
    created: Option<Timestamp>,
    expires: Option<Timestamp>,
    labels: BTreeMap<String, String>,
    spec: S,
}

/// An object of a store that can be judged.
pub(super) trait Judgeable {
    /// The part that its owner writes.
    type Spec;

    /// Returns its name, by which the objects of a watch are ordered.
    fn name(&self) -> &str;

    /// Returns the object as it was written.
    fn written(&self) -> Written<Self::Spec>;
}

impl<S> WatchedParts<S> {
    fn new(metadata: ObjectMeta, spec: S, expires: Option<Timestamp>) -> Self {
        Self {
            namespace: metadata.namespace.unwrap_or_default().into(),
            name: metadata.name.unwrap_or_default().into(),
            created: metadata.creation_timestamp.map(|time| time.0),
            expires,
            labels: metadata.labels.unwrap_or_default(),
            spec,
        }
    }
}

impl<S: Clone> WatchedParts<S> {
    fn written(&self) -> Written<S> {
        let (namespace, name) = (Some(Arc::clone(&self.namespace)), Arc::clone(&self.name));
        Written {
            id: ObjectId { namespace, name },
            labels: self.labels.clone(),
            created: self.created,
            expires: self.expires,
            spec: self.spec.clone(),
        }
    }
}

impl WatchedObject for WatchedSandbox {
    type ApiObject = SandboxResource;

    fn from_api(SandboxResource { metadata, spec, status }: Self::ApiObject) -> Self {
        Self(WatchedParts::new(metadata, spec, status.and_then(|status| status.expires_at)))
    }
}

impl WatchedObject for WatchedGroup {
    type ApiObject = GroupResource;

    fn from_api(GroupResource { metadata, spec, status: _ }: Self::ApiObject) -> Self {
        // Its labels say nothing to a router.
        Self(WatchedParts::new(ObjectMeta { labels: None, ..metadata }, spec, None))
    }
}

impl Judgeable for WatchedSandbox {
    type Spec = SandboxSpec;

    fn name(&self) -> &str {
        &self.0.name
    }

    fn written(&self) -> Written<SandboxSpec> {
        self.0.written()
    }
}

impl Judgeable for WatchedGroup {
    type Spec = GroupSpec;

    fn name(&self) -> &str {
        &self.0.name
    }

    fn written(&self) -> Written<GroupSpec> {
        self.0.written()
    }
}
