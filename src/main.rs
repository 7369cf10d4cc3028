//! The `signpost` command: starts logging, reads argv, runs the subcommand, and returns its exit code.

use mimalloc::MiMalloc;
use signpost::command::Arguments;
use std::process::ExitCode;

/// The allocator. What a large list of objects or a crowd of connections took goes back to the system when it is over;
/// that of glibc keeps it (`benches/README.md`).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    if let Err(error) = signpost::telemetry::start_logging() {
        eprintln!("signpost: {error}");
        return ExitCode::from(2);
    }
    Arguments::read().run()
}
