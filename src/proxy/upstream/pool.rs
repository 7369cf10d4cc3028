//! The idle HTTP/1 connections of one worker to one endpoint.

use super::settings::ClientSettings;
use crate::proxy::wire::connection::Connection;
use std::cell::RefCell;
use std::rc::Rc;
use tokio::time::Instant;

/// The HTTP/1 connections of one worker to one endpoint that wait for a request.
#[derive(Debug, Default)]
pub(crate) struct Pool(RefCell<Vec<IdleConnection>>);

/// A connection that waits for a request.
#[derive(Debug)]
struct IdleConnection {
    connection: Rc<Connection>,
    /// The time when a sweep first saw it, so that no request reads the clock.
    idle_since: Option<Instant>,
}

impl Pool {
    /// Takes the connection that has waited for the shortest time, if any is still usable.
    ///
    /// For a request that is not `repeatable`, the kernel is asked too, so that the request is not written to a
    /// connection that the endpoint has closed.
    pub(crate) fn take(&self, repeatable: bool) -> Option<Rc<Connection>> {
        let mut idle = self.0.borrow_mut();
        while let Some(IdleConnection { connection, .. }) = idle.pop() {
            if !connection.is_stale(!repeatable) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for a later request, or closes it when the pool is full.
    pub(crate) fn keep(&self, connection: Rc<Connection>, settings: &ClientSettings) {
        let mut idle = self.0.borrow_mut();
        if idle.len() < settings.max_idle_connections {
            idle.push(IdleConnection { connection, idle_since: None });
        }
    }

    /// Closes the connections that the endpoint has closed, or that were idle for too long.
    pub(crate) fn sweep(&self, now: Instant, settings: &ClientSettings) {
        let idle_time =
            |idle: &mut IdleConnection| now.saturating_duration_since(*idle.idle_since.get_or_insert(now));
        let is_kept = |idle: &mut IdleConnection| {
            idle_time(idle) < settings.idle_timeout && !idle.connection.is_stale(false)
        };
        self.0.borrow_mut().retain_mut(is_kept);
    }
}
