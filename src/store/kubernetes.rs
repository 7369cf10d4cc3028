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

pub use self::config::{Kubernetes, Object};

use self::config_map::ConfigMap;
use self::follow::{Holder, Wrong, follow};
use self::linkerd::LinkerdDtab;
use self::report::{Judged, report};
use self::resource::OwnDtab;
use super::error::Error;
use super::publisher::Publisher;
use crate::kubernetes::{Client, Metrics as WatchMetrics, Scope, Selector, Watches};
use crate::telemetry::Registry;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Describes the watches of a store.
pub(super) type Describe = Box<dyn Fn() -> Map<String, Value> + Send + Sync>;

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
