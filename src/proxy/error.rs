//! The errors that end a request, and the one table of statuses and texts for its caller.

use crate::context::token::TokenRefusal;
use crate::context::{OverrideError, Refusal};
use crate::fault::{Blame, Fault, Status};
use crate::identify;
use crate::message::{FramingError, HeadError, HeadLimits};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The reason why a request was not carried to an endpoint, or its response not carried back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The head is malformed.
    #[error("the request is malformed: {0}")]
    Head(#[from] HeadError),
    /// The end of the body cannot be determined.
    #[error("the request is malformed: {0}")]
    Framing(#[from] FramingError),
    /// The method is CONNECT, and no tunnel is opened: the listener does not say `connect: true`, the caller is not trusted, or
    /// the protocol of an extended CONNECT carries HTTP.
    #[error("CONNECT is not supported on this listener, or not from this caller, or not for this protocol")]
    Connect,
    /// The endpoint does not open the tunnel that the request asks for.
    #[error("{address} opens no tunnel: {reason}")]
    TunnelUnsupported {
        /// The endpoint's address.
        address: SocketAddr,
        /// The reason.
        reason: TunnelDefect,
    },
    /// The method is TRACE, and the caller is not trusted: the response would show the fields that proxies add.
    #[error("TRACE is for trusted callers")]
    Trace,
    /// The connection is for another host, by its certificate.
    #[error(
        "The connection is for another host: this one has a certificate, or an authority of callers, of its own. Open a \
         connection for it"
    )]
    Misdirected,
    /// `Max-Forwards` is not a number.
    #[error("Invalid value for Max-Forwards header")]
    MaxForwards,
    /// The body could not be read, or its framing is broken.
    #[error("the request's body is malformed: {0}")]
    RequestBody(io::Error),
    /// The context is refused: overrides are too long, a token is not good, too many proxies were passed, or the
    /// deadline has passed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// An override is not a dtab, overrides have too many entries, or one has a prefix that is not allowed.
    #[error(transparent)]
    Override(#[from] OverrideError),
    /// An override leads to a destination that the listener does not allow.
    #[error("{0}")]
    OverrideRefused(String),
    /// An override leads to an address that the listener does not allow.
    #[error(
        "The override is refused: it leads to the address {address}, which this listener denies to overrides \
         (`overrides.addresses.deny`)."
    )]
    DeniedAddress {
        /// The endpoint's address.
        address: SocketAddr,
    },
    /// A sandbox that the request selects cannot be used.
    #[error("{0}")]
    SandboxRefused(String),
    /// No sandbox has a key of the request, and the configuration refuses such requests.
    #[error(
        "No sandbox has the key {keys}: it was deleted, has expired, or is written otherwise (`sandboxes.unknownKey: refuse`)."
    )]
    SandboxUnknown {
        /// The keys, joined by `+`.
        keys: String,
    },
    /// It is not known whether a sandbox has a key of the request.
    #[error("It is not known whether there is a sandbox {keys}: {reason}")]
    SandboxesUnknown {
        /// The keys, joined by `+`.
        keys: String,
        /// The reason.
        reason: String,
    },
    /// No identifier names the request.
    #[error("Unknown destination: {reason}")]
    Unidentified {
        /// The reason that the last identifier gave.
        reason: String,
    },
    /// The request cannot be named yet.
    #[error("the request cannot be named: {reason}")]
    NotIdentifiedYet {
        /// The part that is not known yet.
        reason: String,
    },
    /// The name leads nowhere.
    #[error("{0}")]
    Unroutable(String),
    /// A namer failed, or a bound of delegation was reached.
    #[error("{0}")]
    Naming(String),
    /// The name was not resolved in time.
    #[error("Exceeded {timeout:?} binding timeout while resolving name: {name}")]
    BindingTimeout {
        /// The time limit.
        timeout: Duration,
        /// The logical name.
        name: String,
    },
    /// The overrides add more lookups to those of the name than the router allows.
    #[error("{0}")]
    OverrideLookups(String),
    /// As many names of callers without trust are waited for as the limit allows.
    #[error("{limit} names of callers that are not trusted are being resolved on this worker: try again")]
    PendingNames {
        /// The limit.
        limit: usize,
    },
    /// The listener serves as many requests as its limit allows.
    #[error("this listener has reached its limit of {limit} concurrent requests: try again")]
    Busy {
        /// `maxConcurrentRequests`.
        limit: usize,
    },
    /// The address of the caller has as many requests under way as its limit allows.
    #[error(
        "the callers at this address have reached their limit of {limit} requests under way (`maxRequestsPerPeer`): \
         try again"
    )]
    PeerBusy {
        /// `maxRequestsPerPeer`.
        limit: usize,
    },
    /// The endpoint has as many requests under way as it takes, and none of them ended in time.
    #[error(
        "{address} has as many requests under way as it takes, and none ended within {wait:?} (`streamWaitMs`): try again"
    )]
    EndpointBusy {
        /// The endpoint's address.
        address: SocketAddr,
        /// `streamWaitMs`.
        wait: Duration,
    },
    /// The address of the caller has too many requests under way for what is left of the endpoint.
    #[error(
        "{address} takes few more requests at once, and they are kept for callers at other addresses: this one has too many \
         under way, try again"
    )]
    EndpointShare {
        /// The endpoint's address.
        address: SocketAddr,
    },
    /// As many requests wait for the endpoint as may.
    #[error("{limit} requests wait for {address} already (`hostConnectionPool.maxWaiters`): try again")]
    EndpointQueueFull {
        /// The endpoint's address.
        address: SocketAddr,
        /// `hostConnectionPool.maxWaiters`.
        limit: usize,
    },
    /// The address leads to a socket of the router itself that no request may reach: that of its admin server.
    #[error(
        "{address} leads to the admin server of this router, to which no request is carried: ask it directly"
    )]
    OwnSocket {
        /// The endpoint's address.
        address: SocketAddr,
    },
    /// No connection could be opened.
    #[error("Unable to establish connection to {address}: {source}")]
    Connecting {
        /// The endpoint's address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// No connection was opened in time.
    #[error("Unable to establish connection to {address} within {timeout:?}")]
    ConnectTimeout {
        /// The endpoint's address.
        address: SocketAddr,
        /// The time limit.
        timeout: Duration,
    },
    /// The connection, or the stream, ended before the response.
    #[error("{address} closed the connection before its response: {source}")]
    Reset {
        /// The endpoint's address.
        address: SocketAddr,
        /// The error on the connection or stream.
        source: io::Error,
        /// Whether the endpoint may have executed the request.
        exposure: Exposure,
    },
    /// The connection was idle before the request, and its endpoint did not answer a ping.
    #[error("{address} did not answer a ping in time, on a connection that was idle before")]
    Lost {
        /// The endpoint's address.
        address: SocketAddr,
        /// Whether the endpoint may have executed the request.
        exposure: Exposure,
    },
    /// The response is malformed.
    #[error("{address} answered with a malformed response: {reason}")]
    BadResponse {
        /// The endpoint's address.
        address: SocketAddr,
        /// The defect of the response.
        reason: String,
    },
    /// The response broke off: its connection or stream ended before it was whole.
    #[error("{address} broke off its response: {source}")]
    BrokenResponse {
        /// The endpoint's address.
        address: SocketAddr,
        /// The error on the connection or stream.
        source: io::Error,
    },
    /// The response did not begin within the request's time limit.
    #[error("Exceeded {timeout:?} while waiting for a response for the request")]
    Timeout {
        /// `timeoutMs`, `totalTimeoutMs`, or the time that was left until the caller's deadline.
        timeout: Duration,
    },
    /// The endpoint sent nothing of the head of its response for too long.
    #[error(
        "{address} was silent for {timeout:?} while its response was awaited (`socketOptions.readTimeoutMs`)"
    )]
    EndpointSilent {
        /// The endpoint's address.
        address: SocketAddr,
        /// `socketOptions.readTimeoutMs`.
        timeout: Duration,
    },
    /// The response to an attempt did not begin in time.
    #[error("Exceeded {timeout:?} while waiting for a response to an attempt (`requestAttemptTimeoutMs`)")]
    AttemptTimeout {
        /// `requestAttemptTimeoutMs`.
        timeout: Duration,
    },
}

/// The reason why an endpoint does not open the tunnel of an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TunnelDefect {
    /// Its settings do not have SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 3).
    #[error("its settings do not allow an extended CONNECT, as which an upgrade goes over HTTP/2")]
    NotAllowed,
    /// The router does not know what another protocol than WebSocket is over HTTP/1.
    #[error("it speaks HTTP/1, to which an extended CONNECT is carried for WebSocket alone")]
    OtherProtocol,
}

/// The exposure of a request whose connection or stream ended before the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// No endpoint can have executed it: not a byte of it was sent, or the endpoint says that it did not look at it (RFC
    /// 9113 8.7).
    Unseen,
    /// An endpoint may have executed it, but it may be executed twice (RFC 9110 9.2.2), and has met the end of a
    /// connection that was idle before.
    Repeatable,
    /// An endpoint may have executed it.
    Seen,
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
    Forbidden,
    NotFound,
    Misdirected,
    MethodNotAllowed,
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
    /// Returns the row: HTTP status, gRPC status, party to blame.
    const fn columns(self) -> (u16, u8, Blame) {
        match self {
            Self::Malformed => (400, 3, Blame::Caller),
            Self::Forbidden => (403, 7, Blame::Caller),
            Self::NotFound => (404, 5, Blame::Caller),
            Self::Misdirected => (421, 14, Blame::Caller),
            Self::MethodNotAllowed => (405, 12, Blame::Caller),
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
            Self::Misdirected => StatusRow::Misdirected,
            Self::Trace => StatusRow::MethodNotAllowed,
            Self::Refused(Refusal::DeadlinePassed) => StatusRow::TooLate,
            Self::Refused(Refusal::Token(TokenRefusal::Busy)) => StatusRow::Unavailable,
            Self::Refused(Refusal::Token(_)) => StatusRow::Forbidden,
            Self::Head(_) | Self::Framing(_) | Self::RequestBody(_) => StatusRow::Malformed,
            Self::Override(OverrideError::Prefix { .. })
            | Self::OverrideRefused(_)
            | Self::DeniedAddress { .. }
            | Self::OwnSocket { .. } => StatusRow::Forbidden,
            Self::Refused(_)
            | Self::Override(_)
            | Self::OverrideLookups(_)
            | Self::Unidentified { .. }
            | Self::MaxForwards => StatusRow::Malformed,
            Self::Unroutable(_) | Self::SandboxRefused(_) => StatusRow::Unroutable,
            Self::SandboxUnknown { .. } => StatusRow::NotFound,
            Self::Naming(_) => StatusRow::Naming,
            Self::NotIdentifiedYet { .. }
            | Self::SandboxesUnknown { .. }
            | Self::BindingTimeout { .. }
            | Self::PendingNames { .. }
            | Self::Busy { .. }
            | Self::PeerBusy { .. }
            | Self::EndpointBusy { .. }
            | Self::EndpointShare { .. }
            | Self::EndpointQueueFull { .. } => StatusRow::Unavailable,
            Self::Connecting { .. }
            | Self::TunnelUnsupported { .. }
            | Self::Reset { .. }
            | Self::BadResponse { .. }
            | Self::BrokenResponse { .. } => StatusRow::Upstream,
            Self::ConnectTimeout { .. }
            | Self::Lost { .. }
            | Self::EndpointSilent { .. }
            | Self::Timeout { .. }
            | Self::AttemptTimeout { .. } => StatusRow::TooLate,
        }
    }

    /// Makes the error of a response whose head is malformed, or beyond these limits: it names the key that raises one.
    pub(crate) fn of_response_head(address: SocketAddr, error: HeadError, limits: &HeadLimits) -> Self {
        let HeadLimits { line, fields_bytes, fields } = limits;
        let reason = match error {
            HeadError::LineTooLong => {
                format!("its first line has more than {line} bytes (`maxInitialLineKB` of the router)")
            }
            HeadError::FieldsTooLong => format!(
                "its header fields have more than {fields_bytes} bytes (`maxHeadersKB` of the router, or \
                 `maxHeaderListBytes` of the `client` of an `h2` router)"
            ),
            HeadError::TooManyFields => {
                format!("it has more than {fields} header fields (`maxResponseHeaders` of the router)")
            }
            other => other.to_string(),
        };
        Self::BadResponse { address, reason }
    }

    /// Makes the error of a response whose body cannot be read to its end.
    pub(crate) fn of_response_body(address: SocketAddr, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::InvalidData {
            Self::BadResponse { address, reason: source.to_string() }
        } else {
            Self::BrokenResponse { address, source }
        }
    }

    /// Returns whether the caller's connection cannot be used for another request, because the end of this one is not
    /// known.
    pub(crate) fn ends_connection(&self) -> bool {
        matches!(self, Self::Head(_) | Self::Framing(_) | Self::RequestBody(_) | Self::Connect)
    }

    /// Returns whether the request is refused because of its overrides.
    pub(crate) fn is_about_overrides(&self) -> bool {
        matches!(
            self,
            Self::Override(_)
                | Self::OverrideLookups(_)
                | Self::OverrideRefused(_)
                | Self::DeniedAddress { .. }
                | Self::Refused(Refusal::OverrideTooLarge { .. } | Refusal::MalformedMember { .. })
        )
    }

    /// Returns the text for one line of a log: without the dtabs, which may be long.
    pub(crate) fn log_text(&self) -> String {
        const MOST: usize = 1024;
        let text = self.to_string();
        let lines = text.lines().take_while(|line| *line != "base dtab:");
        let lines: Vec<&str> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
        let mut line = lines.join("; ");
        line.truncate(line.floor_char_boundary(MOST));
        line
    }

    /// Returns the text for a caller that is not trusted. It reveals nothing about the router's inside.
    fn untrusted_text(&self) -> &'static str {
        match self.row() {
            StatusRow::Malformed => "the request is malformed or names no destination",
            StatusRow::Forbidden => "the request may not be carried to its destination",
            StatusRow::NotFound => "there is no such destination",
            StatusRow::Misdirected => "the connection is for another host",
            StatusRow::MethodNotAllowed => "the method is not allowed",
            StatusRow::NotImplemented => "the request needs something that is not implemented",
            StatusRow::LineTooLong => "the request line is too long",
            StatusRow::FieldsTooLarge => "the request's header fields are too large",
            StatusRow::Unroutable | StatusRow::Naming | StatusRow::Upstream => {
                "the request could not be carried to its destination"
            }
            StatusRow::Unavailable => "the service is not available now: try again",
            StatusRow::TooLate => "the destination did not answer in time",
        }
    }

    /// Returns the text for the caller: the full error if the caller is trusted.
    ///
    /// An error in the message itself is shown in full to every caller, because the caller wrote the message. So is one
    /// in a token: the caller that presents it is a stranger as a rule.
    pub(crate) fn text(&self, trusted: bool) -> String {
        let is_about_message = matches!(
            self,
            Self::Head(_)
                | Self::Framing(_)
                | Self::RequestBody(_)
                | Self::Connect
                | Self::Refused(Refusal::Token(_))
        );
        if trusted || is_about_message { self.to_string() } else { self.untrusted_text().to_owned() }
    }
}

impl Fault for Error {
    fn blame(&self) -> Blame {
        match self {
            // No endpoint was asked.
            Self::Refused(Refusal::DeadlinePassed) => Blame::Caller,
            _ => self.row().columns().2,
        }
    }

    fn retryable(&self) -> bool {
        match self {
            Self::NotIdentifiedYet { .. }
            | Self::SandboxesUnknown { .. }
            | Self::BindingTimeout { .. }
            | Self::PendingNames { .. }
            | Self::Busy { .. }
            | Self::PeerBusy { .. }
            | Self::EndpointBusy { .. }
            | Self::EndpointShare { .. }
            | Self::EndpointQueueFull { .. } => true,
            Self::Refused(Refusal::Token(TokenRefusal::Busy)) => true,
            Self::Connecting { .. } => true,
            Self::Reset { exposure, .. } | Self::Lost { exposure, .. } => *exposure == Exposure::Unseen,
            _ => false,
        }
    }

    fn status(&self) -> Status {
        let (http, grpc, _) = self.row().columns();
        Status { http, grpc }
    }
}

#[cfg(test)]
mod tests;
