//! DNS: addresses of hosts and places of services, kept fresh for as long as anybody holds them.
//!
//! [`Resolver`] asks one question once. A [`Table`] keeps the answers that are held: it asks again when their time to
//! live is over, keeps the last good one when the servers fail, and forgets what nobody holds. Namers follow entries of
//! the tables, one by one or as a [`HostSet`], and say what comes of them through [`Published`](super::published::Published).
//!
//! What is absent: a cache beside the tables, DNSSEC, and DNS over TLS or HTTPS.

mod host_set;
mod resolver;
mod routes;
mod server;
mod table;

#[cfg(test)]
pub(super) mod tests;

pub(super) use self::host_set::HostSet;
pub(super) use self::resolver::Service;
pub(super) use self::server::{EXPECTED_SERVER, Server};
pub(super) use self::table::{Known, MIN_PAUSE, Question};

use self::resolver::Resolver;
use self::table::Table;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// One client of DNS. Cheap to clone; the clones share what is known.
#[derive(Clone)]
pub(super) struct Dns {
    resolver: Arc<Resolver>,
    hosts: Table<IpAddr>,
    services: Table<Service>,
}

impl Dns {
    /// Asks the servers of the system, after its hosts file; `control` runs what keeps the answers fresh.
    pub(super) fn of_system(control: &Handle) -> Self {
        Self::of(Resolver::of_system(), control)
    }

    /// Asks these servers and no others. Those that are named are looked up by `self` first.
    pub(super) fn with_servers(&self, servers: Vec<Server>, control: &Handle) -> Self {
        Self::of(Resolver::of_servers(servers, &self.resolver), control)
    }

    fn of(resolver: Resolver, control: &Handle) -> Self {
        let resolver = Arc::new(resolver);
        let asked = Arc::clone(&resolver);
        let hosts = Table::new(control, move |name| {
            let resolver = Arc::clone(&asked);
            Box::pin(async move { resolver.addresses(&name).await })
        });
        let asked = Arc::clone(&resolver);
        let services = Table::new(control, move |name| {
            let resolver = Arc::clone(&asked);
            Box::pin(async move { resolver.services(&name).await })
        });
        Self { resolver, hosts, services }
    }

    /// Follows the addresses of a host; a name that ends with a dot is not looked for in the search domains.
    pub(super) fn host(&self, question: Question) -> watch::Receiver<Known<IpAddr>> {
        self.hosts.follow(question)
    }

    /// Follows the places of a service, whose name is complete.
    pub(super) fn service(&self, question: Question) -> watch::Receiver<Known<Service>> {
        self.services.follow(question)
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns").finish_non_exhaustive()
    }
}
