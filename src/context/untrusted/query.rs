//! The query parameter that carries a tenant, cut out of a request's target.

use crate::context::steering::SteeringNames;
use crate::context::token::is_token_like;
use crate::context::{RemovalKind, Removals, RequestTarget};
use crate::message::Head;

/// Removes every occurrence of the parameter that carries a tenant. The others stay as they came; a `?` with nothing
/// left behind it goes too.
pub(super) fn cut_query(head: &mut Head, names: &SteeringNames, removals: &mut Removals) {
    if names.has_parameter() {
        let count = cut_parameters(head, |parameter| names.is_tenant_parameter(name(parameter)));
        removals.add_many(RemovalKind::Tenant, count);
    }
}

/// Takes the tokens out of the query that stand in place of a tenant.
pub(in crate::context) fn take_tokens(head: &mut Head, names: &SteeringNames) -> Vec<Vec<u8>> {
    let tokens = tenant_values(head, names).filter(|value| is_token_like(value));
    let tokens: Vec<Vec<u8>> = tokens.map(<[u8]>::to_vec).collect();
    if !tokens.is_empty() {
        cut_parameters(head, |parameter| {
            names.is_tenant_parameter(name(parameter)) && is_token_like(parameter_value(parameter))
        });
    }
    tokens
}

/// Cuts parameters out of the query; returns how many.
fn cut_parameters(head: &mut Head, is_cut: impl Fn(&[u8]) -> bool) -> usize {
    let RequestTarget { path, query: Some(query) } = RequestTarget::split(head.target()) else { return 0 };
    let count = parameters(query).filter(|parameter| is_cut(parameter)).count();
    if count == 0 {
        return 0;
    }
    let mut left = parameters(query).filter(|parameter| !is_cut(parameter)).collect::<Vec<_>>().concat();
    if parameters(query).last().is_some_and(|last| is_cut(last) && !ends(last)) {
        // Its separator stands before it.
        left.pop();
    }
    let separator: &[u8] = if left.is_empty() { b"" } else { b"?" };
    let target = [path, separator, &left].concat();
    head.set_target(&target);
    count
}

/// Returns whether the query has the parameter that carries a tenant.
pub(super) fn has_tenant(head: &Head, names: &SteeringNames) -> bool {
    let query = RequestTarget::split(head.target()).query.filter(|_| names.has_parameter());
    query.is_some_and(|query| parameters(query).any(|parameter| names.is_tenant_parameter(name(parameter))))
}

/// Returns the values of the parameter that carries a tenant, still percent-encoded.
pub(in crate::context) fn tenant_values<'a>(
    head: &'a Head,
    names: &SteeringNames,
) -> impl Iterator<Item = &'a [u8]> {
    let query = if names.has_parameter() { RequestTarget::split(head.target()).query } else { None };
    let named =
        query.into_iter().flat_map(parameters).filter(|parameter| names.is_tenant_parameter(name(parameter)));
    named.map(parameter_value)
}

/// Returns the value of a parameter, still percent-encoded.
fn parameter_value(parameter: &[u8]) -> &[u8] {
    let end = parameter.iter().position(is_separator).unwrap_or(parameter.len());
    let value = parameter.iter().position(|byte| *byte == b'=').map_or(end, |at| at + 1);
    parameter.get(value..end).unwrap_or_default()
}

/// Returns the parameters of a query, each with the separator behind it. Some readers take `;` for one.
fn parameters(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    query.split_inclusive(is_separator)
}

/// Returns the name of a parameter, still percent-encoded.
fn name(parameter: &[u8]) -> &[u8] {
    parameter.split(|byte| *byte == b'=' || is_separator(byte)).next().unwrap_or_default()
}

/// Returns whether a parameter ends in a separator.
fn ends(parameter: &[u8]) -> bool {
    parameter.last().is_some_and(is_separator)
}

fn is_separator(byte: &u8) -> bool {
    matches!(byte, b'&' | b';')
}
