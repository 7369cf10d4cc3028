//! Opens connections to endpoints.

use super::error::Error;
use super::http1::Conn;
use super::lend::{Buffer, Lender};
use socket2::{SockRef, TcpKeepalive};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection may take to open.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How long an endpoint's host may leave unacknowledged what was sent to it, and be silent before it is probed.
const SILENCE: Duration = Duration::from_secs(30);

/// Opens a connection for HTTP/1 to `address`.
pub(crate) async fn connect(address: SocketAddr, buffers: &Lender<Buffer>) -> Result<Rc<Conn>, Error> {
    Ok(Conn::new(open(address).await?, buffers.clone()))
}

/// Opens a connection to `address`.
pub(crate) async fn open(address: SocketAddr) -> Result<TcpStream, Error> {
    let stream = match timeout(TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(Error::Connecting { address, source }),
        Err(_) => return Err(Error::ConnectTimeout { address, timeout: TIMEOUT }),
    };
    set_options(&stream);
    Ok(stream)
}

/// Options without which a socket still works, so that it does not matter when one is refused.
fn set_options(stream: &TcpStream) {
    // A small request must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    // A node that is lost says nothing: what was sent must be acknowledged, and silence is probed.
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENCE));
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(SILENCE));
}
