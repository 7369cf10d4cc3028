//! `io.l5d.rewrite`: a path that matches a pattern stands for another path.

use super::pattern::{PathMatcher, Template};
use crate::interpret::{Answer, Leaf, Namer, State};
use crate::name::{NameTree, Path};

/// Rewrites paths. Other than Linkerd's it keeps what follows the pattern.
#[derive(Debug)]
pub(super) struct RewriteNamer {
    matcher: PathMatcher,
    template: Template,
}

impl RewriteNamer {
    pub(super) const fn new(matcher: PathMatcher, template: Template) -> Self {
        Self { matcher, template }
    }

    fn tree(&self, path: &Path) -> NameTree<Leaf> {
        let name = self.matcher.captures(path).and_then(|captures| self.template.fill(&captures));
        match name {
            Some(name) => NameTree::Leaf(Leaf::Path(name.concat(&path.skip(self.matcher.len())))),
            None => NameTree::Neg,
        }
    }
}

impl Namer for RewriteNamer {
    fn lookup(&self, path: &Path) -> Answer {
        Answer::fixed(State::Ready(self.tree(path)))
    }

    fn immediate(&self, path: &Path) -> Option<State> {
        Some(State::Ready(self.tree(path)))
    }
}
