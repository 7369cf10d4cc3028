//! The configuration of a listener: a certificate for each host, and the authorities of its callers.

use super::authority::Authorities;
use super::error::{TlsError, TlsFault};
use super::expiry::{CertificateSource, Expiry};
use super::files::{ClientAuthority, IngressTls, ServerPair, ServerTlsFiles};
use super::host_index::HostIndex;
use super::identity::Identity;
use super::live::TlsFileSet;
use super::names::HostNames;
use super::pair::CertificatePair;
use super::protocols::{TlsProtocols, provider};
use super::supply::{HostCertificate, PemPair};
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ConfigBuilder, ServerConfig, WantsVersions};
use std::path::PathBuf;
use std::sync::Arc;

/// The protocols that a listener offers by ALPN (RFC 7301), the preferred one first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificates of a listener, ready for handshakes.
#[derive(Debug, Default)]
pub struct ServerTls {
    /// Those of files first.
    entries: Vec<Arc<ServerEntry>>,
    index: HostIndex,
    /// The ends of the certificates, in the order of the entries.
    expiries: Vec<Expiry>,
    /// How many certificates are of files.
    files: usize,
    /// The settings of certificates that are supplied, on a listener that uses such.
    supply: Option<Arc<SupplySettings>>,
}

/// One certificate of a listener.
#[derive(Debug)]
struct ServerEntry {
    config: Arc<ServerConfig>,
    names: HostNames,
    clients: Option<ClientAuthority>,
    /// The certificate, if it was supplied and is not of a file.
    pair: Option<PemPair>,
}

/// The settings of certificates that are supplied.
#[derive(Debug)]
struct SupplySettings {
    protocols: TlsProtocols,
    clients: Option<ClientAuthority>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl ServerTls {
    /// Returns whether the choice of a certificate depends on the host that a caller asks for.
    pub(super) fn needs_host(&self) -> bool {
        self.entries.len() > 1 || self.supply.is_some()
    }

    /// Returns the configuration of the certificate at this place.
    pub(super) fn config(&self, at: usize) -> Option<&Arc<ServerConfig>> {
        self.entries.get(at).map(|entry| &entry.config)
    }

    /// Returns the place of the certificate for a host: the one that has it as a name, or else by a wildcard, or else the
    /// first of those that are of files.
    pub(super) fn choose(&self, host: Option<&[u8]>) -> Option<usize> {
        host.and_then(|host| self.index.find(host)).or((self.files > 0).then_some(0))
    }

    /// Returns whether a request for this host is on the wrong connection, one whose certificate is that at `at`: another
    /// certificate is for it, and this one is not, or the callers of the two have different authorities. A certificate that was
    /// supplied carries its own hosts alone.
    ///
    /// A listener with one certificate, of a file, carries every host: routers of a mesh call each other by one name.
    pub(super) fn misdirects(&self, at: usize, host: &[u8]) -> bool {
        let Some(own) = self.entries.get(at) else { return false };
        if self.entries.len() < 2 && own.pair.is_none() {
            return false;
        }
        match self.choose(Some(host)) {
            Some(chosen) if chosen == at => false,
            Some(chosen) => {
                let is_of_others = self.entries.get(chosen).is_some_and(|other| other.clients != own.clients);
                is_of_others || !own.names.covers(host)
            }
            None => !own.names.covers(host),
        }
    }

    /// Returns the ends of the certificates that were supplied.
    pub(super) fn supplied_expiries(&self) -> &[Expiry] {
        self.expiries.get(self.files..).unwrap_or_default()
    }

    /// Returns the certificates of files, and behind them those that are supplied. A host is that of the first
    /// certificate that has it. What is the same as `before` is not made anew: sessions can still be resumed.
    pub(super) fn with_supplied<'a>(
        &self,
        supplied: impl Iterator<Item = &'a HostCertificate>,
        before: Option<&Self>,
    ) -> Result<Self, rustls::Error> {
        let Self { entries, index, expiries, files, supply } = self;
        let (entries, index, expiries) = (entries.clone(), index.clone(), expiries.clone());
        let mut whole = Self { entries, index, expiries, files: *files, supply: supply.clone() };
        let Some(settings) = supply else { return Ok(whole) };
        // Several hosts may have one certificate.
        let mut added: Vec<(&PemPair, Vec<Box<str>>)> = Vec::new();
        for HostCertificate { pair, hosts } in supplied {
            let known = added.iter().position(|(known, _)| *known == pair);
            let at = known.unwrap_or(added.len());
            let own = hosts.iter().filter(|host| whole.index.add(host, files + at)).map(Box::from);
            let own: Vec<_> = own.collect();
            match added.get_mut(at) {
                Some((_, names)) => names.extend(own),
                None if own.is_empty() => {}
                None => added.push((pair, own)),
            }
        }
        let before =
            before.filter(|before| before.supply.as_ref().is_some_and(|it| Arc::ptr_eq(it, settings)));
        for (pair, names) in added {
            let is_it = |entry: &&Arc<ServerEntry>| entry.pair.as_ref() == Some(pair);
            let config = match before.and_then(|before| before.entries.iter().find(is_it)) {
                Some(entry) => Arc::clone(&entry.config),
                None => Arc::new(settings.config(pair)?),
            };
            whole.expiries.push(pair.expiry().clone());
            let (names, clients, pair) =
                (HostNames::new(names), settings.clients.clone(), Some(pair.clone()));
            whole.entries.push(Arc::new(ServerEntry { config, names, clients, pair }));
        }
        Ok(whole)
    }
}

impl SupplySettings {
    /// Makes the configuration of a certificate.
    fn config(&self, pair: &PemPair) -> Result<ServerConfig, rustls::Error> {
        server_config(pair.key(), self.verifier.clone(), &self.protocols)
    }
}

impl TlsFileSet for ServerTlsFiles {
    type Built = ServerTls;

    fn paths(&self) -> Vec<PathBuf> {
        let of_authority =
            |clients: &Option<ClientAuthority>| clients.as_ref().map(|clients| clients.ca.clone());
        let of_pair =
            |pair: &ServerPair| pair.files.paths().chain(of_authority(&pair.clients)).collect::<Vec<_>>();
        let supplied = self.ingress.as_ref().and_then(|ingress| of_authority(&ingress.clients));
        self.certificates.iter().flat_map(of_pair).chain(supplied).collect()
    }

    fn build(&self) -> Result<ServerTls, TlsError> {
        let mut tls = ServerTls { files: self.certificates.len(), ..ServerTls::default() };
        for (at, pair) in self.certificates.iter().enumerate() {
            let read = CertificatePair::read(&pair.files)?;
            tls.expiries.push(Expiry::of(&read.facts, CertificateSource::File(pair.files.cert.clone())));
            let names = if pair.hosts.is_empty() { HostNames::of(&read.facts) } else { pair.hosts.clone() };
            for name in names.iter() {
                tls.index.add(name, at);
            }
            let verifier = pair.clients.as_ref().map(client_verifier).transpose()?;
            let config = server_config(&read.key, verifier, &self.protocols)
                .map_err(|error| TlsFault::from(error).in_file(&pair.files.cert))?;
            let (config, clients) = (Arc::new(config), pair.clients.clone());
            tls.entries.push(Arc::new(ServerEntry { config, names, clients, pair: None }));
        }
        if let Some(IngressTls { clients }) = &self.ingress {
            let verifier = clients.as_ref().map(client_verifier).transpose()?;
            let (protocols, clients) = (self.protocols.clone(), clients.clone());
            tls.supply = Some(Arc::new(SupplySettings { protocols, clients, verifier }));
        }
        Ok(tls)
    }

    fn expiries(built: &ServerTls) -> &[Expiry] {
        built.expiries.get(..built.files).unwrap_or_default()
    }
}

/// Makes what checks the certificates of callers.
fn client_verifier(clients: &ClientAuthority) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let roots = Authorities::read([&clients.ca], false)?.roots;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider()));
    let verifier = if clients.is_required { verifier } else { verifier.allow_unauthenticated() }.build();
    verifier.map_err(|error| TlsFault::from(rustls::Error::General(error.to_string())).in_file(&clients.ca))
}

/// Makes the configuration of one certificate.
///
/// Sessions are resumed by tickets, which take no memory here. Each certificate has a key for tickets of its own, new
/// whenever it changes: a session with another authority of callers cannot be resumed.
fn server_config(
    key: &CertifiedKey,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    protocols: &TlsProtocols,
) -> Result<ServerConfig, rustls::Error> {
    let builder: ConfigBuilder<ServerConfig, WantsVersions> =
        ServerConfig::builder_with_provider(protocols.provider());
    let builder = builder.with_protocol_versions(&protocols.versions())?;
    let builder = match verifier {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone())));
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new()?;
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
