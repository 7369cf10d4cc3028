//! The API server of a cluster without any service: complete lists without objects, and watches in which nothing happens.

use super::process::Error;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Starts the server as a task of this thread, and returns where it serves.
pub(crate) async fn start() -> Result<SocketAddr, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // The end of a connection, however it comes, ends its task.
            tokio::task::spawn_local(serve(stream));
        }
    });
    Ok(address)
}

async fn serve(mut stream: TcpStream) -> Result<(), Error> {
    let mut received = Vec::new();
    while stream.read_buf(&mut received).await? > 0 {
        if !received.ends_with(b"\r\n\r\n") {
            continue;
        }
        let head = String::from_utf8_lossy(&received).into_owned();
        received.clear();
        if head.contains("watch=true") && !head.contains("sendInitialEvents=true") {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            continue;
        }
        let (status, body) = if head.contains("sendInitialEvents=true") {
            // Lists are asked for page by page then.
            let invalid = r#""status":"Failure","message":"Invalid","reason":"Invalid","code":422"#;
            (
                "422 Unprocessable Entity",
                format!(r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},{invalid}}}"#),
            )
        } else {
            let (kind, version) = if head.contains("/endpointslices") {
                ("EndpointSliceList", "discovery.k8s.io/v1")
            } else {
                ("ServiceList", "v1")
            };
            let meta = r#""metadata":{"resourceVersion":"1"},"items":[]"#;
            ("200 OK", format!(r#"{{"kind":"{kind}","apiVersion":"{version}",{meta}}}"#))
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await?;
    }
    Ok(())
}
