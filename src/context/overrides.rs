//! The dtab overrides of a request.

use super::OverrideLimits;
use super::baggage::decode_value;
use crate::name::{Dentry, Dtab, ParseError};
use std::fmt;

/// A source of dtab entries that a request carries or is given: from the one with the lowest precedence to the one with
/// the highest.
///
/// In [`Context::overrides`](super::Context::overrides), a value ends with the number of its source as a byte. No field
/// value has such bytes (RFC 9110 section 5.5), and no dtab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OverrideSource {
    /// The member `dtab` of the header `baggage`.
    Baggage = 1,
    /// A rule of `inject` in the configuration of the listener.
    Inject = 2,
    /// The header `l5d-ctx-dtab`, which routers send to each other.
    Ctx = 3,
    /// A token in the header `l5d-dtab-token`.
    Token = 4,
    /// The header `l5d-dtab`.
    User = 5,
}

/// The dtab entries that a request carries or is given.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// All entries, in the order of their sources.
    pub dtab: Dtab,
    /// How many of the entries came from each source, in the order of the sources.
    counts: [usize; OverrideSource::ALL.len()],
    /// The limits under which they were read.
    limits: OverrideLimits,
    /// The entries in their exact printed form, each source's with the end byte of the source.
    layers: String,
    /// The entries that are sent to the upstream.
    printed: String,
}

impl OverrideSource {
    /// All sources, in their order.
    pub const ALL: [Self; 5] = [Self::Baggage, Self::Inject, Self::Ctx, Self::Token, Self::User];

    /// Returns the byte that ends a value of this source.
    pub const fn end(self) -> u8 {
        self as u8
    }

    /// Returns its position among all sources.
    const fn position(self) -> usize {
        self as usize - Self::Baggage as usize
    }

    /// Returns the source whose values end with this byte.
    fn of_end(end: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.end() == end)
    }

    /// Returns whether the entries are the caller's, so that limits hold for them.
    const fn is_callers(self) -> bool {
        !matches!(self, Self::Inject)
    }
}

impl fmt::Display for OverrideSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Baggage => "member dtab of the header baggage",
            Self::Inject => "dtab of a rule of inject",
            Self::Ctx => "header l5d-ctx-dtab",
            Self::Token => "token in the header l5d-dtab-token",
            Self::User => "header l5d-dtab",
        })
    }
}

impl Overrides {
    /// Returns how many entries came from a source.
    pub fn count(&self, source: OverrideSource) -> usize {
        self.counts.get(source.position()).copied().unwrap_or_default()
    }

    /// Returns the source of the entry at a position of [`Overrides::dtab`].
    pub fn source(&self, position: usize) -> Option<OverrideSource> {
        let mut end = 0;
        OverrideSource::ALL.into_iter().find(|source| {
            end += self.count(*source);
            position < end
        })
    }

    /// Returns whether the entry at a position of [`Overrides::dtab`] is the caller's: the limits hold for it.
    pub fn is_limited(&self, position: usize) -> bool {
        self.source(position).is_some_and(OverrideSource::is_callers)
    }

    /// Returns the limits under which the overrides were read, and under which they are bound.
    pub fn limits(&self) -> &OverrideLimits {
        &self.limits
    }

    /// Returns the entries to be sent as `l5d-ctx-dtab`, in their exact printed form; empty when there is none.
    ///
    /// Those of `baggage` are not among them: they travel in `baggage`, so that the order is the same at the next hop
    /// and no header grows.
    pub fn printed(&self) -> &[u8] {
        self.printed.as_bytes()
    }

    /// Appends a key of these overrides: equal keys mean equal entries from equal sources, under equal limits.
    pub fn write_key(&self, key: &mut Vec<u8>) {
        if !self.dtab.is_empty() {
            self.limits.write_key(key);
            key.extend_from_slice(self.layers.as_bytes());
        }
    }
}

/// The reason why the overrides of a request are refused; its text is the body of the response.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OverrideError {
    /// A value is not a dtab: 400.
    #[error("The {origin} is not a dtab.\n{error}\nCorrect the {origin}, or send the request without it.")]
    Malformed {
        /// The source that the value came from; the value of a member is shown decoded.
        origin: OverrideSource,
        /// The fault of the value, with its place.
        error: ParseError,
    },
    /// There are more entries than allowed: 400.
    #[error(
        "The headers l5d-ctx-dtab and l5d-dtab, the token and the {} have more than {limit} entries. Send fewer.",
        OverrideSource::Baggage
    )]
    TooMany {
        /// How many entries are allowed.
        limit: usize,
    },
    /// An entry has a prefix that the listener does not allow to override: 403.
    #[error(
        "The entry {dentry} of the {origin} is refused: this listener allows overrides at or below {allowed} only \
         (`overrides.prefixes`)."
    )]
    Prefix {
        /// The source of the entry.
        origin: OverrideSource,
        /// The entry, printed.
        dentry: String,
        /// The prefixes that are allowed, printed.
        allowed: String,
    },
}

/// The entries of a request, by their source and in the order of the sources.
type Layers = [Dtab; OverrideSource::ALL.len()];

/// Reads the override values of [`Context::overrides`](super::Context::overrides) under the limits of a listener.
///
/// A value that is no dtab as a whole is read once more as a list: a proxy may have folded several lines into one
/// with commas (RFC 9110 section 5.3), which Linkerd refused. The whole comes first because a comment may hold a
/// comma. Bytes that are not UTF-8 are read as the replacement character, which only a comment may hold.
///
/// # Errors
///
/// When a value is not a dtab, when there are too many entries, or when one has a prefix that is not allowed.
pub fn decode_overrides(raw: &[u8], limits: &OverrideLimits) -> Result<Overrides, OverrideError> {
    let mut layers = Layers::default();
    for line in raw.split_inclusive(|&byte| OverrideSource::of_end(byte).is_some()) {
        let (source, value) = match line.split_last() {
            Some((&end, value)) => match OverrideSource::of_end(end) {
                Some(source) => (source, value),
                None => (OverrideSource::User, line),
            },
            None => continue,
        };
        let decoded = (source == OverrideSource::Baggage).then(|| decode_value(value));
        let value = String::from_utf8_lossy(decoded.as_deref().unwrap_or(value));
        let dtab = read_value(source, &value, limits)?;
        if let Some(layer) = layers.get_mut(source.position()) {
            *layer = layer.concat(&dtab);
        }
        check_entries(&layers, limits)?;
    }
    check_prefixes(&layers, limits)?;
    forget_injected_before(&mut layers);
    let all = |dtab: Dtab, layer: &Dtab| dtab.concat(layer);
    let [_, forwarded @ ..] = &layers;
    Ok(Overrides {
        dtab: layers.iter().fold(Dtab::empty(), all),
        counts: layers.each_ref().map(Dtab::len),
        limits: limits.clone(),
        layers: print_layers(&layers),
        printed: format!("{:#}", forwarded.iter().fold(Dtab::empty(), all)),
    })
}

/// Returns the layers with their sources.
fn by_source(layers: &Layers) -> impl Iterator<Item = (OverrideSource, &Dtab)> {
    OverrideSource::ALL.into_iter().zip(layers)
}

/// Checks the number of the caller's entries.
fn check_entries(layers: &Layers, limits: &OverrideLimits) -> Result<(), OverrideError> {
    let limit = limits.rules().max_entries;
    let callers = by_source(layers).filter(|(source, _)| source.is_callers());
    if callers.map(|(_, dtab)| dtab.len()).sum::<usize>() > limit {
        return Err(OverrideError::TooMany { limit });
    }
    Ok(())
}

/// Checks the prefixes of the caller's entries.
fn check_prefixes(layers: &Layers, limits: &OverrideLimits) -> Result<(), OverrideError> {
    let refused = |dentry: &&Dentry| !limits.allows_prefix(&dentry.prefix);
    for (origin, dtab) in by_source(layers).filter(|(source, _)| source.is_callers()) {
        if let Some(dentry) = dtab.iter().find(refused) {
            let allowed = limits.allowed_prefixes();
            return Err(OverrideError::Prefix { origin, dentry: format!("{dentry:#}"), allowed });
        }
    }
    Ok(())
}

/// Drops the injected entries that the router before has injected already, so that no header grows from hop to hop.
///
/// Nothing else changes: an entry comes to the same as one that is tried before it.
fn forget_injected_before(layers: &mut Layers) {
    let [_, injected, ctx, ..] = layers;
    if !injected.is_empty() {
        *injected =
            injected.iter().filter(|dentry| ctx.iter().all(|known| known != *dentry)).cloned().collect();
    }
}

/// Prints the layers that have entries, each with the end byte of its source.
fn print_layers(layers: &Layers) -> String {
    let mut printed = String::new();
    for (source, dtab) in by_source(layers).filter(|(_, dtab)| !dtab.is_empty()) {
        printed.push_str(&format!("{dtab:#}"));
        printed.push(char::from(source.end()));
    }
    printed
}

/// Returns how many bytes the values have, without the bytes that end them.
pub(super) fn count_bytes(raw: &[u8]) -> usize {
    raw.iter().filter(|&&byte| OverrideSource::of_end(byte).is_none()).count()
}

/// Reads one value as a dtab, or else as a list of dtabs.
fn read_value(origin: OverrideSource, value: &str, limits: &OverrideLimits) -> Result<Dtab, OverrideError> {
    let malformed = |error| OverrideError::Malformed { origin, error };
    let whole = match value.parse::<Dtab>() {
        Ok(dtab) => return Ok(dtab),
        Err(error) => malformed(error),
    };
    if !value.contains(',') {
        return Err(whole);
    }
    let pieces = || value.split(',').filter(|piece| !piece.trim().is_empty());
    // A list of thousands of comments has no entry, but it costs as many parses.
    let limit = limits.rules().max_entries;
    if pieces().count() > limit {
        return Err(OverrideError::TooMany { limit });
    }
    pieces().try_fold(Dtab::empty(), |dtab, piece| Ok(dtab.concat(&piece.parse().map_err(malformed)?)))
}

#[cfg(test)]
mod tests;
