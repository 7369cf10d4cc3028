//! Asks DNS servers one question at a time.
//!
//! hickory's resolver carries each query: its transport, its retries, the choice of a server, and aliases. Which names
//! are tried and what their replies mean together is decided here, because that is the difference between "there is
//! none" and "nobody knows": hickory takes the last word, here one failure outweighs every "no".

use super::routes::{has_route, reachable};
use super::server::{Server, ServerHost};
use super::table::Reply;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, TokioResolver};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

/// Queries at one time.
const AT_ONCE: usize = 32;

/// How long one query may take, retries included: less than a name may take to be bound, so that the reason is seen.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long the configuration of the system is relied on before it is read again: networks come and go.
const REREAD: Duration = Duration::from_secs(10);

/// Search domains that are tried; glibc knew 6 for long.
const SEARCHED: usize = 8;

/// Aliases of a service that are followed.
const MAX_ALIASES: usize = 8;

/// Where a service is: one of its SRV records (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::namer) struct Service {
    /// The name of a host, complete, with the dot at its end.
    pub(in crate::namer) target: Arc<str>,
    /// Not 0.
    pub(in crate::namer) port: u16,
    /// Its share among the records of the service.
    pub(in crate::namer) weight: u16,
}

/// Asks one set of servers.
pub(super) struct Resolver {
    source: Source,
    /// What was made of the source, and when.
    made: Mutex<Option<(Instant, Arc<Client>)>>,
    permits: Semaphore,
    patience: Duration,
    has_route: fn(IpAddr) -> bool,
}

/// What says which servers to ask.
enum Source {
    /// The files of the system.
    System,
    /// Addresses: never made again.
    Fixed(Arc<Client>),
    /// Servers some of which are names, and who knows them.
    Named(Vec<Server>, Arc<Resolver>),
}

/// What a source comes to at one time.
pub(super) struct Client {
    hosts: Hosts,
    search: Vec<Name>,
    /// Dots that make a name likely to be complete.
    ndots: usize,
    /// hickory's client, or why there is none.
    lookups: Result<TokioResolver, String>,
}

/// What one query gives.
enum Given {
    Records(Vec<RData>, Duration),
    Missing(Duration),
    /// A server has answered, with an error.
    Refused(String),
    /// No server has answered.
    Silent(String),
}

impl Resolver {
    pub(super) fn of_system() -> Self {
        Self::of(Source::System, has_route)
    }

    /// Asks these servers; `system` knows the addresses of those that are names.
    pub(super) fn of_servers(servers: Vec<Server>, system: &Arc<Self>) -> Self {
        let address = |server: &Server| match server.host {
            ServerHost::Address(ip) => Some(SocketAddr::new(ip, server.port)),
            ServerHost::Name(_) => None,
        };
        let source = match servers.iter().map(address).collect::<Option<Vec<SocketAddr>>>() {
            Some(addresses) => Source::Fixed(Arc::new(Client::of_servers(&addresses))),
            None => Source::Named(servers, Arc::clone(system)),
        };
        Self::of(source, has_route)
    }

    /// Asks this client; for tests, which also say where there are routes and have little patience.
    #[cfg(test)]
    pub(super) fn of_client(client: Client, has_route: fn(IpAddr) -> bool) -> Self {
        let patience = Duration::from_secs(1);
        Self { patience, ..Self::of(Source::Fixed(Arc::new(client)), has_route) }
    }

    fn of(source: Source, has_route: fn(IpAddr) -> bool) -> Self {
        let permits = Semaphore::new(AT_ONCE);
        Self { source, made: Mutex::default(), permits, patience: PATIENCE, has_route }
    }

    /// Asks for the addresses of a host, A and AAAA: first of the hosts file, then under each name it may have. The
    /// first name that has any decides.
    pub(super) async fn addresses(&self, host: &str) -> Reply<IpAddr> {
        let client = match self.client().await {
            Ok(client) => client,
            Err(reason) => return Reply::Failed(reason),
        };
        let name = match Name::from_ascii(host) {
            Ok(name) => name,
            Err(error) => return Reply::Failed(error.to_string()),
        };
        if let Some(addresses) = client.in_hosts_file(&name) {
            return Reply::Records(addresses, Duration::ZERO);
        }
        let mut trouble = None;
        let mut life = Duration::MAX;
        for candidate in client.candidates(&name) {
            match self.of_both_families(&client, &candidate).await {
                Given::Records(records, life) => {
                    let addresses = records.iter().filter_map(RData::ip_addr).collect();
                    return Reply::Records(reachable(addresses, self.has_route), life);
                }
                Given::Missing(its_life) => life = life.min(its_life),
                Given::Refused(reason) => trouble = Some(reason),
                // Nor will the next name be answered.
                Given::Silent(reason) => return Reply::Failed(reason),
            }
        }
        trouble.map_or(Reply::Missing(life), Reply::Failed)
    }

    /// Asks for the places of a service: of its SRV records, those with the lowest priority.
    pub(super) async fn services(&self, service: &str) -> Reply<Service> {
        let client = match self.client().await {
            Ok(client) => client,
            Err(reason) => return Reply::Failed(reason),
        };
        let mut name = match Name::from_ascii(service) {
            Ok(name) => name,
            Err(error) => return Reply::Failed(error.to_string()),
        };
        name.set_fqdn(true);
        for _ in 0..MAX_ALIASES {
            let missing = match self.query(&client, &name, RecordType::SRV).await {
                Given::Records(records, life) => {
                    let records = records.into_iter().filter_map(|data| match data {
                        RData::SRV(record) => Some(record),
                        _ => None,
                    });
                    return Reply::Records(preferred(records.collect()), life);
                }
                Given::Missing(life) => life,
                Given::Refused(reason) | Given::Silent(reason) => return Reply::Failed(reason),
            };
            // hickory looks for the SRV records of the target when the service is an alias: follow that here.
            match self.query(&client, &name, RecordType::CNAME).await {
                Given::Records(records, _) => match alias(&records) {
                    Some(alias) => name = alias,
                    None => return Reply::Missing(missing),
                },
                Given::Missing(life) => return Reply::Missing(missing.min(life)),
                Given::Refused(reason) | Given::Silent(reason) => return Reply::Failed(reason),
            }
        }
        Reply::Failed(format!("more than {MAX_ALIASES} aliases"))
    }

    /// Asks for A and AAAA at one time. One family is enough; "no" is said only when both say it.
    async fn of_both_families(&self, client: &Client, name: &Name) -> Given {
        let (v4, v6) =
            tokio::join!(self.query(client, name, RecordType::A), self.query(client, name, RecordType::AAAA));
        match (v4, v6) {
            (Given::Records(mut records, life), Given::Records(more, other_life)) => {
                records.extend(more);
                Given::Records(records, life.min(other_life))
            }
            (Given::Records(records, life), Given::Missing(_))
            | (Given::Missing(_), Given::Records(records, life)) => Given::Records(records, life),
            // The other family is to be asked for again soon.
            (Given::Records(records, _), _) | (_, Given::Records(records, _)) => {
                Given::Records(records, Duration::ZERO)
            }
            (Given::Silent(reason), _) | (_, Given::Silent(reason)) => Given::Silent(reason),
            (Given::Refused(reason), _) | (_, Given::Refused(reason)) => Given::Refused(reason),
            (Given::Missing(life), Given::Missing(other_life)) => Given::Missing(life.min(other_life)),
        }
    }

    async fn query(&self, client: &Client, name: &Name, kind: RecordType) -> Given {
        let lookups = match &client.lookups {
            Ok(lookups) => lookups,
            Err(reason) => return Given::Silent(reason.clone()),
        };
        // The semaphore is never closed; without a permit the question is asked all the same.
        let _permit = self.permits.acquire().await;
        match timeout(self.patience, lookups.lookup(name.clone(), kind)).await {
            Err(_) => Given::Silent(format!("no answer within {} s", self.patience.as_secs())),
            Ok(Ok(lookup)) => {
                let life = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
                let records = lookup.answers().iter().map(|record| &record.data);
                let records: Vec<RData> =
                    records.filter(|data| data.record_type() == kind).cloned().collect();
                let life = Duration::from_secs(life.into());
                if records.is_empty() { Given::Missing(life) } else { Given::Records(records, life) }
            }
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => {
                Given::Missing(Duration::from_secs(none.negative_ttl.unwrap_or_default().into()))
            }
            Ok(Err(error @ NetError::Dns(_))) => Given::Refused(error.to_string()),
            Ok(Err(error)) => Given::Silent(error.to_string()),
        }
    }

    /// The client of now.
    async fn client(&self) -> Result<Arc<Client>, String> {
        if let Source::Fixed(client) = &self.source {
            return Ok(Arc::clone(client));
        }
        let mut made = self.made.lock().await;
        if let Some((since, client)) = &*made
            && since.elapsed() < REREAD
        {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(match &self.source {
            Source::Fixed(client) => return Ok(Arc::clone(client)),
            Source::System => spawn_blocking(Client::of_system).await.map_err(|error| error.to_string())?,
            Source::Named(servers, system) => {
                Client::of_servers(&addresses_of_servers(servers, system).await?)
            }
        });
        *made = Some((Instant::now(), Arc::clone(&client)));
        Ok(client)
    }
}

/// Looks up the servers that are names. It is enough that one of the servers is found.
fn addresses_of_servers<'a>(
    servers: &'a [Server],
    system: &'a Resolver,
) -> Pin<Box<dyn Future<Output = Result<Vec<SocketAddr>, String>> + Send + 'a>> {
    Box::pin(async move {
        let mut found = Vec::new();
        let mut trouble = String::new();
        for Server { host, port } in servers {
            match host {
                ServerHost::Address(ip) => found.push(SocketAddr::new(*ip, *port)),
                ServerHost::Name(name) => match system.addresses(name).await {
                    Reply::Records(addresses, _) => {
                        found.extend(addresses.into_iter().map(|ip| SocketAddr::new(ip, *port)));
                    }
                    Reply::Missing(_) => trouble = format!("there is no DNS server {name}"),
                    Reply::Failed(reason) => trouble = format!("looking up the DNS server {name}: {reason}"),
                },
            }
        }
        if found.is_empty() { Err(trouble) } else { Ok(found) }
    })
}

/// The records with the lowest priority, without those that say that there is no service here (target `.`).
fn preferred(mut records: Vec<SRV>) -> Vec<Service> {
    records.retain(|record| !record.target.is_root() && record.port > 0);
    let lowest = records.iter().map(|record| record.priority).min();
    let lowest = records.iter().filter(|record| Some(record.priority) == lowest);
    lowest
        .map(|SRV { target, port, weight, .. }| {
            let mut target = target.clone();
            target.set_fqdn(true);
            Service { target: target.to_ascii().to_ascii_lowercase().into(), port: *port, weight: *weight }
        })
        .collect()
}

fn alias(records: &[RData]) -> Option<Name> {
    records.iter().find_map(|data| match data {
        RData::CNAME(alias) => Some(alias.0.clone()),
        _ => None,
    })
}

impl Client {
    /// Reads what the system says; what is wrong with it is said for each question.
    fn of_system() -> Self {
        let hosts = Hosts::from_system().unwrap_or_else(|error| {
            tracing::debug!(%error, "the hosts file cannot be read");
            Hosts::default()
        });
        match read_system_conf() {
            Ok((config, options)) => Self::new(hosts, config, options),
            Err(error) => {
                let lookups = Err(format!("the DNS servers of the system are not known: {error}"));
                Self { hosts, search: Vec::new(), ndots: 1, lookups }
            }
        }
    }

    /// Asks these servers for complete names.
    fn of_servers(servers: &[SocketAddr]) -> Self {
        let servers = servers.iter().map(|address| {
            let [mut udp, mut tcp] = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            udp.port = address.port();
            tcp.port = address.port();
            NameServerConfig::new(address.ip(), true, vec![udp, tcp])
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        Self::new(Hosts::default(), config, ResolverOpts::default())
    }

    pub(super) fn new(hosts: Hosts, config: ResolverConfig, mut options: ResolverOpts) -> Self {
        // Both come before hickory is asked.
        options.use_hosts_file = ResolveHosts::Never;
        let search = config.search().iter().take(SEARCHED).cloned().collect();
        // What is known is kept in the tables, by their rules.
        options.cache_size = 0;
        let ndots = options.ndots;
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let lookups = builder.with_options(options).build().map_err(|error| error.to_string());
        Self { hosts, search, ndots, lookups }
    }

    /// The addresses in the hosts file: a name that stands there is not asked for elsewhere.
    fn in_hosts_file(&self, name: &Name) -> Option<Vec<IpAddr>> {
        let lookups = [RecordType::A, RecordType::AAAA]
            .map(|kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind)));
        let records = lookups.iter().flatten().flat_map(|lookup| lookup.answers());
        let addresses: Vec<IpAddr> = records.filter_map(|record| record.data.ip_addr()).collect();
        if addresses.is_empty() { None } else { Some(addresses) }
    }

    /// The complete names that a name may stand for, in the order of resolv.conf(5).
    fn candidates(&self, name: &Name) -> Vec<Name> {
        let mut complete = name.clone();
        complete.set_fqdn(true);
        if name.is_fqdn() {
            return vec![complete];
        }
        let mut names: Vec<Name> =
            self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
        for name in &mut names {
            name.set_fqdn(true);
        }
        // A name of one label has no dot.
        let dots = usize::from(name.num_labels()).saturating_sub(1);
        let at = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(at, complete);
        names
    }
}
