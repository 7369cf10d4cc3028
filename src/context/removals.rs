//! The counts of what was removed from a request because its caller may not send it.

use super::steering::Steering;

/// The kind of a part that was removed from a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RemovalKind {
    /// `override`: a field or a member of a list that holds dtab entries.
    Override,
    /// `l5d`: any other field that begins with `l5d-`, or one of its spellings.
    L5d,
    /// `tenant`: a field, a member of a list or a query parameter that names a tenant.
    Tenant,
    /// `malformed`: a malformed member of `baggage`.
    Malformed,
    /// `trace`: `traceparent`, or a `tracestate` in which a member steers.
    Trace,
    /// `forwarded`: a field that says over which hops the request came, such as `X-Forwarded-For`.
    Forwarded,
    /// `trailer`: a field of any of these kinds that came behind the body. It is counted when the body is over.
    Trailer,
}

impl RemovalKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Override,
        Self::L5d,
        Self::Tenant,
        Self::Malformed,
        Self::Trace,
        Self::Forwarded,
        Self::Trailer,
    ];

    /// Returns its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Override => "override",
            Self::L5d => "l5d",
            Self::Tenant => "tenant",
            Self::Malformed => "malformed",
            Self::Trace => "trace",
            Self::Forwarded => "forwarded",
            Self::Trailer => "trailer",
        }
    }
}

impl From<Steering> for RemovalKind {
    fn from(steering: Steering) -> Self {
        match steering {
            Steering::Dtab => Self::Override,
            Steering::Tenant => Self::Tenant,
        }
    }
}

/// The numbers of parts that were removed from one request, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Removals([u32; RemovalKind::ALL.len()]);

impl Removals {
    /// Returns the number of parts of a kind.
    pub fn of(&self, kind: RemovalKind) -> u32 {
        self.0.get(kind as usize).copied().unwrap_or_default()
    }

    /// Returns whether nothing was removed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn add(&mut self, kind: RemovalKind) {
        self.add_many(kind, 1);
    }

    pub(super) fn add_many(&mut self, kind: RemovalKind, count: usize) {
        if let Some(sum) = self.0.get_mut(kind as usize) {
            *sum = sum.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }
}
