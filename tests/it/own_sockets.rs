//! The sockets of the process itself: a router carries no request to its own admin server, whatever name leads there,
//! and may carry one to its own listeners.

use crate::support::grpc::{GrpcClient, GrpcServer, Method};
use crate::support::{DnsServer, Names, Service, TestApp, speaking};
use http::Request;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use tonic::Code;

/// An app, and names of many kinds for its admin server.
struct Stage {
    app: TestApp,
    _names: Names,
    _dns: DnsServer,
}

impl Stage {
    /// A router whose endpoints speak `protocol`, with an admin server that listens on `admin`.
    async fn start(protocol: &str, admin: IpAddr) -> Self {
        let (names, dns) = (Names::new(), DnsServer::start().await);
        let (folder, resolver) = (names.path(), dns.address());
        let config = |port: u16| {
            let yaml = speaking(protocol, "", ", trust: everybody");
            yaml.replace("admin: {port: 0}", &format!("admin: {{ip: '{admin}', port: 0}}"))
                + &format!(
                    "namers:\n\
                     - {{kind: io.l5d.fs, rootDir: '{folder}'}}\n\
                     - kind: io.l5d.fs\n\
                    \x20 rootDir: '{folder}'\n\
                    \x20 prefix: /moved\n\
                    \x20 transformers: [{{kind: io.l5d.port, port: {port}}}]\n\
                     - {{kind: io.l5d.dnssrv, prefix: /dns, dnsHosts: ['{resolver}'], domain: test}}\n"
                )
        };
        let mut app = TestApp::start(&config(1)).await;
        let port = app.running().admin().port();
        assert!(app.reload(&config(port)).await.is_empty());
        for (name, host) in [("address", "127.0.0.1"), ("any", "0.0.0.0"), ("host", "localhost")] {
            names.write_lines(name, &format!("{host} {port}\n"));
        }
        names.write_lines("other", "127.0.0.1 1\n");
        dns.says("admin.test. A", "60 127.0.0.1");
        dns.says("_http._tcp.admin.test. SRV", &format!("60 1 1 {port} admin.test."));
        Self { app, _names: names, _dns: dns }
    }

    /// Names that lead to the admin server.
    fn names(&self) -> Vec<String> {
        let admin = self.app.running().admin();
        let mut hosts: Vec<_> =
            ["127.0.0.1", "127.1", "localhost", "0.0.0.0", "0", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0"]
                .map(str::to_owned)
                .into();
        if admin.ip().is_unspecified() {
            hosts.extend(["127.0.0.2".to_owned(), own_address().to_string()]);
        }
        if admin.is_ipv6() {
            hosts.push("::1".to_owned());
        }
        let inet = hosts.iter().map(|host| format!("/$/inet/{host}/{}", admin.port()));
        let named = [
            "/io.l5d.fs/address",
            "/io.l5d.fs/any",
            "/io.l5d.fs/host",
            "/moved/other",
            "/dns/_http._tcp.admin",
        ];
        inet.chain(named.map(|name| format!("/#{name}"))).collect()
    }

    /// Stops the app, which must not have been asked to stop before.
    async fn end(self) {
        assert!(!self.app.is_asked_to_stop().await);
        self.app.json("/config.json").await;
        self.app.stop().await;
    }
}

/// An address of this machine: that of an interface, if it has one that leads elsewhere.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("sockets are left");
    // Nothing is sent.
    let source = socket.connect("203.0.113.1:53").and_then(|()| socket.local_addr());
    source.map_or(Ipv4Addr::LOCALHOST.into(), |source| source.ip())
}

/// The addresses on which the admin servers of these tests listen.
fn admin_addresses() -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv4Addr::UNSPECIFIED.into()];
    // Not every machine has IPv6.
    let any = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    addresses.extend(std::net::TcpListener::bind((any, 0)).is_ok().then_some(any));
    addresses
}

#[tokio::test(flavor = "local")]
async fn no_override_leads_to_the_admin_server() {
    const REASON: &str = " leads to the admin server of this router, to which no request is carried";
    for admin in admin_addresses() {
        for protocol in ["http", "h2"] {
            let stage = Stage::start(protocol, admin).await;
            let (mut http1, mut http2) = (stage.app.client().await, stage.app.h2_client().await);
            let mut grpc = GrpcClient::connect(stage.app.first_address(), "localhost").await;
            let names = stage.names();
            for name in &names {
                let entry = format!("/svc => {name}");
                let fields = format!("Host: localhost\r\nl5d-dtab: {entry}");
                let told = http1.ask(format!("POST /admin/shutdown HTTP/1.1\r\n{fields}\r\n\r\n")).await;
                assert_eq!(told.status(), 403, "{admin} {protocol} {name}: {told:?}");
                assert!(told.text().contains(REASON), "{name}: {told:?}");
                assert_eq!(told.field("l5d-retryable"), None);

                let request = Request::post("http://localhost/admin/shutdown").header("l5d-dtab", &entry);
                let told = http2.ask(request.body("").expect("it is one")).await;
                told.assert_status(403);
                assert!(told.text().contains(REASON), "{name}: {told:?}");

                let told = grpc.unary(Method::Echo, "hi", &[("l5d-dtab", &entry)]).await;
                let told = told.expect_err("it is refused");
                assert_eq!(told.code(), Code::PermissionDenied, "{name}: {told:?}");
                assert!(told.message().contains(REASON), "{name}: {told:?}");
            }
            let faults = ["caller_faults", "router_faults", "upstream_faults"];
            let counted = faults.map(|fault| stage.app.total(fault, &[]));
            assert_eq!(counted, [3 * names.len() as u64, 0, 0]);
            stage.end().await;
        }
    }
}

#[tokio::test(flavor = "local")]
async fn other_ports_of_the_machine_are_dialled() {
    let (service, server) = (Service::saying("hi").await, GrpcServer::start().await);
    for admin in admin_addresses() {
        let stage = Stage::start("http", admin).await;
        let mut client = stage.app.client().await;
        let before = service.connections();
        for _ in 0..3 {
            let answer = client.get("web", &format!("l5d-dtab: /svc => {}\r\n", service.path())).await;
            assert_eq!(answer.text(), "hi");
        }
        assert_eq!(service.connections() - before, 1);
        stage.end().await;

        let stage = Stage::start("h2", admin).await;
        let mut client = GrpcClient::connect(stage.app.first_address(), "web").await;
        for _ in 0..3 {
            let entry = format!("/svc => {}", server.path());
            client.unary(Method::Echo, "hi", &[("l5d-dtab", &entry)]).await.expect("it answers");
        }
        stage.end().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_stranger_is_told_no_address() {
    let names = Names::new();
    let yaml = speaking("http", "/svc/* => /#/io.l5d.fs/admin", ", trust: nobody") + &names.namer();
    let app = TestApp::start(&yaml).await;
    names.write("admin", &[app.running().admin()]);
    let told = app.client().await.get("localhost", "").await;
    assert_eq!((told.status(), told.text()), (403, "the request may not be carried to its destination\n"));
    assert!(told.field_names().iter().all(|name| !name.starts_with("l5d-")), "{told:?}");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_loop_ends_and_its_end_says_so() {
    const REASON: &str = "Maximum number of calls (100) has been exceeded. Please check for proxy loops: Via names \
                          101 proxies, 101 of them signpost.";
    for protocol in ["http", "h2"] {
        let app = TestApp::start(&speaking(protocol, "", ", trust: everybody")).await;
        let entry = format!("/svc => /$/inet/127.0.0.1/{}", app.first_address().port());
        let told = app.client().await.get("web", &format!("l5d-dtab: {entry}\r\n")).await;
        assert!(told.status() == 400 && told.text().starts_with(REASON), "{told:?}");
        let told = app.h2_client().await.get("web", &[("l5d-dtab", &entry)]).await;
        assert!(told.status() == 400 && told.text().starts_with(REASON), "{told:?}");
        // Over HTTP/1, a call is any request from the second router on.
        if protocol == "h2" {
            let mut client = GrpcClient::connect(app.first_address(), "web").await;
            let told = client.unary(Method::Echo, "hi", &[("l5d-dtab", &entry)]).await;
            let told = told.expect_err("it is refused");
            assert!(told.code() == Code::InvalidArgument && told.message().starts_with(REASON), "{told:?}");
        }
        let callers = if protocol == "h2" { 3 } else { 2 };
        assert_eq!(app.total("requests", &[]), callers * 102);
        app.stop().await;
    }
}
