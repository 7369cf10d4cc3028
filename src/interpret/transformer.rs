//! The trait that transformers implement, and the namer whose bound names go through one.

use super::{Answer, AnswerState, AnswerWriter, Bound, DEMAND_PACE, Leaf, Namer, Target, any_changed};
use crate::name::{NameTree, Path, Weighted};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// A transformer answers what stands in the place of a bound name, now and whenever that changes.
///
/// The interpreter owns the trait; `crate::namer` holds the implementations.
pub trait Transformer: Send + Sync {
    /// Returns the prefix of the ids of all transformed names: `/%/io.l5d.port/4141`.
    fn prefix(&self) -> &Path;

    /// Starts to watch what stands in the place of a bound name; `Neg` where nothing does. Called on the control
    /// runtime.
    ///
    /// The ids in the answer have no [prefix](Transformer::prefix) yet. The watch can end once [`AnswerWriter::closed`]
    /// resolves.
    fn transform(&self, bound: &Bound) -> Answer;
}

/// A namer whose bound names go through a transformer. Its answers are answers like those of any other namer.
///
/// Other leaves stay as they are: paths go through the dtab, and the names that they are bound to go through the
/// transformer then.
pub struct TransformedNamer {
    namer: Arc<dyn Namer>,
    transformer: Arc<dyn Transformer>,
    control: Handle,
}

impl TransformedNamer {
    /// Makes the namer; `control` runs a task for each of its answers.
    pub fn new(namer: Arc<dyn Namer>, transformer: Arc<dyn Transformer>, control: &Handle) -> Self {
        Self { namer, transformer, control: control.clone() }
    }
}

impl Namer for TransformedNamer {
    fn lookup(&self, path: &Path) -> Answer {
        let (writer, answer) = Answer::pending();
        let task = TransformTask {
            source: self.namer.lookup(path),
            transformer: Arc::clone(&self.transformer),
            leaves: Vec::new(),
            answers: Vec::new(),
        };
        self.control.spawn(task.run(writer));
        answer
    }

    /// Returns the answers that hold no bound name: they need no watch.
    fn immediate(&self, path: &Path) -> Option<AnswerState> {
        self.namer.immediate(path).filter(|state| bound(state).is_empty())
    }

    fn state(&self) -> Option<serde_json::Value> {
        self.namer.state()
    }

    fn names(&self, limit: usize) -> Vec<Path> {
        self.namer.names(limit)
    }
}

/// A task that keeps the transformed answer of one path up to date while the answer is in use.
struct TransformTask {
    source: Answer,
    transformer: Arc<dyn Transformer>,
    /// The bound names in the source's answer.
    leaves: Vec<Bound>,
    /// The answer that stands in the place of each.
    answers: Vec<Answer>,
}

impl TransformTask {
    /// Publishes each change, until the answer is no longer in use.
    async fn run(mut self, writer: AnswerWriter) {
        let mut published = AnswerState::Pending;
        let mut was_stale = false;
        let mut quiet_until = Instant::now();
        loop {
            let (state, stale, is_new) = self.look();
            // The same state is not published again: that would wake every holder. Equal names may have other
            // endpoints.
            let is_published = published == state && !(is_new && state != AnswerState::Pending);
            if !is_published || (was_stale && !stale) {
                writer.publish(state.clone());
            }
            if stale {
                writer.mark_stale();
            }
            (published, was_stale) = (state, stale);
            tokio::select! {
                () = self.source.changed() => {}
                () = any_changed(&mut self.answers) => {}
                () = writer.demanded_after(quiet_until) => {
                    quiet_until = Instant::now() + DEMAND_PACE;
                    self.source.note_demand();
                }
                () = writer.closed() => return,
            }
        }
    }

    /// Returns the state to publish, whether it is only the last good one, and whether other names are behind it.
    fn look(&mut self) -> (AnswerState, bool, bool) {
        let current = self.source.follow();
        let stale = current.stale_since.is_some();
        let AnswerState::Ready(tree) = &current.state else {
            return (current.state, stale, false);
        };
        let leaves = bound(&current.state);
        let is_new = leaves.len() != self.leaves.len()
            || !leaves.iter().zip(&self.leaves).all(|(one, other)| is_same(one, other));
        if is_new {
            self.answers = leaves.iter().map(|bound| self.transformer.transform(bound)).collect();
            self.leaves = leaves.into_iter().cloned().collect();
        }
        let (state, leaves_stale) = self.assemble(tree);
        (state, stale || leaves_stale, is_new)
    }

    /// Returns the tree in which the answers stand in the place of the bound names. An answer that is pending or failed
    /// decides: the others must not be taken for the whole.
    fn assemble(&mut self, tree: &NameTree<Leaf>) -> (AnswerState, bool) {
        let mut stale = false;
        let mut trees = Vec::with_capacity(self.answers.len());
        for answer in &mut self.answers {
            let current = answer.follow();
            stale |= current.stale_since.is_some();
            match current.state {
                AnswerState::Ready(tree) => trees.push(tree),
                undecided => return (undecided, stale),
            }
        }
        let state = AnswerState::Ready(replaced(tree, &mut trees.into_iter(), self.transformer.prefix()));
        (state, stale)
    }
}

/// Returns whether two bound names are the same, with the same endpoints behind them.
fn is_same(one: &Bound, other: &Bound) -> bool {
    let same_target = match (&one.target, &other.target) {
        (Target::Endpoints(one), Target::Endpoints(other)) => one.same_channel(other),
        (Target::Status(one), Target::Status(other)) => one == other,
        _ => false,
    };
    one == other && same_target
}

/// Returns the bound names of a state, in their order.
fn bound(state: &AnswerState) -> Vec<&Bound> {
    fn add<'a>(tree: &'a NameTree<Leaf>, bound: &mut Vec<&'a Bound>) {
        match tree {
            NameTree::Leaf(Leaf::Bound(leaf)) => bound.push(leaf),
            NameTree::Alt(trees) => trees.iter().for_each(|tree| add(tree, bound)),
            NameTree::Union(branches) => branches.iter().for_each(|branch| add(&branch.tree, bound)),
            NameTree::Leaf(Leaf::Path(_)) | NameTree::Neg | NameTree::Fail | NameTree::Empty => {}
        }
    }
    let mut found = Vec::new();
    if let AnswerState::Ready(tree) = state {
        add(tree, &mut found);
    }
    found
}

/// Returns the tree in which the next of `trees` stands for each bound name, with `prefix` before the ids.
fn replaced(
    tree: &NameTree<Leaf>,
    trees: &mut impl Iterator<Item = NameTree<Leaf>>,
    prefix: &Path,
) -> NameTree<Leaf> {
    match tree {
        NameTree::Leaf(Leaf::Bound(_)) => trees.next().map_or(NameTree::Neg, |tree| prefixed(&tree, prefix)),
        NameTree::Alt(arms) => NameTree::Alt(arms.iter().map(|arm| replaced(arm, trees, prefix)).collect()),
        NameTree::Union(branches) => {
            let branch = |branch: &Weighted<Leaf>| Weighted {
                weight: branch.weight,
                tree: replaced(&branch.tree, trees, prefix),
            };
            NameTree::Union(branches.iter().map(branch).collect())
        }
        other => other.clone(),
    }
}

/// Returns a tree with `prefix` before the ids of its bound names.
fn prefixed(tree: &NameTree<Leaf>, prefix: &Path) -> NameTree<Leaf> {
    tree.map(&mut |leaf: &Leaf| match leaf {
        Leaf::Bound(bound) => Leaf::Bound(Bound { id: prefix.concat(&bound.id), ..bound.clone() }),
        Leaf::Path(path) => Leaf::Path(path.clone()),
    })
}

#[cfg(test)]
mod tests;
