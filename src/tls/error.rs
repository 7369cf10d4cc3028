//! The faults of files of certificates and keys.

use std::io;
use std::path::{Path, PathBuf};

/// The reason why a file of certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", file.display())]
pub struct TlsError {
    /// The file.
    pub file: PathBuf,
    /// The fault.
    pub fault: TlsFault,
}

/// A fault of a file of certificates or keys.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It has nothing.
    #[error("the file is empty: expected {expected} in PEM")]
    Empty {
        /// The contents that it should have.
        expected: &'static str,
    },
    /// It is not PEM, or a part of it is damaged.
    #[error("expected {expected} in PEM: {reason}")]
    NotPem {
        /// The contents that it should have.
        expected: &'static str,
        /// The part that is damaged.
        reason: String,
    },
    /// It has something else.
    #[error("expected {expected}, found {found}")]
    OtherKind {
        /// The contents that it should have.
        expected: &'static str,
        /// The kinds that it has.
        found: String,
    },
    /// Its key is encrypted.
    #[error(
        "the private key is encrypted: write it without its passphrase, as `openssl pkey -in key.pem -out plain.pem` does"
    )]
    EncryptedKey,
    /// It has more than one key.
    #[error("it has {0} private keys: expected one, that of the certificate")]
    SeveralKeys(usize),
    /// Its key is of a kind that is not supported, or damaged.
    #[error(
        "the private key cannot be used ({reason}): expected RSA with 2048 bits or more, ECDSA with P-256, P-384 or P-521, \
         or Ed25519"
    )]
    UnusableKey {
        /// The reason.
        reason: String,
    },
    /// Its key is that of another certificate.
    #[error(
        "the private key does not fit the certificate in {}: both must be made together, so one of the two files is \
         of another certificate",
        certificate.display()
    )]
    KeyMismatch {
        /// The file of the certificate.
        certificate: PathBuf,
    },
    /// A certificate is damaged.
    #[error("certificate {number} of the file is malformed: {reason}")]
    Malformed {
        /// Its number in the file, from 1.
        number: usize,
        /// The reason.
        reason: String,
    },
    /// A certificate is no longer valid.
    #[error("the certificate of {subject} expired at {at}: renew it")]
    Expired {
        /// Its subject.
        subject: String,
        /// The end of its time.
        at: String,
    },
    /// A certificate is not valid yet.
    #[error("the certificate of {subject} is valid from {at} on, which is to come: check the clock, or wait")]
    NotYetValid {
        /// Its subject.
        subject: String,
        /// The beginning of its time.
        at: String,
    },
    /// The certificate that the key fits is not the first.
    #[error(
        "the certificates are in the wrong order: the private key fits certificate {number}, which must come first, then \
         the one that issued it, and so on"
    )]
    LeafNotFirst {
        /// The number of that certificate in the chain, from 1.
        number: usize,
    },
    /// A certificate of the chain is not followed by the one that issued it.
    #[error("the chain is broken: {subject} was issued by {issuer}, but {next} follows: {advice}")]
    BrokenChain {
        /// The subject of the certificate.
        subject: String,
        /// Its issuer.
        issuer: String,
        /// The subject of the certificate that follows.
        next: String,
        /// The advice.
        advice: &'static str,
    },
    /// A certificate is not that of an authority.
    #[error(
        "the certificate of {subject} is not that of an authority (CA), so it cannot have issued others: name the file of \
         the authority"
    )]
    NotAuthority {
        /// Its subject.
        subject: String,
    },
    /// The system trusts no authority.
    #[error(
        "the system has no certificates of authorities{reason}: install them (`ca-certificates`), set SSL_CERT_FILE, or name \
         the authorities in `trustCertsBundle`"
    )]
    NoSystemRoots {
        /// The error of the system, if it gave one.
        reason: String,
    },
    /// rustls refuses the whole.
    #[error("cannot be used: {0}")]
    Refused(#[from] rustls::Error),
}

impl TlsFault {
    /// Adds the file.
    pub(super) fn in_file(self, file: &Path) -> TlsError {
        TlsError { file: file.to_owned(), fault: self }
    }
}
