//! The admin server, and the listener for metrics and probes. A reload may move each of them.

use super::Error;
use super::sockets::{BoundSocket, ClosingSocket, bind_socket, watch_socket};
use crate::admin::{self, AdminState, PageSet};
use crate::config::Admin;
use crate::drain::{Drain, Guard};
use crate::proxy::{DialGuard, SocketOptions};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use tokio::sync::oneshot;

/// The name of the admin server in errors.
pub(super) const ADMIN: &str = "the admin server";

/// The name of the listener for metrics in errors.
const METRICS: &str = "the listener for metrics";

/// The admin server and the listener for metrics, as they are in use.
#[derive(Debug, Default)]
pub(super) struct AdminServers {
    all: Option<AdminServer>,
    metrics: Option<AdminServer>,
}

/// One listener that serves pages.
#[derive(Debug)]
struct AdminServer {
    /// The address that is configured.
    configured: SocketAddr,
    /// The address that it has.
    address: SocketAddr,
    /// A second handle to its socket.
    socket: TcpListener,
    drain: Drain,
    closed: ClosingSocket,
}

/// The change of one of them.
#[derive(Debug)]
enum AdminChange<S> {
    /// It stays as it is.
    Same,
    /// It is no longer there.
    Gone,
    /// It is at another address.
    Moved(SocketAddr, S),
}

/// The change of both.
#[derive(Debug)]
pub(super) struct AdminPlan<S> {
    all: AdminChange<S>,
    metrics: AdminChange<S>,
}

/// The parts that serving needs: the state that is shown, the guard of the drain around, and the guard of the sockets.
pub(super) type ServingParts<'a> = (&'a AdminState, &'a Guard, &'a DialGuard);

impl AdminServers {
    /// Returns the address of the admin server.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.all.as_ref().map(|server| server.address)
    }

    /// Returns the address of the listener for metrics, if there is one.
    pub(super) fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|server| server.address)
    }

    /// Returns the drains of both. Their drop forces them.
    pub(super) fn into_drains(self) -> Vec<Drain> {
        [self.all, self.metrics].into_iter().flatten().map(|server| server.drain).collect()
    }

    /// Finds what changes by a configuration.
    pub(super) fn plan(&self, admin: &Admin) -> AdminPlan<()> {
        let metrics = admin.metrics.map(|metrics| metrics.address());
        AdminPlan {
            all: change(self.all.as_ref(), Some(admin.address())),
            metrics: change(self.metrics.as_ref(), metrics),
        }
    }

    /// Returns the sockets that are closed when this plan is carried out.
    pub(super) fn leaving(&self, plan: &AdminPlan<()>) -> Vec<&TcpListener> {
        let both = [(&self.all, &plan.all), (&self.metrics, &plan.metrics)];
        let leaving = both.into_iter().filter(|(_, change)| !matches!(change, AdminChange::Same));
        leaving.filter_map(|(server, _)| server.as_ref().map(|server| &server.socket)).collect()
    }

    /// Carries out a plan. A server that goes answers the requests that it has, within the grace.
    ///
    /// Returns the signals that the sockets of those are closed.
    pub(super) fn replace(
        &mut self,
        plan: AdminPlan<AdminSocket>,
        parts: ServingParts<'_>,
        grace: Duration,
    ) -> Vec<ClosingSocket> {
        let mut closing = Vec::new();
        let both =
            [(&mut self.all, plan.all, PageSet::All), (&mut self.metrics, plan.metrics, PageSet::Metrics)];
        for (server, change, pages) in both {
            let before = match change {
                AdminChange::Same => continue,
                AdminChange::Gone => server.take(),
                AdminChange::Moved(configured, socket) => {
                    server.replace(AdminServer::start(configured, socket, pages, parts))
                }
            };
            if let Some(AdminServer { address, drain, closed, .. }) = before {
                closing.push(closed);
                let dial_guard = parts.2.clone();
                tokio::spawn(async move {
                    drain.drain(Duration::ZERO, grace).await;
                    dial_guard.remove(address);
                });
            }
        }
        closing
    }
}

/// A socket that the runtime watches, its address, and a second handle to it.
#[derive(Debug)]
pub(super) struct AdminSocket {
    watched: tokio::net::TcpListener,
    address: SocketAddr,
    socket: TcpListener,
}

fn change(server: Option<&AdminServer>, configured: Option<SocketAddr>) -> AdminChange<()> {
    match configured {
        now if now == server.map(|server| server.configured) => AdminChange::Same,
        Some(address) => AdminChange::Moved(address, ()),
        None => AdminChange::Gone,
    }
}

impl AdminPlan<()> {
    /// Binds the sockets of those that move.
    pub(super) fn bind(self, leaving: &[&TcpListener]) -> Result<AdminPlan<AdminSocket>, Error> {
        Ok(AdminPlan { all: self.all.bind(ADMIN, leaving)?, metrics: self.metrics.bind(METRICS, leaving)? })
    }
}

impl AdminChange<()> {
    fn bind(self, what: &str, leaving: &[&TcpListener]) -> Result<AdminChange<AdminSocket>, Error> {
        let address = match self {
            Self::Same => return Ok(AdminChange::Same),
            Self::Gone => return Ok(AdminChange::Gone),
            Self::Moved(address, ()) => address,
        };
        let bound = bind_socket(what, address, &SocketOptions::default(), leaving)?;
        Ok(AdminChange::Moved(address, AdminSocket::watch(what, bound)?))
    }
}

impl AdminSocket {
    fn watch(what: &str, (socket, address): BoundSocket) -> Result<Self, Error> {
        let failed = |source| Error::Bind { what: what.to_owned(), address, source };
        let second = socket.try_clone().map_err(failed)?;
        Ok(Self { watched: watch_socket(what, (socket, address))?, address, socket: second })
    }
}

impl AdminServer {
    fn start(
        configured: SocketAddr,
        socket: AdminSocket,
        pages: PageSet,
        (state, guard, dial_guard): ServingParts<'_>,
    ) -> Self {
        let AdminSocket { watched, address, socket } = socket;
        dial_guard.add(address);
        let (drain, guard) = guard.inner();
        let (closing, closed) = oneshot::channel();
        tokio::spawn(admin::serve(watched, pages, state.clone(), guard, closing));
        Self { configured, address, socket, drain, closed }
    }
}
