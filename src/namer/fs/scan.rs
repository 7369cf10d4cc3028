//! One look at the files behind names: it blocks, and remembers nothing.

use super::file::{self, Content};
use crate::name::Path;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{self, PathBuf};

/// The largest name file, in bytes, as in Linkerd.
pub(super) const MAX_FILE: u64 = 500 * 1024;

/// The longest name of a file on Linux, in bytes: longer ones are never looked for.
const MAX_NAME: usize = 255;

/// The longest path on Linux, in bytes.
const MAX_PATH: usize = 4096;

/// The file that a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileLocation {
    /// The name leads to no file.
    Nowhere,
    /// The name leads to the file with these first elements of it.
    File(Path),
    /// The file system cannot be read, for this reason.
    Unreadable(String),
}

/// The result of reading a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reading {
    /// There is no file.
    Missing,
    /// The file was read.
    Content(Content),
    /// The file cannot be read, for this reason.
    Unreadable(String),
}

/// The files behind names at one moment.
#[derive(Debug)]
pub(super) struct DirectoryScan {
    /// The locations of the names, in the order in which they were given.
    pub(super) locations: Vec<FileLocation>,
    /// The files, including those at the locations.
    pub(super) files: HashMap<Path, Reading>,
}

/// Finds the files that names lead to, and reads each once, together with those in `files`.
pub(super) fn scan(root: &path::Path, names: &[Path], files: Vec<Path>) -> DirectoryScan {
    let mut cache = HashMap::new();
    let locations: Vec<FileLocation> = names.iter().map(|name| location(root, name, &mut cache)).collect();
    let mut read: HashMap<Path, Reading> = HashMap::new();
    let found = locations.iter().filter_map(|location| match location {
        FileLocation::File(file) => Some(file.clone()),
        FileLocation::Nowhere | FileLocation::Unreadable(_) => None,
    });
    for file in files.into_iter().chain(found) {
        read.entry(file).or_insert_with_key(|file| self::read(&file_path(root, file)));
    }
    DirectoryScan { locations, files: read }
}

/// Does the same for those of the names alone whose way passes an entry below the root, a path without links, and for the
/// files. Returns the positions of these names as well. Names that lead there by links are not found.
pub(super) fn scan_below(
    root: &path::Path,
    entry: &path::Path,
    names: &[Path],
    files: Vec<Path>,
) -> (Vec<usize>, DirectoryScan) {
    let real_root = fs::canonicalize(root).ok();
    let way = real_root.and_then(|root| entry.strip_prefix(root).ok());
    // The root itself is of no use: all names pass it.
    let way = way.map(|way| Path::from_elems(way.iter().map(OsStr::as_bytes))).filter(|way| !way.is_empty());
    let passes = |name: &Path| way.as_ref().is_some_and(|way| name.starts_with(way));
    let positions: Vec<usize> =
        names.iter().enumerate().filter(|(_, name)| passes(name)).map(|(position, _)| position).collect();
    let found: Vec<Path> = positions.iter().filter_map(|&position| names.get(position).cloned()).collect();
    (positions, scan(root, &found, files))
}

/// Returns the path of the file that a name may lead to, from those of its first elements that can be names of files.
pub(super) fn file_path(root: &path::Path, name: &Path) -> PathBuf {
    let mut path = root.to_owned();
    for elem in name.elems().take_while(|elem| is_file_name(elem)) {
        if path.as_os_str().len() + elem.len() >= MAX_PATH {
            break;
        }
        path.push(OsStr::from_bytes(elem));
    }
    path
}

/// Returns whether an element can be the name of a file. Other elements lead nowhere, and so never out of the root.
pub(super) fn is_file_name(elem: &[u8]) -> bool {
    let reserved = matches!(elem, b"" | b"." | b"..");
    !reserved && elem.len() <= MAX_NAME && !elem.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// The kind of an entry, links followed.
#[derive(Clone, Debug)]
enum FileKind {
    File,
    Directory,
    /// It is something else, or missing.
    Other,
    Unreadable(String),
}

/// Looks up the kind of an entry.
fn entry_kind(path: &path::Path) -> FileKind {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => FileKind::File,
        Ok(metadata) if metadata.is_dir() => FileKind::Directory,
        Ok(_) => FileKind::Other,
        Err(error) if is_missing(&error) => FileKind::Other,
        Err(error) => FileKind::Unreadable(explain(path, &error)),
    }
}

/// Walks through directories until an element is a file. `cache` holds the entries of this scan by the names that lead to
/// them: thousands of names can lead to one file.
fn location(root: &path::Path, name: &Path, cache: &mut HashMap<Path, FileKind>) -> FileLocation {
    let mut path = root.to_owned();
    for (index, elem) in name.elems().enumerate() {
        if !is_file_name(elem) {
            return FileLocation::Nowhere;
        }
        path.push(OsStr::from_bytes(elem));
        match cache.entry(name.take(index + 1)).or_insert_with(|| entry_kind(&path)) {
            FileKind::File => return FileLocation::File(name.take(index + 1)),
            FileKind::Directory => {}
            FileKind::Other => return FileLocation::Nowhere,
            FileKind::Unreadable(reason) => return FileLocation::Unreadable(reason.clone()),
        }
    }
    FileLocation::Nowhere
}

/// How many levels of directories are listed: links can make rings.
const DEEPEST: usize = 8;

/// Returns the names of the files below a directory, in order: any `limit` of them, if there are more. Directories that
/// cannot be read are left out.
///
/// Names that begin with two dots belong to a ConfigMap mount; its links lead to the same files.
pub(super) fn names(root: &path::Path, limit: usize) -> Vec<Path> {
    let mut names = Vec::new();
    list(root, &Path::empty(), limit, &mut names);
    names
}

/// Adds the names of the files in a directory and below.
fn list(folder: &path::Path, name: &Path, limit: usize, names: &mut Vec<Path>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let files = entries.flatten().map(|entry| entry.file_name());
    // No more than can be listed, so that a huge directory does not fill the memory.
    let mut here: Vec<_> = files.filter(|file| !file.as_bytes().starts_with(b"..")).take(limit).collect();
    here.sort();
    for file in here {
        if names.len() >= limit {
            return;
        }
        let (path, name) = (folder.join(&file), name.concat(&Path::from_elems([file.as_bytes()])));
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => names.push(name),
            Ok(metadata) if metadata.is_dir() && name.len() < DEEPEST => list(&path, &name, limit, names),
            _ => {}
        }
    }
}

/// Reads a file.
fn read(path: &path::Path) -> Reading {
    let bytes = match read_bytes(path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Reading::Missing,
        Err(error) if is_missing(&error) => return Reading::Missing,
        Err(error) => return Reading::Unreadable(explain(path, &error)),
    };
    if bytes.len() as u64 > MAX_FILE {
        return Reading::Unreadable(format!("{}: the file is larger than {MAX_FILE} bytes", path.display()));
    }
    Reading::Content(file::parse(&bytes))
}

/// Reads up to one byte more than a name file may have. Returns nothing when the path is not a file: opening it could
/// block.
fn read_bytes(path: &path::Path) -> io::Result<Option<Vec<u8>>> {
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Returns the text of an error at a path.
fn explain(path: &path::Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// Returns whether an error means that there is no file. After other errors there may be one that cannot be reached.
fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}
