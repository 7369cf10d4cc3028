//! A dtab in an object of Kubernetes.
//!
//! The object is watched alone, by its name. Nothing is published before the watch has a complete list. While the API
//! server cannot be reached the last dtab stays. An absent object or key stores nothing, as in Linkerd: the deletion
//! of the object takes the stored dtab away.

mod config;
mod config_map;
mod linkerd;
mod publish;
mod report;
mod resource;

pub use self::config::{DtabObject, KubernetesStoreConfig};

use self::config_map::ConfigMapData;
use self::linkerd::LinkerdDtab;
use self::publish::{DtabError, DtabSource, publish_changes};
use self::report::{DtabReport, write_reports};
use self::resource::SignpostDtab;
use super::error::Error;
use super::publisher::Publisher;
use crate::kubernetes::{ApiClient, Metrics as WatchMetrics, Scope, Selector, Watches};
use crate::telemetry::Registry;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// A function that describes the watches of a store.
pub(super) type DescribeFn = Box<dyn Fn() -> Map<String, Value> + Send + Sync>;

/// The metrics of the watches of each resource.
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

impl KubernetesStoreConfig {
    /// Begins to watch the object, on `control`.
    pub(super) fn open(
        &self,
        client: ApiClient,
        publisher: Publisher,
        metrics: &Metrics,
        control: &Handle,
    ) -> Result<DescribeFn, Error> {
        self.check()?;
        Ok(match &self.object {
            DtabObject::ConfigMap { .. } => {
                let watches = self.watches::<ConfigMapData>(client, metrics.config_maps.clone(), control);
                self.start_publishing(watches, publisher, control, |_, _| {})
            }
            DtabObject::LinkerdDtab => {
                let watches = self.watches::<LinkerdDtab>(client, metrics.dtabs.clone(), control);
                self.start_publishing(watches, publisher, control, |_, _| {})
            }
            DtabObject::Dtab => {
                let watches = self.watches::<SignpostDtab>(client.clone(), metrics.dtabs.clone(), control);
                let (sender, reports) = watch::channel(None);
                control.spawn(write_reports(client, self.clone(), reports));
                let report = move |object: &SignpostDtab, result: Result<usize, &DtabError>| {
                    sender.send_replace(DtabReport::new(object, result));
                };
                self.start_publishing(watches, publisher, control, report)
            }
        })
    }

    /// Returns the watches of the object's resource, limited to this one object.
    fn watches<T: DtabSource>(
        &self,
        client: ApiClient,
        metrics: WatchMetrics,
        control: &Handle,
    ) -> Watches<T> {
        let (selector, own_name) = (Selector::Name(self.name.clone()), |meta: &ObjectMeta| meta.name.clone());
        Watches::new(client, Scope::Namespace, selector, own_name, metrics, control)
    }

    /// Starts the watch, and the task that publishes its dtab. The task calls `report` with the result for each version
    /// of the object.
    fn start_publishing<T: DtabSource>(
        &self,
        watches: Watches<T>,
        publisher: Publisher,
        control: &Handle,
        report: impl Fn(&T, Result<usize, &DtabError>) + Send + 'static,
    ) -> DescribeFn {
        let known = watches.watch_group(&self.namespace.as_str().into(), &self.name.as_str().into());
        control.spawn(publish_changes(self.clone(), known, publisher, report));
        Box::new(move || watches.state())
    }
}
