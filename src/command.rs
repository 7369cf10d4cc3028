//! The subcommands, one file each: `run controller check delegate fmt demo probe keys sign sandbox schema completions
//! man`.

mod check;
mod completions;
mod controller;
mod delegate;
mod demo;
mod fmt;
mod keys;
mod man;
mod probe;
mod run;
mod sandbox;
mod schema;
mod sign;

use crate::source::node::unknown;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use std::process::ExitCode;

/// The result of a subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// It did what it was asked to.
    Done,
    /// A file, a dtab or a path is wrong, or the router cannot start.
    Failed,
    /// The name leads nowhere.
    Nowhere,
    /// There is no such sandbox, or it was not ready in time.
    NotReady,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            // 2 is a command line that cannot be read.
            Exit::Nowhere | Exit::NotReady => Self::from(3),
        }
    }
}

/// A standalone HTTP router that decides by names where a request goes.
#[derive(Debug, Parser)]
#[command(
    version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("SIGNPOST_COMMIT"), ")"),
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  signpost demo                                 a router, services and curls to try, on this machine
  signpost check linkerd.yaml                   the meaning of the file, and its mistakes
  signpost run linkerd.yaml                     start (also: signpost linkerd.yaml)
  signpost delegate linkerd.yaml /svc/world     where a name leads, and why

Exit codes:
  0  done
  1  a file, a key, a dtab or a path is wrong, the router cannot start, `fmt --check` found something to format, or `probe`
     got no 200
  2  the command line, or SIGNPOST_LOG, cannot be read
  3  delegate: the name leads nowhere, failed, or was not resolved in time; sandbox: there is none, or it was not ready in
     time

SIGNPOST_LOG sets the level of the log on standard error: off, error, warn, info (the default), debug, trace; or that
of a module, `module=level`; or several of both, with commas between them."
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration file, or - for standard input: the same as `signpost run FILE`
    #[arg(value_name = "FILE", required = true)]
    file: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the routers of a configuration file, and read it again when it changes, and on SIGHUP
    Run(ConfigFile),
    /// Look after the sandboxes of a cluster: write their status, and delete those that have ended
    Controller(controller::Arguments),
    /// Check a configuration file as the start does, but for free ports; also show the callers that each listener
    /// trusts, and dtab entries that cannot work
    Check(check::Arguments),
    /// Draw where a name leads under a router's dtab, and why
    Delegate(delegate::Arguments),
    /// Format a dtab
    Fmt(fmt::Arguments),
    /// Run the staging example: two routers, three services, and curl commands to try
    Demo(demo::Arguments),
    /// Ask a running router whether it is ready, or alive: for containers without any other client
    Probe(probe::Arguments),
    /// Make a key that signs tokens for `l5d-dtab-token`
    Keys(keys::Arguments),
    /// Sign a token that grants dtab entries, or a sandbox, to every caller that presents it
    Sign(sign::Arguments),
    /// Make, show and remove sandboxes, and print the request that selects one
    Sandbox(sandbox::Arguments),
    /// Print the keys of a configuration: a JSON Schema for editors, or tables
    Schema(schema::Arguments),
    /// Print a script that completes commands and options in a shell
    Completions(completions::Arguments),
    /// Print the manual page of signpost, or of one of its commands
    Man(man::Arguments),
}

/// A configuration file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  signpost run linkerd.yaml
  generate-config | signpost run -")]
struct ConfigFile {
    /// The configuration in Linkerd 1's YAML or JSON, or - for standard input
    file: String,
}

impl Arguments {
    /// Reads the command line. One that cannot be read ends the process, with help or an error.
    pub fn read() -> Self {
        if let Some(message) = find_unknown_command(std::env::args().nth(1)) {
            Self::command().error(ErrorKind::InvalidSubcommand, message).exit();
        }
        Self::parse()
    }

    /// Runs the command to its end.
    pub fn run(self) -> ExitCode {
        let exit = match (self.command, self.file) {
            (Some(Command::Run(ConfigFile { file })), _) | (None, Some(file)) => run::run(&file),
            (Some(Command::Controller(arguments)), _) => controller::run(&arguments),
            (Some(Command::Check(arguments)), _) => check::run(&arguments),
            (Some(Command::Delegate(arguments)), _) => delegate::run(&arguments),
            (Some(Command::Fmt(arguments)), _) => fmt::run(&arguments),
            (Some(Command::Demo(arguments)), _) => demo::run(&arguments),
            (Some(Command::Probe(arguments)), _) => probe::run(&arguments),
            (Some(Command::Keys(arguments)), _) => keys::run(&arguments),
            (Some(Command::Sign(arguments)), _) => sign::run(&arguments),
            (Some(Command::Sandbox(arguments)), _) => sandbox::run(&arguments),
            (Some(Command::Schema(arguments)), _) => schema::run(&arguments),
            (Some(Command::Completions(arguments)), _) => completions::run(&arguments),
            (Some(Command::Man(arguments)), _) => man::run(&arguments),
            // clap requires a file where there is no command.
            (None, None) => Exit::Failed,
        };
        exit.into()
    }
}

/// Returns the error about a first argument that is neither a command nor the name of a file: a mistyped command. A name
/// with a dot or a slash is one of a file, also when there is no such file.
fn find_unknown_command(first: Option<String>) -> Option<String> {
    let word = first.filter(|word| !word.starts_with('-') && !word.contains(['.', '/']))?;
    let command = Arguments::command();
    let known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).chain(["help"]).collect();
    let is_known = known.contains(&word.as_str()) || std::path::Path::new(&word).exists();
    (!is_known).then(|| format!("`{word}` is no file, and an {}", unknown("command", &word, &known)))
}
