//! A worker: one thread's share of the connections, from the accepted socket to its end.

use super::Shared;
use super::access::AccessLogger;
use super::arrive::serve_connection;
use super::bind::Bindings;
use super::lend::Lender;
use super::listen::Accepted;
use super::metrics::Counters;
use super::patience::Bell;
use super::serve::Service;
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
        let bindings: Vec<_> =
            shared.routers.iter().map(|router| Rc::new(router.bindings(&shared))).collect();
        let services = services(&shared, &bindings, &bell);
        let mut tasks = JoinSet::new();
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(accepted) = mailbox.recv() => serve(accepted, &services, &connections, &mut tasks),
                Some(ended) = tasks.join_next() => report(ended),
                _ = sweep.tick() => bindings.iter().for_each(|bindings| bindings.sweep()),
                () = guard.reached(Stage::Stopping) => break,
            }
        }
        mailbox.close();
        // What was accepted before the stop is served.
        while let Ok(accepted) = mailbox.try_recv() {
            serve(accepted, &services, &connections, &mut tasks);
        }
        bell.ring();
        let mut forced = std::pin::pin!(guard.reached(Stage::Forced));
        loop {
            tokio::select! {
                ended = tasks.join_next() => match ended {
                    Some(ended) => report(ended),
                    None => break,
                },
                () = &mut forced => break,
            }
        }
        tasks.shutdown().await;
    }
}

/// Begins to serve a connection.
fn serve(
    accepted: Accepted,
    services: &[Rc<Service>],
    connections: &Arc<AtomicUsize>,
    tasks: &mut JoinSet<()>,
) {
    let leaving = Leaving(Arc::clone(connections));
    let Some(service) = services.get(accepted.listener).map(Rc::clone) else { return };
    let open = service.counters.connected();
    tasks.spawn_local(async move {
        let (_leaving, _open) = (leaving, open);
        if let Ok(stream) = TcpStream::from_std(accepted.stream) {
            serve_connection(service, stream, accepted.peer).await;
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

/// The listeners as this worker serves them, in the order of the configuration.
fn services(shared: &Shared, bindings: &[Rc<Bindings>], bell: &Rc<Bell>) -> Vec<Rc<Service>> {
    let mut permits = shared.permits.iter();
    let mut services = Vec::new();
    for (router, bindings) in shared.routers.iter().zip(bindings) {
        let identifiers = Rc::new(Identifiers::new(&router.identifiers, &router.prefix));
        for listener in &router.listeners {
            let access = router.access_log.clone();
            services.push(Rc::new(Service {
                policy: Policy::new(listener.policy.clone()),
                identifiers: Rc::clone(&identifiers),
                bindings: Rc::clone(bindings),
                limits: listener.limits,
                http2: listener.http2,
                upstreams: (router.protocol, router.http2),
                permits: permits.next().cloned().flatten(),
                access: access
                    .map(|log| AccessLogger::new(log, &shared.registry, &router.label, &listener.label)),
                counters: Counters::new(&shared.registry, &router.label, &listener.label),
                buffers: Lender::default(),
                heads: Lender::default(),
                scratch: Lender::default(),
                bell: Rc::clone(bell),
            }));
        }
    }
    services
}
