//! The object of Kubernetes that holds a dtab, as configured.

use crate::kubernetes::Config;
use crate::store::error::Error;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use std::fmt;

/// A dtab in an object of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesStoreConfig {
    /// `host` and `port`, or `kubeconfig` and `context`, or none of them: where the API server is; and `snapshot`.
    pub client: Config,
    /// `namespace`: the object's; `default` unless given, as in Linkerd.
    pub namespace: String,
    /// `name`: the object's.
    pub name: String,
    /// What it is.
    pub object: DtabObject,
}

/// The objects that can hold a dtab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DtabObject {
    /// `io.l5d.k8s.configMap`: a ConfigMap.
    ConfigMap {
        /// `filename`: the key whose value is the dtab.
        filename: String,
    },
    /// `io.l5d.k8s.dtab`: our own custom resource, whose status says what became of it.
    Dtab,
    /// The same with `apiVersion: l5d.io/v1alpha1`: Linkerd's, where namerd stored a dtab. It is only read.
    LinkerdDtab,
}

impl DtabObject {
    /// The values of `apiVersion`, with what they stand for; the first is the default.
    pub const API_VERSIONS: [(&str, Self); 2] =
        [("signpost.dev/v1alpha1", Self::Dtab), ("l5d.io/v1alpha1", Self::LinkerdDtab)];
}

impl KubernetesStoreConfig {
    /// The namespace when the configuration does not say which: as in Linkerd.
    pub const NAMESPACE: &str = "default";

    /// Returns the kind, as it is written in the configuration.
    pub const fn kind(&self) -> &'static str {
        match self.object {
            DtabObject::ConfigMap { .. } => "io.l5d.k8s.configMap",
            DtabObject::Dtab | DtabObject::LinkerdDtab => "io.l5d.k8s.dtab",
        }
    }

    /// Checks what can be checked without asking anybody.
    pub(in crate::store) fn check(&self) -> Result<(), Error> {
        self.client.check().map_err(|source| Error::Kubernetes { kind: self.kind(), source })
    }
}

impl Serialize for KubernetesStoreConfig {
    /// As the keys of the configuration.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { client, namespace, name, object } = self;
        let mut keys = serializer.serialize_map(None)?;
        client.serialize_keys(&mut keys)?;
        keys.serialize_entry("namespace", namespace)?;
        keys.serialize_entry("name", name)?;
        match object {
            DtabObject::ConfigMap { filename } => keys.serialize_entry("filename", filename)?,
            DtabObject::Dtab | DtabObject::LinkerdDtab => {
                let version = DtabObject::API_VERSIONS.iter().find(|(_, version)| version == object);
                keys.serialize_entry("apiVersion", &version.map(|(name, _)| name))?;
            }
        }
        keys.end()
    }
}

impl fmt::Display for KubernetesStoreConfig {
    /// Where it is, in words: `configmap default/routes, key dtab`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client: _, namespace, name, object } = self;
        match object {
            DtabObject::ConfigMap { filename } => write!(f, "configmap {namespace}/{name}, key {filename}"),
            DtabObject::Dtab => write!(f, "dtab {namespace}/{name}"),
            DtabObject::LinkerdDtab => write!(f, "dtab.l5d.io {namespace}/{name}"),
        }
    }
}
