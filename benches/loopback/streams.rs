//! Bodies on HTTP/2 streams, as the load and the upstream send and read them.

use super::child::Error;
use bytes::Bytes;
use h2::{RecvStream, SendStream};
use std::future::poll_fn;

/// How much a peer may send before some was read, on one stream and on a connection: enough that it seldom waits.
pub(crate) const STREAM_WINDOW: u32 = 1 << 20;
pub(crate) const CONNECTION_WINDOW: u32 = 8 << 20;

/// Sends a body, as the peer's window allows.
pub(crate) async fn send(mut stream: SendStream<Bytes>, mut body: Bytes) -> Result<(), Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        if stream.capacity() == 0 {
            poll_fn(|cx| stream.poll_capacity(cx)).await.ok_or("the stream ended")??;
        }
        let now = body.split_to(stream.capacity().min(body.len()));
        stream.send_data(now, body.is_empty())?;
    }
    Ok(())
}

/// Reads a body to its end; says how long it was and what its last byte is.
pub(crate) async fn read(mut stream: RecvStream) -> Result<(usize, Option<u8>), Error> {
    let (mut len, mut last) = (0, None);
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        len += data.len();
        last = data.last().copied().or(last);
    }
    Ok((len, last))
}
