//! One connection and its bytes, for either side: buffers, timers, bodies and framing of HTTP/1 and HTTP/2.
//!
//! Neither sides nor routing are known here.

pub(super) mod body;
pub(super) mod buffer;
pub(super) mod connection;
pub(super) mod frame_meter;
pub(super) mod http1;
pub(super) mod http2;
pub(super) mod object_pool;
mod receive_buffer;
pub(super) mod replay;
pub(super) mod shutdown;
pub(super) mod sink;
pub(super) mod timer;
pub(super) mod trailer_filter;
pub(super) mod transport;

/// The protocols that a connection can carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WireProtocol {
    /// HTTP/1.1, or 1.0.
    #[default]
    Http1,
    /// HTTP/2, from the first byte on.
    Http2,
}
