//! The removal of everything that steers from the request of an untrusted caller.

mod lists;
pub(super) mod query;

use super::steering::SteeringNames;
use super::{Context, RemovalKind, Tenancy};
use crate::message::{Field, Head, KnownField};

/// Removes everything that steers: fields, members of the lists that stay, and the query parameter; counts it by kind.
pub(super) fn drop_steering(head: &mut Head, names: &SteeringNames, context: &mut Context) {
    let removals = &mut context.removals;
    head.remove_where(|field| match steering_field(&field, names) {
        Some(kind) => {
            removals.add(kind);
            true
        }
        None => false,
    });
    lists::cut_baggage(head, names, removals);
    lists::drop_steering_trace(head, names, removals);
    query::cut_query(head, names, removals);
}

/// Returns whether a field of this name is removed from the requests of callers that are not trusted.
pub fn is_removed(name: &[u8], tenancy: &Tenancy) -> bool {
    let field = Field { name, value: b"", known: KnownField::of(name) };
    steering_field(&field, &SteeringNames::new(tenancy)).is_some()
}

/// Returns whether anything of a request names a tenant, or holds a dtab in a list.
pub(super) fn names_tenant(head: &Head, names: &SteeringNames) -> bool {
    let is_field = |field: Field<'_>| match field.known {
        KnownField::Other => names.headers().contains(field.name),
        KnownField::BaggageItem => names.of_item(field.name).is_some(),
        _ => false,
    };
    let may_be_field = head.contains(KnownField::BaggageItem) || !names.headers().is_empty();
    lists::have_steering(head, names)
        || query::has_tenant(head, names)
        || (may_be_field && head.fields().any(is_field))
}

/// Returns the kind of a field that steers as a whole.
fn steering_field(field: &Field<'_>, names: &SteeringNames) -> Option<RemovalKind> {
    match field.known {
        KnownField::Other => names.headers().contains(field.name).then_some(RemovalKind::Tenant),
        KnownField::BaggageItem => names.of_item(field.name).map(RemovalKind::from),
        known if known.is_steering() && is_override(field) => Some(RemovalKind::Override),
        known => known.is_steering().then_some(RemovalKind::L5d),
    }
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
