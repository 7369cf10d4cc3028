//! What the file system says of names: blocking, and without memory.

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

/// The longest name of a file on Linux, in bytes: what is longer is never looked for.
const MAX_NAME: usize = 255;

/// The longest path on Linux, in bytes.
const MAX_PATH: usize = 4096;

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To no file.
    Nowhere,
    /// To the file that these first elements of the name are.
    File(Path),
    /// This cannot be said, for this reason.
    Unreadable(String),
}

/// What there is to read at a place.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reading {
    /// No file.
    Missing,
    /// A file that can be read.
    Content(Content),
    /// A file that cannot, and why.
    Unreadable(String),
}

/// The file system at one moment.
#[derive(Debug)]
pub(super) struct Survey {
    /// Where the names lead, in the order they were given.
    pub(super) places: Vec<Place>,
    /// What is in the files, those at the places among them.
    pub(super) files: HashMap<Path, Reading>,
}

/// Looks where names lead, and reads each file once: those and the ones in `files`.
pub(super) fn survey(root: &path::Path, names: &[Path], files: Vec<Path>) -> Survey {
    let places: Vec<Place> = names.iter().map(|name| place(root, name)).collect();
    let mut read: HashMap<Path, Reading> = HashMap::new();
    let found = places.iter().filter_map(|place| match place {
        Place::File(file) => Some(file.clone()),
        Place::Nowhere | Place::Unreadable(_) => None,
    });
    for file in files.into_iter().chain(found) {
        read.entry(file).or_insert_with_key(|file| self::read(&locate(root, file)));
    }
    Survey { places, files: read }
}

/// The path of the file that a name may lead to: as many of its elements as can be names of files.
pub(super) fn locate(root: &path::Path, name: &Path) -> PathBuf {
    let mut path = root.to_owned();
    for elem in name.elems().take_while(|elem| is_file_name(elem)) {
        if path.as_os_str().len() + elem.len() >= MAX_PATH {
            break;
        }
        path.push(OsStr::from_bytes(elem));
    }
    path
}

/// Whether an element can be the name of a file: one that cannot, and so cannot lead out of the root either, leads
/// nowhere.
pub(super) fn is_file_name(elem: &[u8]) -> bool {
    let reserved = matches!(elem, b"" | b"." | b"..");
    !reserved && elem.len() <= MAX_NAME && !elem.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// Goes through directories until an element is a file.
fn place(root: &path::Path, name: &Path) -> Place {
    let mut path = root.to_owned();
    for (index, elem) in name.elems().enumerate() {
        if !is_file_name(elem) {
            return Place::Nowhere;
        }
        path.push(OsStr::from_bytes(elem));
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => return Place::File(name.take(index + 1)),
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Place::Nowhere,
            Err(error) if is_missing(&error) => return Place::Nowhere,
            Err(error) => return Place::Unreadable(explain(&path, &error)),
        }
    }
    Place::Nowhere
}

/// How many directories may lie one in the other where names are listed: links can make rings.
const DEEPEST: usize = 8;

/// The names of the files below a directory, in order: of more than `limit`, any so many. What cannot be listed is left
/// out.
///
/// What begins with two dots is the machinery of a ConfigMap mount, whose links lead to the same files.
pub(super) fn names(root: &path::Path, limit: usize) -> Vec<Path> {
    let mut names = Vec::new();
    list(root, &Path::empty(), limit, &mut names);
    names
}

fn list(folder: &path::Path, name: &Path, limit: usize, names: &mut Vec<Path>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let files = entries.flatten().map(|entry| entry.file_name());
    // As many of a folder as could be shown, so that a huge one does not fill the memory.
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

/// Up to one byte more than a name file may have; nothing when it is not a file, which opening could wait for.
fn read_bytes(path: &path::Path) -> io::Result<Option<Vec<u8>>> {
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn explain(path: &path::Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// Whether nothing is there; anything else may be there and is only out of reach.
fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}
