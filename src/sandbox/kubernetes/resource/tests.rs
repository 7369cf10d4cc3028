use super::*;
use crate::context::is_sandbox_key;
use crate::kubernetes::definition::{assert_complete, assert_named, columns, definition, schema};
use crate::sandbox::{LabelPattern, parse_ttl};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

const FILE: &str = "sandbox-crds.yaml";

fn text() -> String {
    "a".to_owned()
}

fn conditions() -> Vec<Condition> {
    vec![Condition {
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        message: text(),
        observed_generation: Some(1),
        reason: text(),
        status: text(),
        type_: ACCEPTED.to_owned(),
    }]
}

#[test]
fn the_definitions_name_the_resources() {
    assert_named::<SandboxResource>(&definition(FILE, "Sandbox"));
    assert_named::<GroupResource>(&definition(FILE, "SandboxGroup"));
}

#[test]
fn the_definitions_describe_every_field_and_no_other() {
    let spec = SandboxSpec {
        key: Some(text()),
        dtab: text(),
        owner: Some(text()),
        ttl: Some(text()),
        expires_at: Some(Timestamp::UNIX_EPOCH),
        values: [(text(), text())].into(),
    };
    let status = SandboxStatus {
        observed_generation: Some(1),
        key: Some(text()),
        expires_at: Some(Timestamp::UNIX_EPOCH),
        conditions: conditions(),
    };
    let full = SandboxResource { metadata: ObjectMeta::default(), spec, status: Some(status) };
    let sandbox = definition(FILE, "Sandbox");
    assert_complete::<SandboxResource>(&sandbox, serde_json::to_value(full).unwrap());
    assert_eq!(schema(&sandbox)["properties"]["spec"]["required"], json!(["dtab"]));

    let spec = GroupSpec {
        key: Some(text()),
        all: Some(vec![text()]),
        any: Some(vec![text()]),
        label: Some(LabelPattern { key: text(), value: text() }),
    };
    let status = GroupStatus {
        observed_generation: Some(1),
        key: Some(text()),
        members: vec![text()],
        conflicts: vec![text()],
        conditions: conditions(),
    };
    let full = GroupResource { metadata: ObjectMeta::default(), spec, status: Some(status) };
    assert_complete::<GroupResource>(&definition(FILE, "SandboxGroup"), serde_json::to_value(full).unwrap());
}

#[test]
fn columns_show_what_is_there() {
    let status = |condition: &str| format!(".status.conditions[?(@.type==\"{condition}\")].status");
    assert_eq!(
        columns(&definition(FILE, "Sandbox")),
        [
            ("Key", ".status.key"),
            ("Owner", ".spec.owner"),
            ("Accepted", &*status(ACCEPTED)),
            ("Ready", &*status(READY)),
            ("Expires", ".status.expiresAt"),
            ("Age", ".metadata.creationTimestamp"),
        ]
    );
    assert_eq!(
        columns(&definition(FILE, "SandboxGroup")),
        [
            ("Key", ".status.key"),
            ("Members", ".status.members"),
            ("Accepted", &*status(ACCEPTED)),
            ("Ready", &*status(READY)),
            ("Age", ".metadata.creationTimestamp"),
        ]
    );
}

#[test]
fn the_patterns_are_those_of_the_code() {
    let sandbox = definition(FILE, "Sandbox");
    let of = |field: &str| -> Value { schema(&sandbox)["properties"]["spec"]["properties"][field].clone() };
    assert_eq!(of("key")["pattern"], "^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$");
    assert_eq!(of("key")["maxLength"], "63");
    assert!(is_sandbox_key(&"a".repeat(63)) && !is_sandbox_key(&"a".repeat(64)));
    assert!(is_sandbox_key("0-a.b") && !is_sandbox_key("-a") && !is_sandbox_key("A") && !is_sandbox_key(""));

    // The pattern admits a few lifetimes that the code refuses, such as 0h, and none that it reads otherwise.
    assert_eq!(of("ttl")["pattern"], "^([0-9]{1,7}[wdhms] ?){1,5}$");
    for ttl in ["1w", "7d", "24h", "90m", "45s", "1d 12h", "1w 2d 3h 4m 5s", "1d12h"] {
        assert!(parse_ttl(ttl).is_ok(), "{ttl}");
    }
}
