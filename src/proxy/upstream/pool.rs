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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HeadLimits;
    use crate::proxy::wire::WireProtocol;
    use crate::proxy::wire::object_pool::ObjectPool;
    use crate::proxy::wire::transport::Transport;
    use std::io::Write as _;
    use tokio::net::TcpStream;

    /// Returns a connection whose peer has just sent bytes. The runtime has no turn before it is asked.
    async fn spoken_to() -> (Rc<Connection>, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().unwrap();
        far.write_all(b"a late body").unwrap();
        (Connection::new(Transport::Plain(near), ObjectPool::default()), far)
    }

    #[tokio::test]
    async fn a_connection_in_doubt_is_looked_at_before_it_is_used_again() {
        let heads = HeadLimits { line: 1, fields_bytes: 1, fields: 1 };
        let settings = ClientSettings::new(WireProtocol::Http1, heads);
        for (is_doubtful, is_taken) in [(false, true), (true, false)] {
            let (pool, (connection, _far)) = (Pool::default(), spoken_to().await);
            connection.set_doubtful(is_doubtful);
            pool.keep(connection, &settings);
            assert_eq!(pool.take(true).is_some(), is_taken, "{is_doubtful}");
        }
    }
}
