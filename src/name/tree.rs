//! Name trees: alternatives and weighted unions of names.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use super::{ParseError, Path, parse};

/// A tree of names.
///
/// Parsing never produces an `Alt` or `Union` with fewer than two children; programs may. Every operation on a tree
/// calls itself once per level; parsing bounds the depth (100 parentheses), a program that builds deeper trees must
/// bound it itself.
///
/// `Display` prints Finagle's canonical form, in which a weight has exactly two decimals; `{:#}` prints weights
/// exactly, so that the text reads back as the same tree. A weight is left out exactly when it is 1. A child that is
/// alone is printed in its parent's place, without its weight. Without children, `Alt` and `Union` print as nothing
/// (`()` when they are nested), and that does not read back.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum NameTree<T> {
    /// A name.
    Leaf(T),
    /// `a | b`: the first that is not `Neg` decides.
    Alt(Vec<Self>),
    /// `3 * a & 7 * b`: each request goes to one of them, by weight.
    Union(Vec<Weighted<T>>),
    /// `~`: there is no such name; the only answer that lets an `Alt` move on.
    Neg,
    /// `!`: stop, and do not fall back.
    Fail,
    /// `$`: the name exists and has no members now; it counts as an answer.
    Empty,
}

/// A branch of a union.
///
/// Equality and hashing look at the weight's bits. The notation has no negative weights and no NaN; a program that
/// makes one sees it printed as `-1.00`, `-Infinity` or `NaN`, which does not read back.
#[derive(Clone, Debug)]
pub struct Weighted<T> {
    /// The share of this branch in the sum of all weights of its union. From 0; infinite when the text had more digits
    /// than a double can hold.
    pub weight: f64,
    /// The tree of the branch.
    pub tree: NameTree<T>,
}

impl<T: PartialEq> PartialEq for Weighted<T> {
    fn eq(&self, other: &Self) -> bool {
        self.weight.to_bits() == other.weight.to_bits() && self.tree == other.tree
    }
}

impl<T: Eq> Eq for Weighted<T> {}

impl<T: Hash> Hash for Weighted<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.weight.to_bits().hash(state);
        self.tree.hash(state);
    }
}

/// The value of a tree. `Fail` differs from `Neg` only inside an `Alt`, which it ends.
enum Evaluation<'a, T> {
    Neg,
    Fail,
    Leaves(BTreeSet<&'a T>),
}

impl<T> NameTree<T> {
    /// Returns a smaller tree that evaluates to the same, as Finagle's `simplified` does; doing it again changes
    /// nothing.
    ///
    /// `Neg` arms of an `Alt` go, and all arms after a `Fail`. `Neg` and `Fail` branches of a `Union` go; the rest keep
    /// their weights. No children is `Neg`, one child stands for itself. Nothing is flattened or merged.
    #[must_use]
    pub fn simplified(&self) -> Self
    where
        T: Clone,
    {
        match self {
            Self::Alt(arms) => match &arms[..] {
                [arm] => arm.simplified(),
                arms => simplified_alt(arms),
            },
            Self::Union(branches) => match &branches[..] {
                [branch] => branch.tree.simplified(),
                branches => simplified_union(branches),
            },
            Self::Leaf(_) | Self::Neg | Self::Fail | Self::Empty => self.clone(),
        }
    }

    /// Returns the leaves that this tree stands for, weights ignored, or `None` when there is no answer (`Neg` or
    /// `Fail`). `Empty` is an answer: the empty set.
    pub fn eval(&self) -> Option<BTreeSet<&T>>
    where
        T: Ord,
    {
        match self.evaluate() {
            Evaluation::Leaves(leaves) => Some(leaves),
            Evaluation::Neg | Evaluation::Fail => None,
        }
    }

    /// Evaluates the tree.
    fn evaluate(&self) -> Evaluation<'_, T>
    where
        T: Ord,
    {
        match self {
            Self::Leaf(leaf) => Evaluation::Leaves(BTreeSet::from([leaf])),
            Self::Empty => Evaluation::Leaves(BTreeSet::new()),
            Self::Neg => Evaluation::Neg,
            Self::Fail => Evaluation::Fail,
            Self::Alt(arms) => {
                let decided = arms.iter().map(Self::evaluate).find(|value| !matches!(value, Evaluation::Neg));
                decided.unwrap_or(Evaluation::Neg)
            }
            Self::Union(branches) => match &branches[..] {
                // One branch stands for itself, so its Fail is kept; several failed ones are Neg.
                [branch] => branch.tree.evaluate(),
                branches => {
                    let mut union: Option<BTreeSet<&T>> = None;
                    for branch in branches {
                        if let Evaluation::Leaves(leaves) = branch.tree.evaluate() {
                            union.get_or_insert_default().extend(leaves);
                        }
                    }
                    union.map_or(Evaluation::Neg, Evaluation::Leaves)
                }
            },
        }
    }

    /// Returns the same tree with `f` of every leaf, called from left to right.
    pub fn map<U>(&self, f: &mut impl FnMut(&T) -> U) -> NameTree<U> {
        match self {
            Self::Leaf(leaf) => NameTree::Leaf(f(leaf)),
            Self::Alt(arms) => NameTree::Alt(arms.iter().map(|arm| arm.map(f)).collect()),
            Self::Union(branches) => NameTree::Union(
                branches
                    .iter()
                    .map(|branch| Weighted { weight: branch.weight, tree: branch.tree.map(f) })
                    .collect(),
            ),
            Self::Neg => NameTree::Neg,
            Self::Fail => NameTree::Fail,
            Self::Empty => NameTree::Empty,
        }
    }
}

/// Simplifies the arms of an `Alt`.
fn simplified_alt<T: Clone>(arms: &[NameTree<T>]) -> NameTree<T> {
    let mut kept = Vec::new();
    for arm in arms {
        match arm.simplified() {
            NameTree::Neg => {}
            NameTree::Fail => {
                kept.push(NameTree::Fail);
                break;
            }
            arm => kept.push(arm),
        }
    }
    match kept.len() {
        0 | 1 => kept.pop().unwrap_or(NameTree::Neg),
        _ => NameTree::Alt(kept),
    }
}

/// Simplifies the branches of a `Union`.
fn simplified_union<T: Clone>(branches: &[Weighted<T>]) -> NameTree<T> {
    let mut kept = Vec::new();
    for branch in branches {
        match branch.tree.simplified() {
            NameTree::Neg | NameTree::Fail => {}
            tree => kept.push(Weighted { weight: branch.weight, tree }),
        }
    }
    match kept.len() {
        0 | 1 => kept.pop().map_or(NameTree::Neg, |branch| branch.tree),
        _ => NameTree::Union(kept),
    }
}

impl FromStr for NameTree<Path> {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse::tree(text)
    }
}

#[cfg(test)]
mod tests;
