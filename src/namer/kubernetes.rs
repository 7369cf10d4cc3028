//! Names from Kubernetes: `io.l5d.k8s`, `io.l5d.k8s.ns` and `io.l5d.k8s.external`.
//!
//! A name is `/<namespace>/<port>/<service>`, with a label's value behind it when the configuration names a label; the
//! rest is residual. It stands for the pods of the service that can take a request now, or for the addresses of its
//! load balancer. A service that does not exist, has no such port or no usable endpoint is Neg, and comes back when
//! that changes. One of type `ExternalName` stands for its external name, or fails. Nothing is published before the lists of a namespace are complete. While the API server cannot be
//! asked, the last state stays, marked as stale: Neg as well, because a fallback that works must go on.
//!
//! A task of its own keeps each name in use up to date, over the watches of its [`Cluster`], which all names share.

mod cluster;
mod config;
mod endpoints;
mod external_name;
mod intern;
mod load_balancer;
mod name_table;
mod pod;
mod resolve;
mod service;
mod service_name;
mod slice;

pub(super) use self::cluster::Clusters;
pub use self::config::{EndpointSource, EndpointsApi, Kubernetes};

use self::cluster::Cluster;
use self::endpoints::NamePublisher;
use self::external_name::{ExternalName, WatchedService};
use self::name_table::NameTable;
use self::pod::Pod;
use self::service_name::ServiceName;
use super::dns::Dns;
use super::publisher::AnswerPublisher;
use crate::interpret::{Answer, AnswerState, Namer};
use crate::kubernetes::Watches;
use crate::name::{NameTree, Path};
use std::sync::Arc;

/// Returns whether a path is a name of a service: `/<namespace>/<port>/<service>`.
pub(super) fn is_service_name(path: &Path) -> bool {
    ServiceName::of(path, None, false).is_some_and(|name| name.elems.len() == path.len())
}

/// A namer of services in one cluster.
#[derive(Debug)]
pub(super) struct KubernetesNamer {
    prefix: Path,
    cluster: Arc<Cluster>,
    source: EndpointSource,
    /// The namespace of all names, when they do not begin with one.
    namespace: Option<Arc<str>>,
    label: Option<Label>,
    /// Whether external names are followed.
    external_names: bool,
    dns: Dns,
    names: NameTable,
}

/// A label with a value that is part of names.
#[derive(Debug)]
struct Label {
    key: Arc<str>,
    /// The pods with the label, by its value.
    pods: Watches<Pod>,
}

impl KubernetesNamer {
    /// Makes a namer with bound names that begin with `prefix`. All names are in `namespace`, if there is one; else
    /// they begin with their namespace.
    pub(super) fn new(
        config: &Kubernetes,
        prefix: Path,
        namespace: Option<Arc<str>>,
        cluster: Arc<Cluster>,
        dns: Dns,
    ) -> Self {
        let label = config.label_selector.as_ref();
        let label = label.map(|key| Label { key: key.as_str().into(), pods: cluster.pods(key) });
        let (source, external_names, names) = (config.source, config.external_names, NameTable::default());
        Self { prefix, cluster, source, namespace, label, external_names, dns, names }
    }

    /// Reads a path as a name; None when it cannot be one.
    fn name(&self, path: &Path) -> Option<ServiceName> {
        ServiceName::of(path, self.namespace.as_ref(), self.label.is_some())
    }
}

impl Namer for KubernetesNamer {
    fn lookup(&self, path: &Path) -> Answer {
        let Some(name) = self.name(path) else {
            return Answer::fixed(AnswerState::Ready(NameTree::Neg));
        };
        let (writer, answer) = Answer::pending();
        let id = self.prefix.concat(&name.elems);
        let publisher = AnswerPublisher::new(id, path.skip(name.elems.len()), writer);
        let mut publisher = NamePublisher::new(publisher, self.names.join(path.clone()));
        let (control, label) = (&self.cluster.control, self.labelled(&name, &mut publisher));
        let (namespace, group) = (Arc::clone(&name.namespace), Arc::clone(&name.service));
        let service = self.watch_service(name, &mut publisher);
        match self.source {
            EndpointSource::External => {
                control.spawn(load_balancer::publish_load_balancer(publisher, service, self.dns.clone()));
            }
            EndpointSource::Pods(EndpointsApi::Slices) => {
                let (slices, demand) = self.cluster.slices.watch_wanted_group(&namespace, &group);
                publisher.add_demand(demand);
                control.spawn(endpoints::publish_endpoints(publisher, service, label, slices));
            }
            EndpointSource::Pods(EndpointsApi::Endpoints) => {
                let (endpoints, demand) = self.cluster.endpoints.watch_wanted_group(&namespace, &group);
                publisher.add_demand(demand);
                control.spawn(endpoints::publish_endpoints(publisher, service, label, endpoints));
            }
        }
        answer
    }

    /// Returns Neg for a path that cannot be the name of a service.
    fn immediate(&self, path: &Path) -> Option<AnswerState> {
        self.name(path).is_none().then_some(AnswerState::Ready(NameTree::Neg))
    }

    fn state(&self) -> Option<serde_json::Value> {
        let mut watches = self.cluster.state();
        watches.extend(self.label.iter().flat_map(|label| label.pods.state()));
        Some(serde_json::json!({ "names": self.names.json(), "watches": watches }))
    }
}

impl KubernetesNamer {
    /// Watches the service of a name.
    fn watch_service(&self, name: ServiceName, publisher: &mut NamePublisher) -> WatchedService {
        let (known, demand) = self.cluster.services.watch_wanted_group(&name.namespace, &name.service);
        publisher.add_demand(demand);
        let label = self.label.as_ref().map(|label| Arc::clone(&label.key));
        let external = ExternalName::new(self.external_names, self.dns.clone());
        WatchedService { name, label, known, external }
    }

    /// Watches the pods whose label has the value of the name.
    fn labelled(&self, name: &ServiceName, publisher: &mut NamePublisher) -> Option<endpoints::LabelledPods> {
        if self.source == EndpointSource::External {
            return None;
        }
        let (label, value) = (self.label.as_ref()?, name.value.as_ref()?);
        let (pods, demand) = label.pods.watch_wanted_group(&name.namespace, value);
        publisher.add_demand(demand);
        Some(endpoints::LabelledPods { key: Arc::clone(&label.key), value: Arc::clone(value), pods })
    }
}
