//! Carries a request to an endpoint and its response back.
//!
//! A listener's connections are spread over the workers; a request begins and ends on the worker that has its
//! connection, so nothing on its way is shared, locked or `Send`.
//!
//! Configuration files and concrete namers are not known here: what is needed of them comes as [`RouterConfig`],
//! as [`RouterSettings`], which may change at any time, and as a [`NamerHandle`].

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

pub use self::bind::{Binding, BindingSettings, Bindings, CacheConfig};
pub use self::downstream::{
    AccessFormat, AccessLog, ListenerConfig, ListenerSettings, RouterConfig, RouterSettings, SocketOptions,
    bind, pause_after,
};
pub use self::error::Error;
pub use self::limits::{Http2, Limits};
pub use self::upstream::{ClientSettings, EndpointRegistry, Protocol, Route};

use self::downstream::{Acceptor, WorkerHandle};
use self::limits::Counts;
use self::worker::{SharedState, Worker};
use crate::drain::Guard;
use crate::interpret::NamerHandle;
use crate::telemetry::Registry;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// The proxy, with its listeners bound and nothing running yet.
pub struct Proxy {
    shared: Arc<SharedState>,
    sockets: Vec<TcpListener>,
}

/// What one thread has to run.
pub struct WorkerTask {
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
        let shared =
            SharedState { routers, settings, counts, asker, endpoint_registry: Arc::default(), registry };
        Self { shared: Arc::new(shared), sockets }
    }

    /// Returns what the workers know of endpoints.
    pub fn endpoint_registry(&self) -> Arc<EndpointRegistry> {
        Arc::clone(&self.shared.endpoint_registry)
    }

    /// Splits the proxy into what each of `workers` threads runs.
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
            .map(|((own, mailbox), acceptors)| WorkerTask {
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

impl WorkerTask {
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
