//! Asks DNS servers one question at a time.
//!
//! hickory's resolver carries each query: its transport, its retries, the choice of a server, and aliases. This module
//! decides which names are tried and how their replies are combined, because that makes the difference between "there
//! are no records" and "it is not known": hickory takes the last reply, here one failure outweighs every "no".

use super::routes::{has_route, reachable};
use super::server::{DnsServer, DnsServerHost};
use super::table::DnsReply;
use super::turns::{QueryTurns, QuestionClass};
use futures_util::future::select;
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
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

/// How long one query may take, retries included: less than the binding of a name may take, so that its error is shown.
const QUERY_TIMEOUT: Duration = Duration::from_secs(8);

/// How long a query holds its place among those that are asked at once: a zone that is silent must not hold up others.
const PLACE_TIME: Duration = Duration::from_secs(1);

/// How long the addresses of one family wait for the other where requests wait: RFC 8305 3 calls it the resolution delay.
const OTHER_FAMILY_WAIT: Duration = Duration::from_millis(50);

/// How long the configuration of the system is used before it is read again: networks come and go.
const REREAD_INTERVAL: Duration = Duration::from_secs(10);

/// How many search domains are tried; for a long time glibc tried 6.
const MAX_SEARCH_DOMAINS: usize = 8;

/// How many aliases of a service are followed.
const MAX_ALIASES: usize = 8;

/// A target of a service: one of its SRV records (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::namer) struct SrvTarget {
    /// The complete name of the host, with the dot at its end.
    pub(in crate::namer) target: Arc<str>,
    /// The port; never 0.
    pub(in crate::namer) port: u16,
    /// Its share among the records of the service.
    pub(in crate::namer) weight: u16,
}

/// A resolver that asks one set of servers.
pub(super) struct Resolver {
    source: ServerSource,
    /// The client made from the source, and the time at which it was made.
    current: Mutex<Option<(Instant, Arc<DnsClient>)>>,
    turns: QueryTurns,
    query_timeout: Duration,
    has_route: fn(IpAddr) -> bool,
}

/// A source of the servers to ask.
enum ServerSource {
    /// The files of the system.
    System,
    /// Addresses, whose client is made once.
    Fixed(Arc<DnsClient>),
    /// Servers some of which are names, and the resolver that looks these up.
    Named(Vec<DnsServer>, Arc<Resolver>),
}

/// A client for the servers of a source at one time.
pub(super) struct DnsClient {
    hosts: Hosts,
    search: Vec<Name>,
    /// The number of dots from which on a name is likely to be complete.
    ndots: usize,
    /// hickory's client, or the reason why there is none.
    lookups: Result<TokioResolver, String>,
}

/// The reason for which a name is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AskReason {
    /// It has no records that are known, and requests ask for it.
    First,
    /// It had records, which are renewed.
    Refresh,
    /// It had none when it was last asked for, and no request has asked for it since.
    Unasked,
    /// It is that of a DNS server, without which nothing can be asked.
    Server,
}

impl AskReason {
    /// Returns whether requests wait.
    const fn is_urgent(self) -> bool {
        matches!(self, Self::First | Self::Server)
    }

    const fn class(self) -> QuestionClass {
        match self {
            Self::First => QuestionClass::First,
            Self::Unasked => QuestionClass::Unasked,
            Self::Refresh | Self::Server => QuestionClass::Known,
        }
    }
}

/// The result of one query.
enum QueryResult {
    Records(Vec<RData>, Duration),
    Missing(Duration),
    /// A server has answered, with an error.
    Refused(String),
    /// No server has answered.
    Silent(String),
}

impl Resolver {
    /// Makes a resolver that asks the servers of the system.
    pub(super) fn of_system() -> Self {
        Self::of(ServerSource::System, has_route)
    }

    /// Makes a resolver that asks these servers; `system` looks up those that are names.
    pub(super) fn of_servers(servers: Vec<DnsServer>, system: &Arc<Self>) -> Self {
        let address = |server: &DnsServer| match server.host {
            DnsServerHost::Address(ip) => Some(SocketAddr::new(ip, server.port)),
            DnsServerHost::Name(_) => None,
        };
        let source = match servers.iter().map(address).collect::<Option<Vec<SocketAddr>>>() {
            Some(addresses) => ServerSource::Fixed(Arc::new(DnsClient::of_servers(&addresses))),
            None => ServerSource::Named(servers, Arc::clone(system)),
        };
        Self::of(source, has_route)
    }

    /// Makes a resolver that asks this client; for tests, which also decide how long a query takes and which addresses have
    /// routes.
    #[cfg(test)]
    pub(super) fn of_client(
        client: DnsClient,
        query_timeout: Duration,
        has_route: fn(IpAddr) -> bool,
    ) -> Self {
        Self { query_timeout, ..Self::of(ServerSource::Fixed(Arc::new(client)), has_route) }
    }

    /// Makes a resolver for a source.
    fn of(source: ServerSource, has_route: fn(IpAddr) -> bool) -> Self {
        let (current, turns) = (Mutex::default(), QueryTurns::default());
        Self { source, current, turns, query_timeout: QUERY_TIMEOUT, has_route }
    }

    /// Asks for the addresses of a host, A and AAAA: first the hosts file, then DNS under each name that the host may
    /// have. The first name with addresses decides.
    ///
    /// A question for which requests wait is answered soon after one family has addresses.
    pub(super) async fn addresses(&self, host: &str, reason: AskReason) -> DnsReply<IpAddr> {
        let client = match self.client().await {
            Ok(client) => client,
            Err(reason) => return DnsReply::Failed(reason),
        };
        let name = match Name::from_ascii(host) {
            Ok(name) => name,
            Err(error) => return DnsReply::Failed(error.to_string()),
        };
        if let Some(addresses) = client.in_hosts_file(&name) {
            return DnsReply::Records(addresses, Duration::ZERO);
        }
        let mut trouble = None;
        let mut life = Duration::MAX;
        for candidate in client.candidates(&name) {
            match self.query_both_families(&client, &candidate, reason).await {
                QueryResult::Records(records, life) => {
                    let addresses = records.iter().filter_map(RData::ip_addr).collect();
                    return DnsReply::Records(reachable(addresses, self.has_route), life);
                }
                QueryResult::Missing(its_life) => life = life.min(its_life),
                QueryResult::Refused(reason) => trouble = Some(reason),
                // The next name would not be answered either.
                QueryResult::Silent(reason) => return DnsReply::Failed(reason),
            }
        }
        trouble.map_or(DnsReply::Missing(life), DnsReply::Failed)
    }

    /// Asks for the targets of a service: of its SRV records, those with the lowest priority.
    pub(super) async fn services(&self, service: &str, reason: AskReason) -> DnsReply<SrvTarget> {
        let client = match self.client().await {
            Ok(client) => client,
            Err(reason) => return DnsReply::Failed(reason),
        };
        let mut name = match Name::from_ascii(service) {
            Ok(name) => name,
            Err(error) => return DnsReply::Failed(error.to_string()),
        };
        name.set_fqdn(true);
        for _ in 0..MAX_ALIASES {
            let missing = match self.query(&client, &name, RecordType::SRV, reason).await {
                QueryResult::Records(records, life) => {
                    let records = records.into_iter().filter_map(|data| match data {
                        RData::SRV(record) => Some(record),
                        _ => None,
                    });
                    return DnsReply::Records(preferred(records.collect()), life);
                }
                QueryResult::Missing(life) => life,
                QueryResult::Refused(reason) | QueryResult::Silent(reason) => {
                    return DnsReply::Failed(reason);
                }
            };
            // When the service is an alias, hickory looks for the SRV records of its target: follow the alias here.
            match self.query(&client, &name, RecordType::CNAME, reason).await {
                QueryResult::Records(records, _) => match alias(&records) {
                    Some(alias) => name = alias,
                    None => return DnsReply::Missing(missing),
                },
                QueryResult::Missing(life) => return DnsReply::Missing(missing.min(life)),
                QueryResult::Refused(reason) | QueryResult::Silent(reason) => {
                    return DnsReply::Failed(reason);
                }
            }
        }
        DnsReply::Failed(format!("more than {MAX_ALIASES} aliases"))
    }

    /// Asks for A and AAAA at one time. One family is enough; a host is missing only when both families are.
    async fn query_both_families(&self, client: &DnsClient, name: &Name, reason: AskReason) -> QueryResult {
        let v4 = pin!(self.query(client, name, RecordType::A, reason));
        let v6 = pin!(self.query(client, name, RecordType::AAAA, reason));
        let (first, second) = select(v4, v6).await.into_inner();
        let second = match first {
            QueryResult::Records(..) if reason.is_urgent() => timeout(OTHER_FAMILY_WAIT, second)
                .await
                .unwrap_or_else(|_| QueryResult::Silent("the other family was not waited for".to_owned())),
            _ => second.await,
        };
        match (first, second) {
            (QueryResult::Records(mut records, life), QueryResult::Records(more, other_life)) => {
                records.extend(more);
                QueryResult::Records(records, life.min(other_life))
            }
            (QueryResult::Records(records, life), QueryResult::Missing(_))
            | (QueryResult::Missing(_), QueryResult::Records(records, life)) => {
                QueryResult::Records(records, life)
            }
            // The other family has to be asked for again soon.
            (QueryResult::Records(records, _), _) | (_, QueryResult::Records(records, _)) => {
                QueryResult::Records(records, Duration::ZERO)
            }
            (QueryResult::Silent(reason), _) | (_, QueryResult::Silent(reason)) => {
                QueryResult::Silent(reason)
            }
            (QueryResult::Refused(reason), _) | (_, QueryResult::Refused(reason)) => {
                QueryResult::Refused(reason)
            }
            (QueryResult::Missing(life), QueryResult::Missing(other_life)) => {
                QueryResult::Missing(life.min(other_life))
            }
        }
    }

    /// Asks one question.
    async fn query(
        &self,
        client: &DnsClient,
        name: &Name,
        kind: RecordType,
        reason: AskReason,
    ) -> QueryResult {
        let lookups = match &client.lookups {
            Ok(lookups) => lookups,
            Err(reason) => return QueryResult::Silent(reason.clone()),
        };
        let mut turn = self.turns.begin(name, reason.class()).await;
        let mut reply = pin!(timeout(self.query_timeout, lookups.lookup(name.clone(), kind)));
        let reply = match timeout(PLACE_TIME, &mut reply).await {
            Ok(reply) => reply,
            Err(_) => {
                turn.give_place_back();
                reply.await
            }
        };
        match reply {
            Err(_) => QueryResult::Silent(format!("no answer within {} s", self.query_timeout.as_secs())),
            Ok(Ok(lookup)) => {
                let life = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
                let records = lookup.answers().iter().map(|record| &record.data);
                let records: Vec<RData> =
                    records.filter(|data| data.record_type() == kind).cloned().collect();
                let life = Duration::from_secs(life.into());
                if records.is_empty() {
                    QueryResult::Missing(life)
                } else {
                    QueryResult::Records(records, life)
                }
            }
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => {
                QueryResult::Missing(Duration::from_secs(none.negative_ttl.unwrap_or_default().into()))
            }
            Ok(Err(error @ NetError::Dns(_))) => QueryResult::Refused(error.to_string()),
            Ok(Err(error)) => QueryResult::Silent(error.to_string()),
        }
    }

    /// Returns the present client of the source.
    async fn client(&self) -> Result<Arc<DnsClient>, String> {
        if let ServerSource::Fixed(client) = &self.source {
            return Ok(Arc::clone(client));
        }
        let mut current = self.current.lock().await;
        if let Some((since, client)) = &*current
            && since.elapsed() < REREAD_INTERVAL
        {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(match &self.source {
            ServerSource::Fixed(client) => return Ok(Arc::clone(client)),
            ServerSource::System => {
                spawn_blocking(DnsClient::of_system).await.map_err(|error| error.to_string())?
            }
            ServerSource::Named(servers, system) => {
                DnsClient::of_servers(&addresses_of_servers(servers, system).await?)
            }
        });
        *current = Some((Instant::now(), Arc::clone(&client)));
        Ok(client)
    }
}

/// Looks up the servers that are names. One server is enough.
fn addresses_of_servers<'a>(
    servers: &'a [DnsServer],
    system: &'a Resolver,
) -> Pin<Box<dyn Future<Output = Result<Vec<SocketAddr>, String>> + Send + 'a>> {
    Box::pin(async move {
        let mut found = Vec::new();
        let mut trouble = String::new();
        for DnsServer { host, port } in servers {
            match host {
                DnsServerHost::Address(ip) => found.push(SocketAddr::new(*ip, *port)),
                DnsServerHost::Name(name) => match system.addresses(name, AskReason::Server).await {
                    DnsReply::Records(addresses, _) => {
                        found.extend(addresses.into_iter().map(|ip| SocketAddr::new(ip, *port)));
                    }
                    DnsReply::Missing(_) => trouble = format!("there is no DNS server {name}"),
                    DnsReply::Failed(reason) => {
                        trouble = format!("looking up the DNS server {name}: {reason}");
                    }
                },
            }
        }
        if found.is_empty() { Err(trouble) } else { Ok(found) }
    })
}

/// Returns the records with the lowest priority, without those that deny the service (target `.`).
fn preferred(mut records: Vec<SRV>) -> Vec<SrvTarget> {
    records.retain(|record| !record.target.is_root() && record.port > 0);
    let lowest = records.iter().map(|record| record.priority).min();
    let lowest = records.iter().filter(|record| Some(record.priority) == lowest);
    lowest
        .map(|SRV { target, port, weight, .. }| {
            let mut target = target.clone();
            target.set_fqdn(true);
            SrvTarget { target: target.to_ascii().to_ascii_lowercase().into(), port: *port, weight: *weight }
        })
        .collect()
}

/// Returns the target of an alias.
fn alias(records: &[RData]) -> Option<Name> {
    records.iter().find_map(|data| match data {
        RData::CNAME(alias) => Some(alias.0.clone()),
        _ => None,
    })
}

impl DnsClient {
    /// Makes a client from the configuration of the system. An error in it becomes the result of each query.
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

    /// Makes a client that asks these servers for complete names.
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

    /// Makes a client from a configuration.
    pub(super) fn new(hosts: Hosts, config: ResolverConfig, mut options: ResolverOpts) -> Self {
        // The hosts file is read before hickory is asked.
        options.use_hosts_file = ResolveHosts::Never;
        let search = config.search().iter().take(MAX_SEARCH_DOMAINS).cloned().collect();
        // The tables keep the answers, by their own rules.
        options.cache_size = 0;
        let ndots = options.ndots;
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let lookups = builder.with_options(options).build().map_err(|error| error.to_string());
        Self { hosts, search, ndots, lookups }
    }

    /// Returns the addresses in the hosts file. A name that stands there is not asked of servers.
    fn in_hosts_file(&self, name: &Name) -> Option<Vec<IpAddr>> {
        let lookups = [RecordType::A, RecordType::AAAA]
            .map(|kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind)));
        let records = lookups.iter().flatten().flat_map(|lookup| lookup.answers());
        let addresses: Vec<IpAddr> = records.filter_map(|record| record.data.ip_addr()).collect();
        if addresses.is_empty() { None } else { Some(addresses) }
    }

    /// Returns the complete names that a name may stand for, in the order of resolv.conf(5).
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
