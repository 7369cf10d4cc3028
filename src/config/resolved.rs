//! The types of a resolved configuration: every default is in place.

use super::Warning;
use super::by_prefix::ByPrefix;
use super::client::ClientConfig;
use super::json::{is_default, kind_of_store, millis, seconds, some_millis};
use super::service::ServiceConfig;
use crate::admin::{AdminAccess, AdminSecurity, ShutdownAccess};
use crate::context::{
    Forwarded, ForwardedFrom, HostPattern, InjectRule, OverrideLimits, Range, Tenancy, Trust,
};
use crate::kubernetes::ATTEMPTS_PER_SECOND;
use crate::name::{Dtab, Path};
use crate::proxy::AccessFormat;
use crate::source::node::Place;
use crate::telemetry::LogTarget;
use crate::tls::ServerTlsFiles;
use crate::{identify, namer, sandbox, store};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// A whole configuration.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Config {
    /// The file's name, `<stdin>` for the standard input.
    #[serde(skip)]
    pub file: String,
    /// The admin server.
    pub admin: Admin,
    /// `workers`: how many threads serve requests; by default one for each core that the process may use, as its cgroup
    /// limits it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// The routers, in the order of the file; at least one, no two with one label.
    pub routers: Vec<Router>,
    /// The namers, in the order of the file: a later one is asked first.
    pub namers: Vec<namer::Config>,
    /// `sandboxes`.
    pub sandboxes: SandboxesConfig,
    /// `kubernetes`.
    pub kubernetes: KubernetesConfig,
    /// The places of these in the file.
    #[serde(skip)]
    pub places: Places,
    /// The findings that do not fail the start, sorted by place.
    #[serde(skip)]
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Returns the transformers of each router's interpreter.
    pub fn interpreters(&self) -> impl Iterator<Item = &[namer::TransformerConfig]> {
        self.routers.iter().map(|router| &*router.interpreter.transformers)
    }
}

/// The places of the parts of a configuration in its file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Places {
    /// The admin server; 0:0 when the file does not mention it.
    pub admin: Place,
    /// `workers`; the beginning of the file when it does not mention it.
    pub workers: Place,
    /// The routers, in the order of [`Config::routers`].
    pub routers: Vec<RouterPlaces>,
    /// The namers, in the order of [`Config::namers`].
    pub namers: Vec<Place>,
    /// The parts of `sandboxes`.
    pub sandboxes: SandboxPlaces,
}

/// The places of the parts of `sandboxes` in the file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SandboxPlaces {
    /// All of it; 0:0 when the file does not mention it.
    pub whole: Place,
    /// `file`; the place of the whole when it is absent.
    pub file: Place,
    /// `namespaces`; the place of the whole when it is absent.
    pub namespaces: Place,
    /// The items, in their order.
    pub items: Vec<Place>,
}

/// `sandboxes`: how requests choose sandboxes, where these are stored, and their limits.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct SandboxesConfig {
    /// The names by which requests carry the key of a sandbox.
    #[serde(flatten)]
    pub tenancy: Tenancy,
    /// The stores, and the limits.
    #[serde(flatten)]
    pub objects: sandbox::Config,
}

/// `kubernetes`: the limits on what the router asks of API servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct KubernetesConfig {
    /// `watchAttemptsPerSecond`: how many times a second the watches of one API server may begin together, where they do
    /// not succeed; 20 by default. Not in Linkerd 1.
    #[serde(rename = "watchAttemptsPerSecond")]
    pub watch_attempts: NonZeroU32,
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self { watch_attempts: ATTEMPTS_PER_SECOND }
    }
}

/// The places of the parts of a router in the file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RouterPlaces {
    /// The path of keys to it, such as `routers[0]`.
    pub key: String,
    /// The router.
    pub router: Place,
    /// Its label; the router's place when it has none of its own.
    pub label: Place,
    /// Its dtab; the router's place when it has none.
    pub dtab: Place,
    /// The beginnings of the entries of the dtab, in the order of [`Router::dtab`].
    pub dentries: Vec<Place>,
    /// Its interpreter; the router's place when it has none.
    pub interpreter: Place,
    /// Its identifier or identifiers; the router's place when it has none.
    pub identifier: Place,
    /// Its servers, in the order of [`Router::servers`].
    pub servers: Vec<Place>,
    /// The ports of its servers; a server's place when it has none of its own.
    pub ports: Vec<Place>,
    /// The path of keys to its access log, such as `routers[0].httpAccessLog`, and its place; empty and 0:0 when it has
    /// none.
    pub access_log: (String, Place),
}

/// The admin server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Admin {
    /// `ip`: the address it listens on; loopback by default.
    pub ip: IpAddr,
    /// `port`: 9990 by default; 0 takes a free one.
    pub port: u16,
    /// `shutdownDelayMs`: how long the process keeps accepting and serving after it was asked to end, while it reports
    /// that it is not ready; 5 s by default.
    #[serde(rename = "shutdownDelayMs", serialize_with = "millis")]
    pub shutdown_delay: Duration,
    /// `shutdownGraceMs`: how long the requests under way may take after that; 10 s by default.
    #[serde(rename = "shutdownGraceMs", serialize_with = "millis")]
    pub shutdown_grace: Duration,
    /// `tls`: its certificate; none by default. The listener for metrics has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTlsFiles>,
    /// `hosts`: names by which requests may call it beside `localhost` and IP addresses; none by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// `shutdown`: the callers that may stop the process, or none with `security: {controlEnabled: false}`; those on
    /// loopback by default.
    pub shutdown: ShutdownAccess,
    /// `security`: the pages that there are; all by default.
    #[serde(skip_serializing_if = "is_default")]
    pub security: AdminSecurity,
    /// `metrics`: a second listener, for metrics and probes alone; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<AdminMetrics>,
}

/// The listener for metrics and probes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct AdminMetrics {
    /// `ip`: the address it listens on; that of the admin server by default.
    pub ip: IpAddr,
    /// `port`: 9991 by default; 0 takes a free one.
    pub port: u16,
}

impl AdminMetrics {
    /// Returns the address it listens on.
    pub const fn address(self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }
}

impl Admin {
    /// Returns the address it listens on.
    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    /// Returns the rules of access.
    pub fn access(&self) -> AdminAccess {
        AdminAccess { hosts: self.hosts.clone(), shutdown: self.shutdown, security: self.security.clone() }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            ip: LOOPBACK,
            port: 9990,
            shutdown_delay: Duration::from_secs(5),
            shutdown_grace: Duration::from_secs(10),
            tls: None,
            hosts: Vec::new(),
            shutdown: ShutdownAccess::default(),
            security: AdminSecurity::default(),
            metrics: None,
        }
    }
}

/// The address that listeners are bound to by default.
pub(super) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The protocol that a router speaks with its endpoints, unless an endpoint has its own.
///
/// Listeners of either tell HTTP/1 from HTTP/2 by the first bytes of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// `http`: HTTP/1.1.
    Http,
    /// `h2`: HTTP/2, without TLS by prior knowledge.
    H2,
}

impl Protocol {
    /// Returns its name in the configuration, which is also the default label of a router.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::H2 => "h2",
        }
    }

    /// Returns the default port of a server: 4140, or 4142 for `h2`.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 4140,
            Self::H2 => 4142,
        }
    }
}

/// One router: listeners whose requests are named and bound in one way.
///
/// It has the fields of both protocols. Its JSON has the keys of its own protocol alone.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Router {
    /// `protocol`.
    pub protocol: Protocol,
    /// `label`: its name in metrics and on the admin server; the protocol by default.
    pub label: String,
    /// `dtab`: empty by default.
    pub dtab: Dtab,
    /// `interpreter`: the default one, without transformers, by default.
    #[serde(skip_serializing_if = "is_default")]
    pub interpreter: InterpreterConfig,
    /// `dstPrefix`: the path before the names that identifiers find; `/svc` by default.
    pub dst_prefix: Path,
    /// `identifier`: tried in order; `io.l5d.header.token` by default, of `Host`, which `h2` calls `:authority`.
    #[serde(rename = "identifier")]
    pub identifiers: Vec<identify::Config>,
    /// `bindingTimeoutMs`: how long a request waits for its name to be bound; 10 s by default.
    #[serde(rename = "bindingTimeoutMs", serialize_with = "millis")]
    pub binding_timeout: Duration,
    /// `maxOverrideLookups`: how many lookups the overrides of a request may add to those of its name; 300 by default.
    pub max_override_lookups: usize,
    /// `bindingCache`.
    pub binding_cache: BindingCacheConfig,
    /// `servers`: at least one.
    pub servers: Vec<Server>,
    /// `client`: the settings of connections to endpoints, by bound id.
    pub client: ByPrefix<ClientConfig>,
    /// `service`: the settings of requests, by logical name.
    pub service: ByPrefix<ServiceConfig>,
    /// `maxHeadersKB`: the most KiB that the field lines of a request or response may have; 8 by default, and always
    /// for `h2`.
    #[serde(rename = "maxHeadersKB")]
    pub max_headers_kb: usize,
    /// `maxInitialLineKB`: the most KiB that a request line or status line may have; 4 by default, and always for `h2`.
    #[serde(rename = "maxInitialLineKB")]
    pub max_initial_line_kb: usize,
    /// `maxResponseHeaders`: how many header fields a response may have; 100 by default. Not in Linkerd 1.
    pub max_response_headers: usize,
    /// `maxErrResponseKB`: the most KiB of a body that this router writes for an error; 5120 by default, and always for
    /// `h2`.
    #[serde(rename = "maxErrResponseKB")]
    pub max_err_response_kb: usize,
    /// `httpAccessLog` and the keys beside it: off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLogConfig>,
}

/// The interpreter of a router.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct InterpreterConfig {
    /// `kind` and its keys: the store of a dtab that comes before [`Router::dtab`]; none by default.
    #[serde(flatten, serialize_with = "kind_of_store")]
    pub store: Option<store::Config>,
    /// `transformers`, which all bound names pass in this order; none by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transformers: Vec<namer::TransformerConfig>,
}

/// The access log of a router.
///
/// Its JSON has the ends of its keys, `Format` for `httpAccessLogFormat`: the protocol of the router comes before them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AccessLogConfig {
    /// `httpAccessLog`, `httpAccessLogRollPolicy`, `httpAccessLogAppend` and `httpAccessLogRotateCount`.
    #[serde(flatten)]
    pub target: LogTarget,
    /// `httpAccessLogFormat`: Linkerd's by default.
    pub format: AccessFormat,
}

/// The settings that one side of an HTTP/2 connection announces in its first SETTINGS (RFC 9113 6.5.2). The proxy has
/// defaults for those that are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Http2Config {
    /// `initialStreamWindowBytes`: how many bytes of a stream the peer may send before it gets more window; from 1 to
    /// 2^31 - 1.
    #[serde(rename = "initialStreamWindowBytes", skip_serializing_if = "Option::is_none")]
    pub stream_window: Option<u32>,
    /// `headerTableBytes`: how many bytes of header fields the peer may put into the table of this side; 0 is no table.
    #[serde(rename = "headerTableBytes", skip_serializing_if = "Option::is_none")]
    pub header_table: Option<u32>,
    /// `maxFrameBytes`: the most bytes of a frame that the peer sends, from 2^14 to 2^24 - 1.
    #[serde(rename = "maxFrameBytes", skip_serializing_if = "Option::is_none")]
    pub max_frame: Option<u32>,
    /// `maxHeaderListBytes`: the most bytes of fields that a head may have, with 32 more for each; from 1.
    #[serde(rename = "maxHeaderListBytes", skip_serializing_if = "Option::is_none")]
    pub max_header_list: Option<u32>,
}

/// The bounds on the names, overrides and clients that a router remembers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BindingCacheConfig {
    /// `paths`: how many names and overrides; 1000 by default.
    pub paths: usize,
    /// `clients`: how many clients; 1000 by default.
    pub clients: usize,
    /// `idleTtlSecs`: how long those that are idle stay; 600 s by default.
    #[serde(rename = "idleTtlSecs", serialize_with = "seconds")]
    pub idle_ttl: Duration,
    /// `bytes`: how many bytes the names, the parsed overrides and the answers behind them take, over all workers; 64 MiB
    /// by default.
    pub bytes: usize,
}

impl Default for BindingCacheConfig {
    fn default() -> Self {
        Self { paths: 1000, clients: 1000, idle_ttl: Duration::from_secs(600), bytes: 64 << 20 }
    }
}

/// One listener of a router.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// `ip`: the address it listens on; loopback by default.
    pub ip: IpAddr,
    /// `port`: [`Protocol::default_port`] by default; 0 takes a free one.
    pub port: u16,
    /// `label`: its name in metrics; `<ip>/<port>` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `proxyProtocol`: the proxies in front of it, which say who calls; none by default. Not in Linkerd 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// `tls`: its certificates; none by default, and connections are not encrypted then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTlsFiles>,
    /// `ingressRedirect`: where requests in clear are sent whose Ingress has a certificate for their host; they are served
    /// by default. Not in Linkerd 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_redirect: Option<IngressRedirect>,
    /// The callers that it trusts, by `trust`, `clearContext`, or else its address.
    #[serde(skip_serializing_if = "Trust::is_by_loopback")]
    pub trust: Trust,
    /// `hosts`: the hosts by which a listener that trusts by being on loopback is called, beside addresses, `localhost`
    /// and names that lead somewhere; empty by default, and always where it trusts in another way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostPattern>,
    /// Whether `trust` or `clearContext` is set.
    #[serde(skip)]
    pub trust_is_set: bool,
    /// The trust and its reason, in words: ``trusts nobody: no `trust` is set and 0.0.0.0 is not loopback``.
    #[serde(skip)]
    pub trust_reason: String,
    /// `overrides`: the limits on what callers may override, trusted ones too.
    pub overrides: OverrideLimits,
    /// `inject`: the rules by which requests get overrides that they do not carry.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub inject: Arc<[InjectRule]>,
    /// `forwardedFrom`: the peers whose `Forwarded` and `X-Forwarded-*` are kept; by default those that are trusted by their
    /// address.
    #[serde(skip_serializing_if = "is_default")]
    pub forwarded_from: ForwardedFrom,
    /// `maxConcurrentRequests`: more are refused; unlimited by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent_requests: Option<usize>,
    /// `maxConnections`: for one more, another that is idle ends, or else that one is refused; 10,000 by default, which
    /// take some 40 MB while they wait.
    pub max_connections: usize,
    /// `maxConnectionsPerPeer`: as `maxConnections`, of one peer address (of IPv6, a /64); unlimited by default. Not in
    /// Linkerd 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_peer: Option<usize>,
    /// `maxHeaders`: how many field lines a request or response may have; 100 by default.
    pub max_headers: usize,
    /// `headersTimeoutMs`: how long a request's head may take from its first byte to its last, the first one of a connection
    /// from its accept; 10 s by default.
    #[serde(rename = "headersTimeoutMs", serialize_with = "millis")]
    pub headers_timeout: Duration,
    /// `serverSession`.
    #[serde(rename = "serverSession", skip_serializing_if = "is_default")]
    pub session: SessionConfig,
    /// `timeoutMs`: how long a request may take in all; unlimited by default.
    #[serde(rename = "timeoutMs", serialize_with = "some_millis", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// `maxCallDepth`: how many proxies a request may have passed; 100 by default.
    pub max_call_depth: u32,
    /// `addForwardedHeader`: off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_forwarded_header: Option<Forwarded>,
    /// `maxConcurrentStreamsPerConnection`: how many requests a caller may have under way on one connection that speaks
    /// HTTP/2; by default 1,000, as in Linkerd, of a caller that is trusted, and 100 of others. Linkerd has it for `h2` alone.
    #[serde(rename = "maxConcurrentStreamsPerConnection", skip_serializing_if = "Option::is_none")]
    pub max_streams: Option<u32>,
    /// `maxRequestsPerPeer`: how many requests one peer address (of IPv6, a /64) that is not trusted may have under way on
    /// each worker; 1,000 by default. Not in Linkerd 1.
    pub max_requests_per_peer: usize,
    /// `connect`: whether CONNECT of trusted callers opens a tunnel; off by default. Not in Linkerd 1.
    pub connect: bool,
    /// The settings of HTTP/2 connections. Only servers of `h2` routers have keys for them.
    #[serde(flatten)]
    pub http2: Http2Config,
    /// `timestampHeader`: the name of a field that is added with the time when it is absent; off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_header: Option<String>,
    /// `socketOptions`.
    pub socket_options: SocketConfig,
}

impl Server {
    /// Returns the address it listens on.
    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    /// Returns whether it needs the certificates in Secrets that Ingresses name.
    pub fn uses_ingress_certificates(&self) -> bool {
        self.ingress_redirect.is_some() || self.tls.as_ref().is_some_and(|tls| tls.ingress.is_some())
    }
}

/// The place to which requests in clear are sent for TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IngressRedirect {
    /// `httpsPort`: 443 by default.
    pub https_port: u16,
}

/// The proxies in front of a listener, which say who calls by the PROXY protocol.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ProxyProtocol {
    /// `from`: their addresses; never empty.
    pub from: Arc<[Range]>,
}

/// The bounds on the time that a connection may last.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SessionConfig {
    /// `idleTimeMs`: how long without a request; by default `socketOptions.readTimeoutMs`, or else 600 s.
    #[serde(rename = "idleTimeMs", serialize_with = "some_millis", skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
    /// `lifeTimeMs`: how long in all; unlimited by default.
    #[serde(rename = "lifeTimeMs", serialize_with = "some_millis", skip_serializing_if = "Option::is_none")]
    pub life: Option<Duration>,
}

/// The options of a listening socket and of those that it accepts. `reuseAddr` is always on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketConfig {
    /// `noDelay` (`TCP_NODELAY`): on by default.
    pub no_delay: bool,
    /// `reusePort` (`SO_REUSEPORT`): off by default.
    pub reuse_port: bool,
    /// `keepAlive` (`SO_KEEPALIVE`): the system's default unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<bool>,
    /// `backlog` of `listen`: the runtime's default unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u32>,
    /// `readTimeoutMs`: how long the peer may be silent while bytes of it are awaited; unlimited by default.
    #[serde(
        rename = "readTimeoutMs",
        serialize_with = "some_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub read_timeout: Option<Duration>,
    /// `writeTimeoutMs`: how long the peer may take to accept bytes that are written; unlimited by default.
    #[serde(
        rename = "writeTimeoutMs",
        serialize_with = "some_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub write_timeout: Option<Duration>,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            no_delay: true,
            reuse_port: false,
            keep_alive: None,
            backlog: None,
            read_timeout: None,
            write_timeout: None,
        }
    }
}
