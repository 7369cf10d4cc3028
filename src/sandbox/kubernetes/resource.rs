//! The custom resources of sandboxes: `Sandbox` and `SandboxGroup`, group `signpost.dev`.
//!
//! `examples/kubernetes/sandbox-crds.yaml` defines them for the API server, with the same fields.

use crate::sandbox::{GroupSpec, SandboxId, SandboxSpec, Written};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};

/// A `Sandbox`, as the API server sends it.
#[derive(Clone, Debug, Deserialize)]
pub struct SandboxResource {
    /// Its name, its labels, its version.
    pub metadata: ObjectMeta,
    /// The part that its owner writes.
    pub spec: SandboxSpec,
    /// The part that the controller writes.
    pub status: Option<SandboxStatus>,
}

/// A `SandboxGroup`, as the API server sends it.
#[derive(Clone, Debug, Deserialize)]
pub struct GroupResource {
    /// Its name, its version.
    pub metadata: ObjectMeta,
    /// The part that its owner writes.
    pub spec: GroupSpec,
    /// The part that the controller writes.
    pub status: Option<GroupStatus>,
}

/// The part of a `Sandbox` that the controller writes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SandboxStatus {
    /// The generation of the object that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The key by which requests select it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The time of its end. That of a lifetime is written once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The conditions [`ACCEPTED`] and [`READY`], and those of other writers.
    pub conditions: Vec<Condition>,
}

/// The part of a `SandboxGroup` that the controller writes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GroupStatus {
    /// The generation of the object that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The key by which requests select it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The names of its sandboxes, in the order of their entries: a later one wins.
    pub members: Vec<String>,
    /// The prefixes for which several of its sandboxes have entries that differ, each with the keys of two, the winner
    /// last: `/svc/world a+b`.
    pub conflicts: Vec<String>,
    /// The conditions [`ACCEPTED`] and [`READY`], and those of other writers.
    pub conditions: Vec<Condition>,
}

/// The condition that tells whether requests can select the object.
pub const ACCEPTED: &str = "Accepted";

/// The condition that tells whether every destination of the object has endpoints.
pub const READY: &str = "Ready";

impl SandboxResource {
    /// Returns the object as it was written, with the end in its status.
    pub fn written(&self) -> Written<SandboxSpec> {
        let expires = self.status.as_ref().and_then(|status| status.expires_at);
        written(&self.metadata, self.spec.clone(), expires)
    }
}

impl GroupResource {
    /// Returns the object as it was written.
    pub fn written(&self) -> Written<GroupSpec> {
        written(&self.metadata, self.spec.clone(), None)
    }
}

fn written<S>(metadata: &ObjectMeta, spec: S, expires: Option<Timestamp>) -> Written<S> {
    let namespace = Some(metadata.namespace.as_deref().unwrap_or_default().into());
    let name = metadata.name.as_deref().unwrap_or_default().into();
    Written {
        id: SandboxId { namespace, name },
        labels: metadata.labels.clone().unwrap_or_default(),
        created: metadata.creation_timestamp.as_ref().map(|time| time.0),
        expires,
        spec,
    }
}

/// Implements the traits by which clients know a resource of the group `signpost.dev`.
macro_rules! resource {
    ($resource:ty, $kind:literal, $plural:literal) => {
        impl k8s_openapi::Resource for $resource {
            const API_VERSION: &'static str = "signpost.dev/v1alpha1";
            const GROUP: &'static str = "signpost.dev";
            const KIND: &'static str = $kind;
            const VERSION: &'static str = "v1alpha1";
            const URL_PATH_SEGMENT: &'static str = $plural;
            type Scope = NamespaceResourceScope;
        }

        impl Serialize for $resource {
            /// Writes the object as the API server takes it: with its kind, which it leaves out in lists.
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let Self { metadata, spec, status } = self;
                let mut keys = serializer.serialize_map(None)?;
                keys.serialize_entry("apiVersion", <Self as k8s_openapi::Resource>::API_VERSION)?;
                keys.serialize_entry("kind", <Self as k8s_openapi::Resource>::KIND)?;
                keys.serialize_entry("metadata", metadata)?;
                keys.serialize_entry("spec", spec)?;
                status.iter().try_for_each(|status| keys.serialize_entry("status", status))?;
                keys.end()
            }
        }

        impl k8s_openapi::Metadata for $resource {
            type Ty = ObjectMeta;

            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource!(SandboxResource, "Sandbox", "sandboxes");
resource!(GroupResource, "SandboxGroup", "sandboxgroups");

#[cfg(test)]
mod tests;
