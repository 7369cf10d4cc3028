//! Connections that wait for their next request: a worker's own, per endpoint.

use super::balance::Member;
use super::http1::Conn;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// How many connections to one endpoint a worker keeps waiting; more are closed.
const KEPT: usize = 512;
/// How long a connection waits before it is closed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that waits.
#[derive(Debug)]
pub(crate) struct Idle {
    conn: Rc<Conn>,
    /// When a sweep first saw it: no request reads the clock for it.
    seen: Option<Instant>,
}

/// Takes the connection that waited the shortest, if there is one that is still good.
///
/// For a request that cannot be sent twice the kernel is asked too, so that it is not written to a connection that
/// the endpoint has closed.
pub(crate) fn take(member: &Member, repeatable: bool) -> Option<Rc<Conn>> {
    let mut idle = member.idle.borrow_mut();
    while let Some(Idle { conn, .. }) = idle.pop() {
        if !conn.is_stale(!repeatable) {
            return Some(conn);
        }
    }
    None
}

/// Keeps a connection for a later request.
pub(crate) fn keep(member: &Member, conn: Rc<Conn>) {
    let mut idle = member.idle.borrow_mut();
    if idle.len() < KEPT {
        idle.push(Idle { conn, seen: None });
    }
}

/// Closes the connections that the endpoint has closed, or that waited too long.
pub(crate) fn sweep(member: &Member, now: Instant) {
    let waited = |idle: &mut Idle| now.saturating_duration_since(*idle.seen.get_or_insert(now));
    member.idle.borrow_mut().retain_mut(|idle| waited(idle) < PATIENCE && !idle.conn.is_stale(false));
}
