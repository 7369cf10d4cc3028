//! Both ends of HTTP/2: a client and an upstream on the `h2` crate, and frames by hand for what it would not send.
//!
//! The h2 crate is also what the router uses, so what must hold on the wire is asked of [`Frames`].

mod client;
mod frames;
mod full;
mod upstream;

pub(crate) use self::client::{Exchange, H2Client, get, post};
pub(crate) use self::frames::{Frame, Frames, GET, PREFACE, Refusal, block, flag, kind};
pub(crate) use self::full::{FullUpstream, MOST_CONNECTIONS};
pub(crate) use self::upstream::{Call, H2Conn, H2Service};

use super::within;
use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use std::future::poll_fn;

/// Reads a body to its end, and its trailers; gives room for more as soon as something came.
pub(crate) async fn read(body: &mut RecvStream) -> Result<(Vec<u8>, HeaderMap), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = piece(body).await {
        bytes.extend(piece?);
    }
    let trailers = within("reading trailers", body.trailers()).await?;
    Ok((bytes, trailers.unwrap_or_default()))
}

/// Reads the next piece of a body, and gives room for as much; None when there are only trailers, or nothing, left.
pub(crate) async fn piece(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    loop {
        let piece = within("reading a piece of a body", body.data()).await?;
        match &piece {
            // The end, in a frame of its own.
            Ok(bytes) if bytes.is_empty() => continue,
            Ok(bytes) => body.flow_control().release_capacity(bytes.len()).expect("it came"),
            Err(_) => {}
        }
        return Some(piece);
    }
}

/// Sends a piece of a body as the receiver gives room for it, and ends the stream with it if it is the last.
pub(crate) async fn write(
    out: &mut SendStream<Bytes>,
    bytes: impl Into<Bytes>,
    last: bool,
) -> Result<(), h2::Error> {
    let mut bytes = bytes.into();
    while !bytes.is_empty() {
        let room = within("waiting for room", room(out, bytes.len())).await?;
        let piece = bytes.split_to(room.min(bytes.len()));
        out.send_data(piece, last && bytes.is_empty())?;
        if bytes.is_empty() {
            return Ok(());
        }
    }
    if last { out.send_data(Bytes::new(), true) } else { Ok(()) }
}

/// Waits until the receiver gives room for up to `wanted` bytes; returns for how many.
pub(crate) async fn room(out: &mut SendStream<Bytes>, wanted: usize) -> Result<usize, h2::Error> {
    out.reserve_capacity(wanted);
    loop {
        if out.capacity() > 0 {
            return Ok(out.capacity());
        }
        match poll_fn(|cx| out.poll_capacity(cx)).await {
            Some(room) => room?,
            // The stream is over: how, the next thing that is sent will say.
            None => return Ok(wanted),
        };
    }
}

/// The value of the field of that name; there must not be two.
pub(crate) fn one<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = fields.get_all(name).iter().map(|value| value.to_str().expect("the value is text"));
    let value = values.next();
    assert!(values.next().is_none(), "{name} comes more than once: {fields:?}");
    value
}

/// Fields from pairs of text.
pub(crate) fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in pairs {
        fields.append(*name, value.parse().expect("the value is one"));
    }
    fields
}
