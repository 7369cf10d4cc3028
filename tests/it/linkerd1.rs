//! Linkerd 1's examples: `examples/linkerd1` runs, and the table in its README is true.

use crate::support::http2::{H2Service, one};
use crate::support::tls::{Authority, FrontOptions, TlsBack, TlsFiles, TlsFront};
use crate::support::{ApiServer, Names, Service, TestApp, Wire, read, service, slice, until};
use serde_json::json;
use signpost::app::Threads;
use signpost::config::{self, Config, Http2Config, Protocol};
use signpost::identify::{self, HeaderToken};
use signpost::namer::TransformerConfig;
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// How many examples Linkerd 1.7.5 had.
const EXAMPLES: usize = 39;

/// What an original has that is refused here: more keys of the file (lines of YAML), and of its router.
const REFUSED: &[(&str, &str, &str)] = &[
    ("admin", "", "interpreter: {kind: io.l5d.namerd, dst: /$/inet/127.1/4100}"),
    ("consul", "namers: [{kind: io.l5d.consul, host: 127.0.0.1, port: 8500}]", ""),
    (
        "consul-interpreter",
        "namers: [{kind: io.l5d.consul}]",
        "interpreter: {kind: io.l5d.consul.interpreter, namespace: default}",
    ),
    ("curator", "namers: [{kind: io.l5d.curator, experimental: true}]", ""),
    ("marathon", "namers: [{kind: io.l5d.marathon, host: marathon.mesos}]", ""),
    ("marathon-leader", "namers: [{kind: io.l5d.marathon}]", ""),
    ("namerd", "", "interpreter: {kind: io.l5d.namerd, dst: /$/inet/127.1/4100}"),
    ("namerd", "", "interpreter: {kind: io.l5d.namerd.http, experimental: true}"),
    ("namerd", "", "interpreter: {kind: io.l5d.mesh, dst: /$/inet/127.1/4321}"),
    ("namerd-http", "", "interpreter: {kind: io.l5d.namerd.http, experimental: true}"),
    ("namerd-mesh", "", "interpreter: {kind: io.l5d.mesh, dst: /$/inet/127.1/4321}"),
    ("namerd-tls", "", "interpreter: {kind: io.l5d.namerd, tls: {commonName: linkerd}}"),
    ("namerd-tls", "", "interpreter: {kind: io.l5d.namerd.http, tls: {commonName: linkerd}}"),
    ("namerd-tls", "", "interpreter: {kind: io.l5d.mesh, tls: {commonName: linkerd}}"),
    ("serversets", "namers: [{kind: io.l5d.serversets}]", ""),
    ("thrift", "", "protocol: thrift"),
    ("thriftmux", "", "protocol: thriftmux"),
    ("tracelog", "telemetry: [{kind: io.l5d.tracelog, sampleRate: 0.2}]", ""),
    ("zipkin", "telemetry: [{kind: io.l5d.zipkin, host: localhost}]", ""),
];

/// What an original has that the start warns of, and that the file of this project's folder has not.
const WARNED: &[(&str, &str, &str)] = &[
    ("access-logs", "telemetry: [{kind: io.l5d.recentRequests, sampleRate: 1.0}]", ""),
    (
        "client-options",
        "",
        "client: {kind: io.l5d.static, configs: [{prefix: /a, socketOptions: {reusePort: true}}]}",
    ),
    ("h2spec", "usage: {enabled: false}", ""),
    ("http", "", "identifier: {kind: io.l5d.header}\nservers: [{port: 4140, ip: 0.0.0.0}]"),
    (
        "k8s-servicemesh",
        "",
        "originator: true\ninterpreter: {transformers: [{kind: io.l5d.k8s.localnode, hostNetwork: true}]}",
    ),
    ("socket-options", "", "servers: [{port: 0, socketOptions: {reuseAddr: true}}]"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/linkerd1")
}

/// A row of the table.
struct Row {
    name: String,
    /// Whether it links a file.
    is_file: bool,
    here: String,
    /// What the start says, each warning or error by itself.
    says: Vec<String>,
}

fn table() -> Vec<Row> {
    let text = fs::read_to_string(folder().join("README.md")).expect("the folder has a table");
    let (_, rows) =
        text.split_once("| example | shows | here | what the start says |\n|---|---|---|---|\n").unwrap();
    rows.lines().map(row).collect()
}

/// Reads a row such as "| [`fs`](fs.yaml) | names from files | runs | |".
fn row(line: &str) -> Row {
    let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [name, _, here, says] = cells.as_slice() else { panic!("four cells in {line}") };
    let bare = name.split('`').nth(1).expect("a name in a code span").to_owned();
    let link = format!("[`{bare}`]({bare}.yaml)");
    assert!([format!("`{bare}`"), link.clone()].contains(&(*name).to_owned()), "{name}");
    let says = says.split("<br>").filter(|message| !message.is_empty()).map(str::to_owned).collect();
    Row { is_file: **name == link, name: bare, here: (*here).to_owned(), says }
}

/// The files of the folder, by the names of their examples.
fn files() -> BTreeSet<String> {
    let entries = fs::read_dir(folder()).expect("the folder can be read");
    let names = entries.map(|entry| entry.expect("the folder can be read").file_name());
    let names = names.map(|name| name.into_string().expect("names are text"));
    names
        .filter(|name| name != "README.md")
        .map(|name| name.strip_suffix(".yaml").unwrap_or_else(|| panic!("{name} is no example")).to_owned())
        .collect()
}

/// What the start says of the parts of an original: one message for each reason.
fn remarks(parts: &[(&str, &str, &str)], name: &str) -> Vec<String> {
    let mut messages = Vec::new();
    for (_, file, router) in parts.iter().filter(|(of, ..)| *of == name) {
        let with = |given: &str, key: &str, usual: &'static str| {
            if given.contains(key) { "" } else { usual }
        };
        let (protocol, servers) = (
            with(router, "protocol:", "protocol: http\n"),
            with(router, "servers:", "servers: [{port: 0}]\n"),
        );
        let lines = format!("{protocol}{router}\n{servers}");
        let router: Vec<_> = lines.lines().map(|line| format!("  {line}\n")).collect();
        let text = format!("{file}\nrouters:\n-\n{}", router.concat());
        let said: Vec<_> = match config::read(name, &text) {
            Ok(config) => config.warnings.into_iter().map(|warning| warning.message).collect(),
            Err(errors) => errors.iter().map(|error| error.message.clone()).collect(),
        };
        assert!(!said.is_empty(), "{name}: {text}");
        for message in said {
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
    }
    messages
}

#[test]
fn the_table_has_every_example_and_every_file() {
    let rows = table();
    assert_eq!(rows.len(), EXAMPLES);
    let names: Vec<_> = rows.iter().map(|row| row.name.to_lowercase()).collect();
    assert!(names.is_sorted() && names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    let linked: BTreeSet<_> = rows.iter().filter(|row| row.is_file).map(|row| row.name.clone()).collect();
    assert_eq!(linked, files());
}

#[test]
fn the_start_says_what_the_table_says() {
    for Row { name, is_file, here, says } in table() {
        let refused = remarks(REFUSED, &name);
        if is_file {
            // From the package's root, where tests run, as by hand.
            let file = folder().join(format!("{name}.yaml"));
            let config = config::load(&file).unwrap_or_else(|errors| panic!("{errors}"));
            let own = config.warnings.into_iter().map(|warning| warning.message);
            let warnings: Vec<_> = own.chain(remarks(WARNED, &name)).collect();
            match here.as_str() {
                "runs" => assert_eq!((warnings, refused), (says, Vec::new()), "{name}"),
                "in part" => assert_eq!((warnings, refused), (Vec::new(), says), "{name}"),
                other => panic!("{name} has a file and is said: {other}"),
            }
            continue;
        }
        assert_eq!(refused, says, "{name}");
        let reason = match here.as_str() {
            "not yet" => "is not available yet",
            "no" => "is not supported",
            other => panic!("{name} has no file and is said: {other}"),
        };
        let with_reason = says.iter().filter(|message| message.contains(reason)).count();
        // What is not supported decides, whatever else waits.
        let least = if here == "no" { 1 } else { says.len().max(1) };
        assert!(with_reason >= least, "{name}: {says:?}");
    }
}

/// What an example asks its requests of.
struct Stage {
    names: Names,
    /// Stands at `127.1/9999` in routers of HTTP/1.
    main: Service,
    /// Stands there in routers of HTTP/2, and is the service over-http2 in files.
    over_http2: H2Service,
    /// Stands at `127.1/7777`, and is the service hello in files.
    hello: Service,
    /// Stands at `localhost:8001`, and has the service hello inside, main outside.
    api: ApiServer,
    /// The folder of certificates, and their authority: edge.pem is that of the router.
    certificates: TlsFiles,
    authority: Authority,
}

impl Stage {
    async fn start() -> Self {
        let (main, hello) = (Service::saying("main").await, Service::saying("hello").await);
        let over_http2 = H2Service::saying("over HTTP/2").await;
        let names = Names::new();
        names.write("hello", &[hello.address()]);
        let api = ApiServer::start().await;
        api.put(slice("default", "hello", "http", hello.address()));
        let mut service = service("default", "hello", &[("http", main.address().port())]);
        service["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": main.address().ip() }] } });
        api.put(service);
        names.write("over-http2", &[over_http2.address()]);
        let (certificates, authority) = (TlsFiles::new(), Authority::new("authority"));
        certificates.write("ca.pem", authority.pem());
        certificates.write_pair("edge", &authority.issue(&["edge.mesh.example", "localhost"]));
        Self { names, main, over_http2, hello, api, certificates, authority }
    }

    /// Reads an example, with this stage in place of what it names, and ports of its own.
    fn config(&self, name: &str) -> Config {
        let text = fs::read_to_string(folder().join(format!("{name}.yaml"))).expect("an example can be read");
        let port = |address: SocketAddr| format!("127.1/{}", address.port());
        let is_http2 = text.contains("protocol: h2");
        let main = if is_http2 { self.over_http2.address() } else { self.main.address() };
        let text = text
            .replace("ort: 8001", &format!("ort: {}", self.api.address().port()))
            .replace("examples/names", self.names.path())
            .replace("examples/certs", &self.certificates.text(""))
            .replace("logs/", &format!("{}/logs/", self.names.path()))
            .replace("127.1/9999", &port(main))
            .replace("127.1/7777", &port(self.hello.address()));
        let mut config = read(&text);
        config.admin.port = 0;
        config.routers.iter_mut().flat_map(|router| &mut router.servers).for_each(|server| server.port = 0);
        config
    }

    async fn run(&self, name: &str) -> TestApp {
        TestApp::start_config(self.config(name), Threads::Here).await
    }

    /// Starts an example, sends it a request, and fails unless the response says that.
    async fn asked(&self, name: &str, request: &str, said: &str) {
        let app = self.run(name).await;
        let response = app.client().await.ask(request).await;
        assert_eq!((response.status(), response.text()), (200, said), "{name}: {response:?}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn every_example_is_started_and_answers() {
    const HELLO: &str = "GET / HTTP/1.1\r\nHost: hello\r\n\r\n";
    let stage = Stage::start().await;
    for name in files() {
        match name.as_str() {
            "fs" | "loadbalancer" | "retries" => stage.asked(&name, HELLO, "hello").await,
            "rewriting" => {
                stage.asked("rewriting", "GET /hello/api/x HTTP/1.1\r\nHost: a\r\n\r\n", "hello").await;
            }
            "influxdb" | "prometheus" | "recent-requests" | "service-options" | "socket-options"
            | "statsd" | "disable-tls" => {
                stage.asked(&name, HELLO, "main").await;
            }
            "access-logs" => access_logs(&stage).await,
            "admin" => admin(&stage).await,
            "admin-tls" => admin_tls(&stage).await,
            "client-options" => client_options(&stage).await,
            "mutualTls" | "tls" => tls(&stage, &name).await,
            "http" => http(&stage).await,
            "k8s" => k8s(&stage).await,
            "k8s-servicemesh" => k8s_servicemesh(&stage).await,
            "proxy" => proxy(&stage).await,
            "servicemesh" => servicemesh(&stage).await,
            "static_namer" => static_namer(&stage).await,
            "h2" => h2(&stage).await,
            "h2spec" => h2spec(&stage).await,
            other => panic!("{other} is an example without a test"),
        }
    }
}

async fn access_logs(stage: &Stage) {
    let app = stage.run("access-logs").await;
    for (router, said) in [("outgoing", "main"), ("incoming", "hello")] {
        assert_eq!(app.client_of(router, 0).await.get("hello", "").await.text(), said, "{router}");
    }
    app.stop().await;
    for (router, part) in [("outgoing", "\"GET / HTTP/1.1\" 200 4 "), ("incoming", "\"status\":200")] {
        let log = fs::read_to_string(format!("{}/logs/{router}.log", stage.names.path())).expect("a log");
        assert!(log.contains(part) && log.lines().count() == 1, "{log}");
    }
}

async fn admin(stage: &Stage) {
    assert_eq!(
        config::load(&folder().join("admin.yaml")).unwrap().admin.address().to_string(),
        "127.0.0.1:9991"
    );
    let app = stage.run("admin").await;
    for (router, said) in [("int", "hello"), ("ext", "main")] {
        assert_eq!(app.client_of(router, 0).await.get("hello", "").await.text(), said, "{router}");
        assert_eq!(app.total("requests", &[("router", router)]), 1);
    }
    app.stop().await;
}

async fn admin_tls(stage: &Stage) {
    let app = stage.run("admin-tls").await;
    let options = FrontOptions { name: "localhost", ..FrontOptions::default() };
    let front = TlsFront::start(app.running().admin(), &stage.authority, options).await;
    let ping = "GET /admin/ping HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(Wire::connect(front.address()).await.ask(ping).await.text(), "pong");
    assert_eq!(app.client().await.get("hello", "").await.text(), "main");
    app.stop().await;
}

async fn client_options(stage: &Stage) {
    let pair = stage.authority.issue(&["hello.mesh.example"]);
    let back = TlsBack::start(stage.hello.address(), &pair, None, &[]).await;
    stage.names.write("hello", &[back.address()]);
    stage.asked("client-options", "GET / HTTP/1.1\r\nHost: hello\r\n\r\n", "hello").await;
    stage.names.write("hello", &[stage.hello.address()]);
}

/// A caller with a certificate, a router, and an endpoint that asks for one.
async fn tls(stage: &Stage, name: &str) {
    let asked = (name == "mutualTls").then_some(&stage.authority);
    let pair = stage.authority.issue(&["hello.mesh.example"]);
    let back = TlsBack::start(stage.hello.address(), &pair, asked, &[]).await;
    stage.names.write("hello", &[back.address()]);
    let app = stage.run(name).await;
    let own = asked.map(|authority| authority.issue(&["caller.mesh.example"]));
    for (pair, is_served) in [(own, true), (None, asked.is_none())] {
        let options = FrontOptions { name: "localhost", pair, ..FrontOptions::default() };
        let front = TlsFront::start(app.first_address(), &stage.authority, options).await;
        let mut client = Wire::connect(front.address()).await;
        client.writer.try_send("GET / HTTP/1.1\r\nHost: hello\r\n\r\n").await;
        if is_served {
            assert_eq!(client.response().await.text(), "hello", "{name}");
        } else {
            client.assert_gone().await;
        }
    }
    app.stop().await;
    stage.names.write("hello", &[stage.hello.address()]);
}

async fn http(stage: &Stage) {
    let app = stage.run("http").await;
    let mut client = app.client().await;
    let response = client.get("any", "my-service: /hello\r\n").await;
    assert_eq!(response.text(), "main");
    let asked = stage.main.take_requests().pop().expect("it was asked");
    let forwarded = asked.field("forwarded").expect("Forwarded is added");
    assert!(forwarded.starts_with("by=_gateway;for=\"127.0.0.1:"), "{forwarded}");
    assert!(forwarded.ends_with(";host=any;proto=http"), "{forwarded}");
    assert!(asked.field("x-request-start").is_some_and(|time| time.parse::<u64>().is_ok()), "{asked:?}");
    client.get("any", "").await.assert_status(400);
    let long = format!("GET /{} HTTP/1.1\r\nHost: any\r\n\r\n", "x".repeat(8 * 1024));
    app.client().await.ask(long).await.assert_status(414);
    app.stop().await;
}

async fn k8s(stage: &Stage) {
    let app = stage.run("k8s").await;
    for (router, said) in [("int", "hello"), ("ext", "main")] {
        assert_eq!(app.client_of(router, 0).await.get("hello", "").await.text(), said, "{router}");
    }
    app.stop().await;
}

async fn k8s_servicemesh(stage: &Stage) {
    let mut config = stage.config("k8s-servicemesh");
    let [local] = config.routers[1].interpreter.transformers.as_mut_slice() else {
        panic!("one transformer")
    };
    assert_eq!(*local, TransformerConfig::LocalNode { env_var: TransformerConfig::NODE_NAME.to_owned() });
    // Cargo sets this one for every test.
    *local = TransformerConfig::LocalNode { env_var: "CARGO_PKG_NAME".to_owned() };
    let node = env!("CARGO_PKG_NAME");
    let app = TestApp::start_config(config, Threads::Here).await;
    let on_node = |name, port, address| {
        let mut slice = slice("default", name, port, address);
        slice["endpoints"][0]["nodeName"] = node.into();
        slice
    };
    stage.api.put(on_node("hello", "http", stage.hello.address()));
    stage.api.put(service("default", "l5d", &[("incoming", 4141)]));
    stage.api.put(on_node("l5d", "incoming", app.address("incoming", 0)));
    let response = app.client_of("outgoing", 0).await.get("hello", "").await;
    assert_eq!((response.status(), response.text()), (200, "hello"), "{response:?}");
    for router in ["outgoing", "incoming"] {
        assert_eq!(app.total("requests", &[("router", router)]), 1, "{router}");
    }
    app.stop().await;
}

async fn proxy(stage: &Stage) {
    let app = stage.run("proxy").await;
    let mut client = app.client().await;
    let host = stage.main.address();
    let response = client.ask(format!("GET http://{host}/a HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    assert_eq!(response.text(), "main", "{response:?}");
    assert_eq!(client.get("hello", "").await.text(), "hello", "what the files name comes first");
    app.stop().await;
    let mut config = stage.config("proxy");
    // A test may not listen on port 80 of this machine: a service on another port takes its place in the dtab.
    let port80 = Service::saying("port 80").await;
    let usual =
        config.routers[0].dtab.to_string().replace("/ph/80", &format!("/ph/{}", port80.address().port()));
    config.routers[0].dtab = usual.parse().expect("a dtab");
    let app = TestApp::start_config(config, Threads::Here).await;
    assert_eq!(app.client().await.get("127.0.0.1", "").await.text(), "port 80");
    app.stop().await;
}

async fn servicemesh(stage: &Stage) {
    let mut config = stage.config("servicemesh");
    assert_eq!(config.routers[0].interpreter.transformers, [TransformerConfig::Port { port: 4141 }]);
    let mut app = TestApp::start_config(config.clone(), Threads::Here).await;
    let port = app.address("incoming", 0).port();
    config.routers[0].interpreter.transformers = vec![TransformerConfig::Port { port }];
    app.reload_config(config).await;
    // Another node's endpoint is nothing that `incoming` would send to: no machine has this address (RFC 5737).
    let far = SocketAddr::from(([192, 0, 2, 1], 1));
    stage.names.replace("hello", &[stage.hello.address(), far]);
    let mut incoming = app.client_of("incoming", 0).await;
    for _ in 0..4 {
        assert_eq!(incoming.get("hello", "").await.text(), "hello");
    }
    stage.names.replace("hello", &[stage.hello.address()]);
    let asked = async || {
        stage.hello.take_requests();
        let mut client = app.client_of("outgoing", 0).await;
        let response = client.get("hello", "").await;
        response.text() == "hello"
    };
    until("each router has its part", asked).await;
    let request = stage.hello.take_requests().pop().expect("it was asked");
    assert_eq!(request.field("via"), Some("1.1 signpost, 1.1 signpost"));
    assert_eq!(request.field("l5d-dst-client"), Some("/%/io.l5d.localhost/#/io.l5d.fs/hello"));
    app.stop().await;
}

async fn static_namer(stage: &Stage) {
    let app = stage.run("static_namer").await;
    let mut client = app.client().await;
    for (host, said) in [("hello", "hello"), ("other", "main")] {
        assert_eq!(client.get(host, "").await.text(), said);
    }
    app.stop().await;
}

/// Reads an example of HTTP/2 as it stands: one router with the usual label and port.
fn h2_router(name: &str) -> config::Router {
    let config = config::load(&folder().join(format!("{name}.yaml"))).unwrap();
    let [router] = config.routers.as_slice() else { panic!("one router") };
    assert_eq!((router.protocol, router.label.as_str(), router.servers[0].port), (Protocol::H2, "h2", 4142));
    router.clone()
}

async fn h2(stage: &Stage) {
    let router = h2_router("h2");
    let announced = Http2Config {
        stream_window: Some(65535),
        header_table: Some(4096),
        max_frame: Some(16384),
        max_header_list: Some(16384),
    };
    assert_eq!(
        router.client.of(&"/#/a".parse().unwrap()).http2,
        Http2Config { header_table: None, ..announced }
    );
    assert_eq!((router.servers[0].max_streams, router.servers[0].http2), (Some(100), announced));
    let app = stage.run("h2").await;
    let mut client = app.h2_client().await;
    // What `maxHeaderListBytes` lets pass is more than the 8 KiB that are usual.
    let long = "x".repeat(12 * 1024);
    let answer = client.get("any", &[("my-service", "over-http2"), ("x-long", &long)]).await;
    assert_eq!((answer.status(), answer.text()), (200, "over HTTP/2"));
    let asked = stage.over_http2.take_heads().pop().expect("it was asked");
    let forwarded = one(asked.headers(), "forwarded");
    assert_eq!(forwarded, Some("by=_h2;for=127.0.0.1;authority=any;proto=http"));
    client.get("any", &[]).await.assert_status(400);
    // A caller may speak HTTP/1 all the same.
    let response = app.client().await.get("any", "my-service: over-http2\r\n").await;
    assert_eq!(response.text(), "over HTTP/2");
    app.stop().await;
}

async fn h2spec(stage: &Stage) {
    let router = h2_router("h2spec");
    let authority = identify::Config::HeaderToken(HeaderToken { header: ":authority".into() });
    assert_eq!(router.identifiers, [authority]);
    assert_eq!((router.servers[0].max_streams, router.servers[0].http2), (None, Http2Config::default()));
    let app = stage.run("h2spec").await;
    assert_eq!(app.h2_client().await.get("any", &[]).await.text(), "over HTTP/2");
    let asked = stage.over_http2.take_heads().pop().expect("it was asked");
    assert_eq!(one(asked.headers(), "l5d-dst-service"), Some("/svc/any"));
    app.stop().await;
}
