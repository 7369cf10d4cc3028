//! The folder that holds snapshots.

use super::format::{self, SUFFIX, Snapshot, SnapshotError, WatchIdentity};
use crate::kubernetes::scope::MAX_WATCHES;
use rustix::fs::Access;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The longest file, in bytes: 64 MiB. The slices of 100,000 endpoints take a quarter of it.
const MAX_BYTES: u64 = 64 << 20;

/// The prefix of a file's name while it is written.
const TEMPORARY: &str = ".signpost-";

/// The age at which a temporary file counts as left behind by a process that ended.
const LEFT_BEHIND: Duration = Duration::from_secs(60 * 60);

/// A folder that holds snapshots. All of it blocks.
#[derive(Debug)]
pub(in crate::kubernetes) struct Folder {
    path: PathBuf,
    /// How many bytes a file may have.
    bytes: u64,
    /// How many files a resource may have.
    files: usize,
}

/// Checks that a folder can be written to, or be made. Changes nothing.
pub(in crate::kubernetes) fn check(folder: &Path) -> io::Result<()> {
    let mut wanted = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    for folder in folder.ancestors() {
        // The parent of a relative path's first element is empty.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        match fs::metadata(folder) {
            Ok(found) if !found.is_dir() => return Err(io::ErrorKind::NotADirectory.into()),
            Ok(_) => return Ok(rustix::fs::access(folder, wanted)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                wanted = Access::WRITE_OK | Access::EXEC_OK;
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

impl Folder {
    pub(in crate::kubernetes) const fn new(path: PathBuf) -> Self {
        Self::with_bounds(path, MAX_BYTES, MAX_WATCHES)
    }

    pub(super) const fn with_bounds(path: PathBuf, bytes: u64, files: usize) -> Self {
        Self { path, bytes, files }
    }

    pub(in crate::kubernetes) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a watch's snapshot, whether or not it exists.
    pub(in crate::kubernetes) fn file(&self, of: &WatchIdentity) -> PathBuf {
        self.path.join(of.file_name())
    }

    /// Reads the snapshot of a watch, if there is one.
    pub(in crate::kubernetes) fn read<T: DeserializeOwned>(
        &self,
        of: &WatchIdentity,
    ) -> Result<Option<Snapshot<T>>, SnapshotError> {
        let file = self.file(of);
        match fs::metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // Opening a pipe would wait for its writer.
            Ok(found) if !found.is_file() => return Err(SnapshotError::NoSnapshot),
            found => found?,
        };
        let mut bytes = Vec::new();
        File::open(&file)?.take(self.bytes + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > self.bytes {
            return Err(SnapshotError::TooLong(self.bytes));
        }
        format::read(&bytes, of).map(Some)
    }

    /// Writes the snapshot of a watch, and makes the folder if it is missing.
    ///
    /// An empty snapshot is worth a file as well: a name may fall back because it is known that nothing is there. But
    /// any caller can ask for namespaces that do not exist, so a new file for an empty snapshot is refused when half
    /// of the files are taken.
    pub(in crate::kubernetes) fn write<T: Serialize>(
        &self,
        of: &WatchIdentity,
        snapshot: &Snapshot<T>,
    ) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        let file = self.file(of);
        if !file.try_exists()? && !self.make_room(&of.file_prefix(), snapshot.records.is_empty())? {
            return Ok(());
        }
        let aside = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&self.path)?;
        format::write(BufWriter::new(aside.as_file()), self.bytes, of, snapshot)?;
        aside.as_file().sync_all()?;
        aside.persist(&file)?;
        Ok(())
    }

    /// Makes room for one more file of a resource by removing the oldest. Returns false if an empty snapshot should
    /// not get a file.
    fn make_room(&self, prefix: &str, is_empty: bool) -> io::Result<bool> {
        let mut files = self.files(|name| name.starts_with(prefix) && name.ends_with(SUFFIX))?;
        if is_empty && files.len() >= self.files / 2 {
            return Ok(false);
        }
        if let Some(over) = (files.len() + 1).checked_sub(self.files) {
            files.sort();
            files.iter().take(over).try_for_each(|(_, file)| remove(file))?;
        }
        Ok(true)
    }

    /// Removes temporary files of processes that ended while they wrote.
    pub(in crate::kubernetes) fn tidy(&self) -> io::Result<()> {
        let now = SystemTime::now();
        let is_old = |written: SystemTime| now.duration_since(written).is_ok_and(|age| age >= LEFT_BEHIND);
        let files = match self.files(|name| name.starts_with(TEMPORARY)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            files => files?,
        };
        files.iter().filter(|(written, _)| is_old(*written)).try_for_each(|(_, file)| remove(file))
    }

    /// Returns the files with matching names, each with the time it was written.
    fn files(&self, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<(SystemTime, PathBuf)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(&wanted) {
                match entry.metadata() {
                    // Another process has removed it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    metadata => files.push((metadata?.modified()?, entry.path())),
                }
            }
        }
        Ok(files)
    }
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
