//! The two printed forms.

use super::super::NameTree::{self, Alt, Empty, Fail, Leaf, Neg, Union};
use super::super::{Dentry, Dtab, Path, Weighted};

fn w(weight: f64, tree: NameTree<Path>) -> Weighted<Path> {
    Weighted { weight, tree }
}

fn leaf(name: &str) -> NameTree<Path> {
    Leaf(Path::from_elems([name]))
}

#[test]
fn weights() {
    let zeros = |n: usize| "0".repeat(n);
    for (weight, canonical, exact) in [
        (1.0, "", String::new()),
        (0.0, "0.00*", "0*".into()),
        (-0.0, "-0.00*", "-0*".into()),
        (2.0, "2.00*", "2*".into()),
        (0.5, "0.50*", "0.5*".into()),
        (0.3, "0.30*", "0.3*".into()),
        // Half goes up on the shortest decimal form, whatever the bits behind it say.
        (0.125, "0.13*", "0.125*".into()),
        (0.005, "0.01*", "0.005*".into()),
        (0.004, "0.00*", "0.004*".into()),
        (0.0049999, "0.00*", "0.0049999*".into()),
        (1.005, "1.01*", "1.005*".into()),
        (2.675, "2.68*", "2.675*".into()),
        (0.999, "1.00*", "0.999*".into()),
        (9.999, "10.00*", "9.999*".into()),
        (99.995, "100.00*", "99.995*".into()),
        (1.0000000000000002, "1.00*", "1.0000000000000002*".into()),
        (1e21, "1000000000000000000000.00*", "1000000000000000000000*".into()),
        (2e23, "200000000000000000000000.00*", "200000000000000000000000*".into()),
        (1e-300, "0.00*", format!("0.{}1*", zeros(299))),
        (5e-324, "0.00*", format!("0.{}5*", zeros(323))),
        (f64::INFINITY, "Infinity*", format!("1{}*", zeros(309))),
        // Only programs can make these.
        (-1.0, "-1.00*", "-1*".into()),
        (-9.999, "-10.00*", "-9.999*".into()),
        (f64::NEG_INFINITY, "-Infinity*", "-inf*".into()),
        (f64::NAN, "NaN*", "NaN*".into()),
    ] {
        let tree = Union(vec![w(weight, leaf("a")), w(1.0, leaf("b"))]);
        assert_eq!(tree.to_string(), format!("{canonical}/a & /b"));
        assert_eq!(format!("{tree:#}"), format!("{exact}/a & /b"));
        if weight.is_sign_positive() && !weight.is_nan() {
            assert_eq!(format!("{tree:#}").parse(), Ok(tree));
        }
    }
}

#[test]
fn parentheses_stand_where_they_must() {
    let ab = || Alt(vec![leaf("a"), leaf("b")]);
    let union = || Union(vec![w(0.3, leaf("c")), w(0.7, leaf("d"))]);
    for (tree, expected) in [
        (Neg, "~"),
        (Fail, "!"),
        (Empty, "$"),
        (Leaf(Path::empty()), "/"),
        (ab(), "/a | /b"),
        (union(), "0.30*/c & 0.70*/d"),
        (Alt(vec![union(), ab()]), "0.30*/c & 0.70*/d | (/a | /b)"),
        (Alt(vec![ab(), leaf("c")]), "(/a | /b) | /c"),
        (Union(vec![w(1.0, union()), w(2.0, ab())]), "(0.30*/c & 0.70*/d) & 2.00*(/a | /b)"),
        // One child stands for itself, on every level and also in several layers.
        (Alt(vec![leaf("a")]), "/a"),
        (Union(vec![w(5.0, leaf("a"))]), "/a"),
        (Union(vec![w(5.0, Alt(vec![union()]))]), "0.30*/c & 0.70*/d"),
        (Alt(vec![Alt(vec![union()]), leaf("a")]), "0.30*/c & 0.70*/d | /a"),
        (Union(vec![w(1.0, Alt(vec![leaf("a")])), w(2.0, Union(vec![w(3.0, ab())]))]), "/a & 2.00*(/a | /b)"),
        // Nothing, which does not read back.
        (Alt(vec![]), ""),
        (Union(vec![]), ""),
        (Alt(vec![Union(vec![]), leaf("a")]), " | /a"),
        (Alt(vec![Alt(vec![]), leaf("a")]), "() | /a"),
        (Union(vec![w(1.0, Union(vec![])), w(2.0, Alt(vec![]))]), "() & 2.00*()"),
    ] {
        assert_eq!(tree.to_string(), expected);
    }
}

#[test]
fn entries_have_no_blanks_around_the_arrow() {
    let dtab: Dtab = "/a => /b ; /c/* => /d|0.5*/e&0.25*/f;".parse().unwrap();
    assert_eq!(dtab.to_string(), "/a=>/b;/c/*=>/d | 0.50*/e & 0.25*/f");
    assert_eq!(format!("{dtab:#}"), "/a=>/b;/c/*=>/d | 0.5*/e & 0.25*/f");
    assert_eq!(Dtab::empty().to_string(), "");
    let nop = Dentry { prefix: (&Path::from_elems(["/"])).into(), dst: Neg };
    assert_eq!(nop.to_string(), r"/\x2f=>~");
}

#[test]
fn strings_in_json_are_exact() {
    let dtab: Dtab = "/a => 0.125*/b & /c".parse().unwrap();
    assert_eq!(serde_json::to_string(&dtab).unwrap(), r#""/a=>0.125*/b & /c""#);
    assert_eq!(serde_json::from_str::<Dtab>(r#""/a=>0.125*/b & /c""#).unwrap(), dtab);
    assert_eq!(serde_json::from_str::<Path>(r#""/a/b""#).unwrap(), Path::from_elems(["a", "b"]));
    let error = serde_json::from_str::<Path>(r#""a""#).unwrap_err().to_string();
    assert!(error.starts_with("expected '/', found 'a'\n1 | a\n  | ^"), "{error}");
    let error = serde_json::from_str::<Path>("1").unwrap_err().to_string();
    assert!(error.contains("expected a path such as /svc/users"), "{error}");
}
