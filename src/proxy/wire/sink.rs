//! The parts of a body, and where they go.

use super::connection::InputPiece;
use bytes::Bytes;
use h2::FlowControl;
use http::HeaderMap;
use std::io;

/// A part of a body; dropping it says that it was used.
pub(crate) enum BodyPart {
    /// Bytes of no connection: made here, or kept.
    Owned(Bytes),
    Http1(InputPiece),
    Http2(Http2Data),
}

/// What came behind a body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trailers<'a> {
    None,
    /// LogHandle of HTTP/1, ready to be written: those that may pass.
    Lines(&'a [u8]),
    /// Fields of HTTP/2, stripped.
    Fields(&'a HeaderMap),
}

/// Where a body goes.
pub(crate) trait Sink {
    /// Takes a part of the body, `last` if nothing comes behind it; what is held back before it leaves with it.
    async fn piece(&mut self, part: &BodyPart, last: bool) -> io::Result<()>;

    /// Sends what was held back.
    async fn flush(&mut self) -> io::Result<()>;

    /// Ends the body.
    async fn finish(&mut self, trailers: Trailers<'_>) -> io::Result<()>;
}

/// A part of a body; when it is dropped, the peer may send as much again.
#[derive(Debug)]
pub(crate) struct Http2Data {
    bytes: Bytes,
    credit: FlowControl,
}

impl Http2Data {
    /// Makes a part of bytes that came, and the credit to give back for them.
    pub(crate) fn new(bytes: Bytes, credit: FlowControl) -> Self {
        Self { bytes, credit }
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Drop for Http2Data {
    fn drop(&mut self) {
        // Refused only when the stream is over.
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

    /// The bytes, to be kept: copied, unless they came over HTTP/2.
    pub(crate) fn to_bytes(&self) -> Bytes {
        match self {
            Self::Owned(bytes) => bytes.clone(),
            Self::Http1(piece) => Bytes::copy_from_slice(piece.bytes()),
            Self::Http2(data) => data.bytes().clone(),
        }
    }
}
