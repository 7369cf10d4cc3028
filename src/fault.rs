//! The three questions every error answers: whose fault, may it be retried, what does the caller see.
//!
//! No concrete error is known here. Each module's errors answer by implementing [`Fault`]; the edge of the proxy asks
//! once and never looks at a type again.

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The caller sent something that cannot be served.
    Caller,
    /// This router, its configuration or its namers.
    Router,
    /// The endpoint the request was sent to, or the way there.
    Upstream,
}

/// What a caller sees of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The status of an HTTP response.
    pub http: u16,
    /// The `grpc-status` of a gRPC call (grpc/grpc `doc/statuscodes.md`).
    pub grpc: u8,
}

/// An error that can be judged at the edge.
pub trait Fault: std::error::Error {
    /// Whose fault it is.
    fn blame(&self) -> Blame;

    /// Whether the request can be sent again without harm: nothing of it reached an endpoint.
    fn retryable(&self) -> bool;

    /// What the caller sees.
    fn status(&self) -> Status;
}
