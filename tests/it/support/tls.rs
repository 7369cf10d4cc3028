//! Certificates, and both ends of TLS by rustls as others use it, through its buffers.

use super::within;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A folder of certificates and keys.
#[derive(Debug)]
pub(crate) struct TlsFiles(TempDir);

/// An authority of certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key.
#[derive(Clone)]
pub(crate) struct TestPair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl TlsFiles {
    pub(crate) fn new() -> Self {
        Self(TempDir::with_prefix("signpost-it-").expect("there is room for files"))
    }

    /// Returns the path of a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file beside it and renames it to the name.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let new = self.path(&format!(".{name}.new"));
        std::fs::write(&new, content).expect("the folder is there");
        std::fs::rename(new, self.path(name)).expect("the folder is there");
    }

    /// Writes a pair as `<name>.pem` and `<name>.key`.
    pub(crate) fn write_pair(&self, name: &str, pair: &TestPair) {
        self.write(&format!("{name}.pem"), &pair.cert);
        self.write(&format!("{name}.key"), &pair.key);
    }

    /// Returns the keys of a configuration that name a pair: `certPath: .., keyPath: ..`.
    pub(crate) fn keys(&self, name: &str) -> String {
        let path = |end: &str| self.path(&format!("{name}.{end}")).display().to_string();
        format!("certPath: '{}', keyPath: '{}'", path("pem"), path("key"))
    }

    /// Returns the path of an authority's file as text.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

impl Authority {
    /// Makes an authority that is its own.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key is made");
        let pem = params.self_signed(&key).expect("it is signed").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its certificate.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues a certificate for hosts, and for URIs (`spiffe://..`), that serves either end.
    pub(crate) fn issue(&self, names: &[&str]) -> TestPair {
        let name = |name: &&str| match name.contains("://") {
            true => SanType::URI((*name).try_into().expect("it is ASCII")),
            false => SanType::DnsName((*name).try_into().expect("it is ASCII")),
        };
        self.sign(names[0], names.iter().map(name).collect(), &KeyPair::generate().expect("a key is made"))
    }

    /// Issues a certificate for a host that has a key of RSA.
    pub(crate) fn issue_rsa(&self, name: &str) -> TestPair {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key is made");
        self.sign(name, vec![SanType::DnsName(name.try_into().expect("it is ASCII"))], &key)
    }

    /// Issues a certificate that has a common name alone, as those of Linkerd's time.
    pub(crate) fn issue_common_name(&self, name: &str) -> TestPair {
        self.sign(name, Vec::new(), &KeyPair::generate().expect("a key is made"))
    }

    fn sign(&self, name: &str, names: Vec<SanType>, key: &KeyPair) -> TestPair {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = names;
        let cert = params.signed_by(key, &self.issuer).expect("it is signed").pem();
        TestPair { cert, key: key.serialize_pem() }
    }

    /// Returns it as the one authority that is believed.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("it is PEM"))
            .expect("it is an authority");
        roots
    }
}

impl TestPair {
    fn der(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.cert.as_bytes()).collect::<Result<_, _>>();
        (chain.expect("it is PEM"), PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("it is PEM"))
    }
}

/// The client of a front: what it offers and shows.
#[derive(Clone, Default)]
pub(crate) struct FrontOptions<'a> {
    /// The name that it asks for and verifies.
    pub(crate) name: &'a str,
    pub(crate) alpn: &'a [&'a str],
    /// What it sends in clear before the handshake.
    pub(crate) prelude: &'a str,
    pub(crate) pair: Option<TestPair>,
    /// Whether it speaks TLS 1.2 alone.
    pub(crate) is_old: bool,
}

/// A program beside the client that encrypts its connections: clients that speak in clear reach the router through it.
#[derive(Debug)]
pub(crate) struct TlsFront {
    address: SocketAddr,
    seen: Rc<FrontSeen>,
    task: JoinHandle<()>,
}

/// What a front has seen.
#[derive(Debug, Default)]
struct FrontSeen {
    errors: RefCell<Vec<String>>,
    alpn: RefCell<Vec<Option<String>>>,
    /// The certificate that the router showed last.
    shown: RefCell<Option<CertificateDer<'static>>>,
    resumed: Cell<usize>,
    handshakes: Cell<usize>,
}

fn versions(is_old: bool) -> [&'static SupportedProtocolVersion; 1] {
    if is_old { [&TLS12] } else { [&TLS13] }
}

impl TlsFront {
    /// Encrypts connections to `target`, whose certificate the authority has issued.
    pub(crate) async fn start(target: SocketAddr, authority: &Authority, options: FrontOptions<'_>) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&versions(options.is_old))
            .expect("there are suites")
            .with_root_certificates(authority.roots());
        let mut config = match &options.pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let (chain, key) = pair.der();
                builder.with_client_auth_cert(chain, key).expect("they fit")
            }
        };
        config.alpn_protocols = options.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from(options.name.to_owned()).expect("it is a name");
        let prelude = options.prelude.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let seen = Rc::<FrontSeen>::default();
        let shared = Rc::clone(&seen);
        let task = tokio::task::spawn_local(async move {
            while let Ok((plain, _)) = listener.accept().await {
                let (seen, connector, name) = (Rc::clone(&shared), connector.clone(), name.clone());
                let prelude = prelude.clone();
                tokio::task::spawn_local(async move {
                    if let Err(error) = carry(plain, (target, &prelude), connector, name, &seen).await {
                        seen.errors.borrow_mut().push(error.to_string());
                    }
                });
            }
        });
        Self { address, seen, task }
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The errors of its connections, which are forgotten.
    pub(crate) fn take_errors(&self) -> Vec<String> {
        self.seen.errors.take()
    }

    /// The protocols that were agreed on, connection by connection; they are forgotten.
    pub(crate) fn take_alpn(&self) -> Vec<Option<String>> {
        self.seen.alpn.take()
    }

    /// Whether the certificate that the router showed last is that of the pair.
    pub(crate) fn was_shown(&self, pair: &TestPair) -> bool {
        self.seen.shown.borrow().as_ref() == pair.der().0.first()
    }

    /// How many handshakes were done, and how many of them took a session up again.
    pub(crate) fn handshakes(&self) -> (usize, usize) {
        (self.seen.handshakes.get(), self.seen.resumed.get())
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    mut plain: TcpStream,
    (target, prelude): (SocketAddr, &str),
    connector: TlsConnector,
    name: ServerName<'static>,
    seen: &FrontSeen,
) -> std::io::Result<()> {
    plain.set_nodelay(true)?;
    let mut tcp = TcpStream::connect(target).await?;
    tcp.set_nodelay(true)?;
    tcp.write_all(prelude.as_bytes()).await?;
    let mut secure = connector.connect(name, tcp).await?;
    let session = secure.get_ref().1;
    let alpn = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
    seen.alpn.borrow_mut().push(alpn);
    *seen.shown.borrow_mut() = session.peer_certificates().and_then(|chain| chain.first()).cloned();
    seen.handshakes.set(seen.handshakes.get() + 1);
    if session.handshake_kind() == Some(HandshakeKind::Resumed) {
        seen.resumed.set(seen.resumed.get() + 1);
    }
    copy_bidirectional(&mut plain, &mut secure).await.map(drop)
}

/// A program beside an upstream that decrypts the router's connections.
#[derive(Debug)]
pub(crate) struct TlsBack {
    address: SocketAddr,
    seen: Rc<BackSeen>,
    task: JoinHandle<()>,
}

/// What a back has seen.
#[derive(Debug, Default)]
struct BackSeen {
    errors: RefCell<Vec<String>>,
    handshakes: Cell<usize>,
    resumed: Cell<usize>,
    names: RefCell<Vec<Option<String>>>,
}

impl TlsBack {
    /// Decrypts connections for `target`, with this certificate. Callers have to have one of `callers`, if that is there.
    pub(crate) async fn start(
        target: SocketAddr,
        pair: &TestPair,
        callers: Option<&Authority>,
        alpn: &[&str],
    ) -> Self {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS12, &TLS13])
            .expect("there are suites");
        let builder = match callers {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let roots = Arc::new(authority.roots());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                builder.with_client_cert_verifier(verifier.expect("there is an authority"))
            }
        };
        let (chain, key) = pair.der();
        let mut config = builder.with_single_cert(chain, key).expect("they fit");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let seen = Rc::<BackSeen>::default();
        let shared = Rc::clone(&seen);
        let task = tokio::task::spawn_local(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (seen, acceptor) = (Rc::clone(&shared), acceptor.clone());
                tokio::task::spawn_local(async move {
                    let carried = async {
                        tcp.set_nodelay(true)?;
                        let mut secure = acceptor.accept(tcp).await?;
                        seen.handshakes.set(seen.handshakes.get() + 1);
                        let session = secure.get_ref().1;
                        seen.names.borrow_mut().push(session.server_name().map(str::to_owned));
                        let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
                        seen.resumed.set(seen.resumed.get() + usize::from(is_resumed));
                        let mut plain = TcpStream::connect(target).await?;
                        plain.set_nodelay(true)?;
                        copy_bidirectional(&mut secure, &mut plain).await
                    };
                    if let Err(error) = carried.await {
                        seen.errors.borrow_mut().push(error.to_string());
                    }
                });
            }
        });
        Self { address, seen, task }
    }

    /// The name of this endpoint.
    pub(crate) fn path(&self) -> String {
        format!("/$/inet/{}/{}", self.address.ip(), self.address.port())
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many handshakes were done.
    pub(crate) fn handshakes(&self) -> usize {
        self.seen.handshakes.get()
    }

    /// How many of them took a session up again.
    pub(crate) fn resumed(&self) -> usize {
        self.seen.resumed.get()
    }

    /// The names that were asked for, which are forgotten.
    pub(crate) fn take_names(&self) -> Vec<Option<String>> {
        self.seen.names.take()
    }

    /// The errors of its connections, which are forgotten.
    pub(crate) fn take_errors(&self) -> Vec<String> {
        self.seen.errors.take()
    }
}

impl Drop for TlsBack {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs a program of this machine; returns whether it succeeded, and what it printed.
pub(crate) async fn run_program(program: &str, arguments: &[&str]) -> (bool, String) {
    run_program_with(program, arguments, "").await
}

/// As [`run_program`], with a standard input.
pub(crate) async fn run_program_with(program: &str, arguments: &[&str], input: &str) -> (bool, String) {
    let (program, input) = (program.to_owned(), input.to_owned());
    let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
    let running = tokio::task::spawn_blocking(move || {
        let piped = || Stdio::piped();
        let started =
            Command::new(&program).args(&arguments).stdin(piped()).stdout(piped()).stderr(piped()).spawn();
        let mut child = started.unwrap_or_else(|error| panic!("{program} is there: {error}"));
        // A program that does not read its input may have ended already.
        let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
        let done = child.wait_with_output().expect("it ends");
        let text = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8_lossy(&text).into_owned())
    });
    within("running a program", running).await.expect("it runs")
}
