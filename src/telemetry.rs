//! Logging, the metric registry, and the writing of logs to files.
//!
//! Neither the meaning of a metric nor that of a log line is known here.

mod log;
mod metrics;

pub use self::log::{LogFile, LogHandle, LogTarget, Logs, RollPolicy};
pub use self::metrics::{Counter, Distribution, Durations, Gauge, Registry, Series, Total};

use std::env;
use std::io::{self, IsTerminal as _};

/// The log filter unless `SIGNPOST_LOG` has another. The client of the Kubernetes API warns of every connection that
/// ends; the module that made the request logs the consequences.
const USUAL: &str = "info,kube_client=error";

/// Starts logging to standard error; `SIGNPOST_LOG` (in `tracing`'s filter syntax) sets how much, `info` by default.
///
/// A second call in one process changes nothing.
pub fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SIGNPOST_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(USUAL));
    // Logs in a file or a journal are searched by text, and escapes would stand between the words.
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // An error means that logging was started before.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(colours)
        .with_writer(io::stderr)
        .try_init();
}
