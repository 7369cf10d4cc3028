//! A body on its way through: where it comes from, and the carrying of it.

use super::http1;
use std::io;

/// A body that has not been read yet, wherever it comes from.
#[derive(Debug)]
pub(crate) enum Body {
    /// There is none.
    Empty,
    /// Made here.
    Text(Vec<u8>),
    /// On an HTTP/1 connection.
    Http1(http1::Incoming),
}

/// A part of a body; dropping it says that it was used.
pub(crate) enum Part {
    Text(Vec<u8>),
    Http1(http1::Piece),
}

impl Part {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(bytes) => bytes,
            Self::Http1(piece) => piece.bytes(),
        }
    }
}

impl Body {
    /// Whether nothing of it is still to come.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Text(bytes) => bytes.is_empty(),
            Self::Http1(incoming) => incoming.is_done(),
        }
    }

    /// The next part; None when the body is over.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Part>> {
        match self {
            Self::Http1(incoming) => Ok(incoming.next().await?.map(Part::Http1)),
            made_here => made_here.next_at_hand(),
        }
    }

    /// The next part if it is here already.
    pub(crate) fn next_at_hand(&mut self) -> io::Result<Option<Part>> {
        match self {
            Self::Empty => Ok(None),
            Self::Text(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Ok((!bytes.is_empty()).then_some(Part::Text(bytes)))
            }
            Self::Http1(incoming) => Ok(incoming.next_at_hand()?.map(Part::Http1)),
        }
    }

    /// Trailer lines that came behind it, ready to be written as HTTP/1.
    pub(crate) fn trailers(&self) -> &[u8] {
        match self {
            Self::Http1(incoming) => incoming.trailers(),
            _ => &[],
        }
    }
}

/// Which side of a transfer failed.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The body could not be read to its end.
    Source(io::Error),
    /// The receiver did not take it.
    Sink(#[expect(dead_code, reason = "shown by Debug only")] io::Error),
}

/// Carries a body to its end: one part is read when the one before it was written, so that a slow receiver slows the
/// sender.
///
/// A head that `to` holds back leaves with the first part when that is here, and does not wait for one that is not.
pub(crate) async fn carry(body: &mut Body, to: &mut http1::Outgoing) -> Result<(), Broken> {
    match body.next_at_hand().map_err(Broken::Source)? {
        Some(part) => to.piece(part.bytes()).await.map_err(Broken::Sink)?,
        None if body.is_done() => {}
        None => to.flush().await.map_err(Broken::Sink)?,
    }
    while let Some(part) = body.next().await.map_err(Broken::Source)? {
        to.piece(part.bytes()).await.map_err(Broken::Sink)?;
    }
    to.finish(body.trailers()).await.map_err(Broken::Sink)
}
