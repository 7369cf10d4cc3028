//! The endpoint, which answers every request at once, and the API server beside it.

use super::api;
use super::child::{Error, commands, on_one_thread};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Serves, and prints where: the endpoint, and the API server. The requests have no bodies.
pub(crate) fn run() -> Result<(), Error> {
    let _commands = commands();
    on_one_thread(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        println!("{}", api::start().await?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::task::spawn_local(async move {
                let (mut bytes, mut end) = (vec![0; 65536], 0);
                while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                    for byte in &bytes[..read] {
                        // The end of a head, across reads.
                        end = match (byte, end) {
                            (b'\r', 0 | 2) | (b'\n', 1 | 3) => end + 1,
                            (b'\r', _) => 1,
                            _ => 0,
                        };
                        if end == 4 {
                            end = 0;
                            if stream.write_all(RESPONSE).await.is_err() {
                                return;
                            }
                        }
                    }
                }
            });
        }
    })
}
