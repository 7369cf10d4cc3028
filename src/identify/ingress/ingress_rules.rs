//! The rules of an Ingress, as a watch stores them.

use super::secret::SecretName;
use crate::kubernetes;
use crate::name::Path;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Deserializer, Serialize};

/// The annotation that said the class before there was `ingressClassName`.
const CLASS: &str = "kubernetes.io/ingress.class";

/// The rules of an Ingress.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct IngressRules {
    /// The time of its creation, its namespace and its name: of two ingresses with the same rule the first in this
    /// order gets it.
    pub(super) age: (Option<Time>, String, String),
    /// The class that it names, if it names one.
    pub(super) class: Option<String>,
    /// The default backend, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given_backend")]
    pub(super) default: Option<Backend>,
    /// The rules, in their order.
    pub(super) rules: Vec<Rule>,
    /// Its uid.
    #[serde(default)]
    pub(super) uid: Option<String>,
    /// `spec.tls`, without entries that name no Secret.
    #[serde(default)]
    pub(super) tls: Vec<SecretHosts>,
}

/// The hosts for which an Ingress names a Secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SecretHosts {
    /// The name of the Secret.
    pub(super) secret: String,
    /// The hosts, in lower case; none for those of the certificate.
    pub(super) hosts: Vec<String>,
}

impl IngressRules {
    /// Returns the Secrets that it names, each with its hosts.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (SecretName, &[String])> {
        let (_, namespace, _) = &self.age;
        self.tls.iter().map(|tls| {
            let name = SecretName { namespace: namespace.as_str().into(), name: tls.secret.as_str().into() };
            (name, &*tls.hosts)
        })
    }
}

/// The path of a backend, `/<namespace>/<port>/<service>`; none for a backend that is no service.
pub(super) type Backend = Option<Path>;

/// A path of a rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Rule {
    /// The host, in lower case; empty for all hosts.
    pub(super) host: String,
    /// The path, as it was written; empty for all paths.
    pub(super) path: String,
    /// Whether a request's path has to be this one, and not only to begin with it.
    pub(super) exact: bool,
    pub(super) backend: Backend,
}

impl kubernetes::WatchedObject for IngressRules {
    type ApiObject = networking::Ingress;

    fn from_api(ingress: networking::Ingress) -> Self {
        let metadata = ingress.metadata;
        let spec = ingress.spec.unwrap_or_default();
        let namespace = metadata.namespace.unwrap_or_default();
        let is_given = |class: &String| !class.is_empty();
        let annotation = metadata.annotations.and_then(|mut all| all.remove(CLASS)).filter(is_given);
        let rules = spec.rules.unwrap_or_default().into_iter();
        Self {
            class: annotation.or(spec.ingress_class_name.filter(is_given)),
            default: spec.default_backend.map(|default| backend(&namespace, default)),
            rules: rules.flat_map(|rule| paths(&namespace, rule)).collect(),
            uid: metadata.uid,
            tls: spec.tls.unwrap_or_default().into_iter().filter_map(secret_hosts).collect(),
            age: (metadata.creation_timestamp, namespace, metadata.name.unwrap_or_default()),
        }
    }
}

/// Reads an entry of `spec.tls`; none if it names no Secret.
fn secret_hosts(tls: networking::IngressTLS) -> Option<SecretHosts> {
    let secret = tls.secret_name.filter(|name| !name.is_empty())?;
    let hosts = tls.hosts.unwrap_or_default().iter().map(|host| host.to_ascii_lowercase()).collect();
    Some(SecretHosts { secret, hosts })
}

/// Reads a default backend that is present in the text: `null` is a backend that is no service.
fn given_backend<'de, D: Deserializer<'de>>(default: D) -> Result<Option<Backend>, D::Error> {
    Backend::deserialize(default).map(Some)
}

fn paths(namespace: &str, rule: networking::IngressRule) -> impl Iterator<Item = Rule> {
    let host = rule.host.unwrap_or_default().to_ascii_lowercase();
    let paths = rule.http.map(|http| http.paths).unwrap_or_default().into_iter();
    paths.map(move |path| Rule {
        host: host.clone(),
        path: path.path.unwrap_or_default(),
        exact: path.path_type == "Exact",
        backend: backend(namespace, path.backend),
    })
}

fn backend(namespace: &str, backend: networking::IngressBackend) -> Backend {
    let service = backend.service?;
    let port = service.port?;
    let port = port.name.filter(|name| !name.is_empty()).or(port.number.map(|number| number.to_string()))?;
    Some(Path::from_elems([namespace, &port, &service.name]))
}
