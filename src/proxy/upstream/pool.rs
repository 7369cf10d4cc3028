//! Connections over HTTP/1 that wait for their next request: a worker's own, for one endpoint.

use super::settings::ClientSettings;
use crate::proxy::wire::connection::Connection;
use std::cell::RefCell;
use std::rc::Rc;
use tokio::time::Instant;

/// The connections of one worker to one endpoint that wait for a request.
#[derive(Debug, Default)]
pub(crate) struct Pool(RefCell<Vec<IdleConnection>>);

/// A connection that progress.
#[derive(Debug)]
struct IdleConnection {
    connection: Rc<Connection>,
    /// When a sweep first saw it: no request reads the clock for it.
    seen: Option<Instant>,
}

impl Pool {
    /// Takes the connection that waited the shortest, if there is one that is still good.
    ///
    /// For a request that cannot be sent twice the kernel is asked too, so that it is not written to a connection that
    /// the endpoint has closed.
    pub(crate) fn take(&self, repeatable: bool) -> Option<Rc<Connection>> {
        let mut idle = self.0.borrow_mut();
        while let Some(IdleConnection { connection, .. }) = idle.pop() {
            if !connection.is_stale(!repeatable) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for a later request, or closes it when there are enough.
    pub(crate) fn keep(&self, connection: Rc<Connection>, settings: &ClientSettings) {
        let mut idle = self.0.borrow_mut();
        if idle.len() < settings.max_idle_connections {
            idle.push(IdleConnection { connection, seen: None });
        }
    }

    /// Closes the connections that the endpoint has closed, or that waited too long.
    pub(crate) fn sweep(&self, now: Instant, settings: &ClientSettings) {
        let waited = |idle: &mut IdleConnection| now.saturating_duration_since(*idle.seen.get_or_insert(now));
        let is_kept = |idle: &mut IdleConnection| {
            waited(idle) < settings.idle_timeout && !idle.connection.is_stale(false)
        };
        self.0.borrow_mut().retain_mut(is_kept);
    }
}
