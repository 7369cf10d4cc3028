use super::*;
use crate::sandbox::samples::{group, sandbox, store};
use crate::sandbox::{GroupSpec, LabelPattern};

fn now() -> Timestamp {
    Timestamp::from_second(1_000).unwrap()
}

/// Returns the objects that have keys, each as `key: object`, sorted.
fn holders(table: &SandboxTable) -> Vec<String> {
    let mut all: Vec<_> = table.entries.iter().map(|(key, entry)| format!("{key}: {}", entry.id())).collect();
    all.sort();
    all
}

#[test]
fn the_older_object_has_the_key() {
    let young = sandbox(Some("b"), "v2", 20, "/svc => /b");
    let old = sandbox(Some("a"), "v2", 10, "/svc => /a");
    let other = sandbox(Some("a"), "x", 5, "");
    let table = SandboxTable::new([&store([&young, &old, &other], [])], now());
    assert_eq!(holders(&table), ["v2: a/v2", "x: a/x"]);
    let taken = table.key_taken(&young.id, &young.key).unwrap();
    assert_eq!(taken.reason(), "KeyTaken");
    assert_eq!(taken.to_string(), "its key v2 belongs to a/v2, which is older: choose another `key`");
    assert!(table.key_taken(&old.id, &old.key).is_none());

    // At the same second, the one that comes first by its name.
    let twin = sandbox(Some("c"), "v2", 10, "");
    let table = SandboxTable::new([&store([&twin, &old], []), &StoreState::Ready(Arc::default())], now());
    assert_eq!(holders(&table), ["v2: a/v2"]);
    // The configuration has precedence over a cluster.
    let own = sandbox(None, "v2", 0, "");
    let table = SandboxTable::new([&store([&old], []), &store([&own], [])], now());
    assert_eq!(holders(&table), ["v2: v2"]);
}

#[test]
fn one_that_has_ended_is_gone() {
    let ends = sandbox(Some("a"), "v2", 1_000 - 24 * 3600, "");
    let lives = sandbox(Some("a"), "v3", 900, "");
    assert_eq!(ends.expires, Some(now()));
    let table = SandboxTable::new([&store([&ends, &lives], [])], now());
    assert_eq!(holders(&table), ["v3: a/v3"]);
    assert_eq!(table.next_expiry(), lives.expires);
}

#[test]
fn groups_consist_of_sandboxes_of_their_namespace() {
    let all = |names: &[&str]| GroupSpec {
        all: Some(names.iter().copied().map(str::to_owned).collect()),
        ..GroupSpec::default()
    };
    let label = GroupSpec {
        label: Some(LabelPattern { key: "branch".to_owned(), value: "feature-*".to_owned() }),
        ..GroupSpec::default()
    };
    let groups = [
        group("a", "both", all(&["two", "one"])),
        group("a", "some", GroupSpec { any: Some(vec!["three".to_owned(), "one".to_owned()]), ..all(&[]) }),
        group("a", "part", all(&["one", "three"])),
        group(
            "a",
            "any",
            GroupSpec { all: None, any: Some(vec!["three".to_owned(), "one".to_owned()]), ..all(&[]) },
        ),
        group("a", "branch", label),
        // It has the key of a sandbox.
        group("a", "one", all(&["two"])),
    ];
    let sandboxes =
        [("a", "one"), ("a", "two"), ("b", "three")].map(|(ns, name)| sandbox(Some(ns), name, 500, ""));
    let table = SandboxTable::new([&store(&sandboxes, &groups)], now());
    let members = |key: &str| match table.get(key) {
        Some(TableEntry::Group(found)) => {
            let names: Vec<_> = found.members.iter().map(|member| member.id.to_string()).collect();
            format!("{} - {}", names.join(" "), found.missing.join(" "))
        }
        other => format!("{other:?}"),
    };
    assert_eq!(members("both"), "a/two a/one - ");
    assert_eq!(members("part"), "a/one - three");
    assert_eq!(members("any"), "a/one - ");
    assert_eq!(members("branch"), "a/one a/two - ", "samples have the label branch: feature-<name>");
    assert_eq!(members("some"), " - ", "it has two keys, of which one is allowed");
    assert!(matches!(table.get("one"), Some(TableEntry::Sandbox(_))));
    // It has the name of that sandbox, too.
    assert!(table.sandbox_key_taken(&sandboxes[0]).is_none());
    assert_eq!(table.group_key_taken(&groups[5]).unwrap().reason(), "KeyTaken");
    assert!(table.group_key_taken(&groups[0]).is_none());
}

#[test]
fn a_store_that_has_not_answered_leaves_keys_unknown() {
    let ready = store([&sandbox(Some("a"), "v2", 500, "")], []);
    let failed = StoreState::Failed("forbidden".into());
    assert_eq!(SandboxTable::new([&ready], now()).unknown(), None);
    assert_eq!(SandboxTable::new([&ready, &StoreState::Pending], now()).unknown(), Some(&Unknown::Pending));
    let table = SandboxTable::new([&StoreState::Pending, &ready, &failed], now());
    assert_eq!(table.unknown(), Some(&Unknown::Failed("forbidden".into())));
    assert_eq!(holders(&table), ["v2: a/v2"]);
}

#[test]
fn a_group_of_too_many_sandboxes_is_refused() {
    let label = LabelPattern { key: "branch".to_owned(), value: "*".to_owned() };
    let group = group("a", "all", GroupSpec { label: Some(label), ..GroupSpec::default() });
    let sandboxes: Vec<_> =
        (0..=MAX_MEMBERS).map(|n| sandbox(Some("a"), &format!("n{n}"), 500, "")).collect();
    let members = |count: usize| {
        let table = SandboxTable::new([&store(&sandboxes[..count], [&group])], now());
        match table.get("all") {
            Some(TableEntry::Group(found)) => {
                found.group.members.as_ref().map(|_| found.members.len()).map_err(Clone::clone)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(members(MAX_MEMBERS), Ok(MAX_MEMBERS));
    assert_eq!(members(MAX_MEMBERS + 1), Err(SandboxRefusal::TooManyMembers { count: MAX_MEMBERS + 1 }));
}
