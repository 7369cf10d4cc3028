//! Pages with the current state of namers, stores, routers and clients.

use super::response::{PageResponse, json, text};
use super::{AdminState, RouterView};
use crate::interpret::Namers;
use crate::name::Dentry;
use crate::proxy::{EndpointHealth, EndpointRegistry};
use hyper::StatusCode;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The limit on the names that one namer lists.
const MOST_NAMES: usize = 10_000;

/// Answers `/bound-names.json`: the names that namers can list, and the names that requests were sent to.
pub(super) async fn bound_names(state: &AdminState) -> PageResponse {
    let namers = state.namers.borrow().clone();
    let list = move || namers.iter().flat_map(|(_, namer)| namer.names(MOST_NAMES)).collect::<BTreeSet<_>>();
    // An error is a panic of the blocking task, or the end of the runtime.
    let mut names = tokio::task::spawn_blocking(list).await.unwrap_or_default();
    names.extend(state.endpoint_registry.endpoints().into_keys());
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    json(StatusCode::OK, &names, false)
}

/// Answers `/namer_state.json`: by prefix. Shows the one that is asked first of several namers with the same prefix.
pub(super) fn namer_states(namers: &Namers) -> PageResponse {
    let mut shown = Map::new();
    for (prefix, state) in states(namers) {
        shown.entry(prefix).or_insert(state);
    }
    json(StatusCode::OK, &shown, false)
}

/// Answers `/namer_state/<prefix>.json`.
pub(super) fn namer_state(namers: &Namers, prefix: &str) -> PageResponse {
    if let Some((_, state)) = states(namers).find(|(found, _)| found == prefix) {
        return json(StatusCode::OK, &state, false);
    }
    let known: Vec<String> = states(namers).map(|(prefix, _)| prefix).collect();
    let known = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
    text(
        StatusCode::NOT_FOUND,
        &format!("no namer with a state has that prefix; those that have one: {known}"),
    )
}

/// Returns the states of the namers that have one, by prefix without the `/#/`; the namer that is asked first comes
/// first.
fn states(namers: &Namers) -> impl Iterator<Item = (String, Value)> {
    namers.iter().rev().filter_map(|(path, namer)| {
        let prefix = path.skip(1).to_string();
        Some((prefix.trim_start_matches('/').to_owned(), namer.state()?))
    })
}

/// Answers `/interpreter_state/<router>.json`.
pub(super) fn interpreter_state(routers: &[RouterView], label: &str) -> PageResponse {
    let stores = || routers.iter().filter_map(|router| Some((&*router.label, router.store.as_ref()?)));
    if let Some((_, store)) = stores().find(|(found, _)| *found == label) {
        return json(StatusCode::OK, &store.state(), false);
    }
    let known: Vec<&str> = stores().map(|(label, _)| label).collect();
    let known = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
    text(
        StatusCode::NOT_FOUND,
        &format!("no router of that label has a stored dtab; those that have one: {known}"),
    )
}

/// Answers `/routers.json`.
pub(super) fn routers(routers: &[RouterView]) -> PageResponse {
    let entry = |dentry: &Dentry| serde_json::json!({ "prefix": dentry.prefix.to_string(), "dst": format!("{:#}", dentry.dst) });
    let shown = |router: &RouterView| {
        let dtab: Vec<_> = router.naming.borrow().dtab.iter().map(entry).collect();
        serde_json::json!({ "label": router.label, "dstPrefix": router.prefix.to_string(), "dtab": dtab })
    };
    json(StatusCode::OK, &routers.iter().map(shown).collect::<Vec<_>>(), false)
}

/// Answers `/client_state.json`: the endpoints of each client, and those among them that fail.
pub(super) fn client_state(endpoint_registry: &EndpointRegistry) -> PageResponse {
    let mut clients = Map::new();
    for (client, health) in endpoint_registry.health() {
        let addresses: Vec<String> = health.endpoints.keys().map(ToString::to_string).collect();
        if addresses.is_empty() {
            continue;
        }
        let mut state = serde_json::json!({ "state": "bound", "addresses": addresses });
        let failing: Map<String, Value> = health
            .endpoints
            .iter()
            .filter_map(|(address, health)| Some((address.to_string(), failing_state(*health)?)))
            .collect();
        if !failing.is_empty() {
            state["failing"] = failing.into();
        }
        clients.insert(client.to_string(), state);
    }
    json(StatusCode::OK, &clients, false)
}

/// Returns the state of an endpoint whose last attempt has failed.
fn failing_state(health: EndpointHealth) -> Option<Value> {
    match health {
        EndpointHealth::Alive { failures: 0 } => None,
        EndpointHealth::Alive { failures } => {
            Some(serde_json::json!({ "state": "alive", "failures": failures }))
        }
        EndpointHealth::Shut => Some(serde_json::json!({ "state": "shut" })),
        EndpointHealth::Probing => Some(serde_json::json!({ "state": "probing" })),
    }
}
