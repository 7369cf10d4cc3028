//! Properties of names: the laws of `name_laws`, of many values.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Union as OneOf;
use signpost::name::{Dentry, Dtab, Element, NameTree, Path, PathBuf, Prefix, Weighted};

use crate::name_laws as laws;

/// Elements of any bytes; short, so that some are equal.
fn elem() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[ab]".prop_map(String::into_bytes),
        2 => "[0-9A-Za-z_:.#$%-]{1,8}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..6),
    ]
}

fn path() -> impl Strategy<Value = Path> {
    vec(elem(), 0..5).prop_map(Path::from_elems)
}

fn prefix() -> impl Strategy<Value = Prefix> {
    vec(proptest::option::weighted(0.8, elem()), 0..4).prop_map(|elems| {
        Prefix::from_elems(
            elems.iter().map(|elem| elem.as_ref().map_or(Element::Any, |elem| Element::Label(elem))),
        )
    })
}

/// All weights that a text can give.
fn weight() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(1.0),
        Just(0.0),
        Just(0.999),
        Just(1e-300),
        Just(1e21),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        Just(f64::INFINITY),
        0.0..100.0,
        any::<f64>().prop_map(f64::abs).prop_filter("a number", |weight| !weight.is_nan()),
    ]
}

/// Trees whose alternatives and unions have at least so many children. Texts give two and more.
fn tree(children: usize) -> impl Strategy<Value = NameTree<Path>> {
    let constants = [NameTree::Neg, NameTree::Fail, NameTree::Empty].map(|tree| (1, Just(tree).boxed()));
    let leaf = path().prop_map(NameTree::Leaf).boxed();
    let simple = OneOf::new_weighted(constants.into_iter().chain([(5, leaf)]).collect());
    simple.prop_recursive(5, 40, 4, move |inner| {
        let branch = (weight(), inner.clone()).prop_map(|(weight, tree)| Weighted { weight, tree });
        prop_oneof![
            vec(inner, children..5).prop_map(NameTree::Alt),
            vec(branch, children..5).prop_map(NameTree::Union),
        ]
    })
}

fn dentry() -> impl Strategy<Value = Dentry> {
    (prefix(), tree(2)).prop_map(|(prefix, dst)| Dentry { prefix, dst })
}

fn dtab() -> impl Strategy<Value = Dtab> {
    vec(dentry(), 0..6).prop_map(Dtab::from_iter)
}

/// Texts that are nearly right: tokens of the notation in any order, some entries among them, some noise.
fn text() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        8 => proptest::sample::select(vec![
            "/", "/a", "/*", "=>", "=", "|", "&", "*", "(", ")", ";", "~", "!", "$", ".", "1", "0.5", " ", "\n", "\r",
            "#", "# c\n", "\\", "\\x", "\\x2f", "\u{2003}", "é",
        ])
        .prop_map(str::to_owned),
        2 => Just("/a => /b;".to_owned()),
        1 => dentry().prop_map(|dentry| dentry.to_string()),
        1 => any::<char>().prop_map(String::from),
    ];
    vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

/// Dtabs that are nearly all right, with comments wherever they may stand.
fn commented() -> impl Strategy<Value = String> {
    let blank =
        proptest::sample::select(vec!["", " ", "\n", "\n\n\n", " # c\n", "\n# c\r\n", "\u{1c}# (;\n# d\n"]);
    let entry = [blank.clone(), blank.clone(), blank.clone(), blank];
    vec(entry, 0..6).prop_map(|entries| {
        entries.iter().map(|[a, b, c, d]| format!("{a}/a{b}=>{c}0.5*/b & /#{d};")).collect()
    })
}

proptest! {
    #[test]
    fn paths_print_and_read(path in path()) {
        laws::prints(&path);
        let mut buf = PathBuf::new();
        path.elems().for_each(|elem| buf.push(elem));
        prop_assert_eq!(buf.to_path(), path);
    }

    #[test]
    fn prefixes_print_and_read(prefix in prefix()) {
        laws::prints(&prefix);
    }

    #[test]
    fn trees_print_and_read(tree in tree(2)) {
        laws::prints(&tree);
    }

    #[test]
    fn dtabs_print_and_read(dtab in dtab()) {
        dtab.iter().for_each(laws::prints);
        laws::prints(&dtab);
        laws::formats(&dtab.to_string().replace("Infinity", "1"));
    }

    #[test]
    fn simplification_keeps_the_meaning(tree in tree(0)) {
        laws::simplifies(&tree);
    }

    #[test]
    fn order_is_that_of_elements(a in path(), b in path()) {
        prop_assert_eq!(a.cmp(&b), a.elems().cmp(b.elems()));
        prop_assert_eq!(a == b, a.elems().eq(b.elems()));
        prop_assert_eq!(a.concat(&b).drop_prefix(&a), Some(b));
    }

    #[test]
    fn long_and_short_dtabs_look_up_alike(
        parts in vec(vec((prefix(), path()), 0..40), 1..4),
        paths in vec(path(), 8),
    ) {
        let dtab = parts.into_iter().fold(Dtab::empty(), |all, part| {
            let dentry = |(prefix, leaf)| Dentry { prefix, dst: NameTree::Leaf(leaf) };
            all.concat(&part.into_iter().map(dentry).collect())
        });
        paths.iter().for_each(|path| laws::looks_up(&dtab, path));
    }

    #[test]
    fn near_misses_read_or_are_refused(text in text()) {
        laws::reads_or_is_refused(&text);
    }

    #[test]
    fn any_text_reads_or_is_refused(text in any::<String>()) {
        laws::reads_or_is_refused(&text);
    }

    #[test]
    fn comments_survive_the_layout(text in commented()) {
        laws::formats(&text);
        if let Ok(formatted) = signpost::name::format(&text) {
            prop_assert_eq!(formatted.matches("# c").count(), text.matches("# c").count());
            prop_assert_eq!(formatted.matches("# d").count(), text.matches("# d").count());
        }
    }
}

#[test]
fn huge_texts_end_in_a_value_or_an_error() {
    let mebibyte = 1 << 20;
    for (text, reads) in [
        ("(".repeat(mebibyte), false),
        (")".repeat(mebibyte), false),
        (format!("/a=>{}", "(/a|".repeat(mebibyte / 4)), false),
        (format!("/a=>/b #{}", "(".repeat(mebibyte)), true),
        ("#".repeat(mebibyte), true),
        (" ".repeat(mebibyte), true),
        ("\\".repeat(mebibyte), false),
        (format!("/{}", "a".repeat(mebibyte)), false),
        (format!("/a=>/{}", "a".repeat(mebibyte)), true),
        (format!("/a=>{}", "9".repeat(mebibyte)), false),
        ("é".repeat(mebibyte / 2), false),
    ] {
        assert_eq!(text.parse::<Dtab>().is_ok(), reads, "{text:.20}");
    }
}
