//! Turns the configuration into the proxy's settings.

use crate::context::token::OpenKeys;
use crate::identify::Ingresses;
use crate::interpret::Naming;
use crate::name::Path;
use crate::proxy::{
    AcceptSettings, AccessLog, AccrualSettings, BindingSettings, CacheConfig, ClientSettings, Egress,
    EndpointTls, Http2Settings, Limits, ListenerId, ListenerSettings, RouterId, RouterSettings,
    ServiceSettings, SettingsTable, SocketOptions, WireProtocol,
};
use crate::sandbox::Sandboxes;
use crate::tls::{CertificateSupply, EndpointName, OpenTls};
use crate::{config, context, message};
use std::num::NonZeroUsize;
use std::sync::Arc;
use tokio::sync::watch;

/// The parts of the app, beside naming, that the settings of all routers share.
pub(super) struct SharedParts<'a> {
    pub(super) ingresses: &'a Ingresses,
    pub(super) keys: &'a OpenKeys,
    pub(super) tls: &'a Arc<OpenTls>,
    pub(super) sandboxes: &'a Sandboxes,
    /// How many workers there are: from 1.
    pub(super) workers: usize,
}

/// The parts of a router that are open: what its settings have beside its configuration.
pub(super) struct RouterParts {
    pub(super) access_log: Option<AccessLog>,
    /// Its listeners, in their order: the identity of each, and its label in metrics.
    pub(super) listeners: Vec<(ListenerId, String)>,
}

/// Returns the settings of a router.
pub(super) fn router(
    (config, router): (&config::Config, &config::Router),
    (id, naming): (RouterId, watch::Receiver<Naming>),
    own: RouterParts,
    parts: &SharedParts<'_>,
) -> RouterSettings {
    let at_least_one = |count| NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
    let supplies = parts.ingresses.certificates(&router.identifiers);
    let listener_parts = (&config.sandboxes.tenancy, &*supplies, parts);
    let servers = router.servers.iter().zip(own.listeners);
    RouterSettings {
        id,
        label: router.label.clone(),
        access_log: own.access_log,
        sandboxes: parts.sandboxes.table(),
        unknown_key: config.sandboxes.objects.unknown_key,
        naming,
        prefix: router.dst_prefix.clone(),
        identifiers: parts.ingresses.identifiers(&router.identifiers),
        bindings: BindingSettings {
            timeout: router.binding_timeout,
            cache: CacheConfig {
                names: at_least_one(router.binding_cache.paths),
                clients: at_least_one(router.binding_cache.clients),
                bytes: router.binding_cache.bytes / parts.workers,
                idle: router.binding_cache.idle_ttl,
            },
            traffic: Arc::new(RouterTraffic { router: router.clone(), tls: Arc::clone(parts.tls) }),
            max_override_lookups: router.max_override_lookups,
        },
        listeners: servers.map(|(server, own)| listener((router, server), own, listener_parts)).collect(),
    }
}

/// The settings of the clients and services of a router, as it is configured.
#[derive(Debug)]
struct RouterTraffic {
    router: config::Router,
    tls: Arc<OpenTls>,
}

impl RouterTraffic {
    /// Returns TLS to the endpoints of a client.
    fn tls(&self, client: &config::ClientTlsConfig) -> Option<EndpointTls> {
        // The files of all clients are open.
        let config = self.tls.client(&client.files()?)?;
        let name = client
            .common_name
            .as_ref()
            .map(|name| EndpointName::parse(name.text()).ok_or_else(|| name.text().into()));
        Some(EndpointTls { config, name })
    }
}

impl SettingsTable for RouterTraffic {
    fn client(&self, id: &Path) -> ClientSettings {
        let Self { router, .. } = self;
        let client = router.client.of(id);
        let protocol = match router.protocol {
            config::Protocol::Http => WireProtocol::Http1,
            config::Protocol::H2 => WireProtocol::Http2,
        };
        let heads = heads(router, &client.http2, router.max_response_headers);
        let usual = ClientSettings::new(protocol, heads);
        let idle = [client.pool.idle, client.session.idle].into_iter().flatten().min();
        let idle = idle.or(client.socket.read_timeout);
        ClientSettings {
            http2: http2(&client.http2),
            tls: client.tls.as_ref().and_then(|tls| self.tls(tls)),
            forwards_certificate: client.forward_client_cert == Some(true),
            connect_timeout: client.connect_timeout.unwrap_or(usual.connect_timeout),
            requeue_budget: client
                .requeue_budget
                .map_or(usual.requeue_budget, config::BudgetConfig::settings),
            attempt_timeout: client.attempt_timeout,
            max_http1_connections: client.pool.max_size.unwrap_or(usual.max_http1_connections),
            min_idle_connections: client.pool.min_size.unwrap_or(usual.min_idle_connections),
            max_waiters: client.pool.max_waiters.unwrap_or(usual.max_waiters),
            idle_timeout: idle.unwrap_or(usual.idle_timeout),
            connection_life: client.session.life,
            no_delay: client.socket.no_delay.unwrap_or(usual.no_delay),
            keep_alive: client.socket.keep_alive.unwrap_or(usual.keep_alive),
            read_timeout: client.socket.read_timeout,
            write_timeout: client.socket.write_timeout.unwrap_or(usual.write_timeout),
            stream_wait: client.stream_wait.unwrap_or(usual.stream_wait),
            balancer: client.load_balancer.map_or(usual.balancer, config::BalancerConfig::settings),
            accrual: AccrualSettings {
                policy: client.failure_accrual.map_or(usual.accrual.policy, config::AccrualConfig::policy),
                backoff: client.failure_accrual.map_or(usual.accrual.backoff, config::AccrualConfig::backoff),
                fail_fast: client.fail_fast.unwrap_or(usual.accrual.fail_fast),
            },
            trust_retryable: client.trust_retryable.unwrap_or(usual.trust_retryable),
            egress: (client.egress == Some(true))
                .then(|| Egress { removes_baggage: client.remove_baggage == Some(true) }),
            ..usual
        }
    }

    fn service(&self, name: &Path) -> ServiceSettings {
        let believes = self.router.client.iter().any(|client| client.trust_retryable == Some(true));
        self.router.service.of(name).settings(believes)
    }
}

/// Returns the bounds on heads. A header list that HTTP/2 lets through is not refused for its size afterwards, nor is a
/// path in it.
fn heads(router: &config::Router, http2: &config::Http2Config, fields: usize) -> message::HeadLimits {
    let listed = http2.max_header_list.map_or(0, |bytes| bytes as usize);
    message::HeadLimits {
        line: listed.max(router.max_initial_line_kb * 1024),
        fields_bytes: listed.max(router.max_headers_kb * 1024),
        fields,
    }
}

fn listener(
    (router, server): (&config::Router, &config::Server),
    (id, label): (ListenerId, String),
    (tenancy, supplies, parts): (&context::Tenancy, &[CertificateSupply], &SharedParts<'_>),
) -> ListenerSettings {
    let policy = context::Config {
        trust: server.trust.clone(),
        tenancy: tenancy.clone(),
        token_keys: server.trust.signed().and_then(|trust| parts.keys.keys(&trust.signed.files)),
        overrides: server.overrides.clone(),
        inject: Arc::clone(&server.inject),
        hosts: server.hosts.clone(),
        router: router.label.clone(),
        max_call_depth: server.max_call_depth,
        forwarded_from: server.forwarded_from.clone(),
        forwarded: server.add_forwarded_header.clone(),
        timestamp_header: server.timestamp_header.clone(),
    };
    ListenerSettings {
        id,
        label,
        proxies: server.proxy_protocol.as_ref().map(|proxies| Arc::clone(&proxies.from)),
        // The files of all listeners are open.
        tls: server
            .tls
            .as_ref()
            .and_then(|files| parts.tls.server(files, if files.ingress.is_some() { supplies } else { &[] })),
        policy,
        limits: limits(router, server),
        http2: Http2Settings { max_streams: server.max_streams, ..http2(&server.http2) },
        max_concurrent_requests: server.max_concurrent_requests,
        connect: server.connect,
        https_redirect: server.ingress_redirect.map(|redirect| redirect.https_port),
        accept: AcceptSettings {
            socket: socket(&server.socket_options),
            max_connections: server.max_connections,
            max_connections_per_peer: server.max_connections_per_peer,
            is_behind_proxy: server.proxy_protocol.is_some(),
            is_encrypted: server.tls.is_some(),
        },
    }
}

fn limits(router: &config::Router, server: &config::Server) -> Limits {
    let default = Limits::default();
    let options = &server.socket_options;
    let stalled = [options.read_timeout, options.write_timeout].into_iter().flatten().min();
    Limits {
        heads: heads(router, &server.http2, server.max_headers),
        head: server.headers_timeout,
        idle: server.session.idle.or(options.read_timeout).unwrap_or(default.idle),
        life: server.session.life,
        request: server.timeout,
        stalled: stalled.unwrap_or(default.stalled),
        error_bytes: router.max_err_response_kb * 1024,
        peer_requests: server.max_requests_per_peer,
    }
}

/// Returns the HTTP/2 settings that are configured; the others are the proxy's defaults.
fn http2(configured: &config::Http2Config) -> Http2Settings {
    let default = Http2Settings::default();
    Http2Settings {
        stream_window: configured.stream_window.unwrap_or(default.stream_window),
        header_table: configured.header_table.unwrap_or(default.header_table),
        max_frame: configured.max_frame.unwrap_or(default.max_frame),
        max_header_list: configured.max_header_list,
        ..default
    }
}

/// Returns the options of a listening socket.
pub(super) fn socket(options: &config::SocketConfig) -> SocketOptions {
    let default = SocketOptions::default();
    SocketOptions {
        no_delay: options.no_delay,
        reuse_port: options.reuse_port,
        keep_alive: options.keep_alive.unwrap_or(default.keep_alive),
        backlog: options.backlog.and_then(|backlog| backlog.try_into().ok()).unwrap_or(default.backlog),
    }
}
