//! Paths as values.

use super::{Path, PathBuf};

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

#[test]
fn elements_are_bytes() {
    let elems: [&[u8]; 4] = [b"svc", b"a/b", b"\0", b"\xff\xfe"];
    let path = Path::from_elems(elems);
    assert_eq!(path.elems().collect::<Vec<_>>(), elems);
    assert_eq!(path.len(), 4);
    assert_eq!(path.first(), Some(elems[0]));
    assert_eq!(path.to_string(), r"/svc/\x61\x2f\x62/\x00/\xff\xfe");
    assert_eq!(format!("{path:?}"), r"Path(/svc/\x61\x2f\x62/\x00/\xff\xfe)");
}

#[test]
fn the_empty_path() {
    for empty in [Path::empty(), Path::default(), Path::from_elems([b""; 0]), path("/")] {
        assert_eq!(empty, Path::empty());
        assert!(empty.is_empty());
        assert_eq!(empty.len(), 0);
        assert_eq!(empty.first(), None);
        assert_eq!(empty.to_string(), "/");
    }
}

#[test]
#[should_panic = "an element of a path is never empty"]
fn an_empty_element_panics() {
    let _ = Path::from_elems(["a", ""]);
}

#[test]
fn operations_work_on_whole_elements() {
    for (whole, prefix, rest) in [
        ("/a/b", "/", Some("/a/b")),
        ("/a/b", "/a", Some("/b")),
        ("/a/b", "/a/b", Some("/")),
        ("/a/b", "/a/b/c", None),
        ("/a/b", "/b", None),
        ("/ab", "/a", None),
        ("/a", "/ab", None),
        ("/A", "/a", None),
        ("/", "/", Some("/")),
        ("/", "/a", None),
    ] {
        let (whole, prefix) = (path(whole), path(prefix));
        assert_eq!(whole.starts_with(&prefix), rest.is_some(), "{whole} {prefix}");
        assert_eq!(whole.drop_prefix(&prefix), rest.map(path), "{whole} {prefix}");
        if let Some(rest) = rest {
            assert_eq!(prefix.concat(&path(rest)), whole);
        }
    }
    let whole = path("/a/bc/d");
    for (n, taken, skipped) in [
        (0, "/", "/a/bc/d"),
        (1, "/a", "/bc/d"),
        (2, "/a/bc", "/d"),
        (3, "/a/bc/d", "/"),
        (9, "/a/bc/d", "/"),
    ] {
        assert_eq!(whole.take(n), path(taken));
        assert_eq!(whole.skip(n), path(skipped));
    }
}

#[test]
fn order_is_by_element() {
    let ordered = ["/", "/a", "/a/a", "/a/b", r"/a\x00", "/a-b", "/aa", "/b", "/b/a", r"/\xff"].map(path);
    let mut sorted = ordered.clone();
    sorted.reverse();
    sorted.sort();
    assert_eq!(sorted, ordered);
}

#[test]
fn a_buffer_builds_the_same_path() {
    let mut buf = PathBuf::new();
    assert!(buf.is_empty());
    buf.push(b"a");
    buf.push(b"");
    buf.extend(&path("/b/c"));
    assert_eq!(buf.to_path(), path("/a/b/c"));
    assert_eq!(buf.as_encoded(), path("/a/b/c").as_encoded());
    assert_eq!(buf.elems().collect::<Vec<_>>(), [b"a", b"b", b"c"]);
    assert_eq!(format!("{buf:?}"), "PathBuf(/a/b/c)");
    buf.clear();
    assert_eq!(buf.to_path(), Path::empty());
}

#[test]
fn encodings_differ_where_paths_do() {
    assert_ne!(Path::from_elems(["ab", "c"]).as_encoded(), Path::from_elems(["a", "bc"]).as_encoded());
    assert_ne!(Path::from_elems(["a\0\0\0\x01b"]).as_encoded(), Path::from_elems(["a", "b"]).as_encoded());
}
