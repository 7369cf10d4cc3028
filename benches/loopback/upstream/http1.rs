//! The upstream over HTTP/1, from raw sockets.

use super::Error;
use crate::exchange::asked;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub(super) async fn accept(listener: TcpListener, version: u8) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::task::spawn_local(serve(stream, version));
    }
}

/// Answers every request of a connection; its end, however it comes, ends this.
async fn serve(mut stream: TcpStream, version: u8) -> Result<(), Error> {
    let mut received = Vec::with_capacity(64 * 1024);
    let (mut answered, mut answer) = (None, Vec::new());
    loop {
        let asked = read(&mut stream, &mut received).await?;
        if answered != Some(asked) {
            (answered, answer) = (Some(asked), answer_of(asked, version));
        }
        stream.write_all(&answer).await?;
    }
}

/// Reads one request to its end; says how many bytes it asks for.
async fn read(stream: &mut TcpStream, received: &mut Vec<u8>) -> Result<usize, Error> {
    received.clear();
    let (asked, mut left) = loop {
        more(stream, received).await?;
        if let Some((asked, len)) = parse(received)? {
            break (asked, len - received.len());
        }
    };
    while left > 0 {
        received.clear();
        left -= more(stream, received).await?;
    }
    Ok(asked)
}

async fn more(stream: &mut TcpStream, received: &mut Vec<u8>) -> Result<usize, Error> {
    match stream.read_buf(received).await? {
        0 => Err("the connection was closed".into()),
        read => Ok(read),
    }
}

/// How many bytes a request asks for, and how long it is; None as long as its head is not whole.
fn parse(received: &[u8]) -> Result<Option<(usize, usize)>, Error> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(head) = request.parse(received)? else { return Ok(None) };
    let length = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(Ok("0"), |field| std::str::from_utf8(field.value))?;
    Ok(Some((asked(request.path.unwrap_or_default())?, head + length.parse::<usize>()?)))
}

fn answer_of(bytes: usize, version: u8) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: upstream\r\n\
         Content-Type: text/plain\r\nContent-Length: {bytes}\r\n\r\n"
    )
    .into_bytes();
    answer.resize(answer.len() + bytes, version);
    answer
}
