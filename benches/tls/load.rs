//! The callers: handshakes, one after another, and requests over connections that are kept.

use super::child::Error;
use super::parts::{NAME, read_head};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};

/// Whether a handshake begins a session, or takes one up again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    New,
    Resumed,
}

/// A client with its configuration.
pub(crate) struct Caller {
    connector: TlsConnector,
    session: Session,
}

impl Caller {
    /// Makes a client that believes the authority. It offers one cipher suite, so that all servers choose the same.
    pub(crate) fn new(
        authority: &CertificateDer<'static>,
        is_old: bool,
        session: Session,
    ) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        let suite = if is_old {
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        } else {
            cipher_suite::TLS13_AES_256_GCM_SHA384
        };
        let provider = CryptoProvider { cipher_suites: vec![suite], ..default_provider() };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[if is_old { &TLS12 } else { &TLS13 }])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if session == Session::New {
            config.resumption = Resumption::disabled();
        }
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), session })
    }

    async fn connect(&self, address: &str) -> Result<TlsStream<TcpStream>, Error> {
        connect(&self.connector, address).await
    }

    /// Does handshakes, several at the same time; returns how many. Each connection ends with nothing else.
    pub(crate) async fn handshakes(&self, address: &str, count: usize) -> Result<usize, Error> {
        const AT_ONCE: usize = 4;
        // A ticket of TLS 1.3 is good for one session: there has to be one for each.
        for _ in 0..AT_ONCE {
            finish(self.connect(address).await?).await?;
        }
        let mut tasks = JoinSet::new();
        let each = count.div_ceil(AT_ONCE);
        for _ in 0..AT_ONCE {
            let (connector, address, wanted) = (self.connector.clone(), address.to_owned(), self.session);
            tasks.spawn_local(async move {
                for _ in 0..each {
                    let stream = connect(&connector, &address).await?;
                    let is_resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
                    if is_resumed != (wanted == Session::Resumed) {
                        return Err("a session is not of the kind that is measured".into());
                    }
                    finish(stream).await?;
                }
                Ok::<_, Error>(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(each * AT_ONCE)
    }

    /// Opens connections.
    pub(crate) async fn open(&self, address: &str, count: usize) -> Result<Vec<TlsStream<TcpStream>>, Error> {
        let mut connections = Vec::new();
        for _ in 0..count {
            connections.push(self.connect(address).await?);
        }
        Ok(connections)
    }
}

async fn connect(connector: &TlsConnector, address: &str) -> Result<TlsStream<TcpStream>, Error> {
    let mut tries = 0;
    let tcp = loop {
        match TcpStream::connect(address).await {
            Ok(tcp) => break tcp,
            // nginx has said where it is going to listen, and does so soon.
            Err(_) if tries < 500 => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => return Err(error.into()),
        }
        tries += 1;
    };
    tcp.set_nodelay(true)?;
    Ok(connector.connect(ServerName::try_from(NAME)?, tcp).await?)
}

/// Ends a connection, and reads what comes until its end: tickets.
async fn finish(mut stream: TlsStream<TcpStream>) -> Result<(), Error> {
    stream.shutdown().await?;
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}

/// Makes so many requests over each connection, and keeps them.
pub(crate) async fn ask(
    connections: Vec<TlsStream<TcpStream>>,
    each: usize,
) -> Result<Vec<TlsStream<TcpStream>>, Error> {
    let mut tasks = JoinSet::new();
    for mut stream in connections {
        tasks.spawn_local(async move {
            let mut received = Vec::with_capacity(4096);
            for _ in 0..each {
                stream
                    .write_all(b"GET / HTTP/1.1\r\nHost: web\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
                    .await?;
                read_head(&mut stream, &mut received).await?;
                if !received.starts_with(b"HTTP/1.1 200 ") {
                    return Err(received.escape_ascii().to_string().into());
                }
                let head = received.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or_default() + 4;
                while received.len() < head + 1024 {
                    if stream.read_buf(&mut received).await? == 0 {
                        return Err("a response breaks off".into());
                    }
                }
            }
            Ok::<_, Error>(stream)
        });
    }
    let mut connections = Vec::new();
    while let Some(done) = tasks.join_next().await {
        connections.push(done??);
    }
    Ok(connections)
}
