//! `io.l5d.dnssrv`: names are services in DNS, addresses those of the targets of their SRV records (RFC 2782).
//!
//! Of the records, those with the lowest priority count. The weight of a record is shared by the addresses of its
//! target. A target without addresses takes no part; a service without any is Neg.

use super::address::is_host_name;
use super::dns::{Dns, DnsDemand, DnsQuestion, DnsState, HostSet, SrvTarget};
use super::publisher::{AnswerPublisher, NameState};
use crate::interpret::{Answer, AnswerState, DEMAND_PACE, Endpoint, EndpointSet, Namer};
use crate::name::{NameTree, Path};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

/// The weight of a record with weight 0 beside others with more: the RFC wants a very small chance.
const SMALL_WEIGHT: f64 = 0.1;

/// A namer of services in DNS.
#[derive(Debug)]
pub(super) struct SrvNamer {
    prefix: Path,
    dns: Dns,
    /// The domain that is added to names that are not complete.
    domain: Option<String>,
    min_pause: Duration,
    control: Handle,
}

impl SrvNamer {
    /// Makes the namer whose bound names begin with `prefix`. Records and addresses are kept for `min_pause` at least.
    pub(super) fn new(
        prefix: Path,
        dns: Dns,
        domain: Option<String>,
        min_pause: Duration,
        control: &Handle,
    ) -> Self {
        Self { prefix, dns, domain, min_pause, control: control.clone() }
    }

    /// Returns the complete name of the service that a path begins with; nothing if no service can have such a name.
    fn service(&self, path: &Path) -> Option<Arc<str>> {
        let name = std::str::from_utf8(path.first()?).ok()?;
        let name = match &self.domain {
            Some(domain) if !name.ends_with('.') => format!("{name}.{domain}"),
            _ => name.to_owned(),
        };
        let complete = name.trim_end_matches('.').to_ascii_lowercase() + ".";
        is_host_name(&name).then(|| complete.into())
    }
}

impl Namer for SrvNamer {
    fn lookup(&self, path: &Path) -> Answer {
        let Some(name) = self.service(path) else { return Answer::fixed(AnswerState::Ready(NameTree::Neg)) };
        let (writer, answer) = Answer::pending();
        let question = DnsQuestion { name, min_pause: self.min_pause, once: false };
        let (services, demand) = self.dns.watch_wanted_service(question);
        let hosts = HostSet::on_demand(self.dns.clone(), self.min_pause);
        let publisher = AnswerPublisher::new(self.prefix.concat(&path.take(1)), path.skip(1), writer);
        self.control.spawn(publish_service(services, demand, hosts, publisher));
        answer
    }

    /// Returns Neg for a path that cannot be a name in DNS.
    fn immediate(&self, path: &Path) -> Option<AnswerState> {
        self.service(path).is_none().then_some(AnswerState::Ready(NameTree::Neg))
    }
}

/// Publishes the endpoints of a service while the answer is in use.
async fn publish_service(
    mut services: watch::Receiver<DnsState<SrvTarget>>,
    demand: DnsDemand,
    mut hosts: HostSet,
    mut publisher: AnswerPublisher,
) {
    let mut quiet_until = Instant::now();
    loop {
        let known = services.borrow_and_update().clone();
        publisher.publish(state(&known, &mut hosts));
        let is_complete = matches!(known, DnsState::Found { .. }) && hosts.is_complete();
        tokio::select! {
            changed = services.changed() => if changed.is_err() {
                return;
            },
            () = hosts.changed() => {}
            () = publisher.demanded_after(quiet_until), if !is_complete => {
                quiet_until = Instant::now() + DEMAND_PACE;
                demand.pass_on();
                hosts.pass_demand_on();
            }
            () = publisher.released() => return,
        }
    }
}

/// Returns the state of a service, and watches the hosts of its targets.
fn state(services: &DnsState<SrvTarget>, hosts: &mut HostSet) -> NameState {
    let (services, stale) = match services {
        DnsState::Pending => return NameState::Pending,
        DnsState::Missing => (None, false),
        DnsState::Failed(reason) => return NameState::Failed(Arc::clone(reason)),
        DnsState::Found { records, stale } => (Some(records), stale.is_some()),
    };
    let Some(services) = services else {
        hosts.set_names(&HashSet::new());
        return NameState::Neg { stale: false };
    };
    hosts.set_names(&services.iter().map(|service| Arc::clone(&service.target)).collect());
    let mut found = SrvEndpoints { endpoints: Vec::new(), stale, pending: false, failed: None };
    let unweighted = services.iter().all(|service| service.weight == 0);
    for service in services.iter() {
        let weight = if unweighted { 1.0 } else { f64::from(service.weight).max(SMALL_WEIGHT) };
        found.add(service, weight, hosts);
    }
    found.state()
}

/// The addresses of all targets.
struct SrvEndpoints {
    endpoints: Vec<Endpoint>,
    stale: bool,
    pending: bool,
    failed: Option<Arc<str>>,
}

impl SrvEndpoints {
    /// Adds the addresses of one target, which share its weight.
    fn add(&mut self, service: &SrvTarget, weight: f64, hosts: &HostSet) {
        match hosts.known(&service.target) {
            DnsState::Pending => self.pending = true,
            DnsState::Missing => {}
            DnsState::Failed(reason) => self.failed = Some(reason),
            DnsState::Found { records, stale } => {
                self.stale |= stale.is_some();
                // There are far fewer records than 2^52.
                let weight = weight / records.len() as f64;
                let endpoint = |ip| Endpoint { weight, ..Endpoint::at(SocketAddr::new(ip, service.port)) };
                self.endpoints.extend(records.iter().copied().map(endpoint));
            }
        }
    }

    fn state(mut self) -> NameState {
        self.endpoints.sort_by_key(|endpoint| endpoint.address);
        self.endpoints.dedup_by(|again, first| {
            let same = again.address == first.address;
            // Two records that lead to one address give it the share of both.
            first.weight += if same { again.weight } else { 0.0 };
            same
        });
        match self.failed {
            failed if !self.endpoints.is_empty() => NameState::Endpoints {
                set: EndpointSet::new(self.endpoints),
                stale: self.stale || failed.is_some(),
            },
            _ if self.pending => NameState::Pending,
            Some(reason) => NameState::Failed(reason),
            None => NameState::Neg { stale: false },
        }
    }
}

#[cfg(test)]
mod tests;
