//! The outcome of resolving a path under a dtab, and the steps that led to it.

use super::Bound;
use crate::name::{Dentry, Dtab, NameTree, Path, Weighted};
use std::fmt;
use std::sync::Arc;

/// How many lookups may lie one below the other: 100, as in Finagle. The 101st fails the delegation as a whole, whatever
/// it would have found; in Finagle it fails its branch.
pub const MAX_DEPTH: usize = 100;

/// How many lookups one delegation may make: 1,000. One more fails it as a whole.
pub const MAX_LOOKUPS: usize = 1_000;

/// How many more lookups [`Explore::All`](super::Explore::All) may make for steps that are not taken; it leaves the
/// rest unexplored. More than a reader can use.
pub(super) const MAX_EXPLORED: usize = 500;

/// How many nodes of trees one delegation may visit; one more fails it as a whole. Without this bound, a table of large
/// trees makes the trace far larger than the table.
pub(super) const MAX_STEPS: usize = 20_000;

/// How many bytes of a path that is looked up count as one more step.
pub(super) const STEP_BYTES: usize = 64;

/// How many lookups and nodes of trees may lie one inside the other: 640; one more fails the delegation as a whole.
/// A hundred lookups of alternates in groups fit; with a hundred parentheses each they would endanger the stack.
pub(super) const MAX_NESTING: usize = 640;

/// The outcome of resolving a path under a dtab, with its trace.
#[derive(Clone, Debug)]
pub struct Delegation {
    /// The outcome: what the path stands for.
    pub outcome: DelegationOutcome,
    /// The root of the trace. Its taken steps give the outcome.
    pub step: Step,
    /// The dtab that was used; the steps refer to its entries.
    pub dtab: Dtab,
    /// How many paths were looked up for the taken steps.
    pub lookups: usize,
}

/// The meaning of a path under a dtab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DelegationOutcome {
    /// The simplified tree: never an `Alt`.
    Bound(NameTree<Bound>),
    /// A namer has not answered yet.
    Pending,
    /// A namer failed or a bound was reached: never a reason to fall back to something else.
    Failed(Failure),
}

/// A reason for which a delegation, or a branch of one, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// More lookups lie one below the other than [`MAX_DEPTH`]: the whole delegation fails.
    Depth,
    /// There are more lookups in all than [`MAX_LOOKUPS`]: the whole delegation fails.
    Lookups,
    /// The overrides of the request add more lookups than this to those of the name without them: the whole delegation
    /// fails.
    OverrideLookups(usize),
    /// There are more alternates, branches and names than one delegation may visit (20,000; a path counts once more for
    /// each 64 bytes): the whole delegation fails.
    Steps,
    /// More than 640 lookups, alternates and branches lie one inside the other: the whole delegation fails.
    Nesting,
    /// There is no room for an answer, for this reason: the whole delegation fails.
    Refused(Arc<str>),
    /// A namer failed, for the reason that it gives: that branch fails.
    Namer(Arc<str>),
}

impl Failure {
    /// Returns whether it fails the whole delegation: a bound was reached, so a part of the name is not known.
    pub const fn is_bound(&self) -> bool {
        !matches!(self, Self::Namer(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The text is Finagle's.
            Self::Depth => write!(f, "Max recursion level: {MAX_DEPTH} reached in Namer lookup"),
            Self::Lookups => write!(f, "more than {MAX_LOOKUPS} lookups in one delegation"),
            Self::OverrideLookups(most) => write!(
                f,
                "the overrides add more than {most} lookups to those of the name without them (`maxOverrideLookups`)"
            ),
            Self::Steps => {
                write!(f, "more than {MAX_STEPS} alternates, branches and names in one delegation")
            }
            Self::Nesting => {
                write!(f, "lookups, alternates and branches nested more than {MAX_NESTING} deep")
            }
            Self::Refused(reason) | Self::Namer(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Failure {}

/// An outcome in short: it decides whether the next alternate is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Neg,
    Fail,
    /// Leaves, unions and `$`.
    Bound,
    /// Pending or failed.
    Undecided,
}

impl Verdict {
    /// Returns the verdict of a union, given this verdict of its branches so far and that of one more branch.
    ///
    /// An undecided branch is ignored beside a decided one. `Neg` and `Fail` are dropped when they are not alone; a
    /// union of which nothing is left is `Neg`.
    pub(super) const fn in_union_with(self, branch: Self) -> Self {
        match (self, branch) {
            (Self::Undecided, one) | (one, Self::Undecided) => one,
            (Self::Bound, _) | (_, Self::Bound) => Self::Bound,
            _ => Self::Neg,
        }
    }
}

/// One node of the trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The path that this step resolves. A `~`, `!` or `$` that stands in an entry has the empty path.
    pub path: Path,
    /// The position in the dtab (from 0) of the entry that led here: [`Delegation::dentry`] gives the entry. None at
    /// the root and in the tree of a namer.
    pub dentry: Option<usize>,
    /// Whether the outcome rests on it: false for steps that [`Explore::All`](super::Explore::All) added.
    pub taken: bool,
    /// The result for the path.
    pub kind: StepKind,
}

/// The result of one step for its path.
#[derive(Clone, Debug, PartialEq)]
pub enum StepKind {
    /// One other path, tree or constant.
    Delegate(Box<Step>),
    /// Alternates, the preferred first: of several matching entries, or of one tree.
    Alt(Vec<Step>),
    /// Branches that share the traffic, with their weights.
    Union(Vec<(f64, Step)>),
    /// A concrete name.
    Leaf(Bound),
    /// No such name (`~`): the next alternate is tried.
    Neg,
    /// A deliberate failure (`!`): no further alternate is tried.
    Fail,
    /// A name without members (`$`): counts as an answer.
    Empty,
    /// A namer has not answered yet.
    Pending,
    /// A namer failed or a bound was reached.
    Failed(Failure),
    /// Not resolved, and not taken: exploring has bounds of its own (500 lookups), which do not touch the outcome.
    Unexplored,
}

impl Delegation {
    /// Returns the dtab entry that led to a step. Walks the dtab to the entry's position.
    pub fn dentry(&self, step: &Step) -> Option<&Dentry> {
        self.dtab.iter().nth(step.dentry?)
    }

    /// Returns whether a namer that has not answered yet may still change where requests are to go: the outcome is
    /// pending; or it rests on a union that has no endpoints without the branch that is pending, as `~ & <pending>` has.
    ///
    /// Finagle goes on with what is there, so that the first request for a name fails, or falls back, and the next does
    /// not. A union of which one branch has endpoints, by a weight above zero, waits for no other.
    pub fn is_unsettled(&self) -> bool {
        let is_given_up = matches!(&self.outcome, DelegationOutcome::Failed(failure) if failure.is_bound());
        !is_given_up && self.step.readiness().waits
    }

    /// Returns the taken steps from the root to the first leaf with this bound id, in its printed form; empty when there
    /// is no such leaf.
    pub fn steps_to(&self, id: &str) -> Vec<&Step> {
        let mut steps = Vec::new();
        if self.step.descend_to(id, &mut steps) {
            steps.reverse();
        }
        steps
    }
}

/// The part of a step's result that says whether to wait for more.
#[derive(Clone, Copy, Default)]
struct StepReadiness {
    /// A namer that counts has not answered.
    waits: bool,
    /// There is a leaf to send requests to.
    leads: bool,
}

impl StepReadiness {
    /// Returns the readiness of a node of which all parts count.
    fn of_all(parts: impl Iterator<Item = Self>) -> Self {
        parts.fold(Self::default(), |all, one| Self {
            waits: all.waits || one.waits,
            leads: all.leads || one.leads,
        })
    }

    /// Returns the readiness of a union. A branch that leads somewhere only for want of an answer, as the fallback of a
    /// pending name does, keeps it waiting.
    fn of_union(branches: &[(f64, Step)]) -> Self {
        let branches: Vec<_> = branches
            .iter()
            .map(|(weight, step)| {
                let Self { waits, leads } = step.readiness();
                Self { waits, leads: leads && *weight > 0.0 }
            })
            .collect();
        let is_served = branches.iter().any(|branch| branch.leads && !branch.waits);
        let is_misled = branches.iter().any(|branch| branch.leads && branch.waits);
        let Self { waits, leads } = Self::of_all(branches.into_iter());
        Self { waits: is_misled || (waits && !is_served), leads }
    }
}

const NEG: DelegationOutcome = DelegationOutcome::Bound(NameTree::Neg);

impl Step {
    /// Adds the taken steps to the first leaf with this bound id, the leaf first; returns whether there is one.
    fn descend_to<'a>(&'a self, id: &str, steps: &mut Vec<&'a Self>) -> bool {
        let mut below = |step: &'a Self| step.descend_to(id, steps);
        let is_found = self.taken
            && match &self.kind {
                StepKind::Delegate(step) => below(step),
                StepKind::Alt(arms) => arms.iter().any(below),
                StepKind::Union(branches) => branches.iter().any(|(_, step)| below(step)),
                StepKind::Leaf(bound) => bound.id.to_string() == id,
                _ => false,
            };
        if is_found {
            steps.push(self);
        }
        is_found
    }

    /// Returns the outcome of the taken steps, by Finagle's rules of binding.
    pub(super) fn outcome(&self) -> DelegationOutcome {
        match &self.kind {
            StepKind::Delegate(step) => step.outcome(),
            StepKind::Alt(arms) => {
                let mut taken = arms.iter().filter(|arm| arm.taken).map(Self::outcome);
                taken.find(|outcome| *outcome != NEG).unwrap_or(NEG)
            }
            StepKind::Union(branches) => union(branches),
            StepKind::Leaf(bound) => DelegationOutcome::Bound(NameTree::Leaf(bound.clone())),
            StepKind::Neg => NEG,
            StepKind::Fail => DelegationOutcome::Bound(NameTree::Fail),
            StepKind::Empty => DelegationOutcome::Bound(NameTree::Empty),
            // An unexplored step is not taken, so its outcome is never used.
            StepKind::Pending | StepKind::Unexplored => DelegationOutcome::Pending,
            StepKind::Failed(failure) => DelegationOutcome::Failed(failure.clone()),
        }
    }

    /// Returns the outcome of the taken steps in short.
    pub(super) fn verdict(&self) -> Verdict {
        match &self.kind {
            StepKind::Delegate(step) => step.verdict(),
            StepKind::Alt(arms) => {
                let mut taken = arms.iter().filter(|arm| arm.taken).map(Self::verdict);
                taken.find(|verdict| *verdict != Verdict::Neg).unwrap_or(Verdict::Neg)
            }
            StepKind::Union(branches) => branches
                .iter()
                .fold(Verdict::Undecided, |verdict, (_, branch)| verdict.in_union_with(branch.verdict())),
            StepKind::Leaf(_) | StepKind::Empty => Verdict::Bound,
            StepKind::Neg => Verdict::Neg,
            StepKind::Fail => Verdict::Fail,
            StepKind::Pending | StepKind::Failed(_) | StepKind::Unexplored => Verdict::Undecided,
        }
    }

    /// Returns whether the outcome of the taken steps is there, and whether a namer may still change it.
    fn readiness(&self) -> StepReadiness {
        match &self.kind {
            StepKind::Delegate(step) => step.readiness(),
            StepKind::Alt(arms) => {
                StepReadiness::of_all(arms.iter().filter(|arm| arm.taken).map(Self::readiness))
            }
            StepKind::Union(branches) => StepReadiness::of_union(branches),
            StepKind::Leaf(_) => StepReadiness { waits: false, leads: true },
            StepKind::Pending => StepReadiness { waits: true, leads: false },
            StepKind::Neg | StepKind::Fail | StepKind::Empty | StepKind::Failed(_) | StepKind::Unexplored => {
                StepReadiness::default()
            }
        }
    }

    /// Returns whether a namer that was asked here or further down has not answered yet. Steps that are not taken
    /// count.
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

/// Returns the outcome of a union: its bound branches or, without any, its first failure.
fn union(branches: &[(f64, Step)]) -> DelegationOutcome {
    let mut bound = Vec::with_capacity(branches.len());
    let mut failed = None;
    for (weight, step) in branches {
        match step.outcome() {
            DelegationOutcome::Bound(tree) => bound.push(Weighted { weight: *weight, tree }),
            DelegationOutcome::Pending => {}
            DelegationOutcome::Failed(failure) => failed = failed.or(Some(failure)),
        }
    }
    match failed {
        _ if !bound.is_empty() => DelegationOutcome::Bound(simplified(bound)),
        Some(failure) => DelegationOutcome::Failed(failure),
        None => DelegationOutcome::Pending,
    }
}

/// Simplifies a union of simplified branches: a single branch is returned as it is; of several, `Neg` and `Fail` are
/// dropped.
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
