//! Delegation agrees with the reference binder, exploring changes nothing, and the trace says what the outcome says.

use super::reference;
use proptest::prelude::*;
use signpost::interpret::{
    AnswerState, Answers, Bound, DelegationOutcome, Explore, Failure, Leaf, Step, StepKind, Target, delegate,
};
use signpost::name::{Dentry, Dtab, Element, NameTree, Path, Prefix, Weighted};

/// What the namers under `/#` say: the second element names it.
fn namers(path: &Path) -> AnswerState {
    let elems: Vec<_> = path.elems().collect();
    let bound =
        |used: usize| Bound { id: path.take(used), residual: path.skip(used), target: Target::Status(200) };
    let to = |path: Path| NameTree::Leaf(Leaf::Path(path));
    let up = |used| NameTree::Leaf(Leaf::Bound(bound(used)));
    let weighted = |weight, tree| Weighted { weight, tree };
    AnswerState::Ready(match elems.as_slice() {
        [b"#", b"up", ..] => up(elems.len().min(3)),
        [b"#", b"to", ..] => to(path.skip(2)),
        [b"#", b"or", ..] => NameTree::Alt(vec![to(path.skip(2)), up(2)]),
        [b"#", b"and", ..] => NameTree::Union(vec![
            weighted(0.5, to(path.skip(2))),
            weighted(2.0, up(2)),
            weighted(1.0, NameTree::Fail),
        ]),
        [b"#", b"one", ..] => NameTree::Union(vec![weighted(0.5, to(path.skip(2)))]),
        [b"#", b"none", ..] => NameTree::Union(Vec::new()),
        [b"#", b"fail", ..] => NameTree::Fail,
        [b"#", b"empty", ..] => NameTree::Empty,
        [b"#", b"pending", ..] => return AnswerState::Pending,
        [b"#", b"refused", ..] => return AnswerState::Refused("no room".into()),
        [b"#", b"failed", ..] => return AnswerState::Failed(path.to_string().into()),
        _ => NameTree::Neg,
    })
}

struct Namers;

impl Answers for Namers {
    fn answer(&mut self, path: &Path) -> AnswerState {
        namers(path)
    }
}

/// What the taken steps say, or None where one was not explored.
fn replay(step: &Step) -> Option<DelegationOutcome> {
    if !step.taken {
        return None;
    }
    let neg = DelegationOutcome::Bound(NameTree::Neg);
    Some(match &step.kind {
        StepKind::Delegate(step) => replay(step)?,
        StepKind::Alt(arms) => {
            let taken = arms.iter().filter(|arm| arm.taken);
            let outcomes: Vec<_> = taken.map(replay).collect::<Option<_>>()?;
            // Only the last one decides, and none before it does.
            let (last, before) = outcomes.split_last()?;
            before.iter().all(|outcome| *outcome == neg).then(|| last.clone())?
        }
        StepKind::Union(branches) => {
            let mut bound = Vec::new();
            let mut others = Vec::new();
            for (weight, branch) in branches {
                match replay(branch)? {
                    DelegationOutcome::Bound(tree) => bound.push(Weighted { weight: *weight, tree }),
                    other => others.push(other),
                }
            }
            let failed = others.into_iter().find(|other| matches!(other, DelegationOutcome::Failed(_)));
            match failed {
                _ if !bound.is_empty() => DelegationOutcome::Bound(NameTree::Union(bound).simplified()),
                failed => failed.unwrap_or(DelegationOutcome::Pending),
            }
        }
        StepKind::Leaf(bound) => DelegationOutcome::Bound(NameTree::Leaf(bound.clone())),
        StepKind::Neg => neg,
        StepKind::Fail => DelegationOutcome::Bound(NameTree::Fail),
        StepKind::Empty => DelegationOutcome::Bound(NameTree::Empty),
        StepKind::Pending => DelegationOutcome::Pending,
        StepKind::Failed(failure) => DelegationOutcome::Failed(failure.clone()),
        StepKind::Unexplored => return None,
    })
}

/// Whether there is nothing in the trace that was not taken.
fn all_taken(step: &Step) -> bool {
    step.taken
        && match &step.kind {
            StepKind::Delegate(step) => all_taken(step),
            StepKind::Alt(arms) => arms.iter().all(all_taken),
            StepKind::Union(branches) => branches.iter().all(|(_, step)| all_taken(step)),
            _ => true,
        }
}

fn label() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "a", "b", "b", "c"])
}

/// A path that entries match.
fn own_path() -> impl Strategy<Value = Path> {
    prop::collection::vec(label(), 0..4).prop_map(Path::from_elems)
}

/// A path that a namer knows.
fn namer_path() -> impl Strategy<Value = Path> {
    let kinds = vec![
        "up", "up", "up", "up", "up", "to", "or", "and", "one", "none", "neg", "neg", "fail", "empty",
        "pending", "pending", "failed", "refused",
    ];
    (prop::sample::select(kinds), prop::collection::vec(label(), 0..3))
        .prop_map(|(kind, rest)| Path::from_elems(["#", kind].into_iter().chain(rest)))
}

fn tree() -> impl Strategy<Value = NameTree<Path>> {
    let leaf = prop_oneof![
        6 => namer_path().prop_map(NameTree::Leaf),
        4 => own_path().prop_map(NameTree::Leaf),
        1 => Just(NameTree::Neg),
        1 => Just(NameTree::Fail),
        1 => Just(NameTree::Empty),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let weight = prop::sample::select(vec![0.0, 0.25, 1.0, 3.0]);
        let branch = (weight, inner.clone()).prop_map(|(weight, tree)| Weighted { weight, tree });
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(NameTree::Alt),
            prop::collection::vec(branch, 0..4).prop_map(NameTree::Union),
        ]
    })
}

fn prefix() -> impl Strategy<Value = Prefix> {
    let label = |text: &'static str| Element::Label(text.as_bytes());
    let elements = vec![label("a"), label("a"), label("b"), label("b"), label("c"), Element::Any];
    // `/` matches its own output: worth a case, but not in every table.
    let length = prop_oneof![1 => Just(0_usize), 80 => Just(1), 20 => Just(2)];
    let elements = length.prop_flat_map(move |length| vec![prop::sample::select(elements.clone()); length]);
    let shadowing = Just(vec![label("#"), label("up")]);
    prop_oneof![20 => elements, 1 => shadowing].prop_map(Prefix::from_elems)
}

fn dtab() -> impl Strategy<Value = Dtab> {
    let dentry = (prefix(), tree()).prop_map(|(prefix, dst)| Dentry { prefix, dst });
    prop::collection::vec(dentry, 1..8).prop_map(Dtab::from_iter)
}

/// Outcomes by the reference's rules and by all three readings of the delegation.
///
/// On a stack of its own: the reference has no bound on nesting, and a debug build's frames are large.
fn agree(dtab: &Dtab, path: &Path) -> Result<DelegationOutcome, TestCaseError> {
    std::thread::scope(|scope| {
        let checking =
            std::thread::Builder::new().stack_size(64 << 20).spawn_scoped(scope, || check(dtab, path));
        checking.expect("a thread").join().expect("it ends")
    })
}

fn check(dtab: &Dtab, path: &Path) -> Result<DelegationOutcome, TestCaseError> {
    let deciding = delegate(dtab, path, &mut Namers, Explore::Deciding);
    prop_assert!(all_taken(&deciding.step));
    let all = delegate(dtab, path, &mut Namers, Explore::All);
    prop_assert_eq!(&all.outcome, &deciding.outcome);
    match deciding.outcome {
        // The reference does not know these bounds.
        DelegationOutcome::Failed(Failure::Steps | Failure::Nesting) => {}
        // At a bound on the whole, the steps of a union do not say so by themselves.
        DelegationOutcome::Failed(Failure::Depth | Failure::Lookups | Failure::Refused(_)) => {
            prop_assert_eq!(&reference::bind(dtab, path, &namers), &deciding.outcome);
        }
        _ => {
            prop_assert_eq!(&reference::bind(dtab, path, &namers), &deciding.outcome);
            prop_assert_eq!(&replay(&deciding.step), &Some(deciding.outcome.clone()));
            prop_assert_eq!(&replay(&all.step), &Some(deciding.outcome.clone()));
        }
    }
    Ok(deciding.outcome)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn delegation_agrees_with_the_reference(dtab in dtab(), path in prop_oneof![9 => own_path(), 1 => namer_path()]) {
        agree(&dtab, &path)?;
    }
}

#[test]
fn both_know_the_rules_of_unions_and_alternates() {
    let table = [
        ("/a => ! & !", "~"),
        ("/a => ! & ~", "~"),
        ("/a => ! & /#/pending", "!"),
        ("/a => ! & /#/failed", "!"),
        ("/a => ~ & /#/pending", "~"),
        ("/a => /#/up/a & ~", "/#/up/a"),
        ("/a => /#/up/a & !", "/#/up/a"),
        ("/a => /#/up/a & /#/failed", "/#/up/a"),
        ("/a => /#/up/a & $", "/#/up/a & $"),
        ("/a => $ & ~", "$"),
        ("/a => ~ | /#/up/a", "/#/up/a"),
        ("/a => $ | /#/up/a", "$"),
        ("/# => ~; /a => /#/up/a", "/#/up/a"),
        ("/# => ~; /# => ~; /a => /#/up/a", "~"),
        ("/a => /#/up/a; /a => /#/neg", "/#/up/a"),
    ];
    for (dtab, expected) in table {
        let outcome = agree(&dtab.parse().unwrap(), &"/a".parse().unwrap()).unwrap();
        let DelegationOutcome::Bound(tree) = outcome else { panic!("{dtab}: {outcome:?}") };
        assert_eq!(format!("{:#}", tree.map(&mut |bound| bound.id.clone())), expected, "{dtab}");
    }
}

#[test]
fn both_end_at_the_same_lookup() {
    let chain = |hops: usize| (0..hops).map(|n| format!("/p{n} => /p{};", n + 1)).collect::<String>();
    let union = |count: usize| format!("/p0 => {}", vec!["/#/up/a"; count].join(" & "));
    let doubling = (0..30).map(|n| format!("/p{n} => /p{} & /p{};", n + 1, n + 1)).collect::<String>();
    let table = [
        (format!("{} /p99 => $", chain(99)), DelegationOutcome::Bound(NameTree::Empty)),
        (format!("{} /p100 => $", chain(100)), DelegationOutcome::Failed(Failure::Depth)),
        (format!("{} /p99 => /#/neg", chain(99)), DelegationOutcome::Failed(Failure::Depth)),
        (format!("{} /p98 => /#/neg", chain(98)), DelegationOutcome::Bound(NameTree::Neg)),
        (union(1_000), DelegationOutcome::Failed(Failure::Lookups)),
        (doubling, DelegationOutcome::Failed(Failure::Lookups)),
        ("/p0 => (/p0 | ~) & /#/failed".to_owned(), DelegationOutcome::Failed(Failure::Depth)),
        (
            "/p0 => /p1 & $; /p1 => (/p1 | ~) & /#/failed".to_owned(),
            DelegationOutcome::Failed(Failure::Depth),
        ),
        (
            "/p0 => /#/up/a & /#/refused; /p0 => ~".to_owned(),
            DelegationOutcome::Failed(Failure::Refused("no room".into())),
        ),
    ];
    for (dtab, expected) in table {
        let dtab: Dtab = dtab.parse().unwrap();
        assert_eq!(agree(&dtab, &"/p0".parse().unwrap()).unwrap(), expected, "{dtab}");
    }
    let most = agree(&union(999).parse().unwrap(), &"/p0".parse().unwrap()).unwrap();
    assert!(matches!(most, DelegationOutcome::Bound(NameTree::Union(branches)) if branches.len() == 999));
}
