//! Prefixes as values.

use super::super::Path;
use super::{Element, Prefix};

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

#[test]
fn a_prefix_matches_whole_elements() {
    for (pattern, path, residual) in [
        ("/", "/", Some("/")),
        ("/", "/a/b", Some("/a/b")),
        ("/a", "/a", Some("/")),
        ("/a", "/a/b", Some("/b")),
        ("/a", "/ab", None),
        ("/a", "/", None),
        ("/a/b", "/a", None),
        ("/*", "/", None),
        ("/*", "/a", Some("/")),
        ("/*", "/a/b", Some("/b")),
        ("/*/b/*", "/a/b/c/d", Some("/d")),
        ("/*/b/*", "/a/b", None),
        ("/*/b/*", "/a/c/c", None),
        ("/*/*", "/a", None),
        // A literal star is no wildcard.
        (r"/\x2a", "/a", None),
        (r"/\x2a", r"/\x2a/b", Some("/b")),
        ("/*", r"/\x2a", Some("/")),
    ] {
        let path: Path = path.parse().unwrap();
        let pattern = prefix(pattern);
        assert_eq!(pattern.matches(&path), residual.is_some(), "{pattern} {path}");
        assert_eq!(pattern.residual(&path), residual.map(|text| text.parse().unwrap()), "{pattern} {path}");
    }
}

#[test]
fn a_prefix_covers_those_at_or_below_it() {
    for (above, below, covers) in [
        ("/", "/", true),
        ("/", "/*", true),
        ("/a", "/a", true),
        ("/a", "/a/*/b", true),
        ("/a/b", "/a", false),
        ("/a", "/*", false),
        ("/*", "/a", true),
        ("/*", "/*", true),
        ("/*", r"/\x2a", true),
        (r"/\x2a", "/*", false),
        ("/*/b", "/a/b/c", true),
        ("/*/b", "/a/c", false),
    ] {
        assert_eq!(prefix(above).covers(&prefix(below)), covers, "{above} {below}");
    }
}

#[test]
fn wildcards_and_stars_are_different() {
    let both = Prefix::from_elems([Element::Any, Element::Label(b"*"), Element::Label(b"a b")]);
    assert_eq!(both.to_string(), r"/*/\x2a/\x61\x20\x62");
    assert_eq!(format!("{both:?}"), r"Prefix(/*/\x2a/\x61\x20\x62)");
    assert_eq!(prefix(&both.to_string()), both);
    assert_eq!(
        both.elems().collect::<Vec<_>>(),
        [Element::Any, Element::Label(b"*"), Element::Label(b"a b")]
    );
    assert_eq!(both.len(), 3);
    assert_eq!(Prefix::from(&Path::from_elems(["*"])), prefix(r"/\x2a"));
}

#[test]
fn operations_compare_wildcards_as_elements() {
    for (whole, start, rest) in [
        ("/*/a", "/*", Some("/a")),
        ("/a/*", "/a", Some("/*")),
        ("/a/*", "/*", None),
        ("/*", "/a", None),
        ("/a", "/", Some("/a")),
        ("/", "/a", None),
    ] {
        let (whole, start) = (prefix(whole), prefix(start));
        assert_eq!(whole.starts_with(&start), rest.is_some(), "{whole} {start}");
        assert_eq!(whole.drop_prefix(&start), rest.map(prefix), "{whole} {start}");
        if let Some(rest) = rest {
            assert_eq!(start.concat(&prefix(rest)), whole);
        }
    }
}

#[test]
fn the_empty_prefix() {
    assert_eq!(prefix("/"), Prefix::empty());
    assert_eq!(Prefix::from_elems([] as [Element<'_>; 0]), Prefix::empty());
    assert!(Prefix::empty().is_empty());
    assert_eq!(Prefix::empty().to_string(), "/");
}

#[test]
#[should_panic = "a label of a prefix is never empty"]
fn an_empty_label_panics() {
    let _ = Prefix::from_elems([Element::Label(b"")]);
}
