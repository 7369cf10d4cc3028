//! `signpost probe`: asks an admin server whether it is live or ready, in containers without another HTTP client.

use super::Exit;
use super::run::fail;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// The limit on the time of each step: connecting, sending, and each part of the answer.
const STEP_TIMEOUT: Duration = Duration::from_secs(1);

/// The limit on the bytes read of an answer, which begins with its status.
const ANSWER_BYTES: u64 = 256;

/// The command line of `signpost probe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  signpost probe                              whether requests may be sent to the router of this machine
  signpost probe 127.0.0.1:9991 /admin/live   whether another one is alive
  signpost probe signpost.ingress.svc:9990    one by its name

Exit codes: 0 if the page answers 200, 1 if it answers with another status or not at all. For the exec probes of
containers whose admin server stays on loopback.")]
pub(super) struct Arguments {
    /// The admin server: its address or its name, and its port
    #[arg(value_name = "HOST:PORT", default_value = "127.0.0.1:9990", value_parser = authority)]
    address: String,
    /// The page to ask for
    #[arg(value_name = "PATH", default_value = "/admin/ready", value_parser = page)]
    page: String,
}

/// Parses a host with its port.
fn authority(text: &str) -> Result<String, &'static str> {
    let (host, port) = text.rsplit_once(':').unwrap_or_default();
    let is_host =
        host.starts_with('[') && host.ends_with(']') || !host.is_empty() && !host.contains([':', '/']);
    let is_authority =
        is_host && host.bytes().all(|byte| byte.is_ascii_graphic()) && port.parse::<u16>().is_ok();
    is_authority
        .then(|| text.to_owned())
        .ok_or("a host and a port are expected, such as 127.0.0.1:9990 or localhost:9990")
}

/// Parses a path that can stand in a request's first line.
fn page(text: &str) -> Result<String, &'static str> {
    let is_page = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_page.then(|| text.to_owned()).ok_or("a path such as /admin/ready is expected")
}

/// Asks for the page, and prints the answer on standard error unless its status is 200.
pub(super) fn run(Arguments { address, page }: &Arguments) -> Exit {
    match ask(address, page) {
        Ok(line) if line.split(' ').nth(1) == Some("200") => Exit::Done,
        Ok(line) => fail(&format!("http://{address}{page}: {line}")),
        Err(error) => fail(&format!("http://{address}{page}: {error}")),
    }
}

/// Returns the first line of the answer.
fn ask(address: &str, page: &str) -> io::Result<String> {
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(STEP_TIMEOUT))?;
    stream.set_write_timeout(Some(STEP_TIMEOUT))?;
    write!(stream, "GET {page} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}

/// Connects to the first address of a host that accepts. A name is looked up by the system, in the time that it takes.
fn connect(address: &str) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, STEP_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
