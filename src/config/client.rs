//! `client`: the settings of connections to endpoints.

use super::balancing::{AccrualConfig, BalancerConfig, accrual, balancer};
use super::by_prefix::{ByPrefix, Sections, Settings, by_prefix};
use super::errors::Report;
use super::json::{is_default, some_millis};
use super::reader::{MAX_INT, Reader};
use super::resolved::{Http2Config, Protocol};
use super::retries::{BudgetConfig, budget};
use super::tls::{ClientTlsConfig, CommonName, client_tls};
use crate::namer::{Captures, PathMatcher};
use crate::source::node::Node;
use serde::Serialize;
use std::time::Duration;

/// The settings of the clients of a router. The proxy has defaults for those that are none.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientConfig {
    /// `tls`: whether connections are encrypted, and whom they are made to; they are not by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTlsConfig>,
    /// `forwardClientCert`: whether an endpoint is told the certificate of the caller; off by default.
    #[serde(rename = "forwardClientCert", skip_serializing_if = "Option::is_none")]
    pub forward_client_cert: Option<bool>,
    /// `loadBalancer`: how an endpoint is picked; `p2c` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<BalancerConfig>,
    /// `failureAccrual`: the failures that shut an endpoint; five in a row by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_accrual: Option<AccrualConfig>,
    /// `failFast`: whether a connection that cannot be opened shuts an endpoint at once; off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_fast: Option<bool>,
    /// `connectTimeoutMs`: how long a connection may take to open; 3 s by default. Not in Linkerd 1.
    #[serde(
        rename = "connectTimeoutMs",
        serialize_with = "some_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub connect_timeout: Option<Duration>,
    /// `streamWaitMs`: how long a request waits while its endpoint has as many under way as it takes; 1 s by default. Not in
    /// Linkerd 1.
    #[serde(
        rename = "streamWaitMs",
        serialize_with = "some_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub stream_wait: Option<Duration>,
    /// `requestAttemptTimeoutMs`: how long one attempt may take until the head of its response; unlimited by default.
    #[serde(
        rename = "requestAttemptTimeoutMs",
        serialize_with = "some_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub attempt_timeout: Option<Duration>,
    /// `requeueBudget`: how many further attempts are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requeue_budget: Option<BudgetConfig>,
    /// `hostConnectionPool`.
    #[serde(rename = "hostConnectionPool", skip_serializing_if = "is_default")]
    pub pool: PoolConfig,
    /// `clientSession`.
    #[serde(rename = "clientSession", skip_serializing_if = "is_default")]
    pub session: ClientSessionConfig,
    /// `socketOptions`.
    #[serde(rename = "socketOptions", skip_serializing_if = "is_default")]
    pub socket: ClientSocketConfig,
    /// `trustRetryable`: whether an endpoint's `l5d-retryable` is believed; off by default. Linkerd believed all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_retryable: Option<bool>,
    /// `egress`: whether its endpoints are outside: they are told nothing that steers, and are not believed; off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress: Option<bool>,
    /// `removeBaggage`: whether such an endpoint is not sent `baggage` at all; off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove_baggage: Option<bool>,
    /// The settings of HTTP/2 connections. Only `h2` routers have keys for them.
    #[serde(flatten)]
    pub http2: Http2Config,
}

impl ClientConfig {
    /// Returns whether endpoints of the caller's zone are preferred.
    pub(super) fn prefers_zone(&self) -> bool {
        self.load_balancer.is_some_and(|balancer| balancer.prefer_zone)
    }
}

/// The bounds on the connections to one endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolConfig {
    /// `minSize`: how many idle connections over HTTP/1 each worker keeps, however long they are idle; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_size: Option<usize>,
    /// `maxSize`: how many connections over HTTP/1 may serve requests at once; 1,024 by default, where Linkerd has no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<usize>,
    /// `idleTimeMs`: how long an idle connection is kept; 60 s by default.
    #[serde(rename = "idleTimeMs", serialize_with = "some_millis", skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
    /// `maxWaiters`: how many requests of the process may wait for a connection or a stream at once; unlimited by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_waiters: Option<usize>,
}

/// The bounds on the time that a connection to an endpoint may last.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ClientSessionConfig {
    /// `idleTimeMs`: as `hostConnectionPool.idleTimeMs`, and the lesser of both counts.
    #[serde(rename = "idleTimeMs", serialize_with = "some_millis", skip_serializing_if = "Option::is_none")]
    pub idle: Option<Duration>,
    /// `lifeTimeMs`: how long a connection takes new requests; unlimited by default.
    #[serde(rename = "lifeTimeMs", serialize_with = "some_millis", skip_serializing_if = "Option::is_none")]
    pub life: Option<Duration>,
}

/// The options of connections to endpoints.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientSocketConfig {
    /// `noDelay` (`TCP_NODELAY`): on by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_delay: Option<bool>,
    /// `keepAlive` (`SO_KEEPALIVE`): on by default, where Linkerd left it to the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<bool>,
    /// `readTimeoutMs`: how long an endpoint may send nothing while a response is awaited; unlimited by default.
    #[serde(
        rename = "readTimeoutMs",
        serialize_with = "some_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub read_timeout: Option<Duration>,
    /// `writeTimeoutMs`: how long an endpoint may take nothing of the bytes that are written; 30 s by default.
    #[serde(
        rename = "writeTimeoutMs",
        serialize_with = "some_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub write_timeout: Option<Duration>,
}

/// Replaces what a later entry sets.
pub(super) fn replace<T: Clone>(value: &mut Option<T>, later: &Option<T>) {
    if later.is_some() {
        value.clone_from(later);
    }
}

impl Settings for ClientConfig {
    fn fill(&self, captures: &Captures<'_>) -> Self {
        let mut filled = self.clone();
        if let Some(name @ CommonName::Template(..)) =
            filled.tls.as_mut().and_then(|tls| tls.common_name.as_mut())
        {
            *name = name.fill(captures);
        }
        filled
    }

    fn merge(&mut self, later: &Self) {
        // Taken apart by name, so that a new key cannot be forgotten here.
        let Self {
            tls,
            forward_client_cert,
            load_balancer,
            failure_accrual,
            fail_fast,
            connect_timeout,
            stream_wait,
            attempt_timeout,
            requeue_budget,
            pool: PoolConfig { min_size, max_size, idle, max_waiters },
            session: ClientSessionConfig { idle: session_idle, life },
            socket: ClientSocketConfig { no_delay, keep_alive, read_timeout, write_timeout },
            trust_retryable,
            egress,
            remove_baggage,
            http2: Http2Config { stream_window, header_table, max_frame, max_header_list },
        } = later;
        replace(&mut self.tls, tls);
        replace(&mut self.forward_client_cert, forward_client_cert);
        replace(&mut self.load_balancer, load_balancer);
        replace(&mut self.failure_accrual, failure_accrual);
        replace(&mut self.fail_fast, fail_fast);
        replace(&mut self.connect_timeout, connect_timeout);
        replace(&mut self.stream_wait, stream_wait);
        replace(&mut self.attempt_timeout, attempt_timeout);
        replace(&mut self.requeue_budget, requeue_budget);
        replace(&mut self.pool.min_size, min_size);
        replace(&mut self.pool.max_size, max_size);
        replace(&mut self.pool.idle, idle);
        replace(&mut self.pool.max_waiters, max_waiters);
        replace(&mut self.session.idle, session_idle);
        replace(&mut self.session.life, life);
        replace(&mut self.socket.no_delay, no_delay);
        replace(&mut self.socket.keep_alive, keep_alive);
        replace(&mut self.socket.read_timeout, read_timeout);
        replace(&mut self.socket.write_timeout, write_timeout);
        replace(&mut self.trust_retryable, trust_retryable);
        replace(&mut self.egress, egress);
        replace(&mut self.remove_baggage, remove_baggage);
        replace(&mut self.http2.stream_window, stream_window);
        replace(&mut self.http2.header_table, header_table);
        replace(&mut self.http2.max_frame, max_frame);
        replace(&mut self.http2.max_header_list, max_header_list);
    }
}

const SECTIONS: Sections =
    Sections { key: "client", by_prefix: &["client io.l5d.static"], entry: &["client of a prefix"] };

/// Reads `client`.
pub(super) fn client(router: &mut Reader<'_, '_>, protocol: Protocol) -> ByPrefix<ClientConfig> {
    by_prefix(router, &SECTIONS, |node, prefix, report| settings(node, (protocol, prefix), report))
}

/// Reads the settings of one mapping.
fn settings(
    node: &Node<'_>,
    (protocol, prefix): (Protocol, Option<&PathMatcher>),
    report: &mut Report,
) -> ClientConfig {
    let http2 = match protocol {
        Protocol::Http => Http2Config::default(),
        Protocol::H2 => Reader::new(node, &["client io.l5d.global h2"], report).http2(),
    };
    let mut client = Reader::new(node, &["client io.l5d.global"], report);
    ClientConfig {
        tls: client_tls(&mut client, prefix),
        forward_client_cert: client.flag("forwardClientCert"),
        load_balancer: balancer(&mut client),
        failure_accrual: accrual(&mut client),
        fail_fast: client.flag("failFast"),
        connect_timeout: client.millis("connectTimeoutMs"),
        stream_wait: client.millis("streamWaitMs"),
        attempt_timeout: client.millis("requestAttemptTimeoutMs"),
        requeue_budget: budget(&mut client, "requeueBudget"),
        pool: pool(&mut client),
        session: session(&mut client),
        socket: socket(&mut client),
        trust_retryable: client.flag("trustRetryable"),
        egress: client.flag("egress"),
        remove_baggage: client.flag("removeBaggage"),
        http2,
    }
}

/// Reads `hostConnectionPool`.
fn pool(client: &mut Reader<'_, '_>) -> PoolConfig {
    let Some(node) = client.get("hostConnectionPool") else { return PoolConfig::default() };
    let mut pool = Reader::new(&node, &["host connection pool"], client.report());
    let read = PoolConfig {
        min_size: pool.number("minSize", 0..=MAX_INT),
        max_size: pool.number("maxSize", 1..=MAX_INT),
        idle: pool.millis("idleTimeMs"),
        max_waiters: pool.number("maxWaiters", 0..=MAX_INT),
    };
    if let (Some(least), Some(most)) = (read.min_size, read.max_size)
        && least > most
    {
        let min_size = pool.get("minSize");
        pool.error(min_size.as_ref(), format!("`minSize` is more than the `maxSize` of {most}"));
    }
    read
}

/// Reads `clientSession`.
fn session(client: &mut Reader<'_, '_>) -> ClientSessionConfig {
    let Some(node) = client.get("clientSession") else { return ClientSessionConfig::default() };
    let mut session = Reader::new(&node, &["client session"], client.report());
    ClientSessionConfig { idle: session.millis("idleTimeMs"), life: session.millis("lifeTimeMs") }
}

/// Reads `socketOptions`.
fn socket(client: &mut Reader<'_, '_>) -> ClientSocketConfig {
    let Some(node) = client.get("socketOptions") else { return ClientSocketConfig::default() };
    let mut options = Reader::new(&node, &["client socket options"], client.report());
    ClientSocketConfig {
        no_delay: options.flag("noDelay"),
        keep_alive: options.flag("keepAlive"),
        read_timeout: options.millis("readTimeoutMs"),
        write_timeout: options.millis("writeTimeoutMs"),
    }
}
