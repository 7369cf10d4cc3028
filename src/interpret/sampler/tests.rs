use super::*;
use crate::interpret::Target;
use crate::name::Path;

/// Makes a bound tree of a text in which every path is a name.
fn tree(text: &str) -> NameTree<Bound> {
    let names: NameTree<Path> = text.parse().expect("a tree");
    names.map(&mut |path: &Path| Bound {
        id: path.clone(),
        residual: Path::empty(),
        target: Target::Status(200),
    })
}

fn weighted(branches: &[(f64, &str)]) -> NameTree<Bound> {
    let branches = branches.iter().map(|&(weight, text)| Weighted { weight, tree: tree(text) });
    NameTree::Union(branches.collect())
}

fn sampler(tree: &NameTree<Bound>) -> Sampler<Bound> {
    Sampler::new(tree, Bound::clone)
}

/// The share of the draws that each leaf should get, and that should find nothing.
type Shares = &'static [(&'static str, f64)];

/// Returns the share of the draws that each leaf got, and the share that found nothing.
fn frequencies(tree: &NameTree<Bound>) -> Vec<(String, f64)> {
    const DRAWS: usize = 100_000;
    let sampler = sampler(tree);
    let mut random = fastrand::Rng::with_seed(7);
    let mut counts = vec![0_usize; sampler.leaves().len() + 1];
    for _ in 0..DRAWS {
        counts[sampler.pick(&mut || random.f64()).unwrap_or(sampler.leaves().len())] += 1;
    }
    let names = sampler.leaves().iter().map(|bound| bound.id.to_string()).chain(["nothing".into()]);
    names.zip(counts).map(|(name, count)| (name, count as f64 / DRAWS as f64)).collect()
}

#[test]
fn leaves_are_picked_by_weight() {
    let table: [(NameTree<Bound>, Shares); 16] = [
        (tree("/a"), &[("/a", 1.0), ("nothing", 0.0)]),
        (tree("~"), &[("nothing", 1.0)]),
        (tree("!"), &[("nothing", 1.0)]),
        (tree("$"), &[("nothing", 1.0)]),
        (tree("/a & /b"), &[("/a", 0.5), ("/b", 0.5), ("nothing", 0.0)]),
        (tree("0.1 * /a & 0.9 * /b"), &[("/a", 0.1), ("/b", 0.9), ("nothing", 0.0)]),
        (tree("1 * /a & 3 * /b"), &[("/a", 0.25), ("/b", 0.75), ("nothing", 0.0)]),
        (tree("2 * /a & 3 * /b & 5 * /c"), &[("/a", 0.2), ("/b", 0.3), ("/c", 0.5), ("nothing", 0.0)]),
        (
            tree("1 * (1 * /a & 3 * /b) & 3 * /c"),
            &[("/a", 0.0625), ("/b", 0.1875), ("/c", 0.75), ("nothing", 0.0)],
        ),
        // `$` burns its share, unless it has none.
        (tree("1 * /a & 3 * $"), &[("/a", 0.25), ("nothing", 0.75)]),
        (tree("1 * /a & 0 * $"), &[("/a", 1.0), ("nothing", 0.0)]),
        (tree("0 * $ & 0 * $"), &[("nothing", 1.0)]),
        // A name without weight gets nothing beside one that has some; without any, all are equal.
        (tree("0 * /a & 1 * /b"), &[("/a", 0.0), ("/b", 1.0), ("nothing", 0.0)]),
        (tree("0 * /a & 0 * /b"), &[("/a", 0.5), ("/b", 0.5), ("nothing", 0.0)]),
        // Sums that are not finite.
        (
            weighted(&[(f64::INFINITY, "/a"), (1.0, "/b"), (f64::INFINITY, "/c")]),
            &[("/a", 0.5), ("/b", 0.0), ("/c", 0.5), ("nothing", 0.0)],
        ),
        (weighted(&[(f64::MAX, "/a"), (f64::MAX, "/b")]), &[("/a", 0.5), ("/b", 0.5), ("nothing", 0.0)]),
    ];
    for (tree, expected) in table {
        let found = frequencies(&tree);
        assert_eq!(found.len(), expected.len(), "{tree:?}");
        for ((name, share), (expected_name, expected_share)) in found.iter().zip(expected) {
            assert_eq!(name, expected_name, "{tree:?}");
            assert!((share - expected_share).abs() < 0.01, "{name}: {share} of {tree:?}");
            // What has no share is never picked.
            assert!(*expected_share > 0.0 || *share == 0.0, "{name}: {share} of {tree:?}");
        }
    }
}

#[test]
fn a_sum_of_nearly_one_is_taken_as_it_is() {
    // Halves of 0.998: both slots are less than full, and nothing is there to fill them up.
    let found = frequencies(&tree("0.4 * /a & 0.598 * /b"));
    assert!((found[0].1 - 0.4).abs() < 0.01 && (found[1].1 - 0.6).abs() < 0.01, "{found:?}");
    assert_eq!(shares(&[0.4, 0.598]), [0.4, 0.598]);
    assert_eq!(shares(&[0.4, 0.4]), [0.5, 0.5]);
}

#[test]
fn draws_at_the_ends_are_in_range() {
    let sampler = sampler(&tree("0.2 * /a & 0.3 * /b & 0.5 * /c"));
    for draw in [0.0, f64::EPSILON, 1.0 - f64::EPSILON, 1.0, 7.0, -1.0, f64::NAN] {
        assert!(sampler.pick(&mut || draw).is_some());
    }
}

#[test]
fn nothing_is_drawn_where_nothing_is_to_choose() {
    for text in ["/a", "~", "1 * /a & 0 * $"] {
        sampler(&tree(text)).pick(&mut || panic!("{text} needs no draw"));
    }
    let mut draws = 0;
    sampler(&tree("(/a & /b) & (/c & /d)")).pick(&mut || {
        draws += 1;
        0.5
    });
    assert_eq!(draws, 2);
}

#[test]
fn an_alt_and_a_union_of_nothing_lead_nowhere() {
    for tree in [tree("/a | /b"), NameTree::Union(Vec::new())] {
        assert_eq!(sampler(&tree).pick(&mut || 0.0), None);
    }
}
