//! `signpost schema`: prints the keys of the configuration.

use super::Exit;
use super::run::fail;
use crate::config;
use std::io::{self, Write as _};

/// The command line of `signpost schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  signpost schema > signpost.schema.json
  signpost schema --markdown > keys.md

An editor with a language server for YAML reads the schema where the first line of the configuration says:
  # yaml-language-server: $schema=signpost.schema.json")]
pub(super) struct Arguments {
    /// Print tables for readers
    #[arg(long)]
    markdown: bool,
}

/// Prints the schema.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let text = match arguments.markdown {
        true => config::markdown(),
        false => format!("{:#}\n", config::json_schema()),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(error) => fail(&error),
    }
}
