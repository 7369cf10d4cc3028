//! Names from Kubernetes: `io.l5d.k8s`, `io.l5d.k8s.ns` and `io.l5d.k8s.external`.
//!
//! A name is `/<namespace>/<port>/<service>`, with a label's value behind it when the configuration names a label; what
//! follows is residual. It stands for the pods of the service that can take a request now, or for the addresses of its
//! load balancer. A service that is not there, has no such port, or no usable endpoint, is Neg, and comes back when that
//! changes. Nothing is said before the lists of a namespace are complete, and what was said stays, marked as stale,
//! while the API server cannot be asked: Neg as well, because a fallback that works must go on.
//!
//! Each name that somebody holds is followed by a task of its own, over the watches of its [`Cluster`], which all names
//! share.

mod cluster;
mod config;
mod external;
mod follow;
mod held;
mod name;
mod pod;
mod resolve;
mod service;
mod shared;
mod slice;

pub(super) use self::cluster::Clusters;
pub use self::config::{EndpointsApi, Kubernetes, Source};

use self::cluster::Cluster;
use self::follow::Follower;
use self::held::HeldNames;
use self::name::Name;
use self::pod::Pod;
use super::dns::Dns;
use super::published::Published;
use crate::interpret::{Answer, Namer, State};
use crate::kubernetes::Watches;
use crate::name::{NameTree, Path};
use std::sync::Arc;

/// Returns whether a path is a name of a service: `/<namespace>/<port>/<service>`.
pub(super) fn is_service_name(path: &Path) -> bool {
    Name::of(path, None, false).is_some_and(|name| name.elems.len() == path.len())
}

/// A namer of services in one cluster.
#[derive(Debug)]
pub(super) struct KubernetesNamer {
    prefix: Path,
    cluster: Arc<Cluster>,
    source: Source,
    /// The namespace of all names, where they do not say it.
    namespace: Option<Arc<str>>,
    label: Option<Label>,
    dns: Dns,
    held: HeldNames,
}

/// A label whose value is part of names.
#[derive(Debug)]
struct Label {
    key: Arc<str>,
    /// The pods that have it, by its value.
    pods: Watches<Pod>,
}

impl KubernetesNamer {
    /// Makes a namer whose bound names begin with `prefix`; in `namespace`, if names do not say in which.
    pub(super) fn new(
        config: &Kubernetes,
        prefix: Path,
        namespace: Option<Arc<str>>,
        cluster: Arc<Cluster>,
        dns: Dns,
    ) -> Self {
        let label = config.label_selector.as_ref();
        let label = label.map(|key| Label { key: key.as_str().into(), pods: cluster.pods(key) });
        Self { prefix, cluster, source: config.source, namespace, label, dns, held: HeldNames::default() }
    }

    /// Takes a path apart; None when it cannot be a name.
    fn name(&self, path: &Path) -> Option<Name> {
        Name::of(path, self.namespace.as_ref(), self.label.is_some())
    }
}

impl Namer for KubernetesNamer {
    fn lookup(&self, path: &Path) -> Answer {
        let Some(name) = self.name(path) else {
            return Answer::fixed(State::Ready(NameTree::Neg));
        };
        let (writer, answer) = Answer::pending();
        let id = self.prefix.concat(&name.elems);
        let published = Published::new(id, path.skip(name.elems.len()), writer);
        let follower = Follower { published, held: self.held.join(path.clone()) };
        let services = self.cluster.services.watch_group(&name.namespace, &name.service);
        match self.source {
            Source::External => {
                let label = self.label.as_ref().map(|label| Arc::clone(&label.key));
                self.cluster.control.spawn(external::follow(
                    follower,
                    name,
                    label,
                    services,
                    self.dns.clone(),
                ));
            }
            Source::Pods(EndpointsApi::Slices) => {
                let slices = self.cluster.slices.watch_group(&name.namespace, &name.service);
                let labelled = self.labelled(&name);
                self.cluster.control.spawn(follow::follow(follower, name, labelled, services, slices));
            }
            Source::Pods(EndpointsApi::Endpoints) => {
                let endpoints = self.cluster.endpoints.watch_group(&name.namespace, &name.service);
                let labelled = self.labelled(&name);
                self.cluster.control.spawn(follow::follow(follower, name, labelled, services, endpoints));
            }
        }
        answer
    }

    /// What cannot be the name of a service is Neg for ever.
    fn immediate(&self, path: &Path) -> Option<State> {
        self.name(path).is_none().then_some(State::Ready(NameTree::Neg))
    }

    fn state(&self) -> Option<serde_json::Value> {
        let mut watches = self.cluster.state();
        watches.extend(self.label.iter().flat_map(|label| label.pods.state()));
        Some(serde_json::json!({ "names": self.held.json(), "watches": watches }))
    }
}

impl KubernetesNamer {
    /// Follows the pods whose label has the value of the name.
    fn labelled(&self, name: &Name) -> Option<follow::Labelled> {
        let (label, value) = (self.label.as_ref()?, name.value.as_ref()?);
        let pods = label.pods.watch_group(&name.namespace, value);
        Some(follow::Labelled { key: Arc::clone(&label.key), value: Arc::clone(value), pods })
    }
}
