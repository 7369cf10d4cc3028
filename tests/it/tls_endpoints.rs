//! TLS to endpoints: the name that is verified, the authorities, the certificate that is shown, and what is spoken.

use crate::support::http2::{H2Client, H2Service};
use crate::support::tls::{Authority, FrontOptions, TlsBack, TlsFiles, TlsFront};
use crate::support::{Service, TestApp, Upstream, Wire, ok, one_router, speaking, until};
use tokio::io::AsyncWriteExt as _;

const NAME: &str = "world.test";

/// A folder with an authority, and a service that it has certified.
struct Scene {
    files: TlsFiles,
    authority: Authority,
    service: Service,
}

impl Scene {
    async fn new() -> Self {
        let (files, authority) = (TlsFiles::new(), Authority::new("authority"));
        files.write("ca.pem", authority.pem());
        let service = Service::saying("hi").await;
        Self { files, authority, service }
    }

    /// Encrypts the service, with a certificate for the name.
    async fn back(&self, name: &str) -> TlsBack {
        TlsBack::start(self.service.address(), &self.authority.issue(&[name]), None, &[]).await
    }

    fn trust(&self) -> String {
        format!("trustCertsBundle: '{}'", self.files.text("ca.pem"))
    }
}

/// The configuration of a router to an endpoint with these keys of `client.tls`.
fn yaml(path: &str, tls: &str) -> String {
    let yaml = one_router(&format!("/svc/* => {path}"), "");
    yaml.replace("  servers:\n", &format!("  client: {{tls: {{{tls}}}}}\n  servers:\n"))
}

/// Asks a router for an answer; returns its status and its text.
async fn answer(yaml: &str) -> (u16, String) {
    let app = TestApp::start(yaml).await;
    let answer = app.client().await.get("web", "").await;
    let said = (answer.status(), answer.text().trim_end().to_owned());
    app.stop().await;
    said
}

#[tokio::test(flavor = "local")]
async fn an_endpoint_is_verified_by_its_name_and_its_authority() {
    let scene = Scene::new().await;
    let other = Authority::new("other");
    scene.files.write("other.pem", other.pem());
    let old_style = scene.authority.issue_common_name(NAME);
    let own = other.issue(&[NAME]);
    let (good, trust) = (scene.back(NAME).await, scene.trust());
    let old = TlsBack::start(scene.service.address(), &old_style, None, &["http/1.1"]).await;
    let foreign = TlsBack::start(scene.service.address(), &own, None, &[]).await;
    let list = format!("trustCerts: ['{}', '{}']", scene.files.text("ca.pem"), scene.files.text("other.pem"));
    let hi = (200, "hi".to_owned());
    for (path, tls) in [
        (good.path(), format!("commonName: {NAME}, {trust}")),
        (good.path(), format!("commonName: World.TEST, {trust}, protocols: [TLSv1.2]")),
        (good.path(), "disableValidation: true".to_owned()),
        (good.path(), "disableValidation: true, commonName: another.test".to_owned()),
        // Linkerd's name for the key is older than alternative names.
        (old.path(), format!("commonName: {NAME}, {trust}")),
        (foreign.path(), format!("commonName: {NAME}, {list}")),
        (scene.service.path(), "enabled: false".to_owned()),
    ] {
        assert_eq!(answer(&yaml(&path, &tls)).await, hi, "{tls}");
    }
    let names: Vec<_> = good.take_names();
    assert_eq!(
        names,
        [Some(NAME), Some(NAME), None, Some("another.test")].map(|name| name.map(str::to_owned))
    );
    let plain = Upstream::start().await;
    let path = plain.path();
    let answering = tokio::task::spawn_local(async move {
        while let Ok(mut stream) = plain.next_stream().await {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("it is read");
        }
    });
    for (path, tls, reason) in [
        (good.path(), format!("commonName: another.test, {trust}"), "not valid for name \"another.test\""),
        (old.path(), format!("commonName: another.test, {trust}"), "TLS: invalid peer certificate"),
        (
            foreign.path(),
            format!("commonName: {NAME}, {trust}"),
            "TLS: invalid peer certificate: UnknownIssuer",
        ),
        (
            good.path(),
            format!("commonName: 'not a name', {trust}"),
            "TLS: `not a name` is not the name of a host",
        ),
        // It speaks no TLS at all.
        (path, format!("commonName: {NAME}, {trust}"), "TLS: received corrupt message"),
    ] {
        let (status, text) = answer(&yaml(&path, &tls)).await;
        assert_eq!(status, 502, "{tls}");
        let expected = format!(
            "Unable to establish connection to {}: ",
            path.trim_start_matches("/$/inet/").replace('/', ":")
        );
        assert!(text.starts_with(&expected) && text.contains(reason), "{tls}: {text}");
    }
    answering.abort();
}

#[tokio::test(flavor = "local")]
async fn a_failed_handshake_shuts_an_endpoint_and_names_nothing_to_strangers() {
    let scene = Scene::new().await;
    let back = scene.back("another.test").await;
    let yaml = yaml(&back.path(), &format!("commonName: {NAME}, {}", scene.trust()));
    let yaml = yaml.replace("- {port: 0}\n", "- {port: 0, trust: nobody}\n");
    let app = TestApp::start_workers(&yaml, 1).await;
    let mut client = app.client().await;
    for _ in 0..5 {
        let answer = client.get("web", "").await;
        answer.assert_status(502);
        assert_eq!(answer.text(), "the request could not be carried to its destination\n");
    }
    until("accrual has shut it", async || {
        client.get("web", "").await.assert_status(502);
        app.total("client_accrual_removals", &[]) == 1
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn wrong_settings_of_one_router_do_not_shut_the_endpoints_of_another() {
    let scene = Scene::new().await;
    let back = scene.back(NAME).await;
    let router = |label: &str, name: &str| {
        format!(
            "- protocol: http\n  label: {label}\n  dtab: '/svc/* => {}'\n  client: {{tls: {{commonName: {name}, {}}}}}\n  \
             servers: [{{port: 0}}]\n",
            back.path(),
            scene.trust()
        )
    };
    let yaml = |name: &str| {
        format!("admin: {{port: 0}}\nrouters:\n{}{}", router("wrong", name), router("right", NAME))
    };
    let mut app = TestApp::start_workers(&yaml("another.test"), 1).await;
    let (mut wrong, mut right) = (app.client_of("wrong", 0).await, app.client_of("right", 0).await);
    let count = |name: &str, router: &str| app.total(name, &[("router", router)]);
    assert_eq!(right.get("web", "").await.text(), "hi");
    until("accrual has shut it", async || {
        wrong.get("web", "").await.assert_status(502);
        count("client_accrual_removals", "wrong") == 1
    })
    .await;
    assert_eq!(right.get("web", "").await.text(), "hi");
    assert_eq!(count("client_accrual_removals", "right"), 0);
    assert_eq!(
        (count("client_endpoints_available", "wrong"), count("client_endpoints_available", "right")),
        (0, 1)
    );
    // Once they are right, the endpoint is as the other router knows it: there is no pause to wait for.
    assert_eq!(app.reload(&yaml(NAME)).await, [""; 0]);
    until("it is reached", async || wrong.get("web", "").await.status() == 200).await;
    assert_eq!(app.total("client_endpoints_available", &[("router", "wrong")]), 1);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_name_has_what_the_prefix_captures() {
    let scene = Scene::new().await;
    let back = scene.back("world.mesh.test").await;
    let (ip, port) = back
        .path()
        .trim_start_matches("/$/inet/")
        .split_once('/')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let names = crate::support::Names::new();
    let address = format!("{ip}:{port}").parse().unwrap();
    names.write("world", &[address]);
    names.write("hello", &[address]);
    let clients = format!(
        "  client:\n    kind: io.l5d.static\n    configs:\n    - prefix: '/#/io.l5d.fs/{{service}}'\n      tls: {{commonName: '{{service}}.mesh.test', {}}}\n    \
         - {{prefix: /#/io.l5d.fs/plain, tls: {{enabled: false}}}}\n",
        scene.trust()
    );
    names.write("plain", &[scene.service.address()]);
    let yaml = names.namer()
        + &one_router("/svc => /#/io.l5d.fs", "").replace("  servers:\n", &format!("{clients}  servers:\n"));
    let app = TestApp::start(&yaml).await;
    let mut client = app.client().await;
    assert_eq!(client.get("world", "").await.text(), "hi");
    assert_eq!(client.get("plain", "").await.text(), "hi");
    let answer = client.get("hello", "").await;
    answer.assert_status(502);
    assert!(answer.text().contains("not valid for name \"hello.mesh.test\""), "{}", answer.text());
    assert_eq!(back.take_names().first(), Some(&Some("world.mesh.test".to_owned())));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_router_shows_its_certificate_to_endpoints_and_tells_them_that_of_the_caller() {
    let scene = Scene::new().await;
    let own = scene.authority.issue(&["router.test"]);
    scene.files.write_pair("own", &own);
    scene.files.write_pair("edge", &scene.authority.issue(&["edge.test"]));
    let back =
        TlsBack::start(scene.service.address(), &scene.authority.issue(&[NAME]), Some(&scene.authority), &[])
            .await;
    let tls = format!("commonName: {NAME}, {}", scene.trust());
    let (status, text) = answer(&yaml(&back.path(), &tls)).await;
    assert_eq!(status, 502, "{text}");
    let tls = format!("{tls}, clientAuth: {{{}}}", scene.files.keys("own"));
    assert_eq!(answer(&yaml(&back.path(), &tls)).await, (200, "hi".to_owned()));
    // The caller's own certificate is told by a field, which it cannot write itself.
    let server = format!(
        ", trust: nobody, tls: {{{}, caCertPath: '{}'}}",
        scene.files.keys("edge"),
        scene.files.text("ca.pem")
    );
    let caller = scene.authority.issue(&["caller.test", "spiffe://mesh.test/caller"]);
    for (is_told, server) in
        [(false, server.clone()), (true, server.clone()), (true, server.replace("nobody", "everybody"))]
    {
        let client = format!("  client: {{forwardClientCert: {is_told}}}\n  servers:\n");
        let yaml = one_router(&format!("/svc/* => {}", scene.service.path()), &server)
            .replace("  servers:\n", &client);
        let app = TestApp::start(&yaml).await;
        for (pair, expected) in [
            (None, None),
            (
                Some(caller.clone()),
                Some(";SAN=spiffe://mesh.test/caller;DNS=caller.test;Subject=\"CN=caller.test\""),
            ),
        ] {
            let options = FrontOptions { name: "edge.test", pair, ..FrontOptions::default() };
            let front = TlsFront::start(app.first_address(), &scene.authority, options).await;
            scene.service.take_requests();
            let claims = "X-Forwarded-Client-Cert: Hash=0\r\nx_forwarded_client_cert: Hash=1\r\n";
            Wire::connect(front.address()).await.get("web", claims).await.assert_status(200);
            let request = scene.service.take_requests().remove(0);
            let told = request.field("x-forwarded-client-cert");
            assert_eq!(request.field("x_forwarded_client_cert"), None);
            match expected.filter(|_| is_told) {
                None => assert_eq!(told, None),
                Some(end) => {
                    let hash = told.and_then(|told| told.strip_prefix("Hash=")?.strip_suffix(end));
                    assert_eq!(hash.map(str::len), Some(64), "{told:?}");
                }
            }
        }
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn an_h2_router_speaks_http2_with_endpoints_that_offer_it() {
    let scene = Scene::new().await;
    let endpoint = H2Service::saying("hi").await;
    let pair = scene.authority.issue(&[NAME]);
    let (both, neither) = (
        TlsBack::start(endpoint.address(), &pair, None, &["h2", "http/1.1"]).await,
        TlsBack::start(scene.service.address(), &pair, None, &[]).await,
    );
    for (path, expected) in [(both.path(), 200), (neither.path(), 502)] {
        let client = format!("  client: {{tls: {{commonName: {NAME}, {}}}}}\n  servers:\n", scene.trust());
        let yaml = speaking("h2", &format!("/svc/* => {path}"), "").replace("  servers:\n", &client);
        let app = TestApp::start(&yaml).await;
        let mut client = H2Client::connect(app.first_address()).await;
        for _ in 0..3 {
            let answer = client.get("web", &[]).await;
            answer.assert_status(expected);
            if expected == 502 {
                assert!(
                    answer.text().contains("the endpoint does not offer HTTP/2 (`h2` by ALPN)"),
                    "{}",
                    answer.text()
                );
            }
        }
        app.stop().await;
    }
    assert_eq!(both.handshakes(), 1, "one connection carries all");
    let heads = endpoint.take_heads();
    let schemes: Vec<_> = heads.iter().map(|head| head.uri().scheme_str()).collect();
    assert_eq!(schemes, [Some("https"); 3]);
}

#[tokio::test(flavor = "local")]
async fn connections_are_used_again_until_what_verified_them_changes() {
    let scene = Scene::new().await;
    let other = Authority::new("other");
    let back = scene.back(NAME).await;
    let bundle = yaml(&back.path(), &format!("commonName: {NAME}, {}", scene.trust()));
    let mut app = TestApp::start_workers(&bundle, 1).await;
    let mut client = app.client().await;
    for _ in 0..5 {
        assert_eq!(client.get("web", "").await.text(), "hi");
        // The kernel is asked before one that cannot be repeated: the tickets of TLS are no bytes that nobody asked for.
        let post = "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(client.ask(post).await.text(), "hi");
    }
    assert_eq!(back.handshakes(), 1);
    // Other rules: no connection that was verified by those before.
    assert_eq!(app.reload(&yaml(&back.path(), "disableValidation: true")).await, [""; 0]);
    until("a new connection is made", async || {
        assert_eq!(client.get("web", "").await.text(), "hi");
        back.handshakes() == 2
    })
    .await;
    assert_eq!(app.reload(&bundle).await, [""; 0]);
    until("a new connection is made", async || {
        assert_eq!(client.get("web", "").await.text(), "hi");
        back.handshakes() == 3
    })
    .await;
    // The same rules, and another authority in the file.
    scene.files.write("ca.pem", other.pem());
    until("its authority is believed no longer", async || client.get("web", "").await.status() == 502).await;
    scene.files.write("ca.pem", scene.authority.pem());
    until("it is believed again", async || client.get("web", "").await.status() == 200).await;
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_tunnel_and_long_bodies_pass_to_an_endpoint() {
    let scene = Scene::new().await;
    let upstream = Upstream::start().await;
    let back = TlsBack::start(upstream.address(), &scene.authority.issue(&[NAME]), None, &["http/1.1"]).await;
    let app = TestApp::start(&yaml(&back.path(), &format!("commonName: {NAME}, {}", scene.trust()))).await;
    let mut client = app.client().await;
    let body = "x".repeat(300_000);
    let request = format!("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (mut conn, ()) = tokio::join!(
        async {
            let mut conn = upstream.accept().await;
            assert_eq!(conn.request().await.body.len(), 300_000);
            conn.send(ok(&body)).await;
            conn
        },
        client.send(request)
    );
    assert_eq!(client.response().await.body.len(), 300_000);
    client.send("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    conn.request().await;
    conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
        .await;
    client.head().await.assert_status(101);
    client.expect("first").await;
    client.send("second").await;
    conn.expect("second").await;
    client.writer.finish().await;
    assert_eq!(conn.reader.rest().await, b"");
    conn.send("third").await;
    client.expect("third").await;
    drop(conn);
    client.assert_ended().await;
    assert_eq!(back.take_errors(), [""; 0]);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_response_without_a_length_is_whole_by_the_closing_message_alone() {
    let scene = Scene::new().await;
    let upstream = Upstream::start().await;
    let back = TlsBack::start(upstream.address(), &scene.authority.issue(&[NAME]), None, &[]).await;
    let app = TestApp::start(&yaml(&back.path(), &format!("commonName: {NAME}, {}", scene.trust()))).await;
    let mut client = app.client().await;
    client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhole").await;
    conn.writer.finish().await;
    assert_eq!(client.response().await.text(), "whole");
    app.stop().await;
}
