//! Delegation: one pure function from a path, a dtab and the namers' present answers to a tree of bound names.
//!
//! A path is looked up in the dtab; when no entry matches, the namers are asked. Either gives a tree, and each path in
//! it is looked up again. Alternates are tried in order; all branches of a union are resolved.

use super::delegation::{MAX_EXPLORED, MAX_NESTING, MAX_STEPS, STEP_BYTES, Verdict};
use super::{
    AnswerState, Bound, Delegation, DelegationOutcome, Failure, Leaf, MAX_DEPTH, MAX_LOOKUPS, Step, StepKind,
};
use crate::name::{Dentry, Dtab, NameTree, Path, Weighted};
use std::iter;

/// A source of namers' answers for [`delegate`], which hands out the present answers and remembers the questions.
pub trait Answers {
    /// Returns the namers' present answer for `path`.
    ///
    /// All namers whose prefix matches are asked in order: after `Neg` the next is asked, anything else decides. When
    /// no namer is left, the answer is `Neg`.
    fn answer(&mut self, path: &Path) -> AnswerState;
}

/// The part of a delegation to walk through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explore {
    /// Stops where binding stops: a later alternate is not even looked up while an earlier one decides. This routes.
    Deciding,
    /// Goes on, and marks the steps that it adds as not taken. This explains. The outcome is the same: the added steps
    /// have bounds of their own.
    All,
}

/// Resolves `path` under `dtab`, step by step, with the present answers.
///
/// The meaning is Finagle's. It ends on any table: at [`MAX_DEPTH`], at [`MAX_LOOKUPS`], and at the bounds on the size and
/// the nesting of the trace, the delegation fails as a whole, wherever in it the bound is reached.
pub fn delegate(
    dtab: &Dtab,
    path: &Path,
    answers: &mut (impl Answers + ?Sized),
    explore: Explore,
) -> Delegation {
    delegate_within(Budget::new(MAX_LOOKUPS, Failure::Lookups), dtab, path, answers, explore)
}

/// Resolves `path` under `dtab` within a budget.
fn delegate_within(
    deciding: Budget,
    dtab: &Dtab,
    path: &Path,
    answers: &mut (impl Answers + ?Sized),
    explore: Explore,
) -> Delegation {
    let (max_lookups, exploring) = (deciding.lookups, Budget::new(MAX_EXPLORED, Failure::Lookups));
    let mut walk = DelegationWalk { dtab, answers, explore, deciding, exploring };
    let context = StepContext { depth: 0, nesting: 0, taken: true, dentry: None };
    let Resolution { step, .. } = walk.resolve_path(path.clone(), context);
    let lookups = max_lookups - walk.deciding.lookups;
    // A union ignores a failed branch, but not one at which the walk gave up.
    let outcome = walk.deciding.exhausted.map_or_else(|| step.outcome(), DelegationOutcome::Failed);
    Delegation { outcome, step, dtab: dtab.clone(), lookups }
}

/// How many lookups the overrides of a request may add to those of its name without them, unless a router says
/// otherwise: 300.
pub const DEFAULT_OVERRIDE_LOOKUPS: usize = 300;

/// A name as one request asks for it: under a base dtab, and under its own overrides after that.
#[derive(Clone, Copy, Debug)]
pub struct NameQuery<'a> {
    /// The dtab of all requests, with the entries of the request's sandboxes.
    pub base: &'a Dtab,
    /// The request's own entries.
    pub overrides: &'a Dtab,
    /// The name.
    pub path: &'a Path,
    /// How many lookups the overrides may add: `maxOverrideLookups`.
    pub max_added_lookups: usize,
}

impl NameQuery<'_> {
    /// Resolves the name as [`delegate`] does. When the overrides add more lookups than they may, the delegation fails as a
    /// whole with [`Failure::OverrideLookups`].
    ///
    /// The bound is on what a caller can cost the router by what it sends: a base dtab of many steps may have as many under
    /// an override.
    pub fn delegate(&self, answers: &mut (impl Answers + ?Sized), explore: Explore) -> Delegation {
        let Self { base, overrides, path, max_added_lookups } = *self;
        if overrides.is_empty() || max_added_lookups >= MAX_LOOKUPS {
            return delegate(&base.concat(overrides), path, answers, explore);
        }
        let (dtab, failure) = (base.concat(overrides), Failure::OverrideLookups(max_added_lookups));
        let budget = Budget::new(max_added_lookups, failure.clone());
        let first = delegate_within(budget, &dtab, path, answers, explore);
        if first.outcome != DelegationOutcome::Failed(failure.clone()) {
            return first;
        }
        // Only a name for which that is not enough is resolved without the overrides as well.
        let plain = delegate(base, path, answers, Explore::Deciding).lookups;
        let most = max_added_lookups.saturating_add(plain);
        let failure = if most < MAX_LOOKUPS { failure } else { Failure::Lookups };
        delegate_within(Budget::new(most.min(MAX_LOOKUPS), failure), &dtab, path, answers, explore)
    }
}

/// One delegation in progress. It writes the steps, from which the outcome is read in the end.
struct DelegationWalk<'a, A: ?Sized> {
    dtab: &'a Dtab,
    answers: &'a mut A,
    explore: Explore,
    /// The budget of the taken steps: the same in both modes, so that the outcome is the same.
    deciding: Budget,
    /// The budget of the steps that are not taken.
    exploring: Budget,
}

/// The rest of the bounds on the delegation as a whole.
struct Budget {
    lookups: usize,
    /// The failure of one lookup more.
    lookups_failure: Failure,
    steps: usize,
    /// The bound that was reached, if one was. From then on, nothing more is visited on this budget.
    exhausted: Option<Failure>,
}

/// The surroundings of a step in the delegation.
#[derive(Clone, Copy)]
struct StepContext {
    /// The lookups above.
    depth: usize,
    /// The lookups and tree nodes around the step.
    nesting: usize,
    taken: bool,
    /// The position of the entry whose tree holds the step.
    dentry: Option<usize>,
}

/// The result of resolving a path or a tree. (`T` is a step, or its kind while the path is still being looked up.)
struct Resolution<T> {
    verdict: Verdict,
    step: T,
}

/// An entry that matches: its position, the entry, and the rest of the path.
type DentryMatch<'a> = (usize, &'a Dentry, Path);

impl<A: Answers + ?Sized> DelegationWalk<'_, A> {
    /// Looks up one path and resolves the tree that it stands for.
    fn resolve_path(&mut self, path: Path, context: StepContext) -> Resolution<Step> {
        let resolution = if context.depth == MAX_DEPTH {
            self.fail_whole(Failure::Depth, context)
        } else if let Err(failure) = self.budget(context).spend_lookup(&path) {
            context.give_up(failure)
        } else {
            self.look_up(
                &path,
                StepContext { depth: context.depth + 1, nesting: context.nesting + 1, ..context },
            )
        };
        resolution.into_step(path, context)
    }

    /// Resolves the entries that match a path; without any, asks the namers.
    fn look_up(&mut self, path: &Path, context: StepContext) -> Resolution<StepKind> {
        let dtab = self.dtab;
        let mut matches = dtab.matches(path).peekable();
        let Some(first) = matches.next() else {
            return self.ask_namers(path, context);
        };
        if matches.peek().is_none() {
            return self.resolve_only_entry(path, first, context);
        }
        let context = StepContext { nesting: context.nesting + 1, ..context };
        self.alt(iter::once(first).chain(matches), context, |walk, entry, context| {
            walk.resolve_entry(path, entry, context)
        })
    }

    /// Resolves the only entry that matches a path.
    fn resolve_only_entry(
        &mut self,
        path: &Path,
        entry: DentryMatch<'_>,
        context: StepContext,
    ) -> Resolution<StepKind> {
        let (position, dentry, _) = entry;
        // A single `~` does not hide the namers from a path.
        if matches!(dentry.dst, NameTree::Neg) {
            let resolution = self.ask_namers(path, context);
            return if matches!(resolution.step, StepKind::Neg) {
                resolution.into_step(Path::empty(), context.under(position)).into_delegate()
            } else {
                resolution
            };
        }
        let resolution = self.resolve_entry(path, entry, context);
        match unwrap_single(&dentry.dst) {
            NameTree::Alt(_) | NameTree::Union(_) => resolution.into_kind(),
            _ => resolution.into_delegate(),
        }
    }

    /// Resolves the tree of an entry, with the rest of the path behind each of its paths.
    fn resolve_entry(
        &mut self,
        path: &Path,
        (position, dentry, residual): DentryMatch<'_>,
        context: StepContext,
    ) -> Resolution<Step> {
        let leaf = |leaf: &Path| Leaf::Path(leaf.concat(&residual));
        self.resolve_tree(path, &dentry.dst, &leaf, context.under(position))
    }

    /// Asks the namers for a path and resolves their tree.
    fn ask_namers(&mut self, path: &Path, context: StepContext) -> Resolution<StepKind> {
        match self.answers.answer(path) {
            AnswerState::Pending => Resolution::new(Verdict::Undecided, StepKind::Pending),
            AnswerState::Failed(reason) => Resolution::failed(Failure::Namer(reason)),
            AnswerState::Refused(reason) => self.fail_whole(Failure::Refused(reason), context),
            AnswerState::Ready(tree) => {
                let resolution =
                    self.resolve_tree(path, &tree, &Leaf::clone, StepContext { dentry: None, ..context });
                match unwrap_single(&tree) {
                    NameTree::Leaf(Leaf::Path(_)) => resolution.into_delegate(),
                    _ => resolution.into_kind(),
                }
            }
        }
    }

    /// Resolves a tree that the lookup of `path` gave; `leaf` completes its leaves.
    fn resolve_tree<L>(
        &mut self,
        path: &Path,
        tree: &NameTree<L>,
        leaf: &impl Fn(&L) -> Leaf,
        context: StepContext,
    ) -> Resolution<Step> {
        let context = StepContext { nesting: context.nesting + 1, ..context };
        let path = path.clone();
        if let Err(failure) = self.budget(context).spend_node(context.nesting) {
            return context.give_up(failure).into_step(path, context);
        }
        match unwrap_single(tree) {
            NameTree::Leaf(value) => match leaf(value) {
                Leaf::Path(path) => self.resolve_path(path, context),
                Leaf::Bound(bound) => context.leaf(path, bound),
            },
            NameTree::Alt(arms) if !arms.is_empty() => {
                let visit = |walk: &mut Self, arm, context| walk.resolve_tree(&path, arm, leaf, context);
                self.alt(arms.iter(), context, visit).into_step(path, context)
            }
            NameTree::Union(branches) if !branches.is_empty() => {
                let visit = |walk: &mut Self, branch: &_| walk.resolve_tree(&path, branch, leaf, context);
                self.union(branches, context, visit).into_step(path, context)
            }
            constant => context.constant(path, constant),
        }
    }

    /// Tries alternates in order until one is not `Neg`.
    fn alt<T>(
        &mut self,
        arms: impl Iterator<Item = T>,
        mut context: StepContext,
        mut visit: impl FnMut(&mut Self, T, StepContext) -> Resolution<Step>,
    ) -> Resolution<StepKind> {
        let mut verdict = Verdict::Neg;
        let mut steps = Vec::new();
        for arm in arms {
            let resolution = visit(self, arm, context);
            steps.push(resolution.step);
            if verdict == Verdict::Neg {
                verdict = resolution.verdict;
            }
            if self.budget(context).exhausted.is_some() {
                break;
            }
            if verdict != Verdict::Neg {
                if self.explore == Explore::Deciding {
                    break;
                }
                context.taken = false;
            }
        }
        Resolution::new(verdict, StepKind::Alt(steps))
    }

    /// Resolves all branches of a union.
    fn union<L>(
        &mut self,
        branches: &[Weighted<L>],
        context: StepContext,
        mut visit: impl FnMut(&mut Self, &NameTree<L>) -> Resolution<Step>,
    ) -> Resolution<StepKind> {
        let mut verdict = Verdict::Undecided;
        // Grows as the budget allows: a tree may have far more branches than one delegation may visit.
        let mut steps = Vec::new();
        for branch in branches {
            let resolution = visit(self, &branch.tree);
            steps.push((branch.weight, resolution.step));
            verdict = verdict.in_union_with(resolution.verdict);
            if self.budget(context).exhausted.is_some() {
                break;
            }
        }
        Resolution::new(verdict, StepKind::Union(steps))
    }

    /// Returns the step kind for a place that fails the delegation as a whole, if it is taken: nothing more is visited.
    fn fail_whole(&mut self, failure: Failure, context: StepContext) -> Resolution<StepKind> {
        if context.taken {
            self.deciding.exhausted.get_or_insert_with(|| failure.clone());
        }
        Resolution::failed(failure)
    }

    /// Returns the budget that a step is charged to.
    const fn budget(&mut self, context: StepContext) -> &mut Budget {
        if context.taken { &mut self.deciding } else { &mut self.exploring }
    }
}

impl<T> Resolution<T> {
    const fn new(verdict: Verdict, step: T) -> Self {
        Self { verdict, step }
    }
}

impl Resolution<StepKind> {
    const fn failed(failure: Failure) -> Self {
        Self::new(Verdict::Undecided, StepKind::Failed(failure))
    }

    fn into_step(self, path: Path, StepContext { dentry, taken, .. }: StepContext) -> Resolution<Step> {
        Resolution::new(self.verdict, Step { path, dentry, taken, kind: self.step })
    }
}

impl Resolution<Step> {
    fn into_delegate(self) -> Resolution<StepKind> {
        Resolution::new(self.verdict, StepKind::Delegate(Box::new(self.step)))
    }

    fn into_kind(self) -> Resolution<StepKind> {
        Resolution::new(self.verdict, self.step.kind)
    }
}

impl StepContext {
    /// Returns the same context within the tree of the entry at `position`.
    const fn under(self, position: usize) -> Self {
        Self { dentry: Some(position), ..self }
    }

    /// Returns the step of a bound name.
    fn leaf(self, path: Path, bound: Bound) -> Resolution<Step> {
        Resolution::new(Verdict::Bound, StepKind::Leaf(bound)).into_step(path, self)
    }

    /// Returns the step of a `~`, `!`, `$` or a node without children.
    fn constant<L>(self, path: Path, tree: &NameTree<L>) -> Resolution<Step> {
        let resolution = match tree {
            NameTree::Fail => Resolution::new(Verdict::Fail, StepKind::Fail),
            NameTree::Empty => Resolution::new(Verdict::Bound, StepKind::Empty),
            _ => Resolution::new(Verdict::Neg, StepKind::Neg),
        };
        resolution.into_step(if self.dentry.is_some() { Path::empty() } else { path }, self)
    }

    /// Returns the step kind for a place where a bound on the whole was reached.
    fn give_up(self, failure: Failure) -> Resolution<StepKind> {
        if self.taken {
            Resolution::failed(failure)
        } else {
            Resolution::new(Verdict::Undecided, StepKind::Unexplored)
        }
    }
}

impl Budget {
    const fn new(lookups: usize, lookups_failure: Failure) -> Self {
        Self { lookups, lookups_failure, steps: MAX_STEPS, exhausted: None }
    }

    /// Charges the lookup of a path. A long path counts as several steps: entries can make it longer at each lookup.
    fn spend_lookup(&mut self, path: &Path) -> Result<(), Failure> {
        self.spend_steps(path.as_encoded().len() / STEP_BYTES)?;
        self.lookups = self.take(self.lookups, 1, self.lookups_failure.clone())?;
        Ok(())
    }

    /// Charges one node of a tree, which `nesting` lookups and nodes surround.
    fn spend_node(&mut self, nesting: usize) -> Result<(), Failure> {
        self.take(MAX_NESTING, nesting, Failure::Nesting)?;
        self.spend_steps(1)
    }

    /// Charges steps.
    fn spend_steps(&mut self, steps: usize) -> Result<(), Failure> {
        self.steps = self.take(self.steps, steps, Failure::Steps)?;
        Ok(())
    }

    /// Returns `left` less `spent`, or the failure. The first bound that is reached stays the reason for everything
    /// after it.
    fn take(&mut self, left: usize, spent: usize, failure: Failure) -> Result<usize, Failure> {
        match left.checked_sub(spent) {
            Some(left) if self.exhausted.is_none() => Ok(left),
            _ => Err(self.exhausted.get_or_insert(failure).clone()),
        }
    }
}

/// Unwraps alternates and unions with one member: they stand for that member, and its weight is lost.
fn unwrap_single<L>(mut tree: &NameTree<L>) -> &NameTree<L> {
    loop {
        tree = match tree {
            NameTree::Alt(arms) if let [arm] = &**arms => arm,
            NameTree::Union(branches) if let [branch] = &**branches => &branch.tree,
            _ => return tree,
        };
    }
}

#[cfg(test)]
mod tests;
