//! The upstream over HTTP/2.

use super::Error;
use crate::exchange::asked;
use crate::streams::{self, CONNECTION_WINDOW, STREAM_WINDOW};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use tokio::net::{TcpListener, TcpStream};

/// The longest body that can be asked for.
const MOST: usize = 1 << 20;

pub(super) async fn accept(listener: TcpListener, version: u8) {
    let body = Bytes::from(vec![version; MOST]);
    while let Ok((stream, _)) = listener.accept().await {
        tokio::task::spawn_local(serve(stream, body.clone()));
    }
}

/// Answers every request of a connection; its end, however it comes, ends this.
async fn serve(stream: TcpStream, body: Bytes) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let mut connection = Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(stream)
        .await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        tokio::task::spawn_local(answer(request, respond, body.clone()));
    }
    Ok(())
}

/// Answers one request, when it was read to its end.
async fn answer(
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    body: Bytes,
) -> Result<(), Error> {
    let body = body.slice(..asked(request.uri().path())?.min(MOST));
    streams::read(request.into_body()).await?;
    let response = http::Response::builder()
        .header("date", "Thu, 01 Jan 1970 00:00:00 GMT")
        .header("server", "upstream")
        .header("content-type", "text/plain")
        .header("content-length", body.len())
        .body(())?;
    streams::send(respond.send_response(response, false)?, body).await
}
