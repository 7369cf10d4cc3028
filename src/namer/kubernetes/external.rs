//! The load balancer before a service, for as long as somebody wants to know.

use super::follow::{Follower, absent, complete};
use super::name::Name;
use super::service::{Ingress, Service};
use crate::interpret::{Endpoint, EndpointSet};
use crate::kubernetes::{GroupState, GroupView};
use crate::namer::dns::{self, Dns, HostSet, MIN_PAUSE};
use crate::namer::published::Verdict;
use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::watch;

/// Says where the load balancer of a service can be reached, whenever that changes.
///
/// With a label, the service itself must have it.
pub(super) async fn follow(
    mut follower: Follower,
    name: Name,
    label: Option<Arc<str>>,
    mut services: watch::Receiver<GroupState<Service>>,
    dns: Dns,
) {
    let mut hosts = HostSet::new(dns, MIN_PAUSE);
    loop {
        let (verdict, before) = {
            let known = services.borrow_and_update();
            let verdict = complete(&known)
                .map_or_else(|verdict| verdict, |view| verdict(&name, label.as_deref(), view, &mut hosts));
            (verdict, known.before())
        };
        follower.say(verdict, before);
        tokio::select! {
            changed = services.changed() => if changed.is_err() {
                // A watch that was refused says nothing more.
                follower.published.released().await;
                return;
            },
            () = hosts.changed() => {}
            () = follower.published.released() => return,
        }
    }
}

fn verdict(name: &Name, label: Option<&str>, view: &GroupView<Service>, hosts: &mut HostSet) -> Verdict {
    let Some(service) = view.one() else { return absent(view.unreadable.as_ref(), view.stale) };
    let labelled = match (label, &name.value) {
        (Some(key), Some(value)) => service.has_label(key, value),
        _ => true,
    };
    let port = service.number_of(&name.port).filter(|_| labelled);
    let places = if port.is_some() { &*service.ingress } else { &[] };
    hosts.follow(&places.iter().filter_map(Ingress::host).cloned().collect::<HashSet<_>>());
    let mut found = Found::default();
    for place in places {
        match place {
            Ingress::Address(address) => {
                found.addresses.insert(*address);
            }
            Ingress::Host(host) => found.take(hosts.known(host)),
        }
    }
    let endpoints = |port: u16| {
        let at = |&address: &IpAddr| Endpoint::at(SocketAddr::new(address, port));
        EndpointSet::new(found.addresses.iter().map(at).collect())
    };
    match (port.map(endpoints).filter(|set| !set.is_empty()), found.pending, found.trouble) {
        (Some(set), _, trouble) => Verdict::Endpoints { set, stale: view.stale || trouble.is_some() },
        (None, _, Some(reason)) => Verdict::Failed(reason),
        (None, true, None) => Verdict::Pending,
        (None, false, None) => Verdict::Neg { stale: view.stale },
    }
}

/// What the places of a load balancer come to.
#[derive(Default)]
struct Found {
    addresses: BTreeSet<IpAddr>,
    /// Whether some host name has never been answered.
    pending: bool,
    /// Why the addresses of some host name are not known, or not those of now.
    trouble: Option<Arc<str>>,
}

impl Found {
    fn take(&mut self, known: dns::Known<IpAddr>) {
        match known {
            dns::Known::Found { records, stale } => {
                self.addresses.extend(records.iter());
                self.trouble = self.trouble.take().or(stale);
            }
            dns::Known::Pending => self.pending = true,
            dns::Known::Missing => {}
            dns::Known::Failed(reason) => self.trouble = self.trouble.take().or(Some(reason)),
        }
    }
}

impl Ingress {
    const fn host(&self) -> Option<&Arc<str>> {
        match self {
            Self::Host(host) => Some(host),
            Self::Address(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
