//! The last good answers of watches on disk, for a start without the API server.
//!
//! Each watch has a file of its own, in the folder that the configuration names: `services.prod.5f0c….jsonl`. The
//! file names the watch it belongs to and ends with a digest, so that a truncated or changed file is not used. It is
//! written under a temporary name and then renamed: a reader, even in another process, finds the old file or the new
//! one.
//!
//! Names of namespaces come from requests. Only their harmless characters get into the name of a file, and the number
//! of files is bounded.

mod disk;
mod folder;
mod format;
mod last_save;

pub(super) use self::disk::Snapshots;
pub(super) use self::folder::{Folder, check};
pub(super) use self::format::{Snapshot, WatchIdentity};
pub(super) use self::last_save::LastSave;

#[cfg(test)]
mod tests;
