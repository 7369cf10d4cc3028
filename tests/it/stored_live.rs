//! Dtabs that are stored in Kubernetes under a running app: what a request sees of them while they change, are wrong,
//! go, and while the API server is away.

use crate::support::{ApiServer, Service, TestApp, Wire, config_map, dtab, one_router, soon};
use serde_json::{Value, json};

/// What the router says of its stored dtab.
const STATE: &str = "/interpreter_state/http.json";

/// Three services, and the API server whose stored dtab says which of them serves.
struct Scene {
    api: ApiServer,
    v1: Service,
    v2: Service,
    own: Service,
}

impl Scene {
    async fn new() -> Self {
        let (v1, v2) = (Service::saying("v1").await, Service::saying("v2").await);
        Self { api: ApiServer::start().await, v1, v2, own: Service::saying("own").await }
    }

    /// A router whose own dtab falls back when nothing is stored.
    fn config(&self, interpreter: &str) -> String {
        let dtab = format!("/svc => /stored | {}", self.own.path());
        one_router(&dtab, "") + &format!("  interpreter: {{{interpreter}, {}}}\n", self.api.keys())
    }

    async fn app(&self, interpreter: &str) -> (TestApp, Wire) {
        let app = TestApp::start_here(&self.config(interpreter)).await;
        let client = app.client().await;
        (app, client)
    }

    /// Stores a dtab, or what should be one, in the ConfigMap.
    fn store(&self, text: &str) {
        self.api.put(config_map("prod", "routes", "dtab", text));
    }
}

const CONFIG_MAP: &str = "kind: io.l5d.k8s.configMap, namespace: prod, name: routes, filename: dtab";

const DTAB: &str = "kind: io.l5d.k8s.dtab, namespace: prod, name: routes";

/// A dtab that leads to a service.
fn to(service: &Service) -> String {
    format!("/stored => {}", service.path())
}

async fn until_answered(client: &mut Wire, text: &str) {
    soon(async || client.get("web", "").await.text() == text).await;
}

#[tokio::test(flavor = "local")]
async fn a_config_map_is_followed() {
    let scene = Scene::new().await;
    let (app, mut client) = scene.app(CONFIG_MAP).await;
    assert_eq!(client.get("web", "").await.text(), "own", "there is no such ConfigMap yet");
    scene.store(&to(&scene.v1));
    until_answered(&mut client, "v1").await;
    scene.store(&to(&scene.v2));
    until_answered(&mut client, "v2").await;
    scene.api.put(config_map("prod", "routes", "other", &to(&scene.v1)));
    until_answered(&mut client, "own").await;
    scene.store(&to(&scene.v1));
    until_answered(&mut client, "v1").await;
    scene.api.delete("ConfigMap", "prod", "routes");
    until_answered(&mut client, "own").await;

    let requests = scene.api.requests();
    let asked = "/api/v1/namespaces/prod/configmaps?";
    assert!(requests.iter().all(|target| target.starts_with(asked)), "{requests:?}");
    assert!(
        requests.iter().all(|target| target.contains("fieldSelector=metadata.name%3Droutes")),
        "{requests:?}"
    );
    assert_eq!(app.total("kubernetes_watches", &[("resource", "configmaps")]), 1);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_is_no_dtab_keeps_the_last_good_one() {
    let scene = Scene::new().await;
    scene.store(&to(&scene.v1));
    let (app, mut client) = scene.app(CONFIG_MAP).await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    assert!(app.json(STATE).await["rejected"].is_null());

    scene.store("/stored => /a;\n/stored = /b");
    soon(async || !app.json(STATE).await["rejected"].is_null()).await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    let state_now = app.json(STATE).await;
    let rejected = &state_now["rejected"];
    assert_eq!((&rejected["line"], &rejected["column"]), (&2.into(), &9.into()), "{state_now:#}");
    let reason = rejected["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("configmap prod/routes, key dtab: line 2, column 9: expected '=>'"),
        "{reason}"
    );
    assert_eq!((&state_now["state"], &state_now["entries"]), (&"ready".into(), &1.into()));
    assert_eq!(app.total("stored_dtabs_rejected", &[]), 1);

    scene.store(&to(&scene.v2));
    until_answered(&mut client, "v2").await;
    assert!(app.json(STATE).await["rejected"].is_null());
    assert_eq!(app.total("stored_dtabs_rejected", &[]), 0);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn without_a_good_one_to_begin_with_nothing_falls_back() {
    let scene = Scene::new().await;
    scene.store("/stored = /b");
    let (app, mut client) = scene.app(CONFIG_MAP).await;
    let answer = client.get("web", "").await;
    assert_eq!(answer.status(), 502);
    assert!(answer.text().contains("line 1, column 9"), "{}", answer.text());
    scene.store(&to(&scene.v1));
    until_answered(&mut client, "v1").await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_is_no_dtab_after_an_absence_is_judged_as_by_a_young_router() {
    let scene = Scene::new().await;
    let absences: [&dyn Fn(); 2] = [&|| scene.api.put(config_map("prod", "routes", "other", "")), &|| {
        scene.api.delete("ConfigMap", "prod", "routes");
    }];
    for make_absent in absences {
        scene.store(&to(&scene.v1));
        let (old, mut client) = scene.app(CONFIG_MAP).await;
        assert_eq!(client.get("web", "").await.text(), "v1");
        make_absent();
        until_answered(&mut client, "own").await;
        scene.store("/stored = /b");
        soon(async || client.get("web", "").await.status() == 502).await;
        let (young, mut other) = scene.app(CONFIG_MAP).await;
        assert_eq!(other.get("web", "").await.text(), client.get("web", "").await.text());
        assert_eq!(old.total("stored_dtabs_rejected", &[]), 1);
        scene.store(&to(&scene.v2));
        until_answered(&mut client, "v2").await;
        until_answered(&mut other, "v2").await;
        old.stop().await;
        young.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn while_the_api_server_is_away_the_last_dtab_serves() {
    let scene = Scene::new().await;
    scene.store(&to(&scene.v1));
    let (app, mut client) = scene.app(CONFIG_MAP).await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    scene.api.behave(|manners| manners.away = true);
    scene.api.cut();
    scene.store(&to(&scene.v2));
    soon(async || !app.json(STATE).await["watches"]["configmaps in prod"]["staleSeconds"].is_null()).await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    scene.api.behave(|manners| manners.away = false);
    until_answered(&mut client, "v2").await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_start_without_the_api_server_makes_requests_wait() {
    let scene = Scene::new().await;
    scene.store(&to(&scene.v1));
    scene.api.behave(|manners| manners.away = true);
    let (app, mut client) = scene.app(CONFIG_MAP).await;
    assert_eq!(app.json(STATE).await["state"], "pending");
    client.writer.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
    soon(async || !app.json(STATE).await["watches"]["configmaps in prod"]["trouble"].is_null()).await;
    scene.api.behave(|manners| manners.away = false);
    let answer = client.reader.next_response().await;
    assert_eq!(answer.text(), "v1", "it waited, and did not fall back");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn rights_that_are_missing_are_said_to_the_caller() {
    let scene = Scene::new().await;
    scene.api.behave(|manners| manners.refuses = Some(403));
    let (app, mut client) = scene.app(CONFIG_MAP).await;
    let answer = client.get("web", "").await;
    assert_eq!(answer.status(), 502);
    assert!(answer.text().contains("list and watch on resource `configmaps`"), "{}", answer.text());
    scene.store(&to(&scene.v1));
    scene.api.behave(|manners| manners.refuses = None);
    until_answered(&mut client, "v1").await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_reload_opens_another_store() {
    let scene = Scene::new().await;
    scene.store(&to(&scene.v1));
    scene.api.put(config_map("prod", "others", "dtab", &to(&scene.v2)));
    let mut app = TestApp::start_here(&scene.config(CONFIG_MAP)).await;
    let mut client = app.client().await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    app.reload(&scene.config(&CONFIG_MAP.replace("routes", "others"))).await;
    until_answered(&mut client, "v2").await;
    assert_eq!(app.json(STATE).await["stored"], "configmap prod/others, key dtab");
    app.reload(&scene.config(CONFIG_MAP)).await;
    until_answered(&mut client, "v1").await;
    app.stop().await;
}

/// The status that was last written, and how many were; events apart.
fn statuses(written: &[Value]) -> Vec<&Value> {
    written.iter().filter(|object| object["kind"] == "Dtab").map(|object| &object["status"]).collect()
}

#[tokio::test(flavor = "local")]
async fn a_dtab_is_followed_and_told_what_became_of_it() {
    let scene = Scene::new().await;
    let store = |text: &str| scene.api.put(dtab("prod", "routes", text));
    let (app, mut client) = scene.app(DTAB).await;
    assert_eq!(client.get("web", "").await.text(), "own", "there is no such Dtab yet");
    store(&to(&scene.v1));
    until_answered(&mut client, "v1").await;
    let mut written = Vec::new();
    let mut until_written = async |count: usize| {
        written.clear();
        soon(async || {
            written.extend(scene.api.written());
            written.len() >= count
        })
        .await;
        std::mem::take(&mut written)
    };
    let accepted = until_written(1).await;
    let status = statuses(&accepted)[0];
    assert_eq!((&status["observedGeneration"], &status["entries"]), (&json!(1), &json!(1)), "{status:#}");
    let condition = &status["conditions"][0];
    assert_eq!((&condition["type"], &condition["status"]), (&json!("Accepted"), &json!("True")));

    store("# Ours.\n/stored => /a\n/b => /c");
    let rejected = until_written(2).await;
    let status = statuses(&rejected)[0];
    let condition = &status["conditions"][0];
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("Invalid")));
    let message = condition["message"].as_str().expect("a message");
    assert!(message.starts_with("line 3, column 1: expected") && !message.contains('\n'), "{message}");
    assert_eq!((&status["observedGeneration"], &status["entries"]), (&json!(2), &Value::Null));
    let event = &rejected[1];
    assert_eq!(
        (&event["kind"], &event["type"], &event["reason"]),
        (&json!("Event"), &json!("Warning"), &json!("Rejected"))
    );
    assert!(event["message"].as_str().expect("a message").starts_with(message), "{event:#}");
    assert_eq!(event["involvedObject"]["name"], "routes");
    assert_eq!(client.get("web", "").await.text(), "v1");
    assert_eq!(app.json(STATE).await["rejected"]["line"], 3);

    store(&to(&scene.v2));
    until_answered(&mut client, "v2").await;
    assert_eq!(statuses(&until_written(1).await)[0]["conditions"][0]["status"], "True");
    scene.api.delete("Dtab", "prod", "routes");
    until_answered(&mut client, "own").await;
    assert_eq!(scene.api.written(), [] as [Value; 0]);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn of_several_routers_one_writes_the_status() {
    let scene = Scene::new().await;
    scene.api.put(dtab("prod", "routes", &to(&scene.v1)));
    let (first, mut client) = scene.app(DTAB).await;
    let (second, mut other) = scene.app(DTAB).await;
    for text in ["/stored = /a", "/stored => /b", "/stored / c", &to(&scene.v2)] {
        scene.api.put(dtab("prod", "routes", text));
        // Each has its time to see it, and what the other wrote.
        soon(async || {
            scene.api.object("Dtab", "prod", "routes")["status"]["observedGeneration"]
                == scene.api.object("Dtab", "prod", "routes")["metadata"]["generation"]
        })
        .await;
    }
    until_answered(&mut client, "v2").await;
    until_answered(&mut other, "v2").await;
    let written = scene.api.written();
    let mut generations: Vec<_> =
        statuses(&written).iter().map(|status| status["observedGeneration"].clone()).collect();
    generations.dedup();
    assert_eq!(generations.len(), statuses(&written).len(), "each generation is written once: {written:#?}");
    let events = written.len() - generations.len();
    assert!(events <= 2, "{events} events");
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "local")]
async fn to_route_nothing_need_be_written() {
    let scene = Scene::new().await;
    scene.api.behave(|manners| manners.refuses_writes = Some(403));
    scene.api.put(dtab("prod", "routes", &to(&scene.v1)));
    let (app, mut client) = scene.app(DTAB).await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    scene.api.put(dtab("prod", "routes", &to(&scene.v2)));
    until_answered(&mut client, "v2").await;
    // The right is granted, and used without a change.
    scene.api.behave(|manners| manners.refuses_writes = None);
    let mut written = Vec::new();
    soon(async || {
        written.extend(scene.api.written());
        !written.is_empty()
    })
    .await;
    assert_eq!(statuses(&written)[0]["observedGeneration"], 2);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_namerd_stored_is_read() {
    let scene = Scene::new().await;
    let store = |dst: &str| {
        scene.api.put(json!({
            "kind": "DTab",
            "metadata": { "namespace": "prod", "name": "routes" },
            "dentries": [{ "prefix": "/srv", "dst": "/a" }, { "prefix": "/stored", "dst": dst }],
        }));
    };
    store(&scene.v1.path());
    // One of the other group has the same name.
    scene.api.put(dtab("prod", "routes", &to(&scene.v2)));
    let (app, mut client) = scene.app(&format!("{DTAB}, apiVersion: l5d.io/v1alpha1")).await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    store("/a |");
    soon(async || !app.json(STATE).await["rejected"].is_null()).await;
    let reason = app.json(STATE).await["rejected"]["reason"].as_str().expect("a reason").to_owned();
    assert!(
        reason.starts_with("dtab.l5d.io prod/routes: dentries[1].dst: line 1, column 5: expected"),
        "{reason}"
    );
    assert_eq!(client.get("web", "").await.text(), "v1");
    store(&scene.v2.path());
    until_answered(&mut client, "v2").await;
    assert_eq!(scene.api.written(), [] as [Value; 0], "it is Linkerd's");
    app.stop().await;
}
