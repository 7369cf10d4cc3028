//! The watches of one cluster, which all names in it share.

use super::service::Service;
use super::slice::{Slice, Subsets};
use super::{Kubernetes, Shared};
use crate::kubernetes::{Client, Metrics, Scope, Watches};
use crate::telemetry::Registry;
use kube::api::ObjectMeta;
use std::sync::Arc;
use tokio::runtime::Handle;

/// The label of an EndpointSlice that names its service.
const SERVICE: &str = "kubernetes.io/service-name";

/// The watches of one cluster, as one client sees it.
#[derive(Debug)]
pub(in crate::namer) struct Cluster {
    pub(super) client: Client,
    pub(super) scope: Scope,
    /// By name.
    pub(super) services: Watches<Service>,
    /// By the name of their service.
    pub(super) slices: Watches<Slice>,
    /// By name, which is that of their service.
    pub(super) endpoints: Watches<Subsets>,
}

/// The clusters of a configuration.
#[derive(Debug, Default)]
pub(in crate::namer) struct Clusters(Vec<(Shared, Arc<Cluster>)>);

impl Clusters {
    /// Returns the cluster of a namer: the same for all that are configured alike.
    pub(in crate::namer) fn of(
        &mut self,
        config: &Kubernetes,
        registry: &Registry,
        control: &Handle,
    ) -> Arc<Cluster> {
        let key = (config.client.clone(), config.watch);
        if let Some((_, cluster)) = self.0.iter().find(|(known, _)| *known == key) {
            return Arc::clone(cluster);
        }
        // Watches differ in their scope, the client does not.
        let client = self.0.iter().find(|((client, _), _)| *client == key.0);
        let client = client.map(|(_, cluster)| cluster.client.clone());
        let client = client.unwrap_or_else(|| Client::new(config.client.clone()));
        let cluster = Arc::new(Cluster::new(client, config.watch, registry, control));
        self.0.push((key, Arc::clone(&cluster)));
        cluster
    }
}

impl Cluster {
    fn new(client: Client, scope: Scope, registry: &Registry, control: &Handle) -> Self {
        let services = Metrics::new(registry, "services");
        let slices = Metrics::new(registry, "endpointslices");
        let endpoints = Metrics::new(registry, "endpoints");
        Self {
            services: Watches::new(client.clone(), scope, None, own_name, services, control),
            slices: Watches::new(
                client.clone(),
                scope,
                Some(SERVICE.to_owned()),
                service_name,
                slices,
                control,
            ),
            endpoints: Watches::new(client.clone(), scope, None, own_name, endpoints, control),
            client,
            scope,
        }
    }

    /// Describes the watches that are kept up.
    pub(super) fn state(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut watches = self.services.state();
        watches.extend(self.slices.state());
        watches.extend(self.endpoints.state());
        watches
    }
}

fn own_name(meta: &ObjectMeta) -> Option<String> {
    meta.name.clone()
}

fn service_name(meta: &ObjectMeta) -> Option<String> {
    meta.labels.as_ref()?.get(SERVICE).cloned()
}
