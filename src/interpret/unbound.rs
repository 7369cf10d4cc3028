//! The entry that leads nowhere, although the delegation looked at it.

use super::delegation::Verdict;
use super::{Delegation, Step, StepKind};
use std::ops::Range;

/// Returns the position in the delegation's dtab of the first of some entries that came to nothing as a whole, although it
/// was looked at. The entries are those at `positions`: of an override, or of a sandbox.
///
/// Steps that are not taken do not count. An entry came to nothing when binding goes on behind it: it is `Neg`. A failure,
/// `!` and `$` are answers; but of two branches that are `~`, `!` or failed, and not both failed, nothing is left.
pub fn unbound_entry(delegation: &Delegation, positions: Range<usize>) -> Option<usize> {
    unbound_step(&delegation.step, &positions, None)?.dentry
}

/// Returns the first taken step below `step` that is the whole of one of the entries and came to nothing.
///
/// `within` is the entry that `step` is a part of: a part of an entry may come to nothing while the entry does not.
fn unbound_step<'a>(step: &'a Step, positions: &Range<usize>, within: Option<usize>) -> Option<&'a Step> {
    if !step.taken {
        return None;
    }
    if step.dentry != within
        && step.dentry.is_some_and(|position| positions.contains(&position))
        && step.verdict() == Verdict::Neg
    {
        return Some(step);
    }
    let below = |next| unbound_step(next, positions, step.dentry);
    match &step.kind {
        StepKind::Delegate(next) => below(next),
        StepKind::Alt(arms) => arms.iter().find_map(below),
        StepKind::Union(branches) => branches.iter().find_map(|(_, branch)| below(branch)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::test_answers::TestAnswers;
    use crate::interpret::{Explore, delegate};
    use crate::name::Dtab;

    /// Returns the unbound entry of an override over a base, for `/svc/a`.
    fn unbound(base: &str, overrides: &str, explore: Explore) -> Option<String> {
        let (base, overrides): (Dtab, Dtab) = (base.parse().unwrap(), overrides.parse().unwrap());
        let dtab = base.concat(&overrides);
        let delegation = delegate(&dtab, &"/svc/a".parse().unwrap(), &mut TestAnswers, explore);
        let position = unbound_entry(&delegation, base.len()..dtab.len())?;
        dtab.iter().nth(position).map(|dentry| format!("{dentry:#}"))
    }

    #[test]
    fn an_override_that_leads_nowhere_is_found() {
        const BASE: &str = "/svc => /#/up; /host => /#/none";
        let table = [
            ("", None),
            ("/svc => /#/up/other", None),
            ("/other => /#/none", None),
            ("/svc => /#/none", Some("/svc=>/#/none")),
            ("/svc => ~", Some("/svc=>~")),
            // Its own entry leads nowhere, through entries of the base.
            ("/svc => /host", Some("/svc=>/host")),
            // Of two, the one that comes first when it is looked up: the later one.
            ("/svc/a => /#/none; /svc => /nowhere", Some("/svc=>/nowhere")),
            // An entry that another one leads to.
            ("/svc => /new | /#/up/x; /new => /#/none", Some("/new=>/#/none")),
            // A part of an entry that comes to nothing is no unbound entry.
            ("/svc => /#/none | /#/up", None),
            ("/svc => /#/none & /#/up", None),
            ("/svc => /#/none | /#/nothing", Some("/svc=>/#/none | /#/nothing")),
            ("/svc => /#/none & /#/nothing", Some("/svc=>/#/none & /#/nothing")),
            // Branches of which nothing is left.
            ("/svc => ! & !", Some("/svc=>! & !")),
            ("/svc => ! & /#/none", Some("/svc=>! & /#/none")),
            ("/svc => /#/failed & ~", Some("/svc=>/#/failed & ~")),
            // These are answers.
            ("/svc => /#/failed & /#/failed", None),
            ("/svc => /#/failed & !", None),
            ("/svc => !", None),
            ("/svc => $", None),
            ("/svc => /#/pending", None),
            ("/svc => /#/failed", None),
        ];
        for (overrides, expected) in table {
            assert_eq!(unbound(BASE, overrides, Explore::Deciding).as_deref(), expected, "{overrides}");
        }
    }

    #[test]
    fn an_entry_of_the_base_is_not_reported() {
        assert_eq!(unbound("/svc => /#/none", "", Explore::Deciding), None);
        assert_eq!(unbound("/svc => /#/none", "/other => /#/up", Explore::Deciding), None);
    }

    #[test]
    fn a_step_that_is_not_taken_does_not_count() {
        let overrides = "/svc => /#/up | /new; /new => /#/none";
        assert_eq!(unbound("/svc => /#/up", overrides, Explore::All), None);
    }
}
