//! The caller's side, from a socket to requests: listening, protocol detection, the server halves of HTTP/1 and HTTP/2,
//! access lines.

mod access;
mod detect;
mod http1;
mod http2;
mod listen;
mod listener;
mod open_streams;
mod peer_requests;
mod proxy_header;
mod settings;
mod stream;
mod tasks;
mod tunnel;

pub(super) use self::access::AccessLogger;
pub use self::access::{AccessFormat, AccessLog};
pub(super) use self::detect::{serve_connection, serve_disguised};
pub(super) use self::listen::{AcceptedConnection, Acceptor, OpenAcceptor, WorkerHandle};
pub use self::listen::{bind, pause_after};
pub(super) use self::listener::Listener;
pub use self::settings::{ListenerConfig, ListenerSettings, RouterConfig, RouterSettings, SocketOptions};
