//! A worker: one thread with its share of the connections.
//!
//! Control tells it by messages, in order, which listeners it has and how they are served.

mod listener_task;
mod routers;

use self::routers::WorkerRouters;
use super::bind::Bindings;
use super::downstream::{Acceptor, ListenerPart, RouterSettings};
use super::upstream::EndpointRegistry;
use crate::drain::{Guard, Stage};
use crate::interpret::NamerHandle;
use crate::telemetry::Registry;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// How often unused bindings and idle connections are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// The state that all workers share.
pub(crate) struct SharedState {
    pub(crate) namer_handle: NamerHandle,
    pub(crate) endpoint_registry: Arc<EndpointRegistry>,
    pub(crate) registry: Registry,
}

/// A message from control to a worker.
pub(crate) enum WorkerMessage {
    /// It has to run an acceptor, and tells whether its runtime can watch the socket.
    Open(Acceptor, oneshot::Sender<io::Result<()>>),
    /// These are all routers from now on, and these are its parts of the listeners that begin.
    Serve(Arc<[RouterSettings]>, Vec<ListenerPart>),
}

/// One worker, for the thread that runs it.
pub struct Worker {
    pub(crate) shared: Arc<SharedState>,
    pub(crate) messages: mpsc::UnboundedReceiver<WorkerMessage>,
    pub(crate) guard: Guard,
}

impl Worker {
    /// Serves the listeners it is given until the drain is over. The runtime must support tasks that are not `Send`.
    pub async fn run(self) {
        let Self { shared, mut messages, mut guard } = self;
        let mut routers = WorkerRouters::new(shared);
        // The acceptors and the listeners. They end with their drain, or with that of the process.
        let mut listening = JoinSet::new();
        let mut sweeping = JoinSet::new();
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut is_controlled, mut is_leaving) = (true, false);
        while !is_leaving || !listening.is_empty() {
            tokio::select! {
                message = messages.recv(), if is_controlled => match message {
                    Some(WorkerMessage::Open(acceptor, opened)) => {
                        // Without a receiver, nobody wants it any longer.
                        drop(opened.send(acceptor.open().map(|acceptor| {
                            listening.spawn_local(acceptor.run());
                        })));
                    }
                    Some(WorkerMessage::Serve(settings, begun)) => {
                        for task in routers.change(&settings, begun) {
                            listening.spawn_local(task.run());
                        }
                    }
                    None => is_controlled = false,
                },
                Some(ended) = listening.join_next() => log_panic(ended),
                _ = sweep.tick(), if sweeping.is_empty() => {
                    sweeping.spawn_local(sweep_all(routers.bindings()));
                }
                Some(swept) = sweeping.join_next() => log_panic(swept),
                stage = guard.next(), if !is_leaving => is_leaving = stage >= Stage::LastCall,
            }
        }
    }
}

/// Drops what the caches of a worker's routers have held unused for too long.
async fn sweep_all(bindings: Vec<Rc<Bindings>>) {
    for bindings in bindings {
        bindings.sweep().await;
    }
}

/// Logs the panic of a task. It ended that task only: one connection, as a rule.
fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a task of a worker panicked: this is a bug in the router");
    }
}
