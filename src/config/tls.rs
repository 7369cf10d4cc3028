//! Reads `tls` of listeners and of clients.

use super::errors::Report;
use super::reader::Reader;
use crate::namer::{Captures, PathMatcher, Template};
use crate::source::node::Node;
use crate::tls::{
    AuthorityFiles, CIPHERS, ClientAuthority, ClientTlsFiles, HostNames, IdentityPattern, IngressTls,
    PairFiles, ServerPair, ServerTlsFiles, TlsProtocols, TlsVersion, find_cipher,
};
use serde::{Serialize, Serializer};
use std::path::PathBuf;
use std::sync::Arc;

/// `tls` of a client.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ClientTlsConfig {
    /// `enabled`: on by default. Off, it takes back what an entry before it says.
    #[serde(rename = "enabled")]
    pub is_enabled: bool,
    /// `commonName`: the name that certificates must have, with the captures of the entry's prefix.
    #[serde(rename = "commonName", skip_serializing_if = "Option::is_none")]
    pub common_name: Option<CommonName>,
    /// `disableValidation`: whether any certificate is accepted; off by default.
    #[serde(rename = "disableValidation")]
    pub is_unchecked: bool,
    /// `trustCerts`: files with certificates of authorities.
    #[serde(rename = "trustCerts", skip_serializing_if = "Vec::is_empty")]
    pub trust_files: Vec<PathBuf>,
    /// `trustCertsBundle`: one file with them; by default those that the system trusts.
    #[serde(rename = "trustCertsBundle", skip_serializing_if = "Option::is_none")]
    pub trust_bundle: Option<PathBuf>,
    /// `clientAuth`: the certificate by which endpoints know the router; none by default.
    #[serde(rename = "clientAuth", skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<PairFiles>,
    /// `protocols`.
    #[serde(flatten)]
    pub protocols: TlsProtocols,
}

/// The name that certificates of endpoints must have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommonName {
    /// A name.
    Text(String),
    /// A name with captures in it, as it is written, and as a path of one element.
    Template(String, Template),
}

impl Serialize for CommonName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (Self::Text(text) | Self::Template(text, _)) = self;
        serializer.serialize_str(text)
    }
}

impl CommonName {
    /// Returns the name with these captures in it.
    pub(super) fn fill(&self, captures: &Captures<'_>) -> Self {
        let Self::Template(text, template) = self else { return self.clone() };
        let filled = template.fill(captures).and_then(|path| path.elems().next().map(<[u8]>::to_vec));
        // Bytes that are no text are no name either, and an empty name is none.
        Self::Text(filled.and_then(|name| String::from_utf8(name).ok()).unwrap_or_else(|| text.clone()))
    }

    /// Returns the name, once captures are in it.
    pub fn text(&self) -> &str {
        let (Self::Text(text) | Self::Template(text, _)) = self;
        text
    }
}

impl ClientTlsConfig {
    /// Returns the files, if connections are encrypted.
    pub fn files(&self) -> Option<ClientTlsFiles> {
        let bundle = self.trust_bundle.iter().chain(&self.trust_files).cloned().collect::<Vec<_>>();
        let authorities = match (self.is_unchecked, bundle.is_empty()) {
            (true, _) => AuthorityFiles::Unchecked,
            (false, true) => AuthorityFiles::System,
            (false, false) => AuthorityFiles::Files(bundle),
        };
        let (pair, protocols) = (self.client_auth.clone(), self.protocols.clone());
        self.is_enabled.then_some(ClientTlsFiles { authorities, pair, protocols })
    }
}

/// Reads `tls` of a listener of a router: that of [`server_tls`], and the certificates of Ingresses beside it or alone.
pub(super) fn listener_tls(server: &mut Reader<'_, '_>) -> Option<ServerTlsFiles> {
    let node = server.get("tls")?;
    let mut reader = Reader::new(&node, &["listener tls"], server.report());
    let is_ingress = reader.flag("ingress") == Some(true);
    let has_files = ["certPath", "keyPath", "certificates"].iter().any(|key| reader.get(key).is_some());
    if !is_ingress || has_files {
        let (files, clients) = read_server_tls(&mut reader)?;
        return Some(ServerTlsFiles { ingress: is_ingress.then_some(IngressTls { clients }), ..files });
    }
    for key in ["intermediateCertsPath", "hosts"] {
        let beside = reader.get(key);
        if beside.is_some() {
            reader.error(beside.as_ref(), "it belongs to `certPath` and `keyPath`, which are not there");
        }
    }
    let (protocols, ingress) = (all_protocols(&mut reader), IngressTls { clients: clients(&mut reader) });
    Some(ServerTlsFiles { certificates: Vec::new(), ingress: Some(ingress), protocols })
}

/// Reads `tls` of the admin server: one certificate, or a list of them. What stands beside the list holds for each of its
/// certificates that says nothing else.
pub(super) fn server_tls(server: &mut Reader<'_, '_>) -> Option<ServerTlsFiles> {
    let node = server.get("tls")?;
    read_server_tls(&mut Reader::new(&node, &["server tls"], server.report())).map(|(files, _)| files)
}

/// Reads the versions and the cipher suites that are spoken.
fn all_protocols(reader: &mut Reader<'_, '_>) -> TlsProtocols {
    let protocols = TlsProtocols { ciphers: ciphers(reader).unwrap_or_default(), ..protocols(reader) };
    if !protocols.has_suite() {
        let node = reader.get("ciphers");
        reader.error(node.as_ref(), "none of these cipher suites is of one of the `protocols`");
    }
    protocols
}

/// Reads the certificates of files, and the authority of callers that stands beside them.
fn read_server_tls(reader: &mut Reader<'_, '_>) -> Option<(ServerTlsFiles, Option<ClientAuthority>)> {
    let protocols = all_protocols(reader);
    let list = reader.get("certificates");
    let clients = clients(reader);
    let Some(list) = list else {
        let pair = server_pair(reader)?;
        let certificates = vec![ServerPair { clients: clients.clone(), ..pair }];
        return Some((ServerTlsFiles { certificates, ingress: None, protocols }, clients));
    };
    for key in ["certPath", "keyPath", "intermediateCertsPath", "hosts"] {
        let beside = reader.get(key);
        if beside.is_some() {
            let message = "`certificates` has all certificates: move this into one of them";
            reader.error(beside.as_ref(), message);
        }
    }
    let nodes = list.list().unwrap_or_default();
    if nodes.is_empty() && list.is_list() {
        reader.error(Some(&list), "expected at least one certificate: `{certPath: .., keyPath: ..}`");
    }
    let read = |node: &Node<'_>, report: &mut Report| {
        let mut entry = Reader::new(node, &["server certificate"], report);
        let own = self::clients(&mut entry);
        Some(ServerPair { clients: own.or_else(|| clients.clone()), ..server_pair(&mut entry)? })
    };
    let certificates = reader.report().each(&nodes, read);
    let is_any = !certificates.is_empty();
    is_any.then_some((ServerTlsFiles { certificates, ingress: None, protocols }, clients))
}

/// Reads the files and the hosts of one certificate.
fn server_pair(reader: &mut Reader<'_, '_>) -> Option<ServerPair> {
    let (hosts, files) = (hosts(reader), pair(reader));
    Some(ServerPair { files: files?, hosts, clients: None })
}

/// Reads the files of a certificate.
fn pair(reader: &mut Reader<'_, '_>) -> Option<PairFiles> {
    let (cert, key) = (reader.require("certPath"), reader.require("keyPath"));
    let (cert_path, key_path) = (path(reader, "certPath"), path(reader, "keyPath"));
    let intermediates = path(reader, "intermediateCertsPath");
    (cert.is_some() && key.is_some()).then_some(PairFiles { cert: cert_path?, key: key_path?, intermediates })
}

fn path(reader: &mut Reader<'_, '_>, key: &str) -> Option<PathBuf> {
    reader.non_empty(key).map(PathBuf::from)
}

/// Reads the authority of callers.
fn clients(reader: &mut Reader<'_, '_>) -> Option<ClientAuthority> {
    let (ca, is_required) = (path(reader, "caCertPath"), reader.flag("requireClientAuth"));
    if is_required == Some(true) && reader.get("caCertPath").is_none() {
        let node = reader.get("requireClientAuth");
        reader.error(
            node.as_ref(),
            "`caCertPath` is missing: the authority whose certificates callers must have",
        );
    }
    Some(ClientAuthority { ca: ca?, is_required: is_required.unwrap_or(false) })
}

/// Reads `hosts` of a certificate.
fn hosts(reader: &mut Reader<'_, '_>) -> HostNames {
    let expected = "a host name such as `shop.example.com` or `*.example.com`";
    let names = list(reader, "hosts", expected, HostNames::parse_one);
    HostNames::new(names.unwrap_or_default())
}

/// Reads `identities` of a mapping: patterns of names in certificates of callers.
pub(super) fn identities(reader: &mut Reader<'_, '_>) -> Option<Arc<[IdentityPattern]>> {
    let node = reader.get("identities")?;
    let nodes = reader.report().check(node.list())?;
    if nodes.is_empty() {
        reader.error(Some(&node), "this list is empty: no caller would have such an identity");
    }
    let read = |node: &Node<'_>, report: &mut Report| {
        let text = report.check(node.text())?;
        report.check(IdentityPattern::parse(text).map_err(|expected| node.unexpected(expected)))
    };
    Some(reader.report().each(&nodes, read).into())
}

/// Reads a list of texts; `read` reads one.
fn list<T>(
    reader: &mut Reader<'_, '_>,
    key: &str,
    expected: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Option<Vec<T>> {
    let node = reader.get(key)?;
    let nodes = reader.report().check(node.list())?;
    if nodes.is_empty() {
        reader.error(Some(&node), format!("this list is empty: expected {expected}"));
    }
    Some(reader.report().each(&nodes, |node, report| {
        let text = report.check(node.text())?;
        report.check(read(text).ok_or_else(|| node.unexpected(expected)))
    }))
}

/// Reads `protocols`.
fn protocols(reader: &mut Reader<'_, '_>) -> TlsProtocols {
    let expected = "`TLSv1.2` or `TLSv1.3`: those before are broken, and not spoken";
    let version = |text: &str| match text {
        "TLSv1.2" => Some(TlsVersion::Tls12),
        "TLSv1.3" => Some(TlsVersion::Tls13),
        _ => None,
    };
    let versions = list(reader, "protocols", expected, version).unwrap_or_default();
    TlsProtocols { versions, ciphers: Vec::new() }
}

/// Reads `ciphers`.
fn ciphers(reader: &mut Reader<'_, '_>) -> Option<Vec<&'static str>> {
    let expected =
        format!("one of {}: others do not keep the past secret, or are broken", CIPHERS.join(", "));
    list(reader, "ciphers", &expected, find_cipher)
}

/// Reads `tls` of a client; `prefix` is that of its entry, if it has one.
pub(super) fn client_tls(
    client: &mut Reader<'_, '_>,
    prefix: Option<&PathMatcher>,
) -> Option<ClientTlsConfig> {
    let node = client.get("tls")?;
    let mut reader = Reader::new(&node, &["client tls"], client.report());
    let client_auth = reader
        .get("clientAuth")
        .and_then(|node| pair(&mut Reader::new(&node, &["client auth"], reader.report())));
    let trust_files = list(&mut reader, "trustCerts", "the path of a file", |text| Some(text.into()));
    let config = ClientTlsConfig {
        is_enabled: reader.flag("enabled").unwrap_or(true),
        common_name: common_name(&mut reader, prefix),
        is_unchecked: reader.flag("disableValidation").unwrap_or(false),
        trust_files: trust_files.unwrap_or_default(),
        trust_bundle: path(&mut reader, "trustCertsBundle"),
        client_auth,
        protocols: protocols(&mut reader),
    };
    check_combination(&mut reader, &config);
    Some(config)
}

/// Refuses combinations in which one key takes the meaning of another, as Linkerd does.
fn check_combination(reader: &mut Reader<'_, '_>, config: &ClientTlsConfig) {
    if !config.is_enabled {
        return;
    }
    let has_trust = config.trust_bundle.is_some() || !config.trust_files.is_empty();
    if config.trust_bundle.is_some() && !config.trust_files.is_empty() {
        let node = reader.get("trustCerts");
        reader.error(node.as_ref(), "`trustCertsBundle` names the authorities already: keep one of the two");
    }
    if config.is_unchecked {
        let node = reader.get("disableValidation");
        if config.client_auth.is_some() {
            let message =
                "`clientAuth` would be shown to an endpoint that nobody has checked: remove one of the two";
            reader.error(node.as_ref(), message);
        } else if has_trust {
            let message = "the authorities beside it would not be asked: remove it, or them";
            reader.error(node.as_ref(), message);
        }
    } else if reader.get("commonName").is_none() {
        let message = "the key `commonName` is missing: the name that certificates of endpoints must have. (With \
                       `disableValidation: true` no name is needed, and any endpoint is believed.)";
        reader.error(None, message);
    }
}

/// Reads `commonName`.
fn common_name(reader: &mut Reader<'_, '_>, prefix: Option<&PathMatcher>) -> Option<CommonName> {
    let text = reader.non_empty("commonName")?;
    let node = reader.get("commonName")?;
    if !text.contains(['{', '}']) {
        return Some(CommonName::Text(text));
    }
    let Some(prefix) = prefix else {
        reader.error(
            Some(&node),
            "captures need a `prefix`, which these settings do not have: use `io.l5d.static`",
        );
        return None;
    };
    let template = Template::compile(&format!("/{text}"), prefix);
    let template = reader.report().check(template.map_err(|error| node.error(error.to_string())))?;
    Some(CommonName::Template(text, template))
}
