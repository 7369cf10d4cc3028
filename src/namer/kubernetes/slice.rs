//! The kept parts of EndpointSlices and of Endpoints.

use super::intern::{self, intern};
use super::service::is_tcp;
use crate::interpret::Hint;
use crate::kubernetes::WatchedObject;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::Arc;

/// Endpoints with their ports: an EndpointSlice, or a subset of Endpoints.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Slice {
    /// The TCP ports; there may be none, as those of a headless service without ports.
    pub(super) ports: Box<[SlicePort]>,
    pub(super) backends: Box<[SliceBackend]>,
    /// The names of the pods that cannot take a request now: one that can take it again is not new.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    waiting: Box<[Box<str>]>,
}

/// A port, with its number at the pods.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SlicePort {
    /// The name of the service's port; empty for a single port, which needs no name.
    pub(super) name: Box<str>,
    pub(super) number: u16,
    pub(super) hint: Option<Hint>,
}

/// One endpoint of a slice.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SliceBackend {
    pub(super) address: IpAddr,
    pub(super) condition: Condition,
    #[serde(deserialize_with = "intern::read")]
    pub(super) node: Option<Arc<str>>,
    #[serde(deserialize_with = "intern::read")]
    pub(super) zone: Option<Arc<str>>,
    /// The zones whose callers are to use it (topology aware routing), with commas between them.
    #[serde(default, deserialize_with = "intern::read", skip_serializing_if = "Option::is_none")]
    pub(super) for_zones: Option<Arc<str>>,
    /// The name of the pod, if the endpoint is one.
    pub(super) pod: Option<Box<str>>,
    /// A digest of the identity of what the endpoint is: a pod may get the address of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) instance: Option<NonZeroU64>,
}

/// The readiness of an endpoint, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Condition {
    /// It can take a request.
    Ready,
    /// It still can take a request, but is about to end.
    Ending,
}

/// All subsets of an Endpoints object.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Subsets(Vec<Slice>);

/// An object that holds slices.
pub(super) trait Slices: WatchedObject {
    /// Returns the slices.
    fn slices(&self) -> &[Slice];
}

impl Slices for Slice {
    fn slices(&self) -> &[Slice] {
        std::slice::from_ref(self)
    }
}

impl Slices for Subsets {
    fn slices(&self) -> &[Slice] {
        &self.0
    }
}

impl WatchedObject for Slice {
    type ApiObject = discovery::EndpointSlice;

    /// Keeps the endpoints that can take a request. Those with a host name (the deprecated type `FQDN`) are left out.
    fn from_api(slice: discovery::EndpointSlice) -> Self {
        let port = |port: discovery::EndpointPort| {
            SlicePort::new(port.name, port.port?, port.protocol.as_deref(), port.app_protocol.as_deref())
        };
        let ports = slice.ports.unwrap_or_default().into_iter().filter_map(port).collect();
        let (mut backends, mut waiting) = (Vec::new(), Vec::new());
        for mut endpoint in slice.endpoints {
            let target = endpoint.target_ref.take();
            let instance = target.as_ref().and_then(instance);
            let pod = target.and_then(pod);
            match backend(endpoint) {
                Some(backend) => backends.push(SliceBackend { pod, instance, ..backend }),
                None => waiting.extend(pod),
            }
        }
        Self { ports, backends: backends.into(), waiting: waiting.into() }
    }

    fn has_grown_since(&self, old: &Self) -> bool {
        has_new_pod(self.pods(), old.pods())
    }
}

impl Slice {
    /// Returns the names of all its pods, also of those that cannot take a request now.
    fn pods(&self) -> impl Iterator<Item = &str> {
        let usable = self.backends.iter().filter_map(|backend| backend.pod.as_deref());
        usable.chain(self.waiting.iter().map(AsRef::as_ref))
    }
}

/// Returns whether there is a pod that is not among the old ones.
fn has_new_pod<'a>(mut pods: impl Iterator<Item = &'a str>, old: impl Iterator<Item = &'a str>) -> bool {
    let old: HashSet<&str> = old.collect();
    pods.any(|pod| !old.contains(pod))
}

/// Keeps an endpoint without its pod, if it can take a request.
fn backend(endpoint: discovery::Endpoint) -> Option<SliceBackend> {
    let conditions = endpoint.conditions.unwrap_or_default();
    // An unknown condition counts as ready, and a ready endpoint serves.
    let ready = conditions.ready.unwrap_or(true);
    let is_ending = conditions.terminating.unwrap_or(false);
    let condition = match (ready, conditions.serving.unwrap_or(ready)) {
        (true, _) => Condition::Ready,
        (false, true) if is_ending => Condition::Ending,
        // One that is not about to end is to get no requests until it is ready.
        (false, _) => return None,
    };
    Some(SliceBackend {
        // Addresses after the first have no defined meaning.
        address: endpoint.addresses.first()?.parse().ok()?,
        condition,
        node: endpoint.node_name.map(intern),
        zone: endpoint.zone.map(intern),
        for_zones: endpoint.hints.and_then(for_zones),
        pod: None,
        instance: None,
    })
}

/// Returns the zones of a hint, if there are any.
fn for_zones(hints: discovery::EndpointHints) -> Option<Arc<str>> {
    let zones: Vec<_> = hints.for_zones?.into_iter().map(|zone| zone.name).collect();
    (!zones.is_empty()).then(|| intern(zones.join(",")))
}

/// Returns a digest of the identity of what an endpoint is. Snapshots hold it, so it is the same in every version.
fn instance(target: &core::ObjectReference) -> Option<NonZeroU64> {
    let identity = target.uid.as_ref().or(target.name.as_ref())?;
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(identity.as_bytes());
    NonZeroU64::new(hasher.finish())
}

/// Returns the name of the pod that an endpoint is.
fn pod(target: core::ObjectReference) -> Option<Box<str>> {
    target.name.filter(|_| target.kind.as_deref() == Some("Pod")).map(Into::into)
}

impl WatchedObject for Subsets {
    type ApiObject = core::Endpoints;

    fn from_api(endpoints: core::Endpoints) -> Self {
        let port = |port: core::EndpointPort| {
            SlicePort::new(port.name, port.port, port.protocol.as_deref(), port.app_protocol.as_deref())
        };
        let backend = |address: core::EndpointAddress| {
            Some(SliceBackend {
                address: address.ip.parse().ok()?,
                condition: Condition::Ready,
                node: address.node_name.map(intern),
                zone: None,
                for_zones: None,
                instance: address.target_ref.as_ref().and_then(instance),
                pod: address.target_ref.and_then(pod),
            })
        };
        let waiting = |address: core::EndpointAddress| address.target_ref.and_then(pod);
        let slice = |subset: core::EndpointSubset| Slice {
            ports: subset.ports.unwrap_or_default().into_iter().filter_map(port).collect(),
            backends: subset.addresses.unwrap_or_default().into_iter().filter_map(backend).collect(),
            waiting: subset.not_ready_addresses.unwrap_or_default().into_iter().filter_map(waiting).collect(),
        };
        Self(endpoints.subsets.unwrap_or_default().into_iter().map(slice).collect())
    }

    fn has_grown_since(&self, old: &Self) -> bool {
        has_new_pod(self.0.iter().flat_map(Slice::pods), old.0.iter().flat_map(Slice::pods))
    }
}

impl SlicePort {
    /// Keeps a port, if it is a TCP port.
    fn new(name: Option<String>, number: i32, protocol: Option<&str>, app: Option<&str>) -> Option<Self> {
        let number = u16::try_from(number).ok().filter(|&number| number > 0 && is_tcp(protocol))?;
        Some(Self { name: name.unwrap_or_default().into(), number, hint: app.and_then(hint) })
    }
}

/// Returns the protocol of an `appProtocol` (KEP-3726).
fn hint(app: &str) -> Option<Hint> {
    match app {
        "kubernetes.io/h2c" => Some(Hint::H2c),
        "kubernetes.io/ws" => Some(Hint::Ws),
        _ => None,
    }
}
