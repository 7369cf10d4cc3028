//! The settings of a client: everything about its connections and attempts that a configuration may set.

use super::accrual::AccrualSettings;
use super::backoff::BackoffSettings;
use super::balancer::BalancerSettings;
use super::retry_budget::BudgetSettings;
use crate::message::HeadLimits;
use crate::name::Path;
use crate::proxy::exchange::Classifier;
use crate::proxy::limits::Http2Settings;
use crate::proxy::wire::WireProtocol;
use crate::tls::{ClientTls, EndpointName, LiveTls};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// The settings of one client, which apply to its next request on every worker.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientSettings {
    /// The protocol of endpoints whose namer does not give one.
    pub protocol: WireProtocol,
    /// Bounds on the heads of responses.
    pub heads: HeadLimits,
    /// The settings sent to endpoints over HTTP/2, and the bounds on their connections.
    pub http2: Http2Settings,
    /// How many attempts a request has at most: 4. Another one is made when no connection could be opened, or when the
    /// connection ended and the request may be sent again.
    pub max_attempts: usize,
    /// How many of those further attempts the process makes.
    pub requeue_budget: BudgetSettings,
    /// TLS to the endpoints: none. `tls`.
    pub tls: Option<EndpointTls>,
    /// Whether an endpoint is told the certificate of the caller, in `x-forwarded-client-cert`: it is not.
    /// `forwardClientCert`.
    pub forwards_certificate: bool,
    /// How long a connection may take to open, with the handshake of TLS: 3 s.
    pub connect_timeout: Duration,
    /// How long an endpoint's host may be silent before it is probed: 30 s.
    pub keepalive: Duration,
    /// Whether an idle connection is probed at all (`SO_KEEPALIVE`): it is. `socketOptions.keepAlive`.
    pub keep_alive: bool,
    /// Whether small writes are sent at once (`TCP_NODELAY`): they are. `socketOptions.noDelay`.
    pub no_delay: bool,
    /// How long an endpoint may send nothing while a response is awaited: any time. `socketOptions.readTimeoutMs`.
    pub read_timeout: Option<Duration>,
    /// How long an endpoint's host may leave sent bytes unacknowledged, and the endpoint those that come untaken: 30 s.
    /// `socketOptions.writeTimeoutMs`.
    pub write_timeout: Duration,
    /// How many idle HTTP/1 connections to one endpoint a worker keeps: 512. More are closed.
    pub max_idle_connections: usize,
    /// How long an idle connection is kept: 60 s.
    pub idle_timeout: Duration,
    /// How many idle HTTP/1 connections to one endpoint a worker keeps, however long they are idle: none.
    /// `hostConnectionPool.minSize`.
    pub min_idle_connections: usize,
    /// How long a connection takes new requests: for ever. `clientSession.lifeTimeMs`.
    pub connection_life: Option<Duration>,
    /// How many requests of the process may wait for a connection or a stream of an endpoint at once: any number.
    /// `hostConnectionPool.maxWaiters`.
    pub max_waiters: usize,
    /// How long one attempt may take until the head of its response: any time. `requestAttemptTimeoutMs`.
    pub attempt_timeout: Option<Duration>,
    /// Whether an endpoint's `l5d-retryable` is believed: not unless it is said. `trustRetryable`.
    pub trust_retryable: bool,
    /// The treatment of endpoints that are outside: none of the client's is. `egress`.
    pub egress: Option<Egress>,
    /// How many HTTP/2 connections a worker has to one endpoint at most: 8. Another one is opened when the endpoint
    /// allows no more streams on those that are open.
    pub max_http2_connections: usize,
    /// How many HTTP/1 connections that serve a request the process has to one endpoint at most: 1,024.
    /// `hostConnectionPool.maxSize`.
    pub max_http1_connections: usize,
    /// How long a request waits for one of them, or for a stream of an endpoint that allows no more: 1 s. `streamWaitMs`.
    pub stream_wait: Duration,
    /// How an endpoint is picked: the less loaded of two. `loadBalancer`.
    pub balancer: BalancerSettings,
    /// When an endpoint that fails is left alone: after five failures in a row. `failureAccrual`.
    pub accrual: AccrualSettings,
}

/// TLS to the endpoints of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointTls {
    /// The authorities that are believed, and the certificate that is shown; live.
    pub config: LiveTls<ClientTls>,
    /// The name that certificates must have; the address of the endpoint by default. A text that is no name fails each
    /// connection: it may be made of a part of a path.
    pub name: Option<Result<EndpointName, Arc<str>>>,
}

/// The treatment of endpoints outside: a request to them loses what steers, and so does their response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Whether `baggage` is removed as a whole: `removeBaggage`.
    pub removes_baggage: bool,
}

impl ClientSettings {
    /// Makes settings for endpoints of this protocol, with these bounds on the heads of responses. Everything else has
    /// its default.
    pub fn new(protocol: WireProtocol, heads: HeadLimits) -> Self {
        Self {
            protocol,
            heads,
            http2: Http2Settings::default(),
            max_attempts: 4,
            requeue_budget: BudgetSettings::default(),
            tls: None,
            forwards_certificate: false,
            connect_timeout: Duration::from_secs(3),
            keepalive: Duration::from_secs(30),
            keep_alive: true,
            no_delay: true,
            read_timeout: None,
            write_timeout: Duration::from_secs(30),
            max_idle_connections: 512,
            idle_timeout: Duration::from_secs(60),
            min_idle_connections: 0,
            connection_life: None,
            max_waiters: usize::MAX,
            attempt_timeout: None,
            trust_retryable: false,
            egress: None,
            max_http2_connections: 8,
            max_http1_connections: 1024,
            stream_wait: Duration::from_secs(1),
            balancer: BalancerSettings::default(),
            accrual: AccrualSettings::default(),
        }
    }
}

/// The settings of a service: everything about its requests that a configuration may set beside their way.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSettings {
    /// How long a request may take until the head of its response, with all its attempts: any time. `totalTimeoutMs`.
    pub total_timeout: Option<Duration>,
    /// The rule by which responses are judged: a status of 500 or above is a failure that is not retried.
    /// `responseClassifier`.
    pub classifier: Classifier,
    /// Whether an endpoint of any client may say that a failure is retryable: [`ClientSettings::trust_retryable`] says of
    /// which.
    pub believes_retryable: bool,
    /// The name to which requests are copied, if they are. `mirror`.
    pub mirror: Option<MirrorSettings>,
    /// How many retries the process makes. `retries.budget`.
    pub retry_budget: BudgetSettings,
    /// The pauses before retries: none. `retries.backoff`.
    pub retry_backoff: BackoffSettings,
    /// How many bytes of a request's body are kept for a retry: 16,383. A larger one is not retried.
    /// `retryBufferSize.requestBytes`.
    pub request_buffer: usize,
    /// How many bytes of a response are kept while its trailers are awaited, by which it is judged: 16,383. A larger one is
    /// not retried. `retryBufferSize.responseBytes`.
    pub response_buffer: usize,
    /// How long these trailers are awaited before the response is passed on: 100 ms. `classificationTimeoutMs`.
    pub classification_timeout: Duration,
}

/// The name to which a share of a service's requests is copied.
#[derive(Clone, Debug, PartialEq)]
pub struct MirrorSettings {
    /// The logical name, which is bound by the router's own dtab alone.
    pub name: Path,
    /// How many of a hundred requests are copied.
    pub percent: f64,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        const BUFFER: usize = 16_383;
        Self {
            total_timeout: None,
            classifier: Classifier::default(),
            believes_retryable: false,
            mirror: None,
            retry_budget: BudgetSettings::default(),
            retry_backoff: BackoffSettings::default(),
            request_buffer: BUFFER,
            response_buffer: BUFFER,
            classification_timeout: Duration::from_millis(100),
        }
    }
}

/// The settings of a router's clients and services, each by its name.
pub trait SettingsTable: Debug + Send + Sync {
    /// Returns the settings of the client with this bound id.
    fn client(&self, id: &Path) -> ClientSettings;

    /// Returns the settings of the service with this logical name.
    fn service(&self, name: &Path) -> ServiceSettings;
}

/// All clients have these settings, and all services the usual ones.
impl SettingsTable for ClientSettings {
    fn client(&self, _id: &Path) -> ClientSettings {
        self.clone()
    }

    fn service(&self, _name: &Path) -> ServiceSettings {
        ServiceSettings::default()
    }
}
