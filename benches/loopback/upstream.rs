//! The service behind the proxies: a fixed answer to whatever ends with an empty line, from raw sockets.

use super::child::{Error, commands, on_one_thread};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The length of every answer's body.
pub(crate) const BODY: usize = 1024;

/// What the body of the stable version consists of, and that of the one an override leads to.
pub(crate) const STABLE: u8 = b'1';
pub(crate) const STAGED: u8 = b'2';

/// Serves both versions, each on a port of its own, and prints where.
pub(crate) fn run() -> Result<(), Error> {
    let _commands = commands();
    on_one_thread(async {
        for version in [STABLE, STAGED] {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            println!("{}", listener.local_addr()?);
            tokio::task::spawn_local(accept(listener, version));
        }
        std::future::pending().await
    })
}

async fn accept(listener: TcpListener, version: u8) {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: upstream\r\n\
         Content-Type: text/plain\r\nContent-Length: {BODY}\r\n\r\n"
    )
    .into_bytes();
    answer.resize(answer.len() + BODY, version);
    while let Ok((stream, _)) = listener.accept().await {
        tokio::task::spawn_local(serve(stream, answer.clone()));
    }
}

/// Answers every request of a connection; its end, however it comes, ends this.
async fn serve(mut stream: TcpStream, answer: Vec<u8>) {
    let mut request = Vec::with_capacity(4096);
    while matches!(stream.read_buf(&mut request).await, Ok(read) if read > 0) {
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}
