//! A caller over HTTP/2: one stream at a time on a connection that it may share with others.

use super::{Error, Exchange};
use crate::streams::{self, CONNECTION_WINDOW, STREAM_WINDOW};
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use std::future::poll_fn;
use tokio::net::TcpStream;

/// One caller; its clones share its connection, which ends with the last of them.
#[derive(Clone)]
pub(super) struct Caller {
    sender: SendRequest<Bytes>,
    exchange: Exchange,
    request: http::Request<()>,
    upload: Bytes,
}

impl Caller {
    pub(super) async fn connect(address: &str, exchange: Exchange) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(stream)
            .await?;
        tokio::task::spawn_local(connection);
        let mut request = http::Request::builder()
            .method(exchange.method())
            .uri(format!("http://world{}", exchange.path()));
        for (name, value) in exchange.fields() {
            request = request.header(name, value);
        }
        let upload = vec![b'u'; exchange.upload].into();
        Ok(Self { sender, exchange, request: request.body(())?, upload })
    }

    /// Makes one request and reads its answer.
    pub(super) async fn ask(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.sender.poll_ready(cx)).await?;
        let (response, stream) = self.sender.send_request(self.request.clone(), self.upload.is_empty())?;
        streams::send(stream, self.upload.clone()).await?;
        let response = response.await?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("an unexpected answer: {response:?}").into());
        }
        let body = streams::read(response.into_body()).await?;
        let right = body == (self.exchange.response, Some(self.exchange.version()));
        right.then_some(()).ok_or_else(|| "an unexpected body".into())
    }
}
