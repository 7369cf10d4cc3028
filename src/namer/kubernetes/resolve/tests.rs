use super::{KubernetesService, Port, resolve};
use crate::interpret::{Endpoint, Hint};
use crate::kubernetes::WatchedObject;
use crate::namer::kubernetes::slice::{Slice, Slices, Subsets};
use serde_json::{Value, json};

/// Returns the kept part of an object, which is the same when it comes from a snapshot.
fn kept<T: WatchedObject>(object: Value) -> T {
    let said = object.to_string();
    let kept = T::from_api(serde_json::from_value(object).unwrap_or_else(|error| panic!("{said}: {error}")));
    let saved = serde_json::to_string(&kept).unwrap();
    let read = serde_json::from_str(&saved).unwrap_or_else(|error| panic!("{saved}: {error}"));
    assert!(kept == read, "{saved}");
    read
}

/// A service whose port 80 is called `http`, 8081 `metrics`, and nothing else.
fn service() -> KubernetesService {
    kept(json!({ "spec": { "ports": [
        { "name": "http", "port": 80, "targetPort": "web" },
        { "name": "metrics", "port": 8081, "targetPort": 9 },
    ] } }))
}

/// A service whose only port, 80, has no name.
fn unnamed() -> KubernetesService {
    kept(json!({ "spec": { "ports": [{ "port": 80, "targetPort": 8080 }] } }))
}

fn slice(ports: impl Into<Value>, endpoints: impl Into<Value>) -> Value {
    json!({ "addressType": "IPv4", "ports": ports.into(), "endpoints": endpoints.into() })
}

fn at(port: &str) -> Port {
    port.parse().map_or_else(|_| Port::Name(port.into()), Port::Number)
}

/// The addresses, with `~` before those that are about to end.
fn addresses<T: Slices>(service: &KubernetesService, port: &str, objects: &[Value]) -> Vec<String> {
    let objects: Vec<T> = objects.iter().cloned().map(kept).collect();
    let slices = objects.iter().flat_map(|object| object.slices());
    let show =
        |endpoint: &Endpoint| format!("{}{}", if endpoint.terminating { "~" } else { "" }, endpoint.address);
    resolve(service, &at(port), slices, |_| true).iter().map(show).collect()
}

#[test]
fn ports_by_name_and_by_number() {
    let named = [
        slice(json!([{ "name": "http", "port": 8080 }]), json!([{ "addresses": ["10.0.0.1"] }])),
        // A named targetPort is another number in each pod template.
        slice(
            json!([{ "name": "http", "port": 8090 }, { "name": "metrics", "port": 9 }]),
            json!([{ "addresses": ["10.0.0.2"] }]),
        ),
        slice(
            json!([{ "name": "http", "port": 1, "protocol": "UDP" }]),
            json!([{ "addresses": ["10.0.0.3"] }]),
        ),
        slice(json!([{ "name": "http", "port": 70000 }]), json!([{ "addresses": ["10.0.0.4"] }])),
        slice(json!([{ "name": "http" }]), json!([{ "addresses": ["10.0.0.5"] }])),
        slice(json!([]), json!([{ "addresses": ["10.0.0.6"] }])),
    ];
    let cases: [(&str, &[&str]); 6] = [
        ("http", &["10.0.0.1:8080", "10.0.0.2:8090"]),
        ("80", &["10.0.0.1:8080", "10.0.0.2:8090"]),
        ("metrics", &["10.0.0.2:9"]),
        ("8081", &["10.0.0.2:9"]),
        ("8080", &[]),
        ("grpc", &[]),
    ];
    for (port, expected) in cases {
        assert_eq!(addresses::<Slice>(&service(), port, &named), expected, "{port}");
    }
}

#[test]
fn a_port_without_a_name_has_a_number() {
    for name in [json!(null), json!("")] {
        let slices = [slice(json!([{ "name": name, "port": 8080 }]), json!([{ "addresses": ["10.0.0.1"] }]))];
        for (port, expected) in [("80", vec!["10.0.0.1:8080"]), ("81", vec![]), ("http", vec![])] {
            assert_eq!(addresses::<Slice>(&unnamed(), port, &slices), expected, "{port}");
        }
        // By hand, for a service that says nothing of its ports.
        assert_eq!(addresses::<Slice>(&KubernetesService::default(), "8080", &slices), ["10.0.0.1:8080"]);
        assert!(addresses::<Slice>(&KubernetesService::default(), "80", &slices).is_empty());
    }
    // The slices of a headless service without ports.
    for ports in [json!(null), json!([])] {
        let without = [slice(ports, json!([{ "addresses": ["10.0.0.1"] }]))];
        for service in [KubernetesService::default(), unnamed()] {
            for port in ["7", "80", "http"] {
                assert!(addresses::<Slice>(&service, port, &without).is_empty(), "{port}");
            }
        }
    }
}

#[test]
fn endpoints_that_can_take_a_request() {
    let conditions = |ready: Value, serving: Value, terminating: Value| json!({ "ready": ready, "serving": serving, "terminating": terminating });
    let null = || json!(null);
    let ready = conditions(true.into(), true.into(), false.into());
    let ending = conditions(false.into(), true.into(), true.into());
    let ended = conditions(false.into(), false.into(), true.into());
    let unready = conditions(false.into(), false.into(), false.into());
    let published_anyway = conditions(true.into(), false.into(), true.into());
    let unknown = conditions(null(), null(), null());
    let old_unready = conditions(false.into(), null(), null());
    let withheld = conditions(false.into(), true.into(), false.into());
    let withheld_by_silence = conditions(false.into(), true.into(), null());
    let cases: [(&[&Value], &[&str]); 10] = [
        (&[&withheld, &withheld_by_silence], &[]),
        (&[&ready, &unready], &["10.0.0.1:1"]),
        (&[&ready, &ending], &["10.0.0.1:1", "~10.0.0.2:1"]),
        (&[&ending, &unready, &ending, &ended], &["~10.0.0.1:1", "~10.0.0.3:1"]),
        (&[&unready, &ended], &[]),
        (&[&unknown], &["10.0.0.1:1"]),
        (&[&null()], &["10.0.0.1:1"]),
        (&[&published_anyway], &["10.0.0.1:1"]),
        (&[&old_unready], &[]),
        (&[], &[]),
    ];
    for (conditions, expected) in cases {
        let endpoint = |(at, conditions): (usize, &&Value)| json!({ "addresses": [format!("10.0.0.{}", at + 1)], "conditions": conditions });
        let endpoints: Value = conditions.iter().enumerate().map(endpoint).collect();
        let slices = [slice(json!([{ "name": "http", "port": 1 }]), endpoints)];
        assert_eq!(addresses::<Slice>(&service(), "http", &slices), expected, "{conditions:?}");
    }
}

#[test]
fn slices_are_merged_and_the_best_condition_counts() {
    let port = || json!([{ "name": "http", "port": 1 }]);
    let ending = json!({ "ready": false, "serving": true, "terminating": true });
    let slices = [
        slice(
            port(),
            json!([{ "addresses": ["10.0.0.2"] }, { "addresses": ["10.0.0.1"], "conditions": ending }]),
        ),
        slice(
            port(),
            json!([{ "addresses": ["10.0.0.1"] }, { "addresses": ["10.0.0.2"], "conditions": ending }]),
        ),
        slice(port(), json!([{ "addresses": ["fd00::1"] }])),
        slice(json!([{ "name": "http", "port": 2 }]), json!([{ "addresses": ["10.0.0.1"] }])),
        slice(port(), json!([{ "addresses": ["web.example.org"] }, { "addresses": [] }])),
        slice(port(), json!(null)),
    ];
    let expected = ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1", "[fd00::1]:1"];
    assert_eq!(addresses::<Slice>(&service(), "http", &slices), expected);
}

#[test]
fn what_is_known_of_an_endpoint() {
    for (app, hint) in [
        ("kubernetes.io/h2c", Some(Hint::H2c)),
        ("kubernetes.io/ws", Some(Hint::Ws)),
        ("kubernetes.io/wss", None),
        ("http", None),
    ] {
        let object = slice(
            json!([{ "name": "http", "port": 1, "appProtocol": app }]),
            json!([{
                "addresses": ["10.0.0.1"], "nodeName": "n1", "zone": "z1",
                "hints": { "forZones": [{ "name": "z1" }, { "name": "z2" }] },
            }]),
        );
        let slices: Slice = kept(object);
        let endpoints = resolve(&service(), &at("http"), slices.slices().iter(), |_| true);
        let [endpoint] = &*endpoints else { panic!("{endpoints:?}") };
        assert_eq!(endpoint.hint, hint, "{app}");
        assert_eq!((endpoint.node.as_deref(), endpoint.zone.as_deref()), (Some("n1"), Some("z1")));
        assert_eq!(["z1", "z2", "z", ""].map(|zone| endpoint.is_for(zone)), [true, true, false, false]);
    }
}

#[test]
fn a_pod_that_gets_the_address_of_another_is_another_instance() {
    let instances = |target: Value| {
        let backend = json!({ "addresses": ["10.0.0.1"], "targetRef": target });
        let slices = kept::<Slice>(slice(json!([{ "name": "http", "port": 1 }]), json!([backend])));
        let address = json!({ "ip": "10.0.0.1", "targetRef": target });
        let subset = json!({ "addresses": [address], "ports": [{ "name": "http", "port": 1 }] });
        let subsets = kept::<Subsets>(json!({ "subsets": [subset] }));
        let of = |slices: &[Slice]| resolve(&service(), &at("http"), slices.iter(), |_| true)[0].instance;
        let (by_slice, by_subset) = (of(slices.slices()), of(subsets.slices()));
        assert_eq!(by_slice, by_subset, "{target}");
        by_slice
    };
    let pod = |name: &str, uid: &str| instances(json!({ "kind": "Pod", "name": name, "uid": uid }));
    assert_eq!(pod("web-0", "1"), pod("web-0", "1"));
    // A StatefulSet gives a new pod the name of the old one.
    assert_ne!(pod("web-0", "1"), pod("web-0", "2"));
    let named = |name: &str| instances(json!({ "kind": "Pod", "name": name }));
    assert_ne!(named("web-a"), named("web-b"));
    assert_eq!(instances(json!({})), None);
}

#[test]
fn ports_are_resolved_in_each_subset() {
    let endpoints = json!({ "subsets": [
        {
            "addresses": [{ "ip": "10.0.0.1" }, { "ip": "wrong" }],
            "notReadyAddresses": [{ "ip": "10.0.0.9" }],
            "ports": [{ "name": "http", "port": 8080 }, { "name": "metrics", "port": 9 }],
        },
        { "addresses": [{ "ip": "10.0.0.2" }], "ports": [{ "name": "http", "port": 8090 }] },
        { "addresses": [{ "ip": "10.0.0.3" }] },
        { "ports": [{ "name": "http", "port": 1 }] },
        { "addresses": null, "ports": null },
    ] });
    let objects = [endpoints];
    assert_eq!(addresses::<Subsets>(&service(), "http", &objects), ["10.0.0.1:8080", "10.0.0.2:8090"]);
    assert_eq!(addresses::<Subsets>(&service(), "80", &objects), ["10.0.0.1:8080", "10.0.0.2:8090"]);
    assert_eq!(addresses::<Subsets>(&service(), "metrics", &objects), ["10.0.0.1:9"]);
    for nothing in [json!({}), json!({ "subsets": null }), json!({ "subsets": [] })] {
        assert!(addresses::<Subsets>(&service(), "http", &[nothing]).is_empty());
    }
}

#[test]
fn pods_are_chosen_by_name() {
    let object = slice(
        json!([{ "name": "http", "port": 1 }]),
        json!([
            { "addresses": ["10.0.0.1"], "targetRef": { "kind": "Pod", "name": "a" } },
            { "addresses": ["10.0.0.2"], "targetRef": { "kind": "Pod", "name": "b" } },
            { "addresses": ["10.0.0.3"], "targetRef": { "kind": "Node", "name": "a" } },
            { "addresses": ["10.0.0.4"] },
        ]),
    );
    let slices: Slice = kept(object);
    let endpoints = resolve(&service(), &at("http"), slices.slices().iter(), |pod| pod == Some("a"));
    let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect();
    assert_eq!(addresses, ["10.0.0.1:1"]);
}

#[test]
fn slices_grow_by_pods_that_they_did_not_have() {
    let pod = |name: &str, ready: bool| {
        json!({
            "addresses": ["10.0.0.1"], "conditions": { "ready": ready }, "targetRef": { "kind": "Pod", "name": name },
        })
    };
    let of = |pods: &[Value]| kept::<Slice>(slice(json!([{ "name": "http", "port": 1 }]), json!(pods)));
    let before = of(&[pod("a", true), pod("b", false)]);
    for (pods, grown) in [
        (vec![pod("b", true)], false),
        (vec![pod("a", false), pod("b", true)], false),
        (vec![], false),
        (vec![json!({ "addresses": ["10.0.0.3"] })], false),
        (vec![pod("a", true), pod("c", false)], true),
    ] {
        assert_eq!(of(&pods).has_grown_since(&before), grown, "{pods:?}");
    }

    let address = |name: &str| json!([{ "ip": "10.0.0.1", "targetRef": { "kind": "Pod", "name": name } }]);
    let of = |subsets: Value| kept::<Subsets>(json!({ "subsets": subsets }));
    let before = of(json!([{ "addresses": address("a") }, { "notReadyAddresses": address("b") }]));
    for (subsets, grown) in [
        (json!([{ "addresses": address("b") }]), false),
        (json!([{ "notReadyAddresses": address("c") }]), true),
    ] {
        assert_eq!(of(subsets.clone()).has_grown_since(&before), grown, "{subsets}");
    }
}
