//! A log file that is moved aside when its time is over or its size is reached.
//!
//! This is our own code, because no library keeps Linkerd's contract: `tracing-appender` names the file in use by its
//! date and has no sizes; `file-rotate` and `logroller` have no day of the week and no truncation, bring compression
//! along, and one of them panics when files are moved while it runs.

use super::RollPolicy;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The file of a log, and the times at which it is moved aside.
///
/// `logs/access.log` is moved to `logs/access-20261121.log`, with the time it was begun; to
/// `logs/access-20261121.1.log` and so on when there is one of that name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogFile {
    /// The file that is written to.
    pub path: PathBuf,
    /// When it is moved aside.
    #[serde(rename = "RollPolicy")]
    pub roll: RollPolicy,
    /// Whether what is there at the start is kept and added to, or emptied.
    pub append: bool,
    /// How many files that were moved aside are kept; all of them by default.
    #[serde(rename = "RotateCount", serialize_with = "count_or_all")]
    pub keep: Option<usize>,
}

/// Serializes the number of files that are kept as the configuration writes it: -1 is all of them.
fn count_or_all<S: Serializer>(count: &Option<usize>, serializer: S) -> Result<S::Ok, S::Error> {
    match count {
        Some(count) => count.serialize(serializer),
        None => serializer.serialize_i64(-1),
    }
}

/// A log's file while it is written to.
pub(super) struct RollingFile {
    log: LogFile,
    file: File,
    /// Whether it is a file, and not a pipe or a device: only a file can be moved aside.
    rolls: bool,
    size: u64,
    began: Timestamp,
    /// The time at which it is moved aside, if the policy has one.
    until: Option<Timestamp>,
}

impl RollingFile {
    /// Opens the file, and makes its folder.
    pub(super) fn open(log: LogFile, now: Timestamp) -> io::Result<Self> {
        if let Some(folder) = log.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = append_to(&log.path)?;
        if !log.append && file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        Self::new(log, file, now)
    }

    fn new(log: LogFile, file: File, now: Timestamp) -> io::Result<Self> {
        let about = file.metadata()?;
        let last_line = about.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        // Lines written before the start belong to the hour or day in which they were written.
        let began = last_line.filter(|_| about.len() > 0).unwrap_or(now);
        let rolls = about.is_file();
        Ok(Self { until: log.roll.next(began), log, file, rolls, size: about.len(), began })
    }

    /// Changes when it is moved aside, and how many files are kept. The path stays the same place, and what it holds stays.
    pub(super) fn configure(&mut self, log: LogFile) {
        self.until = log.roll.next(self.began);
        self.log = log;
    }

    /// Returns whether it has to be moved aside before a line of `line` bytes, when `waiting` bytes wait before it.
    pub(super) fn is_due(&self, waiting: usize, line: usize, now: Timestamp) -> bool {
        let size = self.size.saturating_add(waiting as u64);
        let is_full =
            matches!(self.log.roll, RollPolicy::Size(most) if size > 0 && size + line as u64 > most);
        self.rolls && (is_full || self.until.is_some_and(|until| now >= until))
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)?;
        self.size += lines.len() as u64;
        Ok(())
    }

    /// Moves the file aside, begins another, and removes those that are too many.
    ///
    /// # Errors
    ///
    /// One of the steps failed. Writing goes on all the same, and the step is tried again when the next file is due.
    pub(super) fn roll(&mut self, now: Timestamp) -> io::Result<()> {
        let began = std::mem::replace(&mut self.began, now);
        self.until = self.log.roll.next(now);
        self.size = 0;
        let files = RolledFiles::of(&self.log.path);
        fs::rename(&self.log.path, files.next(&self.log.roll.stamp(began))?)?;
        self.file = append_to(&self.log.path)?;
        match self.log.keep {
            Some(keep) => files.keep(keep),
            None => Ok(()),
        }
    }

    /// Opens the file again and appends to it.
    ///
    /// # Errors
    ///
    /// The file cannot be opened; then the old one stays in use.
    pub(super) fn reopen(&mut self, now: Timestamp) -> io::Result<()> {
        let file = append_to(&self.log.path)?;
        *self = Self::new(self.log.clone(), file, now)?;
        Ok(())
    }
}

/// Opens a file for appending, and makes it when it is missing.
fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The file of a log and those that were moved aside: `<stem>-<time>.<number><extension>`.
struct RolledFiles {
    folder: PathBuf,
    stem: String,
    /// The extension with its dot; may be empty.
    extension: String,
}

/// The order in which files were moved aside: by the time in their names, then by number.
type Age = (String, u64);

impl RolledFiles {
    fn of(path: &Path) -> Self {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let extension = text(path.extension());
        Self {
            folder: folder.unwrap_or(Path::new(".")).to_owned(),
            stem: text(path.file_stem()),
            extension: if extension.is_empty() { extension } else { format!(".{extension}") },
        }
    }

    /// Returns the path to which a file with this time is moved, at which there is no file.
    fn next(&self, stamp: &str) -> io::Result<PathBuf> {
        let aside = self.aside()?;
        let last = aside.iter().filter(|((time, _), _)| time == stamp).map(|((_, number), _)| number).max();
        let number = last.map_or(String::new(), |last| format!(".{}", last.saturating_add(1)));
        Ok(self.folder.join(format!("{}-{stamp}{number}{}", self.stem, self.extension)))
    }

    /// Removes all that were moved aside but the last `keep`.
    fn keep(&self, keep: usize) -> io::Result<()> {
        let mut aside = self.aside()?;
        aside.sort();
        let too_many = aside.len().saturating_sub(keep);
        aside.iter().take(too_many).try_for_each(|(_, path)| fs::remove_file(path))
    }

    /// Returns the files that were moved aside.
    fn aside(&self) -> io::Result<Vec<(Age, PathBuf)>> {
        let mut aside = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let age = entry.file_name().to_str().and_then(|name| self.age(name));
            aside.extend(age.map(|age| (age, entry.path())));
        }
        Ok(aside)
    }

    /// Returns the time and the number in the name of a file that was moved aside; `None` for any other file.
    fn age(&self, name: &str) -> Option<Age> {
        let rest = name.strip_prefix(&self.stem)?.strip_prefix('-')?;
        let rest = rest.strip_suffix(&self.extension)?;
        let (time, number) = rest.split_once('.').unwrap_or((rest, "0"));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (day, hour) = time.split_once('-').unwrap_or((time, ""));
        let is_time = is_digits(day) && is_digits(hour) && day.len() == 8 && matches!(hour.len(), 0 | 2 | 6);
        let number = if is_digits(number) { number.parse().ok()? } else { return None };
        is_time.then(|| (time.to_owned(), number))
    }
}

#[cfg(test)]
mod tests;
