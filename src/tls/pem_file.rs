//! Reads certificates and keys, of files or not: PEM (RFC 7468), as OpenSSL and others write it.

use super::error::{TlsError, TlsFault};
use pem::Pem;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// How many bytes a file may have: the bundle of all public authorities has a quarter of it.
const MAX_BYTES: u64 = 1024 * 1024;

const CERTIFICATES: &str = "a certificate (-----BEGIN CERTIFICATE-----)";
const KEY: &str = "a private key (-----BEGIN PRIVATE KEY-----)";

/// Reads the certificates of a file, at least one.
pub(super) fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let content = read_bounded(file).map_err(|error| TlsFault::from(error).in_file(file))?;
    parse_certificates(&content).map_err(|fault| fault.in_file(file))
}

/// Parses certificates, at least one.
pub(super) fn parse_certificates(content: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let sections = parse_sections(content, CERTIFICATES)?;
    let is_certificate =
        |pem: &&Pem| matches!(pem.tag(), "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE");
    let certificates: Vec<_> =
        sections.iter().filter(is_certificate).map(|pem| pem.contents().to_vec().into()).collect();
    if certificates.is_empty() {
        let found = list_kinds(&sections);
        return Err(TlsFault::OtherKind { expected: CERTIFICATES, found });
    }
    Ok(certificates)
}

/// Reads the key of a file: PKCS#8, PKCS#1 or SEC1. Certificates beside it do not matter.
pub(super) fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let content = read_bounded(file).map_err(|error| TlsFault::from(error).in_file(file))?;
    parse_key(&content).map_err(|fault| fault.in_file(file))
}

/// Parses a key, as [`read_key`] does.
pub(super) fn parse_key(content: &[u8]) -> Result<PrivateKeyDer<'static>, TlsFault> {
    let sections = parse_sections(content, KEY)?;
    let is_encrypted =
        |pem: &Pem| pem.tag() == "ENCRYPTED PRIVATE KEY" || pem.headers().get("Proc-Type").is_some();
    if sections.iter().any(is_encrypted) {
        return Err(TlsFault::EncryptedKey);
    }
    let found = list_kinds(&sections);
    let mut keys: Vec<PrivateKeyDer<'static>> = sections.into_iter().filter_map(key_of).collect();
    match keys.len() {
        0 => Err(TlsFault::OtherKind { expected: KEY, found }),
        1 => Ok(keys.remove(0)),
        several => Err(TlsFault::SeveralKeys(several)),
    }
}

/// Returns the key of a section, if it is one.
fn key_of(pem: Pem) -> Option<PrivateKeyDer<'static>> {
    Some(match pem.tag() {
        "PRIVATE KEY" => PrivatePkcs8KeyDer::from(pem.into_contents()).into(),
        "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(pem.into_contents()).into(),
        "EC PRIVATE KEY" => PrivateSec1KeyDer::from(pem.into_contents()).into(),
        _ => return None,
    })
}

/// Parses the sections of a text; at least one.
fn parse_sections(content: &[u8], expected: &'static str) -> Result<Vec<Pem>, TlsFault> {
    if content.iter().all(u8::is_ascii_whitespace) {
        return Err(TlsFault::Empty { expected });
    }
    let sections =
        pem::parse_many(content).map_err(|error| TlsFault::NotPem { expected, reason: error.to_string() })?;
    if sections.is_empty() {
        let reason = match content.first() {
            // A SEQUENCE, with which every certificate and key begins.
            Some(0x30) => {
                "it seems to be DER; `openssl x509 -inform der` or `openssl pkey -inform der` makes PEM of it"
            }
            _ => "no line begins a section (-----BEGIN)",
        };
        return Err(TlsFault::NotPem { expected, reason: reason.to_owned() });
    }
    Ok(sections)
}

/// Reads a file that has no more than [`MAX_BYTES`].
fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(file)?.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_BYTES {
        let reason = format!("it has more than {MAX_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(content)
}

/// Lists the kinds of the sections, in words: `a PUBLIC KEY and a CERTIFICATE`.
fn list_kinds(sections: &[Pem]) -> String {
    let mut kinds: Vec<String> = sections.iter().map(|pem| format!("`{}`", pem.tag())).collect();
    kinds.dedup();
    kinds.truncate(5);
    kinds.join(", ")
}
