//! Peers that others wrote, on either side of the router: rustls as others use it, OpenSSL and Go. Each over both versions,
//! with a certificate of its own and without, with sessions that are taken up again, over HTTP/2 where it speaks that.
//!
//! The tests with OpenSSL and Go are run by `tests/run tls`, which builds the Go peer and says where it is.

use crate::support::http2::H2Client;
use crate::support::tls::{
    Authority, FrontOptions, TlsBack, TlsFiles, TlsFront, run_program, run_program_with,
};
use crate::support::{Service, Serving, TestApp, Wire, address, one_router, speaking};
use std::process::{Command, Stdio};

const NAME: &str = "edge.test";

/// What callers and endpoints are: certificates, and a service.
struct Scene {
    files: TlsFiles,
    authority: Authority,
    service: Service,
}

/// A way in which a peer speaks.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// TLS 1.2 instead of 1.3.
    is_old: bool,
    alpn: &'static str,
    /// Whether the caller shows a certificate, and the listener or the endpoint asks for it.
    is_mutual: bool,
}

impl Case {
    /// Returns all ways in which a peer with these protocols speaks.
    fn all(alpn: &[&'static str]) -> impl Iterator<Item = Self> {
        let both = [false, true];
        let cases = alpn.iter().flat_map(move |alpn| both.map(|is_old| (*alpn, is_old)));
        cases.flat_map(move |(alpn, is_old)| both.map(|is_mutual| Self { is_old, alpn, is_mutual }))
    }

    fn version(self) -> &'static str {
        if self.is_old { "1.2" } else { "1.3" }
    }

    /// Returns the option of OpenSSL for the version.
    fn option(self) -> &'static str {
        if self.is_old { "-tls1_2" } else { "-tls1_3" }
    }

    /// Returns how OpenSSL calls a session of this version.
    fn session(self, is_resumed: bool) -> String {
        format!("{}, TLSv{}, Cipher is ", if is_resumed { "Reused" } else { "New" }, self.version())
    }
}

/// Returns the program of `tests/tls/go-peer`.
fn go_peer() -> String {
    std::env::var("SIGNPOST_GO_PEER").expect("tests/run tls builds the Go peer, and says where it is")
}

impl Scene {
    async fn new() -> Self {
        let (files, authority) = (TlsFiles::new(), Authority::new("authority"));
        files.write("ca.pem", authority.pem());
        files.write_pair("edge", &authority.issue(&[NAME]));
        files.write_pair("peer", &authority.issue(&["peer.test"]));
        let response = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
        Self { files, authority, service: Service::start(async move |_| response.to_owned()).await }
    }

    /// Has a caller make three requests, each over a connection of its own, which it reports in three lines: whether the
    /// session was taken up again, and what was answered.
    async fn check_caller(
        &self,
        case: Case,
        ask: impl AsyncFn(&Self, &TestApp, Case) -> Vec<(bool, String)>,
    ) {
        let required = if case.is_mutual {
            format!(", caCertPath: '{}', requireClientAuth: true", self.files.text("ca.pem"))
        } else {
            String::new()
        };
        let tls = format!(", tls: {{{}{required}}}", self.files.keys("edge"));
        let yaml = one_router(&format!("/svc/* => {}", self.service.path()), &tls)
            .replace("  servers:\n", "  client: {forwardClientCert: true}\n  servers:\n");
        let app = TestApp::start(&yaml).await;
        self.service.take_requests();
        let seen = ask(self, &app, case).await;
        let hi = |is_resumed| (is_resumed, "hi".to_owned());
        assert_eq!(seen, [hi(false), hi(true), hi(true)], "{case:?}");
        let requests = self.service.take_requests();
        assert_eq!(requests.len(), 3, "{case:?}");
        for request in requests {
            // A session that is taken up again has the identity of its first handshake.
            let told = request.field("x-forwarded-client-cert");
            assert_eq!(told.is_some_and(|told| told.contains("CN=peer.test")), case.is_mutual, "{told:?}");
        }
        assert_eq!(app.total("tls_handshakes", &[]), 3, "{case:?}");
        assert_eq!(app.total("tls_handshake_failures", &[]), 0, "{case:?}");
        app.stop().await;
    }

    /// Returns the arguments of a peer for its certificate.
    fn own(&self, case: Case) -> Vec<String> {
        let paths =
            ["-cert".to_owned(), self.files.text("peer.pem"), "-key".to_owned(), self.files.text("peer.key")];
        if case.is_mutual { paths.into() } else { Vec::new() }
    }

    /// Makes three requests through a router to an endpoint; returns what is answered.
    async fn ask_endpoint(&self, path: &str, case: Case) -> Vec<String> {
        let own = if case.is_mutual {
            format!(", clientAuth: {{{}}}", self.files.keys("peer"))
        } else {
            String::new()
        };
        let tls = format!(
            "  client: {{tls: {{commonName: {NAME}, trustCertsBundle: '{}', protocols: [TLSv{}]{own}}}}}\n  servers:\n",
            self.files.text("ca.pem"),
            case.version()
        );
        let protocol = if case.alpn == "h2" { "h2" } else { "http" };
        let app = TestApp::start(
            &speaking(protocol, &format!("/svc/* => {path}"), "").replace("  servers:\n", &tls),
        )
        .await;
        let mut answers = Vec::new();
        for _ in 0..3 {
            let answer = match case.alpn {
                "h2" => H2Client::connect(app.first_address()).await.get("web", &[]).await.text().to_owned(),
                _ => app.client().await.get("web", "").await.text().to_owned(),
            };
            answers.push(answer);
        }
        app.stop().await;
        answers
    }
}

async fn ask_by_rustls(scene: &Scene, app: &TestApp, case: Case) -> Vec<(bool, String)> {
    let pair = case.is_mutual.then(|| scene.authority.issue(&["peer.test"]));
    let options =
        FrontOptions { name: NAME, alpn: &[case.alpn], pair, is_old: case.is_old, ..FrontOptions::default() };
    let front = TlsFront::start(app.first_address(), &scene.authority, options).await;
    let (mut seen, mut resumed) = (Vec::new(), 0);
    for _ in 0..3 {
        let answer = match case.alpn {
            "h2" => H2Client::connect(front.address()).await.get("web", &[]).await.text().to_owned(),
            _ => Wire::connect(front.address()).await.get("web", "").await.text().to_owned(),
        };
        seen.push((front.handshakes().1 > resumed, answer));
        resumed = front.handshakes().1;
    }
    assert_eq!(front.take_alpn(), vec![Some(case.alpn.to_owned()); 3]);
    seen
}

#[tokio::test(flavor = "local")]
async fn rustls_calls() {
    let scene = Scene::new().await;
    for case in Case::all(&["h2", "http/1.1"]) {
        scene.check_caller(case, ask_by_rustls).await;
    }
}

async fn ask_by_openssl(scene: &Scene, app: &TestApp, case: Case) -> Vec<(bool, String)> {
    let (address, ca) = (app.first_address().to_string(), scene.files.text("ca.pem"));
    let (session, own) = (scene.files.text("session"), scene.own(case));
    let mut seen = Vec::new();
    for at in 0..3 {
        let mut arguments = vec!["s_client", "-connect", &address, "-servername", NAME, "-CAfile", &ca];
        arguments.extend(["-verify_return_error", "-ign_eof", case.option(), "-alpn", case.alpn]);
        arguments.extend(["-sess_out", &session]);
        if at > 0 {
            arguments.extend(["-sess_in", &session]);
        }
        arguments.extend(own.iter().map(String::as_str));
        let request = "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
        let (succeeded, text) = run_program_with("openssl", &arguments, request).await;
        assert!(succeeded && text.contains(&format!("ALPN protocol: {}", case.alpn)), "{case:?}: {text}");
        let is_resumed = text.contains(&case.session(true));
        assert!(is_resumed || text.contains(&case.session(false)), "{case:?}: {text}");
        let answer = text.split("\r\n\r\n").nth(1).and_then(|body| body.get(..2)).unwrap_or(&text);
        seen.push((is_resumed, answer.to_owned()));
    }
    std::fs::remove_file(session).expect("it was written");
    seen
}

#[tokio::test(flavor = "local")]
#[ignore = "it needs OpenSSL: tests/run tls"]
async fn openssl_calls() {
    let scene = Scene::new().await;
    for case in Case::all(&["http/1.1"]) {
        scene.check_caller(case, ask_by_openssl).await;
    }
}

async fn ask_by_go(scene: &Scene, app: &TestApp, case: Case) -> Vec<(bool, String)> {
    let (address, ca, own) = (app.first_address().to_string(), scene.files.text("ca.pem"), scene.own(case));
    let mut arguments = vec!["-connect", &address, "-name", NAME, "-authority", &ca, "-times", "3"];
    arguments.extend(["-version", case.version(), "-alpn", case.alpn]);
    arguments.extend(own.iter().map(String::as_str));
    let (succeeded, text) = run_program(&go_peer(), &arguments).await;
    assert!(succeeded, "{case:?}: {text}");
    let protocol = if case.alpn == "h2" { "HTTP/2.0" } else { "HTTP/1.1" };
    let begin = format!("TLS {} {} {protocol} ", case.version(), case.alpn);
    let line = |line: &str| {
        let rest = line.strip_prefix(&begin).unwrap_or_else(|| panic!("{case:?}: {text}"));
        let (session, answer) = rest.split_once(" 200 ").unwrap_or_else(|| panic!("{case:?}: {text}"));
        (session == "resumed", answer.to_owned())
    };
    text.lines().map(line).collect()
}

#[tokio::test(flavor = "local")]
#[ignore = "it needs Go: tests/run tls"]
async fn go_calls() {
    let scene = Scene::new().await;
    for case in Case::all(&["h2", "http/1.1"]) {
        scene.check_caller(case, ask_by_go).await;
    }
}

#[tokio::test(flavor = "local")]
async fn rustls_is_an_endpoint() {
    let scene = Scene::new().await;
    for case in Case::all(&["http/1.1"]) {
        let callers = case.is_mutual.then_some(&scene.authority);
        let pair = scene.authority.issue(&[NAME]);
        let back = TlsBack::start(scene.service.address(), &pair, callers, &[case.alpn]).await;
        assert_eq!(scene.ask_endpoint(&back.path(), case).await, ["hi"; 3], "{case:?}");
        assert_eq!((back.handshakes(), back.resumed()), (3, 2), "{case:?}");
    }
}

#[tokio::test(flavor = "local")]
#[ignore = "it needs OpenSSL: tests/run tls"]
async fn openssl_is_an_endpoint() {
    let scene = Scene::new().await;
    for case in Case::all(&["http/1.1"]) {
        let mut command = Command::new("openssl");
        let (pem, key) = (scene.files.text("edge.pem"), scene.files.text("edge.key"));
        command.args(["s_server", "-accept", "127.0.0.1:0", "-www", case.option(), "-alpn", case.alpn]);
        command.args(["-cert", &pem, "-key", &key, "-CAfile", &scene.files.text("ca.pem")]);
        if case.is_mutual {
            command.args(["-Verify", "1", "-verify_return_error"]);
        }
        command.stdin(Stdio::null());
        let mut serving = Serving::start_command(command);
        let address = address(&serving.until("ACCEPT ").await, "ACCEPT ");
        let path = format!("/$/inet/{}/{}", address.ip(), address.port());
        let answers = scene.ask_endpoint(&path, case).await;
        for (at, answer) in answers.iter().enumerate() {
            assert!(answer.contains(&case.session(at > 0)), "{case:?}: {answer}");
            // OpenSSL prints the caller's certificate when it has one.
            assert_eq!(answer.contains("DNS:peer.test"), case.is_mutual, "{case:?}: {answer}");
        }
    }
}

#[tokio::test(flavor = "local")]
#[ignore = "it needs Go: tests/run tls"]
async fn go_is_an_endpoint() {
    let scene = Scene::new().await;
    for case in Case::all(&["h2", "http/1.1"]) {
        let mut command = Command::new(go_peer());
        let (pem, key) = (scene.files.text("edge.pem"), scene.files.text("edge.key"));
        command.args(["-version", case.version(), "-alpn", case.alpn, "-cert", &pem, "-key", &key]);
        if case.is_mutual {
            command.args(["-authority", &scene.files.text("ca.pem")]);
        }
        // It ends with its standard input.
        command.stdin(Stdio::piped());
        let mut serving = Serving::start_command(command);
        let address = address(&serving.until("listening on ").await, "listening on ");
        let path = format!("/$/inet/{}/{}", address.ip(), address.port());
        let protocol = if case.alpn == "h2" { "HTTP/2.0" } else { "HTTP/1.1" };
        let caller = if case.is_mutual { "peer.test" } else { "" };
        let expected = |session: &str| {
            format!("TLS {} {} {protocol} {session} {NAME} {caller}", case.version(), case.alpn)
        };
        let answers = scene.ask_endpoint(&path, case).await;
        assert_eq!(answers, ["new", "resumed", "resumed"].map(expected), "{case:?}");
    }
}

#[tokio::test(flavor = "local")]
#[ignore = "it needs curl: tests/run tls"]
async fn curl_says_for_whom_it_asks_and_goes_on_in_http2() {
    let service = Service::saying("hi").await;
    let dtab = format!("/svc/* => {}", service.path());
    let app = TestApp::start(&one_router(&dtab, ", proxyProtocol: {from: [127.0.0.1]}")).await;
    let url = format!("http://127.0.0.1:{}/", app.first_address().port());
    let arguments = ["-sS", "--haproxy-protocol", "--http2-prior-knowledge", "-w", " %{http_version}", &url];
    assert_eq!(run_program("curl", &arguments).await, (true, "hi 2".to_owned()));
    app.stop().await;
}
