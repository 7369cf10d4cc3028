//! Key files, read and watched.

use super::key_set::{KeyFault, KeySet};
use super::signed_overrides::KeyFiles;
use crate::files::Watch;
use crate::telemetry::{Gauge, Registry};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How many bytes a key file may have.
const MAX_BYTES: u64 = 256 * 1024;

/// The metric of key files that are wrong.
const REJECTED: &str = "token_keys_rejected";

/// The key files of all listeners, open and followed.
#[derive(Debug)]
pub struct OpenKeys {
    open: Vec<(KeyFiles, TokenKeys)>,
    rejected: Gauge,
    control: Handle,
}

/// The keys of some files, now and whenever they change. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TokenKeys(watch::Receiver<Arc<KeySet>>);

/// The reason why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// It holds something else, or keys that are not usable.
    #[error("{}: {fault}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// The fault.
        fault: KeyFault,
    },
}

impl OpenKeys {
    /// Makes an empty table. The tasks that follow the files run on `control`.
    pub fn new(registry: &Registry, control: &Handle) -> Self {
        registry.describe(
            REJECTED,
            "Sets of key files that are wrong now, so that the last good keys are in use",
        );
        Self { open: Vec::new(), rejected: registry.gauge(REJECTED, &[]), control: control.clone() }
    }

    /// Opens the files that are wanted now; those that are open already stay open.
    ///
    /// # Errors
    ///
    /// A file that was not open cannot be read, or holds no usable key.
    pub async fn reopen(&self, wanted: impl Iterator<Item = &KeyFiles>) -> Result<Self, KeyError> {
        let mut next =
            Self { open: Vec::new(), rejected: self.rejected.clone(), control: self.control.clone() };
        for files in wanted {
            if next.keys(files).is_none() {
                let keys = match self.keys(files) {
                    Some(keys) => keys,
                    None => self.open(files).await?,
                };
                next.open.push((files.clone(), keys));
            }
        }
        Ok(next)
    }

    /// Returns the keys of files that are open.
    pub fn keys(&self, files: &KeyFiles) -> Option<TokenKeys> {
        self.open.iter().find(|(open, _)| open == files).map(|(_, keys)| keys.clone())
    }

    async fn open(&self, files: &KeyFiles) -> Result<TokenKeys, KeyError> {
        let watch = Watch::new(&self.control);
        // The watch begins before the files are read, so that no change falls between the two.
        watch.watch_paths(files.paths()).await;
        let (sender, keys) = watch::channel(Arc::new(files.read()?));
        let rejection = KeyRejection { reason: None, gauge: self.rejected.clone() };
        self.control.spawn(publish_changes(files.clone(), watch, sender, rejection));
        Ok(TokenKeys(keys))
    }
}

impl KeyFiles {
    /// Checks that every file can be read and holds usable keys.
    ///
    /// # Errors
    ///
    /// The first file that does not.
    pub fn check(&self) -> Result<(), KeyError> {
        self.read().map(drop)
    }

    /// Reads all files.
    pub(super) fn read(&self) -> Result<KeySet, KeyError> {
        let mut keys = KeySet::default();
        for file in &self.pem {
            with_content(file, |content| keys.add_pem(content))?;
        }
        if let Some(file) = &self.jwks {
            with_content(file, |content| keys.add_jwks(content))?;
        }
        Ok(keys)
    }
}

impl TokenKeys {
    /// Reads the contents of a JWKS file: keys that never change.
    ///
    /// # Errors
    ///
    /// As of the file.
    pub fn from_jwks(content: &[u8]) -> Result<Self, KeyFault> {
        let mut keys = KeySet::default();
        keys.add_jwks(content).map(|()| Self::fixed(keys))
    }

    /// Reads the contents of a PEM file: a key that never changes.
    ///
    /// # Errors
    ///
    /// As of the file.
    pub fn from_pem(content: &[u8]) -> Result<Self, KeyFault> {
        let mut keys = KeySet::default();
        keys.add_pem(content).map(|()| Self::fixed(keys))
    }

    /// Makes keys that never change.
    pub(super) fn fixed(keys: KeySet) -> Self {
        Self(watch::channel(Arc::new(keys)).1)
    }

    /// Makes keys that change with those that are sent.
    #[cfg(test)]
    pub(super) fn follow(keys: watch::Receiver<Arc<KeySet>>) -> Self {
        Self(keys)
    }

    /// Returns the keys, if they have changed since the last call.
    pub(super) fn next(&mut self) -> Option<Arc<KeySet>> {
        // One atomic read, unless there is a change. Keys that are followed no longer stay as they are.
        self.0.has_changed().unwrap_or(false).then(|| Arc::clone(&self.0.borrow_and_update()))
    }

    /// Returns the keys as they are now.
    pub(super) fn current(&mut self) -> Arc<KeySet> {
        Arc::clone(&self.0.borrow_and_update())
    }
}

impl PartialEq for TokenKeys {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

impl Eq for TokenKeys {}

/// A set of files that is wrong now.
struct KeyRejection {
    reason: Option<String>,
    gauge: Gauge,
}

impl KeyRejection {
    /// Records the reason why the files are wrong, or that they are not; a reason is logged once.
    fn set(&mut self, reason: Option<String>) {
        if let Some(reason) = &reason
            && self.reason.as_ref() != Some(reason)
        {
            tracing::warn!("the last good keys for tokens stay in use: {reason}");
        }
        self.gauge.add(i64::from(reason.is_some()) - i64::from(self.reason.is_some()));
        self.reason = reason;
    }
}

impl Drop for KeyRejection {
    fn drop(&mut self) {
        self.set(None);
    }
}

/// Publishes each change of the files until no listener reads their keys any more.
async fn publish_changes(
    files: KeyFiles,
    mut watch: Watch,
    sender: watch::Sender<Arc<KeySet>>,
    mut rejection: KeyRejection,
) {
    loop {
        tokio::select! {
            _ = watch.changed() => {}
            () = sender.closed() => return,
        }
        match files.read() {
            Ok(keys) => {
                rejection.set(None);
                // A change may be announced without one: then the tokens that were verified stay.
                if **sender.borrow() != keys {
                    sender.send_replace(Arc::new(keys));
                    tracing::info!("the keys for tokens have changed");
                }
            }
            Err(error) => rejection.set(Some(error.to_string())),
        }
    }
}

/// Reads a file and hands its content to `add`.
fn with_content(file: &Path, add: impl FnOnce(&[u8]) -> Result<(), KeyFault>) -> Result<(), KeyError> {
    let content = read_bounded(file).map_err(|source| KeyError::Io { file: file.to_owned(), source })?;
    add(&content).map_err(|fault| KeyError::Content { file: file.to_owned(), fault })
}

/// Reads a file that has no more than [`MAX_BYTES`].
fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(file)?.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {MAX_BYTES} bytes"),
        ));
    }
    Ok(content)
}
