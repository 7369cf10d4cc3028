//! A dtab in an object of Kubernetes.
//!
//! The object is watched alone, by its name. Nothing is said before the watch has a complete list; what was said stays
//! while the API server cannot be asked. An object or a key that is not there stores nothing, as in Linkerd: its
//! deletion takes the stored dtab away.

mod config;
mod config_map;
mod follow;
mod linkerd;
mod report;
mod resource;

pub use self::config::{DtabObject, KubernetesStoreConfig};

use self::config_map::ConfigMapData;
use self::follow::{DtabError, DtabSource, follow};
use self::linkerd::LinkerdDtab;
use self::report::{DtabReport, report};
use self::resource::SignpostDtab;
use super::error::Error;
use super::publisher::Publisher;
use crate::kubernetes::{ApiClient, Metrics as WatchMetrics, Scope, Selector, Watches};
use crate::telemetry::Registry;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Describes the watches of a store.
pub(super) type WatchDescription = Box<dyn Fn() -> Map<String, Value> + Send + Sync>;

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

impl KubernetesStoreConfig {
    /// Begins to follow the object, on `control`.
    pub(super) fn open(
        &self,
        client: ApiClient,
        publisher: Publisher,
        metrics: &Metrics,
        control: &Handle,
    ) -> Result<WatchDescription, Error> {
        self.check()?;
        Ok(match &self.object {
            DtabObject::ConfigMap { .. } => {
                let watches = self.watches::<ConfigMapData>(client, metrics.config_maps.clone(), control);
                self.follow(watches, publisher, control, |_, _| {})
            }
            DtabObject::LinkerdDtab => {
                let watches = self.watches::<LinkerdDtab>(client, metrics.dtabs.clone(), control);
                self.follow(watches, publisher, control, |_, _| {})
            }
            DtabObject::Dtab => {
                let watches = self.watches::<SignpostDtab>(client.clone(), metrics.dtabs.clone(), control);
                let (sender, judged) = watch::channel(None);
                control.spawn(report(client, self.clone(), judged));
                let tell = move |object: &SignpostDtab, verdict: Result<usize, &DtabError>| {
                    sender.send_replace(DtabReport::new(object, verdict));
                };
                self.follow(watches, publisher, control, tell)
            }
        })
    }

    fn watches<T: DtabSource>(
        &self,
        client: ApiClient,
        metrics: WatchMetrics,
        control: &Handle,
    ) -> Watches<T> {
        let (selector, own_name) = (Selector::Name(self.name.clone()), |meta: &ObjectMeta| meta.name.clone());
        Watches::new(client, Scope::Namespace, selector, own_name, metrics, control)
    }

    fn follow<T: DtabSource>(
        &self,
        watches: Watches<T>,
        publisher: Publisher,
        control: &Handle,
        judged: impl Fn(&T, Result<usize, &DtabError>) + Send + 'static,
    ) -> WatchDescription {
        let known = watches.watch_group(&self.namespace.as_str().into(), &self.name.as_str().into());
        control.spawn(follow(self.clone(), known, publisher, judged));
        Box::new(move || watches.state())
    }
}
