//! Logging, the metric registry, and the writing of logs that are kept in files.
//!
//! Neither a metric's meaning nor what a log's lines say is known here.

mod log;
mod metrics;

pub use self::log::{LogFile, LogHandle, LogTarget, Logs, RollPolicy};
pub use self::metrics::{Counter, Distribution, Durations, Gauge, Registry, Series, Total};

use std::env;
use std::io::{self, IsTerminal as _};

/// What is logged unless `SIGNPOST_LOG` says otherwise. The client of the Kubernetes API warns of every connection that
/// ends; what comes of it is said by whoever asked.
const USUAL: &str = "info,kube_client=error";

/// Starts logging to standard error; `SIGNPOST_LOG` (in `tracing`'s filter syntax) says how much, `info` by default.
///
/// A second call in one process changes nothing.
pub fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SIGNPOST_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(USUAL));
    // What is written to a file or a journal is searched by text, and escapes would stand between.
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // An error says that logging was started before.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(colours)
        .with_writer(io::stderr)
        .try_init();
}
