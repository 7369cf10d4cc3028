//! The connections of one listener on one worker, from the accepted socket to their end.

use crate::drain::{Guard, Stage};
use crate::proxy::downstream::{
    AcceptedConnection, ConnectionCount, Listener, OpenConnection, serve_after_preamble, serve_connection,
};
use std::pin::pin;
use std::rc::Rc;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The task that has the connections of one listener on one worker.
pub(super) struct ListenerTask {
    pub(super) listener: Rc<Listener>,
    /// The connections that the acceptor hands over. It is closed when the acceptor has ended.
    pub(super) incoming: mpsc::UnboundedReceiver<(AcceptedConnection, ConnectionCount)>,
    pub(super) guard: Guard,
}

impl ListenerTask {
    /// Serves the connections until no more can come and the last has ended, or the drain forces them.
    pub(super) async fn run(self) {
        let Self { listener, mut incoming, mut guard } = self;
        let mut connections = JoinSet::new();
        let mut accepting = true;
        'serving: loop {
            // Made once for each stage, and not for each connection.
            let mut next_stage = pin!(guard.next());
            let stage = loop {
                if !accepting && connections.is_empty() {
                    break 'serving;
                }
                tokio::select! {
                    accepted = incoming.recv(), if accepting => match accepted {
                        Some((accepted, counted)) => {
                            connections.spawn_local(serve(Rc::clone(&listener), accepted, counted));
                        }
                        None => accepting = false,
                    },
                    Some(ended) = connections.join_next() => super::log_panic(ended),
                    stage = &mut next_stage => break stage,
                }
            };
            match stage {
                Stage::Open | Stage::Leaving => {}
                Stage::LastCall => listener.shutdown().announce(),
                Stage::Stopping => listener.shutdown().send(),
                Stage::Forced => break,
            }
        }
        connections.shutdown().await;
    }
}

/// Returns the work of serving a connection, for a task of its own.
fn serve(
    listener: Rc<Listener>,
    accepted: AcceptedConnection,
    counted: ConnectionCount,
) -> impl Future<Output = ()> {
    let open = OpenConnection::new(&listener);
    async move {
        let _counts = (counted, open);
        let AcceptedConnection { stream, peer, place } = accepted;
        if let Ok(stream) = TcpStream::from_std(stream) {
            if listener.has_preamble() {
                // Boxed, so that connections without TLS do not pay for its size.
                Box::pin(serve_after_preamble(listener, stream, peer, place)).await;
            } else {
                serve_connection(listener, stream, peer, place).await;
            }
        }
    }
}
