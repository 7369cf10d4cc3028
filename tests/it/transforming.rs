//! Transformers under a running app: what a request, its service and the admin server see of them.

use crate::support::{Names, Service, TestApp, Wire, one_router, until};
use serde_json::json;
use std::net::SocketAddr;

/// An address that no machine has (RFC 5737).
fn far() -> SocketAddr {
    ([192, 0, 2, 1], 1).into()
}

/// A router whose names are files, then those of a second dtab, behind the transformers of its interpreter.
fn config(names: &Names, rest: &Service, transformers: &str) -> String {
    let dtab = format!("/svc => /#/io.l5d.fs | {}", rest.path());
    let interpreter = format!("  interpreter: {{transformers: [{transformers}]}}\n");
    one_router(&dtab, "") + &interpreter + &names.namer()
}

async fn until_answered(client: &mut Wire, host: &str, text: &str) {
    let what = format!("{host} is answered by {text}");
    until(&what, async || client.get(host, "").await.text() == text).await;
}

#[tokio::test(flavor = "local")]
async fn what_does_not_pass_falls_back_and_comes_back() {
    for transformer in ["{kind: io.l5d.localhost}", "{kind: io.l5d.specificHost, host: 127.0.0.1}"] {
        let (web, rest) = (Service::saying("web").await, Service::saying("rest").await);
        let names = Names::new();
        names.write("web", &[far()]);
        let app = TestApp::start(&config(&names, &rest, transformer)).await;
        let mut client = app.client().await;
        assert_eq!(client.get("web", "").await.text(), "rest", "{transformer}");
        for _ in 0..2 {
            names.replace("web", &[far(), web.address()]);
            until_answered(&mut client, "web", "web").await;
            for _ in 0..8 {
                assert_eq!(client.get("web", "").await.text(), "web", "no other endpoint passes");
            }
            names.replace("web", &[far()]);
            until_answered(&mut client, "web", "rest").await;
        }
        names.remove("web");
        assert_eq!(client.get("web", "").await.text(), "rest");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn another_port_is_used_and_the_whole_name_is_told() {
    let (web, rest) = (Service::saying("web").await, Service::saying("rest").await);
    let names = Names::new();
    names.write("web", &[([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()]);
    let port = web.address().port();
    let transformers = format!("{{kind: io.l5d.localhost}}, {{kind: io.l5d.port, port: {port}}}");
    let app = TestApp::start_workers(&config(&names, &rest, &transformers), 2).await;
    let id = format!("/%/io.l5d.port/{port}/%/io.l5d.localhost/#/io.l5d.fs/web");
    let mut client = app.client().await;
    assert_eq!(client.get("web", "").await.text(), "web");
    let told = web.take_requests().pop().expect("it was asked");
    assert_eq!(told.field("l5d-dst-client"), Some(id.as_str()));
    assert_eq!(told.field("l5d-dst-residual"), None);
    // An override goes through the same transformers, and residuals are kept.
    let answer = client.get("web", "l5d-dtab: /svc/web => /#/io.l5d.fs/web/a/b\r\n").await;
    assert_eq!(answer.text(), "web");
    assert_eq!(web.take_requests()[0].field("l5d-dst-residual"), Some("/a/b"));

    let clients = app.json("/client_state.json").await;
    assert_eq!(clients, json!({ &id: { "state": "bound", "addresses": [web.address().to_string()] } }));
    let tree = app.json("/delegator.json?path=/svc/web").await;
    let leaf = &tree["alt"][0];
    assert_eq!(leaf["bound"]["id"], id, "{tree}");
    assert_eq!(leaf["bound"]["addr"]["addrs"][0]["port"], port, "{tree}");
    let shown = app.json("/config.json").await;
    let expected = json!([{ "kind": "io.l5d.localhost" }, { "kind": "io.l5d.port", "port": port }]);
    assert_eq!(shown["routers"][0]["interpreter"]["transformers"], expected);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn names_are_replaced() {
    let (web, rest) = (Service::saying("web").await, Service::saying("rest").await);
    let names = Names::new();
    names.write("web", &[far()]);
    let dtab = "/svc => /#/io.l5d.fs; /status => /$/io.buoyant.http.status/204";
    for (kind, of_none) in [("replace", 502), ("const", 200)] {
        let path = web.path();
        let interpreter =
            format!("  interpreter: {{transformers: [{{kind: io.l5d.{kind}, path: {path}}}]}}\n");
        let app = TestApp::start(&(one_router(dtab, "") + &interpreter + &names.namer())).await;
        let mut client = app.client().await;
        assert_eq!(client.get("web", "").await.text(), "web");
        let id = format!("/%/io.l5d.{kind}{path}");
        assert_eq!(web.take_requests().pop().unwrap().field("l5d-dst-client"), Some(id.as_str()));
        client.get("none", "").await.assert_status(of_none);
        let elsewhere = format!("l5d-dtab: /svc => {}\r\n", rest.path());
        assert_eq!(client.get("web", &elsewhere).await.text(), "web");
        assert_eq!(client.get("web", "l5d-dtab: /svc => /status\r\n").await.text(), "web");
        web.take_requests();
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_namer_has_transformers_of_its_own() {
    let (web, rest) = (Service::saying("web").await, Service::saying("rest").await);
    let names = Names::new();
    names.write("web", &[web.address(), far()]);
    let dtab = format!("/svc/near => /#/near/web; /svc/plain => {}", rest.path());
    let root = names.path();
    let namers = format!(
        "namers: [{{kind: io.l5d.fs, rootDir: '{root}', prefix: /near, transformers: [{{kind: io.l5d.localhost}}]}}]\n"
    );
    let app = TestApp::start(&(one_router(&dtab, "") + &namers)).await;
    let mut client = app.client().await;
    for _ in 0..8 {
        assert_eq!(client.get("near", "").await.text(), "web");
    }
    assert_eq!(client.get("plain", "").await.text(), "rest", "what it has not bound does not concern it");
    let told = web.take_requests();
    assert_eq!(told[0].field("l5d-dst-client"), Some("/%/io.l5d.localhost/#/near/web"));
    let state = app.json("/namer_state/near.json").await;
    assert_eq!(state["files"]["/web"]["endpoints"], 2);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn transformers_and_what_is_behind_them_can_change() {
    let (one, two, rest) =
        (Service::saying("one").await, Service::saying("two").await, Service::saying("rest").await);
    let (names, others) = (Names::new(), Names::new());
    names.write("web", &[one.address()]);
    others.write("web", &[two.address()]);
    let port = format!("{{kind: io.l5d.port, port: {}}}", two.address().port());
    let mut app = TestApp::start(&config(&names, &rest, "{kind: io.l5d.localhost}")).await;
    let mut client = app.client().await;
    assert_eq!(client.get("web", "").await.text(), "one");
    // A folder in the place of another: nothing of the first may be left behind the same names.
    app.reload(&config(&others, &rest, "{kind: io.l5d.localhost}")).await;
    until_answered(&mut client, "web", "two").await;
    app.reload(&config(&names, &rest, "{kind: io.l5d.localhost}")).await;
    until_answered(&mut client, "web", "one").await;
    names.replace("web", &[far()]);
    until_answered(&mut client, "web", "rest").await;
    names.replace("web", &[one.address()]);
    until_answered(&mut client, "web", "one").await;
    app.reload(&config(&names, &rest, &port)).await;
    until_answered(&mut client, "web", "two").await;
    app.reload(&config(&names, &rest, "")).await;
    until_answered(&mut client, "web", "one").await;
    let error =
        app.try_reload(&config(&names, &rest, "{kind: io.l5d.port, port: 0}")).await.expect_err("wrong");
    assert!(error.contains("routers[0].interpreter.transformers[0].port"), "{error}");
    assert_eq!(client.get("web", "").await.text(), "one");
    app.stop().await;
}
