//! `signpost probe`: asks an admin server whether it is live or ready, in containers without another HTTP client.

use super::Exit;
use super::run::fail;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
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

Exit codes: 0 if the page answers 200, 1 if it answers with another status or not at all. For the exec probes of
containers whose admin server stays on loopback.")]
pub(super) struct Arguments {
    /// The address of the admin server
    #[arg(value_name = "IP:PORT", default_value = "127.0.0.1:9990")]
    address: SocketAddr,
    /// The page to ask for
    #[arg(value_name = "PATH", default_value = "/admin/ready", value_parser = page)]
    page: String,
}

/// Parses a path that can stand in a request's first line.
fn page(text: &str) -> Result<String, &'static str> {
    let is_page = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_page.then(|| text.to_owned()).ok_or("a path such as /admin/ready is expected")
}

/// Asks for the page, and prints the answer on standard error unless its status is 200.
pub(super) fn run(Arguments { address, page }: &Arguments) -> Exit {
    match ask(*address, page) {
        Ok(line) if line.split(' ').nth(1) == Some("200") => Exit::Done,
        Ok(line) => fail(&format!("http://{address}{page}: {line}")),
        Err(error) => fail(&format!("http://{address}{page}: {error}")),
    }
}

/// Returns the first line of the answer.
fn ask(address: SocketAddr, page: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, STEP_TIMEOUT)?;
    stream.set_read_timeout(Some(STEP_TIMEOUT))?;
    stream.set_write_timeout(Some(STEP_TIMEOUT))?;
    write!(stream, "GET {page} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}
