//! The versions of TLS and the cipher suites that may be negotiated.

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};
use serde::Serialize;
use std::sync::{Arc, OnceLock};

/// The cipher suites there are, by the names of IANA, the preferred ones first. All of them keep the past secret.
pub const CIPHERS: [&str; 9] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Returns the cipher suite of this name.
pub fn find_cipher(name: &str) -> Option<&'static str> {
    CIPHERS.into_iter().find(|known| *known == name)
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[serde(rename = "TLSv1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "TLSv1.3")]
    Tls13,
}

/// The versions and cipher suites that may be negotiated; all there are by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TlsProtocols {
    /// `protocols`.
    #[serde(rename = "protocols", skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<TlsVersion>,
    /// `ciphers`, the preferred ones first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ciphers: Vec<&'static str>,
}

impl TlsProtocols {
    /// Returns the versions.
    pub(super) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let is_wanted = |version| self.versions.is_empty() || self.versions.contains(&version);
        let known =
            [(TlsVersion::Tls13, &rustls::version::TLS13), (TlsVersion::Tls12, &rustls::version::TLS12)];
        known.into_iter().filter(|(version, _)| is_wanted(*version)).map(|(_, version)| version).collect()
    }

    /// Returns the cryptography, with these cipher suites alone.
    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        if self.ciphers.is_empty() {
            return Arc::clone(provider());
        }
        let mut some = CryptoProvider::clone(provider());
        let suite = |name: &&str| some.cipher_suites.iter().find(|suite| name_of(suite) == **name).copied();
        some.cipher_suites = self.ciphers.iter().filter_map(suite).collect();
        Arc::new(some)
    }

    /// Returns whether a version has a cipher suite.
    pub fn has_suite(&self) -> bool {
        let versions = self.versions();
        self.provider().cipher_suites.iter().any(|suite| versions.contains(&suite.version()))
    }
}

/// Returns the name of a cipher suite, as IANA has it.
fn name_of(suite: &SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    name.replace("TLS13_", "TLS_")
}

/// Returns the cryptography of the process: aws-lc.
pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_has_its_name() {
        let known: Vec<_> = provider().cipher_suites.iter().map(name_of).collect();
        assert_eq!(known, CIPHERS);
        let one = TlsProtocols { versions: Vec::new(), ciphers: vec!["TLS_AES_128_GCM_SHA256"] };
        assert_eq!(one.provider().cipher_suites.len(), 1);
        assert!(one.has_suite());
        assert!(!TlsProtocols { versions: vec![TlsVersion::Tls12], ..one }.has_suite());
    }
}
