//! The trait that transformers implement, and the namer whose bound names go through one.

use super::{Answer, Bound, Leaf, Namer, State, Target, Writer, any_changed};
use crate::name::{NameTree, Path, Weighted};
use std::sync::Arc;
use tokio::runtime::Handle;

/// Says what stands in the place of a bound name, now and whenever that changes.
///
/// The interpreter owns the trait; `crate::namer` holds what implements it.
pub trait Transformer: Send + Sync {
    /// Returns what stands before the ids of all that has passed: `/%/io.l5d.port/4141`.
    fn prefix(&self) -> &Path;

    /// Starts to follow what stands in the place of a bound name; `Neg` where nothing does. Called on the control
    /// runtime.
    ///
    /// The ids in it have no [prefix](Transformer::prefix) yet. It can end once [`Writer::closed`] resolves.
    fn transform(&self, bound: &Bound) -> Answer;
}

/// A namer whose bound names go through a transformer: what it answers for a path is itself an answer that is held,
/// looked at and waited for as that of any namer.
///
/// What is not bound stays as it is: paths go through the dtab, and what they become goes through the transformer then.
pub struct Transformed {
    namer: Arc<dyn Namer>,
    transformer: Arc<dyn Transformer>,
    control: Handle,
}

impl Transformed {
    /// Makes the namer; `control` runs what follows its names.
    pub fn new(namer: Arc<dyn Namer>, transformer: Arc<dyn Transformer>, control: &Handle) -> Self {
        Self { namer, transformer, control: control.clone() }
    }
}

impl Namer for Transformed {
    fn lookup(&self, path: &Path) -> Answer {
        let (writer, answer) = Answer::pending();
        let following = Following {
            source: self.namer.lookup(path),
            transformer: Arc::clone(&self.transformer),
            leaves: Vec::new(),
            answers: Vec::new(),
        };
        self.control.spawn(following.run(writer));
        answer
    }

    /// What is not bound needs no watch.
    fn immediate(&self, path: &Path) -> Option<State> {
        self.namer.immediate(path).filter(|state| bound(state).is_empty())
    }

    fn state(&self) -> Option<serde_json::Value> {
        self.namer.state()
    }

    fn names(&self, limit: usize) -> Vec<Path> {
        self.namer.names(limit)
    }
}

/// A path that is followed for those who hold the answer.
struct Following {
    source: Answer,
    transformer: Arc<dyn Transformer>,
    /// The bound names of what the source says.
    leaves: Vec<Bound>,
    /// What stands in the place of each.
    answers: Vec<Answer>,
}

impl Following {
    async fn run(mut self, writer: Writer) {
        let mut said = State::Pending;
        let mut was_stale = false;
        loop {
            let (state, stale, is_new) = self.look();
            // The same is not said again: that would wake everybody. Names that are equal may have other endpoints.
            let is_said = said == state && !(is_new && state != State::Pending);
            if !is_said || (was_stale && !stale) {
                writer.publish(state.clone());
            }
            if stale {
                writer.stale();
            }
            (said, was_stale) = (state, stale);
            tokio::select! {
                () = self.source.changed() => {}
                () = any_changed(&mut self.answers) => {}
                () = writer.closed() => return,
            }
        }
    }

    /// What is to be said now, whether it is only the last good answer, and whether other names are behind it.
    fn look(&mut self) -> (State, bool, bool) {
        let current = self.source.look();
        let stale = current.stale_since.is_some();
        let State::Ready(tree) = &current.state else {
            return (current.state, stale, false);
        };
        let leaves = bound(&current.state);
        let is_new = leaves.len() != self.leaves.len()
            || !leaves.iter().zip(&self.leaves).all(|(one, other)| is_same(one, other));
        if is_new {
            self.answers = leaves.iter().map(|bound| self.transformer.transform(bound)).collect();
            self.leaves = leaves.into_iter().cloned().collect();
        }
        let (state, leaves_stale) = self.put_together(tree);
        (state, stale || leaves_stale, is_new)
    }

    /// The tree with what stands in the place of its bound names. One that is pending or failed decides: what is known
    /// of the others must not be taken for the whole.
    fn put_together(&mut self, tree: &NameTree<Leaf>) -> (State, bool) {
        let mut stale = false;
        let mut trees = Vec::with_capacity(self.answers.len());
        for answer in &mut self.answers {
            let current = answer.look();
            stale |= current.stale_since.is_some();
            match current.state {
                State::Ready(tree) => trees.push(tree),
                open => return (open, stale),
            }
        }
        let state = State::Ready(replaced(tree, &mut trees.into_iter(), self.transformer.prefix()));
        (state, stale)
    }
}

/// Whether two bound names are the same, with the same endpoints behind them.
fn is_same(one: &Bound, other: &Bound) -> bool {
    let same_target = match (&one.target, &other.target) {
        (Target::Endpoints(one), Target::Endpoints(other)) => one.same_channel(other),
        (Target::Status(one), Target::Status(other)) => one == other,
        _ => false,
    };
    one == other && same_target
}

/// The bound names of a state, in their order.
fn bound(state: &State) -> Vec<&Bound> {
    fn add<'a>(tree: &'a NameTree<Leaf>, bound: &mut Vec<&'a Bound>) {
        match tree {
            NameTree::Leaf(Leaf::Bound(leaf)) => bound.push(leaf),
            NameTree::Alt(trees) => trees.iter().for_each(|tree| add(tree, bound)),
            NameTree::Union(branches) => branches.iter().for_each(|branch| add(&branch.tree, bound)),
            NameTree::Leaf(Leaf::Path(_)) | NameTree::Neg | NameTree::Fail | NameTree::Empty => {}
        }
    }
    let mut found = Vec::new();
    if let State::Ready(tree) = state {
        add(tree, &mut found);
    }
    found
}

/// The tree in which the next of `trees` stands for each bound name, with ids behind `prefix`.
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

fn prefixed(tree: &NameTree<Leaf>, prefix: &Path) -> NameTree<Leaf> {
    tree.map(&mut |leaf: &Leaf| match leaf {
        Leaf::Bound(bound) => Leaf::Bound(Bound { id: prefix.concat(&bound.id), ..bound.clone() }),
        Leaf::Path(path) => Leaf::Path(path.clone()),
    })
}

#[cfg(test)]
mod tests;
