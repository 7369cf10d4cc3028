//! Carries a request to an endpoint and its response back.
//!
//! A listener's connections are spread over the workers; a request begins and ends on the worker that has its
//! connection, so nothing on its way is shared, locked or `Send`. Its life is one function, `serve::Service::serve`.
//!
//! Configuration files and concrete namers are not known here: what is needed of them comes as [`RouterConfig`] and
//! as an [`Asker`].

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
pub use self::listen::{Limits, SocketOptions, bind};
pub use self::route::{Protocol, Route};

use self::listen::{Mailbox, Permits, accept};
use self::worker::Worker;
use crate::context;
use crate::drain::Guard;
use crate::identify;
use crate::interpret::Asker;
use crate::name::{Dtab, Path};
use crate::telemetry::Registry;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// One router: how requests are named, and what their names mean.
#[derive(Debug)]
pub struct RouterConfig {
    /// Its name among the routers.
    pub label: String,
    /// What names mean when the request says nothing, now and whenever that changes.
    pub dtab: watch::Receiver<Dtab>,
    /// What identifiers put before a name: `dstPrefix`.
    pub prefix: Path,
    /// How endpoints are spoken to that do not say it themselves.
    pub protocol: Protocol,
    /// What endpoints over HTTP/2 are told.
    pub http2: Http2,
    /// How requests are named, tried in order.
    pub identifiers: Vec<identify::Config>,
    /// How long a name may take to be resolved: `bindingTimeoutMs`.
    pub binding_timeout: Duration,
    /// How much each worker remembers.
    pub caches: CacheConfig,
    /// Where a line is written for each of its requests, if anywhere.
    pub access_log: Option<AccessLog>,
    /// Where its requests come in.
    pub listeners: Vec<ListenerConfig>,
}

/// One listener of a router.
#[derive(Debug)]
pub struct ListenerConfig {
    /// Its name in metrics: `<ip>/<port>`.
    pub label: String,
    /// Whom it trusts, and what it adds.
    pub policy: context::Config,
    /// What it bounds.
    pub limits: Limits,
    /// What callers over HTTP/2 are told.
    pub http2: Http2,
    /// How many requests it serves at once, over all workers: `maxConcurrentRequests`.
    pub max_concurrent_requests: Option<usize>,
    /// Options of its connections.
    pub socket: SocketOptions,
}

/// What all workers share.
pub(crate) struct Shared {
    routers: Vec<RouterConfig>,
    /// Of each listener, in the order of the routers and their listeners.
    permits: Vec<Option<Arc<Permits>>>,
    asker: Asker,
    loads: Arc<Loads>,
    registry: Registry,
}

impl RouterConfig {
    fn bindings(&self, shared: &Shared) -> Bindings {
        let (asker, loads) = (shared.asker.clone(), Arc::clone(&shared.loads));
        Bindings::new(self.dtab.clone(), self.binding_timeout, self.caches, asker, loads)
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
    accepts: Vec<(usize, TcpListener, SocketOptions)>,
    workers: Vec<Mailbox>,
}

impl Proxy {
    /// Makes a proxy of routers and the sockets of their listeners, in the same order.
    pub fn new(
        routers: Vec<RouterConfig>,
        sockets: Vec<TcpListener>,
        asker: Asker,
        registry: Registry,
    ) -> Self {
        let listeners = routers.iter().flat_map(|router| &router.listeners);
        let permits = listeners.map(|listener| listener.max_concurrent_requests.map(Permits::new)).collect();
        let shared = Shared { routers, permits, asker, loads: Arc::default(), registry };
        Self { shared: Arc::new(shared), sockets }
    }

    /// Returns what the workers know of endpoints.
    pub fn loads(&self) -> Arc<Loads> {
        Arc::clone(&self.shared.loads)
    }

    /// Splits the proxy into what each of `workers` threads runs.
    pub fn split(self, workers: usize, guard: &Guard) -> Vec<Task> {
        let options =
            self.shared.routers.iter().flat_map(|router| &router.listeners).map(|listener| listener.socket);
        let mut accepts: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        for (at, (socket, options)) in self.sockets.into_iter().zip(options).enumerate() {
            accepts[at % workers].push((at, socket, options));
        }
        let (mailboxes, receivers): (Vec<_>, Vec<_>) = (0..workers)
            .map(|_| {
                let (sender, receiver) = mpsc::unbounded_channel();
                (Mailbox { connections: Arc::default(), sender }, receiver)
            })
            .unzip();
        mailboxes
            .iter()
            .zip(receivers)
            .zip(accepts)
            .map(|((own, mailbox), accepts)| Task {
                worker: Worker {
                    shared: Arc::clone(&self.shared),
                    mailbox,
                    connections: Arc::clone(&own.connections),
                    guard: guard.clone(),
                },
                accepts,
                workers: mailboxes.clone(),
            })
            .collect()
    }
}

impl Task {
    /// Accepts and serves until the drain is over; on a runtime that runs tasks which are not `Send`.
    ///
    /// # Errors
    ///
    /// A listening socket cannot be watched.
    pub async fn run(self) -> io::Result<()> {
        let mut accepting = tokio::task::JoinSet::new();
        for (listener, socket, options) in self.accepts {
            accepting.spawn_local(accept(listener, socket, options, self.workers.clone()));
        }
        drop(self.workers);
        let mut guard = self.worker.guard.clone();
        let stop = async {
            guard.reached(crate::drain::Stage::Stopping).await;
            drop(guard);
            // Dropped, and with them the sockets: whoever comes now is refused.
            accepting.shutdown().await;
        };
        tokio::join!(stop, self.worker.run());
        Ok(())
    }
}
