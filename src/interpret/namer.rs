//! The trait that namers implement, the list of configured namers, and the naming of a router.

use super::{Answer, AnswerState};
use crate::name::{Dtab, Path};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A namer answers what a path stands for, now and whenever that changes.
///
/// The interpreter owns the trait; `crate::namer` holds the implementations.
pub trait Namer: Send + Sync {
    /// Starts or joins a watch of `path`, the path after the namer's prefix. Called on the control runtime.
    ///
    /// The watch can end once [`AnswerWriter::closed`](super::AnswerWriter::closed) resolves: the answer is no longer
    /// in use.
    fn lookup(&self, path: &Path) -> Answer;

    /// Returns the answer at once when it depends on the path alone and never changes, so that a worker need not ask
    /// control. After `None`, the default, [`Namer::lookup`] has to be called.
    fn immediate(&self, path: &Path) -> Option<AnswerState> {
        let _ = path;
        None
    }

    /// Describes, for people, the state behind the answers in use; `None`, the default, when there is nothing to tell.
    fn state(&self) -> Option<serde_json::Value> {
        None
    }

    /// Lists bound names that can be asked for, up to `limit`; none by default. May block: never called on control
    /// itself.
    fn names(&self, limit: usize) -> Vec<Path> {
        let _ = limit;
        Vec::new()
    }
}

/// The namers of a configuration, each under its prefix and with a number of its own. Cheap to clone.
///
/// Answers are identified by that number. It stays with a namer when others come and go around it. It is never given to
/// another namer, neither in this list nor in lists made from it.
#[derive(Clone, Default)]
pub struct Namers {
    entries: Arc<[NamerEntry]>,
    /// The number of the next namer of this list and of all lists made from it.
    next: Arc<AtomicUsize>,
}

/// One namer of a list.
struct NamerEntry {
    number: usize,
    prefix: Path,
    namer: Arc<dyn Namer>,
}

impl Namers {
    /// Makes a list of namers with their prefixes in the order of the configuration, the system namers (`/$`) first: as
    /// in Linkerd, a later one is asked first. They are numbered from 0.
    pub fn new(entries: Vec<(Path, Arc<dyn Namer>)>) -> Self {
        Self::default().replaced_by(entries)
    }

    /// Returns a list of other namers in the place of this one, as [`Namers::new`] does. A namer that is in this list
    /// already, under the same prefix, keeps its number, and with it all its answers.
    pub fn replaced_by(&self, entries: Vec<(Path, Arc<dyn Namer>)>) -> Self {
        let number = |prefix: &Path, namer: &Arc<dyn Namer>| {
            let same = |entry: &&NamerEntry| entry.prefix == *prefix && Arc::ptr_eq(&entry.namer, namer);
            let known = self.entries.iter().find(same);
            known.map_or_else(|| self.next.fetch_add(1, Ordering::Relaxed), |entry| entry.number)
        };
        let entries = entries
            .into_iter()
            .map(|(prefix, namer)| NamerEntry { number: number(&prefix, &namer), prefix, namer })
            .collect();
        Self { entries, next: Arc::clone(&self.next) }
    }

    /// Returns the namers whose prefix `path` starts with, in the order in which they are asked, each with its number
    /// and the path after the prefix.
    pub fn matching<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = (usize, &'a Arc<dyn Namer>, Path)> {
        self.entries
            .iter()
            .rev()
            .filter_map(move |entry| Some((entry.number, &entry.namer, path.drop_prefix(&entry.prefix)?)))
    }

    /// Returns all namers with their prefixes, in the order of the configuration.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Path, &Arc<dyn Namer>)> {
        self.entries.iter().map(|entry| (&entry.prefix, &entry.namer))
    }

    /// Returns the namer with a number that [`Namers::matching`] gave.
    pub fn get(&self, number: usize) -> Option<&Arc<dyn Namer>> {
        self.entries.iter().find(|entry| entry.number == number).map(|entry| &entry.namer)
    }
}

impl fmt::Debug for Namers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|entry| &entry.prefix)).finish()
    }
}

/// The meaning of names in requests without overrides: a base dtab, and the namers. Cheap to clone.
///
/// The two change together, so that no name is ever resolved under the dtab of one configuration and the namers of
/// another.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// The base dtab.
    pub dtab: Dtab,
    /// The namers.
    pub namers: Namers,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::NameTree;

    /// A namer that answers every path with its own tree.
    struct Marked(NameTree<super::super::Leaf>);

    impl Namer for Marked {
        fn lookup(&self, _: &Path) -> Answer {
            Answer::fixed(AnswerState::Ready(self.0.clone()))
        }
    }

    #[test]
    fn later_namers_come_first_and_get_the_rest_of_the_path() {
        let path = |elems: &[&str]| Path::from_elems(elems);
        let namers = Namers::new(vec![
            (path(&["$"]), Arc::new(Marked(NameTree::Neg))),
            (path(&["#"]), Arc::new(Marked(NameTree::Fail))),
            (path(&["#", "fs"]), Arc::new(Marked(NameTree::Empty))),
        ]);
        let of = |path: &Path| namers.matching(path).map(|(at, _, rest)| (at, rest)).collect::<Vec<_>>();
        assert_eq!(of(&path(&["#", "fs", "web"])), [(2, path(&["web"])), (1, path(&["fs", "web"]))]);
        assert_eq!(of(&path(&["#", "fs"])), [(2, Path::empty()), (1, path(&["fs"]))]);
        assert_eq!(of(&path(&["$", "nil"])), [(0, path(&["nil"]))]);
        assert_eq!(of(&path(&["svc"])), []);
        assert!(namers.get(2).is_some());
        assert!(namers.get(3).is_none());
        assert_eq!(namers.get(0).and_then(|namer| namer.immediate(&path(&["x"]))), None);
    }

    #[test]
    fn a_namer_keeps_its_number_and_a_number_its_namer() {
        let path = |elem: &str| Path::from_elems([elem]);
        let marked = |tree| -> Arc<dyn Namer> { Arc::new(Marked(tree)) };
        let (stays, goes, comes) = (marked(NameTree::Neg), marked(NameTree::Fail), marked(NameTree::Empty));
        let number =
            |namers: &Namers, prefix| namers.matching(&path(prefix)).map(|(number, ..)| number).next();
        let before = Namers::new(vec![(path("goes"), goes.clone()), (path("stays"), stays.clone())]);
        let after = before.replaced_by(vec![(path("stays"), stays.clone()), (path("comes"), comes)]);
        assert_eq!((number(&before, "stays"), number(&after, "stays")), (Some(1), Some(1)));
        assert_eq!(number(&after, "comes"), Some(2));
        assert!(after.get(0).is_none());
        let moved = after.replaced_by(vec![(path("elsewhere"), stays), (path("goes"), goes)]);
        assert_eq!((number(&moved, "elsewhere"), number(&moved, "goes")), (Some(3), Some(4)));
    }
}
