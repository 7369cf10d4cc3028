//! Picks a leaf of a bound tree by weight.

use super::Bound;
use crate::name::{NameTree, Weighted};
use std::collections::VecDeque;

/// A bound tree prepared for picking leaves by weight: Finagle's rule since 21.5.
///
/// Each union draws among its branches by itself. `$` (and `~`, `!`) take part if their weight is above zero: that
/// share of the traffic finds nothing. What the weights of a union sum to decides how they are read:
///
/// * zero, or more than a double can hold: all branches are equal;
/// * infinite because one weight is: that one takes everything (several share it equally);
/// * within 1% of one: each is taken as it is, and the little that is missing or too much goes where Vose's alias
///   method leaves it;
/// * anything else: it is divided out.
#[derive(Clone, Debug)]
pub struct Sampler {
    leaves: Vec<Bound>,
    nodes: Vec<Node>,
    root: usize,
}

#[derive(Clone, Debug)]
enum Node {
    /// Nothing to send to.
    Nothing,
    /// The position of a leaf.
    Leaf(usize),
    /// A union, as Vose's alias table: never empty.
    Draw(Vec<Slot>),
}

/// One slot of an alias table; all are equally likely.
#[derive(Clone, Debug)]
struct Slot {
    node: usize,
    /// How likely `node` is in this slot; else it is `alias`.
    keep: f64,
    alias: usize,
}

impl Sampler {
    /// Prepares a tree. An `Alt`, which binding never leaves, counts as nothing.
    pub fn new(tree: &NameTree<Bound>) -> Self {
        let mut sampler = Self { leaves: Vec::new(), nodes: Vec::new(), root: 0 };
        sampler.root = sampler.add(tree);
        sampler
    }

    /// Returns the leaves in the order they stand in the tree; a name that stands there twice is here twice.
    pub fn leaves(&self) -> &[Bound] {
        &self.leaves
    }

    /// Picks a leaf and returns its position in [`leaves`](Sampler::leaves), or None when the draw fell on something
    /// that leads nowhere.
    ///
    /// `draw` returns numbers from 0 up to but not including 1, equally distributed. At most two are taken per nested
    /// union, and none when there is nothing to choose. Allocates nothing.
    pub fn pick(&self, draw: &mut impl FnMut() -> f64) -> Option<usize> {
        let mut at = self.root;
        loop {
            match self.nodes.get(at)? {
                Node::Nothing => return None,
                Node::Leaf(leaf) => return Some(*leaf),
                Node::Draw(slots) => at = Slot::draw(slots, draw)?,
            }
        }
    }

    /// Adds a tree and returns the position of its node.
    fn add(&mut self, tree: &NameTree<Bound>) -> usize {
        let node = match tree {
            NameTree::Leaf(bound) => {
                self.leaves.push(bound.clone());
                Node::Leaf(self.leaves.len() - 1)
            }
            NameTree::Union(branches) => self.union(branches),
            NameTree::Alt(_) | NameTree::Neg | NameTree::Fail | NameTree::Empty => Node::Nothing,
        };
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn union(&mut self, branches: &[Weighted<Bound>]) -> Node {
        let counts = |branch: &&Weighted<Bound>| {
            branch.weight > 0.0 || matches!(branch.tree, NameTree::Leaf(_) | NameTree::Union(_))
        };
        let kept: Vec<_> = branches.iter().filter(counts).collect();
        let nodes: Vec<_> = kept.iter().map(|branch| self.add(&branch.tree)).collect();
        let weights: Vec<_> = kept.iter().map(|branch| branch.weight).collect();
        if nodes.is_empty() { Node::Nothing } else { Node::Draw(Slot::table(&nodes, &shares(&weights))) }
    }
}

/// Turns weights into the shares that the alias table is made of; they sum to about one.
fn shares(weights: &[f64]) -> Vec<f64> {
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

impl Slot {
    /// Builds the alias table by Vose's method, as Finagle does: what the smaller shares leave of their slots is filled
    /// up from the larger.
    fn table(nodes: &[usize], shares: &[f64]) -> Vec<Self> {
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
        slots
    }

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
