//! Certificates and keys as configurations of rustls: read from PEM files, checked, chosen by name, and read again when
//! the files change; and the stream that encrypts with them.
//!
//! * `pem_file` reads files, `pair` makes a chain and its key of them, `authority` the certificates that are trusted.
//! * `certificate` has what certificates say, `identity` what that of a peer says, and patterns for it.
//! * `server` has the configuration of one that accepts, `client` of one that connects; `live` follows their files.
//! * `supply` puts certificates of Secrets beside those of files; `host_index` finds the one of a host.
//! * `stream` is a connection, over rustls without its buffers, `session` its state; `handshake` begins one.
//!
//! A file that is wrong fails the start with its path and its fault. One that is wrong later leaves what was read before
//! in use.
//!
//! Absent: revocation lists and OCSP, early data, raw public keys, and TLS before 1.2.

mod authority;
mod certificate;
mod client;
mod error;
mod expiry;
mod files;
mod handshake;
mod host_index;
mod identity;
mod live;
mod names;
mod pair;
mod pem_file;
mod protocols;
mod server;
mod session;
mod stream;
mod supply;

pub use self::client::{ClientTls, EndpointName};
pub use self::error::{TlsError, TlsFault};
pub use self::files::{
    AuthorityFiles, ClientAuthority, ClientTlsFiles, IngressTls, PairFiles, ServerPair, ServerTlsFiles,
};
pub use self::handshake::{HandshakeError, accept, connect};
pub use self::identity::{Identity, IdentityPattern};
pub use self::live::{LiveTls, OpenTls};
pub use self::names::HostNames;
pub use self::protocols::{CIPHERS, TlsProtocols, TlsVersion, find_cipher};
pub use self::server::{SecurePeer, ServerTls};
pub use self::stream::TlsStream;
pub use self::supply::{CertificateSupply, HostCertificate, PemPair};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
