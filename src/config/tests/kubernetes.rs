use super::*;
use crate::kubernetes::{Access, Config as ApiServer, Scope};
use crate::store;

#[test]
fn every_key_of_the_namers_of_kubernetes_ends_in_its_field() {
    let text = r#"
namers:
- {kind: io.l5d.k8s, labelSelector: version}
- {kind: io.l5d.k8s, prefix: /old, host: "::1", port: 3, endpoints: v1, watch: cluster, externalNames: true}
- {kind: io.l5d.k8s.ns}
- {kind: io.l5d.k8s.ns, envVar: NS, kubeconfig: c, context: dev}
- {kind: io.l5d.k8s.external, port: 4, snapshot: known/here}
routers: [{protocol: http, servers: [{}]}]
"#;
    let slices = namer::EndpointSource::Pods(namer::EndpointsApi::Slices);
    let usual = namer::Kubernetes {
        source: slices,
        env_var: None,
        client: ApiServer::default(),
        watch: Scope::Namespace,
        label_selector: None,
        external_names: false,
    };
    let plain = |host: &str, port| ApiServer::from(Access::Plain { host: host.into(), port });
    let old = namer::Kubernetes {
        source: namer::EndpointSource::Pods(namer::EndpointsApi::Endpoints),
        client: plain("::1", 3),
        watch: Scope::Cluster,
        external_names: true,
        ..usual.clone()
    };
    let named = Access::Kubeconfig { file: Some("c".into()), context: Some("dev".into()) };
    let saved = ApiServer { snapshot: Some("known/here".into()), ..plain("localhost", 4) };
    let external =
        namer::Kubernetes { source: namer::EndpointSource::External, client: saved, ..usual.clone() };
    let all = [
        ("/io.l5d.k8s", namer::Kubernetes { label_selector: Some("version".into()), ..usual.clone() }),
        ("/old", old),
        ("/io.l5d.k8s.ns", namer::Kubernetes { env_var: Some("POD_NAMESPACE".into()), ..usual.clone() }),
        ("/io.l5d.k8s.ns", namer::Kubernetes { env_var: Some("NS".into()), client: named.into(), ..usual }),
        ("/io.l5d.k8s.external", external),
    ];
    let config = |(prefix, kubernetes)| namer::Config {
        prefix: path(prefix),
        kind: namer::Kind::Kubernetes(kubernetes),
        transformers: Vec::new(),
    };
    assert_eq!(self::config(text).namers, all.map(config));
}

/// The store of a router with this interpreter.
fn store(interpreter: &str) -> Result<store::Config, Errors> {
    let text = format!("routers: [{{protocol: http, interpreter: {{{interpreter}}}, servers: [{{}}]}}]");
    read("f", &text).map(|mut config| config.routers.remove(0).interpreter.store.expect("a store"))
}

#[test]
fn every_key_of_the_stores_in_kubernetes_ends_in_its_field() {
    let usual = store::KubernetesStoreConfig {
        client: ApiServer::default(),
        namespace: "default".into(),
        name: "routes".into(),
        object: store::DtabObject::ConfigMap { filename: "dtab".into() },
    };
    let other = store::KubernetesStoreConfig {
        client: ApiServer {
            access: Access::Plain { host: "a".into(), port: 1 },
            snapshot: Some("/var/known".into()),
        },
        namespace: "prod".into(),
        name: "our.routes".into(),
        object: store::DtabObject::ConfigMap { filename: "dtab".into() },
    };
    let map = "kind: io.l5d.k8s.configMap, filename: dtab";
    let dtab = "kind: io.l5d.k8s.dtab, name: routes";
    let of = |object| store::KubernetesStoreConfig { object, ..usual.clone() };
    for (keys, expected) in [
        (format!("{map}, name: routes"), usual.clone()),
        (format!("{map}, host: a, port: 1, snapshot: /var/known, namespace: prod, name: our.routes"), other),
        ("kind: io.l5d.k8s.dtab, name: routes".to_owned(), of(store::DtabObject::Dtab)),
        (format!("{dtab}, apiVersion: signpost.dev/v1alpha1"), of(store::DtabObject::Dtab)),
        (format!("{dtab}, apiVersion: l5d.io/v1alpha1"), of(store::DtabObject::LinkerdDtab)),
    ] {
        assert_eq!(store(&keys).unwrap(), store::Config::Kubernetes(expected), "{keys}");
    }
    for (keys, expected) in [
        (map.to_owned(), "the key `name` is missing"),
        ("kind: io.l5d.k8s.configMap, name: a".to_owned(), "the key `filename` is missing"),
        ("kind: io.l5d.k8s.dtab".to_owned(), "the key `name` is missing"),
        (format!("{dtab}, apiVersion: v1"), "`l5d.io/v1alpha1`"),
        (format!("{map}, name: A"), "expected a name, in Kubernetes' letters"),
        (format!("{map}, name: a/b"), "expected a name, in Kubernetes' letters"),
        (format!("{map}, name: a, namespace: a.b"), "expected a name, in Kubernetes' letters"),
        (format!("{map}, name: a, watch: cluster"), "unknown key"),
    ] {
        let errors = store(&keys).unwrap_err().to_string();
        assert!(errors.contains(expected), "{keys}: {errors}");
    }
}

#[test]
fn ingresses_are_asked_for_as_is_said() {
    let identifiers = [
        identify::Config::Ingress(identify::Ingress {
            client: Access::Plain { host: "api".into(), port: 8 }.into(),
            namespace: Some("n".into()),
            class: "c".into(),
            ignore_default_backends: true,
        }),
        identify::Config::Ingress(identify::Ingress {
            client: ApiServer { snapshot: Some("known".into()), ..ApiServer::default() },
            namespace: None,
            class: "linkerd".into(),
            ignore_default_backends: false,
        }),
    ];
    let text = "routers:\n- protocol: http\n  servers: [{}]\n  identifier:\n  - {kind: io.l5d.ingress, host: api, port: 8, \
                namespace: n, ingressClassAnnotation: c, ignoreDefaultBackends: true}\n  - {kind: io.l5d.ingress, snapshot: known}\n";
    let config = read("f", text).expect("it is right");
    assert_eq!(config.routers[0].identifiers, identifiers);
    let again = read("f", &config.to_json().to_string()).expect("what is shown is a configuration");
    assert_eq!(again.routers[0].identifiers, identifiers);
}
