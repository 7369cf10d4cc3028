//! `io.l5d.const` and `io.l5d.replace`: one name in the place of others.

use crate::interpret::{Answer, AnswerState, Bound, Leaf, Namer, Transformer};
use crate::name::{NameTree, Path};
use std::sync::Arc;

/// A namer that looks up one path for every name.
pub(super) struct FixedNamer {
    namer: Arc<dyn Namer>,
    path: Path,
}

impl FixedNamer {
    /// Makes the namer of a path of another namer.
    pub(super) fn new(namer: Arc<dyn Namer>, path: Path) -> Self {
        Self { namer, path }
    }
}

impl Namer for FixedNamer {
    fn lookup(&self, _: &Path) -> Answer {
        self.namer.lookup(&self.path)
    }

    fn immediate(&self, _: &Path) -> Option<AnswerState> {
        self.namer.immediate(&self.path)
    }
}

/// A transformer that adds its prefix, and nothing else.
pub(super) struct PrefixTransformer {
    prefix: Path,
}

impl PrefixTransformer {
    /// Makes the transformer.
    pub(super) fn new(prefix: Path) -> Self {
        Self { prefix }
    }
}

impl Transformer for PrefixTransformer {
    fn prefix(&self) -> &Path {
        &self.prefix
    }

    fn transform(&self, bound: &Bound) -> Answer {
        Answer::fixed(AnswerState::Ready(NameTree::Leaf(Leaf::Bound(bound.clone()))))
    }
}

/// A transformer that puts one name in the place of every bound one.
pub(super) struct Replacement {
    prefix: Path,
    namer: Arc<dyn Namer>,
    path: Path,
}

impl Replacement {
    /// Makes the transformer for a path of a namer.
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
