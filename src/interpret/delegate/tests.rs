use super::*;
use crate::interpret::{Target, render};
use std::collections::BTreeSet;

/// Namers under `/#`, each named for what it answers, and a record of what they were asked.
#[derive(Default)]
struct Fake {
    asked: Vec<String>,
}

fn bound(id: &Path, residual: Path) -> Leaf {
    Leaf::Bound(Bound { id: id.clone(), residual, target: Target::Status(200) })
}

impl Answers for Fake {
    fn answer(&mut self, path: &Path) -> AnswerState {
        self.asked.push(path.to_string());
        let kind = path.take(2).to_string();
        let rest = path.skip(2);
        AnswerState::Ready(match &*kind {
            "/#/up" => NameTree::Leaf(bound(&path.take(3), path.skip(3))),
            "/#/to" => NameTree::Leaf(Leaf::Path(rest)),
            "/#/both" => NameTree::Union(
                rest.elems()
                    .map(|elem| bound(&Path::from_elems([elem]), Path::empty()))
                    .map(|leaf| Weighted { weight: 1.0, tree: NameTree::Leaf(leaf) })
                    .collect(),
            ),
            "/#/alone" => NameTree::Alt(vec![NameTree::Leaf(Leaf::Path(rest))]),
            "/#/none" => NameTree::Union(Vec::new()),
            "/#/fail" => NameTree::Fail,
            "/#/empty" => NameTree::Empty,
            "/#/pending" => return AnswerState::Pending,
            "/#/failed" => return AnswerState::Failed("it is down".into()),
            "/#/refused" => return AnswerState::Refused("there is no room".into()),
            _ => NameTree::Neg,
        })
    }
}

fn print(outcome: &DelegationOutcome) -> String {
    match outcome {
        DelegationOutcome::Bound(tree) => {
            format!("{:#}", tree.map(&mut |bound: &Bound| bound.id.concat(&bound.residual)))
        }
        DelegationOutcome::Pending => "pending".into(),
        DelegationOutcome::Failed(why) => format!("failed: {why}"),
    }
}

fn run(dtab: &str, path: &str, explore: Explore) -> (Delegation, Vec<String>) {
    let mut fake = Fake::default();
    let dtab = dtab.parse().expect("a dtab");
    let path = path.parse().expect("a path");
    (delegate(&dtab, &path, &mut fake, explore), fake.asked)
}

#[test]
fn what_paths_stand_for() {
    let table = [
        // Lookup: none, one, several entries; the last one first; position alone counts.
        ("", "/svc/web", "~"),
        ("/svc => /#/up", "/svc/web/a", "/#/up/web/a"),
        ("/svc => /host; /host => /#/up", "/svc/web/a", "/#/up/web/a"),
        ("/svc => /#/up/old; /svc => /#/up/new", "/svc/a", "/#/up/new/a"),
        ("/svc => /#/up/old; /svc => /#/neg", "/svc/a", "/#/up/old/a"),
        ("/svc/web => /#/up/a; /svc => /#/up/b", "/svc/web", "/#/up/b/web"),
        ("/*/web => /#/up", "/svc/web/a", "/#/up/a"),
        ("/ => /#/up/all", "/#/up/x", "failed: Max recursion level: 100 reached in Namer lookup"),
        // The entries shadow the namers, but a single `~` does not.
        ("", "/#/up/a", "/#/up/a"),
        ("/# => ~", "/#/up/a", "/#/up/a"),
        ("/# => ~; /# => ~", "/#/up/a", "~"),
        ("/# => ~ | ~", "/#/up/a", "~"),
        ("/# => /nowhere", "/#/up/a", "~"),
        ("/# => !", "/#/up/a", "!"),
        // Namers may answer with paths, which go through the whole dtab.
        ("/b => /#/up/c", "/#/to/b/x", "/#/up/c/x"),
        ("/b => /#/up/c", "/#/alone/b/x", "/#/up/c/x"),
        ("", "/#/both/a/b", "/a & /b"),
        ("", "/#/none", "~"),
        // Alternates.
        ("/a => ~ | /#/up/b", "/a", "/#/up/b"),
        ("/a => ! | /#/up/b", "/a", "!"),
        ("/a => $ | /#/up/b", "/a", "$"),
        ("/a => /#/pending | /#/up/b", "/a", "pending"),
        ("/a => /#/failed | /#/up/b", "/a", "failed: it is down"),
        ("/a => /#/neg | (/#/neg | /#/up/b) | !", "/a", "/#/up/b"),
        ("/a => ~ | ~", "/a", "~"),
        // Unions.
        ("/a => 0.3 * /#/up/a & 0.7 * /#/up/b", "/a", "0.3*/#/up/a & 0.7*/#/up/b"),
        ("/a => ! & !", "/a", "~"),
        ("/a => ! & ~", "/a", "~"),
        ("/a => (! & !) | /#/up/b", "/a", "/#/up/b"),
        ("/a => ! & /#/pending", "/a", "!"),
        ("/a => ! & /#/failed", "/a", "!"),
        ("/a => (! & /#/pending) | /#/up/b", "/a", "!"),
        ("/a => (~ & /#/pending) | /#/up/b", "/a", "/#/up/b"),
        ("/a => 5 * /#/up/a & ~", "/a", "/#/up/a"),
        ("/a => /#/up/a & !", "/a", "/#/up/a"),
        ("/a => /#/up/a & /#/failed", "/a", "/#/up/a"),
        ("/a => /#/up/a & $", "/a", "/#/up/a & $"),
        ("/a => $ & ~", "/a", "$"),
        ("/a => /#/pending & /#/failed", "/a", "failed: it is down"),
        ("/a => /#/pending & /#/pending", "/a", "pending"),
        (
            "/a => 2 * /b & 3 * /#/up/c; /b => /#/up/a & 0 * /#/up/b",
            "/a",
            "2*(/#/up/a & 0*/#/up/b) & 3*/#/up/c",
        ),
        ("/a => (/#/neg | /#/up/a) & (/#/up/b | !)", "/a/x", "/#/up/a/x & /#/up/b/x"),
        // A branch that goes too deep, or finds no room, fails all.
        ("/a => /a", "/a", "failed: Max recursion level: 100 reached in Namer lookup"),
        ("/a => /a | /#/up/b", "/a", "failed: Max recursion level: 100 reached in Namer lookup"),
        ("/a => /l & /#/up/b; /l => /l", "/a", "failed: Max recursion level: 100 reached in Namer lookup"),
        (
            "/a => /#/up/b & (/#/neg | /l); /l => /l & $",
            "/a",
            "failed: Max recursion level: 100 reached in Namer lookup",
        ),
        ("/a => 99 * /#/refused & 1 * /#/up/b", "/a", "failed: there is no room"),
        ("/a => /#/up/b & /#/refused; /a => ~", "/a", "failed: there is no room"),
        ("/a => /#/up/b | /l | /#/refused; /l => /l", "/a", "/#/up/b"),
    ];
    for (dtab, path, expected) in table {
        for explore in [Explore::Deciding, Explore::All] {
            let (delegation, _) = run(dtab, path, explore);
            assert_eq!(print(&delegation.outcome), expected, "{path} under {dtab} ({explore:?})");
        }
    }
}

#[test]
fn deciding_asks_only_what_decides_and_exploring_the_rest() {
    let dtab = "/a => /#/up/1 | /#/up/2; /a => /#/neg/0 | (/b & /#/up/4) ; /b => /#/pending | /#/up/3";
    let (deciding, asked) = run(dtab, "/a", Explore::Deciding);
    assert_eq!(asked, ["/#/neg/0", "/#/pending", "/#/up/4"]);
    assert_eq!(print(&deciding.outcome), "/#/up/4");
    let (all, asked) = run(dtab, "/a", Explore::All);
    assert_eq!(asked, ["/#/neg/0", "/#/pending", "/#/up/3", "/#/up/4", "/#/up/1", "/#/up/2"]);
    assert_eq!(all.outcome, deciding.outcome);
}

#[test]
fn steps_tell_the_path_the_entry_and_whether_it_was_taken() {
    let (delegation, _) = run("/svc => /host; /host => /#/up | /#/neg; /x => /y", "/svc/a", Explore::All);
    let root = &delegation.step;
    assert_eq!((root.path.to_string(), root.dentry, root.taken), ("/svc/a".into(), None, true));
    let StepKind::Delegate(host) = &root.kind else { panic!("{root:?}") };
    assert_eq!((host.path.to_string(), host.dentry, host.taken), ("/host/a".into(), Some(0), true));
    assert_eq!(delegation.dentry(host).map(ToString::to_string).as_deref(), Some("/svc=>/host"));
    let StepKind::Alt(arms) = &host.kind else { panic!("{host:?}") };
    let arms: Vec<_> = arms.iter().map(|arm| (arm.path.to_string(), arm.dentry, arm.taken)).collect();
    assert_eq!(arms, [("/#/up/a".into(), Some(1), true), ("/#/neg/a".into(), Some(1), false)]);
    assert_eq!(delegation.dentry(root), None);
}

/// `/p0 => /p1; ...; /p<hops - 1> => <end>`.
fn chain(hops: usize, end: &str) -> String {
    let next = |n: usize| if n + 1 == hops { end.to_owned() } else { format!("/p{}", n + 1) };
    (0..hops).map(|n| format!("/p{n} => {};", next(n))).collect()
}

#[test]
fn a_hundred_lookups_may_lie_one_below_the_other() {
    // The last lookup is the namer's.
    let too_deep = "failed: Max recursion level: 100 reached in Namer lookup";
    let table = [
        (chain(99, "/#/up/a"), "/#/up/a"),
        (chain(100, "/#/up/a"), too_deep),
        (chain(99, "/#/neg"), "~"),
        (chain(100, "/#/neg"), too_deep),
        (chain(100, "/nowhere"), too_deep),
        (chain(100, "!"), "!"),
        (chain(98, "/#/to/#/up/a"), "/#/up/a"),
        (chain(99, "/#/to/#/up/a"), too_deep),
        (chain(100, "/#/up/a & $"), too_deep),
    ];
    for (dtab, expected) in table {
        let (delegation, asked) = run(&dtab, "/p0", Explore::Deciding);
        assert_eq!(print(&delegation.outcome), expected, "{dtab}");
        assert!(asked.len() <= 2);
    }
}

#[test]
fn a_thousand_lookups_are_allowed_and_one_more_fails_all() {
    let union = |count: usize| {
        let branches = vec!["/#/up/b"; count - 1].join(" & ");
        format!("/a => {branches}")
    };
    let (most, asked) = run(&union(MAX_LOOKUPS), "/a", Explore::Deciding);
    assert_eq!(asked.len(), MAX_LOOKUPS - 1);
    let DelegationOutcome::Bound(NameTree::Union(branches)) = most.outcome else {
        panic!("{:?}", most.outcome)
    };
    assert_eq!(branches.len(), MAX_LOOKUPS - 1);
    // Bound branches do not hide it, whichever comes first, and no alternate follows.
    for dtab in [
        union(MAX_LOOKUPS + 1),
        format!("{} & $", union(MAX_LOOKUPS + 1)),
        format!("/a => /#/up/c & (/b | /#/up/d); {}", union(MAX_LOOKUPS).replace("/a =>", "/b =>")),
        format!("/a => (/b | /#/up/d) & /#/up/c; {}", union(MAX_LOOKUPS).replace("/a =>", "/b =>")),
    ] {
        let (more, asked) = run(&dtab, "/a", Explore::Deciding);
        assert_eq!(more.outcome, DelegationOutcome::Failed(Failure::Lookups));
        assert!(asked.len() < MAX_LOOKUPS);
    }
}

/// Resolves `/a` under a base dtab and overrides that may add ten lookups.
fn run_query(base: &str, overrides: &str) -> DelegationOutcome {
    let [base, overrides]: [Dtab; 2] = [base, overrides].map(|text| text.parse().expect("a dtab"));
    let query =
        NameQuery { base: &base, overrides: &overrides, path: &"/a".parse().unwrap(), max_added_lookups: 10 };
    query.delegate(&mut Fake::default(), Explore::Deciding).outcome
}

#[test]
fn overrides_add_lookups_within_a_bound_of_their_own() {
    let union = |from: &str, count: usize| {
        let branches = vec!["/#/up/b"; count].join(" & ");
        format!("{from} => {branches}")
    };
    let too_many = DelegationOutcome::Failed(Failure::OverrideLookups(10));
    let is_bound = |outcome| matches!(outcome, DelegationOutcome::Bound(NameTree::Union(_)));
    // With the lookup of the name itself, which it has without them too, there may be eleven.
    assert!(is_bound(run_query("", &union("/a", 10))));
    assert_eq!(run_query("", &union("/a", 11)), too_many);
    // A base of many steps may have as many under overrides, and ten more.
    assert!(is_bound(run_query(&union("/a", 500), "/x => /y")));
    let base = union("/a", 30).replace("/#/up/b", "/b") + "; /b => /#/up/b";
    assert!(is_bound(run_query(&base, "/b => /#/up/c")));
    assert_eq!(run_query(&base, "/b => /#/up/c & /#/up/d"), too_many);
    // The bound on all lookups holds as well.
    let beyond = run_query(&union("/a", MAX_LOOKUPS - 1), "/#/up/b => /#/up/c & /#/up/d");
    assert_eq!(beyond, DelegationOutcome::Failed(Failure::Lookups));
}

/// Returns the failures that stand in the trace.
fn reasons(step: &Step) -> BTreeSet<String> {
    match &step.kind {
        StepKind::Failed(why) => BTreeSet::from([format!("failed: {why}")]),
        StepKind::Unexplored => BTreeSet::from(["not explored".into()]),
        StepKind::Delegate(step) => reasons(step),
        StepKind::Alt(arms) => arms.iter().flat_map(reasons).collect(),
        StepKind::Union(branches) => branches.iter().flat_map(|(_, branch)| reasons(branch)).collect(),
        _ => BTreeSet::new(),
    }
}

#[test]
fn tables_that_double_end_with_a_step_that_says_why() {
    let doubling = |operator: &str| -> String {
        (0..100).map(|n| format!("/p{n} => /p{} {operator} /p{};", n + 1, n + 1)).collect()
    };
    let depth = "failed: Max recursion level: 100 reached in Namer lookup";
    let lookups = "failed: more than 1000 lookups in one delegation";
    for (dtab, path, expected) in [
        ("/a => /a | /a".to_owned(), "/a", depth),
        ("/a => /a & /a".to_owned(), "/a", depth),
        ("/a => /a; /a => /a".to_owned(), "/a", depth),
        (doubling("|"), "/p0", depth),
        (doubling("|"), "/p9", lookups),
        (doubling("&"), "/p9", lookups),
    ] {
        for explore in [Explore::Deciding, Explore::All] {
            let (delegation, _) = run(&dtab, path, explore);
            assert!(matches!(delegation.outcome, DelegationOutcome::Failed(_)), "{path} under {dtab}");
            let reasons = reasons(&delegation.step);
            assert!(reasons.iter().eq([expected]), "{path} under {dtab} ({explore:?}): {reasons:?}");
        }
    }
}

#[test]
fn exploring_has_bounds_of_its_own() {
    // The alternates that are not taken would need more than all lookups; the outcome does not mind.
    let many = vec!["/#/up/b"; 3_000].join(" & ");
    let (delegation, _) = run(&format!("/a => /#/up/a | /b | /c; /b => {many}"), "/a", Explore::All);
    assert_eq!(print(&delegation.outcome), "/#/up/a");
    let reasons = reasons(&delegation.step);
    assert!(reasons.iter().eq(["not explored"]), "{reasons:?}");
}

#[test]
fn large_trees_are_bounded() {
    let neg = vec!["~"; 199].join(" | ");
    let (delegation, _) = run(&format!("/a => {neg}; /a => {neg} | $"), "/a", Explore::Deciding);
    assert_eq!(print(&delegation.outcome), "$");
    let dtab = format!("/a => {}; /b => {neg}", vec!["/b"; 199].join(" | "));
    let (delegation, _) = run(&dtab, "/a", Explore::Deciding);
    assert_eq!(delegation.outcome, DelegationOutcome::Failed(Failure::Steps));
}

#[test]
fn paths_that_grow_are_bounded() {
    let long = "x".repeat(4_000);
    let (delegation, asked) = run(&format!("/a => /a/{long} & /a/{long}"), "/a", Explore::All);
    assert_eq!(delegation.outcome, DelegationOutcome::Failed(Failure::Steps));
    assert!(asked.is_empty());
    let (delegation, _) = run(&format!("/a => /b/{long}; /b => /#/up"), "/a", Explore::All);
    assert!(matches!(delegation.outcome, DelegationOutcome::Bound(NameTree::Leaf(_))));
}

#[test]
fn a_hundred_lookups_of_unions_are_not_too_nested() {
    let unions: String = (0..99).map(|n| format!("/p{n} => /p{} & !;", n + 1)).collect();
    let (delegation, _) = run(&format!("{unions} /p99 => $"), "/p0", Explore::All);
    assert_eq!(print(&delegation.outcome), "$");
}

#[test]
fn a_hundred_lookups_of_grouped_alternates_are_not_too_nested() {
    let chain = |hop: &dyn Fn(usize) -> String| (0..99).map(hop).collect::<String>();
    let hops: [&dyn Fn(usize) -> String; 4] = [
        &|n| format!("/p{n} => /p{};", n + 1),
        &|n| format!("/p{n} => /none; /p{n} => /p{} | /x;", n + 1),
        &|n| format!("/p{n} => /none; /p{n} => (/p{} | /x) & !;", n + 1),
        &|n| format!("/p{n} => (/p{} & !) | /x;", n + 1),
    ];
    for hop in hops {
        let dtab = format!("{} /p99 => $", chain(hop));
        let (delegation, _) = run(&dtab, "/p0", Explore::Deciding);
        assert_eq!(print(&delegation.outcome), "$", "{}", hop(0));
    }
}

#[test]
fn nesting_never_endangers_the_stack() {
    let nested = |n: usize| {
        let inner = format!("{}/p{}{}", "(".repeat(98), n + 1, " | ~)".repeat(98));
        format!("/p{n} => {inner} & /#/failed;")
    };
    let dtab: String = (0..100).map(nested).collect();
    let dtab: Dtab = dtab.parse().expect("a dtab");
    let path = "/p0".parse().expect("a path");
    let work = move || {
        let delegation = delegate(&dtab, &path, &mut Fake::default(), Explore::All);
        assert_eq!(delegation.outcome, DelegationOutcome::Failed(Failure::Nesting));
        let mut drawn = String::new();
        render::draw(&delegation, render::Colours::Without, &mut drawn).expect("a string takes it");
        assert!(drawn.contains("nested more than 640 deep"));
        assert!(serde_json::to_string(&render::json(&delegation)).is_ok());
        drop(delegation.clone());
    };
    // Half of what a worker has. Frames of a debug build are about three times those of a release.
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(work);
    thread.expect("a thread").join().expect("no overflow");
}
