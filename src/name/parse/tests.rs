//! The values of texts, and the errors of texts that have none.

use super::super::NameTree::{self, Alt, Leaf, Union};
use super::super::{Dentry, Dtab, Element, Path, Prefix, Weighted};
use super::scan::{self, Mark};

/// The message of a text that does not read, in which `^` follows the byte offset: `3^expected ..., found ...`.
macro_rules! refusal {
    ($type:ty, $text:expr) => {{
        let error = $text.parse::<$type>().expect_err(&format!("{:?} does not read", $text));
        let message = error.to_string();
        format!("{}^{}", error.offset, message.lines().next().unwrap())
    }};
}

#[test]
fn paths() {
    for (text, elems) in [
        ("/", &[][..]),
        (" / ", &[]),
        ("/ # c", &[]),
        ("# c\n/", &[]),
        ("/foo", &[&b"foo"[..]]),
        ("\t/foo\r\n", &[b"foo"]),
        ("/a/../b", &[b"a", b"..", b"b"]),
        ("/.", &[b"."]),
        ("/foo%20bar", &[b"foo%20bar"]),
        ("/#/x", &[b"#", b"x"]),
        ("/foo#bar", &[b"foo#bar"]),
        ("/foo#", &[b"foo#"]),
        ("/foo #bar", &[b"foo"]),
        ("/foo # a\r# b", &[b"foo"]),
        ("/0Az_:.#$%-", &[b"0Az_:.#$%-"]),
        // Escapes are bytes and never structure.
        (r"/\x66oo", &[b"foo"]),
        (r"/f\x6Fo/\x2f", &[b"foo", b"/"]),
        (r"/\x2a", &[b"*"]),
        (r"/\x00\xff", &[b"\0\xff"]),
        (r"/\x5cx41", &[b"\\x41"]),
        // What the JVM calls white space.
        (
            "\u{b}\u{c}\u{1c}\u{1f}\u{1680}\u{2000}\u{2006}\u{2008}\u{200a}\u{2028}\u{2029}\u{205f}\u{3000}/a",
            &[b"a"],
        ),
    ] {
        let path: Path = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(path.elems().collect::<Vec<_>>(), elems, "{text:?}");
    }
}

#[test]
fn no_paths() {
    for (text, expected) in [
        ("", "0^expected '/', found end of input"),
        (" # c", "4^expected '/', found end of input"),
        ("foo", "0^expected '/', found 'f'"),
        ("/foo/", "5^expected a label character, found end of input"),
        ("/foo/ ", "5^expected a label character, found ' '"),
        ("/foo//bar", "5^expected a label character, found '/'"),
        ("//", "1^expected a label character or end of input, found '/'"),
        ("//foo", "1^expected a label character or end of input, found '/'"),
        ("/# c", "3^expected end of input, found 'c'"),
        ("/*", "1^expected a label character or end of input, found '*'"),
        ("/a~", "2^expected a label character, '/' or end of input, found '~'"),
        ("/a,b", "2^expected a label character, '/' or end of input, found ','"),
        ("/é", "1^expected a label character or end of input, found 'é'"),
        ("/a b", "3^expected end of input, found 'b'"),
        ("/foo^bar", "4^expected a label character, '/' or end of input, found '^'"),
        ("/a'", "2^expected a label character, '/' or end of input, found \"'\""),
        ("/a\0", "2^expected a label character, '/' or end of input, found '\\0'"),
        (r"/\\", "2^expected 'x', found '\\\\'"),
        (r"/a\n", "3^expected 'x', found 'n'"),
        (r"/a\X41", "3^expected 'x', found 'X'"),
        (r"/a\x4", "5^expected a hexadecimal digit, found end of input"),
        (r"/a\x4g", "5^expected a hexadecimal digit, found 'g'"),
        (r"/a\xg", "4^expected a hexadecimal digit, found 'g'"),
        // Not white space to the JVM.
        ("\u{85}/a", "0^expected '/', found '\\u{85}'"),
        ("\u{a0}/a", "0^expected '/', found '\\u{a0}'"),
        ("\u{2007}/a", "0^expected '/', found '\\u{2007}'"),
        ("\u{202f}/a", "0^expected '/', found '\\u{202f}'"),
        ("\u{feff}/a", "0^expected '/', found '\\u{feff}'"),
    ] {
        assert_eq!(refusal!(Path, text), expected, "{text:?}");
    }
}

#[test]
fn prefixes() {
    use Element::{Any, Label};
    for (text, elems) in [
        ("/", &[][..]),
        ("/*", &[Any]),
        (" /*/b/* # c", &[Any, Label(b"b"), Any]),
        (r"/\x2a/a\x2a", &[Label(b"*"), Label(b"a*")]),
    ] {
        let prefix: Prefix = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(prefix.elems().collect::<Vec<_>>(), elems, "{text:?}");
    }
    for (text, expected) in [
        ("/^", "1^expected a label character, '*' or end of input, found '^'"),
        ("/a*", "2^expected a label character, '/' or end of input, found '*'"),
        ("/*a", "2^expected '/' or end of input, found 'a'"),
        ("/**", "2^expected '/' or end of input, found '*'"),
        ("/*/", "3^expected a label character or '*', found end of input"),
    ] {
        assert_eq!(refusal!(Prefix, text), expected, "{text:?}");
    }
}

fn leaf(name: &str) -> NameTree<Path> {
    Leaf(Path::from_elems([name]))
}

fn w(weight: f64, tree: NameTree<Path>) -> Weighted<Path> {
    Weighted { weight, tree }
}

#[test]
fn trees() {
    let (a, b, c) = (|| leaf("a"), || leaf("b"), || leaf("c"));
    let ab = || Alt(vec![a(), b()]);
    for (text, tree) in [
        ("/a", a()),
        ("~", NameTree::Neg),
        ("!", NameTree::Fail),
        (" $ ", NameTree::Empty),
        ("~#c", NameTree::Neg),
        ("/", Leaf(Path::empty())),
        ("/a|/b", ab()),
        ("/a |\n/b # c", ab()),
        ("/ | /b", Alt(vec![Leaf(Path::empty()), b()])),
        // One arm or branch stands for itself, and its weight is thrown away.
        ("(/a)", a()),
        ("((( /a )))", a()),
        ("5*/a", a()),
        ("2*/a | 3*/b", ab()),
        ("0.3*(/a | /b)", ab()),
        // & binds tighter, and nothing is flattened.
        ("/a | /b & /c", Alt(vec![a(), Union(vec![w(1.0, b()), w(1.0, c())])])),
        ("/a & /b | /c", Alt(vec![Union(vec![w(1.0, a()), w(1.0, b())]), c()])),
        ("(/a | /b) | /c", Alt(vec![ab(), c()])),
        ("/a | /b | /c", Alt(vec![a(), b(), c()])),
        ("(/a & /b) & /c", Union(vec![w(1.0, Union(vec![w(1.0, a()), w(1.0, b())])), w(1.0, c())])),
        ("/a & (/b | /c)", Union(vec![w(1.0, a()), w(1.0, Alt(vec![b(), c()]))])),
        ("2*(3*/a & /b) & /c", Union(vec![w(2.0, Union(vec![w(3.0, a()), w(1.0, b())])), w(1.0, c())])),
        // Numbers.
        ("1.*/a & .5*/b", Union(vec![w(1.0, a()), w(0.5, b())])),
        ("0*/a & 007.250 # c\n * # d\n /b", Union(vec![w(0.0, a()), w(7.25, b())])),
        (&format!("1{}*/a & /b", "0".repeat(400)), Union(vec![w(f64::INFINITY, a()), w(1.0, b())])),
        (&format!(".{}1*/a & /b", "0".repeat(400)), Union(vec![w(0.0, a()), w(1.0, b())])),
    ] {
        assert_eq!(text.parse(), Ok(tree), "{text}");
    }
}

#[test]
fn no_trees() {
    let simple = "expected '/', a weight, '(', '~', '!' or '$'";
    for (text, expected) in [
        ("", format!("0^{simple}, found end of input")),
        ("()", format!("1^{simple}, found ')'")),
        ("/a |", format!("4^{simple}, found end of input")),
        ("/a & ", format!("5^{simple}, found end of input")),
        ("/a || /b", format!("4^{simple}, found '|'")),
        ("-1*/a", format!("0^{simple}, found '-'")),
        ("*/a", format!("0^{simple}, found '*'")),
        ("٣*/a", format!("0^{simple}, found '٣'")),
        ("/*", "1^expected a label character, '&', '|' or end of input, found '*'".into()),
        ("5", "1^expected '*', found end of input".into()),
        ("5/a", "1^expected '*', found '/'".into()),
        ("5e3*/a", "1^expected '*', found 'e'".into()),
        ("5٣*/a", "1^expected '*', found '٣'".into()),
        ("5*", "2^expected '/', '(', '~', '!' or '$', found end of input".into()),
        ("2*3*/a", "2^expected '/', '(', '~', '!' or '$', found '3'".into()),
        // A lone dot, after the dot; a second dot.
        (".*/a", "1^expected a digit, found '*'".into()),
        ("1.2.3*/a", "3^expected '*', found '.'".into()),
        ("1..*/a", "2^expected a digit or '*', found '.'".into()),
        ("(/a", "3^expected a label character, '/', '&', '|' or ')', found end of input".into()),
        ("(/a ", "4^expected '&', '|' or ')', found end of input".into()),
        ("/a)", "2^expected a label character, '/', '&', '|' or end of input, found ')'".into()),
        ("/a /b", "3^expected '&', '|' or end of input, found '/'".into()),
        ("~~", "1^expected '&', '|' or end of input, found '~'".into()),
    ] {
        assert_eq!(refusal!(NameTree<Path>, text), expected, "{text:?}");
    }
}

#[test]
fn dtabs() {
    for (text, len) in [
        ("", 0),
        ("  ", 0),
        ("# c", 0),
        ("# c\n", 0),
        ("/a=>/b", 1),
        ("/a=>/b;", 1),
        ("/a=>/b; # c", 1),
        ("/a=>/b;/c=>/d|0.5*/e&0.5*/f", 2),
        (" /a # x\n =># y\n /b # z\n ; # c\n\n /*=>~ ", 2),
    ] {
        let dtab: Dtab = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(dtab.len(), len, "{text:?}");
    }
    let dentry: Dentry = " /a/* => /b # c".parse().unwrap();
    assert_eq!(dentry, Dentry { prefix: "/a/*".parse().unwrap(), dst: leaf("b") });
}

#[test]
fn no_dtabs() {
    for (text, expected) in [
        (";", "0^expected '/' or end of input, found ';'"),
        (";/a=>/b", "0^expected '/' or end of input, found ';'"),
        ("/a=>/b;;", "7^expected '/' or end of input, found ';'"),
        ("/a=>/b; ;", "8^expected '/' or end of input, found ';'"),
        ("/a", "2^expected a label character, '/' or '=>', found end of input"),
        ("/a = > /b", "3^expected '=>', found '='"),
        ("/a /b", "3^expected '=>', found '/'"),
        ("/a =>", "5^expected '/', a weight, '(', '~', '!' or '$', found end of input"),
        ("/a => ;", "6^expected '/', a weight, '(', '~', '!' or '$', found ';'"),
        // A line feed separates nothing.
        (
            "/a => /b\n/c => /d",
            "9^expected '&', '|', ';' or end of input, found '/' (is a `;` missing at the end of the line before?)",
        ),
        (
            "/a => /b # why\n\n  /c => /d",
            "18^expected '&', '|', ';' or end of input, found '/' (is a `;` missing at the end of the line before?)",
        ),
        // Wildcards are for the left side.
        ("/a => /*", "7^expected a label character, '&', '|', ';' or end of input, found '*'"),
    ] {
        assert_eq!(refusal!(Dtab, text), expected, "{text:?}");
    }
    assert_eq!(refusal!(Dentry, ""), "0^expected '/', found end of input");
    assert_eq!(
        refusal!(Dentry, "/a=>/b;"),
        "6^expected a label character, '/', '&', '|' or end of input, found ';'"
    );
}

#[test]
fn an_error_points_at_its_place() {
    let error = "# é\n/svc => /host;\n/é => /b".parse::<Dtab>().unwrap_err();
    assert_eq!((error.offset, error.line, error.column), (21, 3, 2));
    assert_eq!(error.expected, ["a label character", "'*'", "'=>'"]);
    assert_eq!(error.found, Some('é'));
    assert_eq!(error.to_string(), "expected a label character, '*' or '=>', found 'é'\n3 | /é => /b\n  |  ^");
}

#[test]
fn nesting_is_refused_before_it_is_read() {
    let nested = |depth: usize| format!("{}/a{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(nested(100).parse(), Ok(leaf("a")));
    assert_eq!(refusal!(NameTree<Path>, nested(101)), "100^expected at most 100 open parentheses, found '('");
    assert_eq!(
        refusal!(Dtab, format!("/a=>{}", nested(500_000))),
        "104^expected at most 100 open parentheses, found '('"
    );
    // Parentheses side by side, in comments, and in labels that hold a #, do not count.
    let beside = vec!["(/a)"; 500].join("|");
    assert!(beside.parse::<NameTree<Path>>().is_ok());
    assert!(format!("#{}\n/a # {}", "(".repeat(500), "(".repeat(500)).parse::<NameTree<Path>>().is_ok());
    let hash = format!("/#{}", "(".repeat(500));
    assert_eq!(refusal!(NameTree<Path>, hash), "102^expected at most 100 open parentheses, found '('");
}

#[test]
fn marks_are_what_stands_outside_labels() {
    for (text, expected) in [
        ("(/a)", vec![(0, Mark::Open), (3, Mark::Close)]),
        ("/a#(", vec![(3, Mark::Open)]),
        ("/a #(\n)", vec![(3, Mark::Comment(3..5)), (6, Mark::Close)]),
        (r"/\x41#b #c", vec![(8, Mark::Comment(8..10))]),
        ("/# #", vec![(3, Mark::Comment(3..4))]),
        ("/*#c", vec![(2, Mark::Comment(2..4))]),
        ("5#c\r\n*/a", vec![(1, Mark::Comment(1..4))]),
        ("é#é", vec![(2, Mark::Comment(2..5))]),
    ] {
        assert_eq!(scan::marks(text).collect::<Vec<_>>(), expected, "{text:?}");
    }
}

#[test]
fn long_texts_take_little_stack_and_time() {
    let len = 1 << 15;
    for text in [
        "/a=>/b;".repeat(len / 7),
        format!("/a=>{}/b", "/b|".repeat(len / 3)),
        format!("/a=>{}/b", "/b&".repeat(len / 3)),
        format!("{}=>/b", "/a".repeat(len / 2)),
        format!("/a=>/{}", "a".repeat(len)),
        format!("/a=>{}*/b", "1".repeat(len)),
        format!("/a=>{}/b", " ".repeat(len)),
        format!("/a=>{}/b", "#\n".repeat(len / 2)),
        format!("/a=>/{}", r"\x41".repeat(len / 4)),
    ] {
        assert!(text.parse::<Dtab>().is_ok(), "{text:.20}");
        assert!((text + "^").parse::<Dtab>().is_err());
    }
}
