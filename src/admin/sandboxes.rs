//! The sandboxes, as the admin server shows them.

use super::query::Query;
use super::response::{PageResponse, json};
use crate::name::Dtab;
use crate::sandbox::{GroupMembership, Sandbox, SandboxTable, TableEntry, Unknown};
use hyper::StatusCode;
use serde_json::{Value, json as value};

/// The limit on the sandboxes and groups that are listed; `?key=` finds the others.
const MOST_LISTED: usize = 1_000;

/// Answers `/sandboxes.json`: the sandboxes and groups that have their keys, in the order of the keys; with `key=`, that one
/// alone.
pub(super) fn list(table: &SandboxTable, query: Query<'_>) -> PageResponse {
    let wanted = query.get("key");
    let mut entries: Vec<&TableEntry> = match &wanted {
        Some(key) => table.get(key).into_iter().collect(),
        None => table.entries().collect(),
    };
    entries.sort_unstable_by_key(|entry| entry.key());
    let left_out = entries.len().saturating_sub(MOST_LISTED);
    let shown: Vec<Value> = entries.into_iter().take(MOST_LISTED).map(show).collect();
    let incomplete = table.unknown().map(|unknown| match unknown {
        Unknown::Pending => "a store has not given its first list yet",
        Unknown::Failed(reason) => reason,
    });
    json(
        StatusCode::OK,
        &value!({ "sandboxes": shown, "leftOut": left_out, "incomplete": incomplete }),
        false,
    )
}

fn show(entry: &TableEntry) -> Value {
    match entry {
        TableEntry::Sandbox(sandbox) => show_sandbox(sandbox),
        TableEntry::Group(found) => show_group(found),
    }
}

fn show_sandbox(sandbox: &Sandbox) -> Value {
    let refusal = sandbox.dtab.as_ref().err();
    value!({
        "key": &*sandbox.key,
        "kind": "sandbox",
        "id": sandbox.id.to_string(),
        "owner": sandbox.owner,
        "expires": sandbox.expires.map(|at| at.to_string()),
        "refused": refusal.map(ToString::to_string),
        "dtab": sandbox.dtab.as_ref().map_or_else(|_| Vec::new(), show_entries),
    })
}

fn show_group(GroupMembership { group, members, missing }: &GroupMembership) -> Value {
    let names: Vec<&str> = members.iter().map(|member| &*member.id.name).collect();
    let dtab: Vec<Value> =
        members.iter().filter_map(|member| member.dtab.as_ref().ok()).flat_map(show_entries).collect();
    value!({
        "key": &*group.key,
        "kind": "group",
        "id": group.id.to_string(),
        "members": names,
        "missing": missing,
        "refused": group.members.as_ref().err().map(ToString::to_string),
        "dtab": dtab,
    })
}

fn show_entries(dtab: &Dtab) -> Vec<Value> {
    let entries = dtab.iter();
    entries
        .map(|dentry| value!({ "prefix": dentry.prefix.to_string(), "dst": format!("{:#}", dentry.dst) }))
        .collect()
}
