//! What is kept of EndpointSlices and of Endpoints.

use super::service::is_tcp;
use super::shared::{self, shared};
use crate::interpret::Hint;
use crate::kubernetes::WatchedObject;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

/// Endpoints with their ports: an EndpointSlice, or a subset of Endpoints.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Slice {
    /// Those of TCP; all ports there are, if it does not say.
    pub(super) ports: Option<Box<[SlicePort]>>,
    pub(super) backends: Box<[Backend]>,
}

/// A port as pods number it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SlicePort {
    /// That of the service's port; empty for its only one, which needs no name.
    pub(super) name: Box<str>,
    pub(super) number: u16,
    pub(super) hint: Option<Hint>,
}

/// One endpoint.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Backend {
    pub(super) address: IpAddr,
    pub(super) condition: Condition,
    #[serde(deserialize_with = "shared::read")]
    pub(super) node: Option<Arc<str>>,
    #[serde(deserialize_with = "shared::read")]
    pub(super) zone: Option<Arc<str>>,
    /// The name of the pod, if it is one.
    pub(super) pod: Option<Box<str>>,
}

/// Whether an endpoint can take a request, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Condition {
    /// It can.
    Ready,
    /// It still can, but it is about to end.
    Ending,
}

/// All subsets of an Endpoints object.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Subsets(Vec<Slice>);

/// What holds slices.
pub(super) trait Slices: WatchedObject {
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

    /// Addresses that are host names (the deprecated type `FQDN`) are left out, and so is what cannot take a request.
    fn from_api(slice: discovery::EndpointSlice) -> Self {
        let port = |port: discovery::EndpointPort| {
            SlicePort::new(port.name, port.port?, port.protocol.as_deref(), port.app_protocol.as_deref())
        };
        Self {
            ports: slice.ports.map(|ports| ports.into_iter().filter_map(port).collect()),
            backends: slice.endpoints.into_iter().filter_map(backend).collect(),
        }
    }
}

fn backend(endpoint: discovery::Endpoint) -> Option<Backend> {
    let conditions = endpoint.conditions.unwrap_or_default();
    // What is not known counts as ready, and what is ready serves.
    let ready = conditions.ready.unwrap_or(true);
    let condition = match (ready, conditions.serving.unwrap_or(ready)) {
        (true, _) => Condition::Ready,
        (false, true) => Condition::Ending,
        (false, false) => return None,
    };
    Some(Backend {
        // No meaning is defined for those after the first.
        address: endpoint.addresses.first()?.parse().ok()?,
        condition,
        node: endpoint.node_name.map(shared),
        zone: endpoint.zone.map(shared),
        pod: endpoint.target_ref.and_then(pod),
    })
}

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
            Some(Backend {
                address: address.ip.parse().ok()?,
                condition: Condition::Ready,
                node: address.node_name.map(shared),
                zone: None,
                pod: address.target_ref.and_then(pod),
            })
        };
        let slice = |subset: core::EndpointSubset| Slice {
            ports: Some(subset.ports.unwrap_or_default().into_iter().filter_map(port).collect()),
            backends: subset.addresses.unwrap_or_default().into_iter().filter_map(backend).collect(),
        };
        Self(endpoints.subsets.unwrap_or_default().into_iter().map(slice).collect())
    }
}

impl SlicePort {
    fn new(name: Option<String>, number: i32, protocol: Option<&str>, app: Option<&str>) -> Option<Self> {
        let number = u16::try_from(number).ok().filter(|&number| number > 0 && is_tcp(protocol))?;
        Some(Self { name: name.unwrap_or_default().into(), number, hint: app.and_then(hint) })
    }
}

/// What an `appProtocol` says of how to talk (KEP-3726).
fn hint(app: &str) -> Option<Hint> {
    match app {
        "kubernetes.io/h2c" => Some(Hint::H2c),
        "kubernetes.io/ws" => Some(Hint::Ws),
        _ => None,
    }
}
