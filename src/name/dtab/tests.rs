//! Dtabs as values, and their lookup.

use std::hash::{BuildHasher, RandomState};

use super::super::Path;
use super::{Dtab, WALKED};

fn dtab(text: &str) -> Dtab {
    text.parse().unwrap()
}

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

#[test]
fn one_step() {
    for (table, name, expected) in [
        ("", "/a", "~"),
        ("/b=>/c", "/a", "~"),
        ("/a=>/b", "/a", "/b"),
        ("/a=>/b", "/a/x/y", "/b/x/y"),
        ("/a=>/b", "/ab", "~"),
        ("/=>/x", "/a/b", "/x/a/b"),
        ("/=>/x", "/", "/x"),
        ("/a=>/", "/a/b", "/b"),
        ("/a=>/", "/a", "/"),
        // Later entries come first.
        ("/a=>/b;/a=>/c", "/a/x", "/c/x | /b/x"),
        // Only the position counts.
        ("/a/b=>/x;/a=>/y", "/a/b", "/y/b | /x"),
        // What the wildcard stood for is dropped.
        ("/a/*=>/b", "/a/x/y", "/b/y"),
        ("/*=>/b", "/", "~"),
        // The residual goes to leaves only.
        ("/a=>/b | 0.5*/c & ~ | ! | $", "/a/x", "/b/x | 0.50*/c/x & ~ | ! | $"),
        // Not flattened.
        ("/a=>/b | /c;/a=>/d", "/a", "/d | (/b | /c)"),
        // One ~ is like no match, two are not.
        ("/a=>~", "/a", "~"),
        ("/a=>~;/a=>~", "/a", "~ | ~"),
    ] {
        assert_eq!(dtab(table).lookup(&path(name)).to_string(), expected, "{table} {name}");
    }
}

#[test]
fn matches_come_last_first_with_their_positions() {
    let table = dtab("/a=>/0;/b=>/1;/=>/2").concat(&dtab("/a/b=>/3")).concat(&dtab("/c=>/4;/*=>/5"));
    let name = path("/a/b/c");
    let found: Vec<_> =
        table.matches(&name).map(|(at, dentry, rest)| (at, format!("{dentry} {rest}"))).collect();
    let expected = [(5, "/*=>/5 /b/c"), (3, "/a/b=>/3 /c"), (2, "/=>/2 /a/b/c"), (0, "/a=>/0 /b/c")];
    assert_eq!(found, expected.map(|(at, text)| (at, text.to_owned())));
}

#[test]
fn equality_is_that_of_the_entries() {
    let whole = dtab("/a=>/b;/c=>/d;/e=>/f");
    let parts = dtab("/a=>/b").concat(&Dtab::empty()).concat(&dtab("/c=>/d;/e=>/f"));
    assert_eq!(parts, whole);
    assert_eq!((parts.len(), parts.is_empty()), (3, false));
    assert_eq!(parts.to_string(), whole.to_string());
    assert_eq!(format!("{parts:?}"), "Dtab(/a=>/b;/c=>/d;/e=>/f)");
    let state = RandomState::new();
    assert_eq!(state.hash_one(&parts), state.hash_one(&whole));
    assert!(parts.iter().rev().eq(whole.iter().rev()));

    for other in ["", "/a=>/b;/c=>/d", "/c=>/d;/a=>/b;/e=>/f", "/a=>/b | ~;/c=>/d;/e=>/f"] {
        assert_ne!(whole, dtab(other), "{other}");
    }
    assert_eq!(Dtab::empty(), dtab(""));
    assert_eq!(Dtab::empty().concat(&Dtab::empty()), Dtab::empty());
    assert_eq!(Dtab::empty().concat(&whole), whole);
}

#[test]
fn appending_shares_both_sides() {
    let base = dtab(&"/a=>/b;".repeat(10_000));
    let whole = base.concat(&dtab("/a=>/c"));
    assert!(std::ptr::eq(base.iter().next().unwrap(), whole.iter().next().unwrap()));
    assert_eq!(whole.len(), 10_001);
}

#[test]
fn an_index_finds_what_a_walk_finds() {
    let deep = "/x".repeat(12);
    let mut text =
        format!("/=>/root;/*=>/any;{deep}=>/deep;{deep}/y=>/deeper;/*/b=>/any-b;/a/*=>/a-any;/a=>/a;");
    for i in 0..100 {
        text += &format!("/host/h{i}=>/srv/{i};/host/*/v{i}=>/v/{i};/host/h{}=>/again/{i};", i / 2);
    }
    let indexed = dtab(&text);
    assert!(indexed.parts.iter().all(|part| part.index.is_some()));
    let walked = indexed
        .iter()
        .fold(Dtab::empty(), |walked, dentry| walked.concat(&[dentry.clone()].into_iter().collect()));
    let deepest = format!("{deep}/y/z");
    for name in
        ["/", "/a", "/a/b", "/a/b/c", "/b", "/host", "/host/h7/x", "/host/h7/v9", &deep, &deepest, "/x/x"]
    {
        let name = path(name);
        assert!(indexed.matches(&name).eq(walked.matches(&name)), "{name}");
        assert_eq!(indexed.lookup(&name), walked.lookup(&name));
    }
}

#[test]
fn only_long_parts_have_an_index() {
    for (len, has) in [(1, false), (WALKED, false), (WALKED + 1, true)] {
        let table = dtab(&"/a=>/b;".repeat(len));
        assert!(table.parts.iter().all(|part| part.index.is_some() == has), "{len}");
    }
}
