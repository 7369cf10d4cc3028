//! The configuration of the namers of services.

use super::service_name::is_dns_name;
use crate::kubernetes::{Config, Scope};
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use std::sync::Arc;

/// The keys of `io.l5d.k8s`, `io.l5d.k8s.ns` and `io.l5d.k8s.external`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// The source of endpoints; `io.l5d.k8s.external` is [`EndpointSource::External`].
    pub source: EndpointSource,
    /// `envVar`, of `io.l5d.k8s.ns` alone: the variable of the environment that holds the namespace of all names.
    pub env_var: Option<String>,
    /// The API server: `host` and `port`, or `kubeconfig` and `context`, or none of them; and `snapshot`.
    pub client: Config,
    /// `watch`: the scope of one watch; a namespace by default.
    pub watch: Scope,
    /// `labelSelector`: a label whose value stands behind the service in names; none by default.
    pub label_selector: Option<String>,
    /// `externalNames`: whether a service of type `ExternalName` stands for its external name; false by default, and
    /// its names fail then.
    pub external_names: bool,
}

/// The source of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointSource {
    /// The pods of a service.
    Pods(EndpointsApi),
    /// The load balancer of a service.
    External,
}

/// `endpoints`: the resource that lists the pods of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointsApi {
    /// `discovery.k8s.io/v1`: EndpointSlices. The default.
    #[default]
    Slices,
    /// `v1`: Endpoints, which hold at most 1000 addresses, and neither zones nor ending pods.
    Endpoints,
}

impl Kubernetes {
    /// The variable that holds the namespace when the configuration does not say which: as in Linkerd.
    pub const ENV_VAR: &str = "POD_NAMESPACE";

    /// Returns the namespace of all names, if `envVar` is configured.
    ///
    /// The error is the variable's name, when it holds no namespace.
    pub(in crate::namer) fn namespace(&self) -> Result<Option<Arc<str>>, String> {
        let Some(variable) = &self.env_var else { return Ok(None) };
        let value = std::env::var(variable).ok();
        // A file that was read into the variable ends with a line end.
        let namespace = value.as_deref().map(str::trim).filter(|namespace| is_dns_name(namespace));
        namespace.map(|namespace| Some(namespace.into())).ok_or_else(|| variable.clone())
    }

    /// Returns the name of the kind, as it is written in the configuration.
    pub const fn kind(&self) -> &'static str {
        match (self.source, &self.env_var) {
            (EndpointSource::External, _) => "io.l5d.k8s.external",
            (EndpointSource::Pods(_), Some(_)) => "io.l5d.k8s.ns",
            (EndpointSource::Pods(_), None) => "io.l5d.k8s",
        }
    }
}

impl EndpointsApi {
    /// Both resources, as they are written in the configuration.
    pub const ALL: [(&str, Self); 2] = [("discovery.k8s.io/v1", Self::Slices), ("v1", Self::Endpoints)];

    /// Returns the resource, as it is written in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slices => Self::ALL[0].0,
            Self::Endpoints => Self::ALL[1].0,
        }
    }
}

impl Serialize for Kubernetes {
    /// Writes the keys of the configuration.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut keys = serializer.serialize_map(None)?;
        keys.serialize_entry("kind", self.kind())?;
        self.client.serialize_keys(&mut keys)?;
        if let EndpointSource::Pods(api) = self.source {
            keys.serialize_entry("endpoints", api.name())?;
        }
        if let Some(variable) = &self.env_var {
            keys.serialize_entry("envVar", variable)?;
        }
        keys.serialize_entry("watch", &self.watch)?;
        if let Some(label) = &self.label_selector {
            keys.serialize_entry("labelSelector", label)?;
        }
        keys.serialize_entry("externalNames", &self.external_names)?;
        keys.end()
    }
}
