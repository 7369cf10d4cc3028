//! Listeners with TLS: protocols, certificates by name, callers with certificates, strangers, and files that change.

use crate::support::http2::H2Client;
use crate::support::tls::{Authority, FrontOptions, TlsFiles, TlsFront, run_program};
use crate::support::{
    Service, TestApp, Upstream, Wire, ok, one_router, soon, time_flies, until, with_servers,
};

const NAME: &str = "edge.test";

/// A listener with one certificate, its authority, and a folder with both.
struct Scene {
    files: TlsFiles,
    authority: Authority,
}

impl Scene {
    fn new() -> Self {
        let (files, authority) = (TlsFiles::new(), Authority::new("authority"));
        files.write("ca.pem", authority.pem());
        files.write_pair("edge", &authority.issue(&[NAME]));
        Self { files, authority }
    }

    /// The configuration of a router to `path` whose one server has TLS and these further keys.
    fn yaml(&self, path: &str, keys: &str) -> String {
        let tls = format!(", tls: {{{}}}{keys}", self.files.keys("edge"));
        one_router(&format!("/svc/* => {path}"), &tls)
    }

    async fn front(&self, app: &TestApp, options: FrontOptions<'_>) -> TlsFront {
        let name = if options.name.is_empty() { NAME } else { options.name };
        TlsFront::start(app.first_address(), &self.authority, FrontOptions { name, ..options }).await
    }
}

#[tokio::test(flavor = "local")]
async fn requests_pass_over_both_versions_with_long_bodies() {
    let scene = Scene::new();
    let service = Service::start(async |request| {
        let length = request.body.len();
        ok(&format!("{length} {}", "y".repeat(300_000)))
    })
    .await;
    let app = TestApp::start(&scene.yaml(&service.path(), ", addForwardedHeader: {}, trust: nobody")).await;
    for is_old in [false, true] {
        let front = scene.front(&app, FrontOptions { is_old, ..FrontOptions::default() }).await;
        let mut client = Wire::connect(front.address()).await;
        for _ in 0..3 {
            let body = "x".repeat(200_000);
            let request =
                format!("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let response = client.ask(request).await;
            assert_eq!(response.text(), format!("200000 {}", "y".repeat(300_000)));
        }
        client.writer.finish().await;
        client.assert_ended().await;
        assert_eq!(front.take_errors(), [""; 0], "both sides say that they end");
        let seen = service.take_requests();
        let seen = seen.first().expect("they came");
        assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
        assert!(seen.field("forwarded").is_some_and(|value| value.ends_with(";proto=https")), "{seen:?}");
    }
    assert_eq!(app.total("tls_handshakes", &[]), 2);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn alpn_decides_the_protocol_or_else_the_first_bytes() {
    let scene = Scene::new();
    let service = Service::saying("hi").await;
    for protocol in ["http", "h2"] {
        let yaml = scene.yaml(&service.path(), "");
        // What endpoints speak makes no difference to callers.
        let yaml = yaml.replace("protocol: http", &format!("protocol: {protocol}"));
        let app = TestApp::start(&yaml).await;
        for (alpn, agreed, is_http2) in [
            (&["h2", "http/1.1"][..], Some("h2"), true),
            (&["http/1.1", "h2"], Some("h2"), true),
            (&["http/1.1"], Some("http/1.1"), false),
            (&[], None, true),
            (&[], None, false),
        ] {
            let front = scene.front(&app, FrontOptions { alpn, ..FrontOptions::default() }).await;
            let status = if is_http2 {
                H2Client::connect(front.address()).await.get("web", &[]).await.status()
            } else {
                Wire::connect(front.address()).await.get("web", "").await.status()
            };
            // The endpoint of an `h2` router would have to speak HTTP/2.
            assert_eq!(status, if protocol == "http" { 200 } else { 502 }, "{alpn:?}");
            assert_eq!(front.take_alpn(), [agreed.map(str::to_owned)], "{alpn:?}");
        }
        let front = scene.front(&app, FrontOptions { alpn: &["spdy/3"], ..FrontOptions::default() }).await;
        Wire::connect(front.address()).await.assert_gone().await;
        let errors = front.take_errors();
        assert!(
            errors.iter().all(|error| error.contains("NoApplicationProtocol")) && !errors.is_empty(),
            "{errors:?}"
        );
        app.stop().await;
    }
}

#[tokio::test(flavor = "local")]
async fn a_host_has_its_certificate_and_its_connection() {
    let scene = Scene::new();
    let files = &scene.files;
    let [a, b, wild, admin] = [
        scene.authority.issue(&["a.test"]),
        scene.authority.issue(&["b.test"]),
        scene.authority.issue(&["*.shop.example"]),
        scene.authority.issue(&["admin.shop.example"]),
    ];
    for (name, pair) in [("a", &a), ("b", &b), ("wild", &wild), ("admin", &admin)] {
        files.write_pair(name, pair);
    }
    let ca = files.text("ca.pem");
    let tls = format!(
        ", tls: {{certificates: [{{{}}}, {{{}}}, {{{}}}, {{{}, caCertPath: '{ca}', requireClientAuth: true}}]}}",
        files.keys("a"),
        files.keys("b"),
        files.keys("wild"),
        files.keys("admin"),
    );
    let service = Service::saying("hi").await;
    let app = TestApp::start(&one_router(&format!("/svc/* => {}", service.path()), &tls)).await;
    for (name, pair, hosts) in [
        ("a.test", &a, [("a.test", 200), ("A.TEST:443", 200), ("b.test", 421), ("other.test", 200)]),
        ("b.test", &b, [("b.test", 200), ("a.test", 421), ("x.shop.example", 421), ("other.test", 421)]),
        (
            "x.shop.example",
            &wild,
            [("x.shop.example", 200), ("y.shop.example", 200), ("admin.shop.example", 421), ("b.test", 421)],
        ),
    ] {
        for alpn in [&["h2"][..], &["http/1.1"]] {
            let front = scene.front(&app, FrontOptions { name, alpn, ..FrontOptions::default() }).await;
            for (host, status) in hosts {
                let answered = if alpn == ["h2"] {
                    H2Client::connect(front.address()).await.get(host, &[]).await.status()
                } else {
                    Wire::connect(front.address()).await.get(host, "").await.status()
                };
                assert_eq!(answered, status, "{host} on a connection for {name}");
            }
            assert!(front.was_shown(pair), "{name}");
        }
    }
    // Its callers need a certificate.
    let front =
        scene.front(&app, FrontOptions { name: "admin.shop.example", ..FrontOptions::default() }).await;
    Wire::connect(front.address())
        .await
        .writer
        .try_send("GET / HTTP/1.1\r\nHost: admin.shop.example\r\n\r\n")
        .await;
    until("the connection ends", async || {
        app.total("tls_handshake_failures", &[]) == 1 && !front.take_errors().is_empty()
    })
    .await;
    let own = Some(scene.authority.issue(&["caller.test"]));
    let front = scene
        .front(&app, FrontOptions { name: "admin.shop.example", pair: own, ..FrontOptions::default() })
        .await;
    Wire::connect(front.address()).await.get("admin.shop.example", "").await.assert_status(200);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn callers_are_trusted_by_their_certificates() {
    let scene = Scene::new();
    let (world, v2) = (Service::saying("world").await, Service::saying("v2").await);
    let dtab = format!("/v2 => {} ; /svc/* => {}", v2.path(), world.path());
    let ca = scene.files.text("ca.pem");
    let server = |required: bool, rules: &str| {
        let keys = scene.files.keys("edge");
        format!(", tls: {{{keys}, caCertPath: '{ca}', requireClientAuth: {required}}}, {rules}")
    };
    let edge = "trust: {identities: ['spiffe://mesh.test/ns/*/sa/edge']}";
    let inject = "trust: nobody, inject: [{when: {identities: ['*.dog.test']}, dtab: '/svc/* => /v2'}]";
    let app = TestApp::start(&with_servers(
        &dtab,
        &[&server(false, edge), &server(true, edge), &server(false, inject)],
    ))
    .await;
    let [listed, other] = [
        scene.authority.issue(&["spiffe://mesh.test/ns/shop/sa/edge", "rex.dog.test"]),
        scene.authority.issue(&["spiffe://mesh.test/ns/shop/sa/web"]),
    ];
    let stranger = Authority::new("another").issue(&["spiffe://mesh.test/ns/shop/sa/edge"]);
    for (server, pair, answer) in [
        (0, None, Some("world")),
        (0, Some(&listed), Some("v2")),
        (0, Some(&other), Some("world")),
        (0, Some(&stranger), None),
        (1, None, None),
        (1, Some(&listed), Some("v2")),
        (1, Some(&stranger), None),
        (2, None, Some("world")),
        (2, Some(&other), Some("world")),
        (2, Some(&listed), Some("v2")),
    ] {
        for is_old in [false, true] {
            let options = FrontOptions { name: NAME, pair: pair.cloned(), is_old, ..FrontOptions::default() };
            let front = TlsFront::start(app.address("http", server), &scene.authority, options).await;
            let mut client = Wire::connect(front.address()).await;
            client.writer.try_send("GET / HTTP/1.1\r\nHost: web\r\nl5d-dtab: /svc/* => /v2\r\n\r\n").await;
            match answer {
                // The overrides of `inject` come from the rule alone.
                Some(answer) => assert_eq!(client.response().await.text(), answer, "{server} {is_old}"),
                None => client.assert_gone().await,
            }
        }
    }
    // A session that is taken up again has the identity of its first handshake.
    let options = FrontOptions { name: NAME, pair: Some(listed), ..FrontOptions::default() };
    let front = TlsFront::start(app.address("http", 0), &scene.authority, options).await;
    for _ in 0..3 {
        let mut client = Wire::connect(front.address()).await;
        assert_eq!(client.get("web", "l5d-dtab: /svc/* => /v2\r\n").await.text(), "v2");
    }
    assert_eq!(front.handshakes(), (3, 2));
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn strangers_cost_what_silent_connections_cost() {
    let scene = Scene::new();
    let upstream = Upstream::start().await;
    let app =
        TestApp::start_here(&scene.yaml(&upstream.path(), ", headersTimeoutMs: 3000, maxConnections: 2"))
            .await;
    // One that speaks without TLS can read why it is not served.
    let mut plain = app.client().await;
    let response = plain.get("web", "").await;
    assert_eq!(
        (response.status(), response.text()),
        (400, "this port speaks TLS: ask with https, not http\n")
    );
    plain.assert_ended().await;
    // One that is silent, one that stops in the middle, one that goes on and on, and one that sends noise.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for begin in [&b""[..], hello, b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03"] {
        let mut stranger = app.client().await;
        stranger.writer.try_send(begin).await;
        let ((), passed) = time_flies(stranger.assert_gone()).await;
        assert!((2..=4).contains(&passed.as_secs()), "{passed:?} for {begin:?}");
    }
    for noise in [
        &b"\x16\x03\x01\xff\xff"[..],
        b"\x16\x03\x03\x00\x04\x01\x00\x00\x00",
        b"\x16\x16\x16\x16\x16\x16\x16",
    ] {
        let mut stranger = app.client().await;
        stranger.writer.try_send(noise).await;
        let _ = stranger.reader.bytes_or_end(1000).await;
    }
    until("all failures are counted", async || {
        tokio::task::yield_now().await;
        app.total("tls_handshake_failures", &[]) == 7
    })
    .await;
    // They give way to a caller, as silent connections do.
    let (_first, _second) = (app.client().await, app.client().await);
    soon(async || app.total("open_connections", &[]) == 2).await;
    let front = scene.front(&app, FrontOptions::default()).await;
    let mut client = Wire::connect(front.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send(ok("hi")).await;
    assert_eq!(client.response().await.text(), "hi");
    drop(client);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_caller_beyond_the_limit_is_told_by_an_alert() {
    let scene = Scene::new();
    let upstream = Upstream::start().await;
    let app = TestApp::start(&scene.yaml(&upstream.path(), ", maxConnections: 1")).await;
    let front = scene.front(&app, FrontOptions::default()).await;
    let mut served = Wire::connect(front.address()).await;
    served.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    Wire::connect(front.address()).await.assert_gone().await;
    assert_eq!(front.take_errors(), ["received fatal alert: InternalError"]);
    assert_eq!(app.total("refused_connections", &[]), 1);
    conn.send(ok("hi")).await;
    assert_eq!(served.response().await.text(), "hi");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_certificate_changes_under_load_and_nothing_is_lost() {
    let scene = Scene::new();
    let service = Service::saying("hi").await;
    let app = TestApp::start(&scene.yaml(&service.path(), "")).await;
    let front = scene.front(&app, FrontOptions::default()).await;
    let mut kept = Wire::connect(front.address()).await;
    let (mut served, mut changes) = (0, 0);
    let mut pair = scene.authority.issue(&[NAME]);
    let mut before = pair.clone();
    while changes < 3 {
        // A connection for each request, and one that is kept through all changes.
        assert_eq!(Wire::connect(front.address()).await.get("web", "").await.text(), "hi");
        assert_eq!(kept.get("web", "").await.text(), "hi");
        served += 2;
        if served % 20 == 4 {
            scene.files.write_pair("edge", &pair);
            before = pair;
            pair = scene.authority.issue(&[NAME]);
        }
        // The next file is written once this one is in use.
        changes += usize::from(front.was_shown(&before));
        if front.was_shown(&before) && changes < 3 {
            scene.files.write_pair("edge", &pair);
            before = std::mem::replace(&mut pair, scene.authority.issue(&[NAME]));
        }
    }
    assert_eq!(front.take_errors(), [""; 0]);
    until("all are counted", async || {
        tokio::task::yield_now().await;
        app.total("success", &[]) == served
    })
    .await;
    drop(kept);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_bad_file_leaves_the_last_good_pair_in_use() {
    let scene = Scene::new();
    let service = Service::saying("hi").await;
    let app = TestApp::start(&scene.yaml(&service.path(), "")).await;
    let rejected = || app.total("tls_files_rejected", &[]);
    let ends = app.total("tls_certificate_not_after_seconds", &[("file", &scene.files.text("edge.pem"))]);
    assert!(ends > 4_000_000_000, "rcgen's certificates end in the year 4096: {ends}");
    let good = std::fs::read_to_string(scene.files.path("edge.pem")).unwrap();
    let next = scene.authority.issue(&[NAME]);
    // Its key is still the old one.
    scene.files.write("edge.pem", &next.cert);
    until("it is rejected", async || {
        let front = scene.front(&app, FrontOptions::default()).await;
        Wire::connect(front.address()).await.get("web", "").await.assert_status(200);
        rejected() == 1
    })
    .await;
    scene.files.write("edge.key", &next.key);
    let front = scene.front(&app, FrontOptions::default()).await;
    until("both are in use", async || {
        Wire::connect(front.address()).await.get("web", "").await.assert_status(200);
        front.was_shown(&next) && rejected() == 0
    })
    .await;
    assert_ne!(good, next.cert);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_tunnel_passes_through() {
    let scene = Scene::new();
    let upstream = Upstream::start().await;
    let app = TestApp::start(&scene.yaml(&upstream.path(), "")).await;
    let front = scene.front(&app, FrontOptions { alpn: &["http/1.1"], ..FrontOptions::default() }).await;
    let mut client = Wire::connect(front.address()).await;
    client.send("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
        .await;
    client.head().await.assert_status(101);
    client.expect("first").await;
    for size in [1, 100, 20_000, 300_000] {
        let bytes = vec![7; size];
        let (_, ()) = tokio::join!(client.writer.send(&bytes), async {
            assert_eq!(conn.reader.bytes(size).await, bytes);
        });
        let (_, ()) = tokio::join!(conn.writer.send(&bytes), async {
            assert_eq!(client.reader.bytes(size).await, bytes);
        });
    }
    client.writer.finish().await;
    assert_eq!(conn.reader.rest().await, b"", "the end of one side is passed on");
    conn.send("still here").await;
    client.expect("still here").await;
    drop(conn);
    client.assert_ended().await;
    assert_eq!(front.take_errors(), [""; 0]);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_response_that_breaks_off_has_no_orderly_end() {
    let scene = Scene::new();
    let upstream = Upstream::start().await;
    let app = TestApp::start(&scene.yaml(&upstream.path(), "")).await;
    let front = scene.front(&app, FrontOptions::default()).await;
    let mut client = Wire::connect(front.address()).await;
    // A caller of HTTP/1.0 reads to the end, and has nothing but that end.
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    client.head().await.assert_status(200);
    client.expect("half").await;
    drop(conn);
    until("the connection breaks", async || !front.take_errors().is_empty()).await;
    let mut client = Wire::connect(front.address()).await;
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let mut conn = upstream.accept().await;
    conn.request().await;
    conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n").await;
    client.head().await.assert_status(200);
    assert_eq!(client.reader.rest().await, b"whole");
    assert_eq!(front.take_errors(), [""; 0]);
    app.stop().await;
}

#[tokio::test(flavor = "local")]
#[ignore = "it needs curl and OpenSSL: tests/run tls"]
async fn curl_and_openssl_are_served() {
    let scene = Scene::new();
    let service = Service::saying("hi").await;
    let app = TestApp::start(&scene.yaml(&service.path(), "")).await;
    let (ca, port) = (scene.files.text("ca.pem"), app.first_address().port());
    let resolve = format!("{NAME}:{port}:127.0.0.1");
    let url = format!("https://{NAME}:{port}/");
    for (version, expected) in [("--http1.1", "hi 1.1"), ("--http2", "hi 2")] {
        for tls in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            let mut arguments =
                vec!["-sS", "--cacert", &ca, "--resolve", &resolve, version, "-w", " %{http_version}", &url];
            arguments.extend(tls);
            let (succeeded, text) = run_program("curl", &arguments).await;
            assert!(succeeded && text == expected, "{arguments:?}: {text}");
        }
    }
    let address = format!("127.0.0.1:{port}");
    for (option, is_spoken) in [("-tls1_3", true), ("-tls1_2", true), ("-tls1_1", false), ("-tls1", false)] {
        let arguments = [
            "s_client",
            "-connect",
            &address,
            "-servername",
            NAME,
            "-CAfile",
            &ca,
            "-verify_return_error",
            option,
        ];
        let (succeeded, text) = run_program("openssl", &arguments).await;
        assert_eq!(succeeded && text.contains("Verify return code: 0 (ok)"), is_spoken, "{option}: {text}");
    }
    let weak = [
        "s_client",
        "-connect",
        &address,
        "-tls1_2",
        "-cipher",
        "AES128-SHA:ECDHE-RSA-AES128-SHA:@SECLEVEL=0",
    ];
    assert!(!run_program("openssl", &weak).await.0, "weak cipher suites are not spoken");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn the_admin_server_has_its_certificate() {
    let scene = Scene::new();
    let admin = format!("admin: {{port: 0, tls: {{{}}}}}", scene.files.keys("edge"));
    let yaml = one_router("/svc => /$/nil", "").replace("admin: {port: 0}", &admin);
    let app = TestApp::start(&yaml).await;
    let options = FrontOptions { name: NAME, ..FrontOptions::default() };
    let front = TlsFront::start(app.running().admin(), &scene.authority, options).await;
    let answer = Wire::connect(front.address()).await.get("localhost", "").await;
    answer.assert_status(200);
    Wire::connect(app.running().admin())
        .await
        .writer
        .try_send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let ping = "GET /admin/ping HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(Wire::connect(front.address()).await.ask(ping).await.text(), "pong");
    app.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_listener_gets_and_loses_tls_by_a_reload() {
    let scene = Scene::new();
    let service = Service::saying("hi").await;
    let (secure, plain) =
        (scene.yaml(&service.path(), ""), one_router(&format!("/svc/* => {}", service.path()), ""));
    let mut app = TestApp::start(&plain).await;
    app.client().await.get("web", "").await.assert_status(200);
    assert_eq!(app.reload(&secure).await, [""; 0]);
    let front = scene.front(&app, FrontOptions::default()).await;
    until("it has TLS", async || {
        let mut client = Wire::connect(front.address()).await;
        client.writer.try_send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").await;
        client.reader.next_head().await.is_some_and(|head| head.status() == 200)
    })
    .await;
    let missing = secure.replace("edge.key", "nothing.key");
    let error = app.try_reload(&missing).await.expect_err("the file is not there");
    assert!(error.contains("nothing.key: cannot be read"), "{error}");
    assert_eq!(app.reload(&plain).await, [""; 0]);
    until("it has none", async || app.client().await.get("web", "").await.status() == 200).await;
    app.stop().await;
}
