//! The contents of a certificate, as far as anything here asks for them.

use super::error::TlsFault;
use rustls::pki_types::CertificateDer;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::time::Time;

/// The attribute of a subject that names it (RFC 5280, appendix A).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// A certificate that was taken apart.
#[derive(Clone, Debug)]
pub(super) struct CertificateFacts(Certificate);

/// The alternative names of a certificate (RFC 5280, 4.2.1.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AlternativeNames {
    pub(super) dns: Vec<String>,
    pub(super) uris: Vec<String>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) mail: Vec<String>,
}

impl CertificateFacts {
    /// Takes a certificate apart; the error is the reason why it is malformed.
    pub(super) fn read(der: &CertificateDer<'_>) -> Result<Self, String> {
        Certificate::from_der(der).map(Self).map_err(|error| error.to_string())
    }

    /// Returns the subject, as RFC 4514 writes it; its certificate may have none.
    pub(super) fn subject(&self) -> String {
        self.0.tbs_certificate().subject().to_string()
    }

    /// Returns the subject, or else the first alternative name, for messages.
    pub(super) fn title(&self) -> String {
        let subject = self.subject();
        if !subject.is_empty() {
            return format!("`{subject}`");
        }
        let names = self.alternative_names();
        names
            .dns
            .iter()
            .chain(&names.uris)
            .next()
            .map_or_else(|| "no name".to_owned(), |name| format!("`{name}`"))
    }

    pub(super) fn issuer(&self) -> String {
        self.0.tbs_certificate().issuer().to_string()
    }

    /// Returns whether the names say that `issuer` issued it.
    pub(super) fn is_issued_by(&self, issuer: &Self) -> bool {
        self.0.tbs_certificate().issuer() == issuer.0.tbs_certificate().subject()
    }

    /// Returns the common name of the subject: the last one, which is the most specific.
    pub(super) fn common_name(&self) -> Option<String> {
        let subject = self.0.tbs_certificate().subject();
        let names = subject.iter().filter(|attribute| attribute.oid == COMMON_NAME);
        // All string types of such names but two, which are of the last century, are ASCII or UTF-8.
        names.last().and_then(|name| String::from_utf8(name.value.value().to_vec()).ok())
    }

    /// Returns the alternative names; a malformed list is none.
    pub(super) fn alternative_names(&self) -> AlternativeNames {
        let mut names = AlternativeNames::default();
        let Ok(Some((_, listed))) = self.0.tbs_certificate().get_extension::<SubjectAltName>() else {
            return names;
        };
        for name in listed.0 {
            match name {
                GeneralName::DnsName(name) => names.dns.push(name.to_string()),
                GeneralName::UniformResourceIdentifier(name) => names.uris.push(name.to_string()),
                GeneralName::Rfc822Name(name) => names.mail.push(name.to_string()),
                GeneralName::IpAddress(bytes) => names.addresses.extend(address(bytes.as_bytes())),
                _ => {}
            }
        }
        names
    }

    /// Returns whether it says that it is not that of an authority. One of version 1 cannot say so.
    pub(super) fn is_no_authority(&self) -> bool {
        let tbs = self.0.tbs_certificate();
        match tbs.get_extension::<BasicConstraints>() {
            Ok(Some((_, constraints))) => !constraints.ca,
            Ok(None) => tbs.extensions().is_some(),
            Err(_) => true,
        }
    }

    /// Returns the end of its time, in seconds since 1970.
    pub(super) fn not_after(&self) -> u64 {
        self.0.tbs_certificate().validity().not_after.to_unix_duration().as_secs()
    }

    /// Returns the length of its time, in seconds.
    pub(super) fn lifetime(&self) -> u64 {
        let begin = self.0.tbs_certificate().validity().not_before.to_unix_duration().as_secs();
        self.not_after().saturating_sub(begin)
    }

    /// Checks that it is valid now.
    pub(super) fn check_time(&self, now: SystemTime) -> Result<(), TlsFault> {
        let validity = self.0.tbs_certificate().validity();
        let (begin, end): (&Time, &Time) = (&validity.not_before, &validity.not_after);
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if now < begin.to_unix_duration() {
            return Err(TlsFault::NotYetValid { subject: self.title(), at: begin.to_string() });
        }
        if now > end.to_unix_duration() {
            return Err(TlsFault::Expired { subject: self.title(), at: end.to_string() });
        }
        Ok(())
    }
}

/// Returns the address of so many bytes.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
    v4().or_else(v6)
}
