//! A certificate with its chain and its key.

use super::certificate::CertificateFacts;
use super::error::{TlsError, TlsFault};
use super::files::PairFiles;
use super::pem_file::{parse_certificates, parse_key, read_certificates, read_key};
use super::protocols::provider;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore};
use std::sync::Arc;
use std::time::SystemTime;

/// The certificates of a file, those of the file of intermediates, and the key.
type PairParts = (Vec<CertificateDer<'static>>, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A certificate with its chain and its key, checked.
#[derive(Clone, Debug)]
pub(super) struct CertificatePair {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) facts: CertificateFacts,
}

impl CertificatePair {
    /// Reads the files, and checks that they fit each other and the time.
    pub(super) fn read(files: &PairFiles) -> Result<Self, TlsError> {
        let own = read_certificates(&files.cert)?;
        let intermediates = files.intermediates.as_deref().map(read_certificates).transpose()?;
        let key = read_key(&files.key)?;
        Self::check((own, intermediates.unwrap_or_default(), key), files)
    }

    /// Does the same with texts in PEM, which `places` names in errors. It has no intermediates of their own.
    pub(super) fn parse(cert: &[u8], key: &[u8], places: &PairFiles) -> Result<Self, TlsError> {
        let own = parse_certificates(cert).map_err(|fault| fault.in_file(&places.cert))?;
        let key = parse_key(key).map_err(|fault| fault.in_file(&places.key))?;
        Self::check((own, Vec::new(), key), places)
    }

    /// Checks that a certificate, those that issued it and its key fit each other and the time.
    fn check((own, intermediates, key): PairParts, files: &PairFiles) -> Result<Self, TlsError> {
        let mut facts = take_apart(&own).map_err(|fault| fault.in_file(&files.cert))?;
        let place = files.intermediates.as_ref().unwrap_or(&files.cert);
        facts.extend(take_apart(&intermediates).map_err(|fault| fault.in_file(place))?);
        let chain = [own, intermediates].concat();
        let signing = provider().key_provider.load_private_key(key).map_err(|error| {
            let reason = match error {
                Error::General(reason) => reason,
                other => other.to_string(),
            };
            TlsFault::UnusableKey { reason }.in_file(&files.key)
        })?;
        let key = CertifiedKey::new(chain, signing);
        check_key(&key, files)?;
        let now = SystemTime::now();
        facts
            .iter()
            .try_for_each(|facts| facts.check_time(now))
            .map_err(|fault| fault.in_file(&files.cert))?;
        check_links(&facts).map_err(|fault| fault.in_file(place))?;
        check_signatures(&key.cert, &facts).map_err(|fault| fault.in_file(place))?;
        Ok(Self { key: Arc::new(key), facts: facts.swap_remove(0) })
    }
}

fn take_apart(chain: &[CertificateDer<'_>]) -> Result<Vec<CertificateFacts>, TlsFault> {
    let read = |(at, der)| {
        CertificateFacts::read(der).map_err(|reason| TlsFault::Malformed { number: at + 1, reason })
    };
    chain.iter().enumerate().map(read).collect()
}

/// Checks that the key is that of the first certificate.
fn check_key(key: &CertifiedKey, files: &PairFiles) -> Result<(), TlsError> {
    let fits = |certificate: &CertificateDer<'static>| {
        let alone = CertifiedKey::new(vec![certificate.clone()], Arc::clone(&key.key));
        match alone.keys_match() {
            Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(true),
            Err(Error::InconsistentKeys(_)) => Ok(false),
            Ok(()) => Ok(true),
            Err(error) => Err(TlsFault::from(error).in_file(&files.cert)),
        }
    };
    for (number, certificate) in (1..).zip(&key.cert) {
        if fits(certificate)? {
            if number == 1 {
                return Ok(());
            }
            return Err(TlsFault::LeafNotFirst { number }.in_file(&files.cert));
        }
    }
    Err(TlsFault::KeyMismatch { certificate: files.cert.clone() }.in_file(&files.key))
}

/// Checks that each certificate is followed by the one that issued it, by their names.
fn check_links(facts: &[CertificateFacts]) -> Result<(), TlsFault> {
    for (at, pair) in facts.windows(2).enumerate() {
        let [certificate, next] = pair else { continue };
        if certificate.is_issued_by(next) {
            continue;
        }
        let elsewhere = facts.iter().skip(at + 2).any(|other| certificate.is_issued_by(other));
        let advice = if elsewhere {
            "bring them into order, each followed by the one that issued it"
        } else {
            "add the intermediate certificate that is missing between the two, or remove the second"
        };
        return Err(broken_chain(certificate, next, advice));
    }
    Ok(())
}

/// Checks that the chain holds by its signatures as well: an authority may have two keys under one name.
fn check_signatures(chain: &[CertificateDer<'static>], facts: &[CertificateFacts]) -> Result<(), TlsFault> {
    let ([leaf, between @ .., last], [first, .., end]) = (chain, facts) else { return Ok(()) };
    let mut roots = RootCertStore::empty();
    if roots.add(last.clone()).is_err() {
        return Ok(());
    }
    let leaf = ParsedCertificate::try_from(leaf)?;
    let algorithms = provider().signature_verification_algorithms.all;
    let verified =
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, between, UnixTime::now(), algorithms);
    match verified {
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            let advice = "the names fit and the signatures do not: one of them is older than the other, so fetch them anew";
            Err(broken_chain(first, end, advice))
        }
        // Other findings are the matter of the peer, who may know better.
        _ => Ok(()),
    }
}

fn broken_chain(certificate: &CertificateFacts, next: &CertificateFacts, advice: &'static str) -> TlsFault {
    TlsFault::BrokenChain {
        subject: certificate.title(),
        issuer: format!("`{}`", certificate.issuer()),
        next: next.title(),
        advice,
    }
}
