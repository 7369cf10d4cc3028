//! `io.l5d.const` and `io.l5d.replace`: one name in the place of others.

use crate::interpret::{Answer, Bound, Leaf, Namer, State, Transformer};
use crate::name::{NameTree, Path};
use std::sync::Arc;

/// A namer that looks up one path, whatever it is asked.
pub(super) struct Fixed {
    namer: Arc<dyn Namer>,
    path: Path,
}

impl Fixed {
    pub(super) fn new(namer: Arc<dyn Namer>, path: Path) -> Self {
        Self { namer, path }
    }
}

impl Namer for Fixed {
    fn lookup(&self, _: &Path) -> Answer {
        self.namer.lookup(&self.path)
    }

    fn immediate(&self, _: &Path) -> Option<State> {
        self.namer.immediate(&self.path)
    }
}

/// A transformer that adds its prefix, and nothing else.
pub(super) struct Passing {
    prefix: Path,
}

impl Passing {
    pub(super) fn new(prefix: Path) -> Self {
        Self { prefix }
    }
}

impl Transformer for Passing {
    fn prefix(&self) -> &Path {
        &self.prefix
    }

    fn transform(&self, bound: &Bound) -> Answer {
        Answer::fixed(State::Ready(NameTree::Leaf(Leaf::Bound(bound.clone()))))
    }
}

/// A transformer that puts one name in the place of every bound one.
pub(super) struct Replacement {
    prefix: Path,
    namer: Arc<dyn Namer>,
    path: Path,
}

impl Replacement {
    pub(super) fn new(prefix: Path, namer: Arc<dyn Namer>, path: Path) -> Self {
        Self { prefix, namer, path }
    }
}

impl Transformer for Replacement {
    fn prefix(&self) -> &Path {
        &self.prefix
    }

    fn transform(&self, _: &Bound) -> Answer {
        self.namer.lookup(&self.path)
    }
}
