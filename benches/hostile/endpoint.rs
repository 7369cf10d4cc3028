//! The endpoints: two of 100 streams a connection that answer each its own text, and one of 10,000 streams that does not
//! answer; and the API server beside them.

use super::api;
use super::process::Error;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use tokio::net::{TcpListener, TcpStream};

/// The answers, and `None` where none comes.
const ANSWERS: [Option<&str>; 3] = [Some("old"), Some("new"), None];

/// Serves, and says where: the endpoints, and the API server.
pub(crate) async fn run(addresses: Sender<SocketAddr>) -> Result<(), Error> {
    for answer in ANSWERS {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        addresses.send(listener.local_addr()?)?;
        tokio::task::spawn_local(accept(listener, answer));
    }
    addresses.send(api::start().await?)?;
    std::future::pending().await
}

async fn accept(listener: TcpListener, answer: Option<&'static str>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::task::spawn_local(serve(stream, answer));
    }
}

async fn serve(stream: TcpStream, answer: Option<&'static str>) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let streams = if answer.is_some() { 100 } else { 10_000 };
    let mut builder = h2::server::Builder::new();
    let mut connection = builder.max_concurrent_streams(streams).handshake::<_, Bytes>(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted?;
        tokio::task::spawn_local(async move {
            let Some(answer) = answer else {
                return std::future::poll_fn(|cx| respond.poll_reset(cx)).await.map(drop);
            };
            let mut body = request.into_body();
            while let Some(part) = body.data().await {
                body.flow_control().release_capacity(part?.len())?;
            }
            let response = http::Response::builder().header("content-length", answer.len()).body(());
            let mut out = respond.send_response(response.unwrap_or_default(), false)?;
            out.send_data(Bytes::from_static(answer.as_bytes()), true)
        });
    }
    Ok(())
}
