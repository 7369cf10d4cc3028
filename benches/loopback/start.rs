//! How long a proxy takes from its start to its first answer, and what it takes of memory then.
//!
//! The router is the `signpost` binary with a worker per core, as a user starts it; the pass-through has one.

use super::process::{Error, resident};
use super::signpost;
use super::started::Started;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

/// One start.
pub(crate) struct Start {
    /// From the start of the process to the first bytes of an answer.
    pub(crate) took: Duration,
    /// What was resident then, in bytes.
    pub(crate) resident: u64,
}

/// Starts both in turn: the pass-through, then the router.
pub(crate) fn starts(rounds: usize, upstreams: [&str; 3]) -> Result<[Vec<Start>; 2], Error> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("loopback.yaml");
    fs::write(&file, signpost::config(folder.path(), upstreams)?)?;
    let (mut bare, mut routed) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(ask(&passthrough(upstreams[0])?)?);
        routed.push(ask(&Started::router(&file)?)?);
    }
    Ok([bare, routed])
}

fn passthrough(upstream: &str) -> Result<Started, Error> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["passthrough", "http1", "http1", upstream]);
    // Its standard input stays open: it ends with it.
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Started::start(command, |child| child.stdout.take(), |_| true)
}

/// Asks a proxy until it has answered.
fn ask(proxy: &Started) -> Result<Start, Error> {
    let mut stream = TcpStream::connect(proxy.address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /bytes/1024 HTTP/1.1\r\nHost: world\r\n\r\n")?;
    let mut status = [0; 13];
    stream.read_exact(&mut status)?;
    let took = proxy.began.elapsed();
    if status != *b"HTTP/1.1 200 " {
        return Err(format!("an unexpected answer: {}", status.escape_ascii()).into());
    }
    Ok(Start { took, resident: resident(proxy.id())? })
}
