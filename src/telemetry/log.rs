//! Logs that are kept: lines are handed over without waiting, and each log has one thread that writes them.
//!
//! A log that cannot be written as fast as lines come loses lines and never holds anybody up.

mod file;
mod roll_policy;

pub use self::file::LogFile;
pub use self::roll_policy::RollPolicy;

use self::file::RollingFile;
use super::{Counter, Registry};
use jiff::Timestamp;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::{mpsc, oneshot};

/// The most bytes of lines that wait to be written to one log: 8 MiB.
const MOST_QUEUED: usize = 8 << 20;
/// What a waiting line costs besides its text.
const OVERHEAD: usize = 64;
/// How many bytes are gathered before they are written: 64 KiB.
const BATCH: usize = 64 << 10;

/// What is lost when a log cannot be written, in a sentence without its full stop.
const UNWRITTEN: (&str, &str) =
    ("unwritten_log_lines", "Lines of a log that are lost because writing them failed");

/// Where the lines of a log are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogTarget {
    /// The standard output of the process.
    StandardOutput,
    /// A file.
    File(LogFile),
}

impl LogTarget {
    /// Returns whether both are one place, whatever else is said of it. Links are not followed.
    pub fn is_same_place(&self, other: &Self) -> bool {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        match (self, other) {
            (Self::StandardOutput, Self::StandardOutput) => true,
            (Self::File(a), Self::File(b)) => absolute(&a.path) == absolute(&b.path),
            _ => false,
        }
    }

    /// Its name in metrics and messages.
    fn name(&self) -> String {
        match self {
            Self::StandardOutput => "standard output".to_owned(),
            Self::File(file) => file.path.display().to_string(),
        }
    }
}

/// The way of lines to the thread that writes their log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogHandle {
    sender: mpsc::UnboundedSender<LogMessage>,
    /// How many bytes wait: the bound of the queue.
    queued: Arc<AtomicUsize>,
}

enum LogMessage {
    Line(Vec<u8>),
    Reopen,
}

impl LogHandle {
    /// Hands over a line, which ends with its line end. Never waits.
    ///
    /// Returns false when the line is lost, because 8 MiB wait already.
    pub fn write(&self, line: Vec<u8>) -> bool {
        let size = line.capacity() + OVERHEAD;
        let has_room = self.queued.fetch_add(size, Relaxed) + size <= MOST_QUEUED;
        let queued = has_room && self.sender.send(LogMessage::Line(line)).is_ok();
        if !queued {
            self.queued.fetch_sub(size, Relaxed);
        }
        queued
    }
}

/// The logs of a process. Each place has one writer, however many write to it.
#[derive(Debug, Default)]
pub struct Logs(Vec<Log>);

#[derive(Debug)]
struct Log {
    target: LogTarget,
    lines: LogHandle,
    /// Closed when the writer has ended.
    ended: oneshot::Receiver<()>,
}

impl Logs {
    /// Opens a log, or joins the writer of the one that is open at the same place.
    ///
    /// The folder of a file is made when it is missing.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or no thread can be started.
    pub fn open(&mut self, target: &LogTarget, registry: &Registry) -> io::Result<LogHandle> {
        if let Some(log) = self.0.iter().find(|log| log.target.is_same_place(target)) {
            return Ok(log.lines.clone());
        }
        let output = match target {
            LogTarget::StandardOutput => LogOutput::Standard,
            LogTarget::File(file) => LogOutput::File(RollingFile::open(file.clone(), Timestamp::now())?),
        };
        let (name, (metric, meaning)) = (target.name(), UNWRITTEN);
        registry.describe(metric, meaning);
        let unwritten = registry.counter(metric, &[("log", &name)]);
        let (sender, messages) = mpsc::unbounded_channel();
        let lines = LogHandle { sender, queued: Arc::default() };
        let (end, ended) = oneshot::channel();
        let writer = LogWriter::new(name, output, unwritten);
        let queued = Arc::clone(&lines.queued);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            writer.run(messages, &queued);
            drop(end);
        })?;
        self.0.push(Log { target: target.clone(), lines: lines.clone(), ended });
        Ok(lines)
    }

    /// Opens every file anew, so that a file that was moved aside can be replaced. Lines are appended.
    pub fn reopen(&self) {
        for log in &self.0 {
            // A writer that has ended has nothing to open.
            let _ = log.lines.sender.send(LogMessage::Reopen);
        }
    }

    /// Waits until all that was handed over is written; to be called when nobody holds [`LogHandle`] any more.
    pub async fn ended(self) {
        for Log { lines, ended, .. } in self.0 {
            drop(lines);
            // The error says that the other end is gone, which is the news.
            let _ = ended.await;
        }
    }
}

/// Where a writer writes.
enum LogOutput {
    Standard,
    File(RollingFile),
}

/// What one thread has to do: gather lines, and write them whole.
struct LogWriter {
    name: String,
    output: LogOutput,
    batch: Vec<u8>,
    /// How many lines the batch holds.
    lines: u64,
    unwritten: Counter,
    /// Whether the last write failed: it is said once, not of each line.
    fails: bool,
}

impl LogWriter {
    fn new(name: String, output: LogOutput, unwritten: Counter) -> Self {
        Self { name, output, batch: Vec::with_capacity(BATCH), lines: 0, unwritten, fails: false }
    }

    /// Writes until nobody can send any more.
    fn run(mut self, mut messages: mpsc::UnboundedReceiver<LogMessage>, queued: &AtomicUsize) {
        while let Some(message) = messages.blocking_recv() {
            self.take(message, queued);
            while let Ok(message) = messages.try_recv() {
                self.take(message, queued);
            }
            self.flush();
        }
    }

    fn take(&mut self, message: LogMessage, queued: &AtomicUsize) {
        match message {
            LogMessage::Line(line) => {
                queued.fetch_sub(line.capacity() + OVERHEAD, Relaxed);
                self.add(&line, Timestamp::now());
            }
            LogMessage::Reopen => {
                self.flush();
                self.reopen();
            }
        }
    }

    fn add(&mut self, line: &[u8], now: Timestamp) {
        let is_due =
            matches!(&self.output, LogOutput::File(file) if file.is_due(self.batch.len(), line.len(), now));
        if is_due || self.batch.len() + line.len() > BATCH {
            self.flush();
        }
        if is_due && let LogOutput::File(file) = &mut self.output {
            let rolled = file.roll(now);
            self.report("rolled", rolled);
        }
        self.batch.extend_from_slice(line);
        self.lines += 1;
    }

    fn reopen(&mut self) {
        if let LogOutput::File(file) = &mut self.output {
            let reopened = file.reopen(Timestamp::now());
            self.report("opened anew", reopened);
        }
    }

    /// Says that the file stays as it is.
    fn report(&self, what: &str, done: io::Result<()>) {
        if let Err(error) = done {
            tracing::warn!(log = self.name, %error, "a log cannot be {what}, and is continued as it is");
        }
    }

    /// Writes what was gathered: whole lines, in one write when the system takes them.
    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let written = match &mut self.output {
            LogOutput::Standard => {
                let mut out = io::stdout().lock();
                out.write_all(&self.batch).and_then(|()| out.flush())
            }
            LogOutput::File(file) => file.write(&self.batch),
        };
        if let Err(error) = &written {
            self.unwritten.add(self.lines);
            if !self.fails {
                tracing::warn!(log = self.name, %error, "a log cannot be written: lines are lost");
            }
        }
        self.fails = written.is_err();
        self.batch.clear();
        self.lines = 0;
    }
}

#[cfg(test)]
mod tests;
