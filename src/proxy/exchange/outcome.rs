//! The ways in which an exchange can end.

use crate::proxy::error::{Error, Exposure};

/// The end of a request, or of one attempt to send it: reported once, by whatever ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The response with this status was passed on to its end.
    Answered(u16),
    /// The endpoint refused the connection, or the stream.
    Refused,
    /// The endpoint ended the connection or the stream before its response was whole, or the response was malformed.
    Reset,
    /// The request met the end of a connection that was idle before: likely by the endpoint's idle timeout, which says
    /// nothing about its health.
    IdleEnd,
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
            Error::Reset { exposure: Exposure::Repeatable, .. } => Self::IdleEnd,
            Error::Reset { .. } | Error::BadResponse { .. } | Error::BrokenResponse { .. } => Self::Reset,
            Error::ConnectTimeout { .. }
            | Error::Lost { .. }
            | Error::EndpointSilent { .. }
            | Error::Timeout { .. }
            | Error::AttemptTimeout { .. } => Self::TimedOut,
            // A body that breaks off is its caller's end.
            Error::RequestBody(_) => Self::Abandoned,
            Error::Head(_)
            | Error::Framing(_)
            | Error::Connect
            | Error::Trace
            | Error::MaxForwards
            | Error::Misdirected
            | Error::Refused(_)
            | Error::Override(_)
            | Error::OverrideLookups(_)
            | Error::OverrideRefused(_)
            | Error::DeniedAddress { .. }
            | Error::SandboxRefused(_)
            | Error::SandboxUnknown { .. }
            | Error::SandboxesUnknown { .. }
            | Error::Unidentified { .. }
            | Error::NotIdentifiedYet { .. }
            | Error::Unroutable(_)
            | Error::Naming(_)
            | Error::BindingTimeout { .. }
            | Error::PendingNames { .. }
            | Error::OwnSocket { .. }
            | Error::TunnelUnsupported { .. }
            | Error::Busy { .. }
            | Error::PeerBusy { .. }
            | Error::EndpointBusy { .. }
            | Error::EndpointShare { .. }
            | Error::EndpointQueueFull { .. } => Self::NotSent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Refusal;
    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;

    #[test]
    fn every_error_is_an_outcome() {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
        let timeout = Duration::from_secs(1);
        for (error, outcome) in [
            (Error::Connecting { address, source: broken() }, Outcome::Refused),
            (Error::ConnectTimeout { address, timeout }, Outcome::TimedOut),
            (Error::Reset { address, source: broken(), exposure: Exposure::Seen }, Outcome::Reset),
            (Error::Reset { address, source: broken(), exposure: Exposure::Unseen }, Outcome::Reset),
            (Error::Reset { address, source: broken(), exposure: Exposure::Repeatable }, Outcome::IdleEnd),
            (Error::BadResponse { address, reason: String::new() }, Outcome::Reset),
            (Error::BrokenResponse { address, source: broken() }, Outcome::Reset),
            (Error::Timeout { timeout }, Outcome::TimedOut),
            (Error::RequestBody(broken()), Outcome::Abandoned),
            (Error::Connect, Outcome::NotSent),
            (Error::Busy { limit: 1 }, Outcome::NotSent),
            (Error::OwnSocket { address }, Outcome::NotSent),
            (Error::Unroutable(String::new()), Outcome::NotSent),
            (Error::Naming(String::new()), Outcome::NotSent),
            (Error::BindingTimeout { timeout, name: String::new() }, Outcome::NotSent),
            (Error::Refused(Refusal::CallDepth { limit: 1, passed: 2, own: 0 }), Outcome::NotSent),
            // Its caller had given up before any endpoint saw it.
            (Error::Refused(Refusal::DeadlinePassed), Outcome::NotSent),
        ] {
            assert_eq!(Outcome::of(&error), outcome, "{error}");
        }
    }
}
