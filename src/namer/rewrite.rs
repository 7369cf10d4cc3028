//! `io.l5d.rewrite`: a path that matches a pattern stands for another path.

use super::pattern::{PathMatcher, Template};
use crate::interpret::{Answer, AnswerState, Leaf, Namer};
use crate::name::{NameTree, Path};

/// A namer that rewrites paths. Unlike Linkerd's, it keeps the rest of the path after the pattern.
#[derive(Debug)]
pub(super) struct RewriteNamer {
    matcher: PathMatcher,
    template: Template,
}

impl RewriteNamer {
    /// Makes the namer.
    pub(super) const fn new(matcher: PathMatcher, template: Template) -> Self {
        Self { matcher, template }
    }

    /// Returns the tree of a path.
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
        Answer::fixed(AnswerState::Ready(self.tree(path)))
    }

    fn immediate(&self, path: &Path) -> Option<AnswerState> {
        Some(AnswerState::Ready(self.tree(path)))
    }
}
