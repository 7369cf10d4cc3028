//! The texts of a binding: why a name leads nowhere or must not, and which shares of it are lost.

use super::RequestDtab;
use crate::context::OverrideLimits;
use crate::interpret::render::dead_ends;
use crate::interpret::{Delegation, LostShare, SteeredLeaves, percent};
use crate::name::Dtab;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

/// Checks that the limits of the overrides allow every leaf to which they lead: one that is not allowed refuses the whole.
pub(super) fn check_destinations(
    steered: &SteeredLeaves<'_>,
    delegation: &Delegation,
    limits: &OverrideLimits,
) -> Result<(), String> {
    let refused = steered.iter().find(|((id, _), _)| !limits.allows_destination(id));
    let Some(((id, _), position)) = refused else { return Ok(()) };
    let dentry =
        delegation.dtab.iter().nth(*position).map(|dentry| format!("{dentry:#}")).unwrap_or_default();
    let allowed = limits.allowed_destinations();
    let text = format!(
        "The override entry {dentry} is refused: it leads to {id}, and this listener allows overrides to lead to \
         {allowed} only (`overrides.destinations`).",
    );
    Err(text)
}

/// Returns the entry of a sandbox that leads nowhere, after the key of the sandbox.
pub(super) fn fallback_text(
    delegation: &Delegation,
    base: usize,
    position: usize,
    dtab: &RequestDtab,
) -> Option<Rc<str>> {
    let sandbox = dtab.sandbox_at(position.checked_sub(base)?)?;
    let dentry = delegation.dtab.iter().nth(position)?;
    Some(format!("{} {dentry:#}", sandbox.key).into())
}

/// Returns the override entries of which a share is lost, each after the share in percent, separated by commas, which no
/// entry holds.
pub(super) fn lost_text(delegation: &Delegation, lost: &[LostShare]) -> Option<Rc<str>> {
    let mut by_entry = BTreeMap::new();
    for lost in lost {
        let Some(position) = lost.overriding else { continue };
        *by_entry.entry(position).or_insert(0.0) += lost.share;
    }
    let entries = by_entry.iter().filter_map(|(position, share)| {
        Some(format!("{} {:#}", percent(*share), delegation.dtab.iter().nth(*position)?))
    });
    let entries: Vec<_> = entries.collect();
    (!entries.is_empty()).then(|| entries.join(", ").into())
}

/// Returns the error text for a request that drew an empty branch of the name tree.
pub(super) fn empty_branch_text(service: &str) -> String {
    format!("Unable to route request!\n\nservice name: {service}\nthe branch that was drawn is empty")
}

/// How many entries of each dtab an error shows.
const MOST_SHOWN: usize = 50;

/// How many steps at which a name ended an error shows.
const MOST_ENDS: usize = 10;

/// Returns the lines that say at which steps a name ended, and how.
pub(super) fn ends_text(delegation: &Delegation) -> String {
    let ends = dead_ends(delegation, MOST_ENDS);
    ends.iter().fold("ended at:\n".to_owned(), |text, end| text + "  " + end + "\n")
}

/// Returns the text of Linkerd's "unable to route" error, the name and both dtabs, with the steps at which it ended.
pub(super) fn unroutable_text(delegation: &Delegation, base: &Dtab, overrides: &Dtab) -> String {
    let (path, ends) = (&delegation.step.path, ends_text(delegation));
    let mut text = format!("Unable to route request!\n\nservice name: {path}\n{ends}base dtab:\n");
    for (title, dtab) in [("", base), ("override dtab:\n", overrides)] {
        text.push_str(title);
        for dentry in dtab.iter().take(MOST_SHOWN) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {} => {}", dentry.prefix, dentry.dst);
        }
        if dtab.len() > MOST_SHOWN {
            let _ = writeln!(text, "  ... and {} more", dtab.len() - MOST_SHOWN);
        }
    }
    text.truncate(text.trim_end().len());
    text
}
