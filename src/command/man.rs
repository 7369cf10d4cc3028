//! `signpost man`: prints manual pages.

use super::Exit;
use super::run::fail;
use crate::source::node::unknown;
use clap::CommandFactory as _;
use clap_mangen::Man;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// The command line of `signpost man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  signpost man | man -l -
  signpost man sandbox create | man -l -
  signpost man --folder /usr/local/share/man/man1")]
pub(super) struct Arguments {
    /// The command that the page is about; without one it is about all of signpost
    command: Vec<String>,
    /// Write the pages of all commands into this folder, and print none
    #[arg(long, conflicts_with = "command")]
    folder: Option<PathBuf>,
}

/// Prints one page, or writes all of them.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let written = match &arguments.folder {
        Some(folder) => clap_mangen::generate_to(root(), folder)
            .map_err(|error| format!("{}: the pages cannot be written: {error}", folder.display())),
        None => page(&arguments.command)
            .and_then(|page| io::stdout().write_all(&page).map_err(|error| error.to_string())),
    };
    match written {
        Ok(()) => Exit::Done,
        Err(error) => fail(&error),
    }
}

/// Returns the command line, with the name and the usage of each of its commands.
fn root() -> clap::Command {
    let mut root = super::Arguments::command();
    root.build();
    root
}

/// Renders the page of a command.
fn page(words: &[String]) -> Result<Vec<u8>, String> {
    let mut command = root();
    let mut title = command.get_name().to_owned();
    let source = format!("{title} {}", command.get_version().unwrap_or_default());
    for word in words {
        let known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        let Some(next) = command.find_subcommand(word) else {
            return Err(match known.is_empty() {
                true => format!("`{title}` has no commands of its own"),
                false => unknown("command", word, &known),
            });
        };
        title = format!("{title}-{}", next.get_name());
        command = next.clone();
    }
    let mut page = Vec::new();
    Man::new(command).title(title).source(source).render(&mut page).map_err(|error| error.to_string())?;
    Ok(page)
}
