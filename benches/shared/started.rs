//! A process that serves, started and timed.

use super::process::Error;
use std::io::{BufRead as _, BufReader, Read, copy, sink};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tokio::time::Instant;

/// A process that serves. It is killed by its id when dropped.
pub(crate) struct Started {
    process: Killed,
    pub(crate) began: Instant,
    /// Where it serves.
    pub(crate) address: SocketAddr,
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Started {
    /// Starts the `signpost` binary with a configuration, as a user starts it: it has a worker for each core.
    pub(crate) fn router(file: &Path) -> Result<Self, Error> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_signpost"));
        command.arg("run").arg(file).env("SIGNPOST_LOG", "info").stderr(Stdio::piped());
        Self::start(command, |process| process.stderr.take(), |line| line.contains(" serving "))
    }

    /// Starts a process, and finds in what it prints where it serves: behind the last blank or equals sign of a line.
    pub(crate) fn start<R: Read + Send + 'static>(
        mut command: Command,
        output: impl Fn(&mut Child) -> Option<R>,
        serves: impl Fn(&str) -> bool,
    ) -> Result<Self, Error> {
        let began = Instant::now();
        let mut process = Killed(command.spawn()?);
        let mut output = BufReader::new(output(&mut process.0).ok_or("a proxy has no pipe")?);
        let mut line = String::new();
        let address = loop {
            line.clear();
            if output.read_line(&mut line)? == 0 {
                return Err("a proxy ended early".into());
            }
            if serves(&line) {
                let address = line.rsplit(['=', ' ']).next().unwrap_or_default();
                break address.trim().parse()?;
            }
        };
        // Whatever else it says must not stop it; that ends with it.
        std::thread::spawn(move || copy(&mut output, &mut sink()));
        Ok(Self { process, began, address })
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.0.id()
    }
}
