//! `io.l5d.dnssrv`: names are services in DNS, addresses those of the targets of their SRV records (RFC 2782).
//!
//! Of the records, those with the lowest priority count. The weight of a record is shared by the addresses of its
//! target. A target without addresses takes no part; a service without any is Neg.

use super::address::is_host_name;
use super::dns::{Dns, HostSet, Known, Question, Service};
use super::published::{Published, Verdict};
use crate::interpret::{Answer, Endpoint, EndpointSet, Namer, State};
use crate::name::{NameTree, Path};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The weight of a record that says 0 beside others that do not: a very small chance, says the RFC.
const SMALL_WEIGHT: f64 = 0.1;

/// A namer of services.
#[derive(Debug)]
pub(super) struct SrvNamer {
    prefix: Path,
    dns: Dns,
    /// What names that are not complete end with.
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

    /// The complete name of the service that a path begins with, or nothing if none can have it.
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
        let Some(name) = self.service(path) else { return Answer::fixed(State::Ready(NameTree::Neg)) };
        let (writer, answer) = Answer::pending();
        let services = self.dns.service(Question { name, min_pause: self.min_pause, once: false });
        let hosts = HostSet::new(self.dns.clone(), self.min_pause);
        let published = Published::new(self.prefix.concat(&path.take(1)), path.skip(1), writer);
        self.control.spawn(follow(services, hosts, published));
        answer
    }

    /// What cannot be a name in DNS is Neg for ever.
    fn immediate(&self, path: &Path) -> Option<State> {
        self.service(path).is_none().then_some(State::Ready(NameTree::Neg))
    }
}

/// Says where the service is, for as long as anybody wants to know.
async fn follow(mut services: watch::Receiver<Known<Service>>, mut hosts: HostSet, mut published: Published) {
    loop {
        let known = services.borrow_and_update().clone();
        published.say(verdict(&known, &mut hosts));
        tokio::select! {
            changed = services.changed() => if changed.is_err() {
                return;
            },
            () = hosts.changed() => {}
            () = published.released() => return,
        }
    }
}

fn verdict(services: &Known<Service>, hosts: &mut HostSet) -> Verdict {
    let (services, stale) = match services {
        Known::Pending => return Verdict::Pending,
        Known::Missing => (None, false),
        Known::Failed(reason) => return Verdict::Failed(Arc::clone(reason)),
        Known::Found { records, stale } => (Some(records), stale.is_some()),
    };
    let Some(services) = services else {
        hosts.follow(&HashSet::new());
        return Verdict::Neg { stale: false };
    };
    hosts.follow(&services.iter().map(|service| Arc::clone(&service.target)).collect());
    let mut found = Endpoints { endpoints: Vec::new(), stale, pending: false, failed: None };
    let unweighted = services.iter().all(|service| service.weight == 0);
    for service in services.iter() {
        let weight = if unweighted { 1.0 } else { f64::from(service.weight).max(SMALL_WEIGHT) };
        found.add(service, weight, hosts);
    }
    found.verdict()
}

/// The addresses of all targets.
struct Endpoints {
    endpoints: Vec<Endpoint>,
    stale: bool,
    pending: bool,
    failed: Option<Arc<str>>,
}

impl Endpoints {
    fn add(&mut self, service: &Service, weight: f64, hosts: &HostSet) {
        match hosts.known(&service.target) {
            Known::Pending => self.pending = true,
            Known::Missing => {}
            Known::Failed(reason) => self.failed = Some(reason),
            Known::Found { records, stale } => {
                self.stale |= stale.is_some();
                // Far fewer than 2^52.
                let weight = weight / records.len() as f64;
                let endpoint = |ip| Endpoint { weight, ..Endpoint::at(SocketAddr::new(ip, service.port)) };
                self.endpoints.extend(records.iter().copied().map(endpoint));
            }
        }
    }

    fn verdict(mut self) -> Verdict {
        self.endpoints.sort_by_key(|endpoint| endpoint.address);
        self.endpoints.dedup_by(|again, first| {
            let same = again.address == first.address;
            // Two records that lead to one address give it the share of both.
            first.weight += if same { again.weight } else { 0.0 };
            same
        });
        match self.failed {
            failed if !self.endpoints.is_empty() => Verdict::Endpoints {
                set: EndpointSet::new(self.endpoints),
                stale: self.stale || failed.is_some(),
            },
            _ if self.pending => Verdict::Pending,
            Some(reason) => Verdict::Failed(reason),
            None => Verdict::Neg { stale: false },
        }
    }
}

#[cfg(test)]
mod tests;
