//! Transformers that know nodes, under a running app: pods and daemon sets that come, go and move.

use crate::support::{ApiServer, Service, TestApp, Wire, one_router, service, slice, until};
use serde_json::{Value, json};
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
