//! The parser of the notation: `grammar/dtab.pest` finds the tokens, this module makes values of them.

use std::iter;
use std::ops::Range;

use pest::Parser;
use pest::iterators::{Pair, Pairs};

use super::{Dentry, Dtab, NameTree, Path, Prefix, Weighted, encoding};
use grammar::{Grammar, Rule};

pub use self::error::ParseError;

mod error;
pub(super) mod scan;

/// The code that pest generates from the grammar.
mod grammar {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]

    #[derive(pest_derive::Parser)]
    #[grammar = "../grammar/dtab.pest"]
    pub struct Grammar;
}

/// How many parentheses may be open at once in a name tree. Reading, printing and every walk over a tree recurse once
/// per parenthesis; tables in use have three at most.
const MAX_PARENTHESES: usize = 100;

pub(super) fn path(text: &str) -> Result<Path, ParseError> {
    Ok(build_path(&next(&mut read(Rule::whole_path, text)?)))
}

pub(super) fn prefix(text: &str) -> Result<Prefix, ParseError> {
    Ok(build_prefix(&next(&mut read(Rule::whole_prefix, text)?)))
}

pub(super) fn tree(text: &str) -> Result<NameTree<Path>, ParseError> {
    check_depth(text)?;
    Ok(build_tree(next(&mut read(Rule::whole_tree, text)?)))
}

pub(super) fn dentry(text: &str) -> Result<Dentry, ParseError> {
    check_depth(text)?;
    Ok(build_dentry(next(&mut read(Rule::whole_dentry, text)?)))
}

pub(super) fn dtab(text: &str) -> Result<Dtab, ParseError> {
    Ok(dentries(text)?.map(|(_, dentry)| dentry).collect())
}

/// Reads a dtab as its entries, each with its place in bytes: from its first byte to the semicolon after it.
///
/// # Errors
///
/// The text is not a dtab.
pub fn dentries(text: &str) -> Result<impl Iterator<Item = (Range<usize>, Dentry)>, ParseError> {
    check_depth(text)?;
    let pairs = read(Rule::whole_dtab, text)?.filter(|pair| pair.as_rule() == Rule::dentry);
    Ok(pairs.map(|pair| (pair.as_span().start()..pair.as_span().end(), build_dentry(pair))))
}

/// Finds the comments of a dtab, each as its place in bytes, without its line feed. In a text that is no dtab some may be
/// wrong.
pub fn comments(text: &str) -> impl Iterator<Item = Range<usize>> {
    scan::marks(text).filter_map(|(_, mark)| match mark {
        scan::Mark::Comment(range) => Some(range),
        scan::Mark::Open | scan::Mark::Close => None,
    })
}

fn read(rule: Rule, text: &str) -> Result<Pairs<'_, Rule>, ParseError> {
    Grammar::parse(rule, text).map_err(|error| ParseError::from_pest(text, error))
}

/// Refuses parentheses that are too deep before pest recurses into them.
fn check_depth(text: &str) -> Result<(), ParseError> {
    if text.bytes().filter(|&byte| byte == b'(').count() <= MAX_PARENTHESES {
        return Ok(());
    }
    let mut open = 0_usize;
    for (offset, mark) in scan::marks(text) {
        match mark {
            scan::Mark::Open if open == MAX_PARENTHESES => {
                let expected = format!("at most {MAX_PARENTHESES} open parentheses");
                return Err(ParseError::new(text, offset, vec![expected]));
            }
            scan::Mark::Open => open += 1,
            scan::Mark::Close => open = open.saturating_sub(1),
            scan::Mark::Comment(_) => {}
        }
    }
    Ok(())
}

/// Returns the next child of a rule that has one by the grammar.
fn next<'t>(pairs: &mut Pairs<'t, Rule>) -> Pair<'t, Rule> {
    pairs.next().expect("the grammar has a child here")
}

fn build_dentry(dentry: Pair<'_, Rule>) -> Dentry {
    let mut children = dentry.into_inner();
    let prefix = build_prefix(&next(&mut children));
    let _arrow = next(&mut children);
    Dentry { prefix, dst: build_tree(next(&mut children)) }
}

/// Builds a tree from its arms; one arm stands for itself.
fn build_tree(tree: Pair<'_, Rule>) -> NameTree<Path> {
    let mut unions = tree.into_inner();
    let first = build_union(next(&mut unions));
    if unions.peek().is_none() {
        return first;
    }
    let rest = unions.filter(|pair| pair.as_rule() == Rule::union).map(build_union);
    NameTree::Alt(iter::once(first).chain(rest).collect())
}

/// Builds a union from its branches; one branch stands for itself, without its weight.
fn build_union(union: Pair<'_, Rule>) -> NameTree<Path> {
    let mut branches = union.into_inner();
    let first = build_branch(next(&mut branches));
    if branches.peek().is_none() {
        return first.tree;
    }
    let rest = branches.filter(|pair| pair.as_rule() == Rule::branch).map(build_branch);
    NameTree::Union(iter::once(first).chain(rest).collect())
}

fn build_branch(branch: Pair<'_, Rule>) -> Weighted<Path> {
    let mut children = branch.into_inner();
    let mut child = next(&mut children);
    let mut weight = 1.0;
    if child.as_rule() == Rule::weight {
        weight = child.as_str().parse().expect("digits with at most one dot among them are a number");
        let _times = next(&mut children);
        child = next(&mut children);
    }
    Weighted { weight, tree: build_simple(child) }
}

fn build_simple(simple: Pair<'_, Rule>) -> NameTree<Path> {
    match simple.as_rule() {
        Rule::path => NameTree::Leaf(build_path(&simple)),
        Rule::group => build_tree(next(&mut simple.into_inner())),
        Rule::neg => NameTree::Neg,
        Rule::fail => NameTree::Fail,
        Rule::empty => NameTree::Empty,
        rule => unreachable!("the grammar has no {rule:?} here"),
    }
}

fn build_path(path: &Pair<'_, Rule>) -> Path {
    let mut encoded = Vec::with_capacity(encoded_len(path.as_str()));
    labels(path.as_str()).for_each(|label| push_label(&mut encoded, label));
    Path::from_encoded(encoded)
}

fn build_prefix(prefix: &Pair<'_, Rule>) -> Prefix {
    let mut encoded = Vec::with_capacity(encoded_len(prefix.as_str()));
    let mut wild = false;
    for label in labels(prefix.as_str()) {
        if label == "*" {
            wild = true;
            encoding::push(&mut encoded, b"");
        } else {
            push_label(&mut encoded, label);
        }
    }
    Prefix::from_encoded(encoded, wild)
}

/// Returns the labels of a path's text, in which a slash is never part of one.
fn labels(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|label| !label.is_empty())
}

/// Returns the length of the encoding when there are no escapes, which make it shorter.
fn encoded_len(path: &str) -> usize {
    labels(path).map(|label| 4 + label.len()).sum()
}

/// Appends a label to an encoding, with its escapes decoded.
fn push_label(encoded: &mut Vec<u8>, label: &str) {
    let mut pieces = label.split("\\x");
    let raw = pieces.next().unwrap_or_default();
    if raw.len() == label.len() {
        return encoding::push(encoded, raw.as_bytes());
    }
    let mut elem = raw.as_bytes().to_vec();
    for piece in pieces {
        let (hex, raw) = piece.split_at_checked(2).expect("two digits follow");
        elem.push(u8::from_str_radix(hex, 16).expect("the digits are hexadecimal"));
        elem.extend_from_slice(raw.as_bytes());
    }
    encoding::push(encoded, &elem);
}

#[cfg(test)]
mod tests;
