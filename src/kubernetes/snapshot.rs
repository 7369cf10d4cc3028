//! The last good answers of watches on disk, for a start without the API server.
//!
//! Each watch has a file of its own, in the folder that the configuration names: `services.prod.5f0c….jsonl`. It says in
//! itself which watch it is of and ends with a digest, so that whatever is not wholly what was written is not used. A file
//! is written aside and put into its place at once: who reads, be it another process, finds the old one or the new one.
//!
//! Names of namespaces come from requests. Nothing of them gets into the name of a file but what is harmless there, and
//! the number of files is bounded.

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
