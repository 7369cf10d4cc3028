//! What is in the file of a snapshot: lines of JSON.
//!
//! The first says which watch it is of and when it was true. Then comes an object in each line. The last has a digest of
//! all before it.

use crate::kubernetes::object_store::ObjectRecord;
use crate::kubernetes::scope::Selector;
use crate::kubernetes::watched_object::WatchedObject;
use fnv::FnvHasher;
use jiff::Timestamp;
use kube::Resource as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::hash::Hasher as _;
use std::io::{self, Write};
use std::sync::Arc;

/// The format that is written, and the only one that is read. What is kept of a resource is part of it.
const FORMAT: u64 = 1;

/// Characters of a namespace or a resource that are part of a file's name at most; those of Kubernetes are not longer.
const READABLE: usize = 63;

/// Which watch a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::kubernetes) struct WatchIdentity {
    /// The URL of the API server.
    server: Arc<str>,
    api_version: String,
    resource: String,
    /// All namespaces if there is none.
    namespace: Option<Arc<str>>,
    selector: Selector,
}

/// What a watch knew.
#[derive(Debug)]
pub(in crate::kubernetes) struct Snapshot<T> {
    /// When that was true.
    pub(in crate::kubernetes) time: Timestamp,
    pub(in crate::kubernetes) records: Vec<ObjectRecord<T>>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::kubernetes) enum SnapshotError {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is longer than {} MiB", .0 >> 20)]
    TooLong(u64),
    #[error("it is no snapshot")]
    NoSnapshot,
    #[error("it is in format {0}, and this version of the router reads format {FORMAT} alone")]
    Format(u64),
    #[error("it is of another watch, {resource} of {server}", resource = .0.resource, server = .0.server)]
    Another(Box<WatchIdentity>),
    #[error("it is cut short, or was changed")]
    Changed,
    #[error("line {0}: {1}")]
    Record(usize, serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct HeaderLine<I> {
    format: u64,
    of: I,
    time: String,
}

/// What the first line has in every format.
#[derive(Deserialize)]
struct FormatLine {
    format: u64,
}

#[derive(Serialize, Deserialize)]
struct DigestLine {
    digest: String,
}

impl WatchIdentity {
    /// Returns which watch it is that asks this server.
    pub(in crate::kubernetes) fn new<T: WatchedObject>(
        server: Arc<str>,
        namespace: Option<Arc<str>>,
        selector: Selector,
    ) -> Self {
        let (api_version, resource) = (T::ApiObject::api_version(&()), T::ApiObject::plural(&()));
        let (api_version, resource) = (api_version.into_owned(), resource.into_owned());
        Self { server, api_version, resource, namespace, selector }
    }

    /// What the names of all files of this resource begin with.
    pub(super) fn file_prefix(&self) -> String {
        readable(&self.resource) + "."
    }

    /// The name of its file: what people look for, and a digest of all. Two watches may get the same name by intent, so
    /// that the file says it as well.
    pub(super) fn file_name(&self) -> String {
        let namespace = self.namespace.as_ref().map_or_else(|| "_all".to_owned(), |name| readable(name));
        let whole = serde_json::to_vec(self).unwrap_or_default();
        format!("{}{namespace}.{}{SUFFIX}", self.file_prefix(), digest(&whole))
    }
}

/// What the names of all files end with.
pub(super) const SUFFIX: &str = ".jsonl";

/// What is harmless in the name of a file.
fn readable(text: &str) -> String {
    let harmless = |c: char| if matches!(c, 'a'..='z' | '0'..='9' | '-') { c } else { '_' };
    text.chars().take(READABLE).map(harmless).collect()
}

/// A digest that stays the same in every version of the router.
fn digest(bytes: &[u8]) -> String {
    let mut hasher = FnvHasher::default();
    hasher.write(bytes);
    format!("{:016x}", hasher.finish())
}

/// Writes a snapshot.
pub(super) fn write<T: Serialize>(
    to: impl Write,
    bytes: u64,
    of: &WatchIdentity,
    snapshot: &Snapshot<T>,
) -> io::Result<()> {
    let mut to = BoundedWriter { to, left: bytes, hasher: FnvHasher::default() };
    line(&mut to, &HeaderLine { format: FORMAT, of, time: snapshot.time.to_string() })?;
    snapshot.records.iter().try_for_each(|record| line(&mut to, record))?;
    let digest = format!("{:016x}", to.hasher.finish());
    line(&mut to, &DigestLine { digest })?;
    to.flush()
}

fn line(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *to, value)?;
    to.write_all(b"\n")
}

/// Refuses what is too long, and digests the rest.
struct BoundedWriter<W> {
    to: W,
    left: u64,
    hasher: FnvHasher,
}

impl<W: Write> Write for BoundedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let too_long = || io::Error::new(io::ErrorKind::FileTooLarge, "there is too much for a snapshot");
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(too_long)?;
        self.to.write_all(bytes)?;
        self.hasher.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Reads a snapshot of this watch.
pub(super) fn read<T: DeserializeOwned>(
    bytes: &[u8],
    of: &WatchIdentity,
) -> Result<Snapshot<T>, SnapshotError> {
    let first = bytes.split_inclusive(|&byte| byte == b'\n').next().ok_or(SnapshotError::NoSnapshot)?;
    let FormatLine { format } = serde_json::from_slice(first).map_err(|_| SnapshotError::NoSnapshot)?;
    if format != FORMAT {
        return Err(SnapshotError::Format(format));
    }
    let body = bytes.strip_suffix(b"\n").ok_or(SnapshotError::Changed)?;
    let last = body.iter().rposition(|&byte| byte == b'\n').ok_or(SnapshotError::Changed)? + 1;
    let (lines, last) = body.split_at(last);
    let DigestLine { digest: told } = serde_json::from_slice(last).map_err(|_| SnapshotError::Changed)?;
    if told != digest(lines) {
        return Err(SnapshotError::Changed);
    }
    let HeaderLine { of: found, time, .. } = serde_json::from_slice::<HeaderLine<WatchIdentity>>(first)
        .map_err(|error| SnapshotError::Record(1, error))?;
    if found != *of {
        return Err(SnapshotError::Another(Box::new(found)));
    }
    let time = time.parse().map_err(|_| SnapshotError::NoSnapshot)?;
    let lines = lines.split_inclusive(|&byte| byte == b'\n').enumerate().skip(1);
    let record =
        |(at, line)| serde_json::from_slice(line).map_err(|error| SnapshotError::Record(at + 1, error));
    Ok(Snapshot { time, records: lines.map(record).collect::<Result<_, _>>()? })
}
