use super::*;
use crate::sandbox::samples::{group, sandbox, store};
use crate::sandbox::{GroupSpec, StoreState};
use serde_json::{Value, json};
use std::sync::Arc;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn resource(name: &str, generation: i64, status: &Value) -> SandboxResource {
    let metadata = json!({ "namespace": "ns", "name": name, "generation": generation });
    serde_json::from_value(json!({ "metadata": metadata, "spec": { "dtab": "" }, "status": status })).unwrap()
}

/// Returns each condition as `Accepted=True Reason: message`.
fn said(conditions: &[Condition]) -> Vec<String> {
    let say = |condition: &Condition| {
        let Condition { type_, status, reason, message, .. } = condition;
        format!("{type_}={status} {reason}: {message}")
    };
    conditions.iter().map(say).collect()
}

#[test]
fn a_sandbox_is_told_why_it_is_not_accepted() {
    let old = sandbox(Some("ns"), "v2", 10, "/svc => /a");
    let young = sandbox(Some("other"), "v2", 20, "/svc => /b");
    let bad = sandbox(Some("ns"), "bad", 10, "/svc => /a ;\n/svc = /b");
    let table = SandboxTable::new([&store([&old, &young, &bad], [])], at(30));
    let status = |sandbox: &Sandbox, readiness| {
        sandbox_status(&resource("v2", 3, &Value::Null), sandbox, &table, readiness, at(30))
    };
    let ready = status(&old, SandboxReadiness::Ready(2));
    assert_eq!(
        said(&ready.conditions),
        [
            "Accepted=True Accepted: requests with the key v2 select it",
            "Ready=True Ready: its 2 destinations have endpoints",
        ]
    );
    assert_eq!((ready.observed_generation, ready.key.as_deref()), (Some(3), Some("v2")));
    assert_eq!(ready.expires_at, Some(at(10 + 24 * 3600)));

    let taken = said(&status(&young, SandboxReadiness::Unknown).conditions);
    assert_eq!(
        taken,
        [
            "Accepted=False KeyTaken: its key v2 belongs to ns/v2, which is older: choose another `key`",
            "Ready=False NotAccepted: it is not accepted",
        ]
    );
    let wrong = said(&status(&bad, SandboxReadiness::Unknown).conditions);
    assert!(
        wrong[0].starts_with("Accepted=False InvalidDtab: line 2, column 6 of its dtab: expected '=>'"),
        "{wrong:?}"
    );
    let trouble = SandboxReadiness::NotReady("NoEndpoints", "/a leads to no endpoint".to_owned());
    let not_ready = said(&status(&old, trouble).conditions);
    assert_eq!(not_ready[1], "Ready=False NoEndpoints: /a leads to no endpoint");
}

#[test]
fn a_condition_keeps_its_time_and_the_last_word() {
    let one = sandbox(Some("ns"), "v2", 10, "/svc => /a");
    let table = SandboxTable::new([&store([&one], [])], at(30));
    let status = |before: &SandboxStatus, readiness, second| {
        let before = serde_json::to_value(before).unwrap();
        sandbox_status(&resource("v2", 1, &before), &one, &table, readiness, at(second))
    };
    let times = |status: &SandboxStatus| -> Vec<i64> {
        status.conditions.iter().map(|condition| condition.last_transition_time.0.as_second()).collect()
    };
    let asking = status(&SandboxStatus::default(), SandboxReadiness::Unknown, 30);
    assert_eq!(said(&asking.conditions)[1], "Ready=Unknown Asking: its destinations are being asked");
    let ready = status(&asking, SandboxReadiness::Ready(1), 31);
    assert_eq!(times(&ready), [30, 31]);
    assert_eq!(status(&ready, SandboxReadiness::Ready(1), 32), ready, "nothing is to be written");
    assert_eq!(status(&ready, SandboxReadiness::Unknown, 33), ready, "another leader begins to ask");
    let trouble = |text: &str| SandboxReadiness::NotReady("NoEndpoints", text.to_owned());
    let lost = status(&ready, trouble("a"), 34);
    assert_eq!(times(&status(&lost, trouble("b"), 35)), [30, 34], "the status is the same");

    let news = |before: &SandboxStatus, now: &SandboxStatus| {
        said(&changed(&before.conditions, &now.conditions).into_iter().cloned().collect::<Vec<_>>())
    };
    assert_eq!(news(&SandboxStatus::default(), &asking).len(), 1);
    assert_eq!(news(&asking, &ready), ["Ready=True Ready: its destination has endpoints"]);
    assert_eq!(news(&ready, &lost), ["Ready=False NoEndpoints: a"]);
    assert_eq!(news(&lost, &status(&lost, trouble("b"), 35)), [""; 0]);
}

#[test]
fn a_group_is_ready_when_its_members_are() {
    let sandboxes = [
        sandbox(Some("ns"), "a", 10, "/svc/world => /a"),
        sandbox(Some("ns"), "b", 10, "/svc/world => /b"),
        sandbox(Some("ns"), "bad", 10, "/svc"),
    ];
    let all = |names: &[&str]| GroupSpec {
        all: Some(names.iter().copied().map(str::to_owned).collect()),
        ..GroupSpec::default()
    };
    let groups = [
        group("ns", "both", all(&["a", "b"])),
        group("ns", "part", all(&["a", "c"])),
        group("ns", "wrong", all(&["a", "bad"])),
        group("ns", "a", all(&["b"])),
        group("ns", "none", GroupSpec::default()),
        group("ns", "few", GroupSpec { any: Some(vec!["c".to_owned()]), ..GroupSpec::default() }),
    ];
    let table = SandboxTable::new([&store(&sandboxes, &groups), &StoreState::Ready(Arc::default())], at(30));
    let status = |index: usize, b: SandboxReadiness| {
        let group: &Group = &groups[index];
        let metadata = json!({ "namespace": "ns", "name": &*group.id.name, "generation": 1 });
        let resource = serde_json::from_value(json!({ "metadata": metadata, "spec": {} })).unwrap();
        let readiness =
            |member: &Sandbox| if &*member.id.name == "b" { b.clone() } else { SandboxReadiness::Ready(1) };
        group_status(&resource, group, &table, readiness, at(30))
    };
    let both = status(0, SandboxReadiness::Ready(1));
    assert_eq!(both.members, ["a", "b"]);
    assert_eq!(both.conflicts, ["/svc/world a+b"]);
    assert_eq!(said(&both.conditions)[1], "Ready=True Ready: all of its sandboxes are ready");
    let trouble = SandboxReadiness::NotReady("NoEndpoints", "/b leads to no endpoint".to_owned());
    let second = |index, readiness| said(&status(index, readiness).conditions)[1].clone();
    assert_eq!(second(0, trouble), "Ready=False MemberNotReady: b: /b leads to no endpoint");
    assert_eq!(
        second(0, SandboxReadiness::Unknown),
        "Ready=Unknown Asking: its destinations are being asked"
    );
    assert_eq!(
        second(1, SandboxReadiness::Unknown),
        "Ready=False MemberMissing: no accepted sandbox is called c"
    );
    assert!(
        second(2, SandboxReadiness::Unknown)
            .starts_with("Ready=False MemberNotAccepted: bad is not accepted: ")
    );
    assert_eq!(second(5, SandboxReadiness::Unknown), "Ready=False NoMembers: none of its sandboxes is there");
    let first = |index| said(&status(index, SandboxReadiness::Unknown).conditions)[0].clone();
    assert!(first(3).starts_with("Accepted=False KeyTaken: its key a belongs to ns/a"), "{}", first(3));
    assert!(first(4).starts_with("Accepted=False InvalidMembers: "), "{}", first(4));
}

#[test]
fn a_message_is_bounded() {
    let long = Statement::new(false, "Reason", "ä".repeat(LONGEST_MESSAGE));
    assert!(long.message.len() <= LONGEST_MESSAGE + 3 && long.message.ends_with("..."));
}
