//! What a listener offers, found out as strangers do: by a handshake for each version, cipher suite and group there is. The
//! book lists it.
//!
//! The tests with OpenSSL are run by `tests/run tls`.

use crate::support::tls::{Authority, FrontOptions, TlsFiles, TlsFront, run_program, run_program_with};
use crate::support::{Service, TestApp, Wire, until, with_servers, within};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::aws_lc_rs::{ALL_KX_GROUPS, default_provider};
use tokio_rustls::rustls::{ClientConfig, pki_types::ServerName};

const NAME: &str = "edge.test";

/// A router with two listeners: the first with a key of ECDSA, the second with one of RSA.
struct Scene {
    files: TlsFiles,
    authority: Authority,
    service: Service,
    app: TestApp,
}

impl Scene {
    async fn start() -> Self {
        let (files, authority) = (TlsFiles::new(), Authority::new("authority"));
        files.write_pair("ecdsa", &authority.issue(&[NAME]));
        files.write_pair("rsa", &authority.issue_rsa(NAME));
        let service = Service::saying("hi").await;
        let server = |name: &str| format!(", tls: {{{}}}", files.keys(name));
        let servers = [server("ecdsa"), server("rsa")];
        let yaml =
            with_servers(&format!("/svc/* => {}", service.path()), &servers.each_ref().map(String::as_str));
        let app = TestApp::start(&yaml).await;
        Self { files, authority, service, app }
    }

    /// Returns what OpenSSL prints of a handshake with a listener.
    async fn handshake(&self, server: usize, options: &[&str]) -> String {
        let address = self.app.address("http", server).to_string();
        let arguments = [&["s_client", "-connect", &address, "-servername", NAME][..], options].concat();
        run_program("openssl", &arguments).await.1
    }

    /// Sends bytes to a listener; returns the first record that it answers with.
    async fn answer(&self, bytes: &[u8]) -> Vec<u8> {
        let answering = async {
            let mut stream = TcpStream::connect(self.app.address("http", 0)).await.expect("it listens");
            stream.write_all(bytes).await.expect("it is read");
            let mut head = [0; 5];
            stream.read_exact(&mut head).await.expect("it answers");
            let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
            stream.read_exact(&mut record).await.expect("it answers");
            [&head[..], &record].concat()
        };
        within("an answer", answering).await
    }

    async fn stop(self) {
        self.app.stop().await;
        drop((self.files, self.service));
    }
}

/// Returns the names in the row of the book that begins so.
fn listed(row: &str) -> BTreeSet<String> {
    let book = include_str!("../../docs/tls.md");
    let line = book.lines().find_map(|line| line.strip_prefix(&format!("| {row} | ")));
    let line = line.unwrap_or_else(|| panic!("docs/tls.md has a row {row}"));
    line.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A cipher suite, as OpenSSL lists it.
struct Suite {
    iana: String,
    openssl: String,
    is_of_tls13: bool,
}

/// Returns all cipher suites that OpenSSL knows, weak ones too.
async fn suites() -> Vec<Suite> {
    // Those of TLS 1.3 are named one by one: OpenSSL leaves two of them out by default.
    let tls13 = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:\
                 TLS_AES_128_CCM_8_SHA256";
    let arguments = ["ciphers", "-stdname", "-v", "-ciphersuites", tls13, "ALL:COMPLEMENTOFALL:@SECLEVEL=0"];
    let (succeeded, text) = run_program("openssl", &arguments).await;
    assert!(succeeded, "{text}");
    let suite = |line: &str| {
        let mut words = line.split_whitespace();
        let (iana, openssl) = (words.next()?.to_owned(), words.nth(1)?.to_owned());
        Some(Suite { iana, openssl, is_of_tls13: words.next()? == "TLSv1.3" })
    };
    let suites: Vec<_> = text.lines().filter_map(suite).collect();
    assert!(suites.len() > 100, "{text}");
    suites
}

#[tokio::test(flavor = "local")]
#[ignore = "it needs OpenSSL: tests/run tls"]
async fn the_cipher_suites_are_those_of_the_book() {
    let scene = Scene::start().await;
    for (server, key) in [(0, "ECDSA or Ed25519"), (1, "RSA")] {
        let [mut tls12, mut tls13] = [const { BTreeSet::new() }; 2];
        for suite in suites().await {
            let weak = format!("{}:@SECLEVEL=0", suite.openssl);
            let options = match suite.is_of_tls13 {
                true => ["-tls1_3", "-ciphersuites", &suite.iana],
                false => ["-tls1_2", "-cipher", &weak],
            };
            let said = scene.handshake(server, &options).await;
            if said.contains(&format!("Cipher is {}\n", suite.openssl)) {
                if suite.is_of_tls13 { &mut tls13 } else { &mut tls12 }.insert(suite.iana);
            } else {
                assert!(said.contains("Cipher is (NONE)") || said.contains("rror"), "{}: {said}", suite.iana);
            }
        }
        assert_eq!(tls13, listed("TLS 1.3"), "{key}");
        assert_eq!(tls12, listed(&format!("TLS 1.2, a key of {key}")), "{key}");
    }
    scene.stop().await;
}

#[tokio::test(flavor = "local")]
#[ignore = "it needs OpenSSL: tests/run tls"]
async fn the_groups_are_those_of_the_book() {
    let scene = Scene::start().await;
    let mut offered = BTreeSet::new();
    for (group, name) in [
        ("P-256", "secp256r1"),
        ("P-384", "secp384r1"),
        ("P-521", "secp521r1"),
        ("X25519", "X25519"),
        ("X448", "x448"),
        ("ffdhe2048", "ffdhe2048"),
        ("ffdhe8192", "ffdhe8192"),
    ] {
        let said = scene.handshake(0, &["-tls1_3", "-groups", group]).await;
        if said.contains("New, TLSv1.3, Cipher is ") {
            offered.insert(name.to_owned());
        } else {
            assert!(said.contains("alert handshake failure"), "{group}: {said}");
        }
    }
    for group in ["secp224r1", "secp256k1", "brainpoolP256r1", "sect283r1", "secp192r1"] {
        let said = scene.handshake(0, &["-tls1_2", "-groups", group, "-cipher", "ALL:@SECLEVEL=0"]).await;
        assert!(said.contains("alert handshake failure") && !said.contains("New, TLS"), "{group}: {said}");
    }
    assert_eq!(offered, without_hybrid(listed("groups for the exchange of keys")));
    scene.stop().await;
}

/// Returns groups without the one that OpenSSL knows since its version 3.5.
fn without_hybrid(mut groups: BTreeSet<String>) -> BTreeSet<String> {
    assert!(groups.remove("X25519MLKEM768"));
    groups
}

#[tokio::test(flavor = "local")]
async fn the_groups_that_rustls_knows_are_those_of_the_book() {
    let scene = Scene::start().await;
    let mut offered = BTreeSet::new();
    for group in ALL_KX_GROUPS {
        let provider = CryptoProvider { kx_groups: vec![*group], ..default_provider() };
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("there are suites")
            .with_root_certificates(scene.authority.roots())
            .with_no_client_auth();
        let tcp = TcpStream::connect(scene.app.address("http", 0)).await.expect("it listens");
        let name = ServerName::try_from(NAME).expect("it is a name");
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        match within("a handshake", connecting).await {
            Ok(stream) => {
                let agreed = stream.get_ref().1.negotiated_key_exchange_group().expect("there is one");
                assert_eq!(agreed.name(), group.name());
                offered.insert(format!("{:?}", group.name()));
            }
            Err(error) => assert!(error.to_string().contains("HandshakeFailure"), "{group:?}: {error}"),
        }
    }
    assert_eq!(offered, listed("groups for the exchange of keys"));
    scene.stop().await;
}

#[tokio::test(flavor = "local")]
#[ignore = "it needs OpenSSL: tests/run tls"]
async fn old_versions_are_refused_and_nothing_is_negotiated_anew() {
    let scene = Scene::start().await;
    for version in ["-tls1", "-tls1_1"] {
        let said = scene.handshake(1, &[version, "-cipher", "ALL:@SECLEVEL=0"]).await;
        // Which of the two it is depends on what else the client leaves out.
        let is_refused =
            ["SSL alert number 70", "SSL alert number 40"].iter().any(|alert| said.contains(alert));
        assert!(is_refused, "{version}: {said}");
    }
    let address = scene.app.address("http", 0).to_string();
    // An R at the beginning of a line has s_client negotiate anew.
    let arguments = ["s_client", "-connect", &address, "-tls1_2"];
    let (_, said) = run_program_with("openssl", &arguments, "R\n").await;
    assert!(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "{said}");
    assert!(said.contains("Compression: NONE"), "{said}");
    assert!(said.contains("ticket lifetime hint: 43200 (seconds)"), "{said}");
    let said = scene.handshake(0, &["-tls1_3"]).await;
    assert!(said.contains("Early data was not sent") && !said.contains("Max Early Data: 1"), "{said}");
    scene.stop().await;
}

/// Makes the first message of a client (RFC 5246 7.4.1.2), of this version and with these methods of compression.
fn hello(version: u16, compression: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).expect("it is short").to_be_bytes();
    let extension = |kind: u8, body: &[u8]| [&[0, kind], &length(body)[..], body].concat();
    let extensions = [
        extension(10, &[0, 4, 0, 29, 0, 23]),
        extension(11, &[1, 0]),
        extension(13, &[0, 4, 4, 3, 8, 4]),
        extension(23, &[]),
    ]
    .concat();
    // ECDHE with AES-GCM, and the sign of secure renegotiation.
    let suites = [0xc0, 0x2b, 0xc0, 0x2f, 0, 0xff];
    let methods = [&[u8::try_from(compression.len()).expect("there are few")], compression].concat();
    let body = [
        &version.to_be_bytes()[..],
        &[7; 32],
        &[0],
        &length(&suites),
        &suites,
        &methods,
        &length(&extensions),
        &extensions,
    ]
    .concat();
    let message = [&[1, 0][..], &length(&body), &body].concat();
    [&[22][..], &version.min(0x0301).to_be_bytes(), &length(&message), &message].concat()
}

#[tokio::test(flavor = "local")]
async fn what_no_library_of_today_asks_for_is_refused() {
    let scene = Scene::start().await;
    // TLS 1.2, to see that the message is good: version, random, session, cipher suite, and the method of compression.
    for methods in [&[0][..], &[1, 0]] {
        let record = scene.answer(&hello(0x0303, methods)).await;
        assert_eq!((record[0], record[5], &record[9..11]), (22, 2, &[3, 3][..]), "{record:?}");
        let session = usize::from(record[43]);
        assert_eq!(record[44 + session + 2], 0, "nothing is compressed");
    }
    let alert = |level: u8, code: u8| [level, code];
    for (bytes, expected) in [
        (hello(0x0303, &[1]), alert(2, 47)),
        (hello(0x0300, &[0]), alert(2, 70)),
        (hello(0x0301, &[0]), alert(2, 70)),
        (hello(0x0302, &[0]), alert(2, 70)),
    ] {
        let record = scene.answer(&bytes).await;
        assert_eq!((record[0], &record[5..]), (21, &expected[..]), "{bytes:?}");
    }
    // SSL 2 has another form: it is no TLS at all.
    let mut stream = TcpStream::connect(scene.app.address("http", 0)).await.expect("it listens");
    let old = [&[0x80, 0x2e, 1, 0, 2, 0, 21, 0, 0, 0, 16][..], &[7, 0, 0xc0].repeat(7), &[7; 16]].concat();
    stream.write_all(&old).await.expect("it is read");
    let mut answer = Vec::new();
    // It may be reset, for its bytes are not all read.
    let _ = within("its end", stream.read_to_end(&mut answer)).await;
    assert!(answer.is_empty() || answer[0] == 21 || answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
    scene.stop().await;
}

#[tokio::test(flavor = "local")]
async fn a_session_ends_with_the_certificate_that_it_began_with() {
    let scene = Scene::start().await;
    let options = FrontOptions { name: NAME, ..FrontOptions::default() };
    let front = TlsFront::start(scene.app.address("http", 0), &scene.authority, options).await;
    for _ in 0..3 {
        assert_eq!(Wire::connect(front.address()).await.get("web", "").await.text(), "hi");
    }
    assert_eq!(front.handshakes(), (3, 2));
    let next = scene.authority.issue(&[NAME]);
    scene.files.write_pair("ecdsa", &next);
    let mut resumed = 2;
    until("the new certificate is shown", async || {
        resumed = front.handshakes().1;
        assert_eq!(Wire::connect(front.address()).await.get("web", "").await.text(), "hi");
        front.was_shown(&next)
    })
    .await;
    assert_eq!(front.handshakes().1, resumed, "the first session with it is new");
    assert_eq!(Wire::connect(front.address()).await.get("web", "").await.text(), "hi");
    assert_eq!(front.handshakes().1, resumed + 1);
    scene.stop().await;
}
