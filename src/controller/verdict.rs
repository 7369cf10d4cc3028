//! The status that an object should have. Everything here is pure.

use super::readiness::SandboxReadiness;
use crate::sandbox::kubernetes::{
    ACCEPTED, GroupResource, GroupStatus, READY, SandboxResource, SandboxStatus,
};
use crate::sandbox::{
    Group, GroupMembership, Members, Overlay, Sandbox, SandboxRefusal, SandboxTable, TableEntry,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The limit on the bytes of a message; the API server allows 32,768.
const LONGEST_MESSAGE: usize = 4096;

/// One condition, before it is known whether it has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// Whether it is so; none if that is not known.
    pub(super) holds: Option<bool>,
    /// The reason in a word.
    pub(super) reason: String,
    /// The reason for people.
    pub(super) message: String,
}

impl Statement {
    fn new(holds: impl Into<Option<bool>>, reason: &str, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > LONGEST_MESSAGE {
            message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
            message.push_str("...");
        }
        Self { holds: holds.into(), reason: reason.to_owned(), message }
    }

    fn refused(refusal: &SandboxRefusal) -> Self {
        Self::new(false, refusal.reason(), refusal.to_string())
    }

    /// Returns the condition. Its time is that of the last one, if that has the same status.
    fn condition(
        self,
        kind: &str,
        before: &[Condition],
        generation: Option<i64>,
        now: Timestamp,
    ) -> Condition {
        let status = match self.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let same = before.iter().find(|before| before.type_ == kind && before.status == status);
        Condition {
            last_transition_time: same.map_or(Time(now), |same| same.last_transition_time.clone()),
            message: self.message,
            observed_generation: generation,
            reason: self.reason,
            status: status.to_owned(),
            type_: kind.to_owned(),
        }
    }
}

/// Returns whether requests can select a sandbox.
pub(super) fn sandbox_accepted(sandbox: &Sandbox, table: &SandboxTable, now: Timestamp) -> Statement {
    if let Err(refusal) = &sandbox.dtab {
        return Statement::refused(refusal);
    }
    if sandbox.is_expired(now) {
        return Statement::new(false, "Expired", "it has ended");
    }
    match table.sandbox_key_taken(sandbox) {
        Some(taken) => Statement::refused(&taken),
        None => selected_by(&sandbox.key),
    }
}

fn selected_by(key: &str) -> Statement {
    Statement::new(true, "Accepted", format!("requests with the key {key} select it"))
}

/// Returns whether the destinations of a sandbox have endpoints. None if that is not known yet.
fn sandbox_ready(accepted: &Statement, readiness: SandboxReadiness) -> Option<Statement> {
    if accepted.holds != Some(true) {
        return Some(Statement::new(false, "NotAccepted", "it is not accepted"));
    }
    match readiness {
        SandboxReadiness::Unknown => None,
        SandboxReadiness::Ready(0) => Some(Statement::new(true, "Ready", "it has no entries")),
        SandboxReadiness::Ready(1) => Some(Statement::new(true, "Ready", "its destination has endpoints")),
        SandboxReadiness::Ready(count) => {
            Some(Statement::new(true, "Ready", format!("its {count} destinations have endpoints")))
        }
        SandboxReadiness::NotReady(reason, text) => Some(Statement::new(false, reason, text)),
    }
}

/// Returns the status that a sandbox should have.
pub(super) fn sandbox_status(
    resource: &SandboxResource,
    sandbox: &Sandbox,
    table: &SandboxTable,
    readiness: SandboxReadiness,
    now: Timestamp,
) -> SandboxStatus {
    let generation = resource.metadata.generation;
    let before = resource.status.as_ref();
    let known = before.map_or(&[][..], |status| &status.conditions);
    let accepted = sandbox_accepted(sandbox, table, now);
    let ready = sandbox_ready(&accepted, readiness);
    SandboxStatus {
        observed_generation: generation,
        key: Some(sandbox.key.to_string()),
        // A refused lifetime has no end; one that was written before stays.
        expires_at: sandbox.expires.or(before.and_then(|status| status.expires_at)),
        conditions: conditions(known, generation, accepted, ready, now),
    }
}

/// Returns the status that a group should have. `is_ready` says why a sandbox is not ready, or none.
pub(super) fn group_status(
    resource: &GroupResource,
    group: &Group,
    table: &SandboxTable,
    readiness: impl Fn(&Sandbox) -> SandboxReadiness,
    now: Timestamp,
) -> GroupStatus {
    let generation = resource.metadata.generation;
    let known = resource.status.as_ref().map_or(&[][..], |status| &status.conditions);
    // Only the table knows how many sandboxes a label chooses.
    let held = match table.get(&group.key) {
        Some(TableEntry::Group(found)) if found.group.id == group.id => Some(found),
        _ => None,
    };
    let members = held.map_or(&group.members, |found| &found.group.members);
    let accepted = match (members, table.group_key_taken(group)) {
        (Err(refusal), _) => Statement::refused(refusal),
        (Ok(_), Some(taken)) => Statement::refused(&taken),
        (Ok(_), None) => selected_by(&group.key),
    };
    let found = held.filter(|_| accepted.holds == Some(true));
    let ready = match found {
        None => Some(Statement::new(false, "NotAccepted", "it is not accepted")),
        Some(found) => group_ready(found, readiness),
    };
    let members = found.map(|found| found.members.iter().map(|member| member.id.name.to_string()).collect());
    let conflicts = found.map(|_| Overlay::new(table, &group.key, now).find_conflicts());
    GroupStatus {
        observed_generation: generation,
        key: Some(group.key.to_string()),
        members: members.unwrap_or_default(),
        conflicts: conflicts.unwrap_or_default(),
        conditions: conditions(known, generation, accepted, ready, now),
    }
}

/// Returns whether all members of a group are there and ready. None if that is not known yet.
fn group_ready(
    found: &GroupMembership,
    readiness: impl Fn(&Sandbox) -> SandboxReadiness,
) -> Option<Statement> {
    if !found.missing.is_empty() {
        let message = format!("no accepted sandbox is called {}", found.missing.join(", "));
        return Some(Statement::new(false, "MemberMissing", message));
    }
    if found.members.is_empty() {
        let message = match &found.group.members {
            Ok(Members::Label(_)) => "no sandbox has a label that matches",
            _ => "none of its sandboxes is there",
        };
        return Some(Statement::new(false, "NoMembers", message));
    }
    let mut is_known = true;
    for member in &found.members {
        let name = &member.id.name;
        match (&member.dtab, readiness(member)) {
            (Err(refusal), _) => {
                let message = format!("{name} is not accepted: {refusal}");
                return Some(Statement::new(false, "MemberNotAccepted", message));
            }
            (Ok(_), SandboxReadiness::NotReady(_, text)) => {
                return Some(Statement::new(false, "MemberNotReady", format!("{name}: {text}")));
            }
            (Ok(_), SandboxReadiness::Unknown) => is_known = false,
            (Ok(_), SandboxReadiness::Ready(_)) => {}
        }
    }
    is_known.then(|| Statement::new(true, "Ready", "all of its sandboxes are ready"))
}

/// Returns both conditions. While readiness is not known, the last word on it stays; without one it is unknown.
fn conditions(
    known: &[Condition],
    generation: Option<i64>,
    accepted: Statement,
    ready: Option<Statement>,
    now: Timestamp,
) -> Vec<Condition> {
    let last = || known.iter().find(|condition| condition.type_ == READY).cloned();
    let ready = match ready {
        Some(ready) => Some(ready.condition(READY, known, generation, now)),
        None => last(),
    };
    let ready = ready.unwrap_or_else(|| {
        Statement::new(None, "Asking", "its destinations are being asked")
            .condition(READY, known, generation, now)
    });
    vec![accepted.condition(ACCEPTED, known, generation, now), ready]
}

/// Returns the conditions of this controller among those of a status, in the order in which it writes them.
pub(super) fn own_conditions(conditions: &[Condition]) -> Vec<Condition> {
    let own = [ACCEPTED, READY].map(|kind| conditions.iter().find(|condition| condition.type_ == kind));
    own.into_iter().flatten().cloned().collect()
}

/// Returns the conditions that say something else than before, for events: those that became true or false.
pub(super) fn changed<'a>(before: &[Condition], now: &'a [Condition]) -> Vec<&'a Condition> {
    let is_new = |condition: &&Condition| {
        let known = before.iter().find(|before| before.type_ == condition.type_);
        // A word that is new, or another reason why not.
        known.is_none_or(|known| known.status != condition.status || known.reason != condition.reason)
    };
    // The readiness of what is not accepted is no news.
    let is_news = |condition: &&Condition| condition.status != "Unknown" && condition.reason != "NotAccepted";
    now.iter().filter(is_new).filter(is_news).collect()
}

#[cfg(test)]
mod tests;
