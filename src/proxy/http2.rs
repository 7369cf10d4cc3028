//! HTTP/2 on both sides: connections with many streams, bodies, the caller's side and the upstream's side of an
//! exchange.
//!
//! The protocol itself is the `h2` crate's: frames, field compression, the states of streams, the windows. What is
//! here passes from one side to the other what must not be lost between them: credit, so that a slow reader slows the
//! sender; the code of a reset; the end of a connection.
//!
//! Bytes that came over HTTP/2 are not copied; those of HTTP/1 are, once, towards HTTP/2, where they are kept until
//! the peer's window opens.

mod body;
mod client;
mod server;
mod stream;
mod tasks;

pub(crate) use self::body::{Data, Incoming, Outgoing};
pub(crate) use self::client::{Connections, Exchange, send};
pub(crate) use self::server::{PREFACE, serve_connection};
pub(crate) use self::stream::{Reply, Stream};
pub(crate) use self::tasks::Tasks;

use crate::message::HeadLimits;
use bytes::Bytes;
use h2::{Reason, SendStream};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// What is said to a peer, and bounded, on every HTTP/2 connection of a listener or of a router's upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2 {
    /// How many streams a caller may have open at once: `maxConcurrentStreamsPerConnection`. One more is refused, and
    /// may be sent again.
    pub max_streams: u32,
    /// How many bytes of a body may come before some are passed on: `initialStreamWindowBytes`.
    pub stream_window: u32,
    /// How many bytes of all the bodies on a caller's connection may; an endpoint's has no such bound, for many callers
    /// share it.
    pub connection_window: u32,
    /// The size of the table of compressed fields that the peer may use: `headerTableBytes`.
    pub header_table: u32,
    /// The most bytes of a frame: `maxFrameBytes`.
    pub max_frame: u32,
    /// The most bytes of a field list: `maxHeaderListBytes`. None leaves it to the bounds on heads.
    pub max_header_list: Option<u32>,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            max_streams: 1000,
            stream_window: 65_535,
            // Some 250 bodies whose endpoints take nothing must not stop the others of a router in front.
            connection_window: 16 << 20,
            header_table: 4096,
            max_frame: 16_384,
            max_header_list: None,
        }
    }
}

impl Http2 {
    /// The most bytes of a field list: as it is said, else as the bounds on heads have it.
    fn header_list(&self, heads: &HeadLimits) -> u32 {
        let bytes = heads.line.saturating_add(heads.fields_bytes);
        self.max_header_list.unwrap_or_else(|| bytes.try_into().unwrap_or(u32::MAX))
    }
}

/// How many bytes of one stream wait to be written, beside what the peer's window bounds.
const SEND_BUFFER: usize = 32 * 1024;

/// How long a connection that was said goodbye to may take to end when it has no stream, and a body to arrive that an
/// endpoint has answered already.
const LINGER: Duration = Duration::from_secs(2);

/// The sending half of a stream, shared by who writes the body and who may have to reset it.
type Sending = Rc<RefCell<SendStream<Bytes>>>;

/// What went wrong on a stream, as other sources of bytes say it.
fn io_error(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
    }
    io::Error::other(error)
}

/// The code with which a peer reset the stream, if that is what went wrong.
fn reset_code(error: &io::Error) -> Option<Reason> {
    let error = error.get_ref()?.downcast_ref::<h2::Error>()?;
    if error.is_remote() && error.is_reset() { error.reason() } else { None }
}

/// The code with which a peer ended a stream that it has not answered.
///
/// One that went away before it looked at the stream has refused it: that may be sent again, by who still has it (RFC
/// 9113 8.7).
fn refusal_code(error: &io::Error) -> Option<Reason> {
    let went_away = |error: &h2::Error| error.is_remote() && error.is_go_away();
    match error.get_ref()?.downcast_ref::<h2::Error>() {
        Some(error) if went_away(error) => Some(Reason::REFUSED_STREAM),
        _ => reset_code(error),
    }
}
