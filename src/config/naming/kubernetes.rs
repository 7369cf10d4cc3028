//! Reads the namers of Kubernetes.

use super::Reader;
use crate::kubernetes::{Config, Scope};
use crate::namer::{EndpointsApi, Kubernetes, Source};

/// Reads a namer of this kind.
pub(super) fn kubernetes(reader: &mut Reader<'_, '_>, kind: &str) -> Kubernetes {
    let sections: &'static [&'static str] = match kind {
        "io.l5d.k8s.external" => &["namer io.l5d.k8s.external"],
        "io.l5d.k8s.ns" => &["namer io.l5d.k8s.ns"],
        _ => &["namer io.l5d.k8s"],
    };
    let node = reader.node().clone();
    let mut reader = Reader::new(&node, sections, reader.report());
    let source = match kind {
        "io.l5d.k8s.external" => Source::External,
        _ => Source::Pods(reader.one_of("endpoints", &EndpointsApi::ALL).unwrap_or_default()),
    };
    let env_var = (kind == "io.l5d.k8s.ns").then(|| {
        let said = reader.text("envVar").map(str::to_owned);
        said.unwrap_or_else(|| Kubernetes::ENV_VAR.to_owned())
    });
    let client = client(&mut reader);
    let watch = reader.one_of("watch", &[("namespace", Scope::Namespace), ("cluster", Scope::Cluster)]);
    let label_selector = label(&mut reader);
    Kubernetes { source, env_var, client, watch: watch.unwrap_or_default(), label_selector }
}

/// Reads where the API server is.
fn client(reader: &mut Reader<'_, '_>) -> Config {
    let file = reader.text("kubeconfig").map(Into::into);
    let context = reader.text("context").map(str::to_owned);
    let named = reader.get("kubeconfig").or_else(|| reader.get("context"));
    let plain = plain_client(reader, "host", "port");
    match (plain, named) {
        (None, None) => Config::Found,
        (Some(plain), None) => plain,
        (None, Some(_)) => Config::Kubeconfig { file, context },
        (Some(_), Some(named)) => {
            let message = "`host` and `port` name an API server already: keep them, or this";
            reader.error(Some(&named), message);
            Config::Found
        }
    }
}

/// Reads the address of an API server that is spoken to over plain HTTP, if these two keys say that there is one.
pub(super) fn plain_client(reader: &mut Reader<'_, '_>, host: &str, port: &str) -> Option<Config> {
    let said = reader.get(host).or_else(|| reader.get(port))?;
    let host = reader.text(host).map(str::to_owned);
    let config = Config::plain(host, reader.number(port, 1..=u64::from(u16::MAX)));
    // Of a plain address nothing but its form is checked.
    if let Err(error) = config.check() {
        reader.error(Some(&said), error.to_string());
    }
    Some(config)
}

/// Reads the key of a label.
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
