//! A worker: one thread's share of the connections, from the accepted socket to its end.

use super::access::AccessLogger;
use super::arrive::serve_connection;
use super::bind::Bindings;
use super::http2::Tasks;
use super::lend::Lender;
use super::listen::{Accepted, Counts, Permits};
use super::metrics::Counters;
use super::patience::Bell;
use super::serve::{Listener, Service};
use super::{ListenerSettings, RouterSettings, Shared};
use crate::context::Policy;
use crate::drain::{Guard, Stage};
use crate::identify::Identifiers;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// How often what nobody uses is looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// One worker, before it runs.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) mailbox: mpsc::UnboundedReceiver<Accepted>,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) guard: Guard,
}

impl Worker {
    /// Serves what arrives until the drain is over.
    pub(crate) async fn run(self) {
        let Self { shared, mut mailbox, connections, mut guard } = self;
        let bell = Rc::new(Bell::default());
        let mut settings = shared.settings.clone();
        let routers = routers(&shared, &settings.borrow_and_update(), &bell);
        let mut tasks = JoinSet::new();
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut accepting = true;
        while accepting || !tasks.is_empty() {
            tokio::select! {
                accepted = mailbox.recv(), if accepting => match accepted {
                    Some(accepted) => serve(accepted, &routers, &connections, &mut tasks),
                    // No listener accepts any more.
                    None => accepting = false,
                },
                Some(ended) = tasks.join_next() => report(ended),
                _ = sweep.tick() => routers.iter().for_each(|router| router.bindings.sweep()),
                Ok(()) = settings.changed() => {
                    for (router, settings) in routers.iter().zip(&*settings.borrow_and_update()) {
                        router.change(settings);
                    }
                }
                stage = guard.next() => match stage {
                    Stage::Open | Stage::Leaving => {}
                    Stage::LastCall => bell.call_last(),
                    Stage::Stopping => bell.ring(),
                    Stage::Forced => break,
                },
            }
        }
        tasks.shutdown().await;
    }
}

/// One router on one worker.
struct Router {
    bindings: Rc<Bindings>,
    /// With what is counted of each over all workers.
    listeners: Vec<(Rc<Listener>, Counts)>,
}

impl Router {
    /// Lets requests that are yet to begin be served by these settings.
    fn change(&self, settings: &RouterSettings) {
        self.bindings.configure(settings.binding_timeout, settings.caches);
        let identifiers = Rc::new(Identifiers::new(&settings.identifiers, &settings.prefix));
        let upstreams = settings.upstreams;
        for ((listener, counts), settings) in self.listeners.iter().zip(&settings.listeners) {
            listener.change(|service| {
                service.policy = Policy::new(settings.policy.clone());
                service.identifiers = Rc::clone(&identifiers);
                service.limits = settings.limits;
                service.http2 = settings.http2;
                service.upstreams = upstreams;
                service.permits = permits(settings, counts);
            });
        }
    }
}

fn permits(settings: &ListenerSettings, counts: &Counts) -> Option<Permits> {
    settings.max_concurrent_requests.map(|limit| Permits::new(limit, &counts.requests))
}

/// Begins to serve a connection.
fn serve(accepted: Accepted, routers: &[Router], connections: &Arc<AtomicUsize>, tasks: &mut JoinSet<()>) {
    let leaving = Leaving(Arc::clone(connections));
    let mut listeners = routers.iter().flat_map(|router| &router.listeners);
    let Some((listener, _)) = listeners.nth(accepted.listener) else { return };
    let open = listener.service().counters.connected();
    let (listener, Accepted { stream, peer, permit, .. }) = (Rc::clone(listener), accepted);
    tasks.spawn_local(async move {
        let (_leaving, _open, _permit) = (leaving, open, permit);
        if let Ok(stream) = TcpStream::from_std(stream) {
            serve_connection(listener, stream, peer).await;
        }
    });
}

/// A connection's task that panicked took only its own connection with it.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection was given up: this is a defect of the router");
    }
}

/// A connection that is counted; its drop says that it is over.
struct Leaving(Arc<AtomicUsize>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The routers as this worker serves them, in the order of the configuration.
fn routers(shared: &Shared, settings: &[RouterSettings], bell: &Rc<Bell>) -> Vec<Router> {
    let mut counts = shared.counts.iter();
    let mut routers = Vec::new();
    for (router, settings) in shared.routers.iter().zip(settings) {
        let bindings = Rc::new(router.bindings(settings, shared));
        let identifiers = Rc::new(Identifiers::new(&settings.identifiers, &settings.prefix));
        let upstreams = settings.upstreams;
        let listeners = router.listeners.iter().zip(&settings.listeners).zip(counts.by_ref());
        let listeners = listeners.map(|((listener, settings), counts)| {
            let service = Service {
                policy: Policy::new(settings.policy.clone()),
                identifiers: Rc::clone(&identifiers),
                bindings: Rc::clone(&bindings),
                limits: settings.limits,
                http2: settings.http2,
                upstreams,
                permits: permits(settings, counts),
                access: router
                    .access_log
                    .clone()
                    .map(|log| AccessLogger::new(log, &shared.registry, &router.label, &listener.label)),
                counters: Counters::new(&shared.registry, &router.label, &listener.label),
                buffers: Lender::default(),
                heads: Lender::default(),
                scratch: Lender::default(),
                streams: Tasks::default(),
                bell: Rc::clone(bell),
            };
            (Listener::new(service), counts.clone())
        });
        routers.push(Router { listeners: listeners.collect(), bindings });
    }
    routers
}
