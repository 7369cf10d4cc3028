//! The leaves of a delegation to which some entries lead.

use super::{Delegation, Step, StepKind};
use crate::name::Path;
use std::collections::BTreeMap;

/// The leaves to which some entries lead, by bound id and residual; each with the position of such an entry.
pub type SteeredLeaves<'a> = BTreeMap<(&'a Path, &'a Path), usize>;

/// Returns the leaves on whose way an entry lies that `steers` accepts, by its position in the delegation's dtab.
///
/// Steps that are not taken do not count: a later alternate is judged when it is taken.
pub fn steered_leaves(delegation: &Delegation, steers: impl Fn(usize) -> bool) -> SteeredLeaves<'_> {
    let mut leaves = SteeredLeaves::new();
    collect(&delegation.step, &steers, None, &mut leaves);
    leaves
}

/// Collects the leaves at or below a step; `by` is the steering entry that led there, if one did.
fn collect<'a>(
    step: &'a Step,
    steers: &impl Fn(usize) -> bool,
    by: Option<usize>,
    leaves: &mut SteeredLeaves<'a>,
) {
    if !step.taken {
        return;
    }
    let by = by.or(step.dentry.filter(|position| steers(*position)));
    match &step.kind {
        StepKind::Delegate(next) => collect(next, steers, by, leaves),
        StepKind::Alt(arms) => arms.iter().for_each(|arm| collect(arm, steers, by, leaves)),
        StepKind::Union(branches) => {
            branches.iter().for_each(|(_, branch)| collect(branch, steers, by, leaves));
        }
        StepKind::Leaf(bound) => {
            if let Some(position) = by {
                leaves.insert((&bound.id, &bound.residual), position);
            }
        }
        StepKind::Neg
        | StepKind::Fail
        | StepKind::Empty
        | StepKind::Pending
        | StepKind::Failed(_)
        | StepKind::Unexplored => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::test_answers::TestAnswers;
    use crate::interpret::{Explore, delegate};
    use crate::name::Dtab;

    /// Returns the steered leaves of `/svc/a` under an override over a base, each with the entry.
    fn steered(overrides: &str) -> Vec<String> {
        let base: Dtab =
            "/host => /#/up; /svc => /host; /maybe => /#/none; /maybe => /#/up/m".parse().unwrap();
        let dtab = base.concat(&overrides.parse().unwrap());
        let delegation = delegate(&dtab, &"/svc/a".parse().unwrap(), &mut TestAnswers, Explore::Deciding);
        let leaves = steered_leaves(&delegation, |position| position >= base.len());
        let entry = |position: &usize| dtab.iter().nth(*position).map(|dentry| format!("{dentry:#}"));
        leaves.iter().map(|((id, _), at)| format!("{id} by {}", entry(at).unwrap())).collect()
    }

    #[test]
    fn a_leaf_is_steered_when_an_entry_lies_on_its_way() {
        let table: [(&str, &[&str]); 12] = [
            ("", &[]),
            ("/other => /#/up/x", &[]),
            ("/svc => /#/up/x", &["/#/up/x/a by /svc=>/#/up/x"]),
            // Through entries of the base, and through a namer that answers with a path.
            ("/svc/a => /host/b", &["/#/up/b by /svc/a=>/host/b"]),
            ("/svc/a => /#/alias", &["/#/up/b by /svc/a=>/#/alias"]),
            // An entry further down.
            ("/host => /#/up/v2", &["/#/up/v2/a by /host=>/#/up/v2"]),
            // The first of several on the way.
            ("/svc => /host; /host => /#/up/v2", &["/#/up/v2/a by /svc=>/host"]),
            // Only the branches that it leads to.
            (
                "/svc => 1 * /#/up/x & 9 * /maybe",
                &["/#/up/m/a by /svc=>/#/up/x & 9*/maybe", "/#/up/x/a by /svc=>/#/up/x & 9*/maybe"],
            ),
            // What falls back to the base is not steered.
            ("/svc => /#/none", &[]),
            ("/svc => ~", &[]),
            ("/svc => !", &[]),
            // An alternate that is not taken.
            ("/svc => /#/up/x | /#/up/y", &["/#/up/x/a by /svc=>/#/up/x | /#/up/y"]),
        ];
        for (overrides, expected) in table {
            assert_eq!(steered(overrides), expected, "{overrides}");
        }
    }
}
