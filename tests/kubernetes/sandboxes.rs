//! Sandboxes in a real API server: what it refuses by itself, what routers do that list and watch alone, and what the
//! controller writes, of which two run.

use super::cluster::{Cluster, until};
use super::load::Client;
use super::pipeline::pipeline;
use super::router::{Router, admin_at, rest};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// How long it may take until a change is told or routed by.
const SOON: Duration = Duration::from_secs(30);

/// How long it may take until another controller leads: the lease lasts 15 s.
const TAKEN_OVER: Duration = Duration::from_secs(60);

/// Where the router listens, its admin server, and those of the controllers.
const LISTENS: SocketAddr = local(4170);
const ADMIN: SocketAddr = local(9995);
const CONTROLLERS: [SocketAddr; 2] = [local(9996), local(9997)];

const NAMESPACE: &str = "sandboxes";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const OBJECTS: &str = "/apis/signpost.dev/v1alpha1/namespaces/sandboxes";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/sandboxes/leases/controller";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/sandboxes";

/// An entry that leads to the pods of the service `web` of the sandboxes' own namespace.
const TO_WEB: &str = "/svc/world => /#/io.l5d.k8s/sandboxes/http/web ;";

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// From a router that starts before the resources are defined to the takeover by the second controller.
pub(crate) async fn sandboxes(cluster: &Cluster) {
    cluster.namespace(NAMESPACE).await;
    cluster.service(NAMESPACE).await;
    grant(cluster, "router", &json!([reading()])).await;
    grant(cluster, "controller", &writing()).await;
    let (folder, router_config, controller_config) = {
        let control_plane = cluster.control_plane.lock().await;
        let folder = control_plane.folder().to_owned();
        (folder, control_plane.kubeconfig("router"), control_plane.kubeconfig("controller"))
    };
    undefine(cluster).await;
    let router = Router::run(&folder, "sandboxes", &config(&router_config, ADMIN), ADMIN).await;
    before_the_definitions(&router).await;
    define(cluster).await;
    refused_by_the_server(cluster).await;

    let first = controller(&folder, &controller_config, CONTROLLERS[0]).await;
    until("the first controller leads", SOON, async || leads(&first).await).await;
    let second = controller(&folder, &controller_config, CONTROLLERS[1]).await;
    routed_and_ready(cluster).await;
    pipeline(cluster, NAMESPACE, LISTENS).await;
    verdicts(cluster).await;
    groups(cluster).await;
    ends(cluster).await;
    columns(cluster).await;
    takeover(cluster, first, second).await;
    assert_eq!(answer("pr-1").await.0, 200, "{}", router.said());
    router.stop().await;
}

/// The configuration of the router, and of the controllers.
fn config(kubeconfig: &Path, admin: SocketAddr) -> String {
    let keys = format!("kubeconfig: '{}'", kubeconfig.display());
    format!(
        "{}namers: [{{kind: io.l5d.k8s, {keys}}}]\n\
         sandboxes: {{namespaces: [{NAMESPACE}], queryParameter: sandbox, {keys}}}\n\
         routers:\n- protocol: http\n  label: sandboxes\n  dtab: {}; /svc => /rest\n  \
         servers: [{{port: {}, trust: {{from: [127.0.0.0/8]}}}}]\n",
        admin_at(admin),
        rest(),
        LISTENS.port(),
    )
}

/// Starts a controller; its lease is in the namespace of the sandboxes.
async fn controller(folder: &Path, kubeconfig: &Path, admin: SocketAddr) -> Router {
    let name = format!("controller-{}", admin.port());
    let arguments = ["controller", "--lease", "sandboxes/controller"];
    Router::run_as(&arguments, (folder, &name), &config(kubeconfig, admin), admin, &[]).await
}

async fn leads(controller: &Router) -> bool {
    controller.total("controller_leading", "").await > 0.5
}

/// Without a key requests go to the baseline. With one they fail: it may exist.
async fn before_the_definitions(router: &Router) {
    assert_eq!(answer("").await, (200, "rest".to_owned()));
    let (status, text) = answer("pr-1").await;
    assert_eq!(status, 503, "{text}");
    until("the reason is in the log", SOON, async || {
        router.said().contains("the server has no resource `sandboxes` of apiGroup \"signpost.dev\"")
    })
    .await;
}

/// What the schema and its rules refuse is not stored.
async fn refused_by_the_server(cluster: &Cluster) {
    let sandboxes = [
        (json!({}), "dtab"),
        (json!({ "dtab": "", "key": "A" }), "key"),
        (json!({ "dtab": "", "key": "-a" }), "key"),
        (
            json!({ "dtab": "", "ttl": "1h", "expiresAt": "2030-01-01T00:00:00Z" }),
            "write one of ttl and expiresAt",
        ),
        (json!({ "dtab": "", "ttl": "soon" }), "ttl"),
        (json!({ "dtab": "", "expiresAt": "soon" }), "expiresAt"),
        (json!({ "dtab": "#".repeat(16_385) }), "dtab"),
        (json!({ "dtab": "", "values": { "a": "b".repeat(1_025) } }), "values"),
        (json!({ "dtab": "", "values": { "": "b" } }), "1 to 253 characters"),
    ];
    for (spec, expected) in sandboxes {
        let (code, message) = apply(cluster, "Sandbox", "refused", &spec).await.expect_err("it is refused");
        assert!(code == 422 && message.contains(expected), "{spec}: {code} {message}");
    }
    let long = "a".repeat(64);
    let (code, message) = apply(cluster, "Sandbox", &long, &json!({ "dtab": "" })).await.expect_err("no key");
    assert!(code == 422 && message.contains("63 characters"), "{code} {message}");
    let label = json!({ "key": "branch", "value": "a-*" });
    let groups = [
        json!({}),
        json!({ "all": ["a"], "any": ["b"] }),
        json!({ "all": ["a"], "label": label }),
        json!({ "all": [] }),
        json!({ "label": { "key": "branch", "value": "a b" } }),
    ];
    for spec in groups {
        let (code, message) =
            apply(cluster, "SandboxGroup", "refused", &spec).await.expect_err("it is refused");
        assert_eq!(code, 422, "{spec}: {message}");
    }
}

/// A sandbox is accepted at once, ready when its pods are, and routed by.
async fn routed_and_ready(cluster: &Cluster) {
    store(cluster, "Sandbox", "pr-1", &json!({ "dtab": TO_WEB, "owner": "anna" })).await;
    let object = until_said(cluster, "sandboxes/pr-1", "Ready", "False").await;
    let (accepted, ready) = (condition(&object, "Accepted"), condition(&object, "Ready"));
    assert_eq!(accepted["status"], "True", "{object:#}");
    assert_eq!(ready["reason"], "NoEndpoints", "{object:#}");
    let message = ready["message"].as_str().expect("a message");
    assert!(message.starts_with("/#/io.l5d.k8s/sandboxes/http/web leads to no endpoint"), "{message}");
    assert_eq!(object["status"]["key"], "pr-1");
    assert_eq!(answer("pr-1").await, (200, "rest".to_owned()), "there is no endpoint: the baseline");

    cluster.deployment(NAMESPACE, 1).await;
    let object = until_said(cluster, "sandboxes/pr-1", "Ready", "True").await;
    assert_eq!(object["status"]["observedGeneration"], object["metadata"]["generation"]);
    let time = |at: &Value| at.as_str().expect("a time").parse::<jiff::Timestamp>().expect("RFC 3339");
    let lives = time(&object["status"]["expiresAt"]) - time(&object["metadata"]["creationTimestamp"]);
    assert_eq!(lives.total(jiff::Unit::Hour).expect("hours"), 24.0);
    until("its pod answers", SOON, async || answer("pr-1").await.1.starts_with("web-")).await;
    assert_eq!(answer("").await, (200, "rest".to_owned()), "the baseline is untouched");
    until("events tell it", SOON, async || {
        let told = events(cluster, "pr-1").await;
        ["Accepted", "NoEndpoints", "Ready"].iter().all(|reason| told.iter().any(|told| told == reason))
    })
    .await;
}

/// Each sandbox that is not accepted, or not ready, says why.
async fn verdicts(cluster: &Cluster) {
    let table = [
        (
            "squatter",
            json!({ "dtab": TO_WEB, "key": "pr-1" }),
            "Accepted",
            "KeyTaken",
            "belongs to sandboxes/pr-1",
        ),
        ("broken", json!({ "dtab": "# Ours.\n/svc = /a" }), "Accepted", "InvalidDtab", "line 2, column 6"),
        ("eternal", json!({ "dtab": "", "ttl": "8d" }), "Accepted", "TtlTooLong", "168h is the most"),
        (
            "elsewhere",
            json!({ "dtab": "/svc/world => /rest" }),
            "Ready",
            "DestinationNotAllowed",
            "/#/io.l5d.k8s/sandboxes/** alone",
        ),
    ];
    for (name, spec, kind, reason, message) in table {
        store(cluster, "Sandbox", name, &spec).await;
        let object = until_said(cluster, &format!("sandboxes/{name}"), kind, "False").await;
        let said = condition(&object, kind);
        assert_eq!(said["reason"], reason, "{object:#}");
        assert!(said["message"].as_str().is_some_and(|said| said.contains(message)), "{said:#}");
    }
    assert!(answer("pr-1").await.1.starts_with("web-"), "the older one has the key");
    let (status, text) = answer("broken").await;
    assert!(status >= 400 && text.contains("line 2, column 6"), "{status} {text}");
    // The older one goes, and the younger has the key.
    delete(cluster, "sandboxes/elsewhere").await;
    store(cluster, "Sandbox", "heir", &json!({ "dtab": "", "key": "eternal-2" })).await;
    store(cluster, "Sandbox", "waits", &json!({ "dtab": "", "key": "eternal-2" })).await;
    until_said(cluster, "sandboxes/waits", "Accepted", "False").await;
    delete(cluster, "sandboxes/heir").await;
    until_said(cluster, "sandboxes/waits", "Accepted", "True").await;
}

/// A group is ready when all of its members are there, and has a key of its own.
async fn groups(cluster: &Cluster) {
    store(cluster, "SandboxGroup", "both", &json!({ "all": ["pr-1", "pr-2"] })).await;
    let object = until_said(cluster, "sandboxgroups/both", "Ready", "False").await;
    assert_eq!(condition(&object, "Ready")["message"], "no accepted sandbox is called pr-2");
    let spec = json!({ "dtab": "/svc/world => /#/io.l5d.k8s/sandboxes/http/web | ! ;" });
    store(cluster, "Sandbox", "pr-2", &spec).await;
    let object = until_said(cluster, "sandboxgroups/both", "Ready", "True").await;
    assert_eq!(object["status"]["members"], json!(["pr-1", "pr-2"]));
    assert_eq!(object["status"]["conflicts"], json!(["/svc/world pr-1+pr-2"]));
    until("the group is routed by", SOON, async || answer("both").await.1.starts_with("web-")).await;
}

/// A sandbox is deleted at its end; one whose end was moved meanwhile stays.
async fn ends(cluster: &Cluster) {
    let spec = |ttl: &str| json!({ "dtab": TO_WEB, "ttl": ttl });
    store(cluster, "Sandbox", "short", &spec("6s")).await;
    store(cluster, "Sandbox", "extended", &spec("6s")).await;
    until_said(cluster, "sandboxes/extended", "Accepted", "True").await;
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let extended = json!({ "dtab": TO_WEB, "expiresAt": later.to_string() });
    store(cluster, "Sandbox", "extended", &extended).await;
    until("it is deleted at its end", SOON, async || get(cluster, "sandboxes/short").await.is_none()).await;
    assert_eq!(answer("short").await, (200, "rest".to_owned()), "and is gone on the router");
    let object = get(cluster, "sandboxes/extended").await.expect("it is there");
    assert_eq!(object["status"]["expiresAt"], later.to_string(), "{object:#}");
    assert!(events(cluster, "short").await.iter().any(|told| told == "Expired"));
}

/// What `kubectl get sandboxes` prints.
async fn columns(cluster: &Cluster) {
    let request = http::Request::get(format!("{OBJECTS}/sandboxes"))
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())
        .expect("a request");
    let table: Value = cluster.client.request(request).await.expect("a table");
    let names: Vec<_> = table["columnDefinitions"]
        .as_array()
        .expect("columns")
        .iter()
        .map(|column| &column["name"])
        .collect();
    assert_eq!(names, ["Name", "Key", "Owner", "Accepted", "Ready", "Expires", "Age"]);
    let rows = table["rows"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["cells"][0] == "pr-1").expect("it is there");
    assert_eq!(
        row["cells"].as_array().expect("cells")[1..5],
        ["pr-1", "anna", "True", "True"].map(Value::from)
    );
}

/// The second controller has written nothing; it takes over when the first is killed, and gives the lease back at its end.
async fn takeover(cluster: &Cluster, first: Router, second: Router) {
    assert!(!leads(&second).await, "one leads");
    assert_eq!(second.total("controller_statuses_written", "").await, 0.0);
    let holder = async || {
        let lease = request(cluster, http::Request::get(LEASE)).await.expect("there is a lease");
        lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
    };
    let before = holder().await.expect("it has a holder");
    // It is killed.
    drop(first);
    store(cluster, "Sandbox", "pr-3", &json!({ "dtab": "" })).await;
    until("the second controller leads", TAKEN_OVER, async || leads(&second).await).await;
    assert_ne!(holder().await, Some(before));
    until_said(cluster, "sandboxes/pr-3", "Accepted", "True").await;
    second.stop().await;
    assert_eq!(holder().await, None, "the lease is given back");
}

/// What a request with this key is answered with, or one without a key.
async fn answer(key: &str) -> (u16, String) {
    let path = if key.is_empty() { "/".to_owned() } else { format!("/?sandbox={key}") };
    Client::connect(LISTENS).await.get_of("world", &path).await.expect("the router answers")
}

/// What it takes to route.
fn reading() -> Value {
    json!({ "apiGroups": ["signpost.dev"], "resources": ["sandboxes", "sandboxgroups"], "verbs": ["list", "watch"] })
}

/// What it takes to control, as `examples/kubernetes/controller/rbac.yaml` has it.
fn writing() -> Value {
    let status = ["sandboxes/status", "sandboxgroups/status"];
    json!([
        reading(),
        { "apiGroups": ["signpost.dev"], "resources": status, "verbs": ["patch"] },
        { "apiGroups": ["signpost.dev"], "resources": ["sandboxes"], "verbs": ["delete"] },
        { "apiGroups": [""], "resources": ["events"], "verbs": ["create"] },
        { "apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"] },
        { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"] },
        { "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"] },
        {
            "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
            "resourceNames": ["controller"], "verbs": ["get", "update"],
        },
    ])
}

/// Gives a user rights in the namespace.
async fn grant(cluster: &Cluster, user: &str, rules: &Value) {
    let group = "rbac.authorization.k8s.io";
    let binding = json!({
        "roleRef": { "apiGroup": group, "kind": "Role", "name": user },
        "subjects": [{ "kind": "User", "name": user, "apiGroup": group }],
    });
    for (kind, plural, object) in
        [("Role", "roles", json!({ "rules": rules })), ("RoleBinding", "rolebindings", binding)]
    {
        let version = ("rbac.authorization.k8s.io/v1", kind);
        put(cluster, &format!("{RBAC}/{plural}/{user}"), version, object).await.expect("it is applied");
    }
}

/// Takes away both definitions, which another scenario may have left.
async fn undefine(cluster: &Cluster) {
    for plural in ["sandboxes", "sandboxgroups"] {
        let path = format!("{DEFINITIONS}/{plural}.signpost.dev");
        request(cluster, http::Request::delete(&path)).await;
        until(&format!("{plural} are not served"), SOON, async || {
            request(cluster, http::Request::get(&path)).await.is_none()
                && request(cluster, http::Request::get(format!("{OBJECTS}/{plural}"))).await.is_none()
        })
        .await;
    }
}

/// Defines both resources, as the book says, and waits until they are served.
pub(crate) async fn define(cluster: &Cluster) {
    let definitions = include_str!("../../examples/kubernetes/sandbox-crds.yaml");
    for (definition, plural) in definitions.split("\n---\n").zip(["sandboxes", "sandboxgroups"]) {
        let request =
            http::Request::patch(format!("{DEFINITIONS}/{plural}.signpost.dev?fieldManager=test&force=true"))
                .header("content-type", "application/apply-patch+yaml")
                .body(definition.as_bytes().to_vec())
                .expect("a request");
        cluster.client.request::<Value>(request).await.expect("it is defined");
    }
    until("both are served", SOON, async || {
        let served = async |plural: &str| {
            request(cluster, http::Request::get(format!("{OBJECTS}/{plural}"))).await.is_some()
        };
        served("sandboxes").await && served("sandboxgroups").await
    })
    .await;
}

/// Applies a sandbox or a group. Returns the status and the message of a refusal.
async fn apply(cluster: &Cluster, kind: &str, name: &str, spec: &Value) -> Result<(), (u16, String)> {
    let plural = if kind == "Sandbox" { "sandboxes" } else { "sandboxgroups" };
    let version = ("signpost.dev/v1alpha1", kind);
    put(cluster, &format!("{OBJECTS}/{plural}/{name}"), version, json!({ "spec": spec })).await
}

async fn store(cluster: &Cluster, kind: &str, name: &str, spec: &Value) {
    apply(cluster, kind, name, spec).await.expect("it is applied");
}

/// Applies an object, as `kubectl apply --server-side` does.
async fn put(
    cluster: &Cluster,
    path: &str,
    (version, kind): (&str, &str),
    mut object: Value,
) -> Result<(), (u16, String)> {
    object["apiVersion"] = version.into();
    object["kind"] = kind.into();
    object["metadata"]["name"] = path.rsplit('/').next().into();
    let request = http::Request::patch(format!("{path}?fieldManager=test&force=true"))
        .header("content-type", "application/apply-patch+yaml")
        .body(object.to_string().into_bytes())
        .expect("a request");
    match cluster.client.request::<Value>(request).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err((status.code, status.message.clone())),
        Err(error) => panic!("{path}: {error}"),
    }
}

/// What a request without a body is answered with; none when that is an error.
async fn request(cluster: &Cluster, request: http::request::Builder) -> Option<Value> {
    cluster.client.request(request.body(Vec::new()).expect("a request")).await.ok()
}

/// Returns an object, such as `sandboxes/pr-1`, if it is there.
async fn get(cluster: &Cluster, object: &str) -> Option<Value> {
    request(cluster, http::Request::get(format!("{OBJECTS}/{object}"))).await
}

async fn delete(cluster: &Cluster, object: &str) {
    request(cluster, http::Request::delete(format!("{OBJECTS}/{object}"))).await.expect("it is there");
}

/// The reasons of the events of an object.
async fn events(cluster: &Cluster, name: &str) -> Vec<String> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/events");
    let events = request(cluster, http::Request::get(path)).await.expect("there are events");
    let of_object = |event: &&Value| event["involvedObject"]["name"] == name;
    let events = events["items"].as_array().expect("a list").iter().filter(of_object);
    events.filter_map(|event| event["reason"].as_str().map(str::to_owned)).collect()
}

fn condition(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
}

/// Waits until a condition of an object has this status, and is about what is there now.
async fn until_said(cluster: &Cluster, object: &str, kind: &str, status: &str) -> Value {
    let mut found = Value::Null;
    until(&format!("{object}: {kind} is {status}"), SOON, async || {
        found = get(cluster, object).await.unwrap_or_default();
        let said = condition(&found, kind);
        said["status"] == status && said["observedGeneration"] == found["metadata"]["generation"]
    })
    .await;
    found
}
