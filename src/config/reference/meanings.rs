//! The meaning of each key and kind that works, in a sentence without its full stop.

mod client;
mod naming;
mod process;
mod router;

/// The meanings of the rows of one section, by their names.
type SectionMeanings = (&'static str, &'static [(&'static str, &'static str)]);

/// The default of a row: its section, its name, and JSON.
type StatedDefault = (&'static str, &'static str, &'static str);

/// Returns the meanings of all sections.
pub(super) fn meanings() -> impl Iterator<Item = &'static SectionMeanings> {
    [process::MEANINGS, router::MEANINGS, client::MEANINGS, naming::MEANINGS].into_iter().flatten()
}

/// Returns the meaning of a row of a section.
pub(super) fn meaning(section: &str, row: &str) -> Option<&'static str> {
    let rows = meanings().filter(|(name, _)| *name == section).flat_map(|(_, rows)| rows.iter());
    rows.into_iter().find(|(name, _)| *name == row).map(|(_, meaning)| *meaning)
}

/// Returns the default of a key as JSON, where the resolved configuration does not have it because the proxy decides it.
pub(super) fn stated_default(section: &str, row: &str) -> Option<&'static str> {
    let mut defaults = [router::DEFAULTS, client::DEFAULTS].into_iter().flatten();
    defaults.find(|(name, key, _)| (*name, *key) == (section, row)).map(|(.., default)| *default)
}

/// The defaults that the proxy decides, as JSON.
#[cfg(test)]
pub(super) fn stated_defaults() -> impl Iterator<Item = &'static StatedDefault> {
    [router::DEFAULTS, client::DEFAULTS].into_iter().flatten()
}
