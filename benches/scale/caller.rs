//! A caller: it asks for services over one keep-alive connection, and is told which pod answered.

use super::process::Error;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One connection to the router.
pub(crate) struct Caller {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Caller {
    pub(crate) async fn connect(router: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(router).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(4 * 1024) })
    }

    /// Asks for a path; gives the address of the pod that answered.
    pub(crate) async fn ask(&mut self, path: &str) -> Result<Ipv4Addr, Error> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: world\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        self.answer.clear();
        loop {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err("the connection was closed".into());
            }
            if let Some(body) = body(&self.answer)? {
                let text = std::str::from_utf8(body)?;
                return text.parse().map_err(|_| format!("{path}: an unexpected answer: {text}").into());
            }
        }
    }
}

/// The body of an answer; None as long as it is not whole.
fn body(answer: &[u8]) -> Result<Option<&[u8]>, Error> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(len) = head.parse(answer)? else { return Ok(None) };
    let length = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length: usize = std::str::from_utf8(length.ok_or("an answer without a length")?.value)?.parse()?;
    Ok(answer[len..].get(..length))
}
