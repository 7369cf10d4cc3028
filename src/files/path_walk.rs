//! The walk along a path, link by link.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// How many symbolic links a path may have before it counts as a loop, as in Linux.
const MAX_LINKS: usize = 40;

/// A step along a path: a directory, free of links, and the entry that is looked up in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathStep {
    /// The directory.
    pub(super) directory: PathBuf,
    /// The identity of the directory, which another one at the same path does not have.
    pub(super) identity: DirectoryIdentity,
    /// The entry.
    pub(super) entry: OsString,
    /// Whether the entry is a directory that the path only passes, so that only its replacement is of interest.
    pub(super) passing: bool,
}

/// The identity of a directory: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DirectoryIdentity(u64, u64);

impl DirectoryIdentity {
    fn of(metadata: &fs::Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

/// The entries that were looked up in walks that follow each other at once. Most paths share their directories: each is
/// looked up once.
#[derive(Debug, Default)]
pub(super) struct EntryCache(HashMap<PathBuf, EntryKind>);

/// The kind of an entry of a directory.
#[derive(Clone, Copy, Debug)]
enum EntryKind {
    Link,
    Directory(DirectoryIdentity),
    /// It is another file, or missing.
    Other,
}

impl EntryCache {
    fn kind(&mut self, entry: &Path) -> EntryKind {
        if let Some(kind) = self.0.get(entry) {
            return *kind;
        }
        let kind = match fs::symlink_metadata(entry) {
            Ok(metadata) if metadata.is_symlink() => EntryKind::Link,
            Ok(metadata) if metadata.is_dir() => EntryKind::Directory(DirectoryIdentity::of(&metadata)),
            _ => EntryKind::Other,
        };
        self.0.insert(entry.to_owned(), kind);
        kind
    }
}

/// Returns whether a walk ends at an entry: it is no directory and no link.
pub(super) fn leads_nowhere(entry: &Path) -> bool {
    matches!(EntryCache::default().kind(entry), EntryKind::Other)
}

/// Walks along an absolute path, links followed, as far as it exists. The last step is the entry at the path itself, or
/// one that is missing or no directory.
pub(super) fn walk(path: &Path, cache: &mut EntryCache) -> Vec<PathStep> {
    let mut steps: Vec<PathStep> = Vec::new();
    let mut at = PathBuf::from("/");
    let EntryKind::Directory(root) = cache.kind(&at) else { return steps };
    // The identities of the directories above: `..` goes back to them.
    let mut above = vec![root];
    let mut left = Vec::new();
    push(&mut left, path);
    let mut links = 0;
    while let Some(name) = left.pop() {
        if name == ".." {
            if above.len() > 1 {
                above.pop();
                at.pop();
            }
            continue;
        }
        let Some(&identity) = above.last() else { break };
        let entry = at.join(&name);
        let step = PathStep { directory: at.clone(), identity, entry: name, passing: false };
        match cache.kind(&entry) {
            EntryKind::Link => {
                steps.push(step);
                links += 1;
                let Ok(target) = fs::read_link(&entry) else { break };
                if links > MAX_LINKS {
                    break;
                }
                if target.is_absolute() {
                    at = PathBuf::from("/");
                    above.truncate(1);
                }
                push(&mut left, &target);
            }
            EntryKind::Directory(identity) => {
                steps.push(PathStep { passing: !left.is_empty(), ..step });
                at = entry;
                above.push(identity);
            }
            EntryKind::Other => {
                steps.push(step);
                break;
            }
        }
    }
    steps
}

/// Puts the elements of `path` on a stack, the first one on top.
fn push(left: &mut Vec<OsString>, path: &Path) {
    left.extend(path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    }));
}
