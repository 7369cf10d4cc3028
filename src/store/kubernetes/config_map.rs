//! A dtab in a ConfigMap.

use super::config::{DtabObject, KubernetesStoreConfig};
use super::publish::{DtabError, DtabSource};
use crate::kubernetes::WatchedObject;
use crate::name::Dtab;
use k8s_openapi::api::core::v1 as core;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The texts in the data of a ConfigMap.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ConfigMapData(BTreeMap<String, String>);

impl WatchedObject for ConfigMapData {
    type ApiObject = core::ConfigMap;

    fn from_api(map: Self::ApiObject) -> Self {
        Self(map.data.unwrap_or_default())
    }
}

impl DtabSource for ConfigMapData {
    fn dtab(&self, config: &KubernetesStoreConfig) -> Result<Option<Dtab>, DtabError> {
        let text = match &config.object {
            DtabObject::ConfigMap { filename } => self.0.get(filename),
            DtabObject::Dtab | DtabObject::LinkerdDtab => None,
        };
        text.map(|text| text.parse().map_err(|error| DtabError::from_parse_error(&error))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &serde_json::Value) -> Result<Option<String>, DtabError> {
        let object = DtabObject::ConfigMap { filename: "dtab".into() };
        let client = crate::kubernetes::Config::default();
        let config =
            KubernetesStoreConfig { client, namespace: "default".into(), name: "routes".into(), object };
        let map = serde_json::from_value(serde_json::json!({ "data": data })).unwrap();
        ConfigMapData::from_api(map).dtab(&config).map(|dtab| dtab.map(|dtab| dtab.to_string()))
    }

    #[test]
    fn one_key_is_the_dtab() {
        let data = serde_json::json!({ "dtab": "# Ours.\n/svc => /a;\n", "other": "!" });
        assert_eq!(read(&data).unwrap().as_deref(), Some("/svc=>/a"));
        assert_eq!(read(&serde_json::json!({ "dtab": "" })).unwrap().as_deref(), Some(""));
        assert_eq!(read(&serde_json::json!({ "other": "/svc => /a" })).unwrap(), None);
        assert_eq!(read(&serde_json::Value::Null).unwrap(), None);
    }

    #[test]
    fn what_is_no_dtab_has_a_place() {
        let wrong = read(&serde_json::json!({ "dtab": "/svc => /a;\n/svc = /b" })).unwrap_err();
        assert_eq!(wrong.place, Some((2, 6)));
        assert!(wrong.text.starts_with("line 2, column 6: expected '=>', found '='\n"), "{}", wrong.text);
    }
}
