//! The configuration of stores.

use super::error::Error;
use super::file::FileStoreConfig;
use super::kubernetes::KubernetesStoreConfig;
use std::fmt;

/// A store, as configured: an interpreter that is not the default one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "kind")]
pub enum Config {
    /// `io.l5d.fs`
    #[serde(rename = "io.l5d.fs")]
    Fs(FileStoreConfig),
    /// `io.l5d.k8s.configMap`, `io.l5d.k8s.dtab`
    #[serde(untagged)]
    Kubernetes(KubernetesStoreConfig),
}

impl Config {
    /// Returns the kind, as it is written in the configuration.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Fs(_) => "io.l5d.fs",
            Self::Kubernetes(kubernetes) => kubernetes.kind(),
        }
    }

    /// Checks the configuration without a request to the API server. Reads files.
    ///
    /// # Errors
    ///
    /// The file cannot be read or holds no dtab; the kubeconfig that is named cannot be read, or lacks the context.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Fs(fs) => fs.read().map(drop),
            Self::Kubernetes(kubernetes) => kubernetes.check(),
        }
    }
}

impl fmt::Display for Config {
    /// Writes the place of the dtab in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fs(fs) => fs.dtab_file.display().fmt(f),
            Self::Kubernetes(kubernetes) => kubernetes.fmt(f),
        }
    }
}
