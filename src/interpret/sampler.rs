//! Picks a leaf of a bound tree by weight.

use super::Bound;
use crate::name::{NameTree, Weighted};
use std::collections::VecDeque;

/// A bound tree prepared for picking leaves by weight: Finagle's rule since 21.5.
///
/// Each union draws among its branches by itself. `$` (and `~`, `!`) take part if their weight is above zero: that
/// share of the traffic finds nothing. The sum of a union's weights decides how they are read:
///
/// * zero, or more than a double can hold: all branches are equal;
/// * infinite because a weight is: that branch takes everything (several share it equally);
/// * within 1% of one: each weight is taken as it is, and the small rest goes where Vose's alias method leaves it;
/// * anything else: each weight is divided by the sum.
///
/// It holds what its owner makes of each leaf.
#[derive(Clone, Debug)]
pub struct Sampler<T> {
    leaves: Box<[T]>,
    nodes: Box<[SamplerNode]>,
    root: usize,
}

/// The parts of a [`Sampler`] that is being made.
struct SamplerParts<T, F> {
    leaves: Vec<T>,
    nodes: Vec<SamplerNode>,
    make: F,
}

/// One node of a prepared tree.
#[derive(Clone, Debug)]
enum SamplerNode {
    /// A node without a leaf: there is nothing to send to.
    Nothing,
    /// The position of a leaf.
    Leaf(usize),
    /// A union, as Vose's alias table; never empty.
    Draw(Box<[AliasSlot]>),
}

/// One slot of an alias table; all are equally likely.
#[derive(Clone, Debug)]
struct AliasSlot {
    node: usize,
    /// The probability of `node` in this slot; otherwise it is `alias`.
    keep: f64,
    alias: usize,
}

impl<T> Sampler<T> {
    /// Prepares a tree; `make` is called for each leaf. An `Alt`, which binding never leaves, counts as nothing.
    pub fn new(tree: &NameTree<Bound>, make: impl FnMut(&Bound) -> T) -> Self {
        let mut parts = SamplerParts { leaves: Vec::new(), nodes: Vec::new(), make };
        let root = parts.add(tree);
        Self { leaves: parts.leaves.into(), nodes: parts.nodes.into(), root }
    }

    /// Returns what was made of the leaves, in the order of the tree; a name that stands there twice is listed twice.
    pub fn leaves(&self) -> &[T] {
        &self.leaves
    }

    /// Returns how many bytes it takes, without what the leaves hold.
    pub fn bytes(&self) -> usize {
        let slots = |node: &SamplerNode| match node {
            SamplerNode::Draw(slots) => size_of_val(&**slots),
            _ => 0,
        };
        let slots: usize = self.nodes.iter().map(slots).sum();
        size_of_val(&*self.leaves) + size_of_val(&*self.nodes) + slots
    }

    /// Picks a leaf and returns its position in [`leaves`](Sampler::leaves), or None when the draw fell on a branch
    /// without a leaf.
    ///
    /// `draw` returns numbers from 0 up to but not including 1, equally distributed. It is called at most twice per
    /// nested union, and not at all when there is no choice. Allocates nothing.
    pub fn pick(&self, draw: &mut impl FnMut() -> f64) -> Option<usize> {
        let mut at = self.root;
        loop {
            match self.nodes.get(at)? {
                SamplerNode::Nothing => return None,
                SamplerNode::Leaf(leaf) => return Some(*leaf),
                SamplerNode::Draw(slots) => at = AliasSlot::draw(slots, draw)?,
            }
        }
    }
}

impl<T, F: FnMut(&Bound) -> T> SamplerParts<T, F> {
    /// Adds a tree and returns the position of its node.
    fn add(&mut self, tree: &NameTree<Bound>) -> usize {
        let node = match tree {
            NameTree::Leaf(bound) => {
                self.leaves.push((self.make)(bound));
                SamplerNode::Leaf(self.leaves.len() - 1)
            }
            NameTree::Union(branches) => self.union(branches),
            NameTree::Alt(_) | NameTree::Neg | NameTree::Fail | NameTree::Empty => SamplerNode::Nothing,
        };
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Adds the branches of a union and returns its node.
    fn union(&mut self, branches: &[Weighted<Bound>]) -> SamplerNode {
        let counts = |branch: &&Weighted<Bound>| {
            branch.weight > 0.0 || matches!(branch.tree, NameTree::Leaf(_) | NameTree::Union(_))
        };
        let kept: Vec<_> = branches.iter().filter(counts).collect();
        let nodes: Vec<_> = kept.iter().map(|branch| self.add(&branch.tree)).collect();
        let weights: Vec<_> = kept.iter().map(|branch| branch.weight).collect();
        if nodes.is_empty() {
            SamplerNode::Nothing
        } else {
            SamplerNode::Draw(AliasSlot::table(&nodes, &shares(&weights)))
        }
    }
}

/// Turns the weights of a union into shares; they sum to about one.
pub(super) fn shares(weights: &[f64]) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    let equal = |count: usize| 1.0 / count as f64;
    let infinite = weights.iter().filter(|weight| weight.is_infinite()).count();
    if infinite > 0 {
        weights.iter().map(|weight| if weight.is_infinite() { equal(infinite) } else { 0.0 }).collect()
    } else if sum == 0.0 || !sum.is_finite() {
        vec![equal(weights.len()); weights.len()]
    } else if sum > 0.99 && sum < 1.01 {
        weights.to_vec()
    } else {
        weights.iter().map(|weight| weight / sum).collect()
    }
}

impl AliasSlot {
    /// Builds the alias table by Vose's method, as Finagle does: the larger shares fill the slots of the smaller ones.
    fn table(nodes: &[usize], shares: &[f64]) -> Box<[Self]> {
        let count = nodes.len();
        let mut slots: Vec<_> = nodes.iter().map(|&node| Self { node, keep: 1.0, alias: node }).collect();
        let mut scaled: Vec<_> = shares.iter().map(|share| share * count as f64).collect();
        let (mut small, mut large): (VecDeque<usize>, VecDeque<usize>) =
            (0..count).partition(|&slot| scaled[slot] < 1.0);
        while let (Some(&less), Some(&more)) = (small.front(), large.front()) {
            small.pop_front();
            large.pop_front();
            slots[less].keep = scaled[less];
            slots[less].alias = nodes[more];
            scaled[more] = scaled[less] + scaled[more] - 1.0;
            let queue = if scaled[more] < 1.0 { &mut small } else { &mut large };
            queue.push_back(more);
        }
        slots.into()
    }

    /// Draws a slot and returns the position of its node or its alias.
    fn draw(slots: &[Self], draw: &mut impl FnMut() -> f64) -> Option<usize> {
        let slot = match slots {
            [only] => only,
            // A draw is below one; the product may still round up to the length.
            _ => slots.get(((draw() * slots.len() as f64) as usize).min(slots.len() - 1))?,
        };
        Some(if slot.keep >= 1.0 || draw() < slot.keep { slot.node } else { slot.alias })
    }
}

#[cfg(test)]
mod tests;
