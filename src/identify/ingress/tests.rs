use super::certificates::{IngressCertificates, named_secrets};
use super::ingress_rules::IngressRules;
use super::rule_table::{RuleTable, used_ingresses};
use super::secret::{MOST_SECRETS, SecretFault, SecretName, SecretState};
use crate::context::host_without_port;
use crate::kubernetes::WatchedObject as _;
use crate::name::Path;
use crate::tls::PemPair;
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
    RuleTable::new(&used_ingresses(kept.iter(), "linkerd"), &[], false)
}

/// Returns the service that a request leads to.
fn service(table: &RuleTable, host: &str, path: &str) -> Option<String> {
    let backend = table.find(host.as_bytes(), path.as_bytes())?.backend.expect("it leads to a service");
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
        ingress(
            "a",
            &json!({ "tls": [{ "secretName": "s", "hosts": ["A"] }, { "hosts": ["b"] }, { "secretName": "t" }] }),
        ),
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
        let find = |ignore| {
            RuleTable::new(&used_ingresses([&kept].into_iter(), "linkerd"), &[], ignore)
                .find(b"a", b"/")
                .is_some()
        };
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
        table.find(b"", b"/").expect("there is a default").backend.cloned()
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

/// Returns what is known of a good Secret with a certificate for these names.
fn good(names: &[&str]) -> SecretState {
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let cert = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem();
    let pair = PemPair::parse("ns/s", cert.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    SecretState { pair: Some(pair), ..SecretState::default() }
}

/// Returns an ingress that names a Secret for hosts, and has a rule for each host.
fn secured(name: &str, secret: &str, hosts: &[&str]) -> Value {
    let rules: Vec<Value> = hosts.iter().map(|host| rule(host, &[path("Prefix", "/")])).collect();
    ingress(name, &json!({ "rules": rules, "tls": [{ "secretName": secret, "hosts": hosts }] }))
}

/// Returns the certificates of ingresses, by what is known of each Secret.
fn certificates(
    ingresses: &[IngressRules],
    known: &[(&str, SecretState)],
) -> (IngressCertificates, RuleTable) {
    let used = used_ingresses(ingresses.iter(), "linkerd");
    let state =
        |name: &SecretName| known.iter().find(|(known, _)| **known == *name.name).map(|(_, state)| state);
    let found = IngressCertificates::new(&used, state);
    let table = RuleTable::new(&used, &found.secured, false);
    (found, table)
}

#[test]
fn a_rule_is_secured_by_its_own_ingress_while_its_secret_is_there() {
    let solver = ingress(
        "z-solver",
        &json!({ "rules": [rule("web.test", &[path("Exact", "/.well-known/acme-challenge/x")])] }),
    );
    let wild = secured("wild", "wild", &["*.shop.test"]);
    let mut default =
        ingress("default", &json!({ "defaultBackend": to("d"), "tls": [{ "secretName": "default" }] }));
    default["spec"]["rules"] = json!([rule("plain.test", &[path("Prefix", "/")])]);
    let ingresses: Vec<_> =
        [secured("web", "web", &["web.test"]), solver, wild, default].iter().map(keep).collect();
    let known = [
        ("web", good(&["web.test"])),
        ("wild", good(&["*.shop.test"])),
        ("default", good(&["a.default.test", "*.b.test"])),
    ];
    let (found, table) = certificates(&ingresses, &known);
    assert_eq!(found.faults, []);
    let is_secured = |table: &RuleTable, host: &str, path: &str| {
        table.find(host.as_bytes(), path.as_bytes()).expect("there is a rule").is_secured
    };
    for (host, path, expected) in [
        ("web.test", "/", true),
        ("web.test", "/.well-known/acme-challenge/x", false),
        ("web.test", "/.well-known/acme-challenge/other", true),
        ("x.shop.test", "/", true),
        // Its ingress has a certificate, and none for this host.
        ("plain.test", "/", false),
        ("a.default.test", "/", true),
        ("x.b.test", "/", true),
        ("c.default.test", "/", false),
    ] {
        assert_eq!(is_secured(&table, host, path), expected, "{host}{path}");
    }
    let missing = SecretState { fault: Some(SecretFault::Missing), ..SecretState::default() };
    let (found, table) = certificates(&ingresses, &[("web", missing), known[1].clone(), known[2].clone()]);
    assert!(!is_secured(&table, "web.test", "/") && is_secured(&table, "x.shop.test", "/"));
    let faults: Vec<_> = found.faults.iter().map(|fault| (fault.reason, &*fault.message)).collect();
    assert_eq!(
        faults,
        [(
            "SecretMissing",
            "secret ns/web does not exist; until it is there its hosts are served without TLS"
        )]
    );
}

#[test]
fn a_certificate_serves_the_hosts_that_it_is_for() {
    let ingresses = [secured("web", "web", &["WEB.test", "other.test", "x.shop.test"])].map(|it| keep(&it));
    let rejected = SecretFault::Rejected("tls.key: it does not fit".into());
    let state = SecretState { fault: Some(rejected), ..good(&["web.test", "*.shop.test"]) };
    let (found, _) = certificates(&ingresses, &[("web", state)]);
    let hosts: Vec<&str> = found.supply.iter().flat_map(|certificate| certificate.hosts.iter()).collect();
    assert_eq!(hosts, ["web.test", "x.shop.test"]);
    let faults: Vec<_> = found.faults.iter().map(|fault| (fault.reason, &*fault.message)).collect();
    assert_eq!(
        faults,
        [
            (
                "SecretRejected",
                "secret ns/web cannot be used: tls.key: it does not fit; the last good certificate stays in use"
            ),
            (
                "HostNotInCertificate",
                "the certificate in secret ns/web is for web.test, *.shop.test, and not for other.test, which it does \
                 not serve"
            ),
        ]
    );
    // While nothing is known of it there is nothing to tell.
    let pending = SecretState { is_pending: true, ..SecretState::default() };
    let (found, _) = certificates(&ingresses, &[("web", pending)]);
    assert_eq!((found.faults.len(), found.supply.len()), (0, 0));
}

#[test]
fn more_secrets_than_are_watched_are_a_fault_of_the_younger_ingresses() {
    let mut all: Vec<Value> = Vec::new();
    for at in 0..=MOST_SECRETS {
        let mut one = secured(&format!("web-{at}"), &format!("secret-{at}"), &["web.test"]);
        one["metadata"]["creationTimestamp"] = format!("2026-01-01T00:{:02}:{:02}Z", at / 60, at % 60).into();
        all.push(one);
    }
    all.reverse();
    let ingresses: Vec<_> = all.iter().map(keep).collect();
    let used = used_ingresses(ingresses.iter(), "linkerd");
    let named = named_secrets(&used);
    assert_eq!((named.len(), &*named[0].name), (MOST_SECRETS + 1, "secret-0"), "the oldest goes first");
    let known = SecretState::default();
    let found =
        IngressCertificates::new(&used, |name| named[..MOST_SECRETS].contains(name).then_some(&known));
    let faults: Vec<_> = found.faults.iter().map(|fault| (fault.reason, &*fault.ingress.1)).collect();
    assert_eq!(faults, [("TooManySecrets", &*format!("web-{MOST_SECRETS}"))]);
}
