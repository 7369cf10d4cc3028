//! Dtabs that are stored in a real API server: custom resources, whose status says what becomes of them, and a ConfigMap.
//! The router has its rights by name, as the book says.

use super::cluster::{Cluster, until};
use super::kubelet::serve;
use super::load::Client;
use super::router::{Router, admin_at};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::task::spawn_local;

/// How long it may take until a change is routed by.
const SOON: Duration = Duration::from_secs(20);

/// Where the routers of the three stores listen, and the admin server.
const DTAB: SocketAddr = local(4150);
const MAP: SocketAddr = local(4151);
const LINKERD: SocketAddr = local(4152);
const ADMIN: SocketAddr = local(9991);

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// What serves, by its port.
const SERVICES: [(&str, u16); 3] = [("own", 9010), ("v1", 9011), ("v2", 9012)];

/// The name of what serves with this text.
fn at(text: &str) -> String {
    let (_, port) = SERVICES.iter().find(|(name, _)| *name == text).expect("it serves");
    format!("/$/inet/127.0.0.1/{port}")
}

/// A dtab that leads there.
fn to(text: &str) -> String {
    format!("# Ours.\n/stored => {} ;\n", at(text))
}

const DTABS: &str = "/apis/signpost.dev/v1alpha1/namespaces/stored/dtabs";
const ROUTES: &str = "/apis/signpost.dev/v1alpha1/namespaces/stored/dtabs/routes";
const CONFIG_MAP: &str = "/api/v1/namespaces/stored/configmaps/routes";
const LINKERD_ROUTES: &str = "/apis/l5d.io/v1alpha1/namespaces/stored/dtabs/routes";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A dtab is stored, routed by, broken and mended: in each of the stores.
pub(crate) async fn stored_dtabs(cluster: &Cluster) {
    let services = SERVICES.map(|(text, port)| spawn_local(serve(local(port), text.into())).abort_handle());
    cluster.namespace("stored").await;
    define(cluster).await;
    grant(cluster, "reading", &reading()).await;
    let (folder, kubeconfig) = {
        let control_plane = cluster.control_plane.lock().await;
        (control_plane.folder().to_owned(), control_plane.kubeconfig("router"))
    };
    let client = format!("kubeconfig: '{}', namespace: stored, name: routes", kubeconfig.display());
    let router = |label: &str, interpreter: &str, address: SocketAddr| {
        format!(
            "- protocol: http\n  label: {label}\n  dtab: /svc => /stored | {}\n  interpreter: {{kind: {interpreter}, {client}}}\n  \
             servers: [{{port: {}}}]\n",
            at("own"),
            address.port()
        )
    };
    let yaml = admin_at(ADMIN)
        + "routers:\n"
        + &router("dtab", "io.l5d.k8s.dtab", DTAB)
        + &router("map", "io.l5d.k8s.configMap, filename: routes.dtab", MAP)
        + &router("linkerd", "io.l5d.k8s.dtab, apiVersion: l5d.io/v1alpha1", LINKERD);
    let router = Router::run(&folder, "stored", &yaml, ADMIN).await;
    custom_resource(cluster, &router).await;
    config_map(cluster, &router).await;
    linkerd(cluster, &router).await;
    router.stop().await;
    services.iter().for_each(tokio::task::AbortHandle::abort);
}

async fn custom_resource(cluster: &Cluster, router: &Router) {
    until_answered(DTAB, "own").await;
    assert_eq!(apply(cluster, ROUTES, &json!({ "spec": {} })).await.unwrap_err(), 422, "the schema holds");
    store(cluster, &to("v1")).await;
    until_answered(DTAB, "v1").await;
    let unwritten = "its status cannot be written, which routing does not need: 403";
    until("the missing right is named", SOON, async || router.said().contains(unwritten)).await;
    assert!(router.said().contains("grant the verb patch on resource `dtabs/status`"), "{}", router.said());

    grant(cluster, "writing", &writing()).await;
    store(cluster, "# Ours.\n/stored => /a ;\n/b = /c ;\n").await;
    let rejected = until_judged(cluster, "False").await;
    let condition = &rejected["status"]["conditions"][0];
    let message = condition["message"].as_str().expect("a message").to_owned();
    assert!(message.starts_with("line 3, column 4: expected '=>', found '='"), "{message}");
    assert_eq!((&condition["reason"], &condition["observedGeneration"]), (&json!("Invalid"), &json!(2)));
    until("there is an event", SOON, async || {
        let events = get(cluster, "/api/v1/namespaces/stored/events").await;
        let of_routes = |event: &&Value| event["involvedObject"]["name"] == "routes";
        let found: Vec<_> = events["items"].as_array().expect("a list").iter().filter(of_routes).collect();
        assert!(found.len() <= 1, "{found:#?}");
        found.iter().any(|event| {
            event["reason"] == "Rejected"
                && event["message"].as_str().unwrap_or_default().starts_with(&message)
        })
    })
    .await;
    assert_eq!(answer(DTAB).await, "v1", "the last good one serves");
    let state = router.json("/interpreter_state/dtab.json").await;
    assert_eq!(
        (&state["rejected"]["line"], &state["rejected"]["column"]),
        (&json!(3), &json!(4)),
        "{state:#}"
    );
    assert_eq!(cells(cluster).await, json!(["routes", "False", null, message]));

    store(cluster, &to("v2")).await;
    until_answered(DTAB, "v2").await;
    let accepted = until_judged(cluster, "True").await;
    assert_eq!(
        (&accepted["status"]["entries"], &accepted["status"]["observedGeneration"]),
        (&json!(1), &json!(3))
    );
    assert_eq!(cells(cluster).await, json!(["routes", "True", 1, "the routers use it"]));
}

async fn config_map(cluster: &Cluster, router: &Router) {
    let before = get(cluster, ROUTES).await;
    let store = async |text: &str| {
        let object = json!({ "data": { "routes.dtab": text } });
        apply(cluster, CONFIG_MAP, &object).await.expect("it is applied");
    };
    until_answered(MAP, "own").await;
    store(&to("v1")).await;
    until_answered(MAP, "v1").await;
    store("/stored =>").await;
    let reject = async || !router.json("/interpreter_state/map.json").await["rejected"].is_null();
    until("it is rejected", SOON, reject).await;
    assert_eq!(answer(MAP).await, "v1");
    let said = "configmap stored/routes, key routes.dtab: line 1, column 11: expected";
    assert!(router.said().contains(said), "{}", router.said());
    store(&to("v2")).await;
    until_answered(MAP, "v2").await;
    let delete = http::Request::delete(CONFIG_MAP).body(Vec::new()).expect("a request");
    cluster.client.request::<Value>(delete).await.expect("it is deleted");
    until_answered(MAP, "own").await;
    let after = get(cluster, ROUTES).await;
    assert_eq!(
        before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"],
        "nothing is written twice"
    );
}

async fn linkerd(cluster: &Cluster, router: &Router) {
    let store = async |dst: &str| {
        let object = json!({ "dentries": [{ "prefix": "/stored", "dst": dst }] });
        apply(cluster, LINKERD_ROUTES, &object).await.expect("it is applied");
    };
    store(&at("v1")).await;
    until_answered(LINKERD, "v1").await;
    store("/a |").await;
    let reject = async || !router.json("/interpreter_state/linkerd.json").await["rejected"].is_null();
    until("it is rejected", SOON, reject).await;
    assert_eq!(answer(LINKERD).await, "v1");
    store(&at("v2")).await;
    until_answered(LINKERD, "v2").await;
}

/// Defines both custom resources: ours as the book says, Linkerd's as namerd's users did.
async fn define(cluster: &Cluster) {
    let ours = include_bytes!("../../examples/kubernetes/crd.yaml").to_vec();
    patch(cluster, &format!("{DEFINITIONS}/dtabs.signpost.dev"), ours).await.expect("it is applied");
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let linkerds = json!({ "spec": {
        "group": "l5d.io",
        "scope": "Namespaced",
        "names": { "kind": "DTab", "listKind": "DTabList", "plural": "dtabs", "singular": "dtab" },
        "versions": [
            { "name": "v1alpha1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } },
        ],
    } });
    apply(cluster, &format!("{DEFINITIONS}/dtabs.l5d.io"), &linkerds).await.expect("it is applied");
    until("both are served", SOON, async || {
        let list = |path: &'static str| http::Request::get(path).body(Vec::new()).expect("a request");
        let served = async |path| cluster.client.request::<Value>(list(path)).await.is_ok();
        served(DTABS).await && served("/apis/l5d.io/v1alpha1/namespaces/stored/dtabs").await
    })
    .await;
}

/// What it takes to route.
fn reading() -> Value {
    let rule = |group: &str, resource: &str| json!({ "apiGroups": [group], "resources": [resource], "resourceNames": ["routes"], "verbs": ["list", "watch"] });
    json!([rule("", "configmaps"), rule("signpost.dev", "dtabs"), rule("l5d.io", "dtabs")])
}

/// What it takes to say what becomes of a `Dtab`.
fn writing() -> Value {
    json!([
        { "apiGroups": ["signpost.dev"], "resources": ["dtabs/status"], "resourceNames": ["routes"], "verbs": ["patch"] },
        { "apiGroups": [""], "resources": ["events"], "verbs": ["create"] },
    ])
}

/// Gives the router rights in the namespace.
async fn grant(cluster: &Cluster, name: &str, rules: &Value) {
    let path =
        |resource: &str| format!("/apis/rbac.authorization.k8s.io/v1/namespaces/stored/{resource}/{name}");
    let binding = json!({
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
        "subjects": [{ "kind": "User", "name": "router", "apiGroup": "rbac.authorization.k8s.io" }],
    });
    apply(cluster, &path("roles"), &json!({ "rules": rules })).await.expect("it is applied");
    apply(cluster, &path("rolebindings"), &binding).await.expect("it is applied");
}

async fn store(cluster: &Cluster, text: &str) {
    apply(cluster, ROUTES, &json!({ "spec": { "dtab": text } })).await.expect("it is applied");
}

/// Applies an object; the path says which. Returns the status of a refusal.
async fn apply(cluster: &Cluster, path: &str, object: &Value) -> Result<(), u16> {
    let (parent, name) = path.rsplit_once('/').expect("a path");
    let mut object = object.clone();
    let (kind, version) = match parent {
        DTABS => ("Dtab", "signpost.dev/v1alpha1"),
        DEFINITIONS => ("CustomResourceDefinition", "apiextensions.k8s.io/v1"),
        _ if parent.contains("l5d.io") => ("DTab", "l5d.io/v1alpha1"),
        _ if parent.ends_with("/configmaps") => ("ConfigMap", "v1"),
        _ if parent.ends_with("/roles") => ("Role", "rbac.authorization.k8s.io/v1"),
        _ => ("RoleBinding", "rbac.authorization.k8s.io/v1"),
    };
    object["kind"] = kind.into();
    object["apiVersion"] = version.into();
    object["metadata"]["name"] = name.into();
    patch(cluster, path, object.to_string().into_bytes()).await
}

/// Applies what is written as YAML, as `kubectl apply --server-side` does.
async fn patch(cluster: &Cluster, path: &str, yaml: Vec<u8>) -> Result<(), u16> {
    let request = http::Request::patch(format!("{path}?fieldManager=test&force=true"))
        .header("content-type", "application/apply-patch+yaml")
        .body(yaml)
        .expect("a request");
    match cluster.client.request::<Value>(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(status.code),
        Err(error) => panic!("{path}: {error}"),
    }
}

async fn get(cluster: &Cluster, path: &str) -> Value {
    let request = http::Request::get(path).body(Vec::new()).expect("a request");
    cluster.client.request(request).await.expect("it is there")
}

/// Waits until the status says so of what is there now.
async fn until_judged(cluster: &Cluster, accepted: &str) -> Value {
    let mut object = Value::Null;
    until(&format!("Accepted is {accepted}"), SOON, async || {
        object = get(cluster, ROUTES).await;
        let (status, generation) = (&object["status"], &object["metadata"]["generation"]);
        status["observedGeneration"] == *generation && status["conditions"][0]["status"] == accepted
    })
    .await;
    object
}

/// The columns that `kubectl get dtabs` prints, without the age.
async fn cells(cluster: &Cluster) -> Value {
    let request = http::Request::get(DTABS)
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())
        .expect("a request");
    let table: Value = cluster.client.request(request).await.expect("a table");
    let columns = table["columnDefinitions"].as_array().expect("columns").iter();
    let cells = table["rows"][0]["cells"].as_array().expect("cells").iter();
    columns.zip(cells).filter(|(column, _)| column["name"] != "Age").map(|(_, cell)| cell.clone()).collect()
}

/// What a router answers with.
async fn answer(router: SocketAddr) -> String {
    Client::connect(router).await.get("/").await.expect("the router answers").1
}

async fn until_answered(router: SocketAddr, text: &str) {
    until(&format!("{router} is answered by {text}"), SOON, async || answer(router).await == text).await;
}
