//! A caller over HTTP/1: a raw socket, so that the load costs little.

use super::{Error, Exchange};
use std::fmt::Write as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One keep-alive connection.
pub(super) struct Caller {
    stream: TcpStream,
    exchange: Exchange,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Caller {
    pub(super) async fn connect(address: &str, exchange: Exchange) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, exchange, request: request(exchange)?, answer: Vec::with_capacity(64 * 1024) })
    }

    /// Makes one request and reads its answer.
    pub(super) async fn ask(&mut self) -> Result<(), Error> {
        self.answer.clear();
        self.stream.write_all(&self.request).await?;
        let head = loop {
            self.read().await?;
            if let Some(end) = self.answer.windows(4).position(|end| end == b"\r\n\r\n") {
                break end + 4;
            }
        };
        if !self.answer.starts_with(b"HTTP/1.1 200 ") {
            return Err(format!("an unexpected answer: {}", self.answer[..head].escape_ascii()).into());
        }
        let mut came = self.answer.len() - head;
        while came < self.exchange.response {
            self.answer.clear();
            came += self.read().await?;
        }
        let right = came == self.exchange.response && self.answer.ends_with(&[self.exchange.version()]);
        right.then_some(()).ok_or_else(|| "an unexpected body".into())
    }

    async fn read(&mut self) -> Result<usize, Error> {
        match self.stream.read_buf(&mut self.answer).await? {
            0 => Err("the connection was closed".into()),
            read => Ok(read),
        }
    }
}

fn request(exchange: Exchange) -> Result<Vec<u8>, Error> {
    let mut head = format!("{} {} HTTP/1.1\r\nHost: world\r\n", exchange.method(), exchange.path());
    for (name, value) in exchange.fields() {
        write!(head, "{name}: {value}\r\n")?;
    }
    let mut request = format!("{head}\r\n").into_bytes();
    request.resize(request.len() + exchange.upload, b'u');
    Ok(request)
}
