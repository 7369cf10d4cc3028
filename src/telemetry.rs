//! Logging, the metric registry, and the writing of logs to files.
//!
//! Neither the meaning of a metric nor that of a log line is known here.

mod group;
mod level;
mod log;
mod metrics;
mod scope;
mod sums;

pub use self::group::{CounterGroup, GroupKind, GroupSeries, GroupSource, SourceKind};
pub use self::level::LevelError;
pub use self::log::{LogFile, LogHandle, LogTarget, Logs, RollPolicy};
pub use self::metrics::{Counter, Durations, Gauge, Labels, Registry, SharedCounter};
pub use self::scope::SeriesScope;
pub use self::sums::{Distribution, SumRow, SumTable, Total};

use std::env;
use std::io::{self, IsTerminal as _};
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging to standard error. `SIGNPOST_LOG` sets how much, `info` by default: a level, or `module=level`, several
/// with commas between them.
///
/// A second call in one process changes nothing.
///
/// # Errors
///
/// `SIGNPOST_LOG` holds something else.
pub fn start_logging() -> Result<(), LevelError> {
    let filter = level::parse_levels(&env::var_os("SIGNPOST_LOG").unwrap_or_default().to_string_lossy())?;
    // Logs in a file or a journal are searched by text, and escapes would stand between the words.
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines =
        tracing_subscriber::fmt::layer().with_target(false).with_ansi(colours).with_writer(io::stderr);
    // An error means that logging was started before.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
    Ok(())
}
