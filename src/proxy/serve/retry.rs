//! A request that may be sent again.

use crate::message::Framing;
use crate::proxy::error::Error;
use crate::proxy::exchange::{Request, Response, ResponseClass, ResponseStatus};
use crate::proxy::upstream::LogicalService;
use crate::proxy::wire::replay::ReplayBuffer;
use std::io;

/// The means to send a request again.
pub(super) enum Retry {
    /// It has no body.
    Bodiless,
    /// Its body is kept while it is read.
    Body(ReplayBuffer),
}

impl Retry {
    /// Returns what was sent in answer, and whether it may lead to a retry: not if it is a success by its head alone.
    #[inline]
    pub(super) fn settle(
        sent: Result<Response, Error>,
        retry: Option<Self>,
        request: &Request,
        logical: &LogicalService,
    ) -> (Result<Response, Error>, Option<Self>) {
        let is_success = retry.is_some()
            && sent.as_ref().is_ok_and(|response| {
                let classifier = &logical.settings.classifier;
                let head = ResponseStatus { status: response.head.status(), grpc: None };
                // What follows the head of a tunnel is not to be read here, and has no trailers.
                response.framing == Framing::Tunnel
                    || (!classifier.reads_trailers()
                        && classifier.judge(request.head.method(), head) == ResponseClass::Success)
            });
        (sent, retry.filter(|_| !is_success))
    }

    /// Returns whether the request is at hand as it was.
    pub(super) fn is_possible(&self) -> bool {
        match self {
            Self::Bodiless => true,
            Self::Body(kept) => kept.is_whole(),
        }
    }

    /// Gives the request its body from the beginning.
    ///
    /// # Errors
    ///
    /// It is no longer whole.
    pub(super) fn rewind(&self, request: &mut Request) -> Result<(), Error> {
        if let Self::Body(kept) = self {
            let body = kept.reader().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof));
            (request.body, request.is_body_begun) = (body.map_err(Error::RequestBody)?, false);
        }
        Ok(())
    }
}
