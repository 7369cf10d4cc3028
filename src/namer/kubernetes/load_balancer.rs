//! Publishes the load balancer of a service while its name is in use.

use super::endpoints::{NamePublisher, absent, complete};
use super::external_name::WatchedService;
use super::service::{KubernetesService, LoadBalancerAddress};
use crate::interpret::{Endpoint, EndpointSet};
use crate::kubernetes::GroupView;
use crate::namer::dns::{Dns, DnsState, HostSet, MIN_PAUSE};
use crate::namer::publisher::NameState;
use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Publishes the addresses of the load balancer of a service, again whenever they change.
///
/// With a label, the service itself must have it.
pub(super) async fn publish_load_balancer(
    mut publisher: NamePublisher,
    mut service: WatchedService,
    dns: Dns,
) {
    let mut hosts = HostSet::new(dns, MIN_PAUSE);
    loop {
        let (state, before) = {
            let known = publisher.update(&mut service);
            let of_balancer =
                || complete(&known).map_or_else(|state| state, |view| state(&service, view, &mut hosts));
            (service.external_state(&known).unwrap_or_else(of_balancer), known.before())
        };
        publisher.publish(state, before);
        tokio::select! {
            changed = service.known.changed() => if changed.is_err() {
                // The end of the process.
                publisher.publisher.released().await;
                return;
            },
            () = hosts.changed() => {}
            () = service.external.changed() => {}
            () = publisher.demanded() => publisher.pass_demand_on(),
            () = publisher.publisher.released() => return,
        }
    }
}

/// Returns the state of a name, and watches the host names of its load balancer.
fn state(watched: &WatchedService, view: &GroupView<KubernetesService>, hosts: &mut HostSet) -> NameState {
    let Some(service) = view.one() else { return absent(view.unreadable.as_ref(), view.stale) };
    let port = service.number_of(&watched.name.port).filter(|_| watched.is_labelled(service));
    let places = if port.is_some() { &*service.ingress } else { &[] };
    hosts.set_names(&places.iter().filter_map(LoadBalancerAddress::host).cloned().collect::<HashSet<_>>());
    let mut found = BalancerAddresses::default();
    for place in places {
        match place {
            LoadBalancerAddress::Address(address) => {
                found.addresses.insert(*address);
            }
            LoadBalancerAddress::Host(host) => found.take(hosts.known(host)),
        }
    }
    let endpoints = |port: u16| {
        let at = |&address: &IpAddr| Endpoint::at(SocketAddr::new(address, port));
        EndpointSet::new(found.addresses.iter().map(at).collect())
    };
    match (port.map(endpoints).filter(|set| !set.is_empty()), found.pending, found.trouble) {
        (Some(set), _, trouble) => NameState::Endpoints { set, stale: view.stale || trouble.is_some() },
        (None, _, Some(reason)) => NameState::Failed(reason),
        (None, true, None) => NameState::Pending,
        (None, false, None) => NameState::Neg { stale: view.stale },
    }
}

/// The IP addresses of a load balancer.
#[derive(Default)]
struct BalancerAddresses {
    addresses: BTreeSet<IpAddr>,
    /// Whether DNS has not answered yet for some host name.
    pending: bool,
    /// The reason why the addresses of some host name are not known, or out of date.
    trouble: Option<Arc<str>>,
}

impl BalancerAddresses {
    /// Adds the addresses of a host name, or notes that they are not known.
    fn take(&mut self, known: DnsState<IpAddr>) {
        match known {
            DnsState::Found { records, stale } => {
                self.addresses.extend(records.iter());
                self.trouble = self.trouble.take().or(stale);
            }
            DnsState::Pending => self.pending = true,
            DnsState::Missing => {}
            DnsState::Failed(reason) => self.trouble = self.trouble.take().or(Some(reason)),
        }
    }
}

impl LoadBalancerAddress {
    /// Returns the host name, if it is one.
    const fn host(&self) -> Option<&Arc<str>> {
        match self {
            Self::Host(host) => Some(host),
            Self::Address(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
