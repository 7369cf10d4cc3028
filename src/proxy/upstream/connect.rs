//! Opens connections to endpoints.

use super::dial_guard::DialGuard;
use super::settings::{ClientSettings, EndpointTls};
use super::waiters::Waiters;
use crate::machine::{SocketUse, leaves_reserve};
use crate::proxy::error::Error;
use crate::proxy::metrics::ClientCounters;
use crate::proxy::wire::WireProtocol;
use crate::proxy::wire::transport::{Transport, bound_unsent};
use crate::tls::{self, EndpointName, HandshakeError, TlsStream};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// The address of a connection that is to be opened, with what there is to know about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectTarget<'a> {
    pub(crate) address: SocketAddr,
    /// The protocol that is to be spoken.
    pub(crate) protocol: WireProtocol,
    pub(crate) settings: &'a ClientSettings,
    /// The sockets that are not dialled.
    pub(crate) guard: &'a DialGuard,
    /// The requests that wait for it.
    pub(crate) waiters: &'a Waiters,
    /// The counters of its client.
    pub(crate) counters: &'a ClientCounters,
}

/// Opens a connection, unless the address leads to a socket that is not dialled.
pub(crate) async fn connect(target: ConnectTarget<'_>) -> Result<Transport, Error> {
    let ConnectTarget { address, protocol, settings, guard, waiters: _, counters } = target;
    if guard.forbids(address) {
        return Err(Error::OwnSocket { address });
    }
    let (limit, began) = (settings.connect_timeout, Instant::now());
    let stream = match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(Error::Connecting { address, source }),
        Err(_) => return Err(Error::ConnectTimeout { address, timeout: limit }),
    };
    if !leaves_reserve(&stream, SocketUse::Endpoint) {
        let source = io::Error::other("too many open files: the last are kept for the admin server");
        return Err(Error::Connecting { address, source });
    }
    counters.connected();
    set_options(&stream, settings);
    let Some(tls) = &settings.tls else { return Ok(Transport::Plain(stream)) };
    // Boxed, so that connections without TLS do not pay for its size.
    let handshake = Box::pin(shake_hands(stream, tls, (address, protocol)));
    match timeout(limit.saturating_sub(began.elapsed()), handshake).await {
        Ok(Ok(stream)) => Ok(Transport::Tls(stream)),
        Ok(Err(source)) => Err(Error::Connecting { address, source }),
        Err(_) => Err(Error::ConnectTimeout { address, timeout: limit }),
    }
}

/// Does the handshake of TLS with an endpoint, which has to speak the protocol.
async fn shake_hands(
    stream: TcpStream,
    tls: &EndpointTls,
    (address, protocol): (SocketAddr, WireProtocol),
) -> io::Result<Box<TlsStream>> {
    let name = match &tls.name {
        Some(Ok(name)) => name.clone(),
        Some(Err(text)) => {
            return Err(io::Error::other(format!("TLS: `{text}` is not the name of a host (`commonName`)")));
        }
        None => EndpointName::of_address(address.ip()),
    };
    let alpn: &[u8] = match protocol {
        WireProtocol::Http1 => b"http/1.1",
        WireProtocol::Http2 => b"h2",
    };
    let stream = tls::connect(stream, &tls.config.current(), name, &[alpn]).await;
    let stream = stream.map_err(|error| match error {
        HandshakeError::Ended(source) => {
            let reason = format!("TLS: the endpoint ended the connection in the handshake: {source}");
            io::Error::new(source.kind(), reason)
        }
        other => io::Error::other(other.to_string()),
    })?;
    if protocol == WireProtocol::Http2 && stream.alpn() != Some(alpn) {
        let reason = "TLS: the endpoint does not offer HTTP/2 (`h2` by ALPN), which this router speaks with it: have it \
                      offer `h2`, or route to it from an `http` router";
        return Err(io::Error::other(reason));
    }
    Ok(stream)
}

/// Sets the options of a connection. Errors are ignored: a socket without the options still works.
fn set_options(stream: &TcpStream, settings: &ClientSettings) {
    // A small request must not wait until the previous one is acknowledged.
    let _ = stream.set_nodelay(settings.no_delay);
    // A node that is lost closes no connection: sent bytes must be acknowledged in time, and idle connections are
    // probed.
    let socket = SockRef::from(stream);
    if settings.keep_alive {
        let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(settings.keepalive));
    }
    bound_unsent(&socket);
    // It counts also for an endpoint whose host acknowledges, and whose window stays shut.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(settings.write_timeout));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::HeadLimits;
    use crate::proxy::wire::WireProtocol;
    use std::time::Duration;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn options_are_set_as_the_settings_say() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let heads = HeadLimits { line: 1, fields_bytes: 1, fields: 1 };
        let usual = ClientSettings::new(WireProtocol::Http1, heads);
        let write_timeout = Duration::from_secs(7);
        let other = ClientSettings { no_delay: false, keep_alive: false, write_timeout, ..usual.clone() };
        for settings in [usual, other] {
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            set_options(&stream, &settings);
            let socket = SockRef::from(&stream);
            let set = (socket.tcp_nodelay().unwrap(), socket.keepalive().unwrap());
            assert_eq!(set, (settings.no_delay, settings.keep_alive));
            #[cfg(target_os = "linux")]
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(settings.write_timeout));
            #[cfg(target_os = "linux")]
            assert_eq!(socket.tcp_notsent_lowat().unwrap(), 128 * 1024);
        }
    }
}
