//! The trait that namers implement, and the list of those configured.

use super::{Answer, State};
use crate::name::Path;
use std::fmt;
use std::sync::Arc;

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

/// The namers of a configuration, each under its prefix. Cheap to clone.
#[derive(Clone, Default)]
pub struct Namers {
    entries: Arc<[(Path, Arc<dyn Namer>)]>,
}

impl Namers {
    /// Takes namers with their prefixes in the order of the configuration, the system namers (`/$`) first: as in
    /// Linkerd, a later one is asked first.
    pub fn new(entries: Vec<(Path, Arc<dyn Namer>)>) -> Self {
        Self { entries: entries.into() }
    }

    /// Returns the namers whose prefix `path` starts with in the order they are asked, each with its position and the
    /// rest of the path after the prefix.
    pub fn of<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = (usize, &'a Arc<dyn Namer>, Path)> {
        self.entries
            .iter()
            .enumerate()
            .rev()
            .filter_map(move |(at, (prefix, namer))| Some((at, namer, path.drop_prefix(prefix)?)))
    }

    /// Returns all of them with their prefixes, in the order of the configuration.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &(Path, Arc<dyn Namer>)> {
        self.entries.iter()
    }

    /// Returns the namer at a position that [`Namers::of`] gave.
    pub fn get(&self, at: usize) -> Option<&Arc<dyn Namer>> {
        self.entries.get(at).map(|(_, namer)| namer)
    }
}

impl fmt::Debug for Namers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries.iter().map(|(prefix, _)| prefix)).finish()
    }
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
}
