//! The idle HTTP/1 connections of one worker to one endpoint.

use super::settings::ClientSettings;
use crate::proxy::exchange::AttemptTime;
use crate::proxy::wire::connection::Connection;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::time::Instant;

/// The HTTP/1 connections of one worker to one endpoint that wait for a request.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: RefCell<Vec<IdleConnection>>,
    /// The time before which connections were opened that are not kept any more.
    left: Cell<Option<Instant>>,
}

/// A connection that waits for a request.
#[derive(Debug)]
struct IdleConnection {
    connection: Rc<Connection>,
    /// The time when a sweep first saw it, so that no request reads the clock.
    idle_since: Option<Instant>,
}

impl Pool {
    /// Takes the connection that has waited for the shortest time, if any is still usable at the time of the attempt.
    ///
    /// For a request that is not `repeatable`, the kernel is asked too, so that the request is not written to a
    /// connection that the endpoint has closed.
    pub(crate) fn take(
        &self,
        repeatable: bool,
        settings: &ClientSettings,
        time: &AttemptTime,
    ) -> Option<Rc<Connection>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(IdleConnection { connection, .. }) = idle.pop() {
            let is_old = settings.connection_life.is_some_and(|life| connection.is_older(life, time.get()));
            if !is_old && !connection.is_stale(!repeatable) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for a later request, or closes it when the pool is full. Its age is asked for when it is taken.
    pub(crate) fn keep(&self, connection: Rc<Connection>, settings: &ClientSettings) {
        let is_left = self.left.get().is_some_and(|left| connection.opened() <= left);
        if is_left {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() < settings.max_idle_connections {
            idle.push(IdleConnection { connection, idle_since: None });
        }
    }

    /// Closes all connections that wait, and those that serve a request as soon as that ends.
    pub(crate) fn leave(&self) {
        self.left.set(Some(Instant::now()));
        self.idle.borrow_mut().clear();
    }

    /// Closes the connections that the endpoint has closed, that have had their time, or that were idle for too long; of the
    /// last, `hostConnectionPool.minSize` stay, those that were used last. One whose buffer may be large is closed when it
    /// waits for the second sweep: a caller of the next response that reads nothing would fill that buffer.
    pub(crate) fn sweep(&self, now: Instant, settings: &ClientSettings) {
        let mut idle = self.idle.borrow_mut();
        let is_old = |connection: &Connection| {
            settings.connection_life.is_some_and(|life| connection.is_older(life, now))
        };
        idle.retain(|idle| !idle.connection.is_stale(false) && !is_old(&idle.connection));
        let mut surplus = idle.len().saturating_sub(settings.min_idle_connections);
        idle.retain_mut(|idle| {
            let is_seen_again = idle.idle_since.is_some();
            let idle_time = now.saturating_duration_since(*idle.idle_since.get_or_insert(now));
            let is_large = is_seen_again && idle.connection.may_have_large_buffer();
            let is_closed = is_large || (surplus > 0 && idle_time >= settings.idle_timeout);
            surplus = surplus.saturating_sub(is_closed.into());
            !is_closed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Framing, HeadLimits};
    use crate::proxy::wire::WireProtocol;
    use crate::proxy::wire::http1::Http1Reader;
    use crate::proxy::wire::object_pool::ObjectPool;
    use crate::proxy::wire::transport::Transport;
    use std::io::Write as _;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::advance;

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
            let taken = pool.take(true, &settings, &AttemptTime::default());
            assert_eq!(taken.is_some(), is_taken, "{is_doubtful}");
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_connection_whose_buffer_may_be_large_does_not_wait_for_long() {
        const LENGTH: usize = 1 << 20;
        let heads = HeadLimits { line: 1, fields_bytes: 1, fields: 1 };
        let settings = ClientSettings::new(WireProtocol::Http1, heads);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let connection = Connection::new(Transport::Plain(near), ObjectPool::default());
        let mut body = Http1Reader::of_response(Rc::clone(&connection), Framing::Length(LENGTH as u64));
        let reading = async { while body.next().await.unwrap().is_some() {} };
        let (sent, ()) = tokio::join!(far.write_all(&[b'x'; LENGTH]), reading);
        sent.unwrap();

        let pool = Pool::default();
        pool.keep(connection, &settings);
        pool.sweep(Instant::now(), &settings);
        assert_eq!(pool.idle.borrow().len(), 1);
        pool.sweep(Instant::now(), &settings);
        assert_eq!(pool.idle.borrow().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_end_but_for_the_least_number_until_their_life_is_over() {
        let heads = HeadLimits { line: 1, fields_bytes: 1, fields: 1 };
        let settings = ClientSettings {
            min_idle_connections: 2,
            idle_timeout: Duration::from_secs(60),
            connection_life: Some(Duration::from_secs(600)),
            ..ClientSettings::new(WireProtocol::Http1, heads)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (pool, mut far) = (Pool::default(), Vec::new());
        for _ in 0..3 {
            let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            far.push(listener.accept().await.unwrap());
            pool.keep(Connection::new(Transport::Plain(near), ObjectPool::default()), &settings);
        }
        pool.sweep(Instant::now(), &settings);
        assert_eq!(pool.idle.borrow().len(), 3, "they have just become idle");
        advance(Duration::from_secs(60)).await;
        pool.sweep(Instant::now(), &settings);
        assert_eq!(pool.idle.borrow().len(), 2);
        let kept = pool.take(true, &settings, &AttemptTime::default()).expect("two wait");
        advance(Duration::from_secs(540)).await;
        pool.keep(kept, &settings);
        assert!(pool.take(true, &settings, &AttemptTime::default()).is_none(), "its life was over");
        assert_eq!(pool.idle.borrow().len(), 0, "and that of the other, which was opened before");
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        pool.keep(Connection::new(Transport::Plain(near), ObjectPool::default()), &settings);
        pool.sweep(Instant::now(), &settings);
        assert_eq!(pool.idle.borrow().len(), 1);
        advance(Duration::from_secs(600)).await;
        pool.sweep(Instant::now(), &settings);
        assert_eq!(pool.idle.borrow().len(), 0);
    }
}
