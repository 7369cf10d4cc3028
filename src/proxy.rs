//! Carries a request to an endpoint and its response back.
//!
//! A listener's connections are spread over the workers. A request begins and ends on the worker that has its
//! connection: the request path takes no lock and holds nothing that must be `Send`. On this path, workers share only
//! atomic counts.
//!
//! # The life of a request
//!
//! Read these functions in this order, or step through them in a debugger. Where HTTP/2 has a function of its own, it
//! stands below that of HTTP/1.
//!
//! | step | function | result |
//! |---|---|---|
//! | accept | `proxy/downstream/listen.rs:run` | a socket, a permit, the peer's address |
//! | choose a worker | `proxy/downstream/listen.rs:hand_over` | the worker with the fewest connections receives it |
//! | begin the connection | `proxy/worker.rs:serve` | a task on that worker |
//! | take off the disguise | `proxy/downstream/detect.rs:serve_disguised` | the caller that a proxy in front names; its certificate, after the handshake of TLS |
//! | detect the protocol | `proxy/downstream/detect.rs:serve_connection` | HTTP/1 or HTTP/2, from the first bytes |
//! | read the head | `proxy/downstream/http1.rs:next_head` | a head, found in one scan |
//! | | `proxy/downstream/stream.rs:take` | |
//! | check the head | `proxy/downstream/http1.rs:validate` | the framing of the body |
//! | | `proxy/downstream/stream.rs:validate` | |
//! | serve the request | `proxy/serve.rs:serve` | all steps from here to "answer" |
//! | enter | `context/policy.rs:enter` | the grant; untrusted fields are gone; overrides, deadline, trace |
//! | identify | `identify.rs:identify` | the logical name |
//! | bind | `proxy/bind.rs:bind` | concrete names, cached |
//! | draw a leaf | `proxy/bind/binding.rs:draw` | a route, with its client |
//! | pick an endpoint | `proxy/upstream/balancer.rs:pick` | one that is alive, by weight and load |
//! | attempt | `proxy/upstream/client.rs:attempt` | an attempt that reports its outcome once |
//! | take a connection | `proxy/upstream/pool.rs:take` | one that waits in the pool |
//! | | `proxy/upstream/http2_pool.rs:connection` | one with room for a stream |
//! | connect | `proxy/upstream/connect.rs:connect` | a new one, when none waits |
//! | send | `proxy/upstream/http1.rs:send` | the head of the response; the bodies follow |
//! | | `proxy/upstream/http2.rs:send` | |
//! | answer | `proxy/serve.rs:answer` | a head for the caller |
//! | write the response | `proxy/downstream/http1.rs:respond` | the body, sent piece by piece |
//! | | `proxy/downstream/stream.rs:deliver` | |
//! | end | `proxy/exchange.rs:end` | the outcome is reported, the record is closed |
//! | keep the connection | `proxy/upstream/pool.rs:keep` | it waits for another request |
//!
//! # The floors
//!
//! As in the crate, a module imports from lower floors only; `tests/downhill.rs` reads this table, and the one above.
//!
//! | floor | module | its duty |
//! |---|---|---|
//! | 0 | `error` | The errors that end a request, and the status and text that the caller gets for each. |
//! | 0 | `limits` | The bounds of listeners and connections. |
//! | 0 | `metrics` | The counters of listeners, services and clients. |
//! | 1 | `wire` | One connection and its bytes, for either side: transport, buffers, timers, bodies and framing of HTTP/1 and HTTP/2. |
//! | 2 | `exchange` | A request and its response between the two sides, the attempt that carries them, and the record of the request. |
//! | 3 | `upstream` | From a bound name to an answer: client and settings, endpoints, balancer, failure accrual, pools, connecting, the client halves of HTTP/1 and HTTP/2. |
//! | 4 | `bind` | From a name and its overrides to routes, cached. |
//! | 5 | `serve` | The life of one request, from its head to that of its response. |
//! | 6 | `downstream` | From a socket to requests: listening, protocol detection, the server halves of HTTP/1 and HTTP/2, access lines. |
//! | 7 | `worker` | One thread: its listeners, its caches, its sweep. |
//!
//! The proxy knows neither configuration files nor concrete namers: it is given a [`RouterConfig`] for each router,
//! [`RouterSettings`], which may change at any time, and a [`NamerHandle`].

mod bind;
mod downstream;
mod error;
mod exchange;
mod limits;
mod metrics;
mod serve;
mod upstream;
mod wire;
mod worker;

pub use self::bind::{Binding, BindingSettings, Bindings, CacheConfig, RequestDtab};
pub use self::downstream::{
    AccessFormat, AccessLog, ListenerConfig, ListenerSettings, RouterConfig, RouterSettings, SocketOptions,
    bind, pause_after,
};
pub use self::error::{Error, Exposure};
pub use self::exchange::{Classifier, GrpcClassifier, RetriedMethods, StatusCodes, UNAVAILABLE};
pub use self::limits::{Http2Settings, Limits};
pub use self::metrics::TrafficMetrics;
pub use self::upstream::{
    AccrualBackoff, AccrualPolicy, AccrualSettings, ApertureSettings, BackoffSettings, BalancerAlgorithm,
    BalancerSettings, BudgetSettings, ClientHealth, ClientSettings, DialGuard, Egress, EndpointHealth,
    EndpointRegistry, EndpointTls, MirrorSettings, Route, ServiceSettings, SettingsTable,
};
pub use self::wire::WireProtocol;

pub(crate) use self::limits::{ConnectionLimits, ConnectionPlace, ConnectionTable};

use self::downstream::{Acceptor, OpenAcceptor, WorkerHandle};
use self::limits::Counts;
use self::worker::{SharedState, Worker};
use crate::drain::Guard;
use crate::interpret::NamerHandle;
use crate::telemetry::Registry;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// The proxy before it runs, with its listeners bound.
pub struct Proxy {
    shared: Arc<SharedState>,
    sockets: Vec<TcpListener>,
}

/// The parts of which a proxy is made.
#[derive(Debug)]
pub struct ProxyParts {
    /// The routers.
    pub routers: Vec<RouterConfig>,
    /// The settings of the routers, in their order; live.
    pub settings: watch::Receiver<Vec<RouterSettings>>,
    /// The bound sockets of the listeners, in the order of the routers and their listeners.
    pub sockets: Vec<TcpListener>,
    /// The sockets of the process to which no request is carried.
    pub dial_guard: DialGuard,
    /// The zone that the process runs in, if it is known.
    pub zone: Option<Arc<str>>,
    /// The handle by which namers are asked for answers.
    pub namer_handle: NamerHandle,
    /// The registry of metrics.
    pub registry: Registry,
}

/// The part of the proxy that one thread runs: a worker, and the acceptors of some listeners.
pub struct WorkerTask {
    worker: Worker,
    acceptors: Vec<Acceptor>,
}

impl Proxy {
    /// Makes a proxy from its parts.
    pub fn new(parts: ProxyParts) -> Self {
        let ProxyParts { routers, settings, sockets, dial_guard, zone, namer_handle, registry } = parts;
        let counts = sockets.iter().map(|_| Counts::default()).collect();
        let shared = SharedState {
            routers,
            settings,
            counts,
            namer_handle,
            endpoint_registry: Arc::new(EndpointRegistry::new(dial_guard).in_zone(zone)),
            registry,
        };
        Self { shared: Arc::new(shared), sockets }
    }

    /// Returns the endpoints that the workers use, of all clients.
    pub fn endpoint_registry(&self) -> Arc<EndpointRegistry> {
        Arc::clone(&self.shared.endpoint_registry)
    }

    /// Splits the proxy into one task for each of `workers` threads.
    pub fn split(self, workers: usize, guard: &Guard) -> Vec<WorkerTask> {
        let (handles, receivers): (Vec<_>, Vec<_>) = (0..workers)
            .map(|_| {
                let (sender, receiver) = mpsc::unbounded_channel();
                (WorkerHandle { connections: Arc::default(), sender }, receiver)
            })
            .unzip();
        let mut acceptors: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        for (at, acceptor) in self.shared.acceptors(self.sockets, &handles).enumerate() {
            acceptors[at % workers].push(acceptor);
        }
        handles
            .iter()
            .zip(receivers)
            .zip(acceptors)
            .map(|((own, incoming), acceptors)| WorkerTask {
                worker: Worker {
                    shared: Arc::clone(&self.shared),
                    incoming,
                    connections: Arc::clone(&own.connections),
                    guard: guard.clone(),
                },
                acceptors,
            })
            .collect()
    }
}

/// A [`WorkerTask`] whose runtime watches its listeners.
pub struct OpenWorkerTask {
    worker: Worker,
    acceptors: Vec<OpenAcceptor>,
}

impl WorkerTask {
    /// Has the runtime that this is called on watch the listeners. It must support tasks that are not `Send`.
    ///
    /// # Errors
    ///
    /// The runtime cannot watch a listener.
    pub fn open(self) -> io::Result<OpenWorkerTask> {
        let acceptors = self.acceptors.into_iter().map(Acceptor::open).collect::<io::Result<_>>()?;
        Ok(OpenWorkerTask { worker: self.worker, acceptors })
    }
}

impl OpenWorkerTask {
    /// Accepts and serves connections until the drain is over.
    pub async fn run(self) {
        let mut accepting = tokio::task::JoinSet::new();
        for acceptor in self.acceptors {
            accepting.spawn_local(acceptor.run(self.worker.guard.clone()));
        }
        // They end with the drain, as the worker does.
        let accepted = async { while accepting.join_next().await.is_some() {} };
        tokio::join!(accepted, self.worker.run());
    }
}
