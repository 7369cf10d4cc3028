//! Dentries and dtabs.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use super::{NameTree, ParseError, Path, Prefix, parse};
use index::Index;

mod index;

/// One entry: `prefix => tree`.
///
/// `Display` prints it as Finagle does, without blanks around `=>`; `{:#}` prints weights exactly.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Dentry {
    /// The prefix of the paths that the entry rewrites.
    pub prefix: Prefix,
    /// The tree that a path becomes; the rest of the path, after the prefix, is appended to every leaf.
    pub dst: NameTree<Path>,
}

/// A delegation table: an ordered list of entries, of which later ones take precedence.
///
/// Order and duplicates count. Two dtabs are equal when their entries are, one by one. `Display` prints the entries
/// with `;` between them, as Finagle does; `{:#}` prints weights exactly.
///
/// Cloning copies no entries, and [`Dtab::concat`] shares both sides', so a table of 10,000 entries with one override
/// appended costs as much as the override alone.
///
/// ```
/// use signpost::name::Dtab;
///
/// let base: Dtab = "/svc => /host; /host/world => /srv/world-v1".parse()?;
/// let dtab = base.concat(&"/host/world => /srv/world-v2".parse()?);
/// assert_eq!(dtab.lookup(&"/host/world/x".parse()?).to_string(), "/srv/world-v2/x | /srv/world-v1/x");
/// # Ok::<(), signpost::name::ParseError>(())
/// ```
#[derive(Clone, Default)]
pub struct Dtab {
    /// The parts, none of them empty.
    parts: Arc<[Arc<DtabPart>]>,
    /// The sum of the parts' entries.
    len: usize,
}

/// A run of entries that were put together at once.
struct DtabPart {
    entries: Vec<Dentry>,
    /// The index, built with the part when the table is read, so that no request pays for it. Short parts have none:
    /// walking them is as fast, and request overrides are short.
    index: Option<Index>,
}

/// The longest part that is walked entry by entry.
const WALKED: usize = 16;

impl DtabPart {
    fn new(entries: Vec<Dentry>) -> Self {
        let index = (entries.len() > WALKED).then(|| Index::new(&entries));
        Self { entries, index }
    }

    /// Returns the positions of the entries that may match, last first.
    fn candidates(&self, path: &Path) -> Candidates {
        match &self.index {
            Some(index) => Candidates::Indexed(index.candidates(path)),
            None => Candidates::All(0..self.entries.len()),
        }
    }
}

/// The positions of entries in a part, last first.
enum Candidates {
    /// The positions that the index gave, ascending; they are taken from the end.
    Indexed(Vec<usize>),
    /// All positions.
    All(std::ops::Range<usize>),
}

impl Iterator for Candidates {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Self::Indexed(positions) => positions.pop(),
            Self::All(positions) => positions.next_back(),
        }
    }
}

impl Dtab {
    /// Returns the dtab without entries.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Returns the entries, first (the one with the lowest precedence) to last.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Dentry> + Clone {
        self.parts.iter().flat_map(|part| &part.entries)
    }

    /// Returns the number of entries.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no entries.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns this dtab's entries followed by those of `other`, which take precedence. Nothing is merged or removed.
    #[must_use]
    pub fn concat(&self, other: &Self) -> Self {
        if other.is_empty() {
            self.clone()
        } else if self.is_empty() {
            other.clone()
        } else {
            let parts = self.parts.iter().chain(&*other.parts).cloned().collect();
            Self { parts, len: self.len + other.len }
        }
    }

    /// Rewrites a path by one step.
    ///
    /// Each matching entry gives its destination, with the rest of the path appended to every leaf. No match gives
    /// `Neg`, one match that tree, several an `Alt` of them, the last entry's first (neither flattened nor simplified).
    /// Only the position counts: a longer prefix is not a better match.
    pub fn lookup(&self, path: &Path) -> NameTree<Path> {
        let mut trees: Vec<_> = self
            .matches(path)
            .map(|(_, dentry, residual)| dentry.dst.map(&mut |leaf: &Path| leaf.concat(&residual)))
            .collect();
        match trees.len() {
            0 | 1 => trees.pop().unwrap_or(NameTree::Neg),
            _ => NameTree::Alt(trees),
        }
    }

    /// Returns the matching entries, last first: each with its position in the dtab (from 0) and the rest of the path.
    ///
    /// Among 10,000 entries the matching ones are found about as fast as among 10: more than 16 entries that were put
    /// together at once are looked up by label.
    pub fn matches(&self, path: &Path) -> impl Iterator<Item = (usize, &Dentry, Path)> {
        let mut start = self.len;
        self.parts.iter().rev().flat_map(move |part| {
            start -= part.entries.len();
            part.candidates(path).filter_map(move |position| {
                let dentry = part.entries.get(position)?;
                let residual = dentry.prefix.residual(path)?;
                Some((start + position, dentry, residual))
            })
        })
    }
}

impl<'a> IntoIterator for &'a Dtab {
    type Item = &'a Dentry;
    type IntoIter = Box<dyn Iterator<Item = &'a Dentry> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl FromIterator<Dentry> for Dtab {
    fn from_iter<I: IntoIterator<Item = Dentry>>(entries: I) -> Self {
        let entries: Vec<_> = entries.into_iter().collect();
        if entries.is_empty() {
            return Self::empty();
        }
        let len = entries.len();
        Self { parts: Arc::new([Arc::new(DtabPart::new(entries))]), len }
    }
}

impl PartialEq for Dtab {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl Eq for Dtab {}

impl Hash for Dtab {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        self.iter().for_each(|dentry| dentry.hash(state));
    }
}

impl fmt::Debug for Dtab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dtab({self:#})")
    }
}

impl FromStr for Dentry {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse::dentry(text)
    }
}

impl FromStr for Dtab {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse::dtab(text)
    }
}

#[cfg(test)]
mod tests;
