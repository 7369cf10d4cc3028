//! Sandboxes and groups for tests.

use super::{
    Group, GroupSpec, Sandbox, SandboxId, SandboxRules, SandboxSpec, StoreObjects, StoreState, Written,
};
use jiff::Timestamp;
use std::sync::Arc;

/// Returns a sandbox, made at a second, with the label `branch: feature-<name>`.
pub(crate) fn sandbox(namespace: Option<&str>, name: &str, created: i64, dtab: &str) -> Arc<Sandbox> {
    let written = Written {
        id: SandboxId { namespace: namespace.map(Into::into), name: name.into() },
        labels: [("branch".to_owned(), format!("feature-{name}"))].into(),
        created: Some(Timestamp::from_second(created).unwrap()),
        expires: None,
        spec: SandboxSpec { dtab: dtab.to_owned(), ..SandboxSpec::default() },
    };
    Arc::new(Sandbox::new(
        &written,
        &SandboxRules::new(None, Some(vec!["/**".parse().unwrap()]), super::MAX_TTL, Vec::new()),
    ))
}

/// Returns a group.
pub(crate) fn group(namespace: &str, name: &str, spec: GroupSpec) -> Arc<Group> {
    let id = SandboxId { namespace: Some(namespace.into()), name: name.into() };
    let created = Some(Timestamp::from_second(600).unwrap());
    Arc::new(Group::new(&Written { id, labels: [].into(), created, expires: None, spec }))
}

/// Returns a store with these objects.
pub(crate) fn store<'a>(
    sandboxes: impl IntoIterator<Item = &'a Arc<Sandbox>>,
    groups: impl IntoIterator<Item = &'a Arc<Group>>,
) -> StoreState {
    let sandboxes = sandboxes.into_iter().cloned().collect();
    StoreState::Ready(Arc::new(StoreObjects { sandboxes, groups: groups.into_iter().cloned().collect() }))
}

/// Returns a sandbox that was just made, under rules.
pub(crate) fn sandbox_under(
    rules: &SandboxRules,
    namespace: Option<&str>,
    name: &str,
    dtab: &str,
) -> Arc<Sandbox> {
    let written = Written {
        id: SandboxId { namespace: namespace.map(Into::into), name: name.into() },
        labels: [].into(),
        created: Some(Timestamp::now()),
        expires: None,
        spec: SandboxSpec { dtab: dtab.to_owned(), ..SandboxSpec::default() },
    };
    Arc::new(Sandbox::new(&written, rules))
}
