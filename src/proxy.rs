//! Carries a request to an endpoint and its response back.
//!
//! A listener's connections are spread over the workers; a request begins and ends on the worker that has its
//! connection, so nothing on its way is shared, locked or `Send`. Its life is one function, `serve::Service::serve`.
//!
//! Configuration files and concrete namers are not known here: what is needed of them comes as [`RouterConfig`],
//! as [`RouterSettings`], which may change at any time, and as an [`NamerHandle`].

mod access;
mod arrive;
mod balance;
mod bind;
mod body;
mod connect;
mod error;
mod exchange;
mod http1;
mod http2;
mod lend;
mod listen;
mod metrics;
mod patience;
mod pool;
mod route;
mod serve;
mod worker;

pub use self::access::{AccessFormat, AccessLog};
pub use self::balance::Loads;
pub use self::bind::{Binding, Bindings, CacheConfig};
pub use self::error::Error;
pub use self::http2::Http2;
pub use self::listen::{Limits, SocketOptions, bind, pause_after};
pub use self::route::{Protocol, Route, Upstreams};

use self::listen::{Acceptor, Counts, Mailbox};
use self::worker::Worker;
use crate::context;
use crate::drain::Guard;
use crate::identify;
use crate::interpret::{NamerHandle, Naming};
use crate::name::Path;
use crate::telemetry::Registry;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// One router: what it is as long as it runs.
#[derive(Debug)]
pub struct RouterConfig {
    /// Its name among the routers.
    pub label: String,
    /// What names mean when the request says nothing, now and whenever that changes.
    pub naming: watch::Receiver<Naming>,
    /// Where a line is written for each of its requests, if anywhere.
    pub access_log: Option<AccessLog>,
    /// Where its requests come in.
    pub listeners: Vec<ListenerConfig>,
}

/// One listener of a router: what it is as long as it runs.
#[derive(Debug)]
pub struct ListenerConfig {
    /// Its name in metrics: `<ip>/<port>`.
    pub label: String,
    /// Options of its connections.
    pub socket: SocketOptions,
}

/// What of a router can change while it runs. A request is served by what holds when it begins, also on a connection
/// that was open before.
#[derive(Clone, Debug)]
pub struct RouterSettings {
    /// What identifiers put before a name: `dstPrefix`.
    pub prefix: Path,
    /// How endpoints are spoken to.
    pub upstreams: Upstreams,
    /// How requests are named, tried in order.
    pub identifiers: Vec<identify::Identifier>,
    /// How long a name may take to be resolved: `bindingTimeoutMs`.
    pub binding_timeout: Duration,
    /// How much each worker remembers.
    pub caches: CacheConfig,
    /// Of each of its listeners, in their order.
    pub listeners: Vec<ListenerSettings>,
}

/// What of a listener can change while it runs.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Whom it trusts, and what it adds.
    pub policy: context::Config,
    /// What it bounds.
    pub limits: Limits,
    /// What callers over HTTP/2 are told; those that are connected already were told what held then.
    pub http2: Http2,
    /// How many requests it serves at once, over all workers: `maxConcurrentRequests`. Requests that began while
    /// nothing was said are not counted.
    pub max_concurrent_requests: Option<usize>,
    /// How many connections it has at once, over all workers: `maxConnections`.
    pub max_connections: usize,
}

/// What all workers share.
pub(crate) struct Shared {
    routers: Vec<RouterConfig>,
    /// Of each router, in their order.
    settings: watch::Receiver<Vec<RouterSettings>>,
    /// Of each listener, in the order of the routers and their listeners.
    counts: Vec<Counts>,
    asker: NamerHandle,
    loads: Arc<Loads>,
    registry: Registry,
}

impl RouterConfig {
    fn bindings(&self, settings: &RouterSettings, shared: &Shared) -> Bindings {
        let (asker, loads) = (shared.asker.clone(), Arc::clone(&shared.loads));
        Bindings::new(self.naming.clone(), settings.binding_timeout, settings.caches, asker, loads)
    }
}

/// The proxy, with its listeners bound and nothing running yet.
pub struct Proxy {
    shared: Arc<Shared>,
    sockets: Vec<TcpListener>,
}

/// What one thread has to run.
pub struct Task {
    worker: Worker,
    acceptors: Vec<Acceptor>,
}

impl Proxy {
    /// Makes a proxy of routers, their settings, and the sockets of their listeners, in the same order.
    pub fn new(
        routers: Vec<RouterConfig>,
        settings: watch::Receiver<Vec<RouterSettings>>,
        sockets: Vec<TcpListener>,
        asker: NamerHandle,
        registry: Registry,
    ) -> Self {
        let counts = sockets.iter().map(|_| Counts::default()).collect();
        let shared = Shared { routers, settings, counts, asker, loads: Arc::default(), registry };
        Self { shared: Arc::new(shared), sockets }
    }

    /// Returns what the workers know of endpoints.
    pub fn loads(&self) -> Arc<Loads> {
        Arc::clone(&self.shared.loads)
    }

    /// Splits the proxy into what each of `workers` threads runs.
    pub fn split(self, workers: usize, guard: &Guard) -> Vec<Task> {
        let (mailboxes, receivers): (Vec<_>, Vec<_>) = (0..workers)
            .map(|_| {
                let (sender, receiver) = mpsc::unbounded_channel();
                (Mailbox { connections: Arc::default(), sender }, receiver)
            })
            .unzip();
        let mut acceptors: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        for (at, acceptor) in self.shared.acceptors(self.sockets, &mailboxes).enumerate() {
            acceptors[at % workers].push(acceptor);
        }
        mailboxes
            .iter()
            .zip(receivers)
            .zip(acceptors)
            .map(|((own, mailbox), acceptors)| Task {
                worker: Worker {
                    shared: Arc::clone(&self.shared),
                    mailbox,
                    connections: Arc::clone(&own.connections),
                    guard: guard.clone(),
                },
                acceptors,
            })
            .collect()
    }
}

impl Shared {
    /// What accepts on each of the sockets.
    fn acceptors(&self, sockets: Vec<TcpListener>, workers: &[Mailbox]) -> impl Iterator<Item = Acceptor> {
        let listeners = self.routers.iter().flat_map(|router| {
            router.listeners.iter().map(move |listener| (router.label.as_str(), listener))
        });
        listeners.zip(sockets).zip(&self.counts).enumerate().map(
            move |(at, (((router, listener), socket), counts))| Acceptor {
                listener: at,
                socket,
                options: listener.socket,
                settings: self.settings.clone(),
                open: Arc::clone(&counts.connections),
                refused: metrics::refused_connections(&self.registry, router, &listener.label),
                workers: workers.to_vec(),
            },
        )
    }
}

impl Task {
    /// Accepts and serves until the drain is over; on a runtime that runs tasks which are not `Send`.
    pub async fn run(self) {
        let mut accepting = tokio::task::JoinSet::new();
        for acceptor in self.acceptors {
            accepting.spawn_local(acceptor.run(self.worker.guard.clone()));
        }
        let accepted = async {
            while let Some(ended) = accepting.join_next().await {
                if let Ok(Err(error)) = ended {
                    tracing::error!(%error, "a listener cannot accept");
                }
            }
        };
        tokio::join!(accepted, self.worker.run());
    }
}
