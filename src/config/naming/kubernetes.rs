//! Reads the parts that ask Kubernetes: namers, stores, identifiers, and the address of the API server.

use super::Reader;
use crate::identify::Ingress;
use crate::kubernetes::{Access, Config, Scope};
use crate::namer::{EndpointSource, EndpointsApi, Kubernetes};
use crate::store;

/// Reads the keys of a namer of this kind.
pub(super) fn kubernetes(reader: &mut Reader<'_, '_>, kind: &str) -> Kubernetes {
    let sections: &'static [&'static str] = match kind {
        "io.l5d.k8s.external" => &["namer io.l5d.k8s.external"],
        "io.l5d.k8s.ns" => &["namer io.l5d.k8s.ns"],
        _ => &["namer io.l5d.k8s"],
    };
    let node = reader.node().clone();
    let mut reader = Reader::new(&node, sections, reader.report());
    let source = match kind {
        "io.l5d.k8s.external" => EndpointSource::External,
        _ => EndpointSource::Pods(reader.one_of("endpoints", &EndpointsApi::ALL).unwrap_or_default()),
    };
    let env_var = (kind == "io.l5d.k8s.ns").then(|| {
        let variable = reader.text("envVar").map(str::to_owned);
        variable.unwrap_or_else(|| Kubernetes::ENV_VAR.to_owned())
    });
    let client = client(&mut reader, "host", "port");
    let watch = reader.one_of("watch", &[("namespace", Scope::Namespace), ("cluster", Scope::Cluster)]);
    let label_selector = label(&mut reader);
    let external_names = reader.flag("externalNames").unwrap_or_default();
    Kubernetes { source, env_var, client, watch: watch.unwrap_or_default(), label_selector, external_names }
}

/// Reads the store of an interpreter of this kind.
pub(super) fn store(reader: &mut Reader<'_, '_>, kind: &str) -> Option<store::KubernetesStoreConfig> {
    let node = reader.node().clone();
    let is_map = kind == "io.l5d.k8s.configMap";
    let sections: &'static [&'static str] =
        if is_map { &["interpreter io.l5d.k8s.configMap"] } else { &["interpreter io.l5d.k8s.dtab"] };
    let mut reader = Reader::new(&node, sections, reader.report());
    let client = client(&mut reader, "host", "port");
    let namespace = optional(&mut reader, "namespace", is_label);
    let namespace = namespace.unwrap_or_else(|| store::KubernetesStoreConfig::NAMESPACE.to_owned());
    let name = required(&mut reader, "name", |name| name.len() <= 253 && name.split('.').all(is_label));
    let object = if is_map {
        let filename = required(&mut reader, "filename", |key| !key.is_empty());
        store::DtabObject::ConfigMap { filename: filename? }
    } else {
        let [(usual, _), (linkerd, _)] = store::DtabObject::API_VERSIONS;
        let is_linkerd = reader.one_of("apiVersion", &[(usual, false), (linkerd, true)]);
        if is_linkerd.unwrap_or(false) { store::DtabObject::LinkerdDtab } else { store::DtabObject::Dtab }
    };
    Some(store::KubernetesStoreConfig { client, namespace, name: name?, object })
}

/// Reads a name that must be there.
fn required(reader: &mut Reader<'_, '_>, key: &str, is_good: fn(&str) -> bool) -> Option<String> {
    reader.require(key);
    optional(reader, key, is_good)
}

/// Reads a name.
fn optional(reader: &mut Reader<'_, '_>, key: &str, is_good: fn(&str) -> bool) -> Option<String> {
    let text = reader.text(key)?;
    if is_good(text) {
        return Some(text.to_owned());
    }
    let error = reader.get(key)?.unexpected("a name, in Kubernetes' letters: lower case, digits and `-`");
    reader.report().error(error);
    None
}

/// Returns whether a text is a label of DNS, as Kubernetes names its objects.
pub(in crate::config) fn is_label(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = text.bytes().next().is_some_and(inside) && text.bytes().next_back().is_some_and(inside);
    ends && text.len() <= 63 && text.bytes().all(|byte| inside(byte) || byte == b'-')
}

/// Reads the identifier `io.l5d.ingress`.
pub(super) fn ingress(reader: &mut Reader<'_, '_>) -> Ingress {
    let node = reader.node().clone();
    let mut reader = Reader::new(&node, &["identifier io.l5d.ingress"], reader.report());
    Ingress {
        client: client(&mut reader, "host", "port"),
        namespace: reader.non_empty("namespace"),
        class: reader.non_empty("ingressClassAnnotation").unwrap_or_else(|| Ingress::CLASS.to_owned()),
        ignore_default_backends: reader.flag("ignoreDefaultBackends").unwrap_or_default(),
    }
}

/// Reads how the API server is reached, and where its last good answers are kept. `host` and `port` are the names of
/// the keys for one that is reached over plain HTTP.
pub(in crate::config) fn client(reader: &mut Reader<'_, '_>, host: &str, port: &str) -> Config {
    let snapshot = reader.non_empty("snapshot").map(Into::into);
    Config { access: access(reader, host, port), snapshot }
}

/// Reads how the API server is reached.
fn access(reader: &mut Reader<'_, '_>, host: &str, port: &str) -> Access {
    let file = reader.text("kubeconfig").map(Into::into);
    let context = reader.text("context").map(str::to_owned);
    let named = reader.get("kubeconfig").or_else(|| reader.get("context"));
    let plain = plain_client(reader, host, port);
    match (plain, named) {
        (None, None) => Access::Found,
        (Some(plain), None) => plain,
        (None, Some(_)) => Access::Kubeconfig { file, context },
        (Some(_), Some(named)) => {
            let message = format!("`{host}` and `{port}` name an API server already: keep them, or this");
            reader.error(Some(&named), message);
            Access::Found
        }
    }
}

/// Reads the address of an API server that is reached over plain HTTP, if one of these two keys is there.
fn plain_client(reader: &mut Reader<'_, '_>, host: &str, port: &str) -> Option<Access> {
    let address = reader.get(host).or_else(|| reader.get(port))?;
    let host = reader.text(host).map(str::to_owned);
    let access = Access::plain(host, reader.number(port, 1..=u64::from(u16::MAX)));
    // Only the form of a plain address is checked.
    if let Err(error) = access.check() {
        reader.error(Some(&address), error.to_string());
    }
    Some(access)
}

/// Reads `labelSelector`: the key of a label.
fn label(reader: &mut Reader<'_, '_>) -> Option<String> {
    let text = reader.text("labelSelector")?;
    let name = text.rsplit('/').next().unwrap_or_default();
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let good = text.matches('/').count() <= 1
        && text.len() <= 317
        && !name.is_empty()
        && text.split('/').all(|part| !part.is_empty() && part.bytes().all(inside));
    if !good {
        let node = reader.get("labelSelector")?;
        let error = node.unexpected("the key of a label, such as `version`: its value stands in names");
        reader.report().error(error);
        return None;
    }
    Some(text.to_owned())
}
