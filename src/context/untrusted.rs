//! The removal of everything that steers from the request of an untrusted caller.

use super::Context;
use super::baggage::{DTAB, ListRoom, key, members, steering_key, value};
use crate::message::{Field, Head, KnownField};

/// Removes every field that steers, and the members that steer from the lists that stay; counts the overrides among
/// them.
pub(super) fn drop_steering(head: &mut Head, context: &mut Context) {
    head.remove_where(|field| {
        let (gone, is_override) = match field.known {
            KnownField::BaggageItem => {
                let steering = steering_key(&item_key(field.name));
                (steering.is_some(), steering == Some(DTAB))
            }
            known => (known.is_steering(), known.is_steering() && is_override(&field)),
        };
        context.dropped += u32::from(is_override);
        gone
    });
    // Another reader of `baggage` may take a malformed member for one that steers.
    context.dropped += cut_members(head, KnownField::Baggage, |member| value(member).is_some());
    context.dropped += cut_members(head, KnownField::Tracestate, |_| true);
}

/// Removes from a list the members that steer and those that may not stay, each as a whole; returns the number of
/// overrides among them. A list without such members stays as it is.
fn cut_members(head: &mut Head, known: KnownField, may_stay: fn(&[u8]) -> bool) -> u32 {
    let (mut overrides, mut is_cut) = (0, false);
    for member in head.get_all(known).flat_map(members) {
        let steering = steering_key(key(member));
        overrides += u32::from(steering == Some(DTAB));
        is_cut |= steering.is_some() || !may_stay(member);
    }
    if is_cut {
        let mut room = ListRoom::default();
        head.replace_values(known, |line| {
            let stays = |member: &&[u8]| steering_key(key(member)).is_none() && may_stay(member);
            let kept: Vec<&[u8]> = members(line).filter(stays).filter(|member| room.take(member)).collect();
            (kept.len() < members(line).count()).then(|| kept.join(b",".as_slice()))
        });
    }
    overrides
}

/// Returns the key in the name of a field that holds one member of baggage.
fn item_key(name: &[u8]) -> Vec<u8> {
    let is_opentracing = name.first().is_some_and(|first| first.eq_ignore_ascii_case(&b'o'));
    let prefix = if is_opentracing { "ot-baggage-" } else { "uberctx-" };
    let key = name.get(prefix.len()..).unwrap_or_default();
    // A CGI gateway folds the two.
    key.iter().map(|&byte| if byte == b'_' { b'-' } else { byte }).collect()
}

/// Returns whether a field that steers holds dtab entries, in whatever spelling.
fn is_override(field: &Field<'_>) -> bool {
    let is_spelling_of = |name: &[u8]| {
        field.name.len() == name.len()
            && std::iter::zip(field.name, name)
                .all(|(&got, &want)| got.eq_ignore_ascii_case(&want) || (got == b'_' && want == b'-'))
    };
    match field.known {
        KnownField::L5dDtab | KnownField::L5dCtxDtab | KnownField::DtabLocal => true,
        KnownField::L5dOther => is_spelling_of(b"l5d-dtab") || is_spelling_of(b"l5d-ctx-dtab"),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
