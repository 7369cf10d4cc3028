//! The caller's side, from a socket to requests: listening, protocol detection, the server halves of HTTP/1 and HTTP/2,
//! access lines.

mod access;
mod detect;
mod handle;
mod http1;
mod http2;
mod listen;
mod listener;
mod open_streams;
mod proxy_header;
mod settings;
mod stream;
mod tasks;
mod tunnel;

pub(super) use self::access::AccessLogger;
pub use self::access::{AccessFormat, AccessLog};
pub(super) use self::detect::{serve_after_preamble, serve_connection};
pub use self::handle::ListenerHandle;
pub(super) use self::handle::ListenerPart;
pub(super) use self::listen::{AcceptedConnection, Acceptor, ConnectionCount};
pub use self::listen::{bind, bind_beside, pause_after};
pub(super) use self::listener::{Listener, OpenConnection};
pub use self::proxy_header::{ProxiedCaller, ProxyHeader, ProxyHeaderError};
pub use self::settings::{
    AcceptSettings, ListenerId, ListenerSettings, RouterId, RouterSettings, SocketOptions,
};
