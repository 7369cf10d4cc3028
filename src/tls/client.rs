//! The configuration of connections to endpoints: the authorities that are believed, and the certificate that is shown.

use super::authority::Authorities;
use super::certificate::CertificateFacts;
use super::error::{TlsError, TlsFault};
use super::expiry::{CertificateSource, Expiry};
use super::files::{AuthorityFiles, ClientTlsFiles};
use super::live::TlsFileSet;
use super::pair::CertificatePair;
use super::protocols::provider;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// How many names of endpoints have sessions that are resumed, each eight at most.
const MOST_RESUMED: usize = 64;

/// The configuration of connections to endpoints.
#[derive(Debug)]
pub struct ClientTls {
    pub(super) config: Arc<ClientConfig>,
    expiries: Vec<Expiry>,
}

/// The name that an endpoint's certificate must have: a host name, or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointName(pub(super) ServerName<'static>);

impl EndpointName {
    /// Reads a name; `None` when it is neither a host name nor an address.
    pub fn parse(text: &str) -> Option<Self> {
        ServerName::try_from(text.to_owned()).ok().map(Self)
    }

    /// Returns the name of an endpoint that is known by its address alone.
    pub fn of_address(address: std::net::IpAddr) -> Self {
        Self(ServerName::IpAddress(address.into()))
    }
}

impl TlsFileSet for ClientTlsFiles {
    type Built = ClientTls;

    fn paths(&self) -> Vec<PathBuf> {
        let authorities = match &self.authorities {
            AuthorityFiles::Files(files) => files.as_slice(),
            AuthorityFiles::System | AuthorityFiles::Unchecked => &[],
        };
        let pair = self.pair.iter().flat_map(|pair| pair.paths());
        authorities.iter().cloned().chain(pair).collect()
    }

    fn build(&self) -> Result<ClientTls, TlsError> {
        let algorithms = provider().signature_verification_algorithms;
        let authorities = match &self.authorities {
            AuthorityFiles::Files(files) => Some(Authorities::read(files, true)?),
            AuthorityFiles::System => Some(Authorities::of_system()?),
            AuthorityFiles::Unchecked => None,
        };
        let pair = self.pair.as_ref().map(|files| Ok((files, CertificatePair::read(files)?))).transpose()?;
        let place = pair.as_ref().map_or(Path::new("client.tls"), |(files, _)| &files.cert);
        let verifier = Arc::new(EndpointVerifier { authorities, algorithms });
        let builder = ClientConfig::builder_with_provider(self.protocols.provider())
            .with_protocol_versions(&self.protocols.versions())
            .map_err(|error| TlsFault::from(error).in_file(place))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &pair {
            None => builder.with_no_client_auth(),
            Some((_, pair)) => {
                let own = rustls::sign::CertifiedKey::clone(&pair.key);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)))
            }
        };
        config.resumption = Resumption::in_memory_sessions(MOST_RESUMED);
        let expiries = pair
            .iter()
            .map(|(files, pair)| Expiry::of(&pair.facts, CertificateSource::File(files.cert.clone())))
            .collect();
        Ok(ClientTls { config: Arc::new(config), expiries })
    }

    fn expiries(built: &ClientTls) -> &[Expiry] {
        &built.expiries
    }
}

/// The rules by which the certificate of an endpoint is believed.
///
/// Beyond those of webpki, as Linkerd 1 on the JVM had them: a certificate without alternative names is that of its common
/// name, and one of the bundle is believed itself.
#[derive(Debug)]
struct EndpointVerifier {
    /// Those that are believed; without them, whatever certificate there is.
    authorities: Option<Authorities>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl EndpointVerifier {
    /// Checks that an authority has issued the certificate, or that it is one of those that are believed themselves.
    fn verify_chain(
        &self,
        authorities: &Authorities,
        (leaf, parsed): (&CertificateDer<'_>, &ParsedCertificate<'_>),
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let roots = &authorities.roots;
        let all = self.algorithms.all;
        let verified = verify_server_cert_signed_by_trust_anchor(parsed, roots, intermediates, now, all);
        let Err(error) = verified else { return Ok(()) };
        if !authorities.certificates.iter().any(|known| known == leaf) {
            return Err(error);
        }
        let facts = CertificateFacts::read(leaf).map_err(|_| CertificateError::BadEncoding)?;
        facts.check_time(SystemTime::now()).map_err(|fault| match fault {
            TlsFault::NotYetValid { .. } => CertificateError::NotValidYet.into(),
            _ => CertificateError::Expired.into(),
        })
    }
}

/// Checks the name of a certificate.
fn verify_name(
    leaf: &CertificateDer<'_>,
    parsed: &ParsedCertificate<'_>,
    name: &ServerName<'_>,
) -> Result<(), Error> {
    let Err(error) = verify_server_name(parsed, name) else { return Ok(()) };
    let ServerName::DnsName(wanted) = name else { return Err(error) };
    let facts = CertificateFacts::read(leaf).map_err(|_| CertificateError::BadEncoding)?;
    let has_name = facts.alternative_names().dns.is_empty()
        && facts.common_name().is_some_and(|own| own.eq_ignore_ascii_case(wanted.as_ref()));
    if has_name { Ok(()) } else { Err(error) }
}

impl ServerCertVerifier for EndpointVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(authorities) = &self.authorities {
            let parsed = ParsedCertificate::try_from(leaf)?;
            self.verify_chain(authorities, (leaf, &parsed), intermediates, now)?;
            verify_name(leaf, &parsed, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
