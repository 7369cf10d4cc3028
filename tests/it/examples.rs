//! Every file in `examples/` runs, and does what it says.

use crate::support::{Message, Names, Service, TestApp, Wire, ok, read};
use signpost::app::Threads;
use signpost::context::{Range, Trust};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use std::{fs, path::Path};

/// Starts an example on ports of its own, with its names in another folder.
async fn start(file: &Path, names: &Names) -> TestApp {
    let text = fs::read_to_string(file).expect("an example can be read");
    let mut config = read(&text.replace("examples/names", names.path()));
    config.admin.port = 0;
    config.routers.iter_mut().flat_map(|router| &mut router.servers).for_each(|server| server.port = 0);
    TestApp::start_config(config, Threads::Here).await
}

#[tokio::test(flavor = "local")]
async fn every_example_does_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut ran = 0;
    for entry in fs::read_dir(folder).expect("there are examples") {
        let file = entry.expect("the folder can be read").path();
        match file.file_name().and_then(|name| name.to_str()) {
            // What staging.yaml names when it is run by hand.
            Some("names") => continue,
            // The suite `kubernetes` runs the pipeline.
            Some("ci") => continue,
            // The examples of Linkerd 1 have a test of their own.
            Some("linkerd1") => continue,
            // The manifests are applied by the suite `kubernetes`.
            Some("kubernetes") => kubernetes(&file),
            Some("kubernetes-tls") => kubernetes_tls(&file),
            Some("staging.yaml") => staging(&file).await,
            other => panic!("{other:?} is an example without a test"),
        }
        ran += 1;
    }
    assert!(ran > 0);
}

/// The routers of a cluster trust the right callers, and are granted the time that their stop takes.
fn kubernetes(folder: &Path) {
    let pods: Range = "10.244.0.0/16".parse().expect("a range");
    for (router, trust) in [("ingress-router", Trust::Nobody), ("node-router", Trust::From([pods].into()))] {
        let text = |file: &str| fs::read_to_string(folder.join(router).join(file)).expect("it can be read");
        let config = read(&text("linkerd.yaml"));
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        assert_eq!(config.routers[0].servers[0].trust, trust);
        let daemon_set = text("daemonset.yaml");
        let (_, granted) = daemon_set.split_once("terminationGracePeriodSeconds: ").expect("it says so");
        let granted: u64 = granted.lines().next().unwrap_or_default().parse().expect("a number");
        let taken = config.admin.shutdown_delay + config.admin.shutdown_grace;
        assert!(Duration::from_secs(granted) > taken, "{router}: {granted} s, {taken:?}");
    }
}

/// The ingress router with TLS trusts nobody on either port.
fn kubernetes_tls(folder: &Path) {
    let config = read(&fs::read_to_string(folder.join("linkerd.yaml")).expect("it can be read"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let servers = &config.routers[0].servers;
    assert!(servers.iter().all(|server| server.trust == Trust::Nobody && server.uses_ingress_certificates()));
    assert_eq!(servers.iter().filter(|server| server.tls.is_some()).count(), 1);
}

/// The services of the staging example.
struct Story {
    hello: Service,
    worlds: [Service; 2],
    node: Rc<Cell<Option<SocketAddr>>>,
}

impl Story {
    async fn start() -> Self {
        let node = Rc::new(Cell::new(None));
        let asked = Rc::clone(&node);
        Self {
            hello: Service::start(async move |request| {
                let node = asked.get().expect("the router was started");
                ok(&format!("Hello (hello) {}", ask_world(node, &request).await))
            })
            .await,
            worlds: [Service::saying("world (v1)!!").await, Service::saying("earth (v2)!!").await],
            node,
        }
    }

    fn write_names(&self, names: &Names) {
        names.write("hello", &[self.hello.address()]);
        names.write("world-v1", &[self.worlds[0].address()]);
        names.write("world-v2", &[self.worlds[1].address()]);
    }
}

/// Asks world through the node's router, as a service should: with the context of the request at hand.
async fn ask_world(node: SocketAddr, request: &Message) -> String {
    let carried = |line: &&str| line.to_lowercase().starts_with("l5d-ctx-");
    let context: String =
        request.field_lines().into_iter().filter(carried).map(|line| format!("{line}\r\n")).collect();
    let mut node = Wire::connect(node).await;
    let response = node.ask(format!("{} / HTTP/1.1\r\nHost: world\r\n{context}\r\n", request.method())).await;
    match response.status() {
        200 => response.text().to_owned(),
        status => format!("[{status}]"),
    }
}

/// How many requests came in at the ingress, and how many at the node's router.
fn hops(app: &TestApp) -> (u64, u64) {
    let requests = |router| app.total("requests", &[("router", router)]);
    (requests("ingress"), requests("outgoing"))
}

async fn staging(file: &Path) {
    let (story, names) = (Story::start().await, Names::new());
    story.write_names(&names);
    let app = start(file, &names).await;
    story.node.set(Some(app.address("outgoing", 0)));
    let mut inside = app.client_of("ingress", 0).await;
    let mut outside = app.client_of("ingress", 1).await;
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: www.hello.world\r\n{fields}\r\n");
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: www.hello.world\r\n{fields}\r\n");
    let (world, earth) = ("Hello (hello) world (v1)!!", "Hello (hello) earth (v2)!!");
    let staged = "l5d-dtab: /host/world => /srv/world-v2;\r\n";

    assert_eq!(inside.ask(get("")).await.text(), world);
    assert_eq!(hops(&app), (1, 1));
    assert_eq!(inside.ask(get(staged)).await.text(), earth);
    assert_eq!(hops(&app), (2, 2), "the override steers the second hop, and is not lost on the first");
    let asked = story.worlds[1].take_requests().pop().expect("world-v2 was asked");
    assert_eq!(asked.field("l5d-ctx-dtab"), Some("/host/world=>/srv/world-v2"));
    assert_eq!(asked.all("via").len(), 1, "hello makes a request of its own");

    let response = inside.ask(get("l5d-dtab: /host/world = /srv/world-v2;\r\n")).await;
    response.assert_status(400);
    assert!(response.text().contains('^'), "{response:?}");
    assert_eq!(hops(&app), (3, 2), "a typo is refused where it comes in");

    assert_eq!(outside.ask(get(staged)).await.text(), world, "untrusted callers steer nothing");
    assert_eq!(hops(&app), (4, 3));
    let public = app.running().listeners()[1].server.clone();
    assert_eq!(app.total("dropped_overrides", &[("router", "ingress"), ("server", &public)]), 1);
    assert_eq!(app.total("dropped_overrides", &[]), 1);

    let swallowed = "l5d-dtab: /http/1.1/POST/world => /$/io.buoyant.http.status/204;\r\n";
    assert_eq!(inside.ask(post(swallowed)).await.text(), "Hello (hello) [204]");
    let copied = "l5d-dtab: /http/1.1/POST/world => /srv/world-v2;\r\n";
    assert_eq!(inside.ask(post(copied)).await.text(), earth);
    for fields in [swallowed, copied] {
        assert_eq!(inside.ask(get(fields)).await.text(), world, "reads go on as before");
    }
    assert_eq!(hops(&app), (8, 7));
    assert_eq!(app.total("unbound_overrides", &[]), 0);
    app.stop().await;
}
