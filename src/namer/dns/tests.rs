//! The resolver against a real server on loopback, and what follows it.

#[path = "../../../tests/it/support/dns.rs"]
mod server;

use self::server::DnsServer;

use super::resolver::AskReason;
use super::resolver::DnsClient;
use super::table::{DnsReply, DnsTable};
use super::{Dns, Resolver, SrvTarget};
use hickory_resolver::Hosts;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::proto::rr::Name;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;

impl DnsServer {
    /// A resolver that asks this server alone, with a hosts file and search domains.
    fn resolver(&self, hosts_file: &str, search: &[&str], has_route: fn(IpAddr) -> bool) -> Resolver {
        let client = self.client(hosts_file, search, Duration::from_millis(200));
        Resolver::of_client(client, Duration::from_secs(1), has_route)
    }

    /// A client that asks this server alone, once and for so long.
    fn client(&self, hosts_file: &str, search: &[&str], timeout: Duration) -> DnsClient {
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(hosts_file.as_bytes()).unwrap();
        let search = search.iter().map(|domain| Name::from_ascii(domain).unwrap()).collect();
        let [mut udp, mut tcp] = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        (udp.port, tcp.port) = (self.address().port(), self.address().port());
        let server = NameServerConfig::new(self.address().ip(), true, vec![udp, tcp]);
        let config = ResolverConfig::from_parts(None, search, vec![server]);
        let mut options = ResolverOpts::default();
        (options.timeout, options.attempts) = (timeout, 1);
        DnsClient::new(hosts, config, options)
    }
}

/// DNS without servers: every question gets the reply that the test has set, at once. No name exists unless set.
#[derive(Clone, Default)]
pub(in crate::namer) struct Scripted {
    hosts: Arc<Mutex<HashMap<String, DnsReply<IpAddr>>>>,
    services: Arc<Mutex<HashMap<String, DnsReply<SrvTarget>>>>,
}

/// How long the replies of a script hold.
const LIFE: Duration = Duration::from_secs(10);

impl Scripted {
    pub(in crate::namer) fn dns(&self) -> Dns {
        let resolver = Arc::new(Resolver::of_servers(Vec::new(), &Arc::new(Resolver::of_system())));
        let control = Handle::current();
        Dns {
            resolver,
            hosts: scripted(Arc::clone(&self.hosts), &control),
            services: scripted(Arc::clone(&self.services), &control),
        }
    }

    /// Sets the addresses of a host, or why they cannot be said.
    pub(in crate::namer) fn host(&self, name: &str, addresses: Result<&[&str], &str>) {
        let records = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        self.hosts.lock().unwrap().insert(name.to_owned(), reply(addresses.map(records)));
    }

    /// Sets the places of a service, each a target, a port and a weight, or why they cannot be said.
    pub(in crate::namer) fn service(&self, name: &str, places: Result<&[(&str, u16, u16)], &str>) {
        let place =
            |&(target, port, weight): &(&str, u16, u16)| SrvTarget { target: target.into(), port, weight };
        let records = places.map(|places| places.iter().map(place).collect());
        self.services.lock().unwrap().insert(name.to_owned(), reply(records));
    }
}

fn reply<T>(records: Result<Vec<T>, &str>) -> DnsReply<T> {
    match records {
        Ok(records) => DnsReply::Records(records, LIFE),
        Err(reason) => DnsReply::Failed(reason.to_owned()),
    }
}

fn scripted<T: Clone + Ord + Send + Sync + 'static>(
    replies: Arc<Mutex<HashMap<String, DnsReply<T>>>>,
    control: &Handle,
) -> DnsTable<T> {
    DnsTable::new(control, move |name, _| {
        let reply = replies.lock().unwrap().get(&*name).cloned().unwrap_or(DnsReply::Missing(LIFE));
        Box::pin(async move { reply })
    })
}

/// A reply as text: `ADDRESSES SECONDS`, `missing SECONDS`, or `failed: ...`.
fn show<T: Ord>(reply: DnsReply<T>, record: fn(&T) -> String) -> String {
    match reply {
        DnsReply::Records(mut records, life) => {
            records.sort();
            format!("{} {}", records.iter().map(record).collect::<Vec<_>>().join(","), life.as_secs())
        }
        DnsReply::Missing(life) => format!("missing {}", life.as_secs()),
        DnsReply::Failed(reason) => format!("failed: {reason}"),
    }
}

async fn addresses(resolver: &Resolver, host: &str) -> String {
    show(resolver.addresses(host, AskReason::Refresh).await, ToString::to_string)
}

async fn services(resolver: &Resolver, service: &str) -> String {
    let record = |SrvTarget { target, port, weight }: &SrvTarget| format!("{target}:{port}*{weight}");
    show(resolver.services(service, AskReason::Refresh).await, record)
}

#[tokio::test]
async fn addresses_of_both_families() {
    let server = DnsServer::start().await;
    let said = [
        ("both. A", "30 10.0.0.1, 10.0.0.2"),
        ("both. AAAA", "20 2001:db8::1"),
        ("four. A", "30 10.0.0.1"),
        ("six. AAAA", "30 2001:db8::1"),
        ("alias. CNAME", "7 both."),
        ("far-alias. CNAME", "9 alias."),
        ("dangling. CNAME", "9 nowhere."),
        ("loop. CNAME", "9 loop."),
        ("text. SRV", "9 0 0 1 four."),
        ("half. A", "30 10.0.0.1"),
        ("half. AAAA", "SERVFAIL"),
        ("other-half. A", "SERVFAIL"),
        ("broken. A", "SERVFAIL"),
        ("broken. AAAA", "REFUSED"),
        ("long. A", "truncated 30 10.0.0.9"),
    ];
    said.iter().for_each(|(question, said)| server.says(question, said));
    let resolver = server.resolver("", &[], |_| true);
    let cases = [
        ("both.", "10.0.0.1,10.0.0.2,2001:db8::1 20"),
        ("both", "10.0.0.1,10.0.0.2,2001:db8::1 20"),
        ("four.", "10.0.0.1 30"),
        ("six.", "2001:db8::1 30"),
        ("alias.", "10.0.0.1,10.0.0.2,2001:db8::1 7"),
        ("far-alias.", "10.0.0.1,10.0.0.2,2001:db8::1 7"),
        ("nowhere.", "missing 1"),
        ("text.", "missing 1"),
        ("half.", "10.0.0.1 0"),
        ("long.", "10.0.0.9 30"),
    ];
    for (host, expected) in cases {
        assert_eq!(addresses(&resolver, host).await, expected, "{host}");
    }
    assert!(addresses(&resolver, "dangling.").await.starts_with("missing "));
    for host in ["other-half.", "broken."] {
        let failed = addresses(&resolver, host).await;
        assert!(failed.starts_with("failed: "), "one failure outweighs every no: {host}: {failed}");
    }
    let looped = addresses(&resolver, "loop.").await;
    assert!(looped.starts_with("failed: ") || looped.starts_with("missing "), "it ends: {looped}");
    let asked = server.asked();
    assert!(asked.iter().any(|asked| asked == "long. A tcp"), "{asked:?}");

    let four = server.resolver("", &[], |address| address.is_ipv4());
    assert_eq!(
        addresses(&four, "both.").await,
        "10.0.0.1,10.0.0.2 20",
        "without a route to the other family"
    );
}

#[tokio::test]
async fn a_silent_server_is_a_failure() {
    let server = DnsServer::start().await;
    server.says("silent. A", "silence");
    server.says("silent. AAAA", "silence");
    let resolver = server.resolver("", &["search."], |_| true);
    let failed = addresses(&resolver, "silent.").await;
    assert!(failed.starts_with("failed: "), "{failed}");
}

#[tokio::test]
async fn where_requests_wait_one_family_does_not_wait_for_the_other() {
    let server = DnsServer::start().await;
    let said = [
        ("four. A", "20 10.0.0.1"),
        ("four. AAAA", "silence"),
        ("six. A", "silence"),
        ("six. AAAA", "20 2001:db8::1"),
        ("both. A", "30 10.0.0.1"),
        ("both. AAAA", "20 2001:db8::1"),
        ("none. AAAA", "silence"),
    ];
    said.iter().for_each(|(question, said)| server.says(question, said));
    let long = Duration::from_secs(600);
    let patient = Resolver::of_client(server.client("", &[], long), long, |_| true);
    for (host, expected) in [
        // They have to be asked for again soon.
        ("four.", "10.0.0.1 0"),
        ("six.", "2001:db8::1 0"),
        ("both.", "10.0.0.1,2001:db8::1 20"),
    ] {
        let reply =
            tokio::time::timeout(Duration::from_secs(20), patient.addresses(host, AskReason::First)).await;
        assert_eq!(show(reply.expect("it does not wait"), ToString::to_string), expected, "{host}");
    }
    let resolver = server.resolver("", &[], |_| true);
    assert_eq!(addresses(&resolver, "four.").await, "10.0.0.1 0", "no request waits");
    let failed = show(resolver.addresses("none.", AskReason::First).await, ToString::to_string);
    assert!(failed.starts_with("failed: "), "one family that is not known is waited for: {failed}");
}

#[tokio::test]
async fn search_domains_and_the_hosts_file() {
    let server = DnsServer::start().await;
    let said = [
        ("web.one.test. A", "30 10.0.1.1"),
        ("web.two.test. AAAA", "30 2001:db8::2"),
        ("web. A", "30 10.0.0.1"),
        ("api.two.test. A", "30 10.0.2.1"),
        ("a.b. A", "30 10.0.0.2"),
        ("a.b.one.test. A", "30 10.0.1.2"),
        ("c.d.two.test. A", "30 10.0.2.3"),
        ("bad.one.test. A", "SERVFAIL"),
        ("worse.one.test. A", "SERVFAIL"),
        ("worse.two.test. A", "30 10.0.2.4"),
        ("local.one.test. A", "30 10.0.1.5"),
    ];
    said.iter().for_each(|(question, said)| server.says(question, said));
    let hosts = "192.0.2.1 local Local.Name\n2001:db8::5 local # both\n";
    let resolver = server.resolver(hosts, &["one.test.", "two.test"], |_| true);
    let cases = [
        ("web", "10.0.1.1 30"),
        ("web.", "10.0.0.1 30"),
        ("api", "10.0.2.1 30"),
        ("a.b", "10.0.0.2 30"),
        ("c.d", "10.0.2.3 30"),
        ("nowhere", "missing 1"),
        ("worse", "10.0.2.4 30"),
        ("local", "192.0.2.1,2001:db8::5 0"),
        ("local.", "192.0.2.1,2001:db8::5 0"),
        ("local.name", "192.0.2.1 0"),
    ];
    for (host, expected) in cases {
        assert_eq!(addresses(&resolver, host).await, expected, "{host}");
    }
    let failed = addresses(&resolver, "bad").await;
    assert!(failed.starts_with("failed: "), "it may stand for bad.one.test: {failed}");
}

#[tokio::test]
async fn places_of_services() {
    let server = DnsServer::start().await;
    let said = [
        ("_http._tcp.web.test. SRV", "30 1 2 80 A.test., 1 0 81 b.test., 2 9 82 c.test."),
        ("none.test. SRV", "30 0 0 0 ."),
        ("no-port.test. SRV", "30 0 0 0 a.test., 1 1 80 b.test."),
        ("alias.test. CNAME", "30 far-alias.test."),
        ("far-alias.test. CNAME", "30 _http._tcp.web.test."),
        ("loop.test. CNAME", "30 loop.test."),
        ("broken.test. SRV", "SERVFAIL"),
        ("host.test. A", "30 10.0.0.1"),
    ];
    said.iter().for_each(|(question, said)| server.says(question, said));
    let resolver = server.resolver("", &["test."], |_| true);
    let web = "a.test.:80*2,b.test.:81*0 30";
    let cases = [
        ("_http._tcp.web.test.", web),
        ("_http._tcp.web.test", web),
        ("none.test.", " 30"),
        ("no-port.test.", "b.test.:80*1 30"),
        ("alias.test.", web),
        ("host.test.", "missing 1"),
        ("nowhere.test.", "missing 1"),
        ("_http._tcp.web", "missing 1"),
    ];
    for (service, expected) in cases {
        assert_eq!(services(&resolver, service).await, expected, "{service}");
    }
    for service in ["broken.test.", "loop.test."] {
        let failed = services(&resolver, service).await;
        assert!(failed.starts_with("failed: "), "{service}: {failed}");
    }
}

#[tokio::test]
async fn servers_by_name_are_looked_up_by_the_system() {
    let server = DnsServer::start().await;
    server.says("ns.test. A", "30 127.0.0.1");
    server.says("web.test. A", "30 10.0.0.1");
    let system = Arc::new(server.resolver("", &[], |_| true));
    let address: SocketAddr = server.address();
    let named = |text: String| Resolver::of_servers(vec![text.parse().unwrap()], &system);
    let resolver = named(format!("ns.test:{}", address.port()));
    assert_eq!(addresses(&resolver, "web.test.").await, "10.0.0.1 30");
    server.asked();
    assert_eq!(addresses(&resolver, "web.test.").await, "10.0.0.1 30");
    assert!(!server.asked().contains(&"ns.test. A".to_owned()), "it is remembered for a while");
    let resolver = named("gone.test".into());
    assert_eq!(addresses(&resolver, "web.test.").await, "failed: there is no DNS server gone.test");
}

#[tokio::test]
async fn the_configuration_of_the_system_is_read() {
    // Whatever it says: this name is answered without servers (RFC 6761).
    let resolver = Resolver::of_system();
    let reply = resolver.addresses("x.localhost.", AskReason::First).await;
    assert!(!matches!(reply, DnsReply::Missing(_)), "{reply:?}");
}

#[tokio::test]
async fn zones_that_do_not_answer_hold_up_no_other() {
    const LONG: Duration = Duration::from_secs(600);
    let server = DnsServer::start().await;
    server.silence("silent.test.");
    server.says("web.test. A", "30 10.0.0.1");
    let client = server.client("", &[], LONG);
    let resolver = Arc::new(Resolver::of_client(client, LONG, |_| true));
    let mut silent = tokio::task::JoinSet::new();
    let mut ask = |host: String| {
        let resolver = Arc::clone(&resolver);
        silent.spawn(async move { resolver.addresses(&host, AskReason::First).await });
    };
    let healthy = async |reason| {
        let reply =
            tokio::time::timeout(Duration::from_secs(20), resolver.addresses("web.test.", reason)).await;
        show(reply.expect("it is not held up"), ToString::to_string)
    };
    // All under one registered domain.
    (0..100).for_each(|at| ask(format!("h{at}.a.silent.test.")));
    assert_eq!(healthy(AskReason::First).await, "10.0.0.1 30");
    let asked = server.asked().iter().filter(|asked| asked.contains("silent")).count();
    assert!(asked <= 8, "few are asked at once, and as many again in the next second: {asked}");
    // Each under one of its own: each holds a place for a second.
    for at in 0..60 {
        server.silence(&format!("s{at}.test{at}."));
        ask(format!("h.s{at}.test{at}."));
    }
    assert_eq!(healthy(AskReason::Refresh).await, "10.0.0.1 30", "places are kept for it");
    // The turn of the other family may come later.
    let first = healthy(AskReason::First).await;
    assert!(first.starts_with("10.0.0.1 "), "its turn comes: {first}");
}
