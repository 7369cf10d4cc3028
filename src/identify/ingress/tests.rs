use super::ingress_rules::IngressRules;
use super::rule_table::RuleTable;
use crate::context::host_without_port;
use crate::kubernetes::WatchedObject as _;
use crate::name::Path;
use serde_json::{Value, json};

/// Returns a backend that is a service of this name, by the port `http`.
fn to(service: &str) -> Value {
    json!({ "service": { "name": service, "port": { "name": "http" } } })
}

/// Returns a path that leads to a service of the same name without its slashes, with the kind's first letter.
fn path(kind: &str, path: &str) -> Value {
    let service = format!("{}{}", &kind[..1], path.replace('/', "-"));
    json!({ "path": path, "pathType": kind, "backend": to(&service) })
}

fn rule(host: &str, paths: &[Value]) -> Value {
    json!({ "host": host, "http": { "paths": paths } })
}

/// Returns an ingress in the namespace `ns`.
fn ingress(name: &str, spec: &Value) -> Value {
    json!({ "metadata": { "namespace": "ns", "name": name }, "spec": spec })
}

fn keep(ingress: &Value) -> IngressRules {
    IngressRules::from_api(
        serde_json::from_value(ingress.clone()).unwrap_or_else(|error| panic!("{ingress}: {error}")),
    )
}

fn table(ingresses: &[Value]) -> RuleTable {
    let kept: Vec<IngressRules> = ingresses.iter().map(keep).collect();
    RuleTable::new(kept.iter(), "linkerd", false)
}

/// Returns the service that a request leads to.
fn service(table: &RuleTable, host: &str, path: &str) -> Option<String> {
    let backend = table.find(host.as_bytes(), path.as_bytes())?.expect("it leads to a service");
    let elems: Vec<_> = backend.elems().map(|elem| String::from_utf8_lossy(elem).into_owned()).collect();
    assert_eq!((&*elems[0], &*elems[1], elems.len()), ("ns", "http", 3), "{backend}");
    elems.into_iter().last()
}

#[test]
fn what_is_kept_is_the_same_in_a_snapshot() {
    let default = |backend: Value| ingress("a", &json!({ "defaultBackend": backend }));
    let all = [
        ingress("a", &json!({ "rules": [rule("a", &[path("Prefix", "/a"), path("Exact", "/b")])] })),
        ingress("a", &json!({})),
        default(to("a")),
        // It is given, and no service: that is another thing than none.
        default(json!({ "resource": { "kind": "Bucket", "name": "a" } })),
    ];
    for kept in all.iter().map(keep) {
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<IngressRules>(&text).unwrap(), kept, "{text}");
    }
}

#[test]
fn paths_match_as_kubernetes_documents_it() {
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, Option<&'a str>);
    // The table of "Examples" in Kubernetes' page on Ingress.
    let documented: [Case<'_>; 20] = [
        (&[("Prefix", "/")], "/any/path", Some("P-")),
        (&[("Exact", "/foo")], "/foo", Some("E-foo")),
        (&[("Exact", "/foo")], "/bar", None),
        (&[("Exact", "/foo")], "/foo/", None),
        (&[("Exact", "/foo/")], "/foo", None),
        (&[("Prefix", "/foo")], "/foo", Some("P-foo")),
        (&[("Prefix", "/foo")], "/foo/", Some("P-foo")),
        (&[("Prefix", "/foo/")], "/foo", Some("P-foo-")),
        (&[("Prefix", "/foo/")], "/foo/", Some("P-foo-")),
        (&[("Prefix", "/aaa/bb")], "/aaa/bbb", None),
        (&[("Prefix", "/aaa/bbb")], "/aaa/bbb", Some("P-aaa-bbb")),
        (&[("Prefix", "/aaa/bbb/")], "/aaa/bbb", Some("P-aaa-bbb-")),
        (&[("Prefix", "/aaa/bbb")], "/aaa/bbb/", Some("P-aaa-bbb")),
        (&[("Prefix", "/aaa/bbb")], "/aaa/bbb/ccc", Some("P-aaa-bbb")),
        (&[("Prefix", "/aaa/bbb")], "/aaa/bbbxyz", None),
        (&[("Prefix", "/"), ("Prefix", "/aaa")], "/aaa/ccc", Some("P-aaa")),
        (&[("Prefix", "/"), ("Prefix", "/aaa"), ("Prefix", "/aaa/bbb")], "/aaa/bbb", Some("P-aaa-bbb")),
        (&[("Prefix", "/"), ("Prefix", "/aaa"), ("Prefix", "/aaa/bbb")], "/ccc", Some("P-")),
        (&[("Prefix", "/aaa")], "/ccc", None),
        (&[("Prefix", "/foo"), ("Exact", "/foo")], "/foo", Some("E-foo")),
    ];
    let ours: [Case<'_>; 8] = [
        (&[("ImplementationSpecific", "/foo")], "/foo/bar", Some("I-foo")),
        (&[("ImplementationSpecific", "/foo")], "/foobar", None),
        (&[("ImplementationSpecific", "/f.*")], "/foo", None),
        (&[("ImplementationSpecific", "")], "/foo", Some("I")),
        (&[("Prefix", "/Foo")], "/foo", None),
        (&[("Prefix", "/a%2Fb")], "/a/b", None),
        (&[("Prefix", "/foo")], "/", None),
        (&[("Prefix", "/foo")], "*", None),
    ];
    for (paths, asked, expected) in documented.into_iter().chain(ours) {
        let paths: Vec<Value> = paths.iter().map(|(kind, text)| path(kind, text)).collect();
        let with_default = json!({ "rules": [rule("a.example", &paths)], "defaultBackend": to("default") });
        let without = table(&[ingress("web", &json!({ "rules": [rule("a.example", &paths)] }))]);
        assert_eq!(service(&without, "a.example", asked).as_deref(), expected, "{paths:?} {asked}");
        let with = table(&[ingress("web", &with_default)]);
        let expected = expected.or(Some("default"));
        assert_eq!(service(&with, "a.example", asked).as_deref(), expected, "{paths:?} {asked}");
    }
}

#[test]
fn the_nearer_host_comes_first_and_defaults_last() {
    let all = |service: &str| [json!({ "path": "/", "pathType": "Prefix", "backend": to(service) })];
    let table = table(&[
        ingress(
            "a",
            &json!({ "defaultBackend": to("default"), "rules": [rule("", &[path("Prefix", "/any")])] }),
        ),
        ingress(
            "b",
            &json!({ "rules": [rule("*.Foo.com", &all("wildcard")), rule("*.bar.foo.com", &all("deeper"))] }),
        ),
        ingress("c", &json!({ "rules": [rule("WWW.foo.com", &[path("Exact", "/here")])] })),
        ingress("d", &json!({ "rules": [{ "host": "bare.example" }] })),
    ]);
    for (host, path, expected) in [
        ("www.foo.com", "/here", "E-here"),
        ("www.foo.com", "/there", "wildcard"),
        ("bar.foo.com", "/", "wildcard"),
        ("baz.bar.foo.com", "/", "deeper"),
        ("a.baz.bar.foo.com", "/", "default"),
        ("foo.com", "/", "default"),
        (".foo.com", "/", "default"),
        ("foo.com", "/any/thing", "P-any"),
        ("www.foo.com", "/any", "wildcard"),
        ("bare.example", "/", "default"),
        ("[::1]", "/any", "P-any"),
        ("", "/any", "P-any"),
        ("", "*", "default"),
    ] {
        assert_eq!(service(&table, host, path).as_deref(), Some(expected), "{host} {path}");
    }
}

#[test]
fn the_class_is_in_an_annotation_or_in_the_spec() {
    let spec = |class: Value| json!({ "ingressClassName": class, "defaultBackend": to("web") });
    let with = |annotation: Value, class: Value| {
        let mut ingress = ingress("web", &spec(class));
        ingress["metadata"]["annotations"] = json!({ "kubernetes.io/ingress.class": annotation });
        if annotation.is_null() {
            ingress["metadata"]["annotations"].take();
        }
        keep(&ingress)
    };
    let null = || Value::Null;
    for (annotation, class, used) in [
        (null(), null(), true),
        (json!("linkerd"), null(), true),
        (json!("nginx"), null(), false),
        (null(), json!("linkerd"), true),
        (null(), json!("nginx"), false),
        (json!("linkerd"), json!("nginx"), true),
        (json!("nginx"), json!("linkerd"), false),
        (json!(""), json!("nginx"), false),
        (json!("Linkerd"), null(), false),
    ] {
        let kept = with(annotation.clone(), class.clone());
        let find = |ignore| RuleTable::new([&kept].into_iter(), "linkerd", ignore).find(b"a", b"/").is_some();
        assert_eq!(find(false), used, "{annotation} {class}");
        assert!(!find(true), "default backends are ignored");
    }
}

#[test]
fn of_two_that_want_the_same_the_older_wins_in_whatever_order_they_come() {
    let wants = |name: &str, created: &str| {
        let paths = [json!({ "path": "/", "pathType": "Prefix", "backend": to(name) })];
        let spec = json!({ "rules": [rule("a", &paths)], "defaultBackend": to(name) });
        let mut ingress = ingress(name, &spec);
        ingress["metadata"]["creationTimestamp"] = created.into();
        ingress
    };
    let (young, old, twin) = (
        wants("a", "2026-02-01T00:00:00Z"),
        wants("c", "2026-01-01T00:00:00Z"),
        wants("b", "2026-01-01T00:00:00Z"),
    );
    for order in [[&young, &old, &twin], [&twin, &young, &old], [&old, &twin, &young]] {
        let table = table(&order.map(Clone::clone));
        assert_eq!(service(&table, "a", "/").as_deref(), Some("b"), "the name decides between twins");
        assert_eq!(service(&table, "b", "/").as_deref(), Some("b"), "also of default backends");
    }
    let table = table(&[young, old]);
    assert_eq!(service(&table, "a", "/").as_deref(), Some("c"));
}

#[test]
fn backends_have_ports_by_name_or_number_or_lead_to_no_service() {
    let find = |backend: Value| {
        let table = table(&[ingress("web", &json!({ "defaultBackend": backend }))]);
        table.find(b"", b"/").expect("there is a default").cloned()
    };
    let path = |elems| Some(Path::from_elems::<[&str; 3]>(elems));
    let by_number = json!({ "service": { "name": "web", "port": { "number": 80 } } });
    assert_eq!(find(by_number), path(["ns", "80", "web"]));
    assert_eq!(find(to("web")), path(["ns", "http", "web"]));
    for nowhere in [
        json!({ "resource": { "kind": "Bucket", "name": "b" } }),
        json!({ "service": { "name": "web" } }),
        json!({ "service": { "name": "web", "port": {} } }),
    ] {
        assert_eq!(find(nowhere.clone()), None, "{nowhere}");
    }
}

#[test]
fn everything_may_be_absent_or_null() {
    for text in [
        "{}",
        r#"{"spec": null}"#,
        r#"{"spec": {"rules": null, "defaultBackend": null}}"#,
        r#"{"spec": {"rules": [{}]}}"#,
        r#"{"spec": {"rules": [{"http": null}]}}"#,
        r#"{"metadata": {"annotations": null}}"#,
    ] {
        let table = table(&[serde_json::from_str(text).expect("it is JSON")]);
        assert_eq!(table.find(b"a", b"/"), None, "{text}");
    }
}

#[test]
fn ports_of_hosts_and_dots_at_their_end_do_not_count() {
    for (host, expected) in [
        ("a.example", "a.example"),
        ("a.example:80", "a.example"),
        ("a.example:", "a.example"),
        ("[::1]", "[::1]"),
        ("[::1]:8080", "[::1]"),
        ("a.example.", "a.example"),
        ("a.example.:80", "a.example"),
        ("::1", ""),
        (":80", ""),
        ("", ""),
    ] {
        assert_eq!(host_without_port(host.as_bytes()).escape_ascii().to_string(), expected, "{host}");
    }
}
