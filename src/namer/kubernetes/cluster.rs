//! The watches of one cluster, which all names in it share.

use super::Kubernetes;
use super::pod::Pod;
use super::service::KubernetesService;
use super::slice::{Slice, Subsets};
use crate::kubernetes::{ApiClient, ApiClients, Metrics, Scope, Selector, Watches};
use crate::telemetry::Registry;
use kube::api::ObjectMeta;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::runtime::Handle;

/// The label of an EndpointSlice that names its service.
const SERVICE: &str = "kubernetes.io/service-name";

/// The watches of one cluster, as one client sees it.
#[derive(Debug)]
pub(in crate::namer) struct Cluster {
    client: ApiClient,
    scope: Scope,
    metrics: ClusterMetrics,
    pub(super) control: Handle,
    /// By name.
    pub(super) services: Watches<KubernetesService>,
    /// By the name of their service.
    pub(super) slices: Watches<Slice>,
    /// By name, which is that of their service.
    pub(super) endpoints: Watches<Subsets>,
}

/// The metrics of the watches of each resource.
#[derive(Clone, Debug)]
struct ClusterMetrics {
    services: Metrics,
    slices: Metrics,
    endpoints: Metrics,
    pods: Metrics,
}

/// The clusters that namers use, each shared by the namers with the same configuration. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::namer) struct Clusters(Arc<Mutex<ClusterTable>>);

/// The content of [`Clusters`].
#[derive(Debug)]
struct ClusterTable {
    clients: ApiClients,
    registry: Registry,
    /// The metrics, made with the first cluster: a router without clusters should show none.
    metrics: Option<ClusterMetrics>,
    used: Vec<(ClusterKey, Weak<Cluster>)>,
}

/// The configuration that namers of one cluster share.
type ClusterKey = (crate::kubernetes::Config, Scope);

impl Clusters {
    /// Makes an empty table, whose clusters will be asked by `clients` and count in `registry`.
    pub(in crate::namer) fn new(clients: &ApiClients, registry: &Registry) -> Self {
        let (clients, registry) = (clients.clone(), registry.clone());
        let table = ClusterTable { clients, registry, metrics: None, used: Vec::new() };
        Self(Arc::new(Mutex::new(table)))
    }

    /// Returns the cluster of a namer, whose watches run on `control`.
    pub(in crate::namer) fn of(&self, config: &Kubernetes, control: &Handle) -> Arc<Cluster> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.used.retain(|(_, cluster)| cluster.strong_count() > 0);
        let key = (config.client.clone(), config.watch);
        let used = table.used.iter().find(|(known, _)| *known == key);
        if let Some(cluster) = used.and_then(|(_, cluster)| cluster.upgrade()) {
            return cluster;
        }
        let client = table.clients.get(&config.client);
        let registry = table.registry.clone();
        let metrics = table.metrics.get_or_insert_with(|| ClusterMetrics::new(&registry)).clone();
        let cluster = Arc::new(Cluster::new(client, config.watch, metrics, control));
        table.used.push((key, Arc::downgrade(&cluster)));
        cluster
    }
}

impl ClusterMetrics {
    /// Registers the metrics.
    fn new(registry: &Registry) -> Self {
        let of = |resource| Metrics::new(registry, resource);
        Self {
            services: of("services"),
            slices: of("endpointslices"),
            endpoints: of("endpoints"),
            pods: of("pods"),
        }
    }
}

impl Cluster {
    /// Makes the watches, none of which has started yet.
    fn new(client: ApiClient, scope: Scope, metrics: ClusterMetrics, control: &Handle) -> Self {
        let (of_service, all) = (Selector::Labels(SERVICE.to_owned()), || Selector::All);
        let (services, slices) = (metrics.services.clone(), metrics.slices.clone());
        let endpoints = metrics.endpoints.clone();
        Self {
            services: Watches::new(client.clone(), scope, all(), own_name, services, control),
            slices: Watches::new(client.clone(), scope, of_service, service_name, slices, control),
            endpoints: Watches::new(client.clone(), scope, all(), own_name, endpoints, control),
            client,
            scope,
            metrics,
            control: control.clone(),
        }
    }

    /// Makes the watches of the pods that have a label, by its value; the server leaves out all other pods.
    pub(super) fn pods(&self, label: &str) -> Watches<Pod> {
        let (selector, metrics) = (Selector::Labels(label.to_owned()), self.metrics.pods.clone());
        let label: Arc<str> = label.into();
        // Names are in lower case.
        let value = move |meta: &ObjectMeta| Some(meta.labels.as_ref()?.get(&*label)?.to_ascii_lowercase());
        Watches::new(self.client.clone(), self.scope, selector, value, metrics, &self.control)
    }

    /// Describes the watches that run.
    pub(super) fn state(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut watches = self.services.state();
        watches.extend(self.slices.state());
        watches.extend(self.endpoints.state());
        watches
    }
}

/// Returns the name of an object.
fn own_name(meta: &ObjectMeta) -> Option<String> {
    meta.name.clone()
}

/// Returns the name of the service of an EndpointSlice.
fn service_name(meta: &ObjectMeta) -> Option<String> {
    meta.labels.as_ref()?.get(SERVICE).cloned()
}
