use super::*;
use crate::sandbox::samples::{group, sandbox, store};
use crate::sandbox::{GroupSpec, StoreState};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn table() -> SandboxTable {
    let sandboxes = [
        sandbox(Some("ns"), "a", 10, "/svc/world => /a/world; /svc/users => /a/users"),
        sandbox(Some("ns"), "b", 10, "/svc/world => /b/world"),
        sandbox(Some("ns"), "same", 10, "/svc/world => /b/world"),
        sandbox(Some("ns"), "wide", 10, "/svc => /wide"),
        sandbox(Some("ns"), "bad", 10, "/svc =>"),
    ];
    let all = |names: &[&str]| GroupSpec {
        all: Some(names.iter().copied().map(str::to_owned).collect()),
        ..GroupSpec::default()
    };
    let groups = [group("ns", "both", all(&["a", "b"])), group("ns", "part", all(&["a", "c"]))];
    SandboxTable::new([&store(&sandboxes, &groups)], at(20))
}

fn overlay(keys: &str) -> Overlay {
    Overlay::new(&table(), keys, at(20))
}

#[test]
fn entries_follow_each_other_in_the_order_of_the_keys() {
    let dtab = |keys: &str| format!("{:#}", overlay(keys).dtab());
    assert_eq!(dtab("a"), "/svc/world=>/a/world;/svc/users=>/a/users");
    assert_eq!(dtab("b+a"), "/svc/world=>/b/world;/svc/world=>/a/world;/svc/users=>/a/users");
    assert_eq!(dtab("both"), dtab("a+b"));
    // A sandbox counts once, where it was named first.
    assert_eq!(dtab("both+a+b"), dtab("a+b"));
    assert_eq!(dtab("other"), "");
    let both = overlay("a+b");
    let names = (0..4).map(|position| both.sandbox_at(position).map(|sandbox| sandbox.id.to_string()));
    let expected = [Some("ns/a"), Some("ns/a"), Some("ns/b"), None];
    assert_eq!(names.collect::<Vec<_>>(), expected.map(|name| name.map(str::to_owned)));
}

#[test]
fn the_caller_is_told_what_came_of_its_keys() {
    let told = |keys: &str| {
        let overlay = overlay(keys);
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        (overlay.keys().to_owned(), text(overlay.unknown()), text(overlay.conflicts()))
    };
    let table = [
        ("a", "a", "", ""),
        ("a+other", "a", "other", ""),
        ("other", "", "other", ""),
        ("", "", "", ""),
        ("part", "part", "c", ""),
        ("a+b", "a+b", "", "/svc/world a+b"),
        ("b+a", "b+a", "", "/svc/world b+a"),
        ("both", "both", "", "/svc/world a+b"),
        // They lead to the same.
        ("b+same", "b+same", "", ""),
        // What is below the one matches the other too.
        ("b+wide", "b+wide", "", "/svc/world b+wide"),
        ("a+wide", "a+wide", "", "/svc/world a+wide, /svc/users a+wide"),
    ];
    for (keys, known, unknown, conflicts) in table {
        let expected = (known.to_owned(), unknown.to_owned(), conflicts.to_owned());
        assert_eq!(told(keys), expected, "{keys}");
    }
}

#[test]
fn a_sandbox_whose_entries_cannot_be_read_is_not_the_baseline() {
    let bad = overlay("bad");
    let refused = bad.refused().unwrap();
    assert!(
        refused.starts_with("The sandbox ns/bad is not accepted: line 1, column 8 of its dtab: "),
        "{refused}"
    );
    assert_eq!((bad.keys(), bad.unknown()), ("bad", None));
    assert_eq!(overlay("a").refused(), None);
}

#[test]
fn a_sandbox_ends_by_the_clock() {
    let table = table();
    let end = 10 + 24 * 3600;
    assert_eq!(Overlay::new(&table, "a", at(end - 1)).keys(), "a");
    assert!(!overlay("a").is_expired(at(end - 1)) && overlay("a").is_expired(at(end)));
    let ended = Overlay::new(&table, "a+part", at(end));
    assert_eq!((ended.keys(), ended.unknown()), ("part", Some("a+c+a")));
    assert!(ended.dtab().is_empty());
}

#[test]
fn an_unknown_key_may_exist_while_a_store_is_silent() {
    let ready = store([&sandbox(None, "a", 10, "")], []);
    let table = SandboxTable::new([&ready, &StoreState::Pending], at(20));
    assert_eq!(Overlay::new(&table, "a", at(20)).unsettled(), None);
    assert_eq!(Overlay::new(&table, "a+b", at(20)).unsettled(), Some(&Unknown::Pending));
}

#[test]
fn lists_that_are_told_are_bounded() {
    let keys: Vec<String> = (0..1000).map(|n| format!("key-{n}")).collect();
    let overlay = overlay(&keys.join("+"));
    let told = overlay.unknown().unwrap();
    assert!(told.len() < MOST_TOLD + 10 && told.ends_with("+..."), "{told}");
}

#[test]
fn the_key_changes_with_each_version() {
    let key = |overlay: &Overlay| {
        let mut key = Vec::new();
        overlay.write_key(&mut key);
        key
    };
    let table = table();
    let of = |keys: &str| key(&Overlay::new(&table, keys, at(20)));
    assert_eq!(of("a"), of("a"));
    assert_eq!(of("both"), of("a+b"));
    assert_ne!(of("a+b"), of("b+a"));
    assert_ne!(of("a"), key(&overlay("a")), "another version");
}
