//! The binary as a process of its own, as a shell sees it.

use super::within;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use tokio::sync::mpsc;

/// The command, in the folder where the project's own files are.
pub(crate) fn signpost(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signpost"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("SIGNPOST_LOG");
    command
}

/// Runs the command to its end; what it is given on standard input ends at once.
pub(crate) fn run(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = signpost(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary is there");
    // A program that does not read its input may have ended already.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("it writes text");
    (status.code().expect("it was not killed"), text(stdout), text(stderr))
}

/// A process that serves until it is told to stop; killed when dropped.
pub(crate) struct Serving {
    pub(crate) child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already, unless the test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    /// Starts the command; its lines on standard output and standard error can be awaited.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with_input(arguments, Stdio::null())
    }

    /// Does so with a standard input.
    pub(crate) fn start_with_input(arguments: &[&str], input: Stdio) -> Self {
        let mut command = signpost(arguments);
        command.stdin(input);
        Self::start_command(command)
    }

    /// Does so with a command that may have an environment of its own.
    pub(crate) fn start_command(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary is there");
        let (sender, lines) = mpsc::unbounded_channel();
        send_lines(child.stdout.take().expect("it is piped"), sender.clone());
        send_lines(child.stderr.take().expect("it is piped"), sender);
        Self { child, lines }
    }

    /// Waits for a line with this text; returns all lines up to it.
    pub(crate) async fn until(&mut self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let reading = async {
            while let Some(line) = self.lines.recv().await {
                let found = line.contains(text);
                lines.push(line);
                if found {
                    return true;
                }
            }
            false
        };
        let found = within(text, reading).await;
        assert!(found, "{text:?} is not among {lines:#?}");
        lines
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: &str) {
        // The shell's own `kill` is everywhere.
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("there is a shell").success());
    }

    /// Sends a signal; returns the code that the process ends with.
    pub(crate) async fn end(mut self, signal: &str) -> Option<i32> {
        self.signal(signal);
        let ending = async { while self.lines.recv().await.is_some() {} };
        within("the end of the process", ending).await;
        // Its output has ended, so it has, or does.
        self.child.wait().expect("it is our child").code()
    }
}

fn send_lines(source: impl std::io::Read + Send + 'static, sender: mpsc::UnboundedSender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
}

/// The address at the end of the first line with this text.
pub(crate) fn address(lines: &[String], text: &str) -> SocketAddr {
    let line = lines.iter().find(|line| line.contains(text)).expect("it says where it serves");
    let port = line.rsplit(':').next().and_then(|port| port.trim().parse().ok()).expect("a port");
    SocketAddr::from(([127, 0, 0, 1], port))
}
