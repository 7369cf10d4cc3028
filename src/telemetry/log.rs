//! Logs in files: lines are queued without waiting, and each log has one thread that writes them.
//!
//! A log that cannot be written as fast as lines come loses lines and never delays a worker.

mod file;
mod roll_policy;

pub use self::file::LogFile;
pub use self::roll_policy::RollPolicy;

use self::file::RollingFile;
use super::{Registry, SeriesScope, SharedCounter};
use jiff::Timestamp;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::{mpsc, oneshot};

/// How many bytes of lines may wait to be written to one log: 8 MiB.
const MOST_QUEUED: usize = 8 << 20;
/// How many bytes a waiting line costs besides its text.
const OVERHEAD: usize = 64;
/// How many bytes are gathered before they are written: 64 KiB.
const BATCH: usize = 64 << 10;

/// The metric of lines that are lost when a log cannot be written: its name, and its meaning in a sentence without its
/// full stop.
const UNWRITTEN: (&str, &str) =
    ("unwritten_log_lines", "Lines of a log that are lost because writing them failed");

/// The place to which the lines of a log are written.
///
/// Serialized, it has the keys of a [`LogFile`]; the standard output is the path `-`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum LogTarget {
    /// The standard output of the process.
    #[serde(serialize_with = "standard_output")]
    StandardOutput,
    /// A file.
    File(LogFile),
}

/// Serializes the standard output as a file of the path `-`.
fn standard_output<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    let mut keys = serializer.serialize_map(Some(1))?;
    keys.serialize_entry("Path", "-")?;
    keys.end()
}

impl LogTarget {
    /// Returns whether both are the same place, whatever their other settings. Links are not followed.
    pub fn is_same_place(&self, other: &Self) -> bool {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        match (self, other) {
            (Self::StandardOutput, Self::StandardOutput) => true,
            (Self::File(a), Self::File(b)) => absolute(&a.path) == absolute(&b.path),
            _ => false,
        }
    }

    /// Returns the name of the place in metrics and messages.
    fn name(&self) -> String {
        match self {
            Self::StandardOutput => "standard output".to_owned(),
            Self::File(file) => file.path.display().to_string(),
        }
    }
}

/// A handle to the thread that writes a log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogHandle {
    sender: mpsc::UnboundedSender<LogMessage>,
    /// How many bytes wait: the queue is bounded by it.
    queued: Arc<AtomicUsize>,
}

/// A message to the thread that writes a log.
enum LogMessage {
    /// A line to write.
    Line(Vec<u8>),
    /// The request to open the file again.
    Reopen,
    /// Other settings for the file.
    Configure(LogFile),
}

impl LogHandle {
    /// Queues a line, which ends with its line end. Never waits.
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

    /// Returns whether both are handles to one writer.
    pub fn is_same_writer(&self, other: &Self) -> bool {
        self.sender.same_channel(&other.sender)
    }
}

/// The logs of a process. Each place has one writer, whatever the number of handles.
#[derive(Debug, Default)]
pub struct Logs(Vec<Log>);

/// A log whose writer runs.
#[derive(Debug)]
struct Log {
    target: LogTarget,
    /// The handle that keeps the writer running; `None` when the log is not in use any longer. Then the writer ends with
    /// the last handle of others.
    kept: Option<LogHandle>,
    sender: mpsc::WeakUnboundedSender<LogMessage>,
    queued: Arc<AtomicUsize>,
    /// A channel that is closed when the writer has ended.
    ended: oneshot::Receiver<()>,
}

impl Log {
    /// Returns a handle to the writer, unless it ends.
    fn handle(&self) -> Option<LogHandle> {
        let sender = self.sender.upgrade()?;
        Some(LogHandle { sender, queued: Arc::clone(&self.queued) })
    }
}

impl Logs {
    /// Opens a log, or joins the writer that is running for the same place. Its settings stay until [`Logs::keep`].
    ///
    /// The folder of a file is made when it is missing.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or no thread can be started.
    pub fn open(&mut self, target: &LogTarget, registry: &Registry) -> io::Result<LogHandle> {
        for log in self.0.iter_mut().filter(|log| log.target.is_same_place(target)) {
            if let Some(handle) = log.handle() {
                log.kept = Some(handle.clone());
                return Ok(handle);
            }
        }
        let output = match target {
            LogTarget::StandardOutput => LogOutput::Standard,
            LogTarget::File(file) => LogOutput::File(RollingFile::open(file.clone(), Timestamp::now())?),
        };
        let (name, (metric, meaning)) = (target.name(), UNWRITTEN);
        registry.describe(metric, meaning);
        let series = SeriesScope::new(registry);
        let unwritten = series.shared_counter(metric, &[("log", &name)]);
        let (sender, messages) = mpsc::unbounded_channel();
        let handle = LogHandle { sender, queued: Arc::default() };
        let (end, ended) = oneshot::channel();
        let writer = LogWriter::new(name, output, unwritten);
        let queued = Arc::clone(&handle.queued);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            writer.run(messages, &queued);
            drop((series, end));
        })?;
        self.0.push(Log {
            target: target.clone(),
            sender: handle.sender.downgrade(),
            queued: Arc::clone(&handle.queued),
            kept: Some(handle.clone()),
            ended,
        });
        Ok(handle)
    }

    /// Keeps these logs, with these settings. Every other one ends when the last handle to it is dropped.
    pub fn keep(&mut self, targets: &[&LogTarget]) {
        self.0.retain_mut(|log| !matches!(log.ended.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        for log in self.0.iter_mut().filter(|log| log.kept.is_some()) {
            let Some(&target) = targets.iter().find(|target| log.target.is_same_place(target)) else {
                log.kept = None;
                continue;
            };
            if log.target != *target
                && let (LogTarget::File(file), Some(handle)) = (target, &log.kept)
            {
                // A writer that has ended takes no settings.
                let _ = handle.sender.send(LogMessage::Configure(file.clone()));
            }
            log.target = target.clone();
        }
    }

    /// Opens every file again, so that a new file replaces one that was moved aside. Lines are appended.
    pub fn reopen(&self) {
        for handle in self.0.iter().filter_map(Log::handle) {
            // A writer that has ended has no file to open.
            let _ = handle.sender.send(LogMessage::Reopen);
        }
    }

    /// Waits until all queued lines are written; to be called when every other [`LogHandle`] is dropped.
    pub async fn ended(self) {
        for Log { kept, ended, .. } in self.0 {
            drop(kept);
            // The error means that the writer has ended, which is the news.
            let _ = ended.await;
        }
    }
}

/// The output of a writer.
enum LogOutput {
    Standard,
    File(RollingFile),
}

/// The writer of one log, on a thread of its own: it gathers lines and writes them whole.
struct LogWriter {
    name: String,
    output: LogOutput,
    batch: Vec<u8>,
    /// How many lines the batch holds.
    lines: u64,
    unwritten: SharedCounter,
    /// Whether the last write failed: that is logged once, not for each line.
    fails: bool,
}

impl LogWriter {
    fn new(name: String, output: LogOutput, unwritten: SharedCounter) -> Self {
        Self { name, output, batch: Vec::with_capacity(BATCH), lines: 0, unwritten, fails: false }
    }

    /// Writes until every handle is dropped.
    fn run(mut self, mut messages: mpsc::UnboundedReceiver<LogMessage>, queued: &AtomicUsize) {
        while let Some(message) = messages.blocking_recv() {
            self.take(message, queued);
            while let Ok(message) = messages.try_recv() {
                self.take(message, queued);
            }
            self.flush();
        }
    }

    /// Handles one message.
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
            LogMessage::Configure(settings) => {
                if let LogOutput::File(file) = &mut self.output {
                    file.configure(settings);
                }
            }
        }
    }

    /// Adds a line to the batch, and moves the file aside before it when that is due.
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

    /// Opens the file again.
    fn reopen(&mut self) {
        if let LogOutput::File(file) = &mut self.output {
            let reopened = file.reopen(Timestamp::now());
            self.report("reopened", reopened);
        }
    }

    /// Logs a failure to roll or open the file, which stays in use as it is.
    fn report(&self, what: &str, done: io::Result<()>) {
        if let Err(error) = done {
            tracing::warn!(log = self.name, %error, "a log cannot be {what}, and is continued as it is");
        }
    }

    /// Writes the batch: whole lines, in one write when the system takes them.
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
