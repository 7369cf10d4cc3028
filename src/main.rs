//! The `signpost` command: starts logging, reads argv, runs the subcommand, and returns its exit code.

use signpost::command::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(error) = signpost::telemetry::start_logging() {
        eprintln!("signpost: {error}");
        return ExitCode::from(2);
    }
    Arguments::read().run()
}
