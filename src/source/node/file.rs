//! The text of a file.

use super::{Error, MAX_BYTES};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads the text of a file, up to one byte more than a text may have, so that one that is too long is known by its
/// length.
///
/// # Errors
///
/// The file cannot be read, is a directory, or is not UTF-8.
pub fn read_file(path: &Path) -> Result<String, Error> {
    let name = path.display().to_string();
    let file = open(path).map_err(|error| Error::of_file(&name, describe(&error)))?;
    read_text(&name, file)
}

/// Does the same with the text of a reader. `name` stands for the file in errors.
///
/// # Errors
///
/// Reading fails, or the text is not UTF-8.
pub fn read_text(name: &str, reader: impl Read) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let read = reader.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::of_file(name, describe(&error)))?;
    String::from_utf8(bytes).map_err(|error| not_utf8(name, &error))
}

/// Opens a file that is not a directory.
fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
}

/// Describes why a file cannot be read.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::IsADirectory => "this is a directory, not a file".to_owned(),
        io::ErrorKind::PermissionDenied => "this file may not be read (permission denied)".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// Returns the error at the first byte of a text that is not UTF-8.
fn not_utf8(name: &str, error: &std::string::FromUtf8Error) -> Error {
    let valid = error.utf8_error().valid_up_to();
    let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default());
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let mut refused = Error::of_file(name, "this byte is not UTF-8, and a configuration is");
    (refused.line, refused.column) = (line, column);
    refused
}
