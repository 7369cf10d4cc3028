//! The configuration of transformers.

use super::own_node::{NodeDoubt, OwnNode};
use crate::interpret::{AnswerState, Leaf};
use crate::kubernetes::Config;
use crate::name::{NameTree, Path};
use crate::namer::Cause;
use crate::namer::address::{is_host_name, literal};
use crate::namer::kubernetes::is_service_name;
use crate::namer::system::SystemNamer;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

/// One entry of `transformers:`, as configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind")]
pub enum TransformerConfig {
    /// `io.l5d.localhost`: keeps endpoints at addresses of this machine.
    #[serde(rename = "io.l5d.localhost")]
    Localhost,
    /// `io.l5d.specificHost`: keeps endpoints at the addresses of a host.
    #[serde(rename = "io.l5d.specificHost")]
    SpecificHost {
        /// An address, or a host name, which is looked up again when its time to live is over.
        host: String,
    },
    /// `io.l5d.port`: sends to another port of the same addresses.
    #[serde(rename = "io.l5d.port")]
    Port {
        /// The port, from 1.
        port: u16,
    },
    /// `io.l5d.k8s.localnode`: keeps endpoints on the node that the process runs on.
    #[serde(rename = "io.l5d.k8s.localnode", rename_all = "camelCase")]
    LocalNode {
        /// The variable of the environment that holds the node's name; [`TransformerConfig::NODE_NAME`] by default. Where
        /// that is not there, the API server is asked for the node of the pod at `POD_IP`. Its network stands for the node
        /// where the API server does not tell, or no namer has one.
        env_var: String,
    },
    /// `io.l5d.k8s.daemonset`: sends to the pods of a daemon set on the nodes where endpoints are.
    #[serde(rename = "io.l5d.k8s.daemonset")]
    DaemonSet(DaemonSet),
    /// `io.l5d.const`: every name stands for one name.
    #[serde(rename = "io.l5d.const")]
    Const {
        /// The name, which begins with `/$`.
        path: Path,
    },
    /// `io.l5d.replace`: every bound name stands for one name.
    #[serde(rename = "io.l5d.replace")]
    Replace {
        /// The name, which begins with `/$`.
        path: Path,
    },
}

/// The keys of `io.l5d.k8s.daemonset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonSet {
    /// The API server: `k8sHost` and `k8sPort`, or `kubeconfig` and `context`, or none of them; and `snapshot`.
    pub client: Config,
    /// The namespace of the daemon set's service.
    pub namespace: String,
    /// The name or the number of a port of that service.
    pub port: String,
    /// The service of the daemon set.
    pub service: String,
}

impl DaemonSet {
    /// Returns the name of the service's endpoints, after the namer's prefix.
    pub(super) fn path(&self) -> Path {
        Path::from_elems([&self.namespace, &self.port, &self.service])
    }

    /// Returns the first key whose value cannot be a name in Kubernetes, and a text that tells what is expected there.
    fn wrong(&self) -> Option<(&'static str, String)> {
        let Self { client: _, namespace, port, service } = self;
        let cases = [
            ("namespace", "the name of a namespace", [namespace, "http", "a"]),
            ("port", "the name or the number of a port of the service", ["a", port, "a"]),
            ("service", "the name of a service", ["a", "http", service]),
        ];
        let wrong = cases.into_iter().find(|(.., elems)| !is_service_name(&Path::from_elems(elems)));
        wrong.map(|(key, expected, _)| (key, format!("expected {expected}")))
    }
}

impl Serialize for DaemonSet {
    /// Writes the keys of the configuration.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { client, namespace, port, service } = self;
        let mut keys = serializer.serialize_map(None)?;
        client.serialize_keys_as(&mut keys, "k8sHost", "k8sPort")?;
        keys.serialize_entry("namespace", namespace)?;
        keys.serialize_entry("port", port)?;
        keys.serialize_entry("service", service)?;
        keys.end()
    }
}

impl TransformerConfig {
    /// The variable that holds the name of the node when the configuration does not say which: as in Linkerd.
    pub const NODE_NAME: &str = "NODE_NAME";

    /// Returns the name of the kind, as it is written in the configuration.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Localhost => "io.l5d.localhost",
            Self::SpecificHost { .. } => "io.l5d.specificHost",
            Self::Port { .. } => "io.l5d.port",
            Self::LocalNode { .. } => "io.l5d.k8s.localnode",
            Self::DaemonSet(_) => "io.l5d.k8s.daemonset",
            Self::Const { .. } => "io.l5d.const",
            Self::Replace { .. } => "io.l5d.replace",
        }
    }

    /// Returns the node that the process runs on, by this variable. With `asks`, a namer has an API server to ask.
    pub(super) fn own_node(env_var: &str, asks: bool) -> Result<OwnNode, Cause> {
        OwnNode::find(env_var, env_var == Self::NODE_NAME, asks)
    }

    /// Checks that the environment has what the transformer needs. Asks no server, but with `asks` a namer has one that
    /// the process will ask.
    ///
    /// # Errors
    ///
    /// No variable tells the node, or the kubeconfig does not lead to an API server.
    pub fn check(&self, asks: bool) -> Result<(), Cause> {
        match self {
            Self::LocalNode { env_var } => Self::own_node(env_var, asks).map(drop),
            Self::DaemonSet(daemon_set) => daemon_set.client.check().map_err(Cause::Kubernetes),
            _ => Ok(()),
        }
    }

    /// Returns what is doubtful about what the environment tells, if anything is. With `asks`, a namer has an API server
    /// to ask.
    pub fn doubt(&self, asks: bool) -> Option<NodeDoubt> {
        match self {
            Self::LocalNode { env_var } => Self::own_node(env_var, asks).ok()?.doubt(asks),
            _ => None,
        }
    }

    /// Returns the key whose value is wrong, and a text that tells what is wrong with it.
    pub fn wrong(&self) -> Option<(&'static str, String)> {
        match self {
            Self::SpecificHost { host } => {
                let expected = "expected an address such as 10.0.0.7, or a host name";
                let good = literal(host).is_some() || is_host_name(host);
                (!good).then(|| ("host", format!("{expected}, found `{}`", host.escape_debug())))
            }
            Self::Const { path } | Self::Replace { path } => {
                system_path(path).err().map(|reason| ("path", reason))
            }
            Self::DaemonSet(daemon_set) => daemon_set.wrong(),
            Self::Localhost | Self::Port { .. } | Self::LocalNode { .. } => None,
        }
    }
}

/// Returns the rest after `/$` of a path that the system namers can bind by themselves. As in Linkerd, `io.l5d.const`
/// and `io.l5d.replace` ask no other namer, and use no dtab.
pub(super) fn system_path(path: &Path) -> Result<Path, String> {
    let expected = || "expected a name that begins with `/$`, such as `/$/inet/127.1/4140`".to_owned();
    let rest = path.drop_prefix(&Path::from_elems(["$"])).ok_or_else(expected)?;
    match SystemNamer::immediately(&rest) {
        Some(AnswerState::Failed(reason)) => Err(reason.to_string()),
        Some(AnswerState::Ready(NameTree::Leaf(Leaf::Path(_)) | NameTree::Neg)) => Err(expected()),
        _ => Ok(rest),
    }
}
