//! Certificates from the Secrets that Ingresses name, under a running app and an API server that is a test's own.

use crate::support::tls::{Authority, FrontOptions, TestPair, TlsFiles, TlsFront};
use crate::support::{
    ApiServer, Service, TestApp, Wire, ingress, soon, time_flies, tls_secret, with_servers,
};
use serde_json::{Value, json};

/// An API server with an Ingress for `web.test` and `shop.test`, and a service to which its rules lead.
struct Scene {
    api: ApiServer,
    service: Service,
    authority: Authority,
}

impl Scene {
    async fn new() -> Self {
        let scene = Self {
            api: ApiServer::start().await,
            service: Service::saying("web").await,
            authority: Authority::new("authority"),
        };
        scene.api.put(secured("web", "web", &["web.test", "shop.test"]));
        scene
    }

    /// Puts a Secret with a new certificate for these names; returns it.
    fn put_secret(&self, name: &str, names: &[&str]) -> TestPair {
        let pair = self.authority.issue(names);
        self.api.put(tls_secret("default", name, &pair.cert, &pair.key));
        pair
    }

    /// The configuration: one server with TLS, with more keys of its `tls`, and one in clear.
    fn config(&self, tls: &str) -> String {
        let dtab = format!("/svc/default/http/web => {}", self.service.path());
        let servers = [
            &*format!(", trust: nobody, tls: {{ingress: true{tls}}}"),
            ", trust: nobody, ingressRedirect: {httpsPort: 8443}",
        ];
        with_servers(&dtab, &servers)
            + &format!("  identifier: {{kind: io.l5d.ingress, {}}}\n", self.api.keys())
    }

    async fn app(&self) -> TestApp {
        TestApp::start_here(&self.config("")).await
    }

    /// Asks for a host over TLS, on a connection of its own for the name; returns the status, or the error of the handshake,
    /// and whether this certificate was shown.
    async fn ask(&self, app: &TestApp, (name, host): (&str, &str), pair: &TestPair) -> (String, bool) {
        let front = self.front(app, name).await;
        let mut client = Wire::connect(front.address()).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        let status = match client.reader.next_head().await {
            Some(head) => head.status().to_string(),
            None => front.take_errors().concat(),
        };
        (status, front.was_shown(pair))
    }

    async fn front(&self, app: &TestApp, name: &str) -> TlsFront {
        let options = FrontOptions { name, alpn: &["http/1.1"], ..FrontOptions::default() };
        TlsFront::start(app.first_address(), &self.authority, options).await
    }

    /// Waits until an event is written, and returns its reason and its message.
    async fn event(&self) -> (String, String) {
        let mut written = Vec::new();
        soon(async || {
            written.extend(self.api.written());
            !written.is_empty()
        })
        .await;
        assert_eq!(written.len(), 1, "{written:?}");
        let event = &written[0];
        assert_eq!((&event["kind"], &event["type"]), (&json!("Event"), &json!("Warning")), "{event}");
        assert_eq!(event["involvedObject"]["kind"], "Ingress", "{event}");
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        assert!(event["metadata"]["name"].as_str().is_some_and(|name| name.len() > 16), "{event}");
        (text("reason"), text("message"))
    }
}

/// An Ingress whose hosts lead to the service `web`, with a Secret for them.
fn secured(name: &str, secret: &str, hosts: &[&str]) -> Value {
    let mut plain = plain(name, hosts, "/");
    plain["spec"]["tls"] = json!([{ "secretName": secret, "hosts": hosts }]);
    plain
}

/// An Ingress without TLS.
fn plain(name: &str, hosts: &[&str], path: &str) -> Value {
    let backend = json!({ "service": { "name": "web", "port": { "name": "http" } } });
    let path = json!({ "path": path, "pathType": "Prefix", "backend": backend });
    let rules: Vec<Value> =
        hosts.iter().map(|host| json!({ "host": host, "http": { "paths": [path] } })).collect();
    ingress("default", name, &json!({ "rules": rules }))
}

/// Waits until a request in clear is answered so: with this status, and this `Location`.
async fn until_clear(client: &mut Wire, (host, target): (&str, &str), expected: (u16, Option<&str>)) {
    soon(async || {
        let answer = client.ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        (answer.status(), answer.field("location")) == expected
    })
    .await;
}

const REDIRECTED: (u16, Option<&str>) = (308, Some("https://web.test:8443/a?b"));

#[tokio::test(flavor = "local")]
async fn a_secret_is_served_while_it_is_there_and_clear_requests_are_sent_to_it() {
    let scene = Scene::new().await;
    let app = scene.app().await;
    let mut clear = app.client_of("http", 1).await;
    until_clear(&mut clear, ("web.test", "/a?b"), (200, None)).await;
    let (reason, message) = scene.event().await;
    assert_eq!(reason, "SecretMissing");
    assert!(message.contains("secret default/web does not exist; until it is there"), "{message}");
    assert_eq!(app.total("ingress_tls_faults", &[]), 1);
    let (error, _) = scene.ask(&app, ("web.test", "web.test"), &scene.authority.issue(&["x.test"])).await;
    assert!(error.contains("UnrecognisedName"), "{error}");

    let first = scene.put_secret("web", &["web.test", "shop.test"]);
    until_clear(&mut clear, ("web.test", "/a?b"), REDIRECTED).await;
    assert_eq!(app.total("ingress_tls_faults", &[]), 0);
    for (name, host, status) in [
        ("web.test", "web.test", "200"),
        ("web.test", "SHOP.test:8443", "200"),
        ("shop.test", "shop.test", "200"),
        ("web.test", "other.test", "421"),
    ] {
        let answer = scene.ask(&app, (name, host), &first).await;
        assert_eq!(answer, (status.to_owned(), true), "{host} on {name}");
    }
    let (error, shown) = scene.ask(&app, ("other.test", "other.test"), &first).await;
    assert!(error.contains("UnrecognisedName") && !shown, "{error}");

    // A connection that is open stays, with a new certificate for the next.
    let front = scene.front(&app, "web.test").await;
    let mut open = Wire::connect(front.address()).await;
    assert_eq!(open.get("web.test", "").await.text(), "web");
    let second = scene.put_secret("web", &["web.test", "shop.test"]);
    soon(async || scene.ask(&app, ("web.test", "web.test"), &second).await.1).await;
    assert_eq!(open.get("web.test", "").await.text(), "web");

    scene.api.delete("Secret", "default", "web");
    until_clear(&mut clear, ("web.test", "/a?b"), (200, None)).await;
    assert_eq!(scene.event().await.0, "SecretMissing");
    let (error, _) = scene.ask(&app, ("web.test", "web.test"), &second).await;
    assert!(error.contains("UnrecognisedName"), "{error}");
    app.stop().await;
}

/// Its own Secret cannot be read, and no event about that be written.
#[tokio::test(flavor = "local")]
async fn a_namespace_without_rights_holds_up_no_event_of_another() {
    let scene = Scene::new().await;
    scene.api.behave(|manners| manners.refuses_namespaces = Some("closed"));
    let mut closed = secured("closed", "closed", &["closed.test"]);
    closed["metadata"]["namespace"] = "closed".into();
    scene.api.put(closed);
    let app = scene.app().await;
    soon(async || app.total("ingress_tls_faults", &[]) == 2).await;
    let (reason, message) = scene.event().await;
    assert!(reason == "SecretMissing" && message.contains("secret default/web "), "{reason}: {message}");
    scene.api.put(secured("later", "later", &["later.test"]));
    let (reason, message) = scene.event().await;
    assert!(reason == "SecretMissing" && message.contains("secret default/later "), "{reason}: {message}");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_pair_that_is_wrong_leaves_the_last_good_one_in_use() {
    let scene = Scene::new().await;
    let good = scene.put_secret("web", &["web.test", "shop.test"]);
    let app = scene.app().await;
    let mut clear = app.client_of("http", 1).await;
    until_clear(&mut clear, ("web.test", "/a?b"), REDIRECTED).await;
    let other = scene.authority.issue(&["web.test"]);
    let mut of_another_type = tls_secret("default", "web", &good.cert, &good.key);
    of_another_type["type"] = "Opaque".into();
    let mut without_key = tls_secret("default", "web", &good.cert, &good.key);
    without_key["data"].as_object_mut().expect("it has data").remove("tls.key");
    for (secret, fault) in [
        (
            tls_secret("default", "web", &good.cert, &other.key),
            "tls.key: the private key does not fit the certificate",
        ),
        (of_another_type, "its type is `Opaque`: expected `kubernetes.io/tls`"),
        (without_key, "`tls.crt` or `tls.key` is missing or empty"),
    ] {
        scene.api.put(secret);
        let (reason, message) = scene.event().await;
        assert_eq!(reason, "SecretRejected", "{message}");
        assert!(message.contains(fault), "{message}");
        assert!(message.contains("the last good certificate stays in use"), "{message}");
        assert_eq!(scene.ask(&app, ("web.test", "web.test"), &good).await, ("200".to_owned(), true));
        until_clear(&mut clear, ("web.test", "/a?b"), REDIRECTED).await;
    }
    // Good again, but for fewer hosts.
    let fewer = scene.put_secret("web", &["web.test"]);
    let (reason, message) = scene.event().await;
    assert_eq!(reason, "HostNotInCertificate");
    assert!(message.contains("is for web.test, and not for shop.test"), "{message}");
    assert_eq!(scene.ask(&app, ("web.test", "web.test"), &fewer).await, ("200".to_owned(), true));
    until_clear(&mut clear, ("shop.test", "/"), (200, None)).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_solver_of_a_challenge_is_served_in_clear() {
    let scene = Scene::new().await;
    scene.put_secret("web", &["web.test", "shop.test"]);
    scene.api.put(plain("cm-acme-http-solver", &["web.test"], "/.well-known/acme-challenge/token"));
    let app = scene.app().await;
    let mut clear = app.client_of("http", 1).await;
    until_clear(&mut clear, ("web.test", "/a?b"), REDIRECTED).await;
    until_clear(&mut clear, ("web.test", "/.well-known/acme-challenge/token"), (200, None)).await;
    let elsewhere = "https://web.test:8443/.well-known/acme-challenge/other";
    let expected = (308, Some(elsewhere));
    until_clear(&mut clear, ("web.test", "/.well-known/acme-challenge/other"), expected).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn files_are_for_the_hosts_without_a_secret() {
    let scene = Scene::new().await;
    let files = TlsFiles::new();
    let of_file = scene.authority.issue(&["edge.test", "other.test"]);
    files.write_pair("edge", &of_file);
    let of_secret = scene.put_secret("web", &["web.test", "shop.test"]);
    scene.api.put(plain("other", &["other.test"], "/"));
    let app = TestApp::start_here(&scene.config(&format!(", {}", files.keys("edge")))).await;
    soon(async || scene.ask(&app, ("web.test", "web.test"), &of_secret).await.1).await;
    for (name, host, pair, status) in [
        ("web.test", "web.test", &of_secret, "200"),
        ("other.test", "other.test", &of_file, "200"),
        ("other.test", "web.test", &of_file, "421"),
        ("web.test", "other.test", &of_secret, "421"),
    ] {
        let answer = scene.ask(&app, (name, host), pair).await;
        assert_eq!(answer, (status.to_owned(), true), "{host} on {name}");
    }
    // A file that changes stays beside the Secret.
    let renewed = scene.authority.issue(&["edge.test", "other.test"]);
    files.write_pair("edge", &renewed);
    soon(async || scene.ask(&app, ("other.test", "other.test"), &renewed).await.1).await;
    assert!(scene.ask(&app, ("web.test", "web.test"), &of_secret).await.1);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn of_two_ingresses_the_older_has_the_host() {
    let scene = Scene::new().await;
    let mut younger = secured("a-younger", "younger", &["web.test", "late.test"]);
    younger["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z".into();
    let mut older = secured("web", "web", &["web.test", "shop.test"]);
    older["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    scene.api.put(younger);
    scene.api.put(older);
    let of_older = scene.put_secret("web", &["web.test", "shop.test"]);
    let of_younger = scene.put_secret("younger", &["web.test", "late.test"]);
    let app = scene.app().await;
    soon(async || scene.ask(&app, ("late.test", "late.test"), &of_younger).await.1).await;
    assert_eq!(scene.ask(&app, ("web.test", "web.test"), &of_older).await, ("200".to_owned(), true));
    assert_eq!(scene.ask(&app, ("late.test", "web.test"), &of_younger).await, ("421".to_owned(), true));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn without_the_right_to_read_secrets_requests_are_served_in_clear() {
    let scene = Scene::new().await;
    let good = scene.put_secret("web", &["web.test", "shop.test"]);
    scene.api.behave(|manners| manners.refuses_resource = Some("secrets"));
    let (app, _) = time_flies(scene.app()).await;
    let mut clear = app.client_of("http", 1).await;
    until_clear(&mut clear, ("web.test", "/a?b"), (200, None)).await;
    let (reason, message) = scene.event().await;
    assert_eq!(reason, "SecretUnreadable");
    assert!(message.contains("403 Forbidden"), "{message}");
    scene.api.behave(|manners| manners.refuses_resource = None);
    until_clear(&mut clear, ("web.test", "/a?b"), REDIRECTED).await;
    assert_eq!(scene.ask(&app, ("web.test", "web.test"), &good).await, ("200".to_owned(), true));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn secrets_are_asked_for_by_name_and_only_where_a_listener_uses_them() {
    let scene = Scene::new().await;
    let good = scene.put_secret("web", &["web.test", "shop.test"]);
    scene.put_secret("of-others", &["else.test"]);
    let folder = TlsFiles::new();
    let keys = format!("{}, snapshot: '{}'", scene.api.keys(), folder.text("kept"));
    let with_snapshot = scene.config("").replace(&scene.api.keys(), &keys);
    let without_tls = with_snapshot
        .replace(", tls: {ingress: true}", "")
        .replace(", ingressRedirect: {httpsPort: 8443}", "");
    let mut app = TestApp::start_here(&without_tls).await;
    let of_secrets = || {
        let requests = scene.api.requests();
        requests.into_iter().filter(|target| target.contains("/secrets")).collect::<Vec<_>>()
    };
    let mut clear = app.client_of("http", 1).await;
    until_clear(&mut clear, ("web.test", "/a?b"), (200, None)).await;
    assert_eq!(of_secrets(), [""; 0]);
    assert!(app.reload(&with_snapshot).await.is_empty());
    until_clear(&mut clear, ("web.test", "/a?b"), REDIRECTED).await;
    assert_eq!(scene.ask(&app, ("web.test", "web.test"), &good).await, ("200".to_owned(), true));
    let asked = of_secrets();
    let is_named = |target: &String| {
        target.starts_with("/api/v1/namespaces/default/secrets?") && target.contains("metadata.name%3Dweb&")
    };
    assert!(asked.len() == 1 && asked.iter().all(is_named), "{asked:?}");

    // Another Secret in its place: the first is let go, in a while.
    let renamed = scene.put_secret("of-others", &["web.test", "shop.test"]);
    scene.api.put(secured("web", "of-others", &["web.test", "shop.test"]));
    soon(async || scene.ask(&app, ("web.test", "web.test"), &renamed).await.1).await;
    soon(async || app.total("kubernetes_watches", &[("resource", "secrets")]) == 1).await;

    let shown = format!("{} {}", app.json("/config.json").await, app.json("/watches.json").await);
    assert!(shown.contains("secrets default/of-others"), "{shown}");
    app.stop().await;
    let secret = scene.api.object("Secret", "default", "of-others")["data"]["tls.key"].to_string();
    let secret = secret.trim_matches('"');
    let kept = std::fs::read_dir(folder.path("kept")).expect("there are snapshots").map(|entry| {
        let path = entry.expect("it can be listed").path();
        std::fs::read_to_string(&path).expect("it is text")
    });
    let kept: Vec<String> = kept.collect();
    assert!(!kept.is_empty() && kept.iter().any(|text| text.contains("shop.test")), "{kept:?}");
    for text in kept.iter().chain([&shown]) {
        for line in renamed.key.lines().chain([secret]) {
            assert!(line.starts_with("-----") || !text.contains(line), "a key is shown: {text}");
        }
        assert!(!text.contains("kubernetes.io/tls"), "{text}");
    }
}
