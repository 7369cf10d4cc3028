use super::{FIRST_SWEEP, GroupKey, ObjectStore, Objects, ReceivedObject};
use crate::kubernetes::GroupState;
use crate::kubernetes::watched_object::sample::Values;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::watch;

/// Returns an object of the group that its label names, with one value; a number is no value of a ConfigMap.
fn object(name: &str, group: &str, value: impl Into<Value>) -> ReceivedObject<Values> {
    let labels = if group.is_empty() { json!({}) } else { json!({ "group": group }) };
    let metadata = json!({ "namespace": "ns", "name": name, "labels": labels });
    serde_json::from_value(json!({ "metadata": metadata, "data": { "k": value.into() } })).unwrap()
}

fn store() -> ObjectStore<Values> {
    ObjectStore::new(Arc::new(|meta| {
        let group = meta.labels.as_ref()?.get("group")?;
        Some((meta.namespace.as_deref()?.into(), group.as_str().into()))
    }))
}

fn group_key(group: &str) -> GroupKey {
    ("ns".into(), group.into())
}

fn list(
    store: &ObjectStore<Values>,
    objects: impl IntoIterator<Item = ReceivedObject<Values>>,
) -> Objects<Values> {
    let mut list = store.empty();
    objects.into_iter().for_each(|object| store.add(&mut list, object));
    list
}

/// Returns the state in short: `Pending`, `Failed: why`, or the values, with `?` for unreadable objects and `stale`.
fn short(known: &watch::Receiver<GroupState<Values>>) -> String {
    match &*known.borrow() {
        GroupState::Pending => "Pending".into(),
        GroupState::Failed(reason) => format!("Failed: {reason}"),
        GroupState::Ready(view) => {
            let values: Vec<_> = view.objects.iter().flat_map(|values| values.0.clone()).collect();
            let unreadable = if view.unreadable.is_some() { "?" } else { "" };
            let stale = if view.stale { " stale" } else { "" };
            values.join(",") + unreadable + stale
        }
    }
}

#[test]
fn groups_follow_their_objects() {
    let mut store = store();
    let (a, b) = (store.subscribe(group_key("a")), store.subscribe(group_key("b")));
    assert_eq!((short(&a), short(&b)), ("Pending".into(), "Pending".into()));
    store.replace(list(&store, [object("x", "a", "1"), object("w", "a", "2")]));
    assert_eq!((short(&a), short(&b)), ("2,1".into(), String::new()), "in the order of names");
    store.apply(object("x", "b", "3"));
    assert_eq!((short(&a), short(&b)), ("2".into(), "3".into()), "it has moved");
    store.apply(object("x", "", "3"));
    assert_eq!((short(&a), short(&b)), ("2".into(), String::new()), "it is in no group");
    store.delete(&object("w", "a", "2"));
    store.delete(&object("w", "a", "2"));
    assert_eq!((short(&a), store.len()), (String::new(), 0));
    assert_eq!(short(&store.subscribe(group_key("late"))), "");
}

#[test]
fn a_list_replaces_all() {
    let mut store = store();
    let mut a = store.subscribe(group_key("a"));
    store.replace(list(&store, [object("x", "a", "1"), object("y", "b", "1")]));
    a.mark_unchanged();
    store.replace(list(&store, [object("x", "a", "1")]));
    assert!(!a.has_changed().unwrap(), "nothing is different for it");
    assert_eq!(store.len(), 1);
    store.replace(list(&store, []));
    assert_eq!((short(&a), store.len()), (String::new(), 0));
}

#[test]
fn an_object_listed_again_is_stored_once() {
    let mut store = store();
    let a = store.subscribe(group_key("a"));
    let listed = || match &*a.borrow() {
        GroupState::Ready(view) => Arc::clone(&view.objects[0]),
        other => panic!("{other:?}"),
    };
    store.replace(list(&store, [object("x", "a", "1")]));
    let first = listed();
    store.replace(list(&store, [object("x", "a", "1")]));
    store.apply(object("x", "a", "1"));
    assert!(Arc::ptr_eq(&first, &listed()));
    store.replace(list(&store, [object("x", "a", "2")]));
    assert_eq!(listed().0, ["2"]);
}

#[test]
fn what_cannot_be_read_stays_as_it_was_and_is_told() {
    let mut store = store();
    let a = store.subscribe(group_key("a"));
    store.replace(list(&store, [object("x", "a", "1"), object("y", "a", 5)]));
    assert_eq!((short(&a), store.unreadable_count()), ("1?".into(), 1));
    store.apply(object("x", "a", 5));
    assert_eq!((short(&a), store.unreadable_count()), ("1?".into(), 2));
    store.replace(list(&store, [object("x", "a", 5)]));
    assert_eq!((short(&a), store.unreadable_count()), ("1".into(), 1), "in a new list, too");
    let told: Vec<_> = store.unreadable().collect();
    assert_eq!(told[0].name, "ns/x");
    assert!(told[0].reason.contains("expected a string"), "{}", told[0].reason);
    store.apply(object("x", "a", "2"));
    assert_eq!((short(&a), store.unreadable_count()), ("2".into(), 0));
    store.apply(object("x", "a", 5));
    store.delete(&object("x", "a", 5));
    assert_eq!((short(&a), store.unreadable_count()), (String::new(), 0));
}

#[test]
fn what_is_lost_is_pending_failed_or_stale() {
    let mut store = store();
    let a = store.subscribe(group_key("a"));
    let reason: Arc<str> = "403".into();
    store.mark_lost(&reason, false);
    assert_eq!(short(&a), "Pending");
    store.mark_lost(&reason, true);
    assert_eq!(short(&a), "Failed: 403");
    store.mark_lost(&"away".into(), false);
    assert_eq!(short(&a), "Failed: 403", "what was refused is not waited for");
    store.replace(list(&store, [object("x", "a", "1")]));
    assert_eq!((short(&a), store.is_stale()), ("1".into(), false));
    store.mark_lost(&reason, true);
    assert_eq!((short(&a), store.is_stale()), ("1 stale".into(), true));
    assert_eq!(short(&store.subscribe(group_key("b"))), " stale");
    store.replace(list(&store, []));
    assert_eq!((short(&a), store.is_stale()), (String::new(), false));
}

#[test]
fn what_is_restored_is_stale_until_there_is_a_list() {
    let mut before = store();
    before.replace(list(&before, [object("x", "a", "1"), object("y", "a", 5), object("z", "b", "2")]));
    let mut store = store();
    let (a, b) = (store.subscribe(group_key("a")), store.subscribe(group_key("b")));
    store.mark_lost(&"403".into(), true);
    let time = "2026-01-02T03:04:05Z".parse().unwrap();
    store.restore(time, before.records());
    assert_eq!((store.snapshot_time(), a.borrow().before()), (Some(time), Some(time)));
    assert_eq!((short(&a), short(&b)), ("1? stale".into(), "2 stale".into()));
    assert_eq!(short(&store.subscribe(group_key("c"))), " stale", "what was not there is not there");
    assert!(store.is_stale() && store.is_complete());
    assert_eq!((store.len(), store.unreadable_count(), store.revision()), (3, 1, 0));
    store.mark_lost(&"403".into(), true);
    assert_eq!((short(&a), store.snapshot_time()), ("1? stale".into(), Some(time)), "it stays in use");
    store.replace(list(&store, [object("x", "a", 5)]));
    assert_eq!((short(&a), short(&b)), ("1".into(), String::new()), "its last good form, and nothing else");
    assert_eq!((store.unreadable_count(), store.revision(), store.snapshot_time()), (1, 1, None));
    store.mark_lost(&"away".into(), false);
    assert_eq!((short(&a), a.borrow().before()), ("1 stale".into(), None), "the process has known it itself");
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_newer_objects_than_the_last_list_is_not_known() {
    let view = |known: &watch::Receiver<GroupState<Values>>| match &*known.borrow() {
        GroupState::Ready(view) => view.clone(),
        other => panic!("{other:?}"),
    };
    let pass = || tokio::time::advance(std::time::Duration::from_secs(1));
    let (mut services, mut slices) = (store(), store());
    let (a, b, c) = (
        services.subscribe(group_key("a")),
        services.subscribe(group_key("b")),
        slices.subscribe(group_key("c")),
    );
    services.replace(list(&services, [object("x", "a", "1")]));
    slices.replace(list(&slices, []));
    pass().await;
    assert_eq!(view(&c).unknown_since(view(&a).newest), None, "it can be asked");
    slices.mark_lost(&"away".into(), false);
    slices.mark_lost(&"403".into(), true);
    slices.mark_lost(&"away".into(), false);
    pass().await;
    // Neither a change nor a new list makes an object new.
    services.apply(object("x", "a", "2"));
    services.replace(list(&services, [object("x", "a", "3"), object("y", "b", "1")]));
    assert_eq!(view(&c).unknown_since(view(&a).newest), None, "it was there before");
    let lost = view(&c).unknown_since(view(&b).newest).cloned().expect("it is newer");
    assert_eq!(&*lost.reason, "403", "waiting does not help, and what does is named");
    slices.replace(list(&slices, []));
    assert_eq!(view(&c).unknown_since(view(&b).newest), None);

    let mut restored = store();
    let c = restored.subscribe(group_key("c"));
    restored.restore("2026-01-02T03:04:05Z".parse().unwrap(), Vec::new());
    assert_eq!(
        &*view(&c).unknown_since(view(&b).newest).unwrap().reason,
        "there was no list since the snapshot of 2026-01-02T03:04:05Z"
    );
    services.restore("2026-01-02T03:04:05Z".parse().unwrap(), services.records());
    assert_eq!(view(&c).unknown_since(view(&b).newest), None, "both are from before");
}

#[test]
fn groups_without_receivers_are_dropped() {
    let mut store = store();
    let (a, b) = (store.subscribe(group_key("a")), store.subscribe(group_key("b")));
    drop(a);
    assert!(store.sweep());
    drop(b);
    assert!(!store.sweep());
    for group in 0..100 * FIRST_SWEEP {
        drop(store.subscribe(group_key(&group.to_string())));
        assert!(store.subscribers.len() <= FIRST_SWEEP);
    }
    let subscriptions: Vec<_> =
        (0..3 * FIRST_SWEEP).map(|group| store.subscribe(group_key(&group.to_string()))).collect();
    assert!(store.subscribers.len() >= subscriptions.len(), "groups with receivers stay");
}
