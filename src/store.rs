//! Where live dtabs come from: a file, a ConfigMap, or a custom resource of Kubernetes.
//!
//! A stored dtab comes before the router's own, which is looked at first. A bad edit keeps the last good table and says
//! so; who uses the table is not known here.
//!
//! | kind | what is stored where | until it is known | when it is not there |
//! |---|---|---|---|
//! | `io.l5d.fs` | a file | the start fails | the last good one stays |
//! | `io.l5d.k8s.configMap` | one key of a ConfigMap | names wait | nothing is stored, as in Linkerd |
//! | `io.l5d.k8s.dtab` | a `Dtab` of `signpost.dev`, or a `DTab` of `l5d.io` | names wait | nothing is stored |

mod file;
mod kubernetes;
mod open;

pub use self::file::Fs;
pub use self::kubernetes::{Kubernetes, Object};
pub use self::open::{Store, Stores};

use crate::name::{Dtab, ParseError};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A store, as configured: an interpreter that is not the default one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "kind")]
pub enum Config {
    /// `io.l5d.fs`
    #[serde(rename = "io.l5d.fs")]
    Fs(Fs),
    /// `io.l5d.k8s.configMap`, `io.l5d.k8s.dtab`
    #[serde(untagged)]
    Kubernetes(Kubernetes),
}

/// What is stored, as far as that is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    /// Nothing is known yet.
    Pending,
    /// Nothing was known yet, and what is there now is no dtab or cannot be asked for. The text is for people.
    Failed(Arc<str>),
    /// The last good dtab.
    Dtab(Dtab),
}

/// Why there is no dtab.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Io {
        /// Which.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds no dtab.
    #[error("{}:{}:{}: {error}", file.display(), error.line, error.column)]
    Parse {
        /// Which.
        file: PathBuf,
        /// Where in it, and why.
        error: Box<ParseError>,
    },
    /// `kubeconfig`, `context` or `host` does not lead to an API server.
    #[error("interpreter {kind}: {source}")]
    Kubernetes {
        /// The kind of the interpreter.
        kind: &'static str,
        /// What is wrong.
        source: crate::kubernetes::Error,
    },
}

impl Config {
    /// Returns the kind, as it is written in the configuration.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Fs(_) => "io.l5d.fs",
            Self::Kubernetes(kubernetes) => kubernetes.kind(),
        }
    }

    /// Checks what can be checked without asking anybody. Reads files.
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

#[cfg(test)]
mod tests;
