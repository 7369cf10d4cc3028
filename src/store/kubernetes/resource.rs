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
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::{Resource as _, jiff};
    use serde_json::{Value, json};

    /// Reads the definition; its scalars are read as texts.
    fn definition() -> Value {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kubernetes/crd.yaml");
        let text = std::fs::read_to_string(file).unwrap();
        marked_yaml::from_yaml(0, &text).unwrap()
    }

    /// Compares a schema with a value of every field: both name the same fields, of the same types.
    fn assert_described(schema: &Value, value: &Value, at: &str) {
        let kind = match value {
            Value::Object(fields) => {
                let described = schema["properties"].as_object().expect(at);
                let named =
                    |names: &serde_json::Map<String, Value>| names.keys().cloned().collect::<Vec<_>>();
                assert_eq!(named(described), named(fields), "{at}");
                for (name, field) in fields {
                    assert_described(&schema["properties"][name], field, &format!("{at}.{name}"));
                }
                "object"
            }
            Value::Array(items) => {
                items.iter().for_each(|item| assert_described(&schema["items"], item, &format!("{at}[]")));
                "array"
            }
            Value::String(_) => "string",
            Value::Number(_) => "integer",
            Value::Bool(_) | Value::Null => panic!("{at}: there is no such field"),
        };
        assert_eq!(schema["type"], kind, "{at}");
        assert!(schema["description"].is_string() || at == "Dtab.metadata", "{at} has no description");
    }

    #[test]
    fn the_definition_names_the_resource() {
        let definition = definition();
        let spec = &definition["spec"];
        let (group, plural) = (DtabResource::GROUP, DtabResource::URL_PATH_SEGMENT);
        assert_eq!(definition["metadata"]["name"], format!("{plural}.{group}"));
        assert_eq!((&spec["group"], &spec["scope"]), (&json!(group), &json!("Namespaced")));
        assert_eq!(spec["names"]["kind"], DtabResource::KIND);
        assert_eq!(spec["names"]["plural"], plural);
        let versions = spec["versions"].as_array().unwrap();
        assert_eq!(versions.len(), 1);
        assert_eq!(versions[0]["name"], DtabResource::VERSION);
        assert!(versions[0]["subresources"]["status"].is_object(), "the status is written by itself");
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
        let mut value = serde_json::to_value(full).unwrap();
        value["apiVersion"] = DtabResource::API_VERSION.into();
        value["kind"] = DtabResource::KIND.into();
        let schema = &definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        // The API server describes metadata itself.
        assert_eq!(schema["properties"]["metadata"], json!({ "type": "object" }));
        let mut schema = schema.clone();
        schema["properties"]["metadata"]["properties"] = json!({});
        assert_described(&schema, &value, "Dtab");
        assert_eq!(schema["required"], json!(["spec"]));
        assert_eq!(schema["properties"]["spec"]["required"], json!(["dtab"]));
    }

    #[test]
    fn columns_show_what_is_there() {
        let columns = definition()["spec"]["versions"][0]["additionalPrinterColumns"].clone();
        let shown: Vec<_> = columns
            .as_array()
            .unwrap()
            .iter()
            .map(|column| (column["name"].as_str().unwrap(), column["jsonPath"].as_str().unwrap()))
            .collect();
        let accepted = |field: &str| format!(".status.conditions[?(@.type==\"{ACCEPTED}\")].{field}");
        assert_eq!(
            shown,
            [
                ("Accepted", &*accepted("status")),
                ("Entries", ".status.entries"),
                ("Age", ".metadata.creationTimestamp"),
                ("Message", &*accepted("message")),
            ]
        );
    }
}
