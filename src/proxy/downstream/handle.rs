//! A listener as control holds it: it is opened, given settings, begun, and closed.

use super::listen::{
    AcceptedConnection, Acceptor, ActiveSettings, ConnectionCount, WorkerPort, apply_options,
};
use super::settings::{AcceptSettings, ListenerId};
use crate::drain::{Drain, Guard};
use crate::proxy::limits::Counts;
use crate::proxy::metrics::{AcceptCounters, ListenerLabels};
use crate::telemetry::Registry;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// A bound listener, as control holds it. Its drop forces it to end.
#[derive(Debug)]
pub struct ListenerHandle {
    id: ListenerId,
    address: SocketAddr,
    socket: Arc<TcpListener>,
    settings: watch::Sender<ActiveSettings>,
    /// The labels of its metrics: the router's and its own.
    labels: (String, String),
    drain: Drain,
    /// The parts of it that workers receive, and the signal by which it begins to accept; until it has begun.
    beginning: Option<(Vec<ListenerPart>, oneshot::Sender<()>)>,
    closed: oneshot::Receiver<()>,
}

/// The part of a listener that one worker receives.
#[derive(Debug)]
pub(crate) struct ListenerPart {
    pub(crate) id: ListenerId,
    pub(crate) incoming: mpsc::UnboundedReceiver<(AcceptedConnection, ConnectionCount)>,
    pub(crate) counts: Counts,
    pub(crate) guard: Guard,
}

impl ListenerHandle {
    /// Makes the handle of a bound socket, and its acceptor, for workers that have so many connections. Its drain is within
    /// that of the guard.
    ///
    /// # Errors
    ///
    /// The system does not tell the address of the socket.
    pub(crate) fn new(
        id: u64,
        socket: TcpListener,
        workers: impl Iterator<Item = Arc<AtomicUsize>>,
        guard: &Guard,
    ) -> io::Result<(Self, Acceptor)> {
        let (id, address, socket) = (ListenerId(id), socket.local_addr()?, Arc::new(socket));
        let (drain, guard) = guard.inner();
        let counts = Counts::default();
        let (mut parts, mut ports) = (Vec::new(), Vec::new());
        for connections in workers {
            let (sender, incoming) = mpsc::unbounded_channel();
            ports.push(WorkerPort { connections, sender });
            parts.push(ListenerPart { id, incoming, counts: counts.clone(), guard: guard.clone() });
        }
        let accept = AcceptSettings::default();
        let (settings, receiver) = watch::channel(ActiveSettings { accept, counters: None });
        let ((begin, begun), (closing, closed)) = (oneshot::channel(), oneshot::channel());
        let acceptor = Acceptor {
            socket: Arc::clone(&socket),
            address,
            settings: receiver,
            open: counts.connections,
            workers: ports,
            begin: begun,
            guard,
            closed: closing,
        };
        let beginning = Some((parts, begin));
        let labels = Default::default();
        Ok((Self { id, address, socket, settings, labels, drain, beginning, closed }, acceptor))
    }

    /// Returns the identity of the listener.
    pub const fn id(&self) -> ListenerId {
        self.id
    }

    /// Returns the address on which it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its socket.
    pub fn socket(&self) -> &TcpListener {
        &self.socket
    }

    /// Applies settings to the connections that it accepts from now on, and to its socket.
    pub(crate) fn configure(
        &mut self,
        registry: &Registry,
        router: &str,
        label: &str,
        accept: AcceptSettings,
    ) {
        let is_other_socket = self.settings.borrow().accept.socket != accept.socket;
        if is_other_socket && let Err(error) = apply_options(&self.socket, &accept.socket) {
            tracing::warn!(%error, address = %self.address, "the system does not take the options of a listener");
        }
        let is_new = (self.labels.0.as_str(), self.labels.1.as_str()) != (router, label);
        if is_new {
            self.labels = (router.to_owned(), label.to_owned());
        }
        self.settings.send_modify(|active| {
            active.accept = accept;
            if is_new {
                active.counters =
                    Some(AcceptCounters::new(registry, ListenerLabels { router, server: label }));
            }
        });
    }

    /// Takes the parts that workers receive, one for each, and the signal by which it begins to accept; `None` when it has
    /// begun.
    pub(crate) fn begin(&mut self) -> Option<(Vec<ListenerPart>, oneshot::Sender<()>)> {
        self.beginning.take()
    }

    /// Returns the drain of the listener, which ends with that around it as well.
    pub fn into_drain(self) -> Drain {
        self.drain
    }

    /// Closes the listener: connections that the system has accepted already are served, then the socket is closed, and all
    /// connections are drained as [`Drain::drain`] does it. No worker has to serve it under its settings any longer.
    ///
    /// Returns the drain, which has to be polled, and the signal that the socket is closed.
    pub fn close(
        self,
        last_call: Duration,
        grace: Duration,
    ) -> (impl Future<Output = bool> + Send + use<>, oneshot::Receiver<()>) {
        let Self { drain, closed, .. } = self;
        (drain.drain(last_call, grace), closed)
    }
}
