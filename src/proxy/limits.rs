//! The bounds of listeners and connections.

mod connection_activity;
mod connection_table;
#[cfg(test)]
mod counted_task;
mod peer_address;
mod peer_requests;

pub(crate) use self::connection_table::{ConnectionLimits, ConnectionPlace, ConnectionTable};
#[cfg(test)]
pub(crate) use self::counted_task::CountedTask;
pub(crate) use self::peer_address::PeerAddress;
pub(crate) use self::peer_requests::{CountedRequest, PeerCounts, PeerRequests};

use crate::message;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// The bounds of one listener on its requests and connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Bounds on a request's head.
    pub heads: message::HeadLimits,
    /// How long a head may take from its first byte to its last, the first head of a connection from its accept:
    /// `headersTimeoutMs`.
    pub head: Duration,
    /// How long a connection may wait for a request: `serverSession.idleTimeMs`, or else
    /// `socketOptions.readTimeoutMs`.
    pub idle: Duration,
    /// How old a connection may become: `serverSession.lifeTimeMs`. The request that is being served then is its last.
    pub life: Option<Duration>,
    /// How long a request may take until its response begins: `timeoutMs`.
    pub request: Option<Duration>,
    /// How long a caller may stall: send no bytes of a body that the router waits for, or read none of the bytes
    /// written to it. It is the shorter of `socketOptions.readTimeoutMs` and `socketOptions.writeTimeoutMs`. The
    /// request is given up after once to twice that time.
    pub stalled: Duration,
    /// How many bytes an error's text may have: `maxErrResponseKB`.
    pub error_bytes: usize,
    /// How many requests one peer address may have under way on a worker, unless it is trusted: `maxRequestsPerPeer`.
    pub peer_requests: usize,
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
            peer_requests: 1000,
        }
    }
}

impl Limits {
    /// Returns how long a connection opened at `opened` may wait for a request.
    pub(crate) fn wait(&self, opened: Instant) -> Duration {
        // The clock is read only where the age matters.
        self.life.map_or(self.idle, |life| self.idle.min(life.saturating_sub(opened.elapsed())))
    }
}

/// A limit on how many requests are served at once (`maxConcurrentRequests`), counted over all workers. Taking a permit
/// never waits.
///
/// A new limit on the same count includes the permits that were taken under the old one.
#[derive(Clone, Debug)]
pub(crate) struct Permits {
    limit: usize,
    taken: Arc<AtomicUsize>,
}

/// The permit for one request. Its drop returns it.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AtomicUsize>);

/// The counts of one listener over all workers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Requests that are being served, while their number is limited.
    pub(crate) requests: Arc<AtomicUsize>,
    /// Connections that are open.
    pub(crate) connections: Arc<ConnectionTable>,
    /// The turns of its log lines about requests that were not carried.
    pub(crate) log_turns: Arc<LogTurns>,
}

/// The turns of a listener's log lines, over all workers: one a second.
#[derive(Debug)]
pub(crate) struct LogTurns {
    began: Instant,
    /// The time of the next turn, in milliseconds since the beginning.
    next: AtomicU64,
    /// How many lines found no turn since the last one that did.
    skipped: AtomicU64,
}

impl Default for LogTurns {
    fn default() -> Self {
        Self { began: Instant::now(), next: AtomicU64::new(0), skipped: AtomicU64::new(0) }
    }
}

impl LogTurns {
    const PAUSE: Duration = Duration::from_secs(1);

    /// Takes a turn, if it is time for one; returns how many lines were left out before it.
    pub(crate) fn take(&self) -> Option<u64> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (now, next) = (millis(self.began.elapsed()), self.next.load(Relaxed));
        let after = now.saturating_add(millis(Self::PAUSE));
        // Of several workers, one gets the turn.
        if now >= next && self.next.compare_exchange(next, after, Relaxed, Relaxed).is_ok() {
            return Some(self.skipped.swap(0, Relaxed));
        }
        self.skipped.fetch_add(1, Relaxed);
        None
    }
}

impl Permits {
    pub(crate) fn new(limit: usize, taken: &Arc<AtomicUsize>) -> Self {
        Self { limit, taken: Arc::clone(taken) }
    }

    /// Takes a permit; None when the limit is reached.
    pub(crate) fn take(&self) -> Option<Permit> {
        if self.taken.fetch_add(1, Relaxed) >= self.limit {
            self.taken.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Permit(Arc::clone(&self.taken)))
    }

    /// Returns the limit.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The HTTP/2 settings that are sent to a peer on every connection of a listener, or of a router's clients, and the
/// bounds that follow from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Settings {
    /// How many streams a caller may have open at once: `maxConcurrentStreamsPerConnection`. A stream beyond
    /// them is refused, and the caller may send it again. If None, a caller may have 1,000 if it is trusted, and 100
    /// otherwise.
    pub max_streams: Option<u32>,
    /// How many bytes of one body a peer may send before some are passed on: `initialStreamWindowBytes`.
    pub stream_window: u32,
    /// The size in bytes of the table of compressed fields that the peer may use: `headerTableBytes`.
    pub header_table: u32,
    /// The most bytes in one frame: `maxFrameBytes`.
    pub max_frame: u32,
    /// The most bytes in one field list: `maxHeaderListBytes`. If None, the bounds on heads apply.
    pub max_header_list: Option<u32>,
}

impl Default for Http2Settings {
    fn default() -> Self {
        Self {
            max_streams: None,
            stream_window: 65_535,
            header_table: 4096,
            max_frame: 16_384,
            max_header_list: None,
        }
    }
}

impl Http2Settings {
    /// Returns how many streams a caller may have open at once: by default as many as Linkerd 1 allows one that is trusted
    /// (with fewer, a caller of many long calls would stand still without an error), and the least that RFC 9113 6.5.2
    /// recommends to others.
    pub(crate) fn streams(&self, is_trusted: bool) -> u32 {
        self.max_streams.unwrap_or(if is_trusted { 1000 } else { 100 })
    }

    /// Returns how many bytes of all bodies on one connection a caller may send before some are passed on: a single body may use
    /// its whole window. An endpoint's connection has no such bound, because many callers share it.
    ///
    /// About 250 bodies of a trusted caller whose endpoints read nothing do not stop its other streams: it may be a router in
    /// front of this one. Four bodies of another caller do, so that its connections take little, however many there are.
    pub(crate) fn connection_window(&self, is_trusted: bool) -> u32 {
        let bytes = if is_trusted { 16 << 20 } else { 256 << 10 };
        self.stream_window.max(bytes)
    }

    /// Returns the most bytes in one field list: the configured bound, or else that of a head's line and fields.
    pub(crate) fn header_list(&self, heads: &message::HeadLimits) -> u32 {
        let bytes = heads.line.saturating_add(heads.fields_bytes);
        self.max_header_list.unwrap_or_else(|| bytes.try_into().unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_log_line_has_a_turn_once_a_second() {
        let turns = LogTurns::default();
        assert_eq!([turns.take(), turns.take(), turns.take()], [Some(0), None, None]);
        tokio::time::advance(Duration::from_millis(999)).await;
        assert_eq!(turns.take(), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!([turns.take(), turns.take()], [Some(3), None]);
    }
}
