//! The parts as processes: the upstream, and the servers with TLS that are measured. Each prints where it serves.

use super::child::{Error, commands, on_one_thread};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use signpost::app::{App, Threads};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::NoServerSessionStorage;

/// The name that the certificate has.
pub(crate) const NAME: &str = "edge.test";

/// A certificate with a key on P-256, in files.
pub(crate) struct Files {
    folder: TempDir,
    authority: CertificateDer<'static>,
}

impl Files {
    pub(crate) fn write() -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let authority = params.self_signed(&key)?.der().clone();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([NAME.to_owned()])?.signed_by(&key, &issuer)?;
        fs::write(folder.path().join("edge.pem"), certificate.pem())?;
        fs::write(folder.path().join("edge.key"), key.serialize_pem())?;
        Ok(Self { folder, authority })
    }

    pub(crate) fn folder(&self) -> &str {
        self.folder.path().to_str().unwrap_or_default()
    }

    pub(crate) fn authority(&self) -> &CertificateDer<'static> {
        &self.authority
    }
}

/// Answers each request with 1 KiB.
pub(crate) fn run_upstream() -> Result<(), Error> {
    let _commands = commands();
    on_one_thread(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn_local(answer(stream));
        }
    })
}

async fn answer(mut stream: TcpStream) -> Result<(), Error> {
    let body = "x".repeat(1024);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut received = Vec::new();
    while read_head(&mut stream, &mut received).await? {
        stream.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// Reads the head of a message into an empty buffer, and what may follow it; returns whether there was one.
pub(crate) async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    received: &mut Vec<u8>,
) -> Result<bool, Error> {
    received.clear();
    while !received.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if stream.read_buf(received).await? == 0 {
            return if received.is_empty() { Ok(false) } else { Err("a head breaks off".into()) };
        }
    }
    Ok(true)
}

/// Does handshakes by rustls, and nothing else, with what the router sets: tickets, and no memory of sessions.
pub(crate) fn run_bare(folder: &str) -> Result<(), Error> {
    let _commands = commands();
    let chain =
        CertificateDer::pem_file_iter(Path::new(folder).join("edge.pem"))?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(Path::new(folder).join("edge.key"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new()?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    on_one_thread(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let accepting = acceptor.accept(stream);
            tokio::task::spawn_local(async move {
                let mut stream = accepting.await?;
                let mut received = Vec::with_capacity(4096);
                while stream.read_buf(&mut received).await? > 0 {}
                stream.shutdown().await
            });
        }
    })
}

/// Serves with one worker.
pub(crate) fn run_signpost(folder: &str, upstream: &str) -> Result<(), Error> {
    let _commands = commands();
    let names = tempfile::tempdir()?;
    let upstream: SocketAddr = upstream.parse()?;
    fs::write(names.path().join("web"), format!("{} {}\n", upstream.ip(), upstream.port()))?;
    let config = format!(
        "
admin: {{ port: 0 }}
namers: [{{ kind: io.l5d.fs, rootDir: {} }}]
routers:
- protocol: http
  dtab: /svc => /#/io.l5d.fs
  servers: [{{ port: 0, ip: 127.0.0.1, tls: {{ certPath: {folder}/edge.pem, keyPath: {folder}/edge.key }} }}]
",
        names.path().display()
    );
    let config = signpost::config::read("tls", &config).map_err(|errors| errors.to_string())?;
    on_one_thread(async {
        let running = App::start(config, Threads::Workers(1)).await?;
        for listener in running.listeners() {
            println!("{}", listener.address);
        }
        std::future::pending().await
    })
}

/// Returns whether there is an nginx.
pub(crate) fn has_nginx() -> bool {
    Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Becomes nginx, as one process.
pub(crate) fn run_nginx(folder: &str, upstream: &str) -> Result<(), Error> {
    // The port is free, and nothing else of this bench takes one until nginx has it.
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config = format!(
        "
daemon off; master_process off; pid {folder}/nginx.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000; proxy_http_version 1.1; proxy_set_header Connection \"\";
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder}; ssl_protocols TLSv1.2 TLSv1.3;
  upstream web {{ keepalive 64; server {upstream}; }}
  server {{
    listen {address} ssl; ssl_certificate {folder}/edge.pem; ssl_certificate_key {folder}/edge.key;
    location / {{ proxy_pass http://web; }}
  }}
}}
"
    );
    let file = format!("{folder}/nginx.conf");
    fs::write(&file, config)?;
    println!("{address}");
    Err(Command::new("nginx").args(["-e", "/dev/null", "-c", &file]).exec().into())
}
