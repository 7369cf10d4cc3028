//! DNS: addresses of hosts and targets of services, kept fresh while they are in use.
//!
//! A [`Resolver`] asks one question once. A [`DnsTable`] keeps the answers in use: it asks again when their time to
//! live is over, keeps the last good one when the servers fail, and drops those that are no longer in use. Namers watch
//! entries of the tables, one by one or as a [`HostSet`], and publish the results through an
//! [`AnswerPublisher`](super::publisher::AnswerPublisher).
//!
//! Absent: a cache beside the tables, DNSSEC, and DNS over TLS or HTTPS.

mod host_set;
mod resolver;
mod routes;
mod server;
mod table;
mod turns;

#[cfg(test)]
pub(super) mod tests;

pub(super) use self::host_set::HostSet;
pub(super) use self::resolver::SrvTarget;
pub(super) use self::server::{DnsServer, EXPECTED_SERVER};
pub(super) use self::table::{DnsDemand, DnsQuestion, DnsState, MIN_PAUSE};

use self::resolver::Resolver;
use self::table::DnsTable;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// One client of DNS. Cheap to clone; the clones share their answers.
#[derive(Clone)]
pub(super) struct Dns {
    resolver: Arc<Resolver>,
    hosts: DnsTable<IpAddr>,
    services: DnsTable<SrvTarget>,
}

impl Dns {
    /// Makes a client that asks the servers of the system, after its hosts file; `control` runs the tasks that keep the
    /// answers fresh.
    pub(super) fn of_system(control: &Handle) -> Self {
        Self::of(Resolver::of_system(), control)
    }

    /// Makes a client that asks these servers and no others. Servers that are names are looked up by `self` first.
    pub(super) fn with_servers(&self, servers: Vec<DnsServer>, control: &Handle) -> Self {
        Self::of(Resolver::of_servers(servers, &self.resolver), control)
    }

    /// Makes a client of this resolver.
    fn of(resolver: Resolver, control: &Handle) -> Self {
        let resolver = Arc::new(resolver);
        let asked = Arc::clone(&resolver);
        let hosts = DnsTable::new(control, move |name, reason| {
            let resolver = Arc::clone(&asked);
            Box::pin(async move { resolver.addresses(&name, reason).await })
        });
        let asked = Arc::clone(&resolver);
        let services = DnsTable::new(control, move |name, reason| {
            let resolver = Arc::clone(&asked);
            Box::pin(async move { resolver.services(&name, reason).await })
        });
        Self { resolver, hosts, services }
    }

    /// Watches the addresses of a host that the configuration or an object names. A name that ends with a dot is not
    /// looked up in the search domains.
    pub(super) fn watch_host(&self, question: DnsQuestion) -> watch::Receiver<DnsState<IpAddr>> {
        self.hosts.watch(question)
    }

    /// Does the same as [`Dns::watch_host`] for a host that requests ask for. While it has no addresses and no request asks
    /// for it, it is looked up seldom.
    pub(super) fn watch_wanted_host(
        &self,
        question: DnsQuestion,
    ) -> (watch::Receiver<DnsState<IpAddr>>, DnsDemand) {
        self.hosts.watch_wanted(question)
    }

    /// Watches the targets of a service that requests ask for, whose name is complete. It is looked up as seldom.
    pub(super) fn watch_wanted_service(
        &self,
        question: DnsQuestion,
    ) -> (watch::Receiver<DnsState<SrvTarget>>, DnsDemand) {
        self.services.watch_wanted(question)
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns").finish_non_exhaustive()
    }
}
