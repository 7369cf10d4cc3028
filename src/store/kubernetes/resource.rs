//! A dtab in a custom resource of our own: `Dtab`, group `signpost.dev`.
//!
//! `examples/kubernetes/crd.yaml` defines it for the API server, with the same fields.

use super::config::KubernetesStoreConfig;
use super::publish::{DtabError, DtabSource};
use crate::kubernetes::WatchedObject;
use crate::name::Dtab;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use serde::{Deserialize, Serialize};

/// A `Dtab`, as the API server sends it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct DtabResource {
    pub(super) metadata: ObjectMeta,
    pub(super) spec: DtabSpec,
    pub(super) status: Option<DtabStatus>,
}

/// The part of a `Dtab` that its owner writes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct DtabSpec {
    /// The dtab in its usual notation, comments and all.
    pub(super) dtab: String,
}

/// The part of a `Dtab` that the routers write.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct DtabStatus {
    /// The generation of the `Dtab` that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) observed_generation: Option<i64>,
    /// How many entries the dtab has, if it is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) entries: Option<i64>,
    /// The condition [`ACCEPTED`], and those of other writers.
    pub(super) conditions: Vec<Condition>,
}

/// The condition that tells whether the dtab is valid.
pub(super) const ACCEPTED: &str = "Accepted";

impl k8s_openapi::Resource for DtabResource {
    const API_VERSION: &'static str = "signpost.dev/v1alpha1";
    const GROUP: &'static str = "signpost.dev";
    const KIND: &'static str = "Dtab";
    const VERSION: &'static str = "v1alpha1";
    const URL_PATH_SEGMENT: &'static str = "dtabs";
    type Scope = NamespaceResourceScope;
}

impl k8s_openapi::Metadata for DtabResource {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A `Dtab`, as the router stores it.
#[derive(Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct SignpostDtab {
    /// Counts the changes of the spec.
    pub(super) generation: Option<i64>,
    pub(super) uid: Option<String>,
    /// Changes with each change of the object.
    pub(super) resource_version: Option<String>,
    pub(super) spec: DtabSpec,
    pub(super) status: DtabStatus,
}

impl WatchedObject for SignpostDtab {
    type ApiObject = DtabResource;

    fn from_api(object: Self::ApiObject) -> Self {
        let ObjectMeta { generation, uid, resource_version, .. } = object.metadata;
        let status = object.status.unwrap_or_default();
        Self { generation, uid, resource_version, spec: object.spec, status }
    }
}

impl DtabSource for SignpostDtab {
    fn dtab(&self, _: &KubernetesStoreConfig) -> Result<Option<Dtab>, DtabError> {
        self.spec.dtab.parse().map(Some).map_err(|error| DtabError::from_parse_error(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::definition::{assert_complete, assert_named, columns, definition, schema};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff;
    use serde_json::json;

    #[test]
    fn the_definition_names_the_resource() {
        assert_named::<DtabResource>(&definition("crd.yaml", "Dtab"));
    }

    #[test]
    fn the_definition_describes_every_field_and_no_other() {
        let text = || "a".to_owned();
        let condition = Condition {
            last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
            message: text(),
            observed_generation: Some(1),
            reason: text(),
            status: text(),
            type_: ACCEPTED.to_owned(),
        };
        let status =
            DtabStatus { observed_generation: Some(1), entries: Some(2), conditions: vec![condition] };
        let (metadata, spec) = (ObjectMeta::default(), DtabSpec { dtab: text() });
        let full = DtabResource { metadata, spec, status: Some(status) };
        let definition = definition("crd.yaml", "Dtab");
        assert_complete::<DtabResource>(&definition, serde_json::to_value(full).unwrap());
        assert_eq!(schema(&definition)["properties"]["spec"]["required"], json!(["dtab"]));
    }

    #[test]
    fn columns_show_what_is_there() {
        let accepted = |field: &str| format!(".status.conditions[?(@.type==\"{ACCEPTED}\")].{field}");
        assert_eq!(
            columns(&definition("crd.yaml", "Dtab")),
            [
                ("Accepted", &*accepted("status")),
                ("Entries", ".status.entries"),
                ("Age", ".metadata.creationTimestamp"),
                ("Message", &*accepted("message")),
            ]
        );
    }
}
