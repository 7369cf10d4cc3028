//! The three answers of every error: the party to blame, whether a retry is safe, and the status for the caller.
//!
//! No concrete error is known here. The errors of each module implement [`Fault`]; the edge of the proxy calls it and
//! never looks at a concrete type.

/// The party to blame for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The caller sent something that cannot be served.
    Caller,
    /// This router, its configuration or its namers.
    Router,
    /// The endpoint the request was sent to, or the connection to it.
    Upstream,
}

/// The status that a caller gets for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The status of an HTTP response.
    pub http: u16,
    /// The `grpc-status` of a gRPC call (grpc/grpc `doc/statuscodes.md`).
    pub grpc: u8,
}

/// An error that the edge of the proxy can turn into a response.
pub trait Fault: std::error::Error {
    /// Returns the party to blame.
    fn blame(&self) -> Blame;

    /// Returns whether the request can be sent again without harm: no endpoint has seen it.
    fn retryable(&self) -> bool;

    /// Returns the status for the caller.
    fn status(&self) -> Status;
}
