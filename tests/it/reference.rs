//! A second binder, slow and obvious, written from the rules of Finagle's binding alone. It shares values with the
//! crate (paths, trees, states), and no function that decides anything.
//!
//! It knows the bounds on lookups, not those on the size and the nesting of the trace: a delegation that ended there has
//! no counterpart here.

use signpost::interpret::{AnswerState, Bound, DelegationOutcome, Failure, Leaf};
use signpost::name::{Dtab, Element, NameTree, Path, Prefix, Weighted};

/// What `path` stands for under `dtab`, when `namers` says what they say of a path.
pub(crate) fn bind(dtab: &Dtab, path: &Path, namers: &dyn Fn(&Path) -> AnswerState) -> DelegationOutcome {
    let mut binder = Binder { dtab, namers, lookups: 0 };
    binder.bind_path(path, 0).unwrap_or_else(|Limit(failure)| DelegationOutcome::Failed(failure))
}

struct Binder<'a> {
    dtab: &'a Dtab,
    namers: &'a dyn Fn(&Path) -> AnswerState,
    lookups: usize,
}

/// A limit was reached: the whole is failed, whatever else was found.
struct Limit(Failure);

impl Binder<'_> {
    /// A path is resolved, and what that gives is bound one level deeper.
    fn bind_path(&mut self, path: &Path, depth: usize) -> Result<DelegationOutcome, Limit> {
        if depth + 1 > 100 {
            return Err(Limit(Failure::Depth));
        }
        if self.lookups + 1 > 1000 {
            return Err(Limit(Failure::Lookups));
        }
        self.lookups += 1;
        let tree = match lookup(self.dtab, path) {
            NameTree::Neg => match (self.namers)(path) {
                AnswerState::Pending => return Ok(DelegationOutcome::Pending),
                AnswerState::Refused(words) => return Err(Limit(Failure::Refused(words))),
                AnswerState::Failed(words) => return Ok(DelegationOutcome::Failed(Failure::Namer(words))),
                AnswerState::Ready(tree) => tree,
            },
            tree => unbound(&tree),
        };
        self.bind_tree(&tree, depth + 1)
    }

    /// A node that is alone in its parent stands in its place.
    fn bind_tree(&mut self, tree: &NameTree<Leaf>, depth: usize) -> Result<DelegationOutcome, Limit> {
        match tree {
            NameTree::Neg => Ok(DelegationOutcome::Bound(NameTree::Neg)),
            NameTree::Fail => Ok(DelegationOutcome::Bound(NameTree::Fail)),
            NameTree::Empty => Ok(DelegationOutcome::Bound(NameTree::Empty)),
            NameTree::Leaf(Leaf::Bound(bound)) => Ok(DelegationOutcome::Bound(NameTree::Leaf(bound.clone()))),
            NameTree::Leaf(Leaf::Path(path)) => self.bind_path(path, depth),
            NameTree::Alt(arms) if arms.len() == 1 => self.bind_tree(&arms[0], depth),
            NameTree::Alt(arms) => {
                for arm in arms {
                    let outcome = self.bind_tree(arm, depth)?;
                    if outcome != DelegationOutcome::Bound(NameTree::Neg) {
                        return Ok(outcome);
                    }
                }
                Ok(DelegationOutcome::Bound(NameTree::Neg))
            }
            NameTree::Union(branches) if branches.is_empty() => Ok(DelegationOutcome::Bound(NameTree::Neg)),
            NameTree::Union(branches) if branches.len() == 1 => self.bind_tree(&branches[0].tree, depth),
            NameTree::Union(branches) => self.bind_union(branches, depth),
        }
    }

    fn bind_union(&mut self, branches: &[Weighted<Leaf>], depth: usize) -> Result<DelegationOutcome, Limit> {
        let mut outcomes = Vec::new();
        for branch in branches {
            outcomes.push((branch.weight, self.bind_tree(&branch.tree, depth)?));
        }
        let mut ok = Vec::new();
        for (weight, outcome) in &outcomes {
            if let DelegationOutcome::Bound(tree) = outcome {
                ok.push(Weighted { weight: *weight, tree: tree.clone() });
            }
        }
        if !ok.is_empty() {
            return Ok(DelegationOutcome::Bound(simplify(&NameTree::Union(ok))));
        }
        for (_, outcome) in outcomes {
            if let DelegationOutcome::Failed(failure) = outcome {
                return Ok(DelegationOutcome::Failed(failure));
            }
        }
        Ok(DelegationOutcome::Pending)
    }
}

/// One step through the dtab, entry by entry.
fn lookup(dtab: &Dtab, path: &Path) -> NameTree<Path> {
    let mut found = Vec::new();
    for dentry in dtab.iter().rev() {
        if let Some(rest) = rest_after(&dentry.prefix, path) {
            found.push(append(&dentry.dst, &rest));
        }
    }
    match found.len() {
        0 => NameTree::Neg,
        1 => found.remove(0),
        _ => NameTree::Alt(found),
    }
}

/// The elements of `path` after those that the prefix matches, if it does.
fn rest_after(prefix: &Prefix, path: &Path) -> Option<Vec<Vec<u8>>> {
    let mut elems: Vec<Vec<u8>> = path.elems().map(<[u8]>::to_vec).collect();
    for element in prefix.elems() {
        if elems.is_empty() {
            return None;
        }
        let elem = elems.remove(0);
        match element {
            Element::Any => {}
            Element::Label(label) if label == elem => {}
            Element::Label(_) => return None,
        }
    }
    Some(elems)
}

fn append(tree: &NameTree<Path>, rest: &[Vec<u8>]) -> NameTree<Path> {
    match tree {
        NameTree::Leaf(path) => {
            let mut elems: Vec<Vec<u8>> = path.elems().map(<[u8]>::to_vec).collect();
            elems.extend_from_slice(rest);
            NameTree::Leaf(Path::from_elems(elems))
        }
        NameTree::Alt(arms) => NameTree::Alt(arms.iter().map(|arm| append(arm, rest)).collect()),
        NameTree::Union(branches) => NameTree::Union(
            branches
                .iter()
                .map(|branch| Weighted { weight: branch.weight, tree: append(&branch.tree, rest) })
                .collect(),
        ),
        NameTree::Neg => NameTree::Neg,
        NameTree::Fail => NameTree::Fail,
        NameTree::Empty => NameTree::Empty,
    }
}

/// The same tree with its paths as unbound leaves.
fn unbound(tree: &NameTree<Path>) -> NameTree<Leaf> {
    match tree {
        NameTree::Leaf(path) => NameTree::Leaf(Leaf::Path(path.clone())),
        NameTree::Alt(arms) => NameTree::Alt(arms.iter().map(unbound).collect()),
        NameTree::Union(branches) => NameTree::Union(
            branches
                .iter()
                .map(|branch| Weighted { weight: branch.weight, tree: unbound(&branch.tree) })
                .collect(),
        ),
        NameTree::Neg => NameTree::Neg,
        NameTree::Fail => NameTree::Fail,
        NameTree::Empty => NameTree::Empty,
    }
}

/// Finagle's simplification.
fn simplify(tree: &NameTree<Bound>) -> NameTree<Bound> {
    match tree {
        NameTree::Alt(arms) if arms.len() == 1 => simplify(&arms[0]),
        NameTree::Union(branches) if branches.len() == 1 => simplify(&branches[0].tree),
        NameTree::Alt(arms) => {
            let mut kept = Vec::new();
            for arm in arms {
                let arm = simplify(arm);
                let last = arm == NameTree::Fail;
                if arm != NameTree::Neg {
                    kept.push(arm);
                }
                if last {
                    break;
                }
            }
            match kept.len() {
                0 => NameTree::Neg,
                1 => kept.remove(0),
                _ => NameTree::Alt(kept),
            }
        }
        NameTree::Union(branches) => {
            let mut kept = Vec::new();
            for branch in branches {
                let tree = simplify(&branch.tree);
                if tree != NameTree::Neg && tree != NameTree::Fail {
                    kept.push(Weighted { weight: branch.weight, tree });
                }
            }
            match kept.len() {
                0 => NameTree::Neg,
                1 => kept.remove(0).tree,
                _ => NameTree::Union(kept),
            }
        }
        other => other.clone(),
    }
}
