//! The shares of the branches of a union: those that are left, and those that are lost.
//!
//! Binding is Finagle's: a branch that failed, led nowhere or is `!` takes no part, and the branches beside it take its
//! traffic. Here it is told.

use super::delegation::Verdict;
use super::sampler::shares;
use super::{Delegation, Step, StepKind};

/// A share of a name's traffic that goes elsewhere, because its branch failed, led nowhere or is `!`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LostShare {
    /// The share of all traffic of the name, above 0 and at most 1, by the weights as they are written.
    pub share: f64,
    /// The position of the entry in whose tree the branch stands; None in the tree of a namer.
    pub dentry: Option<usize>,
    /// The position of the first entry of the override that led there, or that the branch led to; None without one.
    pub overriding: Option<usize>,
}

/// Returns the shares that are lost, in the order of the steps.
///
/// The first `base_len` entries of the delegation's dtab are those of the base dtab; all others are the override's. Where
/// no branch of a union is left, nothing takes a share of another, and none is lost: the union as a whole leads nowhere.
pub fn lost_shares(delegation: &Delegation, base_len: usize) -> Vec<LostShare> {
    let mut lost = Vec::new();
    collect(&delegation.step, Way { base_len, overriding: None, share: 1.0 }, &mut lost);
    lost
}

/// Returns a share in percent, from 0 to 100, with two decimals. One that is not all and not nothing is never shown as
/// such.
pub fn percent(share: f64) -> f64 {
    let hundredths = (share * 10_000.0).round();
    if share > 0.0 && share < 1.0 { hundredths.clamp(1.0, 9_999.0) / 100.0 } else { hundredths / 100.0 }
}

/// Returns the share that each branch of a union takes, from 0 to 1, among those that lead somewhere; None when none does.
pub(super) fn shares_left(branches: &[(f64, Step)]) -> Option<Vec<f64>> {
    let is_left: Vec<bool> = branches.iter().map(|(_, step)| step.verdict() == Verdict::Bound).collect();
    let left: Vec<f64> = branches
        .iter()
        .zip(&is_left)
        .filter(|(_, is_left)| **is_left)
        .map(|((weight, _), _)| *weight)
        .collect();
    if left.is_empty() {
        return None;
    }
    let mut shares = shares(&left).into_iter();
    Some(is_left.iter().map(|is_left| if *is_left { shares.next().unwrap_or(0.0) } else { 0.0 }).collect())
}

/// The way that led to a step.
#[derive(Clone, Copy)]
struct Way {
    base_len: usize,
    /// The first entry of the override on the way.
    overriding: Option<usize>,
    /// The share of the traffic that goes this way.
    share: f64,
}

impl Way {
    /// Returns the way to a step that is reached by an entry.
    fn to(self, step: &Step) -> Self {
        let own = step.dentry.filter(|position| *position >= self.base_len);
        Self { overriding: self.overriding.or(own), ..self }
    }

    /// Returns the first entry of the override on the way to a step, or else at or below it.
    fn overriding(self, step: &Step) -> Option<usize> {
        let way = self.to(step);
        let below = |next| way.overriding(next);
        way.overriding.or_else(|| match &step.kind {
            StepKind::Delegate(next) => below(next),
            StepKind::Alt(arms) => arms.iter().filter(|arm| arm.taken).find_map(below),
            StepKind::Union(branches) => branches.iter().find_map(|(_, branch)| below(branch)),
            _ => None,
        })
    }
}

/// Collects the shares that are lost at or below a step.
fn collect(step: &Step, way: Way, lost: &mut Vec<LostShare>) {
    let way = way.to(step);
    match &step.kind {
        _ if !step.taken => {}
        StepKind::Delegate(next) => collect(next, way, lost),
        StepKind::Alt(arms) => arms.iter().for_each(|arm| collect(arm, way, lost)),
        StepKind::Union(branches) => collect_union(branches, way, lost),
        _ => {}
    }
}

/// Collects the shares that are lost in a union.
fn collect_union(branches: &[(f64, Step)], way: Way, lost: &mut Vec<LostShare>) {
    let is_left: Vec<bool> = branches.iter().map(|(_, step)| step.verdict() == Verdict::Bound).collect();
    if !is_left.contains(&true) {
        return;
    }
    let weights: Vec<f64> = branches.iter().map(|(weight, _)| *weight).collect();
    for (((_, step), share), is_left) in branches.iter().zip(shares(&weights)).zip(is_left) {
        let share = way.share * share;
        if is_left {
            collect(step, Way { share, ..way }, lost);
        } else if share > 0.0 {
            lost.push(LostShare { share, dentry: step.dentry, overriding: way.overriding(step) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::test_answers::TestAnswers;
    use crate::interpret::{Explore, delegate};
    use crate::name::Dtab;

    fn delegation(dtab: &Dtab) -> Delegation {
        delegate(dtab, &"/svc/a".parse().unwrap(), &mut TestAnswers, Explore::All)
    }

    #[test]
    fn each_lost_share_has_its_percent_and_its_entries() {
        const BASE: &str = "/svc => /#/up; /split => 3 * /#/up/x & 1 * /dead; /dead => ~";
        /// The percent, and the positions of both entries.
        type Lost = (f64, usize, Option<usize>);
        let table: [(&str, &[Lost]); 18] = [
            ("", &[]),
            ("/svc => 99 * /#/none & 1 * /#/up", &[(99.0, 3, Some(3))]),
            ("/svc => 99 * /#/failed & 1 * /#/up", &[(99.0, 3, Some(3))]),
            ("/svc => 99 * /#/pending & 1 * /#/up", &[(99.0, 3, Some(3))]),
            ("/svc => 0.3 * ! & 0.3 * ~ & 0.3 * /#/up", &[(33.33, 3, Some(3)), (33.33, 3, Some(3))]),
            ("/svc => 1 * /#/none & 99999999 * /#/up", &[(0.01, 3, Some(3))]),
            // Where nothing is left, nothing takes the share of another.
            ("/svc => /#/none & !", &[]),
            ("/svc => /#/none & /#/failed", &[]),
            ("/svc => /#/failed & /#/failed", &[]),
            // A branch without weight has no share, and neither has an alternate.
            ("/svc => 0 * /#/none & 1 * /#/up", &[]),
            ("/svc => /#/none | /#/up", &[]),
            // `$` is an answer.
            ("/svc => 1 * $ & 1 * /#/up", &[]),
            // A branch falls back by itself.
            ("/svc => (/#/none | /#/up/y) & /#/up", &[]),
            // A share of a share.
            ("/svc => 1 * /#/up & 1 * (1 * /#/up & 3 * /#/none)", &[(37.5, 3, Some(3))]),
            // By an entry of the override, in an entry of the base.
            ("/svc => /split", &[(25.0, 1, Some(3))]),
            ("/svc => /split; /x => /y", &[(25.0, 1, Some(3))]),
            ("/dead => /#/none; /svc => /split", &[(25.0, 1, Some(4))]),
            ("/svc => 1 * /#/none & 1 * /#/up; /svc => ~", &[(50.0, 3, Some(3))]),
        ];
        let base: Dtab = BASE.parse().unwrap();
        for (overrides, expected) in table {
            let dtab = base.concat(&overrides.parse().unwrap());
            let lost = lost_shares(&delegation(&dtab), base.len());
            let lost: Vec<_> = lost
                .iter()
                .map(|lost| (percent(lost.share), lost.dentry.unwrap(), lost.overriding))
                .collect();
            assert_eq!(lost, expected, "{overrides}");
        }
    }

    #[test]
    fn a_share_of_the_base_is_its_own_or_lost_by_an_override_below() {
        let base: Dtab = "/svc => 3 * /#/up/x & 1 * /y; /y => /#/none".parse().unwrap();
        for (overrides, overriding) in [("", None), ("/z => /#/none", None), ("/y => !", Some(2))] {
            let dtab = base.concat(&overrides.parse().unwrap());
            let lost = lost_shares(&delegation(&dtab), base.len());
            assert_eq!(lost, [LostShare { share: 0.25, dentry: Some(0), overriding }], "{overrides}");
        }
    }

    #[test]
    fn the_shares_that_are_left_make_a_whole() {
        let table: [(&str, Option<&[f64]>); 6] = [
            ("9 * /#/up/x & 1 * /#/up/y", Some(&[0.9, 0.1])),
            ("9 * /#/none & 1 * /#/up/y", Some(&[0.0, 1.0])),
            ("2 * ! & 3 * /#/up/x & 1 * /#/up/y", Some(&[0.0, 0.75, 0.25])),
            ("0 * /#/up/x & 0 * /#/up/y & 5 * ~", Some(&[0.5, 0.5, 0.0])),
            ("1 * $ & 1 * /#/up/y", Some(&[0.5, 0.5])),
            ("! & ~", None),
        ];
        for (tree, expected) in table {
            let delegation = delegation(&format!("/svc => {tree}").parse().unwrap());
            let StepKind::Union(branches) = &delegation.step.kind else { panic!("{delegation:?}") };
            assert_eq!(shares_left(branches).as_deref(), expected, "{tree}");
        }
    }
}
