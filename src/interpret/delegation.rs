//! What a path stands for under a dtab, and the steps that led there.

use super::Bound;
use crate::name::{Dentry, Dtab, NameTree, Path, Weighted};
use std::fmt;
use std::sync::Arc;

/// How many lookups may lie one below the other: 100, as in Finagle. The 101st is a failed branch, whatever it
/// would have found.
pub const MAX_DEPTH: usize = 100;

/// How many lookups one delegation may make: 1,000. One more fails it as a whole.
pub const MAX_LOOKUPS: usize = 1_000;

/// How many lookups more [`Explore::All`](super::Explore::All) may make for what is not taken; then it leaves the rest
/// unexplored. More than anybody reads.
pub(super) const MAX_EXPLORED: usize = 500;

/// How many nodes of trees one delegation may visit; one more fails it as a whole. Without it a table of large trees
/// makes the trace grow far beyond what it holds itself.
pub(super) const MAX_STEPS: usize = 20_000;

/// How many bytes of a path that is looked up are as good as one step more.
pub(super) const STEP_BYTES: usize = 64;

/// How many lookups and nodes of trees may lie one inside the other: 640; one more fails the delegation as a whole.
/// A hundred lookups of alternates in groups fit; with a hundred parentheses each they would endanger the stack.
pub(super) const MAX_NESTING: usize = 640;

/// What a path stands for under a dtab, and how that came.
#[derive(Clone, Debug)]
pub struct Delegation {
    /// What the path stands for.
    pub outcome: Outcome,
    /// How that came. What its taken steps say is the outcome.
    pub step: Step,
    /// The dtab that was used, to which the steps point.
    pub dtab: Dtab,
}

/// What a path stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The simplified tree: never an `Alt`.
    Bound(NameTree<Bound>),
    /// A namer has not answered yet.
    Pending,
    /// A namer failed or a bound was reached: never a reason to fall back to something else.
    Failed(Failure),
}

/// Why a delegation, or a branch of one, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// More lookups one below the other than [`MAX_DEPTH`]: that branch is failed.
    Depth,
    /// More lookups in all than [`MAX_LOOKUPS`]: all is failed.
    Lookups,
    /// More alternates, branches and names than one delegation may visit (20,000; a path counts once more for each 64
    /// bytes): all is failed.
    Steps,
    /// More than 640 lookups, alternates and branches lie one inside the other: the whole delegation fails.
    Nesting,
    /// A namer failed, in its own words: that branch is failed.
    Namer(Arc<str>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Finagle's words.
            Self::Depth => write!(f, "Max recursion level: {MAX_DEPTH} reached in Namer lookup"),
            Self::Lookups => write!(f, "more than {MAX_LOOKUPS} lookups in one delegation"),
            Self::Steps => {
                write!(f, "more than {MAX_STEPS} alternates, branches and names in one delegation")
            }
            Self::Nesting => {
                write!(f, "lookups, alternates and branches nested more than {MAX_NESTING} deep")
            }
            Self::Namer(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for Failure {}

/// One node of the trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The path that is being resolved here. A `~`, `!` or `$` that stands in an entry has the empty path.
    pub path: Path,
    /// The position in the dtab (from 0) of the entry that led here: [`Delegation::dentry`] gives the entry. None at
    /// the root and for what a namer gave.
    pub dentry: Option<usize>,
    /// Whether the outcome looked at it: false for what [`Explore::All`](super::Explore::All) added.
    pub taken: bool,
    /// What the path became.
    pub kind: StepKind,
}

/// What a path became.
#[derive(Clone, Debug, PartialEq)]
pub enum StepKind {
    /// Something else, in one piece.
    Delegate(Box<Step>),
    /// Alternates, the preferred first: of several matching entries, or of one tree.
    Alt(Vec<Step>),
    /// Branches that share the traffic, with their weights.
    Union(Vec<(f64, Step)>),
    /// A concrete name.
    Leaf(Bound),
    /// Nothing; the next alternate is tried.
    Neg,
    /// A failure on purpose (`!`): no further alternate is tried.
    Fail,
    /// A name without members (`$`): counts as an answer.
    Empty,
    /// A namer has not answered yet.
    Pending,
    /// A namer failed or a bound was reached.
    Failed(Failure),
    /// Not looked at, and not taken: exploring has bounds of its own (500 lookups), which do not touch the outcome.
    Unexplored,
}

impl Delegation {
    /// Returns the dtab entry that led to a step. Walks to the entry's position.
    pub fn dentry(&self, step: &Step) -> Option<&Dentry> {
        self.dtab.iter().nth(step.dentry?)
    }
}

const NEG: Outcome = Outcome::Bound(NameTree::Neg);

impl Step {
    /// Returns what the taken steps amount to, by Finagle's rules of binding.
    pub(super) fn outcome(&self) -> Outcome {
        match &self.kind {
            StepKind::Delegate(step) => step.outcome(),
            StepKind::Alt(arms) => {
                let mut taken = arms.iter().filter(|arm| arm.taken).map(Self::outcome);
                taken.find(|outcome| *outcome != NEG).unwrap_or(NEG)
            }
            StepKind::Union(branches) => union(branches),
            StepKind::Leaf(bound) => Outcome::Bound(NameTree::Leaf(bound.clone())),
            StepKind::Neg => NEG,
            StepKind::Fail => Outcome::Bound(NameTree::Fail),
            StepKind::Empty => Outcome::Bound(NameTree::Empty),
            // What is unexplored is not taken either: nobody asks for its outcome.
            StepKind::Pending | StepKind::Unexplored => Outcome::Pending,
            StepKind::Failed(why) => Outcome::Failed(why.clone()),
        }
    }

    /// Returns whether a namer that was asked here or further down has not answered yet, taken or not.
    pub fn is_pending(&self) -> bool {
        match &self.kind {
            StepKind::Pending => true,
            StepKind::Delegate(step) => step.is_pending(),
            StepKind::Alt(arms) => arms.iter().any(Self::is_pending),
            StepKind::Union(branches) => branches.iter().any(|(_, step)| step.is_pending()),
            _ => false,
        }
    }
}

/// The outcome of a union: what is bound of it; if nothing is, its first failure.
fn union(branches: &[(f64, Step)]) -> Outcome {
    let mut bound = Vec::with_capacity(branches.len());
    let mut failed = None;
    for (weight, step) in branches {
        match step.outcome() {
            Outcome::Bound(tree) => bound.push(Weighted { weight: *weight, tree }),
            Outcome::Pending => {}
            Outcome::Failed(failure) => failed = failed.or(Some(failure)),
        }
    }
    match failed {
        _ if !bound.is_empty() => Outcome::Bound(simplified(bound)),
        Some(failure) => Outcome::Failed(failure),
        None => Outcome::Pending,
    }
}

/// Simplifies a union of simplified branches: one is returned as it is, of several the `Neg` and `Fail` are dropped.
fn simplified(mut branches: Vec<Weighted<Bound>>) -> NameTree<Bound> {
    if branches.len() > 1 {
        branches.retain(|branch| !matches!(branch.tree, NameTree::Neg | NameTree::Fail));
    }
    match branches.pop() {
        None => NameTree::Neg,
        Some(branch) if branches.is_empty() => branch.tree,
        Some(branch) => {
            branches.push(branch);
            NameTree::Union(branches)
        }
    }
}
