//! One connection and its bytes, for either side: buffers, timers, bodies and framing of HTTP/1 and HTTP/2.
//!
//! Neither sides nor routing are known here.

pub(super) mod body;
pub(super) mod buffer;
pub(super) mod connection;
pub(super) mod http1;
pub(super) mod http2;
pub(super) mod object_pool;
pub(super) mod shutdown;
pub(super) mod sink;
pub(super) mod timer;
