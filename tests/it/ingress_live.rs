//! Requests that are named by Ingress resources, under a running app: what they see of each change, and of an API server
//! that is away.

use crate::support::either::Speaks::{Http1, Http2};
use crate::support::either::{Ask, Caller, Echo, WAYS, router};
use crate::support::{
    ApiServer, Message, Service, TestApp, Wire, ingress, one_router, soon, speaking, time_flies, until,
};
use serde_json::{Value, json};

/// The line of a router that is named by the ingresses of this server, with more keys (`, namespace: prod`).
fn identifier(api: &ApiServer, keys: &str) -> String {
    let (host, port) = (api.address().ip(), api.address().port());
    format!("  identifier: {{kind: io.l5d.ingress, host: '{host}', port: {port}{keys}}}\n")
}

/// An API server, and services to which the names of backends lead: `default/http/v1` and `default/80/v2`.
struct Scene {
    api: ApiServer,
    v1: Service,
    v2: Service,
}

impl Scene {
    async fn new() -> Self {
        let (v1, v2) = (Service::saying("v1").await, Service::saying("v2").await);
        Self { api: ApiServer::start().await, v1, v2 }
    }

    fn config(&self, keys: &str) -> String {
        let (v1, v2) = (self.v1.path(), self.v2.path());
        let dtab = format!("/svc/default/http/v1 => {v1}; /svc/default/80/v2 => {v2}");
        one_router(&dtab, "") + &identifier(&self.api, keys)
    }

    async fn app(&self) -> (TestApp, Wire) {
        let app = TestApp::start_here(&self.config("")).await;
        let client = app.client().await;
        (app, client)
    }
}

/// An ingress in `default` of the host `web`, all of whose paths lead to a service.
fn leading(name: &str, service: &str, port: &Value) -> Value {
    let backend = json!({ "service": { "name": service, "port": port } });
    let path = json!({ "path": "/", "pathType": "Prefix", "backend": backend });
    ingress("default", name, &json!({ "rules": [{ "host": "web", "http": { "paths": [path] } }] }))
}

fn to_v1() -> Value {
    leading("web", "v1", &json!({ "name": "http" }))
}

fn to_v2() -> Value {
    leading("web", "v2", &json!({ "number": 80 }))
}

async fn until_answered(client: &mut Wire, mut is_so: impl FnMut(&Message) -> bool) {
    soon(async || is_so(&client.get("web", "").await)).await;
}

async fn until_says(client: &mut Wire, text: &str) {
    until_answered(client, |answer| answer.text() == text).await;
}

async fn until_unidentified(client: &mut Wire) {
    until_answered(client, |answer| {
        answer.status() == 400 && answer.text().contains("no ingress rule matches")
    })
    .await;
}

#[tokio::test(flavor = "local")]
async fn names_follow_every_change() {
    let scene = Scene::new().await;
    let (app, mut client) = scene.app().await;
    let refused = client.get("web", "").await;
    refused.assert_status(400);
    assert_eq!(refused.text(), "Unknown destination: no ingress rule matches\n");

    scene.api.put(to_v1());
    until_says(&mut client, "v1").await;
    scene.api.put(to_v2());
    until_says(&mut client, "v2").await;
    for host in ["WEB:8080", "web.", "web.:8080"] {
        assert_eq!(
            client.get(host, "").await.text(),
            "v2",
            "neither case, port nor a dot at the end count: {host}"
        );
    }
    client.get("[::1]:80", "").await.assert_status(400);

    let mut of_others = to_v2();
    of_others["spec"]["ingressClassName"] = "nginx".into();
    scene.api.put(of_others);
    until_unidentified(&mut client).await;
    let mut ours = to_v1();
    ours["metadata"]["annotations"] = json!({ "kubernetes.io/ingress.class": "linkerd" });
    scene.api.put(ours);
    until_says(&mut client, "v1").await;

    scene.api.delete("Ingress", "default", "web");
    until_unidentified(&mut client).await;
    let requests = scene.api.requests();
    assert_eq!(requests.len(), 1, "one watch serves all: {requests:?}");
    assert!(requests[0].starts_with("/apis/networking.k8s.io/v1/ingresses?"), "{requests:?}");
    assert_eq!(app.total("kubernetes_watches", &[("resource", "ingresses")]), 1);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn keys_choose_the_ingresses() {
    let scene = Scene::new().await;
    let mut of_class = to_v1();
    of_class["spec"]["ingressClassName"] = "signpost".into();
    let default = json!({ "service": { "name": "v2", "port": { "number": 80 } } });
    of_class["spec"]["defaultBackend"] = default.clone();
    scene.api.put(of_class);
    scene.api.put(ingress("other", "all", &json!({ "defaultBackend": default })));

    let app =
        TestApp::start_here(&scene.config(", namespace: default, ingressClassAnnotation: signpost")).await;
    let mut client = app.client().await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    assert_eq!(client.get("web.", "").await.text(), "v1");
    assert_eq!(client.get("elsewhere", "").await.text(), "v2", "the default backend");
    let requests = scene.api.requests();
    assert!(requests.iter().all(|target| target.contains("/namespaces/default/")), "{requests:?}");
    app.stop().await;

    let app = TestApp::start_here(&scene.config(", ignoreDefaultBackends: true")).await;
    let mut client = app.client().await;
    client.get("web", "").await.assert_status(400);
    client.get("elsewhere", "").await.assert_status(400);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn callers_and_endpoints_of_both_protocols_are_named_alike() {
    for (caller, endpoint) in WAYS.into_iter().chain([(Http1, Http1)]) {
        let api = ApiServer::start().await;
        api.put(to_v1());
        let echo = Echo::start(endpoint).await;
        let dtab = format!("/svc/default/http/v1 => {}", echo.path());
        let app = TestApp::start_here(&(speaking(router(endpoint), &dtab, "") + &identifier(&api, ""))).await;
        let mut client = Caller::connect(&app, caller).await;
        let answer = client.ask(&Ask { method: "GET", target: "/a?b", ..Ask::default() }).await;
        assert_eq!(answer.status, 200, "{caller:?} to {endpoint:?}: {}", answer.text());
        assert_eq!(echo.take_request().target, "/a?b");
        app.stop().await;
    }
    assert!(WAYS.contains(&(Http2, Http2)));
}

#[tokio::test(flavor = "local")]
async fn what_was_deleted_during_an_outage_is_gone_after_it() {
    let scene = Scene::new().await;
    scene.api.put(to_v1());
    let (app, mut client) = scene.app().await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    scene.api.behave(|manners| manners.away = true);
    scene.api.cut();
    scene.api.delete("Ingress", "default", "web");
    scene.api.compact();
    until_answered(&mut client, |answer| {
        assert_eq!(answer.text(), "v1");
        app.total("kubernetes_watch_failures", &[]) > 2
    })
    .await;
    scene.api.behave(|manners| manners.away = false);
    until_unidentified(&mut client).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn while_the_rules_are_not_known_requests_are_told_to_come_again() {
    let scene = Scene::new().await;
    scene.api.put(to_v1());
    for refuses in [None, Some(403)] {
        scene.api.behave(|manners| (manners.away, manners.refuses) = (refuses.is_none(), refuses));
        // What stands behind it must not name what it may be going to name.
        let behind = "}, {kind: io.l5d.static, path: /default/80/v2}]\n";
        let config = scene.config("").replace("identifier: {", "identifier: [{") + behind;
        let config = config.replace("}\n}, {", "}, {");
        let (app, _) = time_flies(TestApp::start_here(&config)).await;
        let mut client = app.client().await;
        let answer = client.get("web", "").await;
        answer.assert_status(503);
        assert_eq!(answer.field("l5d-retryable"), Some("true"));
        assert!(answer.text().contains("the ingress rules are not known"), "{}", answer.text());
        assert_eq!(answer.text().contains("ingresses"), refuses.is_some(), "{}", answer.text());
        scene.api.behave(|manners| (manners.away, manners.refuses) = (false, None));
        until_says(&mut client, "v1").await;
        assert_eq!(client.get("elsewhere", "").await.text(), "v2", "now the next identifier is asked");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_reload_keeps_the_rules() {
    let scene = Scene::new().await;
    scene.api.put(to_v1());
    let mut app = TestApp::start_here(&scene.config("")).await;
    let mut client = app.client().await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    scene.api.requests();
    scene.api.behave(|manners| manners.refuses = Some(500));
    let more = scene.config("") + "  bindingTimeoutMs: 5000\n";
    assert!(app.reload(&more).await.is_empty());
    assert_eq!(client.get("web", "").await.text(), "v1", "the API server is not asked again");
    assert!(scene.api.requests().is_empty());
    scene.api.put(to_v2());
    until_says(&mut client, "v2").await;

    scene.api.behave(|manners| manners.refuses = None);
    assert!(app.reload(&scene.config(", namespace: other")).await.is_empty());
    until_unidentified(&mut client).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn workers_share_a_watch() {
    let scene = Scene::new().await;
    scene.api.put(to_v1());
    let app = TestApp::start_workers(&scene.config(""), 2).await;
    let mut clients = [app.client().await, app.client().await];
    for (object, text) in [(to_v2(), "v2"), (to_v1(), "v1")] {
        scene.api.put(object);
        for client in &mut clients {
            until(text, async || client.get("web", "").await.text() == text).await;
        }
    }
    assert_eq!(scene.api.requests().len(), 1);
    app.stop().await;
}
