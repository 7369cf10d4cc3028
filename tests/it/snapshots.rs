//! Snapshots under a running app: what a request sees after a start without the API server, and what is on disk.

use crate::support::{
    ApiServer, Service, TestApp, Wire, config_map, ingress, one_router, read, service, slice, soon,
    time_flies, until,
};
use serde_json::{Value, json};
use signpost::app::{App, Threads};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// A cluster with one service `web` in `default`, what serves when it has no endpoint, and a folder for snapshots.
struct Scene {
    api: ApiServer,
    v1: Service,
    v2: Service,
    rest: Service,
    folder: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let (v1, v2) = (Service::saying("v1").await, Service::saying("v2").await);
        let rest = Service::saying("rest").await;
        let folder = tempfile::tempdir().expect("there is room");
        let scene = Self { api: ApiServer::start().await, v1, v2, rest, folder };
        scene.api.put(service("default", "web", &[("http", 80)]));
        scene.api.put(slice("default", "web", "http", scene.v1.address()));
        scene
    }

    /// Puts `v2` in the place of `v1`.
    fn roll(&self) {
        self.api.put(slice("default", "web", "http", self.v2.address()));
        self.api.delete("EndpointSlice", "default", &format!("web-{}", self.v1.address().port()));
    }

    /// The folder, which is not there at first.
    fn known(&self) -> PathBuf {
        self.folder.path().join("known")
    }

    /// The key that names the folder.
    fn key(&self) -> String {
        format!(", snapshot: '{}'", self.known().display())
    }

    fn config(&self) -> String {
        let dtab = format!("/svc => /#/io.l5d.k8s/default/http | {}", self.rest.path());
        one_router(&dtab, "") + &self.api.namer("io.l5d.k8s", &self.key())
    }

    async fn app(&self) -> (TestApp, Wire) {
        let app = TestApp::start_here(&self.config()).await;
        let client = app.client().await;
        (app, client)
    }

    /// Runs the app until it knows of `web`, and of a name that there is not.
    async fn learn(&self) {
        let (app, mut client) = self.app().await;
        assert_eq!(client.get("web", "").await.text(), "v1");
        assert_eq!(client.get("none", "").await.text(), "rest");
        app.stop().await;
        self.api.cut();
    }

    fn files(&self) -> Vec<PathBuf> {
        files(&self.known())
    }
}

/// The files in a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    files.sort();
    files
}

async fn until_answered(client: &mut Wire, text: &str) {
    soon(async || client.get("web", "").await.text() == text).await;
}

#[tokio::test(flavor = "local")]
async fn names_bind_without_the_server_and_say_so() {
    let scene = Scene::new().await;
    scene.learn().await;
    let names: Vec<_> = scene.files();
    let begins = |at: usize, with: &str| names[at].file_name().unwrap().to_str().unwrap().starts_with(with);
    assert!(begins(0, "endpointslices.default.") && begins(1, "services.default."), "{names:?}");
    assert_eq!(names.len(), 2, "{names:?}");

    scene.api.behave(|manners| manners.away = true);
    let (app, mut client) = scene.app().await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    assert_eq!(client.get("none", "").await.text(), "rest", "what was not there lets a name fall back");
    let now = app.json("/namer_state/io.l5d.k8s.json").await;
    for name in ["web", "none"] {
        assert!(now["names"][format!("/default/http/{name}")]["staleSeconds"].is_number(), "{now}");
    }
    for what in ["services in default", "endpointslices in default"] {
        let watch = &now["watches"][what];
        assert!(watch["staleSeconds"].is_number() && watch["listedSecondsAgo"].is_null(), "{now}");
        assert!(watch["snapshot"].as_str().is_some_and(|time| time.ends_with('Z')), "{now}");
        assert_eq!(watch["objects"], 1, "{now}");
    }
    let counted = |name| app.total(name, &[]);
    assert_eq!((counted("kubernetes_stale_watches"), counted("kubernetes_snapshot_watches")), (2, 2));
    assert!(counted("kubernetes_snapshot_timestamp_seconds") > 1_700_000_000);

    // It is deleted while the router cannot know.
    scene.api.delete("Service", "default", "web");
    scene.api.behave(|manners| manners.away = false);
    until_answered(&mut client, "rest").await;
    let fresh = async || app.total("kubernetes_stale_watches", &[]) == 0;
    soon(fresh).await;
    assert_eq!(app.total("kubernetes_snapshot_watches", &[]), 0);
    let now = app.json("/namer_state/io.l5d.k8s.json").await;
    assert!(now["watches"]["services in default"]["snapshot"].is_null(), "{now}");
    app.stop().await;

    // That it is gone is known from then on.
    scene.api.cut();
    scene.api.behave(|manners| manners.away = true);
    let (app, mut client) = scene.app().await;
    assert_eq!(client.get("web", "").await.text(), "rest");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_server_that_answers_at_once_is_believed() {
    let scene = Scene::new().await;
    scene.learn().await;
    scene.roll();
    let (app, mut client) = scene.app().await;
    for _ in 0..10 {
        assert_eq!(client.get("web", "").await.text(), "v2", "nothing is served that is old");
    }
    assert_eq!(app.total("kubernetes_snapshot_timestamp_seconds", &[]), 0);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_server_that_is_silent_is_given_a_second() {
    let scene = Scene::new().await;
    scene.learn().await;
    scene.api.behave(|manners| manners.silent = true);
    let (app, mut client) = scene.app().await;
    let (answer, passed) = time_flies(client.get("web", "")).await;
    assert_eq!(answer.text(), "v1");
    assert!((1..3).contains(&passed.as_secs()), "{passed:?}");
    assert_eq!(app.total("kubernetes_snapshot_watches", &[]), 2);
    scene.roll();
    scene.api.behave(|manners| manners.silent = false);
    until_answered(&mut client, "v2").await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_server_that_refuses_at_the_start_takes_nothing_away() {
    let scene = Scene::new().await;
    scene.learn().await;
    for code in [401, 403, 500] {
        scene.api.behave(|manners| manners.refuses = Some(code));
        let (app, mut client) = scene.app().await;
        assert_eq!(client.get("web", "").await.text(), "v1", "{code}");
        let now = app.json("/namer_state/io.l5d.k8s.json").await;
        let watch = &now["watches"]["services in default"];
        assert!(watch["staleSeconds"].is_number() && watch["snapshot"].is_string(), "{now}");
        let trouble = watch["trouble"].as_str().unwrap_or_default();
        assert!(trouble.starts_with(&code.to_string()), "{now}");
        assert!(code != 403 || trouble.contains("grant the verbs list and watch"), "{now}");
        app.stop().await;
        scene.api.cut();
    }
}

#[tokio::test(flavor = "local")]
async fn what_is_no_snapshot_of_this_watch_is_as_if_there_were_none() {
    let scene = Scene::new().await;
    scene.learn().await;
    let files = scene.files();
    let good: Vec<_> = files.iter().map(|file| std::fs::read(file).expect("it is there")).collect();
    scene.api.behave(|manners| manners.away = true);
    type Broken = fn(&[Vec<u8>], usize) -> Vec<u8>;
    let ways: [(&str, Broken); 5] = [
        ("empty", |_, _| Vec::new()),
        ("cut short", |good, at| good[at][..good[at].len() / 2].to_vec()),
        ("another watch's", |good, at| good[1 - at].clone()),
        ("of a later version", |good, at| {
            String::from_utf8_lossy(&good[at]).replacen("\"format\":2", "\"format\":1", 1).into_bytes()
        }),
        ("changed", |good, at| String::from_utf8_lossy(&good[at]).replacen("web", "wob", 1).into_bytes()),
    ];
    for (what, broken) in ways {
        for (at, file) in files.iter().enumerate() {
            std::fs::write(file, broken(&good, at)).expect("there is room");
        }
        let (app, mut client) = scene.app().await;
        let (answer, passed) = time_flies(client.get("web", "")).await;
        answer.assert_status(503);
        assert_eq!(passed.as_secs(), 10, "{what}: the binding timeout");
        assert_eq!(app.total("kubernetes_snapshot_failures", &[]), 2, "{what}");
        assert_eq!(app.total("kubernetes_snapshot_watches", &[]), 0, "{what}");
        app.stop().await;
    }
    // The next list replaces it.
    scene.api.behave(|manners| manners.away = false);
    scene.learn().await;
    scene.api.behave(|manners| manners.away = true);
    let (app, mut client) = scene.app().await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_burst_of_changes_is_written_once_and_a_crash_loses_little() {
    let scene = Scene::new().await;
    let (app, mut client) = scene.app().await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    let written = || app.total("kubernetes_snapshots_written", &[("resource", "endpointslices")]);
    let pass = async |seconds| {
        let _ = time_flies(tokio::time::sleep(Duration::from_secs(seconds))).await;
    };
    assert!(!scene.known().exists(), "nothing is written before the pause");
    pass(6).await;
    until("it is written", async || {
        client.get("web", "").await;
        written() == 1
    })
    .await;
    for name in 0..200 {
        scene.api.put(slice("default", &format!("other-{name}"), "http", scene.v2.address()));
    }
    scene.roll();
    until("the burst is over", async || client.get("web", "").await.text() == "v2").await;
    soon(async || {
        client.get("web", "").await;
        written() > 1
    })
    .await;
    assert_eq!(written(), 2);
    pass(60).await;
    assert_eq!(written(), 2, "nothing has changed");
    // Another one starts while this one runs, as if it had crashed.
    scene.api.behave(|manners| manners.away = true);
    let (other, mut client) = scene.app().await;
    assert_eq!(client.get("web", "").await.text(), "v2");
    other.stop().await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_folder_that_cannot_be_written_fails_the_start_or_is_told_later() {
    let scene = Scene::new().await;
    std::fs::write(scene.known(), "in the way").expect("there is room");
    let keys = format!("{}{}", scene.api.keys(), scene.key());
    let (namer, router) = (scene.config(), one_router("", ""));
    for (what, yaml) in [
        ("namer /#/io.l5d.k8s", namer),
        ("identifier io.l5d.ingress", format!("{router}  identifier: {{kind: io.l5d.ingress, {keys}}}\n")),
        (
            "interpreter io.l5d.k8s.dtab",
            format!("{router}  interpreter: {{kind: io.l5d.k8s.dtab, name: a, {keys}}}\n"),
        ),
    ] {
        let error = App::start(read(&yaml), Threads::Here).await.map(drop).expect_err(what).to_string();
        let expected = format!("{what}: snapshot: {} cannot be used: ", scene.known().display());
        assert!(error.starts_with(&expected) && error.contains("Name a folder"), "{error}");
    }
    std::fs::remove_file(scene.known()).expect("it is there");

    let (app, mut client) = scene.app().await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    std::fs::write(scene.known(), "in the way").expect("there is room");
    soon(async || {
        assert_eq!(client.get("web", "").await.text(), "v1", "routing goes on");
        app.total("kubernetes_snapshot_failures", &[]) > 1
    })
    .await;
    std::fs::remove_file(scene.known()).expect("it is there");
    soon(async || {
        client.get("web", "").await;
        app.total("kubernetes_snapshots_written", &[]) == 2
    })
    .await;
    app.stop().await;
    assert_eq!(scene.files().len(), 2);
}

#[tokio::test(flavor = "local")]
async fn stored_dtabs_ingresses_and_daemon_sets_are_known_as_well() {
    let scene = Scene::new().await;
    let api = &scene.api;
    let keys = format!("{}{}", api.keys(), scene.key());
    let backend = json!({ "service": { "name": "web", "port": { "name": "http" } } });
    let rule = json!({ "host": "web", "http": { "paths": [{ "pathType": "Prefix", "backend": backend }] } });
    api.put(ingress("default", "web", &json!({ "rules": [rule] })));
    api.put(config_map("default", "routes", "dtab", "/svc => /#/io.l5d.k8s"));
    api.put(service("l5d", "l5d", &[("in", 4140)]));
    let on_a = |mut slice: Value| {
        slice["endpoints"][0]["nodeName"] = "a".into();
        api.put(slice);
    };
    on_a(slice("default", "web", "http", scene.v1.address()));
    on_a(slice("l5d", "l5d", "in", scene.v2.address()));
    let (host, port) = (api.address().ip(), api.address().port());
    let daemon_set = format!(
        "{{kind: io.l5d.k8s.daemonset, k8sHost: '{host}', k8sPort: {port}, namespace: l5d, port: in, service: l5d{}}}",
        scene.key()
    );
    let interpreter = "kind: io.l5d.k8s.configMap, name: routes, filename: dtab";
    let yaml = one_router("", "")
        + &format!("  identifier: {{kind: io.l5d.ingress, {keys}}}\n")
        + &format!("  interpreter: {{{interpreter}, {keys}, transformers: [{daemon_set}]}}\n")
        + &api.namer("io.l5d.k8s", &scene.key());
    for away in [false, true] {
        api.behave(|manners| manners.away = away);
        let app = TestApp::start_here(&yaml).await;
        let mut client = app.client().await;
        assert_eq!(client.get("web", "").await.text(), "v2", "without the server: {away}");
        assert_eq!(client.get("other", "").await.status(), 400, "no rule matches");
        let stored = app.json("/interpreter_state/http.json").await;
        let watch = &stored["watches"]["configmaps in default"];
        assert_eq!((&stored["state"], watch["snapshot"].is_string()), (&"ready".into(), away), "{stored}");
        app.stop().await;
        api.cut();
    }
    let begin: Vec<_> = scene
        .files()
        .iter()
        .map(|file| file.file_name().unwrap().to_string_lossy().rsplitn(3, '.').last().unwrap().to_owned())
        .collect();
    let expected = [
        "configmaps.default",
        "endpointslices.default",
        "endpointslices.l5d",
        "ingresses._all",
        "services.default",
        "services.l5d",
    ];
    assert_eq!(begin, expected);
}
