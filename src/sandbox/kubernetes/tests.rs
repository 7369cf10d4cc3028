use super::*;
use crate::kubernetes::{GroupView, WatchedObject};
use crate::sandbox::{Sandbox, SandboxTable, Unknown};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Returns a sandbox as a watch of the namespace `ns` gives it.
fn sandbox(name: &str, spec: &Value, status: &Value) -> Arc<WatchedSandbox> {
    let object = json!({
        "metadata": {
            "namespace": "ns",
            "name": name,
            "creationTimestamp": "2026-11-29T12:00:00Z",
            "resourceVersion": "7",
            "labels": { "team": "a" },
        },
        "spec": spec,
        "status": status,
    });
    Arc::new(WatchedSandbox::from_api(serde_json::from_value(object).unwrap()))
}

fn ready<T>(objects: &[Arc<T>]) -> GroupState<T> {
    GroupState::Ready(GroupView { objects: objects.into(), ..GroupView::default() })
}

fn judge(
    judged: &mut SandboxJudgements<WatchedSandbox>,
    objects: &[Arc<WatchedSandbox>],
) -> Vec<(String, u64)> {
    let version = |sandbox: &Arc<Sandbox>| (sandbox.id.to_string(), sandbox.version());
    judged.update(objects).iter().map(version).collect()
}

#[test]
fn what_has_not_changed_is_not_judged_again() {
    let mut judged = SandboxJudgements::new(Arc::default());
    let dtab = |text: &str| json!({ "dtab": text });
    let [a, b, d] = ["a", "b", "d"].map(|name| sandbox(name, &dtab("/a => /b"), &Value::Null));
    let first = judge(&mut judged, &[a.clone(), b, d.clone()]);
    assert_eq!(first.iter().map(|(id, _)| &**id).collect::<Vec<_>>(), ["ns/a", "ns/b", "ns/d"]);

    let c = sandbox("c", &dtab("/c => /d"), &Value::Null);
    let changed = sandbox("b", &dtab("/a => /c"), &Value::Null);
    let second = judge(&mut judged, &[a, changed, c.clone(), d.clone()]);
    assert_eq!((&second[0], &second[3]), (&first[0], &first[2]));
    assert_ne!(second[1], first[1]);

    let third = judge(&mut judged, &[c, d.clone()]);
    assert_eq!(third, second[2..]);

    // An equal object of a new list, and one whose end is written that was known before.
    let again = sandbox("d", &dtab("/a => /b"), &json!({ "expiresAt": "2026-11-30T12:00:00Z", "key": "d" }));
    assert_ne!(again, d);
    assert_eq!(judge(&mut judged, &[again]), third[1..]);
    let later = sandbox("d", &dtab("/a => /b"), &json!({ "expiresAt": "2026-11-30T13:00:00Z" }));
    assert_ne!(judge(&mut judged, &[later]), third[1..]);
    assert_eq!(judge(&mut judged, &[]), []);
}

#[test]
fn a_written_status_changes_nothing() {
    let spec = json!({ "dtab": "", "expiresAt": "2026-11-30T12:00:00Z" });
    let condition = json!({
        "type": ACCEPTED, "status": "True", "reason": "Valid", "message": "", "lastTransitionTime": "2026-11-29T12:00:00Z",
    });
    let status = json!({ "conditions": [condition], "observedGeneration": 3, "key": "a" });
    assert_eq!(sandbox("a", &spec, &Value::Null), sandbox("a", &spec, &status));
}

#[test]
fn ends_are_those_of_the_owner_or_of_the_controller() {
    let end = |spec: &Value, status: &Value| {
        let mut judged = SandboxJudgements::new(Arc::default());
        let sandbox = judged.update(&[sandbox("a", spec, status)]).remove(0);
        sandbox.expires.map_or_else(|| sandbox.dtab.clone().unwrap_err().to_string(), |at| at.to_string())
    };
    let written = json!({ "expiresAt": "2026-11-29T18:00:00Z" });
    let table = [
        (json!({}), json!({}), "2026-11-30T12:00:00Z"),
        (json!({ "ttl": "1h" }), json!({}), "2026-11-29T13:00:00Z"),
        (json!({ "ttl": "1h" }), written.clone(), "2026-11-29T18:00:00Z"),
        (json!({ "expiresAt": "2026-11-29T14:00:00Z" }), written, "2026-11-29T14:00:00Z"),
        (
            json!({ "ttl": "8d" }),
            json!({}),
            "it would live for 192h, and 168h is the most (`sandboxes.maxTtl`)",
        ),
    ];
    for (spec, status, expected) in table {
        assert_eq!(end(&spec, &status), expected, "{spec} {status}");
    }
}

#[tokio::test]
async fn the_store_is_what_both_lists_say() {
    let (sandboxes, groups) =
        (watch::Sender::new(GroupState::Pending), watch::Sender::new(GroupState::Pending));
    let (sender, mut store) = watch::channel(StoreState::Pending);
    let rules = Arc::new(SandboxRules::default());
    let task = tokio::spawn(publish(sandboxes.subscribe(), groups.subscribe(), rules, sender));
    let table = |store: &StoreState| SandboxTable::new([store], Timestamp::UNIX_EPOCH);

    sandboxes.send_replace(ready(&[sandbox("a", &json!({ "dtab": "/a => /b" }), &Value::Null)]));
    store.changed().await.unwrap();
    assert_eq!(
        table(&store.borrow_and_update()).unknown(),
        Some(&Unknown::Pending),
        "a key may be a group's"
    );

    groups.send_replace(GroupState::Failed("no such resource".into()));
    let failed = Unknown::Failed("no such resource".into());
    store.wait_for(|store| table(store).unknown() == Some(&failed)).await.unwrap();

    let group = json!({ "metadata": { "namespace": "ns", "name": "g" }, "spec": { "all": ["a", "b"] } });
    let group = Arc::new(WatchedGroup::from_api(serde_json::from_value(group).unwrap()));
    groups.send_replace(ready(&[group]));
    store.wait_for(|store| table(store).unknown().is_none()).await.unwrap();
    let known = table(&store.borrow());
    assert!(known.get("a").is_some() && known.get("g").is_some());

    drop(store);
    task.await.unwrap();
}
