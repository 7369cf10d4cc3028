//! Transformers that know nodes, under a running app: pods and daemon sets that come, go and move.

use crate::support::{
    ApiServer, Names, Service, Serving, TestApp, Wire, address, one_router, service, signpost, slice, until,
};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;

/// The variable that cargo sets for every test, and the node that it stands for here.
const VARIABLE: &str = "CARGO_PKG_NAME";
const HERE: &str = env!("CARGO_PKG_NAME");

/// A slice of a service in `default`, whose endpoint runs on a node.
fn on(node: &str, name: &str, port: &str, address: SocketAddr) -> Value {
    let mut slice = slice("default", name, port, address);
    slice["endpoints"][0]["nodeName"] = node.into();
    slice
}

/// A router whose names are services in `default`, behind a transformer, with what serves when there is none: of that
/// no node is known, so it could not be behind it.
fn config(api: &ApiServer, rest: &Service, transformer: &str) -> String {
    let dtab = format!("/svc => /#/io.l5d.k8s/default/http | {}", rest.path());
    one_router(&dtab, "") + &api.namer("io.l5d.k8s", &format!(", transformers: [{transformer}]"))
}

async fn until_answered(client: &mut Wire, text: &str) {
    let what = format!("web is answered by {text}");
    until(&what, async || client.get("web", "").await.text() == text).await;
}

#[tokio::test(flavor = "local")]
async fn pods_of_this_node_alone_are_asked() {
    let (one, two, rest) =
        (Service::saying("one").await, Service::saying("two").await, Service::saying("rest").await);
    let api = ApiServer::start().await;
    api.put(service("default", "web", &[("http", 80)]));
    api.put(on(HERE, "web", "http", one.address()));
    api.put(on("elsewhere", "web", "http", two.address()));
    let transformer = format!("{{kind: io.l5d.k8s.localnode, envVar: {VARIABLE}}}");
    let app = TestApp::start(&config(&api, &rest, &transformer)).await;
    let mut client = app.client().await;
    for _ in 0..8 {
        assert_eq!(client.get("web", "").await.text(), "one");
    }
    let told = one.take_requests();
    let id = format!("/%/io.l5d.k8s.localnode/{HERE}/#/io.l5d.k8s/default/http/web");
    assert_eq!(told[0].field("l5d-dst-client"), Some(id.as_str()));

    api.put(on("elsewhere", "web", "http", one.address()));
    until_answered(&mut client, "rest").await;
    api.put(on(HERE, "web", "http", two.address()));
    until_answered(&mut client, "two").await;
    // Nothing is known of where it runs.
    api.put(slice("default", "web", "http", two.address()));
    until_answered(&mut client, "rest").await;
    // That others are ready elsewhere does not make it useless.
    let mut ending = on(HERE, "web", "http", two.address());
    ending["endpoints"][0]["conditions"] = json!({ "ready": false, "serving": true, "terminating": true });
    api.put(ending);
    until_answered(&mut client, "two").await;
    app.stop().await;
}

/// A cluster with a pod of `web` on `node-1` and one elsewhere, both in the network of the router's own pod.
async fn beside_own_pod() -> (ApiServer, [Service; 3]) {
    let services =
        [Service::saying("one").await, Service::saying("two").await, Service::saying("rest").await];
    let api = ApiServer::start().await;
    api.put(service("default", "web", &[("http", 80)]));
    api.put(on("node-1", "web", "http", services[0].address()));
    api.put(on("elsewhere", "web", "http", services[1].address()));
    (api, services)
}

/// The address of the router's own pod, which is in the namespace `mesh`.
const OWN_POD: &str = "127.0.0.9";

/// Starts the binary as if in that pod, and connects to it.
async fn in_own_pod(api: &ApiServer, rest: &Service, names: &Names) -> (Serving, Wire) {
    let file = format!("{}/config.yaml", names.path());
    fs::write(&file, config(api, rest, "{kind: io.l5d.k8s.localnode}")).expect("the folder is there");
    let mut command = signpost(&["run", &file]);
    command.env_remove("NODE_NAME").envs([("POD_IP", OWN_POD), ("POD_NAMESPACE", "mesh")]);
    let mut serving = Serving::start_command(command);
    let lines = serving.until(" admin address=").await;
    let client = Wire::connect(address(&lines, " serving ")).await;
    (serving, client)
}

/// Who answers several requests.
async fn answering(client: &mut Wire) -> Vec<String> {
    let mut answers = Vec::new();
    for _ in 0..16 {
        answers.push(client.get("web", "").await.text().to_owned());
    }
    answers.sort();
    answers.dedup();
    answers
}

#[tokio::test(flavor = "local")]
async fn the_node_of_the_own_pod_is_asked_for() {
    for by_slice in [false, true] {
        let (api, [one, _two, rest]) = beside_own_pod().await;
        if by_slice {
            // Rights on pods are not needed where a service has the pod.
            api.behave(|manners| manners.refuses_resource = Some("pods"));
            let mut own = on("node-1", "l5d", "incoming", one.address());
            own["metadata"]["namespace"] = "mesh".into();
            own["endpoints"][0]["addresses"] = json!([OWN_POD]);
            api.put(own);
        } else {
            // A pod that is over may have had the address before.
            for (name, phase, node) in [("a", "Succeeded", "elsewhere"), ("b", "Running", "node-1")] {
                api.put(json!({
                    "kind": "Pod", "metadata": { "namespace": "mesh", "name": name },
                    "spec": { "nodeName": node }, "status": { "podIP": OWN_POD, "phase": phase },
                }));
            }
        }
        let names = Names::new();
        let (serving, mut client) = in_own_pod(&api, &rest, &names).await;
        assert_eq!(answering(&mut client).await, ["one"], "by slice: {by_slice}");
        let id = format!("/%/io.l5d.k8s.localnode/{OWN_POD}/#/io.l5d.k8s/default/http/web");
        assert_eq!(one.take_requests()[0].field("l5d-dst-client"), Some(id.as_str()));
        let asked: Vec<_> =
            api.requests().into_iter().filter(|target| target.contains("/namespaces/mesh/")).collect();
        assert_eq!(asked.len(), 1 + usize::from(by_slice), "{asked:?}");
        assert!(asked[0].contains("fieldSelector=status.podIP%3D127.0.0.9"), "{asked:?}");
        assert_eq!(serving.end("TERM").await, Some(0));
    }
}

#[tokio::test(flavor = "local")]
async fn the_network_of_the_own_pod_stands_for_a_node_that_is_not_told() {
    let (api, [_one, _two, rest]) = beside_own_pod().await;
    api.behave(|manners| manners.refuses_resource = Some("pods"));
    let names = Names::new();
    let (mut serving, mut client) = in_own_pod(&api, &rest, &names).await;
    assert_eq!(answering(&mut client).await, ["one", "two"]);
    let lines = serving.until("does not tell the node of this pod").await;
    let line = lines.last().expect("the line itself");
    for part in
        ["WARN", "endpoints of 127.0.0.0/24 count", "on resource `pods`", "no endpoint has the address"]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    // It is asked again.
    api.put(json!({
        "kind": "Pod", "metadata": { "namespace": "mesh", "name": "own" },
        "spec": { "nodeName": "node-1" }, "status": { "podIP": OWN_POD, "phase": "Running" },
    }));
    api.behave(|manners| manners.refuses_resource = None);
    serving.until("tells the node of this pod").await;
    until("the node counts", async || answering(&mut client).await == ["one"]).await;
    assert_eq!(serving.end("TERM").await, Some(0));
}

/// The transformer that sends to the daemon set `l5d`.
fn daemon_set(api: &ApiServer) -> String {
    let address = api.address();
    format!(
        "{{kind: io.l5d.k8s.daemonset, k8sHost: {}, k8sPort: {}, namespace: default, port: incoming, service: l5d}}",
        address.ip(),
        address.port()
    )
}

#[tokio::test(flavor = "local")]
async fn the_daemon_sets_pod_on_the_same_node_is_asked() {
    let (on_a, on_b, rest) =
        (Service::saying("on a").await, Service::saying("on b").await, Service::saying("rest").await);
    // No machine has it (RFC 5737): it is never connected to.
    let far = SocketAddr::from(([192, 0, 2, 1], 80));
    let api = ApiServer::start().await;
    api.put(service("default", "web", &[("http", 80)]));
    api.put(on("a", "web", "http", far));
    let app = TestApp::start(&config(&api, &rest, &daemon_set(&api))).await;
    let mut client = app.client().await;
    assert_eq!(client.get("web", "").await.text(), "rest", "there is no such daemon set yet");

    api.put(service("default", "l5d", &[("outgoing", 4140), ("incoming", 4141)]));
    api.put(on("a", "l5d", "incoming", on_a.address()));
    until_answered(&mut client, "on a").await;
    let told = on_a.take_requests();
    let id = "/%/io.l5d.k8s.daemonset/default/incoming/l5d/#/io.l5d.k8s/default/http/web";
    assert_eq!(told[0].field("l5d-dst-client"), Some(id));
    api.put(on("b", "l5d", "incoming", on_b.address()));
    for _ in 0..8 {
        assert_eq!(client.get("web", "").await.text(), "on a");
    }

    // The endpoint moves, then the daemon set's pod goes and comes back, then moves itself.
    api.put(on("b", "web", "http", far));
    until_answered(&mut client, "on b").await;
    api.delete("EndpointSlice", "default", &format!("l5d-{}", on_b.address().port()));
    until_answered(&mut client, "rest").await;
    api.put(on("b", "l5d", "incoming", on_b.address()));
    until_answered(&mut client, "on b").await;
    api.put(on("c", "l5d", "incoming", on_b.address()));
    until_answered(&mut client, "rest").await;
    api.put(on("c", "web", "http", far));
    until_answered(&mut client, "on b").await;
    let requests = api.requests();
    assert_eq!(requests.len(), 2, "the watches are those of the namer: {requests:?}");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_last_good_pods_stay_while_the_api_server_is_away() {
    let (on_a, rest) = (Service::saying("on a").await, Service::saying("rest").await);
    let far = SocketAddr::from(([192, 0, 2, 1], 80));
    let (services, daemon_sets) = (ApiServer::start().await, ApiServer::start().await);
    services.put(service("default", "web", &[("http", 80)]));
    services.put(on("a", "web", "http", far));
    daemon_sets.behave(|manners| manners.refuses = Some(403));
    let app = TestApp::start(&config(&services, &rest, &daemon_set(&daemon_sets))).await;
    let mut client = app.client().await;
    let refused = client.get("web", "").await;
    assert!(refused.status() == 502, "a right that is missing is no reason to fall back: {refused:?}");
    daemon_sets.put(service("default", "l5d", &[("incoming", 4141)]));
    daemon_sets.put(on("a", "l5d", "incoming", on_a.address()));
    daemon_sets.behave(|manners| manners.refuses = None);
    until_answered(&mut client, "on a").await;
    daemon_sets.behave(|manners| manners.away = true);
    daemon_sets.cut();
    until("its watches are stale", async || {
        client.get("web", "").await.text() == "on a" && app.total("kubernetes_stale_watches", &[]) == 2
    })
    .await;
    // What is known of the names themselves goes on.
    services.put(on("b", "web", "http", far));
    until_answered(&mut client, "rest").await;
    services.put(on("a", "web", "http", far));
    until_answered(&mut client, "on a").await;
    app.stop().await;
}
