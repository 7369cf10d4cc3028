//! The members that steer, cut out of `baggage`.

use crate::context::baggage::{ListRoom, key, members, value};
use crate::context::steering::SteeringNames;
use crate::context::{RemovalKind, Removals};
use crate::message::{Head, KnownField};

/// Removes from `baggage`, and from the fields that are read as it, the members that steer and those that are malformed,
/// each as a whole. A list without such members stays as it is.
///
/// Another reader may take a malformed member for one that steers.
pub(super) fn cut_baggage(head: &mut Head, names: &SteeringNames, removals: &mut Removals) {
    for known in [KnownField::Baggage, KnownField::BaggageAlias] {
        if head.contains(known) {
            cut_list(known, head, names, removals);
        }
    }
}

/// Cuts one list, over all of its lines.
fn cut_list(known: KnownField, head: &mut Head, names: &SteeringNames, removals: &mut Removals) {
    let mut is_cut = false;
    for kind in head.get_all(known).flat_map(members).filter_map(|member| fault(member, names)) {
        removals.add(kind);
        is_cut = true;
    }
    if !is_cut {
        return;
    }
    ListRoom::default().retain(head, known, |member| fault(member, names).is_none());
}

/// Returns whether a member of one of the lists steers.
pub(super) fn have_steering(head: &Head, names: &SteeringNames) -> bool {
    let steers = |member| names.of_key(key(member)).is_some();
    let has_steering = |known| head.contains(known) && head.get_all(known).flat_map(members).any(steers);
    [KnownField::Baggage, KnownField::BaggageAlias, KnownField::Tracestate].into_iter().any(has_steering)
}

/// Returns why a member of `baggage` may not stay, if it may not.
fn fault(member: &[u8], names: &SteeringNames) -> Option<RemovalKind> {
    match names.of_key(key(member)) {
        Some(steering) => Some(steering.into()),
        None => value(member).is_none().then_some(RemovalKind::Malformed),
    }
}

/// Removes `tracestate` and `traceparent` when a member of `tracestate` steers, so that a new trace begins behind the
/// router.
///
/// A change of `tracestate` asks for one of `traceparent` (W3C Trace Context, 3.5 and 4), and no span of the router's is
/// there to take its place.
pub(super) fn drop_steering_trace(head: &mut Head, names: &SteeringNames, removals: &mut Removals) {
    let mut steers = false;
    for steering in
        head.get_all(KnownField::Tracestate).flat_map(members).filter_map(|member| names.of_key(key(member)))
    {
        removals.add(steering.into());
        steers = true;
    }
    if steers {
        let gone = head.remove_where(|field| {
            field.known == KnownField::Tracestate || field.name.eq_ignore_ascii_case(b"traceparent")
        });
        removals.add_many(RemovalKind::Trace, gone);
    }
}
