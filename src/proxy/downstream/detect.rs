//! Detects the protocol of a connection from its first bytes.

use super::http1::Http1Session;
use super::http2::{self, PREFACE};
use super::listen::refusal;
use super::listener::{ConnectionContext, Listener};
use super::proxy_header::{ProxiedCaller, read_header};
use crate::context::{Peer, Range};
use crate::proxy::limits::ConnectionPlace;
use crate::proxy::wire::WireProtocol;
use crate::proxy::wire::connection::Connection;
use crate::proxy::wire::transport::Transport;
use crate::tls::{self, HandshakeError, SecurePeer, ServerTls, TlsStream};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use tokio::net::TcpStream;

/// Serves one connection until it ends.
///
/// The session is made before the future, which holds it once: as an argument of an `async fn` it would be held twice,
/// by every connection that waits.
pub(crate) fn serve_connection(
    listener: Rc<Listener>,
    stream: TcpStream,
    peer: Peer,
    place: ConnectionPlace,
) -> impl Future<Output = ()> {
    let buffers = listener.service().pools.buffers.clone();
    let connection = Connection::new(Transport::Plain(stream), buffers);
    let session = Http1Session { context: ConnectionContext::new(listener, peer, place), connection };
    serve_session(session, None)
}

/// Serves one connection that speaks `protocol`, or else the one that its first bytes show.
#[expect(clippy::manual_async_fn, reason = "an async fn would hold the session twice")]
fn serve_session(mut session: Http1Session, protocol: Option<WireProtocol>) -> impl Future<Output = ()> {
    async move {
        let protocol = match protocol {
            None => read_protocol(&mut session).await,
            known => known,
        };
        match protocol {
            Some(WireProtocol::Http1) => session.run().await,
            Some(WireProtocol::Http2) => {
                let Http1Session { context, connection } = session;
                let Some(transport) = Connection::into_transport(connection) else { return };
                // Boxed, so that connections over HTTP/1 do not pay for its size.
                Box::pin(http2::serve_connection(context, transport)).await;
            }
            None => {}
        }
    }
}

/// Serves one connection on which something comes before the first bytes of HTTP, until it ends: the header of a proxy in
/// front, the handshake of TLS, or both. The protocol is the one agreed on by ALPN, or else that of the first bytes.
pub(crate) async fn serve_after_preamble(
    listener: Rc<Listener>,
    stream: TcpStream,
    peer: Peer,
    place: ConnectionPlace,
) {
    let (proxies, tls) = (listener.proxies(), listener.tls());
    let mut context = ConnectionContext::new(listener, peer, place);
    let stream = match proxies {
        None => stream,
        Some(proxies) => {
            let Some(stream) = Box::pin(read_caller(&mut context, stream, &proxies)).await else { return };
            stream
        }
    };
    let (transport, protocol) = match tls {
        None => (Transport::Plain(stream), None),
        Some(tls) => {
            // Boxed, so that it takes no room afterwards.
            let Some((stream, peer)) = Box::pin(shake_hands(&mut context, stream, tls)).await else { return };
            context.peer.tls = Some(peer);
            let is_http2 = stream.alpn() == Some(b"h2");
            (Transport::Tls(stream), is_http2.then_some(WireProtocol::Http2))
        }
    };
    let buffers = context.listener.service().pools.buffers.clone();
    let connection = Connection::new(transport, buffers);
    serve_session(Http1Session { context, connection }, protocol).await;
}

/// Reads who calls, of a proxy in front, in the time that a first head may take. A connection from elsewhere ends: it would
/// be free to say so, too.
async fn read_caller(
    context: &mut ConnectionContext,
    mut stream: TcpStream,
    proxies: &[Range],
) -> Option<TcpStream> {
    let mut peer = context.peer.clone();
    let address = peer.remote.ip().to_canonical();
    let caller = if proxies.iter().any(|range| range.contains(address)) {
        let mut reading = std::pin::pin!(read_header(&mut stream));
        let read = poll_fn(|cx| {
            if let Poll::Ready(read) = reading.as_mut().poll(cx) {
                return Poll::Ready(read.ok());
            }
            context.poll_elapsed(cx).map(|()| None)
        });
        read.await
    } else {
        None
    };
    let Some(caller) = caller else {
        context.listener.service().counters.refused_proxies.increment();
        return None;
    };
    match caller {
        ProxiedCaller::At(address) => peer.remote = address,
        ProxiedCaller::Unknown => peer.is_unknown = true,
    }
    if !context.take_caller(peer) {
        // As far as the socket takes it at once. Unread bytes would reset the connection, and the response could be lost.
        let _ = stream.try_read(&mut [0; 4096]);
        let _ = stream.try_write(refusal(context.listener.accept().is_encrypted));
        return None;
    }
    Some(stream)
}

/// The response to a caller without TLS. One that speaks HTTP/1 can read it.
const NO_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 47\r\n\r\nthis port speaks TLS: ask with https, not http\n";

/// Does the handshake of TLS, in the time that a first head may take; `None` when it fails.
async fn shake_hands(
    context: &mut ConnectionContext,
    stream: TcpStream,
    tls: Arc<ServerTls>,
) -> Option<(Box<TlsStream>, Arc<SecurePeer>)> {
    let mut handshake = std::pin::pin!(tls::accept(stream, tls));
    let done = poll_fn(|cx| {
        if let Poll::Ready(done) = handshake.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        context.poll_elapsed(cx).map(|()| None)
    });
    let done = done.await;
    let service = context.listener.service();
    match done {
        Some(Ok(done)) => {
            service.counters.handshakes.increment();
            return Some(done);
        }
        Some(Err(error)) => {
            let peer = context.peer.remote;
            tracing::debug!(%peer, server = &*service.server, "a handshake of TLS failed: {error}");
            if let HandshakeError::NotTls(stream) = error {
                // As far as the socket takes it at once.
                let _ = stream.try_write(NO_TLS);
            }
        }
        None => {}
    }
    service.counters.failed_handshakes.increment();
    None
}

/// Reads until the protocol is known; None when the caller sends nothing, or too little.
///
/// HTTP/1 is known by its first bytes: no method that is in use begins as HTTP/2's preface does.
async fn read_protocol(session: &mut Http1Session) -> Option<WireProtocol> {
    let Http1Session { context, connection } = session;
    loop {
        let begun = match connection.with_input(detect) {
            Some(protocol) => return Some(protocol),
            None => !connection.with_input(<[u8]>::is_empty),
        };
        let read_more = poll_fn(|cx| {
            if let Poll::Ready(read) = connection.poll_fill(cx) {
                return Poll::Ready(matches!(read, Ok(n) if n > 0));
            }
            // A head that has begun may be finished while the worker shuts down.
            let elapsed = if begun { context.poll_late(cx) } else { context.poll_elapsed(cx) };
            elapsed.map(|()| false)
        });
        if !read_more.await {
            if begun {
                context.listener.service().counters.unfinished_heads.increment();
            }
            return None;
        }
        if !begun {
            context.await_first_head();
        }
    }
}

/// Returns the protocol that `bytes` begin; None while they may become either.
fn detect(bytes: &[u8]) -> Option<WireProtocol> {
    let len = bytes.len().min(PREFACE.len());
    match bytes.get(..len) {
        Some(first) if !PREFACE.starts_with(first) => Some(WireProtocol::Http1),
        _ if len == PREFACE.len() => Some(WireProtocol::Http2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The room of a connection that waits for a request, and with it most of what 10,000 idle ones cost: the rest are
    /// its sockets. Serving a request takes more, and gives it back.
    const IDLE_CONNECTION: usize = 376;

    /// The same over TLS, without the stream and what rustls holds.
    const IDLE_SECURE: usize = 900;

    #[test]
    fn a_connection_that_waits_is_small() {
        fn size_of_future<F>(_: fn(Rc<Listener>, TcpStream, Peer, ConnectionPlace) -> F) -> usize {
            size_of::<F>()
        }
        let size = size_of_future(serve_connection);
        assert!(size <= IDLE_CONNECTION, "{size} bytes");
        let size = size_of_future(serve_after_preamble);
        assert!(size <= IDLE_SECURE, "{size} bytes");
        assert!(size_of::<TlsStream>() <= 2048, "{} bytes", size_of::<TlsStream>());
    }

    #[test]
    fn the_first_bytes_show_the_protocol() {
        let table: [(&[u8], Option<WireProtocol>); 8] = [
            (b"", None),
            (b"G", Some(WireProtocol::Http1)),
            (b"P", None),
            (b"PO", Some(WireProtocol::Http1)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(WireProtocol::Http2)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", Some(WireProtocol::Http2)),
            (b"PRI * HTTP/1.1\r\n", Some(WireProtocol::Http1)),
        ];
        for (bytes, expected) in table {
            assert_eq!(detect(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
