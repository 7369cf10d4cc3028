//! Opens connections to endpoints.

use super::error::Error;
use super::http1::Conn;
use super::lend::{Buffer, Lender};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection may take to open.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Opens a connection to `address`.
pub(crate) async fn connect(address: SocketAddr, buffers: &Lender<Buffer>) -> Result<Rc<Conn>, Error> {
    let stream = match timeout(TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) => return Err(Error::Connecting { address, source }),
        Err(_) => return Err(Error::ConnectTimeout { address, timeout: TIMEOUT }),
    };
    // A small request must not wait for the acknowledgement of the one before; a socket that refuses still works.
    let _ = stream.set_nodelay(true);
    Ok(Conn::new(stream, buffers.clone(), (None, None)))
}
