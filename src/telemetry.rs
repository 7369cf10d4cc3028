//! Logging, the metric registry, and the writing of logs to files.
//!
//! Neither the meaning of a metric nor that of a log line is known here.

mod log;
mod metrics;

pub use self::log::{LogFile, LogHandle, LogTarget, Logs, RollPolicy};
pub use self::metrics::{Counter, Distribution, Durations, Gauge, Registry, Series, Total};

use std::env;
use std::io::{self, IsTerminal as _};
use tracing_subscriber::EnvFilter;

/// The log filter unless `SIGNPOST_LOG` has another.
const USUAL: &str = "info";

/// The part of each log filter that `SIGNPOST_LOG` has to name itself to change. The client of the Kubernetes API warns
/// of every connection that is cut, at `warn`; the module that made the request logs the consequences, once.
const QUIET: &str = "kube_client=error";

/// Starts logging to standard error; `SIGNPOST_LOG` (in `tracing`'s filter syntax) sets how much, `info` by default.
///
/// A second call in one process changes nothing.
pub fn start_logging() {
    let filter = filter(&env::var("SIGNPOST_LOG").unwrap_or_else(|_| USUAL.to_owned()));
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

/// Returns the filter of a text in `tracing`'s syntax; the usual one for a text that is none.
fn filter(text: &str) -> EnvFilter {
    // Of two directives for one module the later counts.
    let parse = |text: &str| EnvFilter::try_new(format!("{QUIET},{text}"));
    parse(text).or_else(|_| parse(USUAL)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{USUAL, filter};

    #[test]
    fn cut_connections_are_not_logged_by_the_library() {
        for (text, expected) in [
            (USUAL, "kube_client=error,info"),
            ("debug", "kube_client=error,debug"),
            ("warn,signpost::kubernetes=debug", "signpost::kubernetes=debug,kube_client=error,warn"),
            ("info,kube_client=debug", "kube_client=debug,info"),
            ("info,=", "kube_client=error,info"),
        ] {
            assert_eq!(filter(text).to_string(), expected, "{text}");
        }
    }
}
