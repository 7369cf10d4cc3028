//! The ways in which an exchange can end.

use crate::fault::{Blame, Fault as _};
use crate::proxy::error::Error;

/// The end of a request, or of one attempt to send it: reported once, by whatever ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The response with this status was passed on to its end.
    Answered(u16),
    /// The endpoint refused the connection, or the stream.
    Refused,
    /// The endpoint ended the connection or the stream before its response was whole, or the response was malformed.
    Reset,
    /// The endpoint was not connected, or did not answer, in time.
    TimedOut,
    /// The caller went away, or stalled, before the end. It is the outcome of what is dropped without a report.
    #[default]
    Abandoned,
    /// The request was not sent to an endpoint: it was refused here, or its name led nowhere.
    NotSent,
}

impl Outcome {
    /// Returns the outcome of a request that ended in this error.
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Connecting { .. } => Self::Refused,
            Error::Reset { .. } | Error::BadResponse { .. } => Self::Reset,
            Error::ConnectTimeout { .. } | Error::Timeout { .. } => Self::TimedOut,
            // A body that breaks off is its caller's end.
            Error::RequestBody(_) => Self::Abandoned,
            other => match other.blame() {
                Blame::Upstream => Self::Reset,
                Blame::Caller | Blame::Router => Self::NotSent,
            },
        }
    }
}
