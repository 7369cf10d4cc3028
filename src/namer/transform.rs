//! Transformers: what changes the names that namers bind.

mod addresses;
mod beside;
mod config;
mod local;
mod replacement;

pub use self::config::{DaemonSet, Transformer};

use self::addresses::{Addresses, Change, on_port};
use self::beside::Beside;
use self::local::is_local;
use self::replacement::{Fixed, Passing, Replacement};
use super::kubernetes::{EndpointsApi, Kubernetes, Source};
use super::{Built, Cause};
use crate::interpret::{self, Endpoint, Namer, Transformed};
use crate::kubernetes::Scope;
use crate::name::Path;
use std::sync::Arc;

/// A transformer as it runs.
#[derive(Clone)]
pub(super) enum Made {
    /// It changes bound names.
    Names(Arc<dyn interpret::Transformer>),
    /// It answers in the place of whatever is asked.
    Everything(Arc<dyn Namer>),
}

impl Built {
    /// Makes transformers, in their order.
    pub(super) fn transformers(&self, configs: &[Transformer]) -> Result<Vec<Made>, Cause> {
        configs.iter().map(|config| self.transformer(config)).collect()
    }

    fn transformer(&self, config: &Transformer) -> Result<Made, Cause> {
        let prefix = |rest: &[&str]| Path::from_elems([&["%", config.kind()], rest].concat());
        let addresses = |rest: &[&str], beside: Option<Beside>, change: Change| {
            Made::Names(Arc::new(Addresses::new(prefix(rest), beside, change, &self.control)))
        };
        Ok(match config {
            Transformer::Localhost => addresses(
                &[],
                None,
                Arc::new(|all, _| addresses::kept(all, |one| is_local(one.address.ip()))),
            ),
            Transformer::SpecificHost { host } => {
                let beside = Beside::new(Arc::clone(&self.system), Path::from_elems(["inet", host, "1"]));
                addresses(&[], Some(beside), Arc::new(addresses::on_hosts))
            }
            Transformer::Port { port } => {
                let port = *port;
                addresses(&[&port.to_string()], None, Arc::new(move |all, _| on_port(all, port)))
            }
            Transformer::LocalNode { env_var } => {
                let node = std::env::var(env_var).ok().filter(|node| !node.trim().is_empty());
                let node = node.ok_or_else(|| Cause::NodeName(env_var.clone()))?;
                let here = node.clone();
                let is_here = move |one: &Endpoint| one.node.as_deref() == Some(&*here);
                addresses(&[&node], None, Arc::new(move |all, _| addresses::kept(all, &is_here)))
            }
            Transformer::DaemonSet(config) => {
                let DaemonSet { namespace, port, service, .. } = config;
                let beside = Beside::new(self.daemon_set(config)?, config.path());
                addresses(&[namespace, port, service], Some(beside), Arc::new(addresses::on_nodes))
            }
            Transformer::Const { path } => {
                let fixed = Arc::new(Fixed::new(Arc::clone(&self.system), system_path(config.kind(), path)?));
                let passing = Arc::new(Passing::new(prefix(&[])));
                Made::Everything(Arc::new(Transformed::new(fixed, passing, &self.control)))
            }
            Transformer::Replace { path } => {
                let path = system_path(config.kind(), path)?;
                Made::Names(Arc::new(Replacement::new(prefix(&[]), Arc::clone(&self.system), path)))
            }
        })
    }

    /// Makes the namer of a daemon set's pods. It shares the watches of namers that are configured alike.
    fn daemon_set(&self, config: &DaemonSet) -> Result<Arc<dyn Namer>, Cause> {
        let kubernetes = Kubernetes {
            source: Source::Pods(EndpointsApi::Slices),
            env_var: None,
            client: config.client.clone(),
            watch: Scope::Namespace,
            label_selector: None,
        };
        let prefix = Path::from_elems(["#", kubernetes.kind()]);
        Ok(Arc::new(self.kubernetes(prefix, &kubernetes)?))
    }

    /// Puts transformers behind a namer, in their order.
    pub(super) fn behind(&self, namer: Arc<dyn Namer>, transformers: &[Made]) -> Arc<dyn Namer> {
        transformers.iter().fold(namer, |namer, transformer| match transformer {
            Made::Names(transformer) => {
                Arc::new(Transformed::new(namer, Arc::clone(transformer), &self.control))
            }
            Made::Everything(namer) => Arc::clone(namer),
        })
    }
}

/// What follows `/$` in the path of `io.l5d.const` or `io.l5d.replace`.
fn system_path(kind: &'static str, path: &Path) -> Result<Path, Cause> {
    config::system_path(path).map_err(|reason| Cause::Path(kind, reason))
}

#[cfg(test)]
mod tests;
