//! The authorities whose certificates are believed.

use super::certificate::CertificateFacts;
use super::error::{TlsError, TlsFault};
use super::pem_file::read_certificates;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The certificates of authorities.
#[derive(Clone, Debug)]
pub(super) struct Authorities {
    pub(super) roots: Arc<RootCertStore>,
    /// The certificates of files, each as it is: a peer may present one of them itself.
    pub(super) certificates: Arc<[CertificateDer<'static>]>,
}

impl Authorities {
    /// Reads the certificates of files. `or_peers` allows those among them that peers have signed for themselves.
    pub(super) fn read<'a>(
        files: impl IntoIterator<Item = &'a PathBuf>,
        or_peers: bool,
    ) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let mut all = Vec::new();
        for file in files {
            let certificates = read_certificates(file)?;
            for (at, certificate) in certificates.iter().enumerate() {
                add(&mut roots, certificate, at + 1, or_peers).map_err(|fault| fault.in_file(file))?;
            }
            all.extend(certificates);
        }
        Ok(Self { roots: Arc::new(roots), certificates: all.into() })
    }

    /// Reads those that the system trusts. Single ones that cannot be used are left out, as the system's other programs do.
    pub(super) fn of_system() -> Result<Self, TlsError> {
        let loaded = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(loaded.certs);
        if added == 0 {
            let reason = loaded.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
            return Err(TlsFault::NoSystemRoots { reason }.in_file(Path::new("client.tls")));
        }
        Ok(Self { roots: Arc::new(roots), certificates: Arc::new([]) })
    }
}

/// Adds one certificate.
fn add(
    roots: &mut RootCertStore,
    certificate: &CertificateDer<'static>,
    number: usize,
    or_peers: bool,
) -> Result<(), TlsFault> {
    let malformed = |reason: String| TlsFault::Malformed { number, reason };
    let facts = CertificateFacts::read(certificate).map_err(malformed)?;
    if facts.is_no_authority() {
        if or_peers && facts.is_issued_by(&facts) {
            return Ok(());
        }
        return Err(TlsFault::NotAuthority { subject: facts.title() });
    }
    roots.add(certificate.clone()).map_err(|error| malformed(error.to_string()))
}
