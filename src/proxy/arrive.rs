//! The first bytes of a connection, which say how its caller speaks.

use super::http1::{self, Conn};
use super::http2;
use super::patience::{Hearer, Patience};
use super::serve::Listener;
use crate::context::Peer;
use std::future::poll_fn;
use std::io::Cursor;
use std::rc::Rc;
use std::task::Poll;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Serves one connection until it ends.
pub(crate) async fn serve_connection(listener: Rc<Listener>, stream: TcpStream, peer: Peer) {
    let opened = Instant::now();
    let (conn, hearer, mut patience) = {
        let service = listener.service();
        let conn = Conn::new(stream, service.buffers.clone());
        (conn, service.bell.hear(), Patience::new(service.limits.wait(opened)))
    };
    match first_bytes(&listener, &conn, &hearer, &mut patience).await {
        Some(Spoken::Http1) => {
            http1::serve_connection(listener, conn, peer, hearer, patience, opened).await;
        }
        Some(Spoken::Http2) => {
            let Some((stream, begun)) = Conn::into_parts(conn) else { return };
            let (reading, writing) = stream.into_split();
            let begun = Cursor::new(begun.map(|begun| begun.data().to_vec()).unwrap_or_default());
            let io = tokio::io::join(begun.chain(reading), writing);
            // Boxed, so that connections over HTTP/1 do not pay for its size.
            Box::pin(http2::serve_connection(listener, io, peer, hearer, patience, opened)).await;
        }
        None => {}
    }
}

/// What a caller speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Http1,
    Http2,
}

/// Reads until it is known what the caller speaks; None when nothing, or too little, comes.
///
/// HTTP/1 is known by its first bytes: no method that is in use begins as HTTP/2's preface does.
async fn first_bytes(
    listener: &Listener,
    conn: &Conn,
    hearer: &Hearer,
    patience: &mut Patience,
) -> Option<Spoken> {
    loop {
        let begun = match conn.look(spoken) {
            Some(spoken) => return Some(spoken),
            None => !conn.look(<[u8]>::is_empty),
        };
        let came = poll_fn(|cx| {
            if let Poll::Ready(read) = conn.poll_fill(cx) {
                return Poll::Ready(matches!(read, Ok(n) if n > 0));
            }
            if patience.poll_over(cx).is_ready() || (!begun && hearer.poll_rung(cx).is_ready()) {
                return Poll::Ready(false);
            }
            Poll::Pending
        });
        if !came.await {
            if begun {
                listener.service().counters.unfinished_heads.increment();
            }
            return None;
        }
        if !begun {
            patience.begin(listener.service().limits.head);
        }
    }
}

/// What the bytes that came say; None while they may become either.
fn spoken(bytes: &[u8]) -> Option<Spoken> {
    let len = bytes.len().min(http2::PREFACE.len());
    match bytes.get(..len) {
        Some(begun) if !http2::PREFACE.starts_with(begun) => Some(Spoken::Http1),
        _ if len == http2::PREFACE.len() => Some(Spoken::Http2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell() {
        let table: [(&[u8], Option<Spoken>); 8] = [
            (b"", None),
            (b"G", Some(Spoken::Http1)),
            (b"P", None),
            (b"PO", Some(Spoken::Http1)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Spoken::Http2)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", Some(Spoken::Http2)),
            (b"PRI * HTTP/1.1\r\n", Some(Spoken::Http1)),
        ];
        for (bytes, expected) in table {
            assert_eq!(spoken(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
