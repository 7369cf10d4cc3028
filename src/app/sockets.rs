//! Binds listening sockets. An error names the listener, with its place in the configuration.

use super::Error;
use crate::proxy::{SocketOptions, bind_beside};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use tokio::sync::oneshot;

/// A bound socket, and the address that it has.
pub(super) type BoundSocket = (TcpListener, SocketAddr);

/// The signal that a socket is closed: its sender is dropped.
pub(super) type ClosingSocket = oneshot::Receiver<()>;

/// How long a reload waits for a socket to be closed, so that its address is free afterwards.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits until sockets are closed.
pub(super) async fn closed(sockets: Vec<ClosingSocket>) {
    let all = async {
        for socket in sockets {
            // The error is the news.
            let _ = socket.await;
        }
    };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, all).await;
}

/// Binds one socket; `what` names it in errors, and `leaving` are sockets of this process that are going to be closed.
pub(super) fn bind_socket(
    what: &str,
    address: SocketAddr,
    options: &SocketOptions,
    leaving: &[&TcpListener],
) -> Result<BoundSocket, Error> {
    let failed = |source| Error::Bind { what: what.to_owned(), address, source };
    let socket = bind_beside(address, options, leaving).map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    Ok((socket, bound))
}

/// Has the runtime watch a listening socket; `what` names it in errors.
pub(super) fn watch_socket(
    what: &str,
    (socket, address): BoundSocket,
) -> Result<tokio::net::TcpListener, Error> {
    let failed = |source| Error::Bind { what: what.to_owned(), address, source };
    tokio::net::TcpListener::from_std(socket).map_err(failed)
}
