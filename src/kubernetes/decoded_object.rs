//! Decodes one object of a list, so that an unreadable object does not fail the others.

use kube::Resource;
use kube::api::{ObjectMeta, PartialObjectMeta};
use kube::core::error_boundary::InvalidObject;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde_json::Value;
use std::borrow::Cow;

/// An object of the API server, or its metadata and the reason why the rest cannot be read.
///
/// The guard of `kube` copies each object before it reads it, in case that it cannot.
#[derive(Clone, Debug)]
pub(super) struct DecodedObject<K>(pub(super) Result<K, InvalidObject>);

impl<'de, K: Resource + DeserializeOwned> Deserialize<'de> for DecodedObject<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        // The record of which client wrote which field: often a third of an object, and of no use here.
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        let error = match K::deserialize(&object) {
            Ok(object) => return Ok(Self(Ok(object))),
            Err(error) => error.to_string(),
        };
        let read = PartialObjectMeta::<K>::deserialize(object);
        let PartialObjectMeta { metadata, .. } = read.map_err(D::Error::custom)?;
        Ok(Self(Err(InvalidObject { error, metadata })))
    }
}

impl<K: Resource> Resource for DecodedObject<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &K::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &K::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &K::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &K::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    /// Returns whether metadata is enough: then the server is asked for nothing else.
    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|invalid| &invalid.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|invalid| &mut invalid.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::DecodedObject;
    use k8s_openapi::api::core::v1::{ConfigMap, Pod};
    use kube::Resource as _;
    use kube::core::PartialObjectMeta;
    use serde_json::{Value, json};

    fn read(data: &Value) -> DecodedObject<ConfigMap> {
        let metadata = json!({ "name": "x", "managedFields": "of no use" });
        serde_json::from_value(json!({ "metadata": metadata, "data": data })).unwrap()
    }

    #[test]
    fn of_metadata_nothing_else_is_asked_for() {
        assert!(DecodedObject::<PartialObjectMeta<Pod>>::metadata_api());
        assert!(!DecodedObject::<Pod>::metadata_api());
    }

    #[test]
    fn what_cannot_be_read_has_its_metadata() {
        let good = read(&json!({ "k": "v" }));
        assert_eq!((good.meta().name.as_deref(), good.0.is_ok()), (Some("x"), true));
        let bad = read(&json!({ "k": 5 }));
        assert_eq!(bad.meta().name.as_deref(), Some("x"));
        assert_eq!(bad.0.unwrap_err().error, "invalid type: integer `5`, expected a string");
        assert!(serde_json::from_str::<DecodedObject<ConfigMap>>(r#"{"metadata": 5}"#).is_err());
    }
}
