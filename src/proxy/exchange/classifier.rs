//! The judgement of responses: whether one is a failure, and whether its request may be sent again.
//!
//! The rules are Linkerd's (`ResponseClassifiers.scala`, `H2Classifiers.scala`, `grpc/GrpcClassifier.scala`).

use crate::fault::Fault as _;
use crate::proxy::error::{Error, Exposure};
use crate::proxy::wire::sink::Trailers;

/// The judgement of a response, or of the error in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseClass {
    Success,
    Failure,
    /// A failure after which the request may be sent again.
    RetryableFailure,
}

/// A rule by which responses are judged: `responseClassifier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classifier {
    /// By the status of HTTP, and the method of the request.
    Status {
        /// Whether a status of 500 or above is a failure; if not, nothing is.
        judges: bool,
        /// The methods whose requests may be sent again after a failure.
        retried: RetriedMethods,
    },
    /// By the status of gRPC. A response without one is a failure.
    Grpc(GrpcClassifier),
}

/// The methods whose requests a classifier sends again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetriedMethods {
    /// None.
    None,
    /// GET, HEAD, OPTIONS and TRACE.
    Read,
    /// Those, PUT and DELETE.
    Idempotent,
    /// Those, PATCH and POST.
    All,
}

/// The judgement by gRPC's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcClassifier {
    /// The codes that are no failure: `successStatusCodes`, or 0 alone.
    pub success: StatusCodes,
    /// The codes of failures after which a call may be sent again.
    pub retried: StatusCodes,
    /// Whether a call is also sent again after a refused stream, and after the statuses 429, 502, 503 and 504 of HTTP
    /// without a status of gRPC.
    pub is_compliant: bool,
}

/// A set of codes of gRPC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusCodes(u32);

impl StatusCodes {
    /// All codes, unknown ones too.
    pub const ALL: Self = Self(u32::MAX);

    /// Makes the set of these codes; those above 31 do not exist, and are left out.
    pub fn of(codes: impl IntoIterator<Item = u32>) -> Self {
        Self(codes.into_iter().filter(|code| *code < 32).fold(0, |set, code| set | 1 << code))
    }

    /// Returns whether the set has a code. One above 31 is only in the set of all.
    pub(crate) fn has(self, code: u32) -> bool {
        self == Self::ALL || (code < 32 && self.0 & 1 << code != 0)
    }
}

/// The code of a gRPC service that cannot be reached: UNAVAILABLE.
pub const UNAVAILABLE: u32 = 14;

/// The head of a response, as far as it is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseStatus {
    pub(crate) status: u16,
    /// The status of gRPC, from the head or from the trailers; `None` if there is none.
    pub(crate) grpc: Option<u32>,
}

impl Default for Classifier {
    /// `io.l5d.http.nonRetryable5XX`.
    fn default() -> Self {
        Self::Status { judges: true, retried: RetriedMethods::None }
    }
}

impl RetriedMethods {
    fn has(self, method: &[u8]) -> bool {
        match method {
            b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" => self != Self::None,
            b"PUT" | b"DELETE" => matches!(self, Self::Idempotent | Self::All),
            b"PATCH" | b"POST" => self == Self::All,
            _ => false,
        }
    }
}

impl Classifier {
    /// Returns whether any response to a request with this method may lead to a repeat.
    pub(crate) fn retries(&self, method: &[u8]) -> bool {
        match self {
            Self::Status { retried, .. } => retried.has(method),
            Self::Grpc(grpc) => grpc.retried != StatusCodes::default() || grpc.is_compliant,
        }
    }

    /// Returns whether a response cannot be judged by its head alone.
    pub(crate) fn reads_trailers(&self) -> bool {
        matches!(self, Self::Grpc(_))
    }

    /// Judges a response.
    pub(crate) fn judge(&self, method: &[u8], head: ResponseStatus) -> ResponseClass {
        let ResponseStatus { status, grpc } = head;
        match (self, grpc) {
            (Self::Status { judges, .. }, _) if status < 500 || !judges => ResponseClass::Success,
            (Self::Status { retried, .. }, _) => ResponseClass::failure(retried.has(method)),
            (Self::Grpc(rule), Some(code)) if rule.success.has(code) => ResponseClass::Success,
            (Self::Grpc(rule), Some(code)) => ResponseClass::failure(rule.retried.has(code)),
            (Self::Grpc(rule), None) => {
                let may_retry = rule.is_compliant && matches!(status, 429 | 502 | 503 | 504);
                ResponseClass::failure(may_retry || rule.retried == StatusCodes::ALL)
            }
        }
    }

    /// Judges an error in place of a response.
    ///
    /// By the status of HTTP, an endpoint that did not answer, or not well, is a reason to send the request of a retried
    /// method again; an error that no endpoint is to blame for is not. A gRPC call is sent again when no endpoint can have
    /// executed it and its status is a reason; with all codes, in any case.
    pub(crate) fn judge_error(&self, method: &[u8], error: &Error) -> ResponseClass {
        let is_of_endpoint = matches!(
            error,
            Error::Connecting { .. }
                | Error::ConnectTimeout { .. }
                | Error::AttemptTimeout { .. }
                | Error::Lost { .. }
                | Error::EndpointSilent { .. }
                | Error::Reset { .. }
                | Error::BadResponse { .. }
                | Error::BrokenResponse { .. }
        );
        let may_retry = match self {
            Self::Status { retried, .. } => retried.has(method),
            Self::Grpc(rule) if rule.retried == StatusCodes::ALL => true,
            Self::Grpc(rule) => match error {
                Error::Reset { exposure: Exposure::Unseen, .. }
                | Error::Lost { exposure: Exposure::Unseen, .. } => {
                    rule.is_compliant || rule.retried.has(UNAVAILABLE)
                }
                Error::Connecting { .. } | Error::ConnectTimeout { .. } => {
                    rule.retried.has(u32::from(error.status().grpc))
                }
                _ => false,
            },
        };
        ResponseClass::failure(is_of_endpoint && may_retry)
    }
}

/// Returns a code of gRPC from its text.
pub(crate) fn grpc_code(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Returns the code of gRPC in trailers.
pub(crate) fn trailing_code(trailers: Trailers<'_>) -> Option<u32> {
    match trailers {
        Trailers::Fields(fields) => fields.get("grpc-status").and_then(|value| grpc_code(value.as_bytes())),
        Trailers::Lines(_) | Trailers::None => None,
    }
}

impl ResponseClass {
    fn failure(may_retry: bool) -> Self {
        if may_retry { Self::RetryableFailure } else { Self::Failure }
    }
}

#[cfg(test)]
mod tests {
    use super::ResponseClass::{Failure, RetryableFailure, Success};
    use super::*;
    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;

    fn by_status(retried: RetriedMethods) -> Classifier {
        Classifier::Status { judges: true, retried }
    }

    fn grpc(retried: StatusCodes, is_compliant: bool) -> Classifier {
        Classifier::Grpc(GrpcClassifier { success: StatusCodes::of([0]), retried, is_compliant })
    }

    /// Linkerd's `ResponseClassifiersTest`.
    #[test]
    fn a_status_of_500_is_a_failure_and_the_method_says_whether_it_is_retried() {
        const METHODS: [&str; 8] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "POST"];
        for (retried, count) in [
            (RetriedMethods::None, 0),
            (RetriedMethods::Read, 4),
            (RetriedMethods::Idempotent, 6),
            (RetriedMethods::All, 8),
        ] {
            for (at, method) in METHODS.iter().enumerate() {
                let judge = |status| {
                    by_status(retried).judge(method.as_bytes(), ResponseStatus { status, grpc: Some(13) })
                };
                let failure = if at < count { RetryableFailure } else { Failure };
                assert_eq!([judge(499), judge(500), judge(599)], [Success, failure, failure], "{method}");
                assert_eq!(by_status(retried).retries(method.as_bytes()), at < count);
            }
        }
        let all = Classifier::Status { judges: false, retried: RetriedMethods::None };
        assert_eq!(all.judge(b"GET", ResponseStatus { status: 500, grpc: None }), Success);
    }

    #[test]
    fn a_call_is_judged_by_its_grpc_status() {
        let unavailable = StatusCodes::of([UNAVAILABLE]);
        for (classifier, code, status, class) in [
            (grpc(unavailable, false), Some(0), 200, Success),
            (grpc(unavailable, false), Some(14), 200, RetryableFailure),
            (grpc(unavailable, false), Some(13), 200, Failure),
            (grpc(unavailable, false), None, 200, Failure),
            (grpc(unavailable, false), None, 503, Failure),
            (grpc(unavailable, true), None, 503, RetryableFailure),
            (grpc(unavailable, true), None, 500, Failure),
            (grpc(StatusCodes::ALL, false), Some(99), 200, RetryableFailure),
            (grpc(StatusCodes::ALL, false), None, 200, RetryableFailure),
            (grpc(StatusCodes::default(), false), Some(14), 200, Failure),
            (grpc(StatusCodes::of([4, 99]), false), Some(4), 200, RetryableFailure),
            (grpc(StatusCodes::of([4, 99]), false), Some(99), 200, Failure),
        ] {
            assert_eq!(
                classifier.judge(b"POST", ResponseStatus { status, grpc: code }),
                class,
                "{classifier:?} {code:?}"
            );
        }
    }

    #[test]
    fn an_error_is_a_failure_that_is_retried_only_where_that_is_safe_or_asked_for() {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let reset = |exposure| Error::Reset { address, source: io::ErrorKind::BrokenPipe.into(), exposure };
        let (seen, unseen) = (reset(Exposure::Seen), reset(Exposure::Unseen));
        let late = Error::AttemptTimeout { timeout: Duration::from_secs(1) };
        let nowhere = Error::Unroutable(String::new());
        let unavailable = grpc(StatusCodes::of([UNAVAILABLE]), false);
        for (classifier, method, error, class) in [
            (by_status(RetriedMethods::Read), "GET", &seen, RetryableFailure),
            (by_status(RetriedMethods::Read), "POST", &seen, Failure),
            (by_status(RetriedMethods::Read), "GET", &late, RetryableFailure),
            (by_status(RetriedMethods::All), "POST", &nowhere, Failure),
            (by_status(RetriedMethods::None), "GET", &unseen, Failure),
            (unavailable, "POST", &unseen, RetryableFailure),
            (unavailable, "POST", &seen, Failure),
            (unavailable, "POST", &late, Failure),
            (grpc(StatusCodes::ALL, false), "POST", &seen, RetryableFailure),
            (grpc(StatusCodes::default(), true), "POST", &unseen, RetryableFailure),
            (grpc(StatusCodes::default(), false), "POST", &unseen, Failure),
        ] {
            assert_eq!(classifier.judge_error(method.as_bytes(), error), class, "{classifier:?} {error}");
        }
    }
}
