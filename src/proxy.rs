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
//! | begin the connection | `proxy/worker/listener_task.rs:serve` | a task on that worker |
//! | read the preamble | `proxy/downstream/detect.rs:serve_after_preamble` | the caller that a proxy in front names; its certificate, after the handshake of TLS |
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
//! | carry a tunnel | `proxy/downstream/tunnel.rs:tunnel` | bytes both ways, in place of a body |
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
//! The proxy knows neither configuration files nor concrete namers: it is given bound sockets, [`RouterSettings`] and a
//! [`NamerHandle`]. Its routers and listeners may change at any time: [`Proxy`] tells the workers, by messages.

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
    AcceptSettings, AccessFormat, AccessLog, ListenerHandle, ListenerId, ListenerSettings, ProxiedCaller,
    ProxyHeader, ProxyHeaderError, RouterId, RouterSettings, SocketOptions, bind, bind_beside, pause_after,
};
pub use self::error::{Error, Exposure, TunnelDefect};
pub use self::exchange::{Classifier, GrpcClassifier, RetriedMethods, StatusCodes, UNAVAILABLE};
pub use self::limits::{Http2Settings, Limits};
pub use self::metrics::TrafficMetrics;
pub use self::upstream::{
    AccrualBackoff, AccrualPolicy, AccrualSettings, ApertureSettings, BackoffSettings, BalancerAlgorithm,
    BalancerSettings, BudgetSettings, ClientHealth, ClientSettings, DialGuard, Egress, EndpointHealth,
    EndpointRegistry, EndpointTls, MirrorSettings, Route, ServiceSettings, SettingsTable,
};
pub use self::wire::WireProtocol;
pub use self::worker::Worker;

pub(crate) use self::limits::{ConnectionLimits, ConnectionPlace, ConnectionTable};

use self::worker::{SharedState, WorkerMessage};
use crate::drain::Guard;
use crate::interpret::NamerHandle;
use crate::telemetry::Registry;
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use tokio::sync::{mpsc, oneshot};

/// The proxy as control sees it: it tells the workers which listeners they have, and how requests are served.
pub struct Proxy {
    shared: Arc<SharedState>,
    workers: Vec<WorkerHandle>,
    /// How many listeners were opened.
    opened: u64,
    guard: Guard,
}

/// The parts of which a proxy is made.
#[derive(Debug)]
pub struct ProxyParts {
    /// The sockets of the process to which no request is carried; live.
    pub dial_guard: DialGuard,
    /// The zone that the process runs in, if it is known.
    pub zone: Option<Arc<str>>,
    /// The handle by which namers are asked for answers.
    pub namer_handle: NamerHandle,
    /// The registry of metrics.
    pub registry: Registry,
}

/// The handle by which control reaches one worker.
struct WorkerHandle {
    /// How many connections the worker has.
    connections: Arc<AtomicUsize>,
    messages: mpsc::UnboundedSender<WorkerMessage>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Makes a proxy without listeners, and its workers, each of which has to be run by a thread. The drain of the guard
    /// ends them.
    pub fn new(parts: ProxyParts, workers: usize, guard: Guard) -> (Self, Vec<Worker>) {
        let ProxyParts { dial_guard, zone, namer_handle, registry } = parts;
        let endpoint_registry = Arc::new(EndpointRegistry::new(dial_guard).in_zone(zone));
        let shared = Arc::new(SharedState { namer_handle, endpoint_registry, registry });
        let make = |_| {
            let (sender, messages) = mpsc::unbounded_channel();
            let handle = WorkerHandle { connections: Arc::default(), messages: sender };
            (handle, Worker { shared: Arc::clone(&shared), messages, guard: guard.clone() })
        };
        let (handles, made) = (0..workers).map(make).unzip();
        (Self { shared, workers: handles, opened: 0, guard }, made)
    }

    /// Returns the endpoints that the workers use, of all clients.
    pub fn endpoint_registry(&self) -> Arc<EndpointRegistry> {
        Arc::clone(&self.shared.endpoint_registry)
    }

    /// Opens a listener on a bound socket. It accepts nothing until [`Proxy::serve`] has settings for it; its drop before
    /// that closes it.
    ///
    /// # Errors
    ///
    /// The runtime of its worker cannot watch the socket, or the worker has ended.
    pub async fn open(&mut self, socket: TcpListener) -> io::Result<ListenerHandle> {
        let connections = self.workers.iter().map(|worker| Arc::clone(&worker.connections));
        let (handle, acceptor) = ListenerHandle::new(self.opened, socket, connections, &self.guard)?;
        // Each worker runs some of the acceptors.
        let worker = &self.workers[(self.opened % self.workers.len() as u64) as usize];
        self.opened += 1;
        let (opening, opened) = oneshot::channel();
        let ended = || io::Error::other("the worker that should accept has ended");
        worker.messages.send(WorkerMessage::Open(acceptor, opening)).map_err(|_| ended())?;
        opened.await.unwrap_or_else(|_| Err(ended()))?;
        Ok(handle)
    }

    /// Serves the requests that begin from now on by these settings, on these listeners. Those that are new begin to accept
    /// when all workers know of them. One without settings any longer has to be closed by its handle.
    pub fn serve<'a>(
        &self,
        routers: Vec<RouterSettings>,
        listeners: impl Iterator<Item = &'a mut ListenerHandle>,
    ) {
        let mut begun: Vec<Vec<_>> = self.workers.iter().map(|_| Vec::new()).collect();
        let mut begin = Vec::new();
        for handle in listeners {
            for router in &routers {
                if let Some(listener) = router.listeners.iter().find(|listener| listener.id == handle.id()) {
                    handle.configure(&self.shared.registry, &router.label, &listener.label, listener.accept);
                }
            }
            if let Some((parts, signal)) = handle.begin() {
                begun.iter_mut().zip(parts).for_each(|(worker, part)| worker.push(part));
                begin.push(signal);
            }
        }
        let routers: Arc<[_]> = routers.into();
        for (worker, begun) in self.workers.iter().zip(begun) {
            // A worker that has ended is noticed by whoever runs it.
            let _ = worker.messages.send(WorkerMessage::Serve(Arc::clone(&routers), begun));
        }
        // An acceptor that has ended is one whose process stops.
        for signal in begin {
            let _ = signal.send(());
        }
    }
}
