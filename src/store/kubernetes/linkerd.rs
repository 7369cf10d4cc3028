//! A dtab in Linkerd's custom resource: `DTab`, group `l5d.io`, where namerd stored it. It is read, never written.

use super::config::KubernetesStoreConfig;
use super::publish::{DtabError, DtabSource};
use crate::kubernetes::WatchedObject;
use crate::name::{Dentry, Dtab, NameTree, ParseError, Path, Prefix};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

/// A `DTab`, as the API server sends it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct LinkerdResource {
    metadata: ObjectMeta,
    #[serde(default)]
    dentries: Vec<LinkerdDentry>,
}

/// One entry of a `DTab`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct LinkerdDentry {
    prefix: String,
    dst: String,
}

impl k8s_openapi::Resource for LinkerdResource {
    const API_VERSION: &'static str = "l5d.io/v1alpha1";
    const GROUP: &'static str = "l5d.io";
    const KIND: &'static str = "DTab";
    const VERSION: &'static str = "v1alpha1";
    const URL_PATH_SEGMENT: &'static str = "dtabs";
    type Scope = NamespaceResourceScope;
}

impl k8s_openapi::Metadata for LinkerdResource {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The entries of a `DTab`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LinkerdDtab(Vec<LinkerdDentry>);

impl WatchedObject for LinkerdDtab {
    type ApiObject = LinkerdResource;

    fn from_api(object: Self::ApiObject) -> Self {
        Self(object.dentries)
    }
}

impl DtabSource for LinkerdDtab {
    fn dtab(&self, _: &KubernetesStoreConfig) -> Result<Option<Dtab>, DtabError> {
        let dentry = |(at, entry): (usize, &LinkerdDentry)| {
            let wrong = |key, error: &ParseError| {
                let wrong = DtabError::from_parse_error(error);
                // A line in one of many texts is no line of the whole object.
                DtabError { text: format!("dentries[{at}].{key}: {}", wrong.text), place: None }
            };
            let prefix: Prefix = entry.prefix.parse().map_err(|error| wrong("prefix", &error))?;
            let dst: NameTree<Path> = entry.dst.parse().map_err(|error| wrong("dst", &error))?;
            Ok(Dentry { prefix, dst })
        };
        self.0.iter().enumerate().map(dentry).collect::<Result<Dtab, DtabError>>().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::DtabObject;
    use super::*;
    use serde_json::{Value, json};

    fn read(dentries: &Value) -> Result<String, String> {
        let client = crate::kubernetes::Config::default();
        let object = DtabObject::LinkerdDtab;
        let config =
            KubernetesStoreConfig { client, namespace: "default".into(), name: "routes".into(), object };
        let resource = json!({
            "apiVersion": "l5d.io/v1alpha1", "kind": "DTab", "metadata": {}, "dentries": dentries,
        });
        let kept = LinkerdDtab::from_api(serde_json::from_value(resource).unwrap());
        match kept.dtab(&config) {
            Ok(dtab) => Ok(dtab.expect("it is there").to_string()),
            Err(wrong) => Err(wrong.line().to_owned()),
        }
    }

    #[test]
    fn entries_are_a_dtab() {
        let dentries = json!([
            { "prefix": "/srv", "dst": "/#/io.l5d.k8s/default/http" },
            { "prefix": "/host/*", "dst": "/a | 2 * /b & 8 * /c" },
        ]);
        assert_eq!(
            read(&dentries).unwrap(),
            "/srv=>/#/io.l5d.k8s/default/http;/host/*=>/a | 2.00*/b & 8.00*/c"
        );
        assert_eq!(read(&json!([])).unwrap(), "");
    }

    #[test]
    fn a_wrong_entry_is_named() {
        let wrong = read(&json!([{ "prefix": "/a", "dst": "/b" }, { "prefix": "/a", "dst": "/b |" }]));
        let wrong = wrong.unwrap_err();
        assert!(wrong.starts_with("dentries[1].dst: line 1, column 5: expected"), "{wrong}");
        let wrong = read(&json!([{ "prefix": "a", "dst": "/b" }])).unwrap_err();
        assert!(wrong.starts_with("dentries[0].prefix: line 1, column 1: expected"), "{wrong}");
    }
}
