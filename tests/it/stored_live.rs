//! Dtabs that are stored in Kubernetes under a running app: what a request sees of them while they change, are wrong,
//! go, and while the API server is away.

use crate::support::{ApiServer, Service, TestApp, Wire, config_map, one_router, time_flies};
use serde_json::Value;
use std::time::Duration;

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
        let app = TestApp::start(&self.config(interpreter)).await;
        let client = app.client().await;
        (app, client)
    }

    /// Stores a dtab, or what should be one, in the ConfigMap.
    fn store(&self, text: &str) {
        self.api.put(config_map("prod", "routes", "dtab", text));
    }
}

const CONFIG_MAP: &str = "kind: io.l5d.k8s.configMap, namespace: prod, name: routes, filename: dtab";

/// A dtab that leads to a service.
fn to(service: &Service) -> String {
    format!("/stored => {}", service.path())
}

/// Asks until it is so, while time flies: pauses after failures are not waited for.
async fn soon(mut answers: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !answers().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    time_flies(asking).await;
}

async fn until_answered(client: &mut Wire, text: &str) {
    soon(async || client.get("web", "").await.text() == text).await;
}

/// What the admin server says of the stored dtab.
async fn state(app: &TestApp) -> Value {
    let mut admin = Wire::connect(app.running().admin()).await;
    let answer = admin.ask("GET /interpreter_state/http.json HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    serde_json::from_slice(&answer.body).expect("it is JSON")
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
    assert!(state(&app).await["rejected"].is_null());

    scene.store("/stored => /a;\n/stored = /b");
    soon(async || !state(&app).await["rejected"].is_null()).await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    let state_now = state(&app).await;
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
    assert!(state(&app).await["rejected"].is_null());
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
async fn while_the_api_server_is_away_the_last_dtab_serves() {
    let scene = Scene::new().await;
    scene.store(&to(&scene.v1));
    let (app, mut client) = scene.app(CONFIG_MAP).await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    scene.api.behave(|manners| manners.away = true);
    scene.api.cut();
    scene.store(&to(&scene.v2));
    soon(async || !state(&app).await["watches"]["configmaps in prod"]["staleSeconds"].is_null()).await;
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
    assert_eq!(state(&app).await["state"], "pending");
    client.writer.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
    soon(async || !state(&app).await["watches"]["configmaps in prod"]["trouble"].is_null()).await;
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
    let mut app = TestApp::start(&scene.config(CONFIG_MAP)).await;
    let mut client = app.client().await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    app.reload(&scene.config(&CONFIG_MAP.replace("routes", "others"))).await;
    until_answered(&mut client, "v2").await;
    assert_eq!(state(&app).await["stored"], "configmap prod/others, key dtab");
    app.reload(&scene.config(CONFIG_MAP)).await;
    until_answered(&mut client, "v1").await;
    app.stop().await;
}
