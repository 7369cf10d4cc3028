//! What a request sees while the API server, or the way to it, fails: the last good endpoints, and after it what holds
//! then.

use crate::support::{
    ApiServer, Service, Streams, TestApp, Wire, one_router, pod, service, slice, soon, time_flies,
};
use serde_json::json;
use std::time::Duration;

/// A cluster with one service `web` in `default`, the app that routes to it, and what serves when it has no endpoint.
struct Scene {
    api: ApiServer,
    v1: Service,
    v2: Service,
    rest: Service,
}

impl Scene {
    async fn new() -> Self {
        let (v1, v2) = (Service::saying("v1").await, Service::saying("v2").await);
        let rest = Service::saying("rest").await;
        let scene = Self { api: ApiServer::start().await, v1, v2, rest };
        scene.api.put(service("default", "web", &[("http", 80)]));
        scene.add(&scene.v1);
        scene
    }

    fn add(&self, pod: &Service) {
        self.api.put(slice("default", "web", "http", pod.address()));
    }

    fn remove(&self, pod: &Service) {
        self.api.delete("EndpointSlice", "default", &format!("web-{}", pod.address().port()));
    }

    /// Puts `v2` in the place of `v1`.
    fn roll(&self) {
        self.add(&self.v2);
        self.remove(&self.v1);
    }

    async fn app(&self) -> (TestApp, Wire) {
        let dtab = format!("/svc => /#/io.l5d.k8s/default/http | {}", self.rest.path());
        let app = TestApp::start_here(&(one_router(&dtab, "") + &self.api.namer("io.l5d.k8s", ""))).await;
        let client = app.client().await;
        (app, client)
    }

    /// The app, with `web` bound to `v1` and both watches open.
    async fn bound(&self) -> (TestApp, Wire) {
        let (app, mut client) = self.app().await;
        assert_eq!(client.get("web", "").await.text(), "v1");
        assert_eq!(self.api.watches(), 2);
        self.api.requests();
        (app, client)
    }
}

/// Asks until this text answers. Whatever else answers on the way must be one of `meanwhile`.
async fn until_answered(client: &mut Wire, text: &str, meanwhile: &[&str]) {
    soon(async || {
        let answer = client.get("web", "").await.text().to_owned();
        assert!(answer == text || meanwhile.contains(&answer.as_str()), "{answer}");
        answer == text
    })
    .await;
}

/// Waits until several more attempts have failed, while `text` answers.
async fn until_failed(app: &TestApp, client: &mut Wire, text: &str) {
    let failures = app.total("kubernetes_watch_failures", &[]);
    soon(async || {
        assert_eq!(client.get("web", "").await.text(), text, "the last good endpoint stays");
        app.total("kubernetes_watch_failures", &[]) > failures + 3
    })
    .await;
}

/// Waits until there were so many lists in all, while `text` answers.
async fn until_listed(app: &TestApp, client: &mut Wire, lists: u64, text: &str) {
    soon(async || {
        assert_eq!(client.get("web", "").await.text(), text);
        app.total("kubernetes_lists", &[]) >= lists
    })
    .await;
}

#[tokio::test(flavor = "local")]
async fn a_server_that_is_away_at_the_start_is_waited_for() {
    let scene = Scene::new().await;
    scene.api.behave(|manners| manners.away = true);
    let (app, mut client) = scene.app().await;
    client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
    soon(async || app.total("kubernetes_watch_failures", &[]) > 4).await;
    scene.api.behave(|manners| manners.away = false);
    assert_eq!(client.response().await.text(), "v1", "it does not fall back before it knows");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_server_that_stays_away_is_not_taken_for_an_empty_one() {
    let scene = Scene::new().await;
    scene.api.behave(|manners| manners.away = true);
    let (app, mut client) = scene.app().await;
    let (response, passed) = time_flies(client.get("web", "")).await;
    response.assert_status(503);
    assert_eq!(passed.as_secs(), 10, "the binding timeout");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn watches_that_end_go_on_from_where_they_were() {
    let scene = Scene::new().await;
    let (app, mut client) = scene.bound().await;
    // One that lasted: as the server ends it after its time.
    let ((), _) = time_flies(tokio::time::sleep(Duration::from_secs(60))).await;
    scene.api.end_watches();
    scene.roll();
    until_answered(&mut client, "v2", &["v1"]).await;
    let requests = scene.api.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    for target in &requests {
        assert!(target.contains("watch=true") && target.contains("resourceVersion="), "{target}");
        assert!(!target.contains("sendInitialEvents"), "{target}");
    }
    assert_eq!(app.total("kubernetes_watch_failures", &[]), 0);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_changes_while_connections_are_cut_is_known_after() {
    let scene = Scene::new().await;
    let (app, mut client) = scene.bound().await;
    for (pod, text) in [(&scene.v2, "v2"), (&scene.v1, "v1")] {
        scene.api.behave(|manners| manners.away = true);
        scene.api.cut();
        let other = if text == "v1" { "v2" } else { "v1" };
        scene.add(pod);
        scene.remove(if text == "v1" { &scene.v2 } else { &scene.v1 });
        until_failed(&app, &mut client, other).await;
        scene.api.behave(|manners| manners.away = false);
        until_answered(&mut client, text, &[other]).await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_is_deleted_during_an_outage_is_gone_after() {
    let scene = Scene::new().await;
    let (app, mut client) = scene.bound().await;
    scene.api.behave(|manners| manners.away = true);
    scene.api.cut();
    scene.api.delete("Service", "default", "web");
    scene.remove(&scene.v1);
    // Nothing tells of it: the history is forgotten, too.
    scene.api.compact();
    assert_eq!(client.get("web", "").await.text(), "v1");
    scene.api.behave(|manners| manners.away = false);
    until_answered(&mut client, "rest", &["v1"]).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_version_that_is_too_old_ends_in_a_new_list() {
    for by_status in [true, false] {
        let scene = Scene::new().await;
        scene.api.behave(|manners| manners.forgets_by_status = by_status);
        let (app, mut client) = scene.bound().await;
        let ((), _) = time_flies(tokio::time::sleep(Duration::from_secs(60))).await;
        scene.api.end_watches();
        scene.roll();
        scene.api.compact();
        until_answered(&mut client, "v2", &["v1"]).await;
        until_listed(&app, &mut client, 4, "v2").await;
        assert_eq!(app.total("kubernetes_watch_failures", &[]), 2, "by status: {by_status}");
        // And then it goes on as before.
        scene.add(&scene.v1);
        scene.remove(&scene.v2);
        until_answered(&mut client, "v1", &["v2"]).await;
        assert_eq!(app.total("kubernetes_lists", &[]), 4);
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_died_in_silence_is_found_out() {
    let scene = Scene::new().await;
    let (app, mut client) = scene.bound().await;
    scene.api.fall_silent();
    scene.roll();
    assert_eq!(client.get("web", "").await.text(), "v1", "the router cannot know yet");
    let (.., passed) = time_flies(async {
        let mut listed = false;
        while !listed {
            tokio::time::sleep(Duration::from_millis(100)).await;
            listed = app.total("kubernetes_lists", &[]) == 4;
        }
    })
    .await;
    assert!((90..140).contains(&passed.as_secs()), "{passed:?}");
    until_answered(&mut client, "v2", &["v1"]).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_watch_over_a_slow_way_is_not_taken_for_a_dead_one() {
    let scene = Scene::new().await;
    let (app, _) = scene.bound().await;
    // Longer than a watch may be late at its end: with TLS, the handshakes over a way of 1.5 s take 6 s.
    scene.api.behave(|manners| manners.way = Some(Duration::from_secs(12)));
    let ((), _) = time_flies(tokio::time::sleep(Duration::from_secs(60))).await;
    scene.api.end_watches();
    let ((), _) = time_flies(tokio::time::sleep(Duration::from_secs(400))).await;
    let asked = scene.api.requests().len();
    assert!((6..12).contains(&asked), "watches ended and began anew: {asked} requests");
    assert_eq!(app.total("kubernetes_watch_failures", &[]), 0);
    assert_eq!(app.total("kubernetes_lists", &[]), 2, "only those of the start");
    scene.roll();
    let mut client = app.client().await;
    until_answered(&mut client, "v2", &["v1"]).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_service_that_is_new_while_endpoints_are_refused_fails() {
    let scene = Scene::new().await;
    scene.api.put(service("default", "idle", &[("http", 80)]));
    let (app, mut client) = scene.bound().await;
    assert_eq!(client.get("idle", "").await.text(), "rest", "it is known to have no endpoints");
    scene.api.behave(|manners| manners.refuses_resource = Some("endpointslices"));
    scene.api.cut();
    let stale = |resource| app.total("kubernetes_stale_watches", &[("resource", resource)]);
    soon(async || stale("endpointslices") == 1 && stale("services") == 0).await;
    scene.api.put(service("default", "new", &[("http", 80)]));
    scene.api.put(slice("default", "new", "http", scene.v2.address()));
    soon(async || client.get("new", "").await.status() == 502).await;
    // Before that, the end of the watch is the reason.
    let said = "list and watch on resource `endpointslices`";
    soon(async || client.get("new", "").await.text().contains(said)).await;
    assert_eq!(client.get("idle", "").await.text(), "rest", "a fallback that works goes on");
    for (name, is_stale) in [("web", true), ("idle", true), ("new", false)] {
        let tree = app.json(&format!("/delegator.json?path=/%23/io.l5d.k8s/default/http/{name}")).await;
        assert_eq!(tree["staleSeconds"].is_number(), is_stale, "{tree:#}");
    }
    assert_eq!(client.get("web", "").await.text(), "v1");
    scene.api.behave(|manners| manners.refuses_resource = None);
    soon(async || client.get("new", "").await.status() == 200).await;
    assert_eq!(client.get("new", "").await.text(), "v2", "it never falls back");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_pod_that_is_new_while_pods_are_refused_fails_names_that_need_its_label() {
    let scene = Scene::new().await;
    scene.api.put(pod("default", scene.v1.address(), ("version", "v1")));
    let dtab = format!("/svc => /#/io.l5d.k8s/default/http/web | {}", scene.rest.path());
    let namer = scene.api.namer("io.l5d.k8s", ", labelSelector: version");
    let app = TestApp::start_here(&(one_router(&dtab, "") + &namer)).await;
    let mut client = app.client().await;
    for (name, text) in [("v1", "v1"), ("v2", "rest")] {
        assert_eq!(client.get(name, "").await.text(), text, "{name}");
    }
    scene.api.behave(|manners| manners.refuses_resource = Some("pods"));
    scene.api.cut();
    let stale = |resource| app.total("kubernetes_stale_watches", &[("resource", resource)]);
    soon(async || stale("pods") == 1 && stale("endpointslices") == 0 && stale("services") == 0).await;
    // A pod that was there before is not new when it can take requests again: a fallback that works goes on.
    let mut waiting = slice("default", "web", "http", scene.v1.address());
    waiting["endpoints"][0]["conditions"]["ready"] = false.into();
    scene.api.put(waiting);
    soon(async || client.get("v1", "").await.text() == "rest").await;
    scene.add(&scene.v1);
    soon(async || client.get("v1", "").await.text() == "v1").await;
    assert_eq!(client.get("v2", "").await.text(), "rest");

    scene.api.put(pod("default", scene.v2.address(), ("version", "v2")));
    scene.add(&scene.v2);
    // Whether the name was asked for before does not matter.
    for name in ["v2", "v3"] {
        soon(async || client.get(name, "").await.status() == 502).await;
        let said = "list and watch on resource `pods`";
        soon(async || client.get(name, "").await.text().contains(said)).await;
    }
    assert_eq!(client.get("v1", "").await.text(), "v1");
    scene.api.behave(|manners| manners.refuses_resource = None);
    for (name, text) in [("v2", "v2"), ("v3", "rest")] {
        soon(async || client.get(name, "").await.status() == 200).await;
        assert_eq!(client.get(name, "").await.text(), text, "it never falls back");
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_right_that_is_missing_is_named_and_its_return_noticed() {
    let scene = Scene::new().await;
    scene.api.behave(|manners| manners.refuses = Some(403));
    let (app, mut client) = scene.app().await;
    let refused = client.get("web", "").await;
    refused.assert_status(502);
    for said in ["403 Forbidden", "grant the verbs list and watch", "in the namespace default"] {
        assert!(refused.text().contains(said), "{said}: {}", refused.text());
    }
    scene.api.behave(|manners| manners.refuses = None);
    soon(async || client.get("web", "").await.status() == 200).await;
    assert_eq!(client.get("web", "").await.text(), "v1", "it never falls back");

    // Revoked while it is used: what was known stays.
    scene.api.behave(|manners| manners.refuses = Some(403));
    scene.api.cut();
    until_failed(&app, &mut client, "v1").await;
    scene.roll();
    scene.api.behave(|manners| manners.refuses = None);
    until_answered(&mut client, "v2", &["v1"]).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn lists_without_watches_are_not_asked_for_in_a_hot_loop() {
    for watches_end in [false, true] {
        let scene = Scene::new().await;
        scene.api.behave(|manners| {
            manners.streams = Streams::Refused;
            manners.ends_watches = watches_end;
            manners.refuses_watches = (!watches_end).then_some(403);
        });
        let (app, mut client) = scene.app().await;
        assert_eq!(client.get("web", "").await.text(), "v1", "the list is served");
        let ((), _) = time_flies(tokio::time::sleep(Duration::from_secs(60))).await;
        let lists = app.total("kubernetes_lists", &[]);
        assert!((4..100).contains(&lists), "{lists} lists in a minute");
        scene.api.behave(|manners| (manners.ends_watches, manners.refuses_watches) = (false, None));
        scene.roll();
        until_answered(&mut client, "v2", &["v1"]).await;
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn an_object_that_cannot_be_read_harms_no_other() {
    let scene = Scene::new().await;
    let mut broken = slice("default", "broken", "http", scene.v2.address());
    broken["endpoints"] = "none".into();
    scene.api.put(broken.clone());
    scene.api.put(service("default", "broken", &[("http", 80)]));
    let (app, mut client) = scene.app().await;
    assert_eq!(client.get("web", "").await.text(), "v1", "in a list");
    let response = client.get("broken", "").await;
    response.assert_status(502);
    assert!(response.text().contains("expected"), "not a fallback in silence: {}", response.text());
    assert_eq!(app.total("kubernetes_unreadable_objects", &[]), 1);

    // In a watch: what was good stays.
    let mut web = slice("default", "web", "http", scene.v1.address());
    web["endpoints"] = 5.into();
    scene.api.put(web);
    scene.add(&scene.v2);
    until_answered(&mut client, "v2", &["v1"]).await;
    until_answered(&mut client, "v1", &["v2"]).await;
    assert_eq!(app.total("kubernetes_unreadable_objects", &[]), 2);
    broken["endpoints"] = json!([]);
    scene.api.put(broken);
    soon(async || client.get("broken", "").await.text() == "rest").await;
    assert_eq!(app.total("kubernetes_watch_failures", &[]), 0);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_line_that_is_no_event_ends_in_a_new_list() {
    let scene = Scene::new().await;
    let (app, mut client) = scene.bound().await;
    for line in [
        "{\"type\":\"ADDED\"",
        "not JSON",
        "{\"type\":\"STRANGE\",\"object\":{}}",
        "{\"type\":\"ADDED\",\"object\":5}",
        "{\"type\":\"ERROR\",\"object\":{\"code\":500,\"message\":\"etcd\",\"reason\":\"x\"}}",
        "{\"kind\":\"Status\",\"code\":410,\"message\":\"old\",\"reason\":\"Expired\"}",
    ] {
        let lists = app.total("kubernetes_lists", &[]);
        scene.api.say(line);
        scene.api.end_watches();
        until_listed(&app, &mut client, lists + 2, "v1").await;
    }
    scene.roll();
    until_answered(&mut client, "v2", &["v1"]).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_server_that_has_streamed_lists_is_not_taken_for_an_old_one() {
    let scene = Scene::new().await;
    let (app, mut client) = scene.bound().await;
    // As if etcd behind it were away: the streamed list begins, and nothing of it comes.
    scene.api.behave(|manners| (manners.streams, manners.bookmarks) = (Streams::Ignored, false));
    scene.api.cut();
    let ((), _) = time_flies(tokio::time::sleep(Duration::from_secs(60))).await;
    assert_eq!(client.get("web", "").await.text(), "v1", "what was known stays");
    scene.api.behave(|manners| (manners.streams, manners.bookmarks) = (Streams::Yes, true));
    scene.roll();
    until_answered(&mut client, "v2", &["v1"]).await;
    let requests = scene.api.requests();
    assert!(requests.iter().all(|target| !target.contains("limit=")), "{requests:?}");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn neither_bookmarks_nor_streamed_lists_are_needed() {
    for streams in [Streams::Refused, Streams::Ignored] {
        let scene = Scene::new().await;
        for at in 0..7 {
            scene.api.put(service("default", &format!("other-{at}"), &[("http", 80)]));
        }
        scene.api.behave(|manners| {
            manners.bookmarks = false;
            manners.streams = streams;
            manners.page = 3;
        });
        let (app, mut client) = scene.app().await;
        let (response, passed) = time_flies(client.get("web", "")).await;
        assert_eq!(response.text(), "v1");
        assert!(passed <= Duration::from_secs(2), "{streams:?}: {passed:?}");
        let requests = scene.api.requests();
        let pages =
            requests.iter().filter(|target| target.contains("services?") && target.contains("limit="));
        assert_eq!(pages.count(), 3, "{requests:?}");
        scene.roll();
        until_answered(&mut client, "v2", &["v1"]).await;
        // A new watch does not try again what the server cannot.
        let (response, _) =
            time_flies(client.get("web", "l5d-dtab: /svc/web => /#/io.l5d.k8s/other/http/x | /svc/web2\r\n"))
                .await;
        assert_eq!(response.text(), "rest");
        let requests = scene.api.requests();
        assert!(requests.iter().all(|target| !target.contains("sendInitialEvents")), "{requests:?}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_token_that_was_replaced_is_read_again() {
    let scene = Scene::new().await;
    scene.api.behave(|manners| manners.token = Some("first"));
    let folder = tempfile::tempdir().expect("there is room for files");
    let token = folder.path().join("token");
    std::fs::write(&token, "first").expect("the folder is there");
    let kubeconfig = folder.path().join("config");
    let text = format!(
        "clusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]\nusers: [{{name: u, user: {{tokenFile: token}}}}]\n\
         contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n",
        scene.api.address()
    );
    std::fs::write(&kubeconfig, text).expect("the folder is there");
    let dtab = format!("/svc => /#/io.l5d.k8s/default/http | {}", scene.rest.path());
    let namer =
        format!("namers: [{{kind: io.l5d.k8s, kubeconfig: '{}', context: x}}]\n", kubeconfig.display());
    let app = TestApp::start_here(&(one_router(&dtab, "") + &namer)).await;
    let mut client = app.client().await;
    assert_eq!(client.get("web", "").await.text(), "v1");

    scene.api.behave(|manners| manners.token = Some("second"));
    scene.api.cut();
    until_failed(&app, &mut client, "v1").await;
    scene.roll();
    std::fs::write(&token, "second").expect("the folder is there");
    until_answered(&mut client, "v2", &["v1"]).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_watch_without_a_name_ends() {
    let scene = Scene::new().await;
    let yaml_end = "  bindingCache: {idleTtlSecs: 1}\n";
    let dtab = format!("/svc => /#/io.l5d.k8s/default/http | {}", scene.rest.path());
    let app =
        TestApp::start_here(&(one_router(&dtab, "") + yaml_end + &scene.api.namer("io.l5d.k8s", ""))).await;
    let mut client = app.client().await;
    assert_eq!(client.get("web", "").await.text(), "v1");
    assert_eq!(scene.api.watches(), 2);
    drop(client);
    let ((), passed) = time_flies(async {
        while app.total("kubernetes_watches", &[]) > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
    assert!(passed >= Duration::from_secs(60), "{passed:?}");
    soon(async || scene.api.watches() == 0).await;
    let mut client = app.client().await;
    assert_eq!(client.get("web", "").await.text(), "v1", "it begins anew when it is needed");
    app.stop().await;
}
