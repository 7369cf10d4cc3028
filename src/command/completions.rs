//! `signpost completions`: prints a script that completes the command line in a shell.

use super::Exit;
use super::run::fail;
use clap::CommandFactory as _;
use clap_complete::{Shell, generate};
use std::io::{self, Write as _};

/// The command line of `signpost completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  signpost completions bash > ~/.local/share/bash-completion/completions/signpost
  signpost completions fish > ~/.config/fish/completions/signpost.fish
  signpost completions zsh > _signpost            in a folder that $fpath names")]
pub(super) struct Arguments {
    /// The shell that reads the script
    shell: Shell,
}

/// Prints the script.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let mut script = Vec::new();
    generate(arguments.shell, &mut super::Arguments::command(), "signpost", &mut script);
    match io::stdout().write_all(&script) {
        Ok(()) => Exit::Done,
        Err(error) => fail(&error),
    }
}
