//! The meaning of trees.

use std::collections::BTreeSet;

use super::NameTree::{Alt, Empty, Fail, Leaf, Neg, Union};
use super::{NameTree, Weighted};

type Tree = NameTree<&'static str>;

fn w(weight: f64, tree: Tree) -> Weighted<&'static str> {
    Weighted { weight, tree }
}

const A: Tree = Leaf("a");
const B: Tree = Leaf("b");

#[test]
fn simplification_keeps_what_can_be_reached() {
    for (tree, expected) in [
        (A, A),
        (Neg, Neg),
        (Fail, Fail),
        (Empty, Empty),
        (Alt(vec![]), Neg),
        (Union(vec![]), Neg),
        (Alt(vec![A]), A),
        (Union(vec![w(0.5, A)]), A),
        (Alt(vec![Neg, A]), A),
        (Alt(vec![A, Neg, B]), Alt(vec![A, B])),
        (Alt(vec![Neg, Neg]), Neg),
        // A Fail is kept and ends the list; an Empty does not.
        (Alt(vec![A, Fail, B]), Alt(vec![A, Fail])),
        (Alt(vec![Neg, Fail, B]), Fail),
        (Alt(vec![Empty, B]), Alt(vec![Empty, B])),
        (Alt(vec![A, Union(vec![w(1.0, Fail)]), B]), Alt(vec![A, Fail])),
        (Union(vec![w(1.0, Neg), w(2.0, A), w(3.0, Fail), w(0.0, B)]), Union(vec![w(2.0, A), w(0.0, B)])),
        (Union(vec![w(1.0, Neg), w(2.0, A)]), A),
        (Union(vec![w(1.0, Empty), w(2.0, Empty)]), Union(vec![w(1.0, Empty), w(2.0, Empty)])),
        // The odd effect of one child standing for itself.
        (Union(vec![w(1.0, Fail)]), Fail),
        (Union(vec![w(1.0, Fail), w(1.0, Fail)]), Neg),
        (Union(vec![w(1.0, Fail), w(1.0, Neg)]), Neg),
        // Nothing is flattened or merged.
        (Alt(vec![Alt(vec![A, B]), A]), Alt(vec![Alt(vec![A, B]), A])),
        (Alt(vec![A, A]), Alt(vec![A, A])),
    ] {
        assert_eq!(tree.simplified(), expected, "{tree}");
        assert_eq!(expected.simplified(), expected, "{tree} twice");
        assert_eq!(expected.eval(), tree.eval(), "{tree} means the same");
    }
}

#[test]
fn evaluation_finds_the_leaves() {
    for (tree, expected) in [
        (A, Some(vec!["a"])),
        (Empty, Some(vec![])),
        (Neg, None),
        (Fail, None),
        (Alt(vec![]), None),
        (Union(vec![]), None),
        (Alt(vec![A, B]), Some(vec!["a"])),
        (Alt(vec![Neg, B]), Some(vec!["b"])),
        (Alt(vec![Fail, B]), None),
        (Alt(vec![Empty, B]), Some(vec![])),
        (Alt(vec![Union(vec![w(1.0, Fail), w(1.0, Fail)]), B]), Some(vec!["b"])),
        (Alt(vec![Union(vec![w(1.0, Fail)]), B]), None),
        (Union(vec![w(0.0, A), w(1.0, B)]), Some(vec!["a", "b"])),
        (Union(vec![w(1.0, A), w(1.0, Fail), w(1.0, Neg)]), Some(vec!["a"])),
        (Union(vec![w(1.0, Neg), w(1.0, Fail)]), None),
        (Union(vec![w(1.0, Empty), w(1.0, Empty)]), Some(vec![])),
        (Union(vec![w(1.0, A), w(1.0, A)]), Some(vec!["a"])),
    ] {
        let expected = expected.as_ref().map(|leaves| leaves.iter().collect::<BTreeSet<_>>());
        assert_eq!(tree.eval(), expected, "{tree}");
    }
}

#[test]
fn mapping_goes_from_left_to_right() {
    let tree = Alt(vec![A, Union(vec![w(0.3, B), w(1.0, Neg)]), Fail, Empty, Leaf("c")]);
    let mut seen = Vec::new();
    let mapped = tree.map(&mut |leaf| {
        seen.push(*leaf);
        leaf.len()
    });
    assert_eq!(seen, ["a", "b", "c"]);
    let branches = vec![Weighted { weight: 0.3, tree: Leaf(1) }, Weighted { weight: 1.0, tree: Neg }];
    assert_eq!(mapped, Alt(vec![Leaf(1), Union(branches), Fail, Empty, Leaf(1)]));
}

#[test]
fn weights_are_equal_by_bits() {
    assert_eq!(w(f64::NAN, A), w(f64::NAN, A));
    assert_ne!(w(0.0, A), w(-0.0, A));
    assert_ne!(w(1.0, A), w(2.0, A));
}
