//! Reads transformers.

use super::super::errors::Report;
use super::super::reader::Reader;
use super::kubernetes::client;
use crate::namer::{DaemonSet, TransformerConfig};
use crate::source::node::Node;

/// Reads `transformers` of an interpreter or a namer.
pub(super) fn transformers(reader: &mut Reader<'_, '_>) -> Vec<TransformerConfig> {
    let list = reader.get("transformers");
    let nodes = list.map_or_else(Vec::new, |list| list.list().unwrap_or_default());
    reader.report().each(&nodes, transformer)
}

/// Reads one transformer.
fn transformer(node: &Node<'_>, report: &mut Report) -> Option<TransformerConfig> {
    let kind = Reader::new(node, &["transformer"], report).get("kind")?.text().ok()?;
    let sections: &'static [&'static str] = match kind {
        "io.l5d.specificHost" => &["transformer io.l5d.specificHost"],
        "io.l5d.port" => &["transformer io.l5d.port"],
        "io.l5d.k8s.localnode" => &["transformer io.l5d.k8s.localnode"],
        "io.l5d.k8s.daemonset" => &["transformer io.l5d.k8s.daemonset"],
        "io.l5d.const" => &["transformer io.l5d.const"],
        "io.l5d.replace" => &["transformer io.l5d.replace"],
        _ => &["transformer"],
    };
    let mut reader = Reader::new(node, sections, report);
    let transformer = match kind {
        "io.l5d.localhost" => TransformerConfig::Localhost,
        "io.l5d.specificHost" => {
            require(&mut reader, "host");
            TransformerConfig::SpecificHost { host: reader.non_empty("host")? }
        }
        "io.l5d.port" => {
            require(&mut reader, "port");
            TransformerConfig::Port { port: reader.number("port", 1..=u64::from(u16::MAX))? }
        }
        "io.l5d.k8s.localnode" => {
            let variable = reader.non_empty("envVar");
            TransformerConfig::LocalNode {
                env_var: variable.unwrap_or_else(|| TransformerConfig::NODE_NAME.to_owned()),
            }
        }
        "io.l5d.k8s.daemonset" => TransformerConfig::DaemonSet(daemon_set(&mut reader)?),
        "io.l5d.const" | "io.l5d.replace" => {
            require(&mut reader, "path");
            let path = reader.path("path")?;
            if kind == "io.l5d.const" {
                TransformerConfig::Const { path }
            } else {
                TransformerConfig::Replace { path }
            }
        }
        _ => return None,
    };
    if let Some((key, reason)) = transformer.wrong() {
        let at = node.get(key).unwrap_or_else(|| node.clone());
        report.error(at.error(reason));
    }
    Some(transformer)
}

/// Reads the keys of `io.l5d.k8s.daemonset`.
fn daemon_set(reader: &mut Reader<'_, '_>) -> Option<DaemonSet> {
    ["namespace", "port", "service"].iter().for_each(|key| require(reader, key));
    let mut text = |key| reader.text(key).map(str::to_owned);
    let (namespace, port, service) = (text("namespace"), text("port"), text("service"));
    let client = client(reader, "k8sHost", "k8sPort");
    Some(DaemonSet { client, namespace: namespace?, port: port?, service: service? })
}

/// Reports a key that must be there and is absent.
fn require(reader: &mut Reader<'_, '_>, key: &str) {
    reader.require(key);
}
