//! The beginning of an encrypted connection, from either side.

use super::client::{ClientTls, EndpointName};
use super::identity::Identity;
use super::server::{SecurePeer, ServerTls};
use super::session::TlsSession;
use super::stream::TlsStream;
use rustls::client::UnbufferedClientConnection;
use rustls::server::{Acceptor, UnbufferedServerConnection};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;

/// How many bytes a peer may send in a handshake: certificates of a chain have some thousands each.
const MOST_BYTES: usize = 128 * 1024;

/// How many bytes are read at once until it is known for which host a caller asks.
const HELLO: usize = 4096;

/// The first byte of a record of a handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

/// The record that ends a handshake because no certificate is for the name that was asked for: a fatal alert,
/// `unrecognized_name` (RFC 6066, 3).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// The reason why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer speaks something else than TLS.
    #[error("it does not speak TLS")]
    NotTls(TcpStream),
    /// The connection ended.
    #[error("the peer ended the connection in the handshake of TLS: {0}")]
    Ended(io::Error),
    /// A rule of TLS was broken, a certificate is not good, or both sides have nothing in common.
    #[error("TLS: {0}")]
    Refused(rustls::Error),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<rustls::Error>() {
            Ok(refused) => Self::Refused(refused),
            Err(error) => Self::Ended(error),
        }
    }
}

/// Accepts an encrypted connection. Until bytes come, it holds the socket alone.
///
/// It has no time limit of its own.
///
/// # Errors
///
/// The handshake fails.
pub async fn accept(
    stream: TcpStream,
    tls: Arc<ServerTls>,
) -> Result<(Box<TlsStream>, Arc<SecurePeer>), HandshakeError> {
    let (stream, hello, at) = read_hello(stream, &tls).await?;
    let Some(config) = tls.config(at) else {
        return Err(HandshakeError::Refused(rustls::Error::General("there is no certificate".to_owned())));
    };
    let session = UnbufferedServerConnection::new(Arc::clone(config)).map_err(HandshakeError::Refused)?;
    let mut stream = Box::new(TlsStream::new(stream, TlsSession::Server(session)));
    stream.incoming = hello;
    let mut left = MOST_BYTES;
    poll_fn(|cx| stream.poll_handshake(cx, &mut left)).await?;
    let identity = stream.peer_certificate().and_then(Identity::read);
    Ok((stream, Arc::new(SecurePeer::new(tls, at, identity))))
}

/// Reads until it is known which certificate is asked for; returns the bytes that were read, and its place.
async fn read_hello(
    mut stream: TcpStream,
    tls: &ServerTls,
) -> Result<(TcpStream, Vec<u8>, usize), HandshakeError> {
    let mut hello = Vec::new();
    let mut acceptor = tls.needs_host().then(Acceptor::default);
    loop {
        let count = poll_fn(|cx| poll_read_more(&mut stream, &mut hello, cx)).await?;
        if count == 0 {
            return Err(HandshakeError::Ended(ErrorKind::UnexpectedEof.into()));
        }
        if hello.first() != Some(&HANDSHAKE) {
            return Err(HandshakeError::NotTls(stream));
        }
        let Some(acceptor) = &mut acceptor else { return Ok((stream, hello, 0)) };
        let begin = hello.len() - count;
        let mut new = hello.get(begin..).unwrap_or_default();
        while !new.is_empty() {
            acceptor.read_tls(&mut new)?;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                if let Some(at) = tls.choose(accepted.client_hello().server_name().map(str::as_bytes)) {
                    return Ok((stream, hello, at));
                }
                let _ = stream.try_write(&UNRECOGNIZED_NAME);
                let reason = "there is no certificate for the name that the peer asks for";
                return Err(HandshakeError::Refused(rustls::Error::General(reason.to_owned())));
            }
            Ok(None) if hello.len() > MOST_BYTES => {
                let reason = "the handshake of the peer is too long";
                return Err(HandshakeError::Refused(rustls::Error::General(reason.to_owned())));
            }
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                if alert.write_all(&mut bytes).is_ok() {
                    // Its peer is told if the socket takes it at once.
                    let _ = stream.try_write(&bytes);
                }
                return Err(HandshakeError::Refused(error));
            }
        }
    }
}

/// Reads some bytes. While none have come, there is no room for them.
fn poll_read_more(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut room = [MaybeUninit::uninit(); HELLO];
    let mut room = ReadBuf::uninit(&mut room);
    ready!(Pin::new(stream).poll_read(cx, &mut room))?;
    bytes.extend_from_slice(room.filled());
    Poll::Ready(Ok(room.filled().len()))
}

/// Begins an encrypted connection to an endpoint, which is offered these protocols.
///
/// It has no time limit of its own.
///
/// # Errors
///
/// The handshake fails: the certificate of the endpoint is not good, say.
pub async fn connect(
    stream: TcpStream,
    tls: &ClientTls,
    name: EndpointName,
    alpn: &[&[u8]],
) -> Result<Box<TlsStream>, HandshakeError> {
    let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let session = UnbufferedClientConnection::new_with_alpn(Arc::clone(&tls.config), name.0, alpn)
        .map_err(HandshakeError::Refused)?;
    let mut stream = Box::new(TlsStream::new(stream, TlsSession::Client(session)));
    let mut left = MOST_BYTES;
    poll_fn(|cx| stream.poll_handshake(cx, &mut left)).await?;
    Ok(stream)
}
