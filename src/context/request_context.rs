use super::{Deadline, Trace};
use std::time::{Duration, SystemTime};

/// What one request carried, as [`Policy::enter`](super::Policy::enter) found it.
///
/// It is used again for the next request: its buffers are kept, so that in steady state nothing is allocated.
#[derive(Debug, Default)]
pub struct Context {
    pub(super) trusted: bool,
    pub(super) overrides: Vec<u8>,
    pub(super) deadline: Option<Deadline>,
    pub(super) trace: Trace,
    pub(super) dropped: u32,
    pub(super) call_depth: u32,
    /// Where values are written before they are appended to a head.
    pub(super) scratch: Vec<u8>,
}

impl Context {
    /// Makes the context of nothing yet: of a caller who is not trusted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the last request and keeps the memory.
    pub fn clear(&mut self) {
        let Self { trusted, overrides, deadline, trace, dropped, call_depth, scratch } = self;
        *trusted = false;
        overrides.clear();
        *deadline = None;
        *trace = Trace::default();
        *dropped = 0;
        *call_depth = 0;
        scratch.clear();
    }

    /// Returns whether the caller is trusted to steer its requests.
    pub fn trusted(&self) -> bool {
        self.trusted
    }

    /// Returns the override values as they came, for [`decode_overrides`](super::decode_overrides).
    ///
    /// They are a cache key: equal bytes are equal overrides, and none at all are no bytes.
    pub fn overrides(&self) -> &[u8] {
        &self.overrides
    }

    /// Returns when the caller stops waiting, if that is known.
    pub fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// Sets the deadline to `timeout` after `now`, unless an earlier one stands.
    pub fn limit(&mut self, now: SystemTime, timeout: Duration) {
        let own = Deadline::after(now, timeout);
        self.deadline = Some(self.deadline.map_or(own, |caller| caller.combined(own)));
    }

    /// Returns the position in its trace that the upstream is told.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Returns how many override fields were dropped because the caller is not trusted.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Returns how many proxies the request had passed when it came, by its `Via` fields.
    pub fn call_depth(&self) -> u32 {
        self.call_depth
    }
}
