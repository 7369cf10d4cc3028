//! `signpost fmt`: formats a dtab.

use super::Exit;
use super::run::fail;
use crate::name;
use crate::source::node::Document;
use std::io::Read as _;
use std::{fs, io};

/// The command line of `signpost fmt`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  signpost fmt routes.dtab            print it, formatted
  signpost fmt --write routes.dtab    format the file itself
  signpost fmt --check routes.dtab    exit with 1 if it is not formatted
  echo '/svc=>/host' | signpost fmt -")]
pub(super) struct Arguments {
    /// A file that holds one dtab, or - for standard input
    file: String,
    /// Format the file itself
    #[arg(long, conflicts_with = "check")]
    write: bool,
    /// Only check whether it is formatted
    #[arg(long)]
    check: bool,
}

/// Formats a dtab; comments stay where they are.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let text = match read(&arguments.file) {
        Ok(text) => text,
        Err(error) => return fail(&format_args!("{}: {error}", arguments.file)),
    };
    let formatted = match name::format(&text) {
        Ok(formatted) => formatted,
        Err(_) if is_configuration(&text) => {
            return fail(&format_args!(
                "{}: this is a configuration, and a file that is formatted holds one dtab, such as that of a `dtabFile`",
                arguments.file
            ));
        }
        Err(error) => {
            return fail(&format_args!("{}:{}:{}: {error}", arguments.file, error.line, error.column));
        }
    };
    if arguments.check {
        return if formatted == text {
            Exit::Done
        } else {
            fail(&format_args!("{} is not formatted: `signpost fmt --write` formats it", arguments.file))
        };
    }
    if !arguments.write || arguments.file == "-" {
        print!("{formatted}");
        return Exit::Done;
    }
    match fs::write(&arguments.file, formatted) {
        Ok(()) => Exit::Done,
        Err(error) => fail(&format_args!("{}: {error}", arguments.file)),
    }
}

/// Returns whether a text is a configuration, good or not.
fn is_configuration(text: &str) -> bool {
    let is_mapping = Document::read("", text).is_ok_and(|document| document.root().is_mapping());
    is_mapping || text.lines().any(|line| line.starts_with("routers:") || line.starts_with("namers:"))
}

/// Reads a text file, or standard input.
fn read(file: &str) -> io::Result<String> {
    if file == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(file)
}
