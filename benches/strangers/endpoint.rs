//! The endpoints, over HTTP/2: one that answers each request when its body has come, one that answers none.

use super::process::Error;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use tokio::net::{TcpListener, TcpStream};

/// How many requests each takes at once on a connection: the one that answers, and the other.
const STREAMS: [u32; 2] = [100, 10_000];

/// Serves both, and says where.
pub(crate) async fn run(addresses: Sender<SocketAddr>) -> Result<(), Error> {
    let mut listeners = Vec::new();
    for _ in STREAMS {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        addresses.send(listener.local_addr()?)?;
        listeners.push(listener);
    }
    for (listener, streams) in listeners.into_iter().zip(STREAMS) {
        tokio::task::spawn_local(accept(listener, streams));
    }
    std::future::pending().await
}

async fn accept(listener: TcpListener, streams: u32) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::task::spawn_local(serve(stream, streams));
    }
}

async fn serve(stream: TcpStream, streams: u32) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let mut builder = h2::server::Builder::new();
    let mut connection = builder.max_concurrent_streams(streams).handshake::<_, Bytes>(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted?;
        tokio::task::spawn_local(async move {
            if streams != STREAMS[0] {
                return std::future::poll_fn(|cx| respond.poll_reset(cx)).await.map(drop);
            }
            let mut body = request.into_body();
            while let Some(part) = body.data().await {
                body.flow_control().release_capacity(part?.len())?;
            }
            let response = http::Response::builder().header("content-length", 2).body(());
            let mut out = respond.send_response(response.unwrap_or_default(), false)?;
            out.send_data(Bytes::from_static(b"hi"), true)
        });
    }
    Ok(())
}
