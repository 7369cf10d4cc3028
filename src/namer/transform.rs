//! Transformers, which change the names that namers bind.

mod addresses;
mod config;
mod own_node;
mod own_pod;
mod reference;
mod replacement;

pub use self::config::{DaemonSet, TransformerConfig};
pub use self::own_node::NodeDoubt;
pub(super) use self::own_pod::OwnPod;

use self::addresses::{AddressTransformer, EndpointChange, on_port};
use self::own_node::{OwnNode, beside_pod};
use self::reference::ReferenceName;
use self::replacement::{FixedNamer, PrefixTransformer, Replacement};
use super::kubernetes::{EndpointSource, EndpointsApi, Kubernetes};
use super::{Cause, NamerSet};
use crate::interpret::{self, Endpoint, Namer, TransformedNamer};
use crate::kubernetes::Scope;
use crate::machine::is_local;
use crate::name::Path;
use std::sync::Arc;

/// A transformer of a configuration, ready to run.
#[derive(Clone)]
pub(super) enum RunningTransformer {
    /// A transformer of bound names.
    Names(Arc<dyn interpret::Transformer>),
    /// A namer that answers every name in the place of all others.
    Everything(Arc<dyn Namer>),
}

impl NamerSet {
    /// Makes transformers, in their order.
    pub(super) fn transformers(
        &self,
        configs: &[TransformerConfig],
    ) -> Result<Vec<RunningTransformer>, Cause> {
        configs.iter().map(|config| self.transformer(config)).collect()
    }

    /// Makes one transformer.
    fn transformer(&self, config: &TransformerConfig) -> Result<RunningTransformer, Cause> {
        let prefix = |rest: &[&str]| Path::from_elems([&["%", config.kind()], rest].concat());
        let addresses = |rest: &[&str], reference: Option<ReferenceName>, change: EndpointChange| {
            RunningTransformer::Names(Arc::new(AddressTransformer::new(
                prefix(rest),
                reference,
                change,
                &self.control,
            )))
        };
        Ok(match config {
            TransformerConfig::Localhost => addresses(
                &[],
                None,
                Arc::new(|all, _| addresses::retained(all, |one| is_local(one.address.ip()))),
            ),
            TransformerConfig::SpecificHost { host } => {
                let reference =
                    ReferenceName::new(Arc::clone(&self.system), Path::from_elems(["inet", host, "1"]));
                addresses(&[], Some(reference), Arc::new(addresses::on_hosts))
            }
            TransformerConfig::Port { port } => {
                let port = *port;
                addresses(&[&port.to_string()], None, Arc::new(move |all, _| on_port(all, port)))
            }
            TransformerConfig::LocalNode { env_var } => {
                match TransformerConfig::own_node(env_var, self.own_pod.has_server())? {
                    OwnNode::Named(name) => {
                        let label = name.clone();
                        let is_here = move |one: &Endpoint| one.node.as_deref() == Some(&*name);
                        addresses(&[&label], None, Arc::new(move |all, _| addresses::retained(all, &is_here)))
                    }
                    OwnNode::OfPod(address) => {
                        let address = &*address.to_string();
                        let namer = Arc::clone(&self.own_pod) as Arc<dyn Namer>;
                        let reference = ReferenceName::new(namer, Path::from_elems([address]));
                        addresses(&[address], Some(reference), Arc::new(beside_pod))
                    }
                }
            }
            TransformerConfig::DaemonSet(config) => {
                let DaemonSet { namespace, port, service, .. } = config;
                let reference = ReferenceName::new(self.daemon_set(config)?, config.path());
                addresses(&[namespace, port, service], Some(reference), Arc::new(addresses::on_nodes))
            }
            TransformerConfig::Const { path } => {
                let fixed =
                    Arc::new(FixedNamer::new(Arc::clone(&self.system), system_path(config.kind(), path)?));
                let passing = Arc::new(PrefixTransformer::new(prefix(&[])));
                RunningTransformer::Everything(Arc::new(TransformedNamer::new(fixed, passing, &self.control)))
            }
            TransformerConfig::Replace { path } => {
                let path = system_path(config.kind(), path)?;
                RunningTransformer::Names(Arc::new(Replacement::new(
                    prefix(&[]),
                    Arc::clone(&self.system),
                    path,
                )))
            }
        })
    }

    /// Makes the namer of a daemon set's pods. It shares the watches of namers with the same configuration.
    fn daemon_set(&self, config: &DaemonSet) -> Result<Arc<dyn Namer>, Cause> {
        let kubernetes = Kubernetes {
            source: EndpointSource::Pods(EndpointsApi::Slices),
            env_var: None,
            client: config.client.clone(),
            watch: Scope::Namespace,
            label_selector: None,
            external_names: false,
        };
        let prefix = Path::from_elems(["#", kubernetes.kind()]);
        Ok(Arc::new(self.kubernetes(prefix, &kubernetes)?))
    }

    /// Puts transformers behind a namer, in their order.
    pub(super) fn behind(
        &self,
        namer: Arc<dyn Namer>,
        transformers: &[RunningTransformer],
    ) -> Arc<dyn Namer> {
        transformers.iter().fold(namer, |namer, transformer| match transformer {
            RunningTransformer::Names(transformer) => {
                Arc::new(TransformedNamer::new(namer, Arc::clone(transformer), &self.control))
            }
            RunningTransformer::Everything(namer) => Arc::clone(namer),
        })
    }
}

/// Returns the rest after `/$` of the path of `io.l5d.const` or `io.l5d.replace`.
fn system_path(kind: &'static str, path: &Path) -> Result<Path, Cause> {
    config::system_path(path).map_err(|reason| Cause::Path(kind, reason))
}

#[cfg(test)]
mod tests;
