//! The step from slices to endpoints: a pure function.

use super::service::KubernetesService;
use super::service_name::Port;
use super::slice::{Condition, Slice, SliceBackend, SlicePort};
use crate::interpret::{Endpoint, EndpointSet, Hint};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Returns the endpoints of a port of a service, in the order of their addresses: those that are ready, and those that
/// are about to end and still serve. Behind the transformers, the balancer chooses which of them get requests.
///
/// `wanted` selects endpoints by the name of their pod. An endpoint may stand in several slices while they change; its
/// best condition counts.
pub(super) fn resolve<'a>(
    service: &KubernetesService,
    port: &Port,
    slices: impl Iterator<Item = &'a Slice>,
    wanted: impl Fn(Option<&str>) -> bool,
) -> EndpointSet {
    let mut merged: BTreeMap<SocketAddr, (&SliceBackend, Option<Hint>)> = BTreeMap::new();
    for slice in slices {
        let Some((number, hint)) = choose(service, port, &slice.ports) else { continue };
        for backend in slice.backends.iter().filter(|backend| wanted(backend.pod.as_deref())) {
            let address = SocketAddr::new(backend.address, number);
            let entry = merged.entry(address).or_insert((backend, hint));
            if backend.condition < entry.0.condition {
                *entry = (backend, hint);
            }
        }
    }
    let endpoints = merged.into_iter().map(|(address, (backend, hint))| Endpoint {
        node: backend.node.clone(),
        zone: backend.zone.clone(),
        for_zones: backend.for_zones.clone(),
        hint,
        instance: backend.instance,
        terminating: backend.condition == Condition::Ending,
        ..Endpoint::at(address)
    });
    EndpointSet::new(endpoints.collect())
}

/// Returns the port of a slice, with its number at the pods.
///
/// The port of a slice has the name of the service's port, so a number is looked up among the ports of the service
/// first; a named `targetPort` may be another number in each slice. A number that the service does not have may still
/// be the only port, without a name, of slices that were written by hand.
fn choose(service: &KubernetesService, wanted: &Port, ports: &[SlicePort]) -> Option<(u16, Option<Hint>)> {
    let name = match wanted {
        Port::Name(name) => Some(&**name),
        Port::Number(number) => service.name_of(*number),
    };
    let found = match (name, wanted, ports) {
        (Some(name), ..) => ports.iter().find(|port| port.name.eq_ignore_ascii_case(name)),
        (None, Port::Number(number), [port]) if port.name.is_empty() && port.number == *number => Some(port),
        _ => None,
    };
    found.map(|port| (port.number, port.hint))
}

#[cfg(test)]
mod tests;
