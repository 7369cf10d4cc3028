//! What holds of every text and of every name: plain functions that panic when it does not.
//!
//! They know no test framework, so that property tests and fuzz targets call the same ones.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use signpost::name::{self, Dentry, Dtab, Element, NameTree, ParseError, Path, Prefix};

/// Any text reads or is refused, as each kind of value, and never panics.
pub(crate) fn reads_or_is_refused(text: &str) {
    reads_as::<Path>(text);
    reads_as::<Prefix>(text);
    reads_as::<NameTree<Path>>(text);
    reads_as::<Dentry>(text);
    reads_as::<Dtab>(text);
    formats(text);
}

fn reads_as<T: FromStr<Err = ParseError> + Display + PartialEq + Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => prints(&value),
        Err(error) => points_into(&error, text),
    }
}

/// The exact form reads back as the same value. The canonical form reads as some value, but for infinite weights.
pub(crate) fn prints<T: FromStr<Err = ParseError> + Display + PartialEq + Debug>(value: &T) {
    let exact = format!("{value:#}");
    match exact.parse::<T>() {
        Ok(again) => assert_eq!(again, *value, "{exact} reads as what it was"),
        Err(error) => panic!("the exact form reads: {error}"),
    }
    let canonical = value.to_string();
    if !canonical.contains("Infinity*") {
        canonical.parse::<T>().unwrap_or_else(|error| panic!("the canonical form reads: {error}"));
    }
}

/// An error's place is one of the text, and it says what was expected there.
fn points_into(error: &ParseError, text: &str) {
    let (before, after) = text.split_at(error.offset);
    assert_eq!(error.line, before.matches('\n').count() + 1);
    assert_eq!(error.column, before.chars().rev().take_while(|&char| char != '\n').count() + 1);
    assert_eq!(error.found, after.chars().next());
    assert!(!error.expected.is_empty());

    let message = error.to_string();
    let lines: Vec<_> = message.split('\n').collect();
    assert_eq!(lines.len(), 3, "a sentence, a line, a caret: {message}");
    assert!(lines[2].ends_with('^'));
    assert!(lines.iter().all(|line| line.chars().count() < 200 && !line.chars().any(char::is_control)));
}

/// A text reads as a dtab exactly when it can be laid out; that keeps the entries, and doing it again changes nothing.
pub(crate) fn formats(text: &str) {
    let dtab = text.parse::<Dtab>();
    let formatted = name::format(text);
    assert_eq!(dtab.as_ref().err(), formatted.as_ref().err());
    let (Ok(dtab), Ok(formatted)) = (dtab, formatted) else { return };
    assert_eq!(formatted.parse(), Ok(dtab.clone()), "{formatted}");
    assert_eq!(name::format(&formatted), Ok(formatted));
    let pretty = dtab.pretty().to_string();
    assert_eq!(pretty.parse(), Ok(dtab));
}

/// Simplifying keeps the meaning, and doing it again changes nothing.
pub(crate) fn simplifies(tree: &NameTree<Path>) {
    let simple = tree.simplified();
    assert_eq!(simple.simplified(), simple);
    assert_eq!(simple.eval(), tree.eval());
}

/// Lookup finds what comparing the path with every entry finds, however the dtab was put together.
pub(crate) fn looks_up(dtab: &Dtab, path: &Path) {
    let expected: Vec<_> = dtab
        .iter()
        .rev()
        .zip(1..)
        .map(|(dentry, from_end)| (dtab.len() - from_end, dentry))
        .filter(|(_, dentry)| matches(&dentry.prefix, path))
        .map(|(position, dentry)| (position, dentry, path.skip(dentry.prefix.len())))
        .collect();
    assert_eq!(dtab.matches(path).collect::<Vec<_>>(), expected);

    let one_by_one =
        dtab.iter().fold(Dtab::empty(), |all, dentry| all.concat(&Dtab::from_iter([dentry.clone()])));
    assert_eq!(one_by_one, *dtab);
    assert_eq!(one_by_one.lookup(path), dtab.lookup(path));

    let trees: Vec<_> = expected
        .iter()
        .map(|(_, dentry, residual)| dentry.dst.map(&mut |leaf: &Path| leaf.concat(residual)))
        .collect();
    let tree = match &trees[..] {
        [] => NameTree::Neg,
        [tree] => tree.clone(),
        _ => NameTree::Alt(trees),
    };
    assert_eq!(dtab.lookup(path), tree);
}

fn matches(prefix: &Prefix, path: &Path) -> bool {
    let same = |(elem, label): (Element<'_>, &[u8])| elem == Element::Any || elem == Element::Label(label);
    prefix.len() <= path.len() && prefix.elems().zip(path.elems()).all(same)
}
