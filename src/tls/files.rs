//! The files of which TLS is made, and the rules beside them, as a configuration names them.

use super::names::HostNames;
use super::protocols::TlsProtocols;
use serde::Serialize;
use std::path::PathBuf;

/// The files of a certificate and its key. A relative path is relative to the working directory, here and below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PairFiles {
    /// `certPath`: the certificate; those that issued it may follow.
    #[serde(rename = "certPath")]
    pub cert: PathBuf,
    /// `keyPath`: its private key, in PKCS#8, PKCS#1 or SEC1.
    #[serde(rename = "keyPath")]
    pub key: PathBuf,
    /// `intermediateCertsPath`: the certificates that issued it, in their order.
    #[serde(rename = "intermediateCertsPath", skip_serializing_if = "Option::is_none")]
    pub intermediates: Option<PathBuf>,
}

impl PairFiles {
    /// Returns the paths of all files.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        [&self.cert, &self.key].into_iter().chain(&self.intermediates).cloned()
    }
}

/// The authority of callers' certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientAuthority {
    /// `caCertPath`: its certificates.
    #[serde(rename = "caCertPath")]
    pub ca: PathBuf,
    /// `requireClientAuth`: whether a caller without a certificate is refused; off by default.
    #[serde(rename = "requireClientAuth")]
    pub is_required: bool,
}

/// A certificate of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerPair {
    /// Its files.
    #[serde(flatten)]
    pub files: PairFiles,
    /// `hosts`: the names for which it is used; by default those in the certificate.
    #[serde(skip_serializing_if = "HostNames::is_empty")]
    pub hosts: HostNames,
    /// The authority of the callers for these names; without it they are not asked for certificates.
    #[serde(flatten)]
    pub clients: Option<ClientAuthority>,
}

/// The certificates of Ingresses, as a listener uses them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "IngressTlsKeys")]
pub struct IngressTls {
    /// The authority of the callers for their hosts; without it they are not asked for certificates.
    pub clients: Option<ClientAuthority>,
}

/// [`IngressTls`], as a configuration writes it.
#[derive(Serialize)]
struct IngressTlsKeys {
    ingress: bool,
    #[serde(flatten)]
    clients: Option<ClientAuthority>,
}

impl From<IngressTls> for IngressTlsKeys {
    fn from(IngressTls { clients }: IngressTls) -> Self {
        Self { ingress: true, clients }
    }
}

/// `tls` of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerTlsFiles {
    /// `certificates`: at least one, unless there is `ingress`; the first is for callers that ask for none of the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<ServerPair>,
    /// `ingress`: whether the certificates of Ingresses are used beside them.
    #[serde(flatten)]
    pub ingress: Option<IngressTls>,
    /// `protocols` and `ciphers`.
    #[serde(flatten)]
    pub protocols: TlsProtocols,
}

/// The authorities of endpoints' certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorityFiles {
    /// Those that the system trusts.
    System,
    /// Those of these files.
    Files(Vec<PathBuf>),
    /// None: whatever certificate an endpoint has is accepted.
    Unchecked,
}

/// The files of which TLS to an endpoint is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTlsFiles {
    /// The authorities of endpoints' certificates.
    pub authorities: AuthorityFiles,
    /// The certificate by which endpoints know the router.
    pub pair: Option<PairFiles>,
    /// `protocols`.
    pub protocols: TlsProtocols,
}
