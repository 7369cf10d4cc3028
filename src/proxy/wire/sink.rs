//! The parts of a body, and the sinks that take them.

use super::connection::InputPiece;
use bytes::Bytes;
use h2::FlowControl;
use http::HeaderMap;
use std::io;

/// A part of a body; its drop says that it was used.
pub(crate) enum BodyPart {
    /// Bytes of no connection: made here, or kept.
    Owned(Bytes),
    Http1(InputPiece),
    Http2(Http2Data),
}

/// The trailers behind a body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trailers<'a> {
    None,
    /// Lines of HTTP/1 that may pass, ready to be written.
    Lines(&'a [u8]),
    /// Fields of HTTP/2 that may pass.
    Fields(&'a HeaderMap),
}

/// A receiver of a body.
pub(crate) trait Sink {
    /// Takes a part of the body. Bytes that were held back leave with it. `last` says that neither a part nor trailers
    /// follow.
    async fn piece(&mut self, part: &BodyPart, last: bool) -> io::Result<()>;

    /// Sends the bytes that were held back.
    async fn flush(&mut self) -> io::Result<()>;

    /// Ends the body.
    async fn finish(&mut self, trailers: Trailers<'_>) -> io::Result<()>;
}

/// A part of a body over HTTP/2; when it is dropped, the peer may send as much again.
#[derive(Debug)]
pub(crate) struct Http2Data {
    bytes: Bytes,
    credit: FlowControl,
}

impl Http2Data {
    /// Makes a part of the bytes received, and of the window to give them back to.
    pub(crate) fn new(bytes: Bytes, credit: FlowControl) -> Self {
        Self { bytes, credit }
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Drop for Http2Data {
    fn drop(&mut self) {
        // It is refused only when the stream is over.
        let _ = self.credit.release_capacity(self.bytes.len());
    }
}

impl BodyPart {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Http1(piece) => piece.bytes(),
            Self::Http2(data) => data.bytes(),
        }
    }

    /// Returns the bytes to keep: a copy, unless they came over HTTP/2 or are owned already.
    pub(crate) fn to_bytes(&self) -> Bytes {
        match self {
            Self::Owned(bytes) => bytes.clone(),
            Self::Http1(piece) => Bytes::copy_from_slice(piece.bytes()),
            Self::Http2(data) => data.bytes().clone(),
        }
    }
}
