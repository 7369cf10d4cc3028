//! HTTP/1 on both sides: connections, bodies, the caller's side and the upstream's side of an exchange.

mod body;
mod client;
mod conn;
mod server;

pub(crate) use self::body::Incoming;
pub(crate) use self::client::{MOST_INTERIM, Upstream, relay_interim, repeatable, send};
pub(crate) use self::conn::{Conn, Piece};
pub(crate) use self::server::serve_connection;
