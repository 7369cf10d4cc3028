//! The errors of stores.

use crate::name::ParseError;
use std::io;
use std::path::PathBuf;

/// The reason why a store has no dtab.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file holds no dtab.
    #[error("{}:{}:{}: {error}", file.display(), error.line, error.column)]
    Parse {
        /// The file.
        file: PathBuf,
        /// The error, with its place in the file.
        error: Box<ParseError>,
    },
    /// `kubeconfig`, `context` or `host` does not lead to an API server.
    #[error("interpreter {kind}: {source}")]
    Kubernetes {
        /// The kind of the interpreter.
        kind: &'static str,
        /// The error of the API client's configuration.
        source: crate::kubernetes::Error,
    },
}
