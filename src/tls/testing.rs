//! Certificates for tests, in a folder of their own.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// An authority, or a certificate that it issued.
pub(super) struct TestCertificate {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
    pub(super) key: String,
}

/// A folder of files.
pub(super) struct TestFiles(TempDir);

fn params(name: &str, is_authority: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    } else {
        params.is_ca = IsCa::ExplicitNoCa;
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
    }
    params
}

impl TestCertificate {
    fn make(params: CertificateParams, issuer: Option<&Self>) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = match issuer {
            Some(issuer) => params.signed_by(&key, &issuer.issuer),
            None => params.self_signed(&key),
        };
        let (pem, text) = (certificate.unwrap().pem(), key.serialize_pem());
        Self { issuer: Issuer::new(params, key), pem, key: text }
    }

    /// Makes an authority, issued by itself or by another.
    pub(super) fn authority(name: &str, issuer: Option<&Self>) -> Self {
        Self::make(params(name, true), issuer)
    }

    /// Issues a certificate for a host.
    pub(super) fn issue(&self, host: &str) -> Self {
        Self::make(params(host, false), Some(self))
    }

    /// Issues a certificate whose time is these years.
    pub(super) fn issue_for_years(&self, host: &str, begin: i32, end: i32) -> Self {
        let mut params = params(host, false);
        params.not_before = date_time_ymd(begin, 1, 1);
        params.not_after = date_time_ymd(end, 1, 1);
        Self::make(params, Some(self))
    }
}

impl TestFiles {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file and returns its path.
    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}
