//! The trait that namers implement, the list of those configured, and what names mean under them.

use super::{Answer, State};
use crate::name::{Dtab, Path};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Says what a path stands for, now and whenever that changes.
///
/// The interpreter owns the trait; `crate::namer` holds what implements it.
pub trait Namer: Send + Sync {
    /// Starts or joins a watch of `path`, which is what follows the namer's prefix. Called on the control runtime.
    ///
    /// The watch can end once [`Writer::closed`](super::Writer::closed) resolves: nobody holds the answer any more.
    fn lookup(&self, path: &Path) -> Answer;

    /// Answers at once when the answer depends on the path alone and never changes, so that a worker need not ask
    /// control. `None`, the default, says that [`Namer::lookup`] has to be asked.
    fn immediate(&self, path: &Path) -> Option<State> {
        let _ = path;
        None
    }

    /// Describes what is known behind the answers that somebody holds, for people; `None`, the default, says that
    /// there is nothing to tell.
    fn state(&self) -> Option<serde_json::Value> {
        None
    }

    /// Lists bound names that can be asked for, up to `limit`; none by default. May block: not to be called on control
    /// itself.
    fn names(&self, limit: usize) -> Vec<Path> {
        let _ = limit;
        Vec::new()
    }
}

/// The namers of a configuration, each under its prefix and with a number of its own. Cheap to clone.
///
/// The number is what answers are known by. It stays with a namer when others come and go around it, and is never given
/// to another one, neither in this list nor in those that were made from it.
#[derive(Clone, Default)]
pub struct Namers {
    entries: Arc<[Entry]>,
    /// The number of the next namer of this list and of all that come of it.
    next: Arc<AtomicUsize>,
}

struct Entry {
    number: usize,
    prefix: Path,
    namer: Arc<dyn Namer>,
}

impl Namers {
    /// Takes namers with their prefixes in the order of the configuration, the system namers (`/$`) first: as in
    /// Linkerd, a later one is asked first. They are numbered from 0.
    pub fn new(entries: Vec<(Path, Arc<dyn Namer>)>) -> Self {
        Self::default().replaced_by(entries)
    }

    /// Takes other namers in the place of these, as [`Namers::new`] does. One that is here already, under the same
    /// prefix, keeps its number, and with it every answer that was given.
    pub fn replaced_by(&self, entries: Vec<(Path, Arc<dyn Namer>)>) -> Self {
        let number = |prefix: &Path, namer: &Arc<dyn Namer>| {
            let same = |entry: &&Entry| entry.prefix == *prefix && Arc::ptr_eq(&entry.namer, namer);
            let known = self.entries.iter().find(same);
            known.map_or_else(|| self.next.fetch_add(1, Ordering::Relaxed), |entry| entry.number)
        };
        let entries = entries
            .into_iter()
            .map(|(prefix, namer)| Entry { number: number(&prefix, &namer), prefix, namer })
            .collect();
        Self { entries, next: Arc::clone(&self.next) }
    }

    /// Returns the namers whose prefix `path` starts with in the order they are asked, each with its number and the
    /// rest of the path after the prefix.
    pub fn of<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = (usize, &'a Arc<dyn Namer>, Path)> {
        self.entries
            .iter()
            .rev()
            .filter_map(move |entry| Some((entry.number, &entry.namer, path.drop_prefix(&entry.prefix)?)))
    }

    /// Returns all of them with their prefixes, in the order of the configuration.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Path, &Arc<dyn Namer>)> {
        self.entries.iter().map(|entry| (&entry.prefix, &entry.namer))
    }

    /// Returns the namer with a number that [`Namers::of`] gave.
    pub fn get(&self, number: usize) -> Option<&Arc<dyn Namer>> {
        self.entries.iter().find(|entry| entry.number == number).map(|entry| &entry.namer)
    }
}

impl fmt::Debug for Namers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|entry| &entry.prefix)).finish()
    }
}

/// What names mean when a request says nothing: a base dtab, and the namers that its names end at. Cheap to clone.
///
/// The two change together, so that no name is ever looked for under the dtab of one configuration and the namers of
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

    /// A namer that answers with nothing but its own mark.
    struct Marked(NameTree<super::super::Leaf>);

    impl Namer for Marked {
        fn lookup(&self, _: &Path) -> Answer {
            Answer::fixed(State::Ready(self.0.clone()))
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
        let of = |path: &Path| namers.of(path).map(|(at, _, rest)| (at, rest)).collect::<Vec<_>>();
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
        let number = |namers: &Namers, prefix| namers.of(&path(prefix)).map(|(number, ..)| number).next();
        let before = Namers::new(vec![(path("goes"), goes.clone()), (path("stays"), stays.clone())]);
        let after = before.replaced_by(vec![(path("stays"), stays.clone()), (path("comes"), comes)]);
        assert_eq!((number(&before, "stays"), number(&after, "stays")), (Some(1), Some(1)));
        assert_eq!(number(&after, "comes"), Some(2));
        assert!(after.get(0).is_none());
        let moved = after.replaced_by(vec![(path("elsewhere"), stays), (path("goes"), goes)]);
        assert_eq!((number(&moved, "elsewhere"), number(&moved, "goes")), (Some(3), Some(4)));
    }
}
