//! Reads `sandboxes`: the names by which requests carry a tenant.

use super::errors::Report;
use super::reader::{FIELD_NAME, Reader, is_field_name};
use super::schema;
use crate::context::Tenancy;
use crate::message::KnownField;
use crate::source::node::{Error, Node};

/// Reads `sandboxes`.
pub(super) fn sandboxes(root: &Node<'_>, report: &mut Report) -> Tenancy {
    let mut tenancy = Tenancy::default();
    let Some(node) = Reader::new(root, &[schema::TOP], report).get("sandboxes") else { return tenancy };
    let mut reader = Reader::new(&node, &["sandboxes"], report);
    if let Some(node) = reader.get("keys") {
        tenancy.keys = names(&node, tenancy_key, reader.report());
        if node.list().is_ok_and(|list| list.is_empty()) {
            reader.error(
                Some(&node),
                "this list is empty: leave it out for the usual keys, or name one of your own",
            );
        }
    }
    if let Some(node) = reader.get("headers") {
        tenancy.headers = names(&node, header, reader.report());
    }
    tenancy.query_parameter = reader.get("queryParameter").and_then(|node| {
        let name = query_parameter(&node);
        reader.report().check(name)
    });
    tenancy
}

/// Reads a list of names, each by `read`.
fn names(list: &Node<'_>, read: fn(&Node<'_>) -> Result<String, Error>, report: &mut Report) -> Vec<String> {
    const MOST: usize = Tenancy::MAX_NAMES;
    let nodes = report.check(list.list()).unwrap_or_default();
    if nodes.len() > MOST {
        report.error(list.error(format!("this list has {} names: {MOST} are the most", nodes.len())));
        return Vec::new();
    }
    let mut names: Vec<String> = Vec::new();
    for node in &nodes {
        let Some(name) = report.check(read(node)) else { continue };
        if names.iter().any(|other| other.eq_ignore_ascii_case(&name)) {
            report
                .error(node.error(format!("`{name}` stands in this list already; case makes no difference")));
        } else {
            names.push(name);
        }
    }
    names
}

/// Reads the key of a member of baggage. `%` and `+` are left out because readers differ on what they mean.
fn tenancy_key(node: &Node<'_>) -> Result<String, Error> {
    let text = node.text()?;
    if !is_field_name(text) || text.contains(['%', '+']) {
        return Err(node.unexpected("the key of a member of baggage: letters, digits, `-`, `_` and `.`"));
    }
    if text.eq_ignore_ascii_case("dtab") {
        return Err(node.error("the member `dtab` holds a dtab, and no tenant: leave it out"));
    }
    Ok(text.to_owned())
}

/// Reads the name of a field that the router does not read or write otherwise.
fn header(node: &Node<'_>) -> Result<String, Error> {
    let text = node.text()?;
    if !is_field_name(text) {
        return Err(node.unexpected(FIELD_NAME));
    }
    if KnownField::of(text.as_bytes()) != KnownField::Other {
        return Err(node.error(format!("the router has a use of its own for `{text}`: name another header")));
    }
    Ok(text.to_owned())
}

/// Reads the name of a query parameter, of characters that need no percent-encoding (RFC 3986, 2.3).
fn query_parameter(node: &Node<'_>) -> Result<String, Error> {
    let text = node.text()?;
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if text.is_empty() || !text.bytes().all(is_unreserved) {
        return Err(node.unexpected("the name of a query parameter: letters, digits and `-._~`"));
    }
    Ok(text.to_owned())
}
