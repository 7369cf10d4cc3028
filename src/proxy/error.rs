//! Why a request was not carried, and the one table of what its caller sees.

use crate::context::{OverrideError, Refusal};
use crate::fault::{Blame, Fault, Status};
use crate::identify;
use crate::message::{FramingError, HeadError};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Why a request was not carried to an endpoint and its response back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The head is not one.
    #[error("the request is malformed: {0}")]
    Head(#[from] HeadError),
    /// Where its body ends cannot be known.
    #[error("the request is malformed: {0}")]
    Framing(#[from] FramingError),
    /// A method that a router by names does not carry.
    #[error("CONNECT is not carried: a tunnel has no name to route by")]
    Connect,
    /// `Max-Forwards` is no number.
    #[error("Invalid value for Max-Forwards header")]
    MaxForwards,
    /// The body's own framing is broken.
    #[error("the request's body is malformed: {0}")]
    RequestBody(io::Error),
    /// What it carries is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its override is not a dtab.
    #[error(transparent)]
    Override(#[from] OverrideError),
    /// No identifier names it.
    #[error("Unknown destination: {reason}")]
    Unidentified {
        /// Why the last identifier did not.
        reason: String,
    },
    /// It cannot be named yet.
    #[error("the request cannot be named: {reason}")]
    NotIdentifiedYet {
        /// What is not known.
        reason: String,
    },
    /// Its name leads nowhere.
    #[error("{0}")]
    Unroutable(String),
    /// A namer failed, or a bound of delegation was reached.
    #[error("{0}")]
    Naming(String),
    /// Its name was not resolved in time.
    #[error("Exceeded {timeout:?} binding timeout while resolving name: {name}")]
    BindingTimeout {
        /// How long was waited.
        timeout: Duration,
        /// What was asked.
        name: String,
    },
    /// The listener is serving as many requests as it may.
    #[error("as many requests as this listener may serve at once ({limit}) are under way: try again")]
    Busy {
        /// `maxConcurrentRequests`.
        limit: usize,
    },
    /// No connection could be made.
    #[error("Unable to establish connection to {address}: {source}")]
    Connecting {
        /// Where to.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No connection was made in time.
    #[error("Unable to establish connection to {address} within {timeout:?}")]
    ConnectTimeout {
        /// Where to.
        address: SocketAddr,
        /// How long was waited.
        timeout: Duration,
    },
    /// The connection ended, or broke, before the response.
    #[error("{address} closed the connection before its response: {source}")]
    Reset {
        /// Whose.
        address: SocketAddr,
        /// What was seen.
        source: io::Error,
        /// Whether nothing of the request had been sent.
        unsent: bool,
    },
    /// The response is not one.
    #[error("{address} answered with a malformed response: {reason}")]
    BadResponse {
        /// Whose.
        address: SocketAddr,
        /// What is wrong with it.
        reason: String,
    },
    /// The listener's time for a request was over.
    #[error("Exceeded {timeout:?} while waiting for a response for the request")]
    Timeout {
        /// `timeoutMs`, or what was left until the caller's deadline.
        timeout: Duration,
    },
}

impl From<identify::IdentifyError> for Error {
    fn from(unidentified: identify::IdentifyError) -> Self {
        match unidentified {
            identify::IdentifyError::Unnamed(reason) => Self::Unidentified { reason },
            identify::IdentifyError::NotYet(reason) => Self::NotIdentifiedYet { reason },
        }
    }
}

/// The rows of the table of statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatusRow {
    Malformed,
    NotImplemented,
    LineTooLong,
    FieldsTooLarge,
    Unroutable,
    Naming,
    Upstream,
    Unavailable,
    TooLate,
}

impl StatusRow {
    /// The table: HTTP status, gRPC status, whose fault.
    const fn shown(self) -> (u16, u8, Blame) {
        match self {
            Self::Malformed => (400, 3, Blame::Caller),
            Self::NotImplemented => (501, 12, Blame::Caller),
            Self::LineTooLong => (414, 8, Blame::Caller),
            Self::FieldsTooLarge => (431, 8, Blame::Caller),
            Self::Unroutable => (502, 14, Blame::Router),
            Self::Naming => (502, 13, Blame::Router),
            Self::Upstream => (502, 14, Blame::Upstream),
            Self::Unavailable => (503, 14, Blame::Router),
            Self::TooLate => (504, 4, Blame::Upstream),
        }
    }
}

impl Error {
    fn row(&self) -> StatusRow {
        match self {
            Self::Head(HeadError::LineTooLong) => StatusRow::LineTooLong,
            Self::Head(HeadError::FieldsTooLong | HeadError::TooManyFields) => StatusRow::FieldsTooLarge,
            Self::Framing(error) if error.status() == 501 => StatusRow::NotImplemented,
            Self::Connect => StatusRow::NotImplemented,
            Self::Refused(Refusal::DeadlinePassed) => StatusRow::TooLate,
            Self::Head(_) | Self::Framing(_) | Self::RequestBody(_) => StatusRow::Malformed,
            Self::Refused(_) | Self::Override(_) | Self::Unidentified { .. } | Self::MaxForwards => {
                StatusRow::Malformed
            }
            Self::Unroutable(_) => StatusRow::Unroutable,
            Self::Naming(_) => StatusRow::Naming,
            Self::NotIdentifiedYet { .. } | Self::BindingTimeout { .. } | Self::Busy { .. } => {
                StatusRow::Unavailable
            }
            Self::Connecting { .. } | Self::Reset { .. } | Self::BadResponse { .. } => StatusRow::Upstream,
            Self::ConnectTimeout { .. } | Self::Timeout { .. } => StatusRow::TooLate,
        }
    }

    /// Whether the connection of the caller cannot be used for another request, because where this one ends is not
    /// known.
    pub(crate) fn ends_connection(&self) -> bool {
        matches!(self, Self::Head(_) | Self::Framing(_) | Self::RequestBody(_) | Self::Connect)
    }

    /// What a caller who is not trusted reads: nothing of the inside.
    fn plain(&self) -> &'static str {
        match self.row() {
            StatusRow::Malformed => "the request is malformed or names no destination",
            StatusRow::NotImplemented => "the request asks for what is not implemented",
            StatusRow::LineTooLong => "the request line is too long",
            StatusRow::FieldsTooLarge => "the request's header fields are too large",
            StatusRow::Unroutable | StatusRow::Naming | StatusRow::Upstream => {
                "the request could not be carried to its destination"
            }
            StatusRow::Unavailable => "the service is not available now: try again",
            StatusRow::TooLate => "the destination did not answer in time",
        }
    }

    /// The text for the caller: the whole of it for a trusted one.
    ///
    /// What is wrong with the message itself is told to everybody: it is the caller's own.
    pub(crate) fn text(&self, trusted: bool) -> String {
        let own = matches!(self, Self::Head(_) | Self::Framing(_) | Self::RequestBody(_) | Self::Connect);
        if trusted || own { self.to_string() } else { self.plain().to_owned() }
    }
}

impl Fault for Error {
    fn blame(&self) -> Blame {
        self.row().shown().2
    }

    fn retryable(&self) -> bool {
        match self {
            Self::NotIdentifiedYet { .. } | Self::BindingTimeout { .. } | Self::Busy { .. } => true,
            Self::Connecting { .. } => true,
            Self::Reset { unsent, .. } => *unsent,
            _ => false,
        }
    }

    fn status(&self) -> Status {
        let (http, grpc, _) = self.row().shown();
        Status { http, grpc }
    }
}
