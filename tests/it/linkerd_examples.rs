//! The configurations of the repository linkerd-examples that start here: each carries requests, from its listeners to the
//! endpoints that its names lead to.
//!
//! They are written anew. Where the variable `LINKERD_EXAMPLES` names a folder of the originals, one is read for each, is
//! found to mean the same, and runs in its place.

mod examples;

use self::examples::{Asked, Example, examples};
use crate::support::http2::{H2Client, H2Service};
use crate::support::tls::{Authority, FrontOptions, TlsFiles, TlsFront};
use crate::support::{ApiServer, Names, Service, TestApp, Wire, ingress, read, service, slice};
use http::Request;
use serde_json::{Value, json};
use signpost::app::Threads;
use signpost::config::{Config, Protocol};
use signpost::identify;
use signpost::kubernetes::{self, Access};
use signpost::namer::{Kind, TransformerConfig};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// How many of the repository's configurations start; `docs/linkerd1.md` has the others.
const EXAMPLES: usize = 23;

/// What endpoints say: the names of their services in Kubernetes.
const SERVICES: [&str; 3] = ["hello", "world-v1", "api"];

/// The names in files, each with the position of its endpoint in [`SERVICES`].
const FILES: [(&str, usize); 7] =
    [("hello", 0), ("app", 0), ("app1", 0), ("app2", 1), ("service1", 0), ("service2", 1), ("service3", 2)];

/// The ports of services in Kubernetes, each with its namespace and what its endpoints speak.
const PORTS: [(&str, &str, Protocol); 5] = [
    ("default", "http", Protocol::Http),
    ("default", "service", Protocol::Http),
    ("default", "h2", Protocol::H2),
    ("default", "grpc", Protocol::H2),
    ("add-steps", "test-app", Protocol::Http),
];

/// The variable that Cargo sets for every test, and the node that it stands for here.
const NODE: (&str, &str) = ("CARGO_PKG_NAME", env!("CARGO_PKG_NAME"));

/// What stands around the examples: endpoints, and files.
struct Scene {
    http: [Service; 3],
    h2: [H2Service; 3],
    names: Names,
    certificates: TlsFiles,
    authority: Authority,
}

impl Scene {
    async fn start() -> Self {
        let [a, b, c] = SERVICES;
        let scene = Self {
            http: [Service::saying(a).await, Service::saying(b).await, Service::saying(c).await],
            h2: [H2Service::saying(a).await, H2Service::saying(b).await, H2Service::saying(c).await],
            names: Names::new(),
            certificates: TlsFiles::new(),
            authority: Authority::new("authority"),
        };
        for (name, service) in FILES {
            scene.names.write(name, &[scene.endpoint(Protocol::Http, service)]);
        }
        let pair = scene.authority.issue(&["linkerd", "localhost"]);
        scene.certificates.write("cacertificate.pem", scene.authority.pem());
        for name in ["certificate.pem", "tls.crt"] {
            scene.certificates.write(name, &pair.cert);
        }
        for name in ["key.pk8", "tls.pk8"] {
            scene.certificates.write(name, &pair.key);
        }
        scene
    }

    fn endpoint(&self, protocol: Protocol, service: usize) -> SocketAddr {
        match protocol {
            Protocol::Http => self.http[service].address(),
            Protocol::H2 => self.h2[service].address(),
        }
    }

    /// Starts the API server of a cluster that has the services, and an Ingress for two hosts.
    async fn cluster(&self) -> ApiServer {
        let api = ApiServer::start().await;
        for namespace in ["default", "add-steps"] {
            for (at, name) in SERVICES.iter().enumerate() {
                let ports = PORTS.iter().filter(|(of, ..)| *of == namespace);
                let ports = ports.map(|(_, port, protocol)| (*port, self.endpoint(*protocol, at)));
                put(&api, namespace, name, &ports.collect::<Vec<_>>());
            }
        }
        let rule = |host: &str, port: &str| {
            let backend = json!({ "service": { "name": "hello", "port": { "name": port } } });
            let path = json!({ "path": "/", "pathType": "Prefix", "backend": backend });
            json!({ "host": host, "http": { "paths": [path] } })
        };
        let rules = json!({ "rules": [rule("http.example", "http"), rule("h2.example", "h2")] });
        api.put(ingress("default", "web", &rules));
        api
    }

    /// Reads an example, and puts what this scene has in place of the addresses, files and variables that it names.
    fn config(&self, text: &str, api: &ApiServer) -> Config {
        let certificates = self.certificates.text("");
        let mut config = read(&text.replace("/io.buoyant/linkerd/certs/", &certificates));
        (config.admin.ip, config.admin.port) = (IpAddr::from(Ipv4Addr::LOCALHOST), 0);
        let (host, port) = (api.address().ip().to_string(), api.address().port());
        let client = kubernetes::Config::from(Access::Plain { host, port });
        for namer in &mut config.namers {
            match &mut namer.kind {
                Kind::Fs(fs) => fs.root_dir = Path::new(self.names.path()).to_owned(),
                Kind::Kubernetes(kubernetes) => kubernetes.client = client.clone(),
                Kind::DnsSrv(_) | Kind::Rewrite(_) => {}
            }
            transform(&mut namer.transformers, &client);
        }
        for router in &mut config.routers {
            let main = self.endpoint(router.protocol, 0).port();
            let dtab = ["8080", "8888"].into_iter().fold(router.dtab.to_string(), |dtab, port| {
                dtab.replace(&format!("127.1/{port}"), &format!("127.1/{main}"))
            });
            router.dtab = dtab.parse().expect("a dtab");
            transform(&mut router.interpreter.transformers, &client);
            for identifier in &mut router.identifiers {
                if let identify::Config::Ingress(ingress) = identifier {
                    ingress.client = client.clone();
                }
            }
            for server in &mut router.servers {
                server.ip = Ipv4Addr::LOCALHOST.into();
            }
        }
        config
    }

    /// Starts an example, with its listeners on free ports, and in the cluster as a DaemonSet where it asks for one.
    async fn run(&self, mut config: Config, api: &ApiServer) -> TestApp {
        let servers = |config: &mut Config, port: &dyn Fn(u16) -> u16| {
            let servers = config.routers.iter_mut().flat_map(|router| &mut router.servers);
            servers.for_each(|server| server.port = port(server.port));
        };
        let wanted: Vec<_> = config.routers.iter().map(|router| router.servers[0].port).collect();
        servers(&mut config, &|_| 0);
        let mut app = TestApp::start_config(config.clone(), Threads::Here).await;
        let labels: Vec<_> = config.routers.iter().map(|router| router.label.clone()).collect();
        let given = |label: &str| app.address(label, 0);
        for namespace in daemon_sets(&config) {
            let incoming = labels.iter().filter(|label| label.ends_with("incoming"));
            let ports: Vec<_> = incoming.map(|label| (label.as_str(), given(label))).collect();
            put(api, &namespace, "l5d", &ports);
        }
        // A router of the example may be what another one leads to.
        let mut is_changed = false;
        for (port, label) in wanted.iter().zip(&labels) {
            let now = given(label).port();
            for router in &mut config.routers {
                let dtab = router.dtab.to_string();
                let moved = dtab.replace(&format!("127.1/{port}"), &format!("127.1/{now}"));
                is_changed |= moved != dtab;
                router.dtab = moved.parse().expect("a dtab");
            }
        }
        if is_changed {
            app.reload_config(config).await;
        }
        app
    }

    /// Sends requests until each of those that are to answer has done so, and no other.
    async fn ask(&self, name: &str, app: &TestApp, config: &Config, asked: &Asked) {
        let Asked { through, target, says } = asked;
        let requests = |label: &&str| app.total("requests", &[("router", label)]);
        let before: Vec<_> = through.iter().map(requests).collect();
        let target = target.replace("ADDRESS", &self.endpoint(Protocol::Http, 0).to_string());
        let (host, path) = target.split_once('/').unwrap_or((&target, ""));
        let router = config.routers.iter().find(|router| router.label == through[0]).expect("a router");
        let mut address = app.address(&router.label, 0);
        let front;
        if router.servers[0].tls.is_some() {
            let options = FrontOptions { name: "localhost", ..FrontOptions::default() };
            front = TlsFront::start(address, &self.authority, options).await;
            address = front.address();
        }
        let mut answered = BTreeSet::new();
        for _ in 0..200 {
            let (status, text) = match router.protocol {
                Protocol::Http => {
                    let get = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
                    let answer = Wire::connect(address).await.ask(get).await;
                    (answer.status(), answer.text().to_owned())
                }
                Protocol::H2 => {
                    let get = Request::get(format!("http://{host}/{path}")).body("").expect("a request");
                    let answer = H2Client::connect(address).await.ask(get).await;
                    (answer.status(), answer.text().to_owned())
                }
            };
            // A machine that is busy may need more than the limit of an example.
            if status == 504 {
                continue;
            }
            assert!(
                status == 200 && says.contains(&text.as_str()),
                "{name}: {target} of {through:?}: {status} {text}"
            );
            answered.insert(text);
            if answered.len() == says.len() {
                break;
            }
        }
        assert_eq!(answered.len(), says.len(), "{name}: {target} of {through:?}: {answered:?}");
        for (label, before) in through.iter().zip(before) {
            assert!(requests(label) > before, "{name}: {target} goes through {label}");
        }
    }
}

/// Puts a service whose ports are named, each with one endpoint on the node of this test.
fn put(api: &ApiServer, namespace: &str, name: &str, ports: &[(&str, SocketAddr)]) {
    let numbers: Vec<_> = ports.iter().map(|(port, address)| (*port, address.port())).collect();
    api.put(service(namespace, name, &numbers));
    for (port, address) in ports {
        let mut slice = slice(namespace, name, port, *address);
        // Two ports may have one endpoint.
        slice["metadata"]["name"] = format!("{name}-{port}").into();
        slice["endpoints"][0]["nodeName"] = Value::from(NODE.1);
        api.put(slice);
    }
}

/// Lets transformers ask that API server, and find the node in a variable that every test has.
fn transform(transformers: &mut [TransformerConfig], client: &kubernetes::Config) {
    for transformer in transformers {
        match transformer {
            TransformerConfig::DaemonSet(set) => set.client = client.clone(),
            TransformerConfig::LocalNode { env_var } => {
                assert_eq!(env_var, TransformerConfig::NODE_NAME);
                *env_var = NODE.0.to_owned();
            }
            other => panic!("{other:?} is in no example"),
        }
    }
}

/// Returns the namespaces in which the DaemonSets of the transformers are.
fn daemon_sets(config: &Config) -> BTreeSet<String> {
    let of_namers = config.namers.iter().flat_map(|namer| &namer.transformers);
    let all = of_namers.chain(config.interpreters().flatten());
    all.filter_map(|transformer| match transformer {
        TransformerConfig::DaemonSet(set) => Some(set.namespace.clone()),
        _ => None,
    })
    .collect()
}

/// Reads the original, where there is a folder of them.
fn original(name: &str) -> Option<String> {
    let folder = std::env::var_os("LINKERD_EXAMPLES")?;
    let file = Path::new(&folder).join(name.replace('/', "__") + ".yaml");
    Some(std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

#[tokio::test(flavor = "local")]
async fn every_example_carries_requests() {
    let scene = Scene::start().await;
    let examples = examples();
    assert_eq!(examples.len(), EXAMPLES);
    for Example { name, text, asked } in examples {
        let api = scene.cluster().await;
        let mut config = scene.config(&text, &api);
        if let Some(original) = original(name) {
            let original = scene.config(&original, &api);
            assert_eq!(original.to_json(), config.to_json(), "{name}");
            config = original;
        }
        let app = scene.run(config.clone(), &api).await;
        for asked in &asked {
            scene.ask(name, &app, &config, asked).await;
        }
        app.stop().await;
    }
}
