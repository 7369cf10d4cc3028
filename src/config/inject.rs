//! Reads the rules by which a listener gives overrides to requests that do not carry them.

use super::reader::{Reader, is_field_name};
use crate::context::token::is_tenant_key;
use crate::context::{Glob, InjectCondition, InjectRule, Percent, PercentBy, Secret};
use crate::name::{Dtab, dtab_in_file};
use crate::source::node::Node;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many characters a secret has at least.
const SHORTEST_SECRET: usize = 16;

/// Reads `inject` of a server.
pub(super) fn rules(server: &mut Reader<'_, '_>) -> Arc<[InjectRule]> {
    let list = server.get("inject");
    let nodes = list.as_ref().map_or_else(Vec::new, |list| list.list().unwrap_or_default());
    server.report().each(&nodes, |node, report| rule(&mut Reader::new(node, &["inject rule"], report))).into()
}

/// Reads one rule.
fn rule(reader: &mut Reader<'_, '_>) -> Option<InjectRule> {
    let when = match reader.get("when") {
        Some(node) => condition(&mut Reader::new(&node, &["inject condition"], reader.report())),
        None => {
            reader.error(
                None,
                "the key `when` is missing: write `when: {}` for a rule that holds for all requests",
            );
            InjectCondition::default()
        }
    };
    let (dtab, sandbox) = (dtab(reader), sandbox(reader));
    if reader.get("dtab").is_none() && reader.get("sandbox").is_none() {
        reader.error(None, "expected `dtab`, `sandbox` or both: the rule gives nothing");
    }
    Some(InjectRule::new(when, dtab.unwrap_or_default(), sandbox))
}

/// Reads `dtab`.
fn dtab(reader: &mut Reader<'_, '_>) -> Option<Dtab> {
    let node = reader.get("dtab")?;
    let dentries = reader.report().check(dtab_in_file(&node))?;
    Some(dentries.into_iter().map(|(_, dentry)| dentry).collect())
}

/// Reads `sandbox`.
fn sandbox(reader: &mut Reader<'_, '_>) -> Option<String> {
    let node = reader.get("sandbox")?;
    let text = reader.text("sandbox")?;
    let expected = "a tenant key of lower-case letters, digits, `-` and `.`, or several joined by `+`";
    reader.report().check(if is_tenant_key(text) {
        Ok(text.to_owned())
    } else {
        Err(node.unexpected(expected))
    })
}

/// Reads `when`.
fn condition(reader: &mut Reader<'_, '_>) -> InjectCondition {
    let path = reader.text("path").map(str::to_owned);
    if path.as_ref().is_some_and(|path| !path.starts_with('/')) {
        let error =
            reader.get("path").map(|node| node.unexpected("the beginning of a path, such as `/checkout`"));
        reader.report().errors(error);
    }
    InjectCondition {
        cookie: globs(reader, "cookie"),
        header: globs(reader, "header"),
        path,
        query: globs(reader, "query"),
        from: reader.ranges("from"),
        identities: super::tls::identities(reader),
        percent: percent(reader),
    }
}

/// Reads a mapping of names to patterns.
fn globs(reader: &mut Reader<'_, '_>, key: &str) -> BTreeMap<String, Glob> {
    let Some(node) = reader.get(key) else { return BTreeMap::new() };
    let entries = reader.report().check(node.mapping()).unwrap_or_default();
    let mut globs = BTreeMap::new();
    for entry in entries {
        if key != "query" && !is_field_name(entry.name) {
            let error = entry.error(format!("expected the name of a {key}, found `{}`", entry.name));
            reader.report().error(error);
        }
        if let Some(text) = reader.report().check(entry.value.text()) {
            globs.insert(entry.name.to_owned(), Glob::new(text));
        }
    }
    globs
}

/// Reads `percent`.
fn percent(reader: &mut Reader<'_, '_>) -> Option<Percent> {
    let node = reader.get("percent")?;
    let mut reader = Reader::new(&node, &["inject share"], reader.report());
    let (share, by, secret) = (share(&mut reader), by(&mut reader), secret(&mut reader));
    Some(Percent { share: share?, by: by?, secret: secret? })
}

/// Reads `share`.
fn share(reader: &mut Reader<'_, '_>) -> Option<f64> {
    let node = reader.require("share")?;
    let share =
        node.text().ok().and_then(|text| text.parse().ok()).filter(|share| (0.0..=100.0).contains(share));
    reader.report().check(share.ok_or_else(|| node.unexpected("a number from 0 to 100, such as 5 or 0.5")))
}

/// Reads `by`.
fn by(reader: &mut Reader<'_, '_>) -> Option<PercentBy> {
    let expected = "`peer` or `{cookie: session}`";
    let node = reader.require("by")?;
    if node.is_mapping() {
        let mut caller = Reader::new(&node, &["inject caller"], reader.report());
        return match caller.non_empty("cookie") {
            Some(name) => Some(PercentBy::Cookie(name)),
            None => {
                caller.error(None, format!("expected {expected}"));
                None
            }
        };
    }
    let is_peer = node.text().is_ok_and(|text| text == "peer");
    reader.report().check(if is_peer { Ok(PercentBy::Peer) } else { Err(node.unexpected(expected)) })
}

/// Reads `secret`. It is not shown in an error either.
fn secret(reader: &mut Reader<'_, '_>) -> Option<Secret> {
    let node = reader.require("secret")?;
    let text = reader.text("secret")?;
    if text.chars().count() < SHORTEST_SECRET {
        let message = format!("expected a secret of {SHORTEST_SECRET} characters or more, drawn at random");
        reader.report().error(Node::error(&node, message));
        return None;
    }
    Some(Secret::new(text))
}
