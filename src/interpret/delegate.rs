//! Delegation: one pure function from a path, a dtab and the namers' present answers to a tree of bound names.
//!
//! A path is looked up in the dtab; when nothing there matches, the namers are asked. What either gives is a tree, and
//! each path in it is looked up again. Alternates are tried in order, branches of a union are all looked at.

use super::delegation::{MAX_EXPLORED, MAX_NESTING, MAX_STEPS, STEP_BYTES};
use super::{Bound, Delegation, Failure, Leaf, MAX_DEPTH, MAX_LOOKUPS, Outcome, State, Step, StepKind};
use crate::name::{Dentry, Dtab, NameTree, Path, Weighted};
use std::iter;

/// Where [`delegate`] gets the namers' answers: whoever implements it hands out what is known now and remembers what
/// was asked.
pub trait Answers {
    /// Returns what the namers say of `path` now.
    ///
    /// All namers whose prefix matches are asked in order: `Neg` goes on to the next, anything else decides. When none
    /// is left, it is `Neg`.
    fn answer(&mut self, path: &Path) -> State;
}

/// How far to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explore {
    /// Stops where binding stops: a later alternate is not even looked up while an earlier one decides. This routes.
    Deciding,
    /// Goes on and marks what it adds as not taken. This explains. The outcome is the same: what is added has bounds of
    /// its own.
    All,
}

/// Resolves `path` under `dtab`, step by step, with the answers there are now.
///
/// The meaning is Finagle's. It ends on any table: at [`MAX_DEPTH`] a branch
/// fails; at [`MAX_LOOKUPS`] (and at a bound on the size of the trace) the delegation fails as a whole.
pub fn delegate(
    dtab: &Dtab,
    path: &Path,
    answers: &mut (impl Answers + ?Sized),
    explore: Explore,
) -> Delegation {
    let (deciding, exploring) = (Budget::new(MAX_LOOKUPS), Budget::new(MAX_EXPLORED));
    let mut walk = Walk { dtab, answers, explore, deciding, exploring };
    let place = Place { depth: 0, nesting: 0, taken: true, dentry: None };
    let Found { step, .. } = walk.resolve(path.clone(), place);
    // A union ignores a failed branch, but not one at which the walk gave up.
    let outcome = walk.deciding.exhausted.map_or_else(|| step.outcome(), Outcome::Failed);
    Delegation { outcome, step, dtab: dtab.clone() }
}

/// One delegation under way. It writes the steps; what they amount to is read off them in the end.
struct Walk<'a, A: ?Sized> {
    dtab: &'a Dtab,
    answers: &'a mut A,
    explore: Explore,
    /// For what is taken: the same in both modes, so that the outcome is.
    deciding: Budget,
    /// For what is not.
    exploring: Budget,
}

/// What is left of the bounds on the whole.
struct Budget {
    lookups: usize,
    steps: usize,
    /// The bound that was reached. From then on nothing more is visited on this account.
    exhausted: Option<Failure>,
}

/// Where in the delegation something stands.
#[derive(Clone, Copy)]
struct Place {
    /// The lookups above.
    depth: usize,
    /// The lookups and nodes of trees around.
    nesting: usize,
    taken: bool,
    /// The entry whose tree this is.
    dentry: Option<usize>,
}

/// What was found at a place. (`T` is a step, or its kind while the path is still being looked up.)
struct Found<T> {
    verdict: Verdict,
    step: T,
}

/// An entry that matches: its position, the entry, and what is left of the path.
type Match<'a> = (usize, &'a Dentry, Path);

/// As much of an outcome as the walk has to know: whether the next alternate has its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Neg,
    Fail,
    /// Leaves, unions and `$`.
    Bound,
    /// Pending or failed.
    Open,
}

impl<A: Answers + ?Sized> Walk<'_, A> {
    /// Looks up one path and follows what it becomes.
    fn resolve(&mut self, path: Path, place: Place) -> Found<Step> {
        let found = if place.depth == MAX_DEPTH {
            Found::failed(Failure::Depth)
        } else if let Err(failure) = self.budget(place).spend_lookup(&path) {
            place.give_up(failure)
        } else {
            self.look_up(&path, Place { depth: place.depth + 1, nesting: place.nesting + 1, ..place })
        };
        found.at(path, place)
    }

    /// Finds the entries that match, or else asks the namers.
    fn look_up(&mut self, path: &Path, place: Place) -> Found<StepKind> {
        let dtab = self.dtab;
        let mut matches = dtab.matches(path).peekable();
        let Some(first) = matches.next() else {
            return self.ask(path, place);
        };
        if matches.peek().is_none() {
            return self.only_entry(path, first, place);
        }
        let place = Place { nesting: place.nesting + 1, ..place };
        self.alt(iter::once(first).chain(matches), place, |walk, entry, place| walk.entry(path, entry, place))
    }

    fn only_entry(&mut self, path: &Path, entry: Match<'_>, place: Place) -> Found<StepKind> {
        let (position, dentry, _) = entry;
        // A single `~` does not hide the namers from a path.
        if matches!(dentry.dst, NameTree::Neg) {
            let found = self.ask(path, place);
            return if matches!(found.step, StepKind::Neg) {
                found.at(Path::empty(), place.under(position)).delegated()
            } else {
                found
            };
        }
        let found = self.entry(path, entry, place);
        match only(&dentry.dst) {
            NameTree::Alt(_) | NameTree::Union(_) => found.kind(),
            _ => found.delegated(),
        }
    }

    fn entry(&mut self, path: &Path, (position, dentry, residual): Match<'_>, place: Place) -> Found<Step> {
        let leaf = |leaf: &Path| Leaf::Path(leaf.concat(&residual));
        self.follow(path, &dentry.dst, &leaf, place.under(position))
    }

    /// Asks the namers.
    fn ask(&mut self, path: &Path, place: Place) -> Found<StepKind> {
        match self.answers.answer(path) {
            State::Pending => Found::new(Verdict::Open, StepKind::Pending),
            State::Failed(words) => Found::failed(Failure::Namer(words)),
            State::Ready(tree) => {
                let found = self.follow(path, &tree, &Leaf::clone, Place { dentry: None, ..place });
                match only(&tree) {
                    NameTree::Leaf(Leaf::Path(_)) => found.delegated(),
                    _ => found.kind(),
                }
            }
        }
    }

    /// Follows a tree that the lookup of `path` gave; `leaf` completes its leaves.
    fn follow<L>(
        &mut self,
        path: &Path,
        tree: &NameTree<L>,
        leaf: &impl Fn(&L) -> Leaf,
        place: Place,
    ) -> Found<Step> {
        let place = Place { nesting: place.nesting + 1, ..place };
        let path = path.clone();
        if let Err(failure) = self.budget(place).spend_node(place.nesting) {
            return place.give_up(failure).at(path, place);
        }
        match only(tree) {
            NameTree::Leaf(value) => match leaf(value) {
                Leaf::Path(path) => self.resolve(path, place),
                Leaf::Bound(bound) => place.leaf(path, bound),
            },
            NameTree::Alt(arms) if !arms.is_empty() => {
                let follow = |walk: &mut Self, arm, place| walk.follow(&path, arm, leaf, place);
                self.alt(arms.iter(), place, follow).at(path, place)
            }
            NameTree::Union(branches) if !branches.is_empty() => {
                let follow = |walk: &mut Self, branch: &_| walk.follow(&path, branch, leaf, place);
                self.union(branches, place, follow).at(path, place)
            }
            constant => place.constant(path, constant),
        }
    }

    /// Tries alternates in order until one is not `Neg`.
    fn alt<T>(
        &mut self,
        arms: impl Iterator<Item = T>,
        mut place: Place,
        mut visit: impl FnMut(&mut Self, T, Place) -> Found<Step>,
    ) -> Found<StepKind> {
        let mut verdict = Verdict::Neg;
        let mut steps = Vec::new();
        for arm in arms {
            let found = visit(self, arm, place);
            steps.push(found.step);
            if verdict == Verdict::Neg {
                verdict = found.verdict;
            }
            if self.budget(place).exhausted.is_some() {
                break;
            }
            if verdict != Verdict::Neg {
                if self.explore == Explore::Deciding {
                    break;
                }
                place.taken = false;
            }
        }
        Found::new(verdict, StepKind::Alt(steps))
    }

    /// Looks at all branches.
    fn union<L>(
        &mut self,
        branches: &[Weighted<L>],
        place: Place,
        mut visit: impl FnMut(&mut Self, &NameTree<L>) -> Found<Step>,
    ) -> Found<StepKind> {
        let mut verdict = Verdict::Open;
        let mut steps = Vec::with_capacity(branches.len());
        for branch in branches {
            let found = visit(self, &branch.tree);
            steps.push((branch.weight, found.step));
            verdict = verdict.beside(found.verdict);
            if self.budget(place).exhausted.is_some() {
                break;
            }
        }
        Found::new(verdict, StepKind::Union(steps))
    }

    const fn budget(&mut self, place: Place) -> &mut Budget {
        if place.taken { &mut self.deciding } else { &mut self.exploring }
    }
}

impl<T> Found<T> {
    const fn new(verdict: Verdict, step: T) -> Self {
        Self { verdict, step }
    }
}

impl Found<StepKind> {
    const fn failed(failure: Failure) -> Self {
        Self::new(Verdict::Open, StepKind::Failed(failure))
    }

    fn at(self, path: Path, Place { dentry, taken, .. }: Place) -> Found<Step> {
        Found::new(self.verdict, Step { path, dentry, taken, kind: self.step })
    }
}

impl Found<Step> {
    fn delegated(self) -> Found<StepKind> {
        Found::new(self.verdict, StepKind::Delegate(Box::new(self.step)))
    }

    fn kind(self) -> Found<StepKind> {
        Found::new(self.verdict, self.step.kind)
    }
}

impl Verdict {
    /// The verdict of a union of which this is that of the branches so far. What is open is ignored beside what is
    /// not; `Neg` and `Fail` are dropped when they are not alone, and nothing left is `Neg`.
    const fn beside(self, branch: Self) -> Self {
        match (self, branch) {
            (Self::Open, one) | (one, Self::Open) => one,
            (Self::Bound, _) | (_, Self::Bound) => Self::Bound,
            _ => Self::Neg,
        }
    }
}

impl Place {
    /// The same place in the tree of the entry at `position`.
    const fn under(self, position: usize) -> Self {
        Self { dentry: Some(position), ..self }
    }

    fn leaf(self, path: Path, bound: Bound) -> Found<Step> {
        Found::new(Verdict::Bound, StepKind::Leaf(bound)).at(path, self)
    }

    /// What `~`, `!`, `$` or a node without children is.
    fn constant<L>(self, path: Path, tree: &NameTree<L>) -> Found<Step> {
        let found = match tree {
            NameTree::Fail => Found::new(Verdict::Fail, StepKind::Fail),
            NameTree::Empty => Found::new(Verdict::Bound, StepKind::Empty),
            _ => Found::new(Verdict::Neg, StepKind::Neg),
        };
        found.at(if self.dentry.is_some() { Path::empty() } else { path }, self)
    }

    /// What stands where a bound on the whole was reached.
    fn give_up(self, failure: Failure) -> Found<StepKind> {
        if self.taken { Found::failed(failure) } else { Found::new(Verdict::Open, StepKind::Unexplored) }
    }
}

impl Budget {
    const fn new(lookups: usize) -> Self {
        Self { lookups, steps: MAX_STEPS, exhausted: None }
    }

    /// A long path counts as several steps: entries can make it longer at each lookup.
    fn spend_lookup(&mut self, path: &Path) -> Result<(), Failure> {
        self.spend_steps(path.as_encoded().len() / STEP_BYTES)?;
        self.lookups = self.take(self.lookups, 1, Failure::Lookups)?;
        Ok(())
    }

    fn spend_node(&mut self, nesting: usize) -> Result<(), Failure> {
        self.take(MAX_NESTING, nesting, Failure::Nesting)?;
        self.spend_steps(1)
    }

    fn spend_steps(&mut self, steps: usize) -> Result<(), Failure> {
        self.steps = self.take(self.steps, steps, Failure::Steps)?;
        Ok(())
    }

    /// The first bound that is reached stays the reason for everything after.
    fn take(&mut self, left: usize, spent: usize, failure: Failure) -> Result<usize, Failure> {
        match left.checked_sub(spent) {
            Some(left) if self.exhausted.is_none() => Ok(left),
            _ => Err(self.exhausted.get_or_insert(failure).clone()),
        }
    }
}

/// Unwraps alternates and unions of one: they are that one, and its weight is lost.
fn only<L>(mut tree: &NameTree<L>) -> &NameTree<L> {
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
