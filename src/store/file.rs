//! A dtab in a file of its own.

use super::error::Error;
use super::publisher::Publisher;
use crate::files::Watch;
use crate::name::Dtab;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::{fs, io};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

/// A dtab in a file of its own.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FileStoreConfig {
    /// The file: one dtab in its usual notation, comments and all.
    pub dtab_file: PathBuf,
}

/// How many bytes a file may have.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

impl FileStoreConfig {
    /// Reads the dtab once, without watching the file.
    pub(super) fn read(&self) -> Result<Dtab, Error> {
        let file = &self.dtab_file;
        let text = read_text(file).map_err(|source| Error::Io { file: file.clone(), source })?;
        text.parse().map_err(|error| Error::Parse { file: file.clone(), error: Box::new(error) })
    }

    /// Reads the dtab on a thread for work that takes long: a large one takes as long to parse as many names to answer.
    async fn read_beside(&self) -> Result<Dtab, Error> {
        let store = self.clone();
        let read = spawn_blocking(move || store.read()).await;
        read.unwrap_or_else(|error| Err(Error::Io { file: self.dtab_file.clone(), source: error.into() }))
    }

    /// Begins to watch the file; the first dtab must be a good one. The task that publishes changes runs on
    /// `control`.
    pub(super) async fn open(&self, mut publisher: Publisher, control: &Handle) -> Result<(), Error> {
        let watch = Watch::of_single_files(control);
        // The watch begins before the file is read, so that no change falls between the two.
        watch.watch_paths([self.dtab_file.clone()]).await;
        publisher.accept(self.read_beside().await?);
        control.spawn(publish_changes(self.clone(), watch, publisher));
        Ok(())
    }
}

/// Publishes each change of the file until the store has no reader any more.
async fn publish_changes(fs: FileStoreConfig, mut watch: Watch, mut publisher: Publisher) {
    loop {
        tokio::select! {
            _ = watch.changed() => {}
            () = publisher.closed() => return,
        }
        match fs.read_beside().await {
            Ok(dtab) => publisher.accept(dtab),
            Err(error) => publisher.reject(&error.to_string(), error_position(&error)),
        }
    }
}

/// Returns the line and the column of an error in the file.
fn error_position(error: &Error) -> Option<(usize, usize)> {
    match error {
        Error::Parse { error, .. } => Some((error.line, error.column)),
        Error::Io { .. } | Error::Kubernetes { .. } => None,
    }
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
