//! Names from Kubernetes under a running app: what a request sees of services, slices and pods.

use crate::support::{ApiServer, Service, TestApp, Wire, endpoints, one_router, pod, service, slice, until};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// What the namer says of itself.
const STATE: &str = "/namer_state/io.l5d.k8s.json";

/// A router whose names are services in `default`, by port `http`, with what serves when there is none.
fn config(api: &ApiServer, rest: &Service, keys: &str) -> String {
    one_router(&format!("/svc => /#/io.l5d.k8s/default/http | {}", rest.path()), "")
        + &api.namer("io.l5d.k8s", keys)
}

/// Asks until this text answers.
async fn until_answered(client: &mut Wire, host: &str, text: &str) {
    let what = format!("{host} is answered by {text}");
    until(&what, async || client.get(host, "").await.text() == text).await;
}

#[tokio::test(flavor = "local")]
async fn routing_follows_services_and_slices() {
    let (v1, v2, rest) =
        (Service::saying("v1").await, Service::saying("v2").await, Service::saying("rest").await);
    let api = ApiServer::start().await;
    let app = TestApp::start(&config(&api, &rest, "")).await;
    let mut client = app.client().await;
    let with = |address: SocketAddr| slice("default", "web", "http", address);

    assert_eq!(client.get("web", "").await.text(), "rest", "there is no such service yet");
    api.put(with(v1.address()));
    api.put(service("default", "web", &[("http", 80)]));
    until_answered(&mut client, "web", "v1").await;
    assert_eq!(client.get("WEB", "").await.text(), "v1", "case does not count");

    api.put(with(v2.address()));
    until_answered(&mut client, "web", "v2").await;
    until_answered(&mut client, "web", "v1").await;
    api.delete("EndpointSlice", "default", &format!("web-{}", v1.address().port()));
    until_answered(&mut client, "web", "v2").await;

    let mut unready = with(v2.address());
    unready["endpoints"][0]["conditions"] = json!({ "ready": false, "serving": false });
    api.put(unready.clone());
    until_answered(&mut client, "web", "rest").await;
    unready["endpoints"][0]["conditions"] = json!({ "ready": false, "serving": true });
    api.put(unready.clone());
    assert_eq!(client.get("web", "").await.text(), "rest", "it is withheld, and not about to end");
    unready["endpoints"][0]["conditions"] = json!({ "ready": false, "serving": true, "terminating": true });
    api.put(unready);
    until_answered(&mut client, "web", "v2").await;

    // The controllers delete slices later than the service: that must not be waited for.
    api.delete("Service", "default", "web");
    until_answered(&mut client, "web", "rest").await;
    api.put(service("default", "web", &[("http", 80)]));
    until_answered(&mut client, "web", "v2").await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn names_of_a_namespace_share_its_watches() {
    let (v1, rest) = (Service::saying("v1").await, Service::saying("rest").await);
    let api = ApiServer::start().await;
    for name in 0..20 {
        api.put(service("default", &format!("web-{name}"), &[("http", 80)]));
        api.put(slice("default", &format!("web-{name}"), "http", v1.address()));
    }
    let app = TestApp::start(&config(&api, &rest, "")).await;
    let mut client = app.client().await;
    assert!(api.requests().is_empty(), "nothing is watched before it is needed");
    for name in 0..20 {
        assert_eq!(client.get(&format!("web-{name}"), "").await.text(), "v1");
    }
    assert_eq!(client.get("-", "").await.text(), "rest");
    let requests = api.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(requests.iter().all(|target| target.contains("/namespaces/default/")), "{requests:?}");
    let counted = |name| app.total(name, &[]);
    assert_eq!((counted("kubernetes_watches"), counted("kubernetes_lists")), (2, 2));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn one_watch_can_cover_the_cluster() {
    let (v1, rest) = (Service::saying("v1").await, Service::saying("rest").await);
    let api = ApiServer::start().await;
    for namespace in ["default", "prod", "test"] {
        api.put(service(namespace, "web", &[("http", 80)]));
        api.put(slice(namespace, "web", "http", v1.address()));
    }
    let dtab = format!(
        "/svc/* => /#/io.l5d.k8s/default/http/web; /svc/p => /#/io.l5d.k8s/prod/http/web | {}",
        rest.path()
    );
    let app = TestApp::start(&(one_router(&dtab, "") + &api.namer("io.l5d.k8s", ", watch: cluster"))).await;
    let mut client = app.client().await;
    assert_eq!(client.get("a", "").await.text(), "v1");
    assert_eq!(client.get("p", "").await.text(), "v1");
    let requests = api.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(requests.iter().all(|target| !target.contains("namespaces")), "{requests:?}");
    api.delete("EndpointSlice", "prod", &format!("web-{}", v1.address().port()));
    until_answered(&mut client, "p", "rest").await;
    assert_eq!(client.get("a", "").await.text(), "v1");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn ports_have_names_and_numbers() {
    let (web, metrics) = (Service::saying("web").await, Service::saying("metrics").await);
    let api = ApiServer::start().await;
    api.put(service("default", "web", &[("http", 80), ("metrics", 9090)]));
    api.put(slice("default", "web", "http", web.address()));
    api.put(slice("default", "web", "metrics", metrics.address()));
    let mut only = service("default", "only", &[("", 80)]);
    only["spec"]["ports"][0]["name"].take();
    api.put(only);
    let mut unnamed = slice("default", "only", "", web.address());
    unnamed["ports"][0]["name"].take();
    api.put(unnamed);
    let by_path = "  identifier: {kind: io.l5d.path, segments: 2}\n";
    let dtab = "/svc => /#/io.l5d.k8s/default";
    let app = TestApp::start(&(one_router(dtab, "") + by_path + &api.namer("io.l5d.k8s", ""))).await;
    let mut client = app.client().await;
    for (path, expected) in [
        ("/http/web", Ok("web")),
        ("/80/web", Ok("web")),
        ("/9090/web", Ok("metrics")),
        ("/metrics/web", Ok("metrics")),
        ("/80/only", Ok("web")),
        ("/81/web", Err(502)),
        ("/grpc/web", Err(502)),
        ("/http/only", Err(502)),
        ("/http/none", Err(502)),
    ] {
        let response = client.ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        match expected {
            Ok(text) => assert_eq!(response.text(), text, "{path}"),
            Err(status) => assert_eq!(response.status(), status, "{path}"),
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn endpoints_can_be_read_instead() {
    let (v1, v2, rest) =
        (Service::saying("v1").await, Service::saying("v2").await, Service::saying("rest").await);
    let api = ApiServer::start().await;
    api.put(service("default", "web", &[("http", 80)]));
    api.put(endpoints("default", "web", "http", &[v1.address(), v2.address()]));
    let app = TestApp::start(&config(&api, &rest, ", endpoints: v1")).await;
    let mut client = app.client().await;
    until_answered(&mut client, "web", "v1").await;
    until_answered(&mut client, "web", "v2").await;
    api.put(endpoints("default", "web", "http", &[]));
    until_answered(&mut client, "web", "rest").await;
    let requests = api.requests();
    assert!(requests.iter().all(|target| target.starts_with("/api/v1/")), "{requests:?}");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_label_chooses_services_and_pods() {
    let (v1, v2, rest) =
        (Service::saying("v1").await, Service::saying("v2").await, Service::saying("rest").await);
    let api = ApiServer::start().await;
    api.put(service("default", "web", &[("http", 80)]));
    for (at, version) in [(&v1, "V1"), (&v2, "v2")] {
        api.put(slice("default", "web", "http", at.address()));
        api.put(pod("default", at.address(), ("version", version)));
    }
    let mut whole = service("default", "whole", &[("http", 80)]);
    whole["metadata"]["labels"] = json!({ "version": "v3" });
    api.put(whole);
    api.put(slice("default", "whole", "http", v1.address()));
    let dtab = format!(
        "/svc/* => {}; /svc => /#/io.l5d.k8s/default/http/web | {}; /svc/v3 => /#/io.l5d.k8s/default/http/whole/v3",
        rest.path(),
        rest.path()
    );
    let app =
        TestApp::start(&(one_router(&dtab, "") + &api.namer("io.l5d.k8s", ", labelSelector: version"))).await;
    let mut client = app.client().await;
    for (host, text) in [("v1", "v1"), ("v2", "v2"), ("v3", "v1"), ("v4", "rest")] {
        for _ in 0..4 {
            assert_eq!(client.get(host, "").await.text(), text, "{host}");
        }
    }
    api.put(pod("default", v1.address(), ("version", "v4")));
    until_answered(&mut client, "v4", "v1").await;
    until_answered(&mut client, "v1", "rest").await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn load_balancers_have_addresses_and_names() {
    let (v1, rest) = (Service::saying("v1").await, Service::saying("rest").await);
    let api = ApiServer::start().await;
    let balanced = |ingress: Value| {
        let mut object = service("default", "web", &[("http", v1.address().port())]);
        object["status"] = json!({ "loadBalancer": { "ingress": ingress } });
        object
    };
    api.put(balanced(json!([])));
    let dtab = format!("/svc => /#/io.l5d.k8s.external/default/http | {}", rest.path());
    let app = TestApp::start(&(one_router(&dtab, "") + &api.namer("io.l5d.k8s.external", ""))).await;
    let mut client = app.client().await;
    assert_eq!(client.get("web", "").await.text(), "rest", "there is no address yet");
    api.put(balanced(json!([{ "ip": "127.0.0.1" }])));
    until_answered(&mut client, "web", "v1").await;
    api.put(balanced(json!(null)));
    until_answered(&mut client, "web", "rest").await;
    api.put(balanced(json!([{ "hostname": "localhost" }])));
    until_answered(&mut client, "web", "v1").await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn what_is_known_is_shown_with_its_age() {
    let (v1, rest) = (Service::saying("v1").await, Service::saying("rest").await);
    let api = ApiServer::start().await;
    api.put(service("default", "web", &[("http", 80)]));
    api.put(slice("default", "web", "http", v1.address()));
    let app = TestApp::start(&config(&api, &rest, "")).await;
    let mut client = app.client().await;
    client.get("web", "").await.assert_status(200);
    client.get("none", "").await.assert_status(200);

    let now = app.json(STATE).await;
    let web = &now["names"]["/default/http/web"];
    assert_eq!(
        (&web["state"], &web["endpoints"], &web["staleSeconds"]),
        (&"bound".into(), &1.into(), &Value::Null)
    );
    assert_eq!(now["names"]["/default/http/none"]["state"], "neg");
    for what in ["services in default", "endpointslices in default"] {
        let watch = &now["watches"][what];
        assert_eq!((&watch["state"], &watch["objects"]), (&"watching".into(), &1.into()), "{now}");
        assert!(watch["heardSecondsAgo"].is_number() && watch["staleSeconds"].is_null(), "{now}");
    }

    assert_eq!(
        app.json("/namer_state.json").await["io.l5d.k8s"]["names"]["/default/http/web"]["state"],
        "bound"
    );
    let watches = app.json("/watches.json").await;
    let mut shown: Vec<_> =
        watches.as_array().unwrap().iter().map(|watch| (&watch["watch"], &watch["state"])).collect();
    shown.sort_by_key(|(watch, _)| watch.to_string());
    let watching = Value::from("watching");
    assert_eq!(
        shown,
        [(&"endpointslices in default".into(), &watching), (&"services in default".into(), &watching)]
    );
    assert_eq!(watches[0]["server"], json!({ "host": "127.0.0.1", "port": api.address().port() }));

    api.behave(|manners| manners.away = true);
    api.cut();
    let stale = async || {
        let now = app.json(STATE).await;
        let watch = &now["watches"]["services in default"];
        now["names"]["/default/http/web"]["staleSeconds"].is_number()
            && now["names"]["/default/http/none"]["staleSeconds"].is_number()
            && watch["staleSeconds"].is_number()
            && watch["trouble"].is_string()
    };
    until("the age is shown", stale).await;
    assert_eq!(client.get("web", "").await.text(), "v1", "the last good endpoints stay");
    assert_eq!(client.get("none", "").await.text(), "rest", "and so does a fallback that works");
    assert!(app.total("kubernetes_stale_watches", &[]) > 0);
    api.behave(|manners| manners.away = false);
    let fresh = async || {
        let now = app.json(STATE).await;
        now["names"]["/default/http/web"]["staleSeconds"].is_null()
            && app.total("kubernetes_stale_watches", &[]) == 0
    };
    until("all is fresh again", fresh).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_service_that_becomes_an_external_name_leaves_its_slices_behind() {
    let (v1, rest) = (Service::saying("v1").await, Service::saying("rest").await);
    for (keys, reason) in [
        ("", "the namer does not follow such names without `externalNames: true`"),
        (", externalNames: true", "it leads to this machine or to a link-local address"),
    ] {
        let api = ApiServer::start().await;
        api.put(service("default", "web", &[("http", 80)]));
        api.put(slice("default", "web", "http", v1.address()));
        let app = TestApp::start(&config(&api, &rest, keys)).await;
        let mut client = app.client().await;
        assert_eq!(client.get("web", "").await.text(), "v1");
        let mut external = service("default", "web", &[("http", 80)]);
        external["spec"]["type"] = "ExternalName".into();
        external["spec"]["externalName"] = "localhost".into();
        api.put(external);
        until("the name fails", async || client.get("web", "").await.status() == 502).await;
        let refused = client.get("web", "").await;
        let expected = format!("the service default/web is an ExternalName, `localhost`: {reason}");
        assert!(refused.text().contains(&expected), "{}", refused.text());
        assert!(app.json(STATE).await["names"]["/default/http/web"]["state"] != "neg");
        api.put(service("default", "web", &[("http", 80)]));
        until_answered(&mut client, "web", "v1").await;
        app.stop().await;
    }
}
