use super::{PathMatcher, PatternError, Template};
use crate::name::Path;

/// Fills `template` with what `pattern` captures from `path`; None when it does not match.
fn fill(pattern: &str, template: &str, path: &str) -> Option<String> {
    let matcher: PathMatcher = pattern.parse().unwrap();
    let template = Template::compile(template, &matcher).unwrap();
    let path: Path = path.parse().unwrap();
    let filled = template.fill(&matcher.captures(&path)?)?;
    Some(filled.to_string())
}

#[test]
fn matches_and_fills() {
    let cases = [
        ("/foo/bar", "/x", "/foo/bar", Some("/x")),
        ("/foo/bar", "/x", "/foo/bar/bas", Some("/x")),
        ("/foo/bar", "/x", "/foo/goo", None),
        ("/foo/bar", "/x", "/foo", None),
        ("/foo/bar", "/x", "/", None),
        ("/foo/*/*", "/x", "/foo/hi/there", Some("/x")),
        ("/foo/*", "/x", "/foo", None),
        ("/foo/{A}", "/{A}", "/foo/bar/bas", Some("/bar")),
        ("/foo/{A}/*/{B}", "/{B}/and/{A}", "/foo/boo/bar/bas", Some("/bas/and/boo")),
        ("/foo/{A}/bar", "/{A}", "/foo/bar/bad", None),
        ("/foo/bar/{A}:http", "/{A}", "/foo/bar/bas:http", Some("/bas")),
        ("/foo/{A}:http", "/{A}", "/foo/bar/bas:http", None),
        ("/foo/{A}:http/{B}", "/{B}/{A}", "/foo/a:http/b", Some("/b/a")),
        // Anchored at both ends of an element.
        ("/{x}-v1", "/{x}", "/foo-v1", Some("/foo")),
        ("/{x}-v1", "/{x}", "/foo-v1-bar", None),
        ("/v1-{x}", "/{x}", "/xv1-foo", None),
        ("/a.b", "/x", "/aXb", None),
        // Several captures in one element, greedy from the left.
        ("/{a}.{b}", "/{a}/{b}", "/x.y.z", Some("/x.y/z")),
        ("/{a}.{b}.{c}", "/{a}/{b}/{c}", "/1.2.3.4", Some("/1.2/3/4")),
        ("/{a}.{b}.{c}", "/{a}/{b}/{c}", "/1.2", None),
        ("/{a}--{b}", "/{a}/{b}", "/x---y", Some("/x-/y")),
        ("/a{x}a", "/r{x}", "/aa", Some("/r")),
        ("/a{x}a", "/r{x}", "/a", None),
        ("/{a}{b}", "/r{a}/r{b}", "/xyz", Some("/rxyz/r")),
        // An empty capture is a capture, but an empty element is no element.
        ("/{x}-v1", "/svc-{x}", "/-v1", Some("/svc-")),
        ("/{x}-v1", "/{x}", "/-v1", None),
        ("/{x}/{x}", "/{x}", "/a/b", Some("/b")),
        ("/{a.b:c_1}", "/{a.b:c_1}", "/v", Some("/v")),
        ("foo/{x}/", "/{x}", "/foo/a", Some("/a")),
        ("/", "/srv", "/any/thing", Some("/srv")),
        // Bytes stay within their element.
        ("/{x}", "/srv/{x}", r"/\x2f\xff", Some(r"/srv/\x2f\xff")),
        ("/{x}", "/srv/{x}-1", r"/a\x20b", Some(r"/srv/\x61\x20\x62\x2d\x31")),
        (r"/a\x20b", "/x", r"/a\x20b", Some("/x")),
        (r"/\x2a", "/x", "/a", None),
        (r"/\x2a", "/x", r"/\x2a", Some("/x")),
        ("/x", r"/a\x20b", "/x", Some(r"/\x61\x20\x62")),
        ("/x", " /a ", "/x", Some("/a")),
    ];
    for (pattern, template, path, expected) in cases {
        let filled = fill(pattern, template, path);
        assert_eq!(filled.as_deref(), expected, "{pattern} {template} {path}");
    }
}

#[test]
fn refuses() {
    let patterns = [
        ("/a//b", PatternError::EmptyElement("/a//b".into())),
        ("/{a", PatternError::Brace("{a".into())),
        ("/a}", PatternError::Brace("a}".into())),
        ("/{}", PatternError::Brace("{}".into())),
        ("/{{a}}", PatternError::Brace("{{a}}".into())),
        ("/{a/b}", PatternError::Brace("{a".into())),
        ("/a*", PatternError::Star("a*".into())),
        ("/**", PatternError::Star("**".into())),
        (r"/a\n", PatternError::Escape(r"a\n".into())),
        (r"/a\x2", PatternError::Escape(r"a\x2".into())),
        (r"/a\x+1", PatternError::Escape(r"a\x+1".into())),
        (r"/a\xé", PatternError::Escape(r"a\xé".into())),
    ];
    for (pattern, expected) in patterns {
        assert_eq!(pattern.parse::<PathMatcher>(), Err(expected), "{pattern}");
    }
    let matcher: PathMatcher = "/{a}".parse().unwrap();
    assert_eq!(Template::compile("/{b}", &matcher), Err(PatternError::Unknown("b".into())));
    assert_eq!(Template::compile("/{a}}", &matcher), Err(PatternError::Brace("/{a}}".into())));
    assert_eq!(Template::compile("/a # b", &matcher), Err(PatternError::Blank("/a # b".into())));
    for template in ["a/{a}", "/a//{a}", "/a(", "", "/{a}/"] {
        let refused = Template::compile(template, &matcher);
        assert!(matches!(refused, Err(PatternError::Path(_))), "{template:?}: {refused:?}");
    }
}

#[test]
fn hostile_elements_are_matched_in_linear_time() {
    let matcher: PathMatcher = "/{a}x{b}aab{c}ab{d}a{e}b".parse().unwrap();
    for elem in ["ab".repeat(500_000), "a".repeat(1_000_000) + "b", "aab".repeat(300_000)] {
        assert_eq!(matcher.captures(&Path::from_elems([elem])), None);
    }
}
