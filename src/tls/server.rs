//! The configuration of a listener: a certificate for each host, and the authorities of its callers.

use super::authority::Authorities;
use super::error::{TlsError, TlsFault};
use super::expiry::Expiry;
use super::files::{ClientAuthority, ServerPair, ServerTlsFiles};
use super::identity::Identity;
use super::live::TlsFileSet;
use super::names::HostNames;
use super::pair::CertificatePair;
use super::protocols::{TlsProtocols, provider};
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ConfigBuilder, ServerConfig, WantsVersions};
use std::path::PathBuf;
use std::sync::Arc;

/// The protocols that a listener offers by ALPN (RFC 7301), the preferred one first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificates of a listener, ready for handshakes.
#[derive(Debug, Default)]
pub struct ServerTls {
    entries: Vec<ServerEntry>,
    expiries: Vec<Expiry>,
}

/// One certificate of a listener.
#[derive(Debug)]
struct ServerEntry {
    config: Arc<ServerConfig>,
    names: HostNames,
    clients: Option<ClientAuthority>,
}

impl ServerTls {
    /// Returns how many certificates there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the configuration of the certificate at this place.
    pub(super) fn config(&self, at: usize) -> Option<&Arc<ServerConfig>> {
        self.entries.get(at).map(|entry| &entry.config)
    }

    /// Returns the place of the certificate for a host: the one that has it as a name, or else by a wildcard, or else the
    /// first.
    pub(super) fn choose(&self, host: Option<&[u8]>) -> usize {
        let Some(host) = host else { return 0 };
        let by_name = self.entries.iter().position(|entry| entry.names.has(host));
        let by_wildcard = || self.entries.iter().position(|entry| entry.names.has_wildcard_for(host));
        by_name.or_else(by_wildcard).unwrap_or_default()
    }

    /// Returns whether a request for this host is on the wrong connection, one whose certificate is that at `at`: another
    /// certificate is for it, and this one is not, or the callers of the two have different authorities.
    ///
    /// A listener with one certificate carries every host: routers of a mesh call each other by one name.
    pub(super) fn misdirects(&self, at: usize, host: &[u8]) -> bool {
        if self.entries.len() < 2 {
            return false;
        }
        let chosen = self.choose(Some(host));
        let (Some(own), Some(other)) = (self.entries.get(at), self.entries.get(chosen)) else { return false };
        chosen != at && (own.clients != other.clients || !own.names.covers(host))
    }
}

impl TlsFileSet for ServerTlsFiles {
    type Built = ServerTls;

    fn paths(&self) -> Vec<PathBuf> {
        let of_pair = |pair: &ServerPair| {
            let authority = pair.clients.as_ref().map(|clients| clients.ca.clone());
            pair.files.paths().chain(authority).collect::<Vec<_>>()
        };
        self.certificates.iter().flat_map(of_pair).collect()
    }

    fn build(&self) -> Result<ServerTls, TlsError> {
        let mut tls = ServerTls::default();
        for pair in &self.certificates {
            let read = CertificatePair::read(&pair.files)?;
            tls.expiries.push(Expiry::of(&read.facts, &pair.files.cert));
            let names = if pair.hosts.is_empty() { HostNames::of(&read.facts) } else { pair.hosts.clone() };
            let config = Arc::new(server_config(pair, &read, &self.protocols)?);
            tls.entries.push(ServerEntry { config, names, clients: pair.clients.clone() });
        }
        Ok(tls)
    }

    fn expiries(built: &ServerTls) -> &[Expiry] {
        &built.expiries
    }
}

/// Makes the configuration of one certificate.
///
/// Sessions are resumed by tickets, which take no memory here. Each certificate has a key for tickets of its own, new
/// whenever a file changes: a session with another authority of callers cannot be resumed.
fn server_config(
    pair: &ServerPair,
    read: &CertificatePair,
    protocols: &TlsProtocols,
) -> Result<ServerConfig, TlsError> {
    let refused = |error: rustls::Error| TlsFault::from(error).in_file(&pair.files.cert);
    let builder: ConfigBuilder<ServerConfig, WantsVersions> =
        ServerConfig::builder_with_provider(protocols.provider());
    let builder = builder.with_protocol_versions(&protocols.versions()).map_err(refused)?;
    let builder = match &pair.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let roots = Authorities::read([&clients.ca], false)?.roots;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider()));
            let verifier =
                if clients.is_required { verifier } else { verifier.allow_unauthenticated() }.build();
            let verifier = verifier.map_err(|error| {
                TlsFault::from(rustls::Error::General(error.to_string())).in_file(&clients.ca)
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let resolver = Arc::new(SingleCertAndKey::from(rustls::sign::CertifiedKey::clone(&read.key)));
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new().map_err(refused)?;
    // The order of the configuration, where there is one.
    config.ignore_client_order = !protocols.ciphers.is_empty();
    Ok(config)
}

/// The other end of a connection with TLS, as the handshake has shown it.
#[derive(Clone, Debug, Default)]
pub struct SecurePeer {
    /// The identity in its certificate, which was verified, if it has one.
    pub identity: Option<Identity>,
    server: Arc<ServerTls>,
    /// The place of the certificate that it was shown.
    at: usize,
}

impl SecurePeer {
    /// Describes a peer that was shown the certificate at `at`.
    pub(super) fn new(server: Arc<ServerTls>, at: usize, identity: Option<Identity>) -> Self {
        Self { identity, server, at }
    }

    /// Describes a peer whose certificate was verified.
    #[cfg(test)]
    pub(crate) fn with_identity(identity: Option<Identity>) -> Self {
        Self { identity, ..Self::default() }
    }

    /// Returns whether a request for this host, given without its port, is on the wrong connection (RFC 9110, 15.5.20).
    pub fn is_misdirected(&self, host: &[u8]) -> bool {
        self.server.misdirects(self.at, host)
    }
}
