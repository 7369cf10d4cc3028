//! The pods: all addresses of this machine at one port, each of which says which one it is.

use super::process::Error;
use std::net::{IpAddr, Ipv4Addr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Opens the port; others than this machine are not answered.
pub(crate) async fn listen() -> Result<TcpListener, Error> {
    Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?)
}

/// Serves every connection.
pub(crate) async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::task::spawn_local(answer(stream));
    }
}

/// Answers every request of a connection with the address that it came to; its end, however it comes, ends this.
async fn answer(mut stream: TcpStream) -> Result<(), Error> {
    let here = stream.local_addr()?.ip();
    if !matches!(here, IpAddr::V4(here) if here.is_loopback()) {
        return Ok(());
    }
    stream.set_nodelay(true)?;
    let here = here.to_string();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{here}", here.len());
    let mut received = Vec::with_capacity(4 * 1024);
    while stream.read_buf(&mut received).await? > 0 {
        // No request has a body.
        if received.ends_with(b"\r\n\r\n") {
            received.clear();
            stream.write_all(answer.as_bytes()).await?;
        }
    }
    Ok(())
}
