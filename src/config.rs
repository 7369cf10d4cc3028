//! Reads, checks and resolves the configuration file.
//!
//! [`load`] reads a file or the standard input, [`read`] a text: Linkerd 1's YAML or JSON. What comes out is resolved:
//! every default is in place, every name parsed, every listener's trust decided. What is wrong comes out as
//! [`Errors`], all of them at once, each with its line, column and key path.
//!
//! 1. `source::node` makes nodes of the text.
//! 2. `judge` walks them along the table of `fates`: unknown keys, kinds, and what is not built fail; what has no
//!    effect is a [`Warning`].
//! 3. `router`, `server`, `access_log`, `naming` and `process` read the keys that work.
//! 4. `across` compares what must differ: labels, ports; and what must not: settings of a log that is shared.
//!
//! The types of [`Config`] compare by meaning: two routers that say the same are equal wherever they stand in their
//! files, for places are kept apart in [`Places`]. A reload compares them so.
//!
//! Nothing here opens a port or starts anything. Absent: variables and includes. A file says what it says.

mod access_log;
mod across;
mod errors;
mod fates;
mod json;
mod judge;
mod naming;
mod notes;
mod process;
mod reader;
mod resolved;
mod router;
mod server;

pub use self::errors::{Errors, Warning};
pub use self::notes::Note;
pub use self::resolved::{
    AccessLog, Admin, BindingCache, Client, Config, Http2, InterpreterConfig, Places, Protocol, Router,
    RouterPlaces, Server, Session, SocketOptions,
};

use self::errors::Report;
use crate::source::node::{self, Document, Place};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a configuration from a text. `name` is the file's name in errors.
///
/// Whether directories exist is not looked at; [`load`] does that.
///
/// # Errors
/// Everything that fails the start, sorted by place.
pub fn read(name: &str, text: &str) -> Result<Config, Errors> {
    resolve(name, text, |_| true)
}

/// Reads a configuration from a file, or from the standard input when the path is `-`.
///
/// # Errors
/// As [`read`], and when the file cannot be read, is not UTF-8, or names a directory of names that does not exist.
pub fn load(path: &Path) -> Result<Config, Errors> {
    let stdin = path.as_os_str() == "-";
    let name = if stdin { "<stdin>".to_owned() } else { path.display().to_string() };
    let bytes = if stdin { bounded(io::stdin().lock()) } else { open(path).and_then(bounded) };
    let bytes = bytes.map_err(|error| Errors::from(node::Error::of_file(&name, sentence(&error))))?;
    let text = String::from_utf8(bytes).map_err(|error| Errors::from(not_utf8(&name, &error)))?;
    resolve(&name, &text, Path::is_dir)
}

fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
}

/// Reads a little more than a text may have, so that one that is too long is known by its length.
fn bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(node::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn sentence(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::IsADirectory => "this is a directory, not a file".to_owned(),
        io::ErrorKind::PermissionDenied => "this file may not be read (permission denied)".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

fn not_utf8(name: &str, error: &std::string::FromUtf8Error) -> node::Error {
    let valid = error.utf8_error().valid_up_to();
    let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default());
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let mut refused = node::Error::of_file(name, "this byte is not UTF-8, and a configuration is");
    (refused.line, refused.column) = (line, column);
    refused
}

fn resolve(name: &str, text: &str, is_directory: fn(&Path) -> bool) -> Result<Config, Errors> {
    let document = Document::read(name, text).map_err(Errors::from)?;
    let mut report = Report::new(name);
    let root = document.root();
    judge::judge(&root, &mut report);
    let (admin, admin_place) = process::admin(&root, &mut report);
    let (routers, router_places) = router::routers(&root, &mut report);
    let (namers, namer_places) = naming::namers(&root, is_directory, &mut report);
    let places = Places { admin: admin_place, routers: router_places, namers: namer_places };
    across::check(&document, &admin, &routers, &places, &mut report);
    let warnings = report.finish()?;
    Ok(Config { file: name.to_owned(), admin, routers, namers, places, warnings })
}

/// Returns the place of a value, or that of the whole it belongs to.
fn place_or(value: Option<&node::Node<'_>>, whole: Place) -> Place {
    value.map_or(whole, node::Node::place)
}

#[cfg(test)]
mod tests;
