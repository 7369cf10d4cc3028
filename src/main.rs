//! The `signpost` command: argv, logging, the control runtime, the exit code.

use clap::Parser as _;
use signpost::command::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    signpost::telemetry::start_logging();
    Arguments::parse().run()
}
