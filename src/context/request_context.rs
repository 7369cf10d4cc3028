//! The context of one request.

use super::{Deadline, RemovalKind, Removals, Timestamp, Trace};
use std::time::Duration;

/// The context that one request carried, as [`Policy::enter`](super::Policy::enter) found it.
///
/// It is used again for the next request. Its buffers are kept, so that in a steady state nothing is allocated.
#[derive(Debug, Default)]
pub struct Context {
    pub(super) overrides: Vec<u8>,
    /// How many bytes of these the caller sent; those that `inject` gave follow.
    pub(super) from_caller: usize,
    /// Whether the caller named a tenant, on a listener that trusts by being on loopback.
    pub(super) names_tenant: bool,
    /// Whether a member of `baggage` names a tenant, spelt exactly.
    pub(super) has_tenant_member: bool,
    /// The keys of sandboxes, joined by `+`.
    pub(super) sandbox_keys: String,
    /// The position of the first rule of `inject` that gives the request a tenant, if it has none.
    pub(super) tenant_rule: Option<usize>,
    pub(super) deadline: Option<Deadline>,
    pub(super) trace: Trace,
    pub(super) removals: Removals,
    pub(super) call_depth: u32,
    /// The buffer for values before they are appended to a head.
    pub(super) scratch: Vec<u8>,
}

impl Context {
    /// Makes an empty context: that of an untrusted caller.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the context of a copy of a request: it is in the same trace, and has nothing else of it.
    pub fn traced_alike(&self) -> Self {
        Self { trace: self.trace, call_depth: self.call_depth, ..Self::default() }
    }

    /// Forgets the last request and keeps the memory.
    pub fn clear(&mut self) {
        let Self {
            overrides,
            from_caller,
            names_tenant,
            has_tenant_member,
            sandbox_keys,
            tenant_rule,
            deadline,
            trace,
            removals,
            call_depth,
            scratch,
        } = self;
        overrides.clear();
        *from_caller = 0;
        *names_tenant = false;
        *has_tenant_member = false;
        sandbox_keys.clear();
        *tenant_rule = None;
        *deadline = None;
        *trace = Trace::default();
        *removals = Removals::default();
        *call_depth = 0;
        scratch.clear();
    }

    /// Returns the override values as received, percent-encoded in what came in `baggage`, for
    /// [`decode_overrides`](super::decode_overrides).
    ///
    /// They are a cache key: equal bytes are equal overrides, and no bytes are no overrides.
    pub fn overrides(&self) -> &[u8] {
        &self.overrides
    }

    /// Returns the keys of sandboxes that the request selects, joined by `+`, each once, in the order of their precedence:
    /// 16 at most. A value that is no key is among them, changed so that it is never found.
    pub fn sandbox_keys(&self) -> &str {
        &self.sandbox_keys
    }

    /// Returns whether the caller steers, as it may: it sent overrides, or, on a listener that trusts by being on loopback,
    /// named a tenant.
    pub fn is_steered_by_caller(&self) -> bool {
        self.from_caller > 0 || self.names_tenant
    }

    /// Returns the time at which the caller stops waiting, if that is known.
    pub fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// Sets the deadline to `timeout` after `now`, unless there is an earlier one.
    pub fn limit(&mut self, now: Timestamp, timeout: Duration) {
        let own = Deadline::after(now, timeout);
        self.deadline = Some(self.deadline.map_or(own, |caller| caller.combined(own)));
    }

    /// Replaces the deadline, by that of one attempt for example; returns the one before.
    pub fn replace_deadline(&mut self, deadline: Option<Deadline>) -> Option<Deadline> {
        std::mem::replace(&mut self.deadline, deadline)
    }

    /// Returns the position in its trace that is sent to the upstream.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Returns the counts of what was removed from the request because its caller may not send it.
    pub fn removals(&self) -> &Removals {
        &self.removals
    }

    /// Returns the number of override fields, and of `dtab` members of `baggage` and its like, that were dropped because
    /// the caller is not trusted.
    pub fn dropped(&self) -> u32 {
        self.removals.of(RemovalKind::Override)
    }

    /// Returns the number of proxies that the request had passed when it came, by its `Via` fields.
    pub fn call_depth(&self) -> u32 {
        self.call_depth
    }
}
