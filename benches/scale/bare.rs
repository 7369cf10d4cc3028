//! A bare watch beside the router's: when a change reaches a client that does nothing but read. On a busy machine that
//! takes its time as well.

use super::process::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::{JoinHandle, spawn};
use tokio::time::Instant;

/// Follows so many changes of slices from now on, on a thread of its own; gives when each came.
pub(crate) fn watch(
    api: SocketAddr,
    changes: usize,
) -> Result<JoinHandle<Result<Vec<Instant>, Error>>, Error> {
    let mut stream = TcpStream::connect(api)?;
    // Behind all that was.
    let target = format!("/apis/discovery.k8s.io/v1/endpointslices?watch=true&resourceVersion={}", u64::MAX);
    write!(stream, "GET {target} HTTP/1.1\r\nHost: api\r\n\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    lines.next().ok_or("the API server closed a watch")??;
    Ok(spawn(move || {
        let mut came = Vec::with_capacity(changes);
        while came.len() < changes {
            let line = lines.next().ok_or("the API server closed a watch")??;
            if line.starts_with(r#"{"type":"MODIFIED""#) {
                came.push(Instant::now());
            }
        }
        Ok(came)
    }))
}
