//! The `signpost` command: starts logging, reads argv, runs the subcommand, and returns its exit code.

use clap::Parser as _;
use signpost::command::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    signpost::telemetry::start_logging();
    Arguments::parse().run()
}
