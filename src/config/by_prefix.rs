//! Settings of names: for all of them, or by prefix.

use super::errors::Report;
use super::reader::Reader;
use crate::name::Path;
use crate::namer::{Captures, PathMatcher};
use crate::source::node::Node;
use serde::{Serialize, Serializer};

/// Settings of which each may be absent.
pub trait Settings: Clone + Default {
    /// Takes over what `later` sets.
    fn merge(&mut self, later: &Self);

    /// Returns the settings with what the prefix of their entry has captured.
    fn fill(&self, _captures: &Captures<'_>) -> Self {
        self.clone()
    }
}

/// `client` or `service`: the settings of names.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "kind")]
pub enum ByPrefix<S> {
    /// `io.l5d.global`: those of all names; the default.
    #[serde(rename = "io.l5d.global")]
    Global(S),
    /// `io.l5d.static`: entries by prefix. All that match a name apply to it, a later one over those before it.
    #[serde(rename = "io.l5d.static")]
    Static {
        /// `configs`: the entries, in the order of the file.
        configs: Vec<PrefixEntry<S>>,
    },
}

/// The settings of the names under a prefix.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PrefixEntry<S> {
    /// `prefix`.
    pub prefix: NamePrefix,
    /// The keys beside it.
    #[serde(flatten)]
    pub settings: S,
}

/// A prefix of names: literal elements, `*` for any one, `{name}` for any text within one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamePrefix {
    text: String,
    matcher: PathMatcher,
}

impl NamePrefix {
    /// Returns the settings of an entry with this prefix, if a name is under it. A bound id is also without the part that transformers put before it,
    /// `/%/io.l5d.port/4141` of `/%/io.l5d.port/4141/#/io.l5d.fs/web`: in Linkerd, such a prefix stopped matching when a
    /// transformer came.
    fn fill<S: Settings>(&self, settings: &S, name: &Path) -> Option<S> {
        let under = |name: &Path| self.matcher.captures(name).map(|captures| settings.fill(&captures));
        under(name).or_else(|| untransformed(name).and_then(|name| under(&name)))
    }
}

/// Returns a bound id without the parts of transformers; `None` if it has none.
fn untransformed(id: &Path) -> Option<Path> {
    if id.elems().next() != Some(b"%".as_slice()) {
        return None;
    }
    let namer = id.elems().position(|elem| matches!(elem, b"#" | b"$"))?;
    Some(Path::from_elems(id.elems().skip(namer)))
}

impl Serialize for NamePrefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<S: Default> Default for ByPrefix<S> {
    fn default() -> Self {
        Self::Global(S::default())
    }
}

impl<S: Settings> ByPrefix<S> {
    /// Returns the settings of one name.
    pub fn of(&self, name: &Path) -> S {
        match self {
            Self::Global(settings) => settings.clone(),
            Self::Static { configs } => {
                let mut merged = S::default();
                let matching = configs.iter().filter_map(|entry| entry.prefix.fill(&entry.settings, name));
                matching.for_each(|settings| merged.merge(&settings));
                merged
            }
        }
    }

    /// Returns all settings, whatever the prefix.
    pub fn iter(&self) -> impl Iterator<Item = &S> {
        let (global, configs) = match self {
            Self::Global(settings) => (Some(settings), &[][..]),
            Self::Static { configs } => (None, &configs[..]),
        };
        global.into_iter().chain(configs.iter().map(|entry| &entry.settings))
    }
}

/// The sections of a block of settings in the schema.
pub(super) struct Sections {
    /// Its key in a router.
    pub(super) key: &'static str,
    /// The section of `io.l5d.static`.
    pub(super) by_prefix: &'static [&'static str],
    /// The section of an entry.
    pub(super) entry: &'static [&'static str],
}

/// Reads a block of settings; `read` reads those of one mapping, with the prefix of its entry if it has one.
pub(super) fn by_prefix<S: Default>(
    router: &mut Reader<'_, '_>,
    sections: &Sections,
    read: impl Fn(&Node<'_>, Option<&PathMatcher>, &mut Report) -> S,
) -> ByPrefix<S> {
    let Some(node) = router.get(sections.key) else { return ByPrefix::default() };
    let report = router.report();
    let kind = node.get("kind");
    if kind.and_then(|kind| kind.text().ok()) != Some("io.l5d.static") {
        return ByPrefix::Global(read(&node, None, report));
    }
    let configs = Reader::new(&node, sections.by_prefix, report).get("configs");
    let entries = configs.and_then(|configs| configs.list().ok()).unwrap_or_default();
    let configs = report.each(&entries, |node, report| {
        let prefix = prefix(&mut Reader::new(node, sections.entry, report));
        let settings = read(node, prefix.as_ref().map(|prefix| &prefix.matcher), report);
        Some(PrefixEntry { prefix: prefix?, settings })
    });
    ByPrefix::Static { configs }
}

/// Reads `prefix`.
fn prefix(entry: &mut Reader<'_, '_>) -> Option<NamePrefix> {
    entry.require("prefix");
    let text = entry.text("prefix")?;
    let node = entry.get("prefix")?;
    let matcher = text.parse().map_err(|error: crate::namer::PatternError| node.error(error.to_string()));
    Some(NamePrefix { text: text.to_owned(), matcher: entry.report().check(matcher)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Words(Vec<&'static str>);

    impl Settings for Words {
        fn merge(&mut self, later: &Self) {
            self.0.extend(&later.0);
        }
    }

    fn entry(prefix: &str, word: &'static str) -> PrefixEntry<Words> {
        let prefix = NamePrefix { text: prefix.to_owned(), matcher: prefix.parse().unwrap() };
        PrefixEntry { prefix, settings: Words(vec![word]) }
    }

    #[test]
    fn all_entries_that_match_apply_in_their_order() {
        let settings = ByPrefix::Static {
            configs: vec![
                entry("/", "all"),
                entry("/#/io.l5d.fs/web", "web"),
                entry("/#/*/{service}", "named"),
                entry("/$/inet/*/443", "port"),
                entry("/%/io.l5d.port/4141", "transformed"),
            ],
        };
        for (id, words) in [
            ("/#/io.l5d.fs/web", &["all", "web", "named"][..]),
            ("/#/io.l5d.fs/web2", &["all", "named"]),
            ("/#/io.l5d.fs", &["all"]),
            ("/$/inet/host/443", &["all", "port"]),
            ("/%/io.l5d.port/4141/#/io.l5d.fs/web", &["all", "web", "named", "transformed"]),
            ("/%/io.l5d.port/4142/$/inet/host/443", &["all", "port"]),
            ("/%/io.l5d.port/4142", &["all"]),
        ] {
            assert_eq!(settings.of(&id.parse().unwrap()).0, words, "{id}");
        }
    }
}
