//! The external name of a service: the type `ExternalName` of Kubernetes.
//!
//! A writer of services can make one stand for any host. So a namer follows such names only where its configuration
//! says so, and never to this machine or to an address from which clouds serve credentials.

use super::service::KubernetesService;
use super::service_name::ServiceName;
use crate::interpret::{Endpoint, EndpointSet};
use crate::kubernetes::GroupState;
use crate::machine::is_local;
use crate::namer::address::{is_host_name, literal};
use crate::namer::dns::{Dns, DnsState, HostSet, MIN_PAUSE};
use crate::namer::publisher::NameState;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::sync::watch;

/// An address from which a cloud serves the credentials of a machine; the others are link-local.
const CREDENTIALS: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254));

/// The reason why the addresses of a host are not used.
const FORBIDDEN: &str =
    "it leads to this machine or to a link-local address, where no external name may lead";

/// The service behind a name, watched.
pub(super) struct WatchedService {
    pub(super) name: ServiceName,
    /// The key of the label whose value is part of the name, where the configuration has one.
    pub(super) label: Option<Arc<str>>,
    pub(super) known: watch::Receiver<GroupState<KubernetesService>>,
    pub(super) external: ExternalName,
}

/// The external name that a service has now, looked up in DNS.
pub(super) struct ExternalName {
    /// Whether the namer follows external names.
    is_followed: bool,
    hosts: HostSet,
    /// The name; none while the service stands for its pods or its load balancer.
    name: Option<Arc<str>>,
}

impl WatchedService {
    /// Returns whether the service has the label with the value of the name. Without a label in the configuration it
    /// does.
    pub(super) fn is_labelled(&self, service: &KubernetesService) -> bool {
        match (&self.label, &self.name.value) {
            (Some(key), Some(value)) => service.has_label(key, value),
            _ => true,
        }
    }

    /// Returns the state of the name, if the service has an external one.
    pub(super) fn external_state(&self, services: &GroupState<KubernetesService>) -> Option<NameState> {
        let GroupState::Ready(view) = services else { return None };
        let (service, stale) = (view.one()?, view.stale);
        let external = service.external_name.as_ref()?;
        if !self.is_labelled(service) {
            return Some(NameState::Neg { stale });
        }
        let known = match self.external.known(external) {
            Ok(known) => known,
            Err(reason) => return Some(self.refused(external, reason)),
        };
        Some(match (known, service.external_number_of(&self.name.port)) {
            (_, None) | (DnsState::Missing, _) => NameState::Neg { stale },
            (DnsState::Pending, _) => NameState::Pending,
            (DnsState::Failed(reason), _) => NameState::Failed(reason),
            (DnsState::Found { records, stale: old }, Some(port)) => {
                let allowed = records.iter().filter(|address| !is_forbidden(**address));
                let endpoints = allowed.map(|&ip| Endpoint::at(SocketAddr::new(ip, port)));
                let set = EndpointSet::new(endpoints.collect());
                if set.is_empty() {
                    self.refused(external, FORBIDDEN)
                } else {
                    NameState::Endpoints { set, stale: stale || old.is_some() }
                }
            }
        })
    }

    /// Returns the state of a name whose external name is not used, for a reason.
    fn refused(&self, external: &str, reason: &str) -> NameState {
        let ServiceName { namespace, service, .. } = &self.name;
        let text = format!("the service {namespace}/{service} is an ExternalName, `{external}`: {reason}");
        NameState::Failed(text.into())
    }
}

impl ExternalName {
    /// Makes it for a service of which nothing is known yet.
    pub(super) fn new(is_followed: bool, dns: Dns) -> Self {
        Self { is_followed, hosts: HostSet::new(dns, MIN_PAUSE), name: None }
    }

    /// Takes over the external name of a service, and watches it in DNS. Returns whether it is another than before: what
    /// was published until now belongs to something else then.
    pub(super) fn update(&mut self, services: &GroupState<KubernetesService>) -> bool {
        let GroupState::Ready(view) = services else { return false };
        let new = view.one().and_then(|service| service.external_name.clone());
        if self.name == new {
            return false;
        }
        self.name = new;
        let host = self
            .name
            .as_deref()
            .filter(|name| self.is_followed && literal(name).is_none() && is_host_name(name));
        self.hosts.set_names(&host.map(complete).into_iter().collect());
        true
    }

    /// Waits until the state of the name in DNS changes. Dropping the future loses nothing.
    pub(super) async fn changed(&mut self) {
        self.hosts.changed().await;
    }

    /// Returns the present addresses of an external name, or why it has none.
    fn known(&self, name: &str) -> Result<DnsState<IpAddr>, &'static str> {
        if !self.is_followed {
            return Err("the namer does not follow such names without `externalNames: true`");
        }
        match literal(name) {
            Some(address) => Ok(DnsState::Found { records: [address].into(), stale: None }),
            None if is_host_name(name) => Ok(self.hosts.known(&complete(name))),
            None => Err("it is not a host name"),
        }
    }
}

/// Returns a host name with the dot that keeps it out of the search domains: an external name is complete.
fn complete(name: &str) -> Arc<str> {
    format!("{}.", name.trim_end_matches('.')).into()
}

/// Returns whether no external name may lead to an address.
fn is_forbidden(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    is_link_local || address == CREDENTIALS || is_local(address)
}

#[cfg(test)]
mod tests;
