//! An index that finds the entries that may match a path without walking all of them.

use std::collections::HashMap;

use bytes::Bytes;

use super::super::{Dentry, Element, Path};

/// How many elements of a prefix the index looks at. Tables that differ only further in are rare, and a bound keeps one
/// long prefix from making a node per element.
const DEPTH: usize = 8;

/// A trie of prefixes by element.
///
/// The nodes are in one vector, so that dropping the trie does not recurse.
pub(super) struct Index {
    nodes: Vec<TrieNode>,
}

/// The position of the node of the empty prefix.
const ROOT: usize = 0;

/// A prefix of the trie, and the entries and longer prefixes below it.
#[derive(Default)]
struct TrieNode {
    /// The positions of the entries with exactly this prefix, ascending.
    entries: Vec<usize>,
    labels: HashMap<Bytes, usize>,
    any: Option<usize>,
}

impl Index {
    pub(super) fn new(entries: &[Dentry]) -> Self {
        let mut index = Self { nodes: vec![TrieNode::default()] };
        for (position, dentry) in entries.iter().enumerate() {
            let node = dentry.prefix.elems().take(DEPTH).fold(ROOT, |node, elem| index.child(node, elem));
            if let Some(node) = index.nodes.get_mut(node) {
                node.entries.push(position);
            }
        }
        index
    }

    /// Returns the child of a node by one more element, and adds it when there is none.
    fn child(&mut self, node: usize, elem: Element<'_>) -> usize {
        let new = self.nodes.len();
        let Some(parent) = self.nodes.get_mut(node) else { return node };
        let child = match elem {
            Element::Any => *parent.any.get_or_insert(new),
            Element::Label(label) => match parent.labels.get(label) {
                Some(child) => *child,
                None => *parent.labels.entry(Bytes::copy_from_slice(label)).or_insert(new),
            },
        };
        if child == new {
            self.nodes.push(TrieNode::default());
        }
        child
    }

    /// Returns the positions, ascending, of all entries that match the path, and of some others whose first elements
    /// match.
    pub(super) fn candidates(&self, path: &Path) -> Vec<usize> {
        let mut positions = Vec::new();
        let mut open = vec![(ROOT, path.walk())];
        while let Some((node, mut rest)) = open.pop() {
            let Some(node) = self.nodes.get(node) else { continue };
            positions.extend_from_slice(&node.entries);
            if let Some(elem) = rest.next() {
                open.extend(node.any.map(|child| (child, rest.clone())));
                open.extend(node.labels.get(elem).map(|child| (*child, rest)));
            }
        }
        positions.sort_unstable();
        positions
    }
}
