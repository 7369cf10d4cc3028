//! How long a proxy takes from its start to its first answer, and what it takes of memory then.
//!
//! The router is the `signpost` binary with a worker per core, as a user starts it; the pass-through has one.

use super::child::{Error, resident};
use super::signpost;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs};
use tokio::time::Instant;

/// One start.
pub(crate) struct Start {
    /// From the start of the process to the first bytes of an answer.
    pub(crate) took: Duration,
    /// What was resident then, in bytes.
    pub(crate) resident: u64,
}

/// A process that is killed by its id when dropped.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts both in turn: the pass-through, then the router.
pub(crate) fn starts(rounds: usize, upstreams: [&str; 3]) -> Result<[Vec<Start>; 2], Error> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("loopback.yaml");
    fs::write(&file, signpost::config(folder.path(), upstreams)?)?;
    let (mut bare, mut routed) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(passthrough(upstreams[0])?);
        routed.push(router(&file)?);
    }
    Ok([bare, routed])
}

fn passthrough(upstream: &str) -> Result<Start, Error> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["passthrough", "http1", "http1", upstream]);
    // Its standard input stays open: it ends with it.
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    start(command, |child| child.stdout.take(), |_| true)
}

fn router(file: &Path) -> Result<Start, Error> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signpost"));
    command.arg("run").arg(file).env("SIGNPOST_LOG", "info").stderr(Stdio::piped());
    start(command, |child| child.stderr.take(), |line| line.contains(" serving "))
}

/// Starts a process, finds in what it prints where it serves, and asks it until it has answered.
fn start<R: Read>(
    mut command: Command,
    output: impl Fn(&mut Child) -> Option<R>,
    serves: impl Fn(&str) -> bool,
) -> Result<Start, Error> {
    let began = Instant::now();
    let mut child = Started(command.spawn()?);
    let mut output = BufReader::new(output(&mut child.0).ok_or("a proxy has no pipe")?);
    let mut line = String::new();
    let address = loop {
        line.clear();
        if output.read_line(&mut line)? == 0 {
            return Err("a proxy ended early".into());
        }
        if serves(&line) {
            let address = line.rsplit(['=', ' ']).next().unwrap_or_default();
            break address.trim().to_owned();
        }
    };
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /bytes/1024 HTTP/1.1\r\nHost: world\r\n\r\n")?;
    let mut status = [0; 13];
    stream.read_exact(&mut status)?;
    let took = began.elapsed();
    if status != *b"HTTP/1.1 200 " {
        return Err(format!("an unexpected answer: {}", status.escape_ascii()).into());
    }
    Ok(Start { took, resident: resident(child.0.id())? })
}
