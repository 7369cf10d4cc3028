//! The bounds of listeners and connections.

use crate::message;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// What a listener bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Bounds on a request's head.
    pub heads: message::HeadLimits,
    /// How long a head may take from its first byte to its last: `headersTimeoutMs`.
    pub head: Duration,
    /// How long a connection may wait for a request: `serverSession.idleTimeMs`, or else
    /// `socketOptions.readTimeoutMs`.
    pub idle: Duration,
    /// How old a connection may become: `serverSession.lifeTimeMs`. The request that is being served then is its last.
    pub life: Option<Duration>,
    /// How long a request may take until its response begins: `timeoutMs`.
    pub request: Option<Duration>,
    /// How long a caller may send nothing of a body that is awaited, or take nothing of what is written to it: the
    /// shorter of `socketOptions.readTimeoutMs` and `socketOptions.writeTimeoutMs`. It is given up between once and
    /// twice that time.
    pub stalled: Duration,
    /// How many bytes an error's text may have: `maxErrResponseKB`.
    pub error_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heads: message::HeadLimits { line: 4 * 1024, fields_bytes: 8 * 1024, fields: 100 },
            head: Duration::from_secs(10),
            idle: Duration::from_secs(600),
            life: None,
            request: None,
            stalled: Duration::from_secs(60),
            error_bytes: 5120 * 1024,
        }
    }
}

impl Limits {
    /// How long a connection of that age may wait for a request.
    pub(crate) fn wait(&self, opened: Instant) -> Duration {
        // The clock is read only where the age matters.
        self.life.map_or(self.idle, |life| self.idle.min(life.saturating_sub(opened.elapsed())))
    }
}

/// How much of something there may be at once, `maxConcurrentRequests` or `maxConnections`: counted over all workers,
/// and nobody progress.
///
/// Another limit on the same count counts what was there before.
#[derive(Clone, Debug)]
pub(crate) struct Permits {
    limit: usize,
    taken: Arc<AtomicUsize>,
}

/// The right to one request or connection; its drop gives it back.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AtomicUsize>);

/// What is counted of one listener over all workers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Requests that are being served, while their number is limited.
    pub(crate) requests: Arc<AtomicUsize>,
    /// Connections that are open.
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Permits {
    pub(crate) fn new(limit: usize, taken: &Arc<AtomicUsize>) -> Self {
        Self { limit, taken: Arc::clone(taken) }
    }

    /// Takes one; None when as many as may be are taken.
    pub(crate) fn take(&self) -> Option<Permit> {
        if self.taken.fetch_add(1, Relaxed) >= self.limit {
            self.taken.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Permit(Arc::clone(&self.taken)))
    }

    /// Returns how many there may be at once.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// What is said to a peer, and bounded, on every HTTP/2 connection of a listener or of a router's upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Settings {
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

impl Default for Http2Settings {
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

impl Http2Settings {
    /// The most bytes of a field list: as it is said, else as the bounds on heads have it.
    pub(crate) fn header_list(&self, heads: &message::HeadLimits) -> u32 {
        let bytes = heads.line.saturating_add(heads.fields_bytes);
        self.max_header_list.unwrap_or_else(|| bytes.try_into().unwrap_or(u32::MAX))
    }
}
