//! The configuration of a store in Kubernetes: the object that holds the dtab.

use crate::kubernetes::Config;
use crate::store::error::Error;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use std::fmt;

/// A dtab in an object of Kubernetes, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesStoreConfig {
    /// `host` and `port`, or `kubeconfig` and `context`, or none of them: the API server; and `snapshot`.
    pub client: Config,
    /// `namespace`: the namespace of the object; `default` unless given, as in Linkerd.
    pub namespace: String,
    /// `name`: the name of the object.
    pub name: String,
    /// The kind of the object.
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
    /// `io.l5d.k8s.dtab`: our own custom resource; the router reports in its status whether the dtab is valid.
    Dtab,
    /// `io.l5d.k8s.dtab` with `apiVersion: l5d.io/v1alpha1`: Linkerd's resource, in which namerd stored a dtab. It is
    /// only read.
    LinkerdDtab,
}

impl DtabObject {
    /// The values of `apiVersion`, with the object each stands for; the first is the default.
    pub const API_VERSIONS: [(&str, Self); 2] =
        [("signpost.dev/v1alpha1", Self::Dtab), ("l5d.io/v1alpha1", Self::LinkerdDtab)];
}

impl KubernetesStoreConfig {
    /// The namespace if the configuration names none: as in Linkerd.
    pub const NAMESPACE: &str = "default";

    /// Returns the kind, as it is written in the configuration.
    pub const fn kind(&self) -> &'static str {
        match self.object {
            DtabObject::ConfigMap { .. } => "io.l5d.k8s.configMap",
            DtabObject::Dtab | DtabObject::LinkerdDtab => "io.l5d.k8s.dtab",
        }
    }

    /// Checks the configuration without a request to the API server.
    pub(in crate::store) fn check(&self) -> Result<(), Error> {
        self.client.check().map_err(|source| Error::Kubernetes { kind: self.kind(), source })
    }
}

impl Serialize for KubernetesStoreConfig {
    /// Writes the configuration keys, the kind among them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { client, namespace, name, object } = self;
        let mut keys = serializer.serialize_map(None)?;
        keys.serialize_entry("kind", self.kind())?;
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
    /// Writes the place of the dtab in words: `configmap default/routes, key dtab`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client: _, namespace, name, object } = self;
        match object {
            DtabObject::ConfigMap { filename } => write!(f, "configmap {namespace}/{name}, key {filename}"),
            DtabObject::Dtab => write!(f, "dtab {namespace}/{name}"),
            DtabObject::LinkerdDtab => write!(f, "dtab.l5d.io {namespace}/{name}"),
        }
    }
}
