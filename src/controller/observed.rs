//! The whole objects, as the leader keeps them: with their versions and their statuses.

use crate::kubernetes::WatchedObject;
use crate::sandbox::kubernetes::{GroupResource, Judgeable, SandboxResource};
use crate::sandbox::{GroupSpec, SandboxSpec, Written};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

/// A whole `Sandbox`. Two of one version are equal, so that thousands are compared in no time.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ObservedSandbox(pub(super) SandboxResource);

/// A whole `SandboxGroup`, likewise.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ObservedGroup(pub(super) GroupResource);

/// Implements the traits of an observed object.
macro_rules! observed {
    ($observed:ty, $resource:ty, $spec:ty) => {
        impl PartialEq for $observed {
            fn eq(&self, other: &Self) -> bool {
                version(&self.0.metadata) == version(&other.0.metadata)
            }
        }

        impl Eq for $observed {}

        impl WatchedObject for $observed {
            type ApiObject = $resource;

            fn from_api(object: Self::ApiObject) -> Self {
                Self(object)
            }
        }

        impl Judgeable for $observed {
            type Spec = $spec;

            fn name(&self) -> &str {
                self.0.metadata.name.as_deref().unwrap_or_default()
            }

            fn written(&self) -> Written<$spec> {
                self.0.written()
            }
        }
    };
}

observed!(ObservedSandbox, SandboxResource, SandboxSpec);
observed!(ObservedGroup, GroupResource, GroupSpec);

/// Returns what no two versions of objects have in common: the server's numbers.
fn version(metadata: &ObjectMeta) -> (Option<&str>, Option<&str>) {
    (metadata.uid.as_deref(), metadata.resource_version.as_deref())
}
