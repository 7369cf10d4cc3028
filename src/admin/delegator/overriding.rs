//! The facts about an override that the page tells beside its tree: what it did not do, and which listeners follow it.

use crate::admin::{ListenerView, RouterView};
use crate::context::{OverrideSource, decode_overrides};
use crate::interpret::render::{OverrideReport, cut};
use crate::interpret::{Delegation, Step, StepKind, lost_shares, percent, steered_leaves, unbound_entry};
use crate::name::Dentry;
use crate::sandbox::Overlay;
use std::collections::BTreeSet;

/// How many entries are told one by one that matched nothing, and how many that lose a share.
const MOST_TOLD: usize = 100;

/// How many bytes one sentence of a report has at most.
const LONGEST_SENTENCE: usize = 2048;

/// Returns the report of an override, as it was written, whose entries follow `base_entries` others in the delegation's dtab.
pub(super) fn report(
    delegation: &Delegation,
    base_entries: usize,
    written: &str,
    router: &RouterView,
) -> OverrideReport {
    let verdict = |listener| verdict(listener, written, delegation, base_entries);
    OverrideReport {
        base_entries,
        warnings: warnings(delegation, base_entries),
        listeners: router.listeners.iter().map(|listener| cut(verdict(listener), LONGEST_SENTENCE)).collect(),
    }
}

/// Returns the reasons to doubt an override.
fn warnings(delegation: &Delegation, base_entries: usize) -> Vec<String> {
    let mut met = BTreeSet::new();
    collect_entries(&delegation.step, &mut met);
    let entries = delegation.dtab.iter().enumerate().skip(base_entries);
    let mut unmatched = entries.filter(|(at, _)| !met.contains(at)).map(|(_, entry)| entry);
    let told = unmatched.by_ref().take(MOST_TOLD);
    let mut warnings: Vec<String> =
        told.map(|entry| format!("{} matched nothing on the way of this name", shown(entry))).collect();
    let more = unmatched.count();
    if more > 0 {
        warnings.push(format!("{more} more entries matched nothing"));
    }
    let unbound = unbound_entry(delegation, base_entries..delegation.dtab.len());
    if let Some(entry) = unbound.and_then(|position| delegation.dtab.iter().nth(position)) {
        warnings.push(format!("{} leads nowhere: the name goes where the other entries lead", shown(entry)));
    }
    for lost in lost_shares(delegation, base_entries).into_iter().take(MOST_TOLD) {
        if let Some(entry) = lost.overriding.and_then(|at| delegation.dtab.iter().nth(at)) {
            let percent = percent(lost.share);
            let entry = shown(entry);
            warnings.push(format!("{entry} loses {percent} %, which the branches that are left take"));
        }
    }
    warnings
}

/// Returns an entry as text, of a long one its beginning.
fn shown(entry: &Dentry) -> String {
    cut(format!("{entry:#}"), LONGEST_SENTENCE)
}

/// Returns what a caller would be told of the sandboxes, whose entries follow `base` others in the delegation's dtab.
pub(super) fn sandbox_warnings(overlay: &Overlay, delegation: &Delegation, base: usize) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(unknown) = overlay.unknown() {
        warnings.push(match overlay.unsettled() {
            None => format!("no sandbox has the key {unknown}, or it has ended"),
            Some(_) => format!("it is not known yet whether there is a sandbox {unknown}"),
        });
    }
    warnings.extend(overlay.refused().map(str::to_owned));
    if let Some(conflicts) = overlay.conflicts() {
        warnings.push(format!("the sandboxes differ, and the last one wins: {conflicts}"));
    }
    warnings.extend(overlay.check_destinations(delegation, base).err());
    let unbound = unbound_entry(delegation, base..base + overlay.dtab().len());
    if let Some(entry) = unbound.and_then(|position| delegation.dtab.iter().nth(position)) {
        warnings.push(format!("{entry:#} of a sandbox leads nowhere: the baseline answers"));
    }
    warnings
}

/// Collects the positions of the entries that were met, taken or not.
fn collect_entries(step: &Step, met: &mut BTreeSet<usize>) {
    met.extend(step.dentry);
    match &step.kind {
        StepKind::Delegate(next) => collect_entries(next, met),
        StepKind::Alt(arms) => arms.iter().for_each(|arm| collect_entries(arm, met)),
        StepKind::Union(branches) => branches.iter().for_each(|(_, branch)| collect_entries(branch, met)),
        _ => {}
    }
}

/// Says whether a listener would follow an override.
fn verdict(
    ListenerView { label, trusts_anyone, trust, limits }: &ListenerView,
    written: &str,
    delegation: &Delegation,
    base_entries: usize,
) -> String {
    if !trusts_anyone {
        return format!("{label} drops it: it {trust}");
    }
    let raw = [written.as_bytes(), &[OverrideSource::User.end()]].concat();
    if let Err(error) = decode_overrides(&raw, limits) {
        return format!("{label} refuses it: {error}");
    }
    let steered = steered_leaves(delegation, |position| position >= base_entries);
    let refused = steered.keys().find(|(id, _)| !limits.allows_destination(id));
    match refused {
        Some((id, _)) => {
            format!("{label} refuses it: overrides may not lead to {id} (`overrides.destinations`)")
        }
        None => format!("{label} follows it: it {trust}"),
    }
}
