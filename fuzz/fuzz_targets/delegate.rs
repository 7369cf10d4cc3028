//! Delegation ends on any table and any answers, within its bounds. It agrees with the reference binder, and its
//! outcome is the same whether it stops where that is decided or goes on to explain.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signpost::interpret::{
    AnswerState, Answers, Bound, DelegationOutcome, Explore, Failure, Leaf, MAX_LOOKUPS, Step, StepKind,
    Target, delegate,
};
use signpost::name::{Dtab, NameTree, Path, Weighted};

#[path = "../../tests/it/reference.rs"]
mod reference;

// The first line is the path, the others are the dtab.
fuzz_target!(|text: &str| {
    let Some((path, dtab)) = text.split_once('\n') else { return };
    let (Ok(path), Ok(dtab)) = (path.parse::<Path>(), dtab.parse::<Dtab>()) else { return };

    let mut namers = Namers::default();
    let decided = delegate(&dtab, &path, &mut namers, Explore::Deciding);
    assert!(namers.calls <= MAX_LOOKUPS, "{} answers were asked for", namers.calls);
    assert!(all_taken(&decided.step), "deciding looks at nothing that does not decide");
    // The reference has no bound on the size of the trace, for it keeps none.
    if !matches!(decided.outcome, DelegationOutcome::Failed(Failure::Steps | Failure::Nesting)) {
        assert_eq!(decided.outcome, reference::bind(&dtab, &path, &answer), "the outcome of the reference");
    }

    let explained = delegate(&dtab, &path, &mut Namers::default(), Explore::All);
    assert_eq!(explained.outcome, decided.outcome, "the explanation is the routing");
});

/// A source of answers that counts its calls.
#[derive(Default)]
struct Namers {
    calls: usize,
}

impl Answers for Namers {
    fn answer(&mut self, path: &Path) -> AnswerState {
        self.calls += 1;
        answer(path)
    }
}

/// What the namers say: it can be read off the path, so that a table can have any answer anywhere.
fn answer(path: &Path) -> AnswerState {
    let mut elems = path.elems();
    if elems.next() != Some(b"#".as_slice()) {
        return AnswerState::Ready(NameTree::Neg);
    }
    let again = || NameTree::Leaf(Leaf::Path(path.skip(2)));
    let bound = || NameTree::Leaf(Leaf::Bound(bound(path)));
    let branch = |weight, tree| Weighted { weight, tree };
    AnswerState::Ready(match elems.next() {
        Some(b"pending") => return AnswerState::Pending,
        Some(b"refused") => return AnswerState::Refused("no room".into()),
        Some(b"failed") => return AnswerState::Failed("as the path says".into()),
        Some(b"fail") => NameTree::Fail,
        Some(b"empty") => NameTree::Empty,
        Some(b"again") => again(),
        Some(b"bound") => bound(),
        Some(b"alt") => NameTree::Alt(vec![again(), bound()]),
        Some(b"union") => NameTree::Union(vec![branch(0.5, bound()), branch(2.0, again())]),
        Some(b"one") => NameTree::Union(vec![branch(0.5, again())]),
        Some(b"none") => NameTree::Union(Vec::new()),
        _ => NameTree::Neg,
    })
}

/// Returns the bound name of a path: its first three elements are the id, the others the residual.
fn bound(path: &Path) -> Bound {
    Bound { id: path.take(3), residual: path.skip(3), target: Target::Status(204) }
}

/// Returns whether every step was taken.
fn all_taken(step: &Step) -> bool {
    step.taken
        && match &step.kind {
            StepKind::Delegate(step) => all_taken(step),
            StepKind::Alt(arms) => arms.iter().all(all_taken),
            StepKind::Union(branches) => branches.iter().all(|(_, step)| all_taken(step)),
            _ => true,
        }
}
