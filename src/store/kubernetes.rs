//! A dtab in an object of Kubernetes.
//!
//! The object is watched alone, by its name. Nothing is said before the watch has a complete list; what was said stays
//! while the API server cannot be asked. An object or a key that is not there stores nothing, as in Linkerd: its
//! deletion takes the stored dtab away.

mod config_map;
mod follow;
mod linkerd;
mod report;
mod resource;

use self::config_map::ConfigMap;
use self::follow::{Holder, Wrong, follow};
use self::linkerd::LinkerdDtab;
use self::report::{Judged, report};
use self::resource::OwnDtab;
use super::Error;
use super::open::{Describe, Publisher};
use crate::kubernetes::{Client, Config, Metrics as WatchMetrics, Scope, Selector, Watches};
use crate::telemetry::Registry;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use std::fmt;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// A dtab in an object of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// `host` and `port`, or `kubeconfig` and `context`, or none of them: where the API server is; and `snapshot`.
    pub client: Config,
    /// `namespace`: the object's; `default` unless given, as in Linkerd.
    pub namespace: String,
    /// `name`: the object's.
    pub name: String,
    /// What it is.
    pub object: Object,
}

/// The objects that can hold a dtab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
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

impl Object {
    /// The values of `apiVersion`, with what they stand for; the first is the default.
    pub const API_VERSIONS: [(&str, Self); 2] =
        [("signpost.dev/v1alpha1", Self::Dtab), ("l5d.io/v1alpha1", Self::LinkerdDtab)];
}

/// What the watches of each resource count.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    config_maps: WatchMetrics,
    dtabs: WatchMetrics,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let of = |resource| WatchMetrics::new(registry, resource);
        Self { config_maps: of("configmaps"), dtabs: of("dtabs") }
    }
}

impl Kubernetes {
    /// The namespace when the configuration does not say which: as in Linkerd.
    pub const NAMESPACE: &str = "default";

    /// Returns the kind, as it is written in the configuration.
    pub const fn kind(&self) -> &'static str {
        match self.object {
            Object::ConfigMap { .. } => "io.l5d.k8s.configMap",
            Object::Dtab | Object::LinkerdDtab => "io.l5d.k8s.dtab",
        }
    }

    /// Checks what can be checked without asking anybody.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.client.check().map_err(|source| Error::Kubernetes { kind: self.kind(), source })
    }

    /// Begins to follow the object, on `control`.
    pub(super) fn open(
        &self,
        client: Client,
        publisher: Publisher,
        metrics: &Metrics,
        control: &Handle,
    ) -> Result<Describe, Error> {
        self.check()?;
        Ok(match &self.object {
            Object::ConfigMap { .. } => {
                let watches = self.watches::<ConfigMap>(client, metrics.config_maps.clone(), control);
                self.follow(watches, publisher, control, |_, _| {})
            }
            Object::LinkerdDtab => {
                let watches = self.watches::<LinkerdDtab>(client, metrics.dtabs.clone(), control);
                self.follow(watches, publisher, control, |_, _| {})
            }
            Object::Dtab => {
                let watches = self.watches::<OwnDtab>(client.clone(), metrics.dtabs.clone(), control);
                let (sender, judged) = watch::channel(None);
                control.spawn(report(client, self.clone(), judged));
                let tell = move |object: &OwnDtab, verdict: Result<usize, &Wrong>| {
                    sender.send_replace(Judged::new(object, verdict));
                };
                self.follow(watches, publisher, control, tell)
            }
        })
    }

    fn watches<T: Holder>(&self, client: Client, metrics: WatchMetrics, control: &Handle) -> Watches<T> {
        let (selector, own_name) = (Selector::Name(self.name.clone()), |meta: &ObjectMeta| meta.name.clone());
        Watches::new(client, Scope::Namespace, selector, own_name, metrics, control)
    }

    fn follow<T: Holder>(
        &self,
        watches: Watches<T>,
        publisher: Publisher,
        control: &Handle,
        judged: impl Fn(&T, Result<usize, &Wrong>) + Send + 'static,
    ) -> Describe {
        let known = watches.follow(&self.namespace.as_str().into(), &self.name.as_str().into());
        control.spawn(follow(self.clone(), known, publisher, judged));
        Box::new(move || watches.state())
    }
}

impl Serialize for Kubernetes {
    /// As the keys of the configuration, the kind among them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { client, namespace, name, object } = self;
        let mut keys = serializer.serialize_map(None)?;
        keys.serialize_entry("kind", self.kind())?;
        client.serialize_keys(&mut keys)?;
        keys.serialize_entry("namespace", namespace)?;
        keys.serialize_entry("name", name)?;
        match object {
            Object::ConfigMap { filename } => keys.serialize_entry("filename", filename)?,
            Object::Dtab | Object::LinkerdDtab => {
                let version = Object::API_VERSIONS.iter().find(|(_, version)| version == object);
                keys.serialize_entry("apiVersion", &version.map(|(name, _)| name))?;
            }
        }
        keys.end()
    }
}

impl fmt::Display for Kubernetes {
    /// Where it is, in words: `configmap default/routes, key dtab`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client: _, namespace, name, object } = self;
        match object {
            Object::ConfigMap { filename } => write!(f, "configmap {namespace}/{name}, key {filename}"),
            Object::Dtab => write!(f, "dtab {namespace}/{name}"),
            Object::LinkerdDtab => write!(f, "dtab.l5d.io {namespace}/{name}"),
        }
    }
}
