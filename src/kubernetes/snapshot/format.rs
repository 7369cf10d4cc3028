//! The format of a snapshot file: lines of JSON.
//!
//! The first line names the watch and the time of its objects. Each further line is one object. The last line is a
//! digest of all lines before it.

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

/// The version of the format that is written, and the only one that is read. The stored part of an object belongs to
/// it.
const FORMAT: u64 = 2;

/// How many characters of a namespace or a resource are part of a file's name at most; names in Kubernetes are not
/// longer.
const READABLE: usize = 63;

/// The identity of the watch that a snapshot belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::kubernetes) struct WatchIdentity {
    /// The URL of the API server.
    server: Arc<str>,
    api_version: String,
    resource: String,
    /// The namespace; all namespaces if there is none.
    namespace: Option<Arc<str>>,
    selector: Selector,
}

/// The objects of a watch at one time.
#[derive(Debug)]
pub(in crate::kubernetes) struct Snapshot<T> {
    /// The time at which the objects were up to date.
    pub(in crate::kubernetes) time: Timestamp,
    pub(in crate::kubernetes) records: Vec<ObjectRecord<T>>,
}

/// The reason why a snapshot file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::kubernetes) enum SnapshotError {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is longer than {} MiB", .0 >> 20)]
    TooLong(u64),
    #[error("it is not a snapshot")]
    NoSnapshot,
    #[error("it has format {0}, but this version of the router reads only format {FORMAT}")]
    Format(u64),
    #[error("it belongs to another watch, {resource} of {server}", resource = .0.resource, server = .0.server)]
    Another(Box<WatchIdentity>),
    #[error("it is cut short, or was changed")]
    Changed,
    #[error("line {0}: {1}")]
    Record(usize, serde_json::Error),
}

/// The first line of a file.
#[derive(Serialize, Deserialize)]
struct HeaderLine<I> {
    format: u64,
    of: I,
    time: String,
}

/// The part of the first line that every format has.
#[derive(Deserialize)]
struct FormatLine {
    format: u64,
}

/// The last line of a file.
#[derive(Serialize, Deserialize)]
struct DigestLine {
    digest: String,
}

impl WatchIdentity {
    /// Returns the identity of a watch of this server.
    pub(in crate::kubernetes) fn new<T: WatchedObject>(
        server: Arc<str>,
        namespace: Option<Arc<str>>,
        selector: Selector,
    ) -> Self {
        let (api_version, resource) = (T::ApiObject::api_version(&()), T::ApiObject::plural(&()));
        let (api_version, resource) = (api_version.into_owned(), resource.into_owned());
        Self { server, api_version, resource, namespace, selector }
    }

    /// Returns the prefix of the names of all files of this resource.
    pub(super) fn file_prefix(&self) -> String {
        readable(&self.resource) + "."
    }

    /// Returns the name of its file: the readable parts, and a digest of the whole identity. Two identities may be
    /// made to have the same name, so the file contains its identity as well.
    pub(super) fn file_name(&self) -> String {
        let namespace = self.namespace.as_ref().map_or_else(|| "_all".to_owned(), |name| readable(name));
        let whole = serde_json::to_vec(self).unwrap_or_default();
        format!("{}{namespace}.{}{SUFFIX}", self.file_prefix(), digest(&whole))
    }
}

/// The suffix of the names of all files.
pub(super) const SUFFIX: &str = ".jsonl";

/// Returns a text with harmless characters alone, for the name of a file.
fn readable(text: &str) -> String {
    let harmless = |c: char| if matches!(c, 'a'..='z' | '0'..='9' | '-') { c } else { '_' };
    text.chars().take(READABLE).map(harmless).collect()
}

/// Returns a digest that stays the same in every version of the router.
fn digest(bytes: &[u8]) -> String {
    let mut hasher = FnvHasher::default();
    hasher.write(bytes);
    format!("{:016x}", hasher.finish())
}

/// Writes the file of a snapshot, of at most `bytes` bytes.
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

/// Writes a value as one line of JSON.
fn line(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *to, value)?;
    to.write_all(b"\n")
}

/// A writer that counts and digests the bytes, and refuses those over its limit.
struct BoundedWriter<W> {
    to: W,
    left: u64,
    hasher: FnvHasher,
}

impl<W: Write> Write for BoundedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let too_long = || io::Error::new(io::ErrorKind::FileTooLarge, "the snapshot is too long");
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(too_long)?;
        self.to.write_all(bytes)?;
        self.hasher.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Reads the file of a snapshot, which must belong to this watch.
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
