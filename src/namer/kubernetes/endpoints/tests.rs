use super::state;
use crate::kubernetes::{GroupState, GroupView, Lost, WatchedObject as _};
use crate::namer::kubernetes::pod::Pod;
use crate::namer::kubernetes::service::KubernetesService;
use crate::namer::kubernetes::service_name::Port;
use crate::namer::kubernetes::slice::Slice;
use crate::namer::publisher::NameState;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

fn found<T>(objects: Vec<T>, unreadable: Option<&str>, stale: bool) -> GroupState<T> {
    let objects = objects.into_iter().map(Arc::new).collect();
    let unreadable = unreadable.map(Arc::from);
    GroupState::Ready(GroupView { objects, unreadable, stale, ..GroupView::default() })
}

fn service() -> KubernetesService {
    let service = json!({
        "metadata": { "labels": { "version": "v3" } },
        "spec": { "ports": [{ "name": "http", "port": 80 }] },
    });
    KubernetesService::from_api(serde_json::from_value(service).unwrap())
}

fn slice() -> Slice {
    let endpoint = |address: &str, pod: &str| json!({ "addresses": [address], "targetRef": { "kind": "Pod", "name": pod } });
    let slice = json!({
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 1 }],
        "endpoints": [endpoint("10.0.0.1", "a"), endpoint("10.0.0.2", "b")],
    });
    Slice::from_api(serde_json::from_value(slice).unwrap())
}

/// A state in short.
fn short(state: NameState) -> String {
    let with = |text: String, stale| if stale { text + " stale" } else { text };
    match state {
        NameState::Pending => "pending".into(),
        NameState::Failed(reason) => format!("failed: {reason}"),
        NameState::Neg { stale } => with("neg".into(), stale),
        NameState::Endpoints { set, stale } => {
            let addresses: Vec<_> = set.iter().map(|endpoint| endpoint.address.ip().to_string()).collect();
            with(addresses.join(","), stale)
        }
    }
}

#[test]
fn states_of_services_and_slices() {
    let services = |stale| found(vec![service()], None, stale);
    let slices = |stale| found(vec![slice()], None, stale);
    let none = || found::<KubernetesService>(vec![], None, false);
    let empty = |unreadable| found::<Slice>(vec![], unreadable, false);
    let both = "10.0.0.1,10.0.0.2";
    let cases = [
        (services(false), slices(false), both.to_owned()),
        (services(true), slices(false), format!("{both} stale")),
        (services(false), slices(true), format!("{both} stale")),
        (GroupState::Pending, slices(false), "pending".into()),
        (services(false), GroupState::Pending, "pending".into()),
        (GroupState::Pending, GroupState::Failed("why".into()), "failed: why".into()),
        (GroupState::Failed("why".into()), GroupState::Pending, "failed: why".into()),
        (GroupState::Failed("why".into()), slices(false), "failed: why".into()),
        (none(), slices(false), "neg".into()),
        (none(), slices(true), "neg stale".into()),
        (found(vec![], Some("broken"), false), slices(false), "failed: broken".into()),
        (services(false), empty(None), "neg".into()),
        (services(true), empty(None), "neg stale".into()),
        (services(false), empty(Some("broken")), "failed: broken".into()),
        (services(false), found(vec![slice()], Some("broken"), false), both.to_owned()),
    ];
    for (services, slices, expected) in cases {
        let said = short(state(&Port::Number(80), &services, &slices, None));
        assert_eq!(said, expected, "{services:?} {slices:?}");
    }
}

#[test]
fn what_a_label_chooses() {
    let pods = |stale| found(vec![Pod("b".into())], None, stale);
    let cases = [
        ("v3", GroupState::Pending, "10.0.0.1,10.0.0.2"),
        ("v2", pods(false), "10.0.0.2"),
        ("v2", pods(true), "10.0.0.2 stale"),
        ("v2", found(vec![], None, false), "neg"),
        ("v2", GroupState::Pending, "pending"),
        ("v2", GroupState::Failed("why".into()), "failed: why"),
    ];
    for (value, pods, expected) in cases {
        let (services, slices) = (found(vec![service()], None, false), found(vec![slice()], None, false));
        let said = state(&Port::Name("http".into()), &services, &slices, Some(&("version", value, pods)));
        assert_eq!(short(said), expected, "{value}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_new_pod_leaves_unknown() {
    let began = Instant::now();
    tokio::time::advance(Duration::from_secs(60)).await;
    let (before, now) = (Some(began), Some(Instant::now()));
    let lost = |since| Some(Lost { since, reason: "403".into() });
    let failed = "failed: the labels of a pod that is new are not known: 403";
    let cases = [
        // The time when the newest pod of the slices was first seen, the time since when pods cannot be asked for, and what
        // the label chooses then.
        (before, None, "c", "neg"),
        (before, lost(now), "c", "neg stale"),
        (now, lost(before), "c", failed),
        (now, lost(before), "b", "10.0.0.2 stale"),
        (now, lost(None), "c", failed),
        (None, lost(None), "c", "neg stale"),
    ];
    for (newest, lost, pod, expected) in cases {
        let case = format!("{newest:?} {lost:?} {pod}");
        let services = found(vec![service()], None, false);
        let GroupState::Ready(slices) = found(vec![slice()], None, false) else { unreachable!() };
        let GroupState::Ready(pods) = found(vec![Pod(pod.into())], None, lost.is_some()) else {
            unreachable!()
        };
        let slices = GroupState::Ready(GroupView { newest, ..slices });
        let pods = GroupState::Ready(GroupView { lost, ..pods });
        let said = state(&Port::Number(80), &services, &slices, Some(&("version", "v2", pods)));
        assert_eq!(short(said), expected, "{case}");
    }
}
