//! A worker: one thread with its share of the connections, from the accepted socket to its end.

use super::bind::Bindings;
use super::downstream::{
    AcceptedConnection, Acceptor, AccessLogger, Listener, ListenerSettings, RouterConfig, RouterSettings,
    WorkerHandle, serve_connection, serve_disguised,
};
use super::limits::{Counts, Permits};
use super::metrics::{
    Counters, ListenerLabels, TrafficMetrics, evicted_connections, losing_names, refused_connections,
};
use super::serve::Service;
use super::upstream::{EndpointRegistry, ObjectPools};
use super::wire::object_pool::ObjectPool;
use super::wire::shutdown::ShutdownSignal;
use super::wire::trailer_filter::TrailerFilter;
use crate::context::Policy;
use crate::drain::{Guard, Stage};
use crate::identify::Identifiers;
use crate::interpret::NamerHandle;
use crate::sandbox::WorkerSandboxes;
use crate::telemetry::Registry;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// How often unused bindings and idle connections are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// The state that all workers share.
pub(crate) struct SharedState {
    pub(crate) routers: Vec<RouterConfig>,
    /// The settings of each router, in the order of `routers`.
    pub(crate) settings: watch::Receiver<Vec<RouterSettings>>,
    /// The counts of each listener, in the order of the routers and their listeners.
    pub(crate) counts: Vec<Counts>,
    pub(crate) namer_handle: NamerHandle,
    pub(crate) endpoint_registry: Arc<EndpointRegistry>,
    pub(crate) registry: Registry,
}

impl SharedState {
    /// Makes the acceptor of each socket.
    pub(crate) fn acceptors(
        &self,
        sockets: Vec<TcpListener>,
        workers: &[WorkerHandle],
    ) -> impl Iterator<Item = Acceptor> {
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
                refused: refused_connections(
                    &self.registry,
                    ListenerLabels { router, server: &listener.label },
                ),
                evicted: evicted_connections(
                    &self.registry,
                    ListenerLabels { router, server: &listener.label },
                ),
                workers: workers.to_vec(),
            },
        )
    }
}

/// One worker, before it runs.
pub(crate) struct Worker {
    pub(crate) shared: Arc<SharedState>,
    /// The connections that acceptors hand over to this worker.
    pub(crate) incoming: mpsc::UnboundedReceiver<AcceptedConnection>,
    /// How many connections this worker has.
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) guard: Guard,
}

impl Worker {
    /// Serves the connections it is given until the drain is over.
    pub(crate) async fn run(self) {
        let Self { shared, mut incoming, connections, mut guard } = self;
        let shutdown = Rc::new(ShutdownSignal::default());
        let mut settings = shared.settings.clone();
        let mut routers = make_routers(&shared, &settings.borrow_and_update(), &shutdown);
        let mut tasks = JoinSet::new();
        let mut sweeping = JoinSet::new();
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut accepting = true;
        while accepting || !tasks.is_empty() {
            tokio::select! {
                accepted = incoming.recv(), if accepting => match accepted {
                    Some(accepted) => {
                        if let Some(serving) = serve(accepted, &routers, &connections) {
                            tasks.spawn_local(serving);
                        }
                    }
                    // No listener accepts any more.
                    None => accepting = false,
                },
                Some(ended) = tasks.join_next() => log_panic(ended),
                _ = sweep.tick(), if sweeping.is_empty() => {
                    let bindings = routers.iter().map(|router| Rc::clone(&router.bindings)).collect();
                    sweeping.spawn_local(sweep_all(bindings));
                }
                Some(swept) = sweeping.join_next() => log_panic(swept),
                Ok(()) = settings.changed() => {
                    for (router, settings) in routers.iter_mut().zip(&*settings.borrow_and_update()) {
                        router.apply_settings(settings);
                    }
                }
                stage = guard.next() => match stage {
                    Stage::Open | Stage::Leaving => {}
                    Stage::LastCall => shutdown.announce(),
                    Stage::Stopping => shutdown.send(),
                    Stage::Forced => break,
                },
            }
        }
        tasks.shutdown().await;
    }
}

/// One router on one worker.
struct WorkerRouter {
    bindings: Rc<Bindings>,
    sandboxes: Rc<WorkerSandboxes>,
    /// Each listener with its counts over all workers.
    listeners: Vec<(Rc<Listener>, Counts)>,
}

impl WorkerRouter {
    /// Applies settings to the requests that begin from now on: the dtab together with all others.
    fn apply_settings(&mut self, settings: &RouterSettings) {
        if self.bindings.are_under(&settings.naming) {
            self.bindings.configure(&settings.bindings);
        } else {
            self.bindings = Rc::new(self.bindings.followed_by(settings.naming.clone(), &settings.bindings));
        }
        self.sandboxes.follow(&settings.sandboxes);
        let unknown_key = settings.unknown_key;
        let identifiers = Rc::new(Identifiers::new(&settings.identifiers, &settings.prefix));
        for ((listener, counts), settings) in self.listeners.iter().zip(&settings.listeners) {
            listener.change_transport(settings);
            listener.change(settings.http2, |service| {
                service.policy = Policy::new(settings.policy.clone());
                service.trailers = trailer_filter(&service.policy, &service.counters);
                service.identifiers = Rc::clone(&identifiers);
                service.bindings = Rc::clone(&self.bindings);
                service.unknown_key = unknown_key;
                service.limits = settings.limits;
                service.permits = request_permits(settings, counts);
            });
        }
    }
}

/// Drops what the caches of a worker's routers have held unused for too long.
async fn sweep_all(bindings: Vec<Rc<Bindings>>) {
    for bindings in bindings {
        bindings.sweep().await;
    }
}

/// Returns the limit on concurrent requests, if there is one.
fn request_permits(settings: &ListenerSettings, counts: &Counts) -> Option<Permits> {
    settings.max_concurrent_requests.map(|limit| Permits::new(limit, &counts.requests))
}

/// Makes the filter for the trailers of a listener's untrusted requests.
fn trailer_filter(policy: &Policy, counters: &Counters) -> Rc<TrailerFilter> {
    Rc::new(TrailerFilter::new(policy.tenant_headers().clone(), counters.removed_trailers()))
}

/// Returns the work of serving a connection, for a task of its own; `None` without its listener.
fn serve(
    accepted: AcceptedConnection,
    routers: &[WorkerRouter],
    connections: &Arc<AtomicUsize>,
) -> Option<impl Future<Output = ()> + use<>> {
    let counted = ConnectionCount(Arc::clone(connections));
    let mut listeners = routers.iter().flat_map(|router| &router.listeners);
    let (listener, _) = listeners.nth(accepted.listener)?;
    let open = listener.service().counters.connected();
    let (listener, AcceptedConnection { stream, peer, place, .. }) = (Rc::clone(listener), accepted);
    Some(async move {
        let (_counted, _open) = (counted, open);
        if let Ok(stream) = TcpStream::from_std(stream) {
            if listener.is_disguised() {
                // Boxed, so that connections without TLS do not pay for its size.
                Box::pin(serve_disguised(listener, stream, peer, place)).await;
            } else {
                serve_connection(listener, stream, peer, place).await;
            }
        }
    })
}

/// Logs the panic of a task. It ended that task only: one connection, as a rule.
fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a task of a worker panicked: this is a bug in the router");
    }
}

/// A connection that is counted for its worker. Its drop ends the count.
struct ConnectionCount(Arc<AtomicUsize>);

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Makes the routers of one worker, in the order of the configuration.
fn make_routers(
    shared: &SharedState,
    settings: &[RouterSettings],
    shutdown: &Rc<ShutdownSignal>,
) -> Vec<WorkerRouter> {
    let mut counts = shared.counts.iter();
    let mut routers = Vec::new();
    for (router, settings) in shared.routers.iter().zip(settings) {
        let bindings =
            Bindings::new(settings.naming.clone(), &settings.bindings, shared.namer_handle.clone());
        let losing_names = losing_names(&shared.registry, &router.label);
        let traffic = TrafficMetrics::new(&shared.registry, &router.label);
        let bindings =
            bindings.sharing(Arc::clone(&shared.endpoint_registry)).counting(losing_names, traffic);
        let sandboxes = Rc::new(WorkerSandboxes::new(settings.sandboxes.clone()));
        let bindings = Rc::new(bindings.with_sandboxes(&sandboxes));
        let unknown_key = settings.unknown_key;
        let identifiers = Rc::new(Identifiers::new(&settings.identifiers, &settings.prefix));
        let listeners = router.listeners.iter().zip(&settings.listeners).zip(counts.by_ref());
        let listeners = listeners.map(|((listener, settings), counts)| {
            let labels = ListenerLabels { router: &router.label, server: &listener.label };
            let policy = Policy::new(settings.policy.clone());
            let counters = Counters::new(&shared.registry, labels);
            let service = Service {
                trailers: trailer_filter(&policy, &counters),
                policy,
                identifiers: Rc::clone(&identifiers),
                bindings: Rc::clone(&bindings),
                sandboxes: Rc::clone(&sandboxes),
                no_sandboxes: Rc::default(),
                unknown_key,
                limits: settings.limits,
                permits: request_permits(settings, counts),
                counters: Rc::new(counters),
                log_turns: Arc::clone(&counts.log_turns),
                server: listener.label.as_str().into(),
                pools: ObjectPools::default(),
                scratch: ObjectPool::default(),
            };
            let access =
                router.access_log.clone().map(|log| AccessLogger::new(log, &shared.registry, labels));
            let listener = Listener::new(service, settings.http2, shutdown).with_access_log(access);
            listener.change_transport(settings);
            (Rc::new(listener), counts.clone())
        });
        routers.push(WorkerRouter { listeners: listeners.collect(), bindings, sandboxes });
    }
    routers
}
