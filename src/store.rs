//! Where live dtabs come from: a file.
//!
//! A stored dtab comes before the router's own, which is looked at first. A bad edit keeps the last good table and says
//! so; who uses the table is not known here.

use crate::files::Watch;
use crate::name::{Dtab, ParseError};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::{fs, io};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// A store, as configured: an interpreter that is not the default one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// `io.l5d.fs`
    Fs(Fs),
}

/// A dtab in a file of its own.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Fs {
    /// The file: one dtab in its usual notation, comments and all.
    pub dtab_file: PathBuf,
}

/// How many bytes a file may have.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Why there is no dtab.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Io {
        /// Which.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds no dtab.
    #[error("{}:{}:{}: {error}", file.display(), error.line, error.column)]
    Parse {
        /// Which.
        file: PathBuf,
        /// Where in it, and why.
        error: Box<ParseError>,
    },
}

/// Reads what is stored now, without following it.
///
/// # Errors
///
/// The file cannot be read, or holds no dtab.
pub fn read(config: &Config) -> Result<Dtab, Error> {
    let Config::Fs(Fs { dtab_file }) = config;
    read_file(dtab_file)
}

/// Opens a store: its dtab now, and whenever it changes. The task that follows it runs on `control`.
///
/// # Errors
///
/// There is no good dtab to begin with.
pub async fn open(config: &Config, control: &Handle) -> Result<watch::Receiver<Dtab>, Error> {
    let Config::Fs(Fs { dtab_file }) = config;
    let watch = Watch::new(control);
    // Followed before it is read, so that no change falls between the two.
    watch.follow([dtab_file.clone()]).await;
    let (sender, receiver) = watch::channel(read_file(dtab_file)?);
    control.spawn(follow(dtab_file.clone(), watch, sender));
    Ok(receiver)
}

/// Publishes each good change until nobody is interested any more.
async fn follow(file: PathBuf, mut watch: Watch, dtab: watch::Sender<Dtab>) {
    loop {
        tokio::select! {
            () = watch.changed() => {}
            () = dtab.closed() => return,
        }
        match read_file(&file) {
            Ok(new) => {
                let changed = dtab.send_if_modified(|old| {
                    let differs = *old != new;
                    *old = new;
                    differs
                });
                if changed {
                    tracing::info!(file = %file.display(), "the stored dtab has changed");
                }
            }
            Err(error) => tracing::warn!("the last good dtab stays in use: {error}"),
        }
    }
}

fn read_file(path: &Path) -> Result<Dtab, Error> {
    let text = read_text(path).map_err(|source| Error::Io { file: path.to_owned(), source })?;
    text.parse().map_err(|error| Error::Parse { file: path.to_owned(), error: Box::new(error) })
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = fs::File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)? as u64;
    if read > MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {MAX_BYTES} bytes"),
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
