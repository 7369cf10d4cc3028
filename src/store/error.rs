//! The errors of stores.

use crate::name::ParseError;
use std::io;
use std::path::PathBuf;

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
