//! One connection and its bytes, for either side: buffers, timers, bodies and framing of HTTP/1 and HTTP/2.
//!
//! Neither sides nor routing are known here.

pub(super) mod body;
pub(super) mod conn;
pub(super) mod http1;
pub(super) mod http2;
pub(super) mod lend;
pub(super) mod patience;
pub(super) mod sink;
