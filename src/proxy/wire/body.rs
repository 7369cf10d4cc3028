//! A body on its way through the router, from either protocol to either.

use super::replay::ReplayReader;
use super::sink::{BodyPart, Sink, Trailers};
use super::trailer_filter::TrailerFilter;
use super::{http1, http2};
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;

/// A body that has not been read yet, wherever it comes from.
#[derive(Debug)]
pub(crate) enum Body {
    /// There is none.
    Empty,
    /// The text of an error, made here.
    Text(Vec<u8>),
    /// On an HTTP/1 connection.
    Http1(http1::Http1Reader),
    /// On an HTTP/2 stream.
    Http2(http2::Http2Reader),
    /// Kept while it is read, for a second attempt.
    Replay(ReplayReader),
    /// Read within a time for each part.
    Timed(Box<TimedBody>),
}

/// A body whose sender may be silent for a limited time.
#[derive(Debug)]
pub(crate) struct TimedBody {
    body: Body,
    limit: Duration,
}

impl Body {
    /// Limits how long its sender may be silent while a part is awaited, if there is a limit.
    pub(crate) fn timed(self, limit: Option<Duration>) -> Self {
        match limit {
            Some(limit) if !self.is_done() => Self::Timed(Box::new(TimedBody { body: self, limit })),
            _ => self,
        }
    }

    /// Returns whether nothing of it is still to come.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Text(bytes) => bytes.is_empty(),
            Self::Http1(incoming) => incoming.is_done(),
            Self::Http2(incoming) => incoming.is_done(),
            Self::Replay(kept) => kept.is_done(),
            Self::Timed(timed) => timed.body.is_done(),
        }
    }

    /// Returns the next part; `None` when the body is over.
    pub(crate) async fn next(&mut self) -> io::Result<Option<BodyPart>> {
        match self {
            Self::Http1(incoming) => Ok(incoming.next().await?.map(BodyPart::Http1)),
            Self::Http2(incoming) => Ok(incoming.next().await?.map(BodyPart::Http2)),
            // Boxed, because the body that it reads has this function too.
            Self::Replay(kept) => Box::pin(kept.next()).await,
            Self::Timed(timed) => {
                let next = Box::pin(timeout(timed.limit, timed.body.next())).await;
                next.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
            made_here => made_here.next_at_hand(),
        }
    }

    /// Returns the next part if it is here already.
    pub(crate) fn next_at_hand(&mut self) -> io::Result<Option<BodyPart>> {
        match self {
            Self::Empty => Ok(None),
            Self::Text(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Ok((!bytes.is_empty()).then(|| BodyPart::Owned(bytes.into())))
            }
            Self::Http1(incoming) => Ok(incoming.next_at_hand()?.map(BodyPart::Http1)),
            Self::Http2(incoming) => Ok(incoming.next_at_hand()?.map(BodyPart::Http2)),
            Self::Replay(kept) => kept.next_at_hand(),
            Self::Timed(timed) => timed.body.next_at_hand(),
        }
    }

    /// Has the trailers filtered that follow a body which is still to be read.
    pub(crate) fn filter_trailers(&mut self, filter: &Rc<TrailerFilter>) {
        match self {
            Self::Http1(incoming) => incoming.filter_trailers(filter),
            Self::Http2(incoming) => incoming.filter_trailers(filter),
            Self::Timed(timed) => timed.body.filter_trailers(filter),
            Self::Empty | Self::Text(_) | Self::Replay(_) => {}
        }
    }

    /// Returns the trailers, once the body is over.
    pub(crate) fn trailers(&self) -> Trailers<'_> {
        match self {
            Self::Http1(incoming) if !incoming.trailers().is_empty() => Trailers::Lines(incoming.trailers()),
            Self::Http2(incoming) => incoming.trailers().map_or(Trailers::None, Trailers::Fields),
            Self::Replay(kept) => kept.trailers(),
            Self::Timed(timed) => timed.body.trailers(),
            _ => Trailers::None,
        }
    }

    /// Returns whether the part that came last was the end: neither a part nor trailers follow.
    fn has_ended(&self) -> bool {
        self.is_done() && matches!(self.trailers(), Trailers::None)
    }
}

/// The failure of a transfer, by its side.
#[derive(Debug)]
pub(crate) enum TransferError {
    /// The body could not be read to its end.
    Source(io::Error),
    /// The receiver did not take it.
    Sink(#[expect(dead_code, reason = "shown by Debug only")] io::Error),
}

/// Carries a body to its end. A part is read when the one before it was taken, so that a slow receiver slows the sender.
///
/// A head that `to` holds back leaves with the first part if that is here, and does not wait for it otherwise.
pub(crate) async fn carry(body: &mut Body, to: &mut impl Sink) -> Result<(), TransferError> {
    match body.next_at_hand().map_err(TransferError::Source)? {
        Some(part) => to.piece(&part, body.has_ended()).await.map_err(TransferError::Sink)?,
        None if body.is_done() => {}
        None => to.flush().await.map_err(TransferError::Sink)?,
    }
    while let Some(part) = body.next().await.map_err(TransferError::Source)? {
        to.piece(&part, body.has_ended()).await.map_err(TransferError::Sink)?;
    }
    to.finish(body.trailers()).await.map_err(TransferError::Sink)
}
